//! A whole network: backbone, head and task together, and its parameters.

use candle_core::Tensor;

use super::{LossOptions, Task};
use crate::data::Targets;
use crate::model::{
    Backbone, Config, Declaration, Input, ModelError, Pass, Result, SequenceHead, architecture,
};
use crate::nn::Parameters;

/// Backbone, head and task: everything but the values of the parameters.
pub struct Network {
    backbone: Box<dyn Backbone>,
    head: Box<dyn SequenceHead>,
    task: &'static dyn Task,
    outputs: usize,
}

/// What a batch came to.
pub struct Forward {
    /// A scalar, already divided by the update's denominator.
    pub loss: Tensor,
    /// f32 `[rows, outputs]`
    pub logits: Tensor,
}

impl Network {
    /// Fails where the config is not of a known family, or the family has no such head.
    pub fn new(config: &Config, task: &'static dyn Task, outputs: usize) -> Result<Self> {
        let family = architecture(config)?;
        let backbone = family.build(config)?;
        let head = backbone.sequence_head(outputs).ok_or_else(|| {
            ModelError::new(format!(
                "the architecture `{}` has no head for `{}`",
                family.model_type(),
                task.name()
            ))
        })?;
        Ok(Self { backbone, head, task, outputs })
    }

    /// The backbone's parameters, then the head's.
    pub fn declarations(&self) -> Vec<Declaration> {
        let mut all = self.backbone.declarations();
        all.extend(self.head.declarations());
        all
    }

    pub fn backbone(&self) -> &dyn Backbone {
        self.backbone.as_ref()
    }

    pub fn head(&self) -> &dyn SequenceHead {
        self.head.as_ref()
    }

    pub fn task(&self) -> &'static dyn Task {
        self.task
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Logits f32 `[rows, outputs]`.
    pub fn logits(&self, parameters: &Parameters, input: &Input, pass: &Pass) -> Result<Tensor> {
        let hidden_states = self.backbone.forward(parameters, input, self.head.read(), pass)?;
        self.head.forward(parameters, &hidden_states, input, pass)
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
        let loss = self.task.loss(&logits, targets, options, denominator, pass)?;
        Ok(Forward { loss, logits })
    }
}
