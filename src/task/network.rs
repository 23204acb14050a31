//! A whole network: backbone, head and task together, and its parameters.

use std::sync::Arc;

use candle_core::Tensor;

use super::{LossOptions, Task};
use crate::data::Targets;
use crate::model::{
    self, AdapterConfig, Backbone, Config, Declaration, HeadKind, Input, OutputHead, Pass, Per,
    Result, architecture,
};
use crate::nn::Parameters;

/// Backbone, head and task: everything but the values of the parameters.
pub struct Network {
    backbone: Box<dyn Backbone>,
    head: Box<dyn OutputHead>,
    kind: HeadKind,
    task: &'static dyn Task,
    outputs: usize,
    adapter: Option<AdapterConfig>,
}

/// What a batch came to.
pub struct Forward {
    /// A scalar, already divided by the update's denominator.
    pub loss: Tensor,
    /// f32 `[units, outputs]`
    pub logits: Tensor,
}

impl Network {
    /// Fails where the config is not of a known family, or the family has no such head.
    pub fn new(
        config: &Config,
        task: &'static dyn Task,
        kind: HeadKind,
        outputs: usize,
    ) -> Result<Self> {
        let backbone = architecture(config)?.build(config)?;
        let head = model::head(backbone.as_ref(), config, kind, outputs)?;
        Ok(Self { backbone, head, kind, task, outputs, adapter: None })
    }

    /// The same with an adapter. Fails where it does not fit.
    pub fn with_adapter(self, adapter: AdapterConfig) -> Result<Self> {
        adapter.declarations(&self.model_declarations())?;
        Ok(Self { adapter: Some(adapter), ..self })
    }

    pub fn adapter(&self) -> Option<&AdapterConfig> {
        self.adapter.as_ref()
    }

    /// The backbone's parameters, the head's, the adapter's.
    pub fn declarations(&self) -> Vec<Declaration> {
        let mut all = self.model_declarations();
        let own = self.adapter.as_ref().and_then(|adapter| adapter.declarations(&all).ok());
        all.extend(own.unwrap_or_default());
        all
    }

    /// Those of them that are not an adapter's.
    pub fn model_declarations(&self) -> Vec<Declaration> {
        let mut all = self.backbone.declarations();
        all.extend(self.head.declarations());
        all
    }

    pub fn backbone(&self) -> &dyn Backbone {
        self.backbone.as_ref()
    }

    pub fn head(&self) -> &dyn OutputHead {
        self.head.as_ref()
    }

    pub fn task(&self) -> &'static dyn Task {
        self.task
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn kind(&self) -> HeadKind {
        self.kind
    }

    /// What one row of the logits is about.
    pub fn per(&self) -> Per {
        self.kind.per()
    }

    /// The tables of which a pass reads these rows alone.
    pub fn rows_read<'a>(&self, input: &'a Input) -> Vec<(&'static str, &'a [u32])> {
        let mut read = self.backbone.rows_read(input);
        let whole = self.head.whole_tables();
        read.retain(|(name, _)| !whole.contains(name));
        read
    }

    /// Logits f32 `[units, outputs]`.
    pub fn logits(&self, parameters: &Parameters, input: &Input, pass: &Pass) -> Result<Tensor> {
        let hidden_states = self.backbone.forward(parameters, input, self.head.read(), pass)?;
        self.head.forward(parameters, &hidden_states, input, pass)
    }

    /// Where the units of each row of an input start among its logits, `[rows + 1]`.
    pub fn units(&self, input: &Input) -> Result<Arc<[usize]>> {
        input.units(self.per())
    }

    pub fn forward(
        &self,
        parameters: &Parameters,
        input: &Input,
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Forward> {
        let logits = self.logits(parameters, input, pass)?;
        let starts = self.units(input)?;
        let loss = self.task.loss(&logits, &starts, targets, options, denominator, pass)?;
        Ok(Forward { loss, logits })
    }
}
