//! Texts as vectors.

use candle_core::Tensor;

use super::{HeadRequest, Logits, LossOptions, Outputs, Prediction, RowLoss, Task, no_options};
use crate::data::{Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Pooling, Result};
use crate::{params, variants};

pub struct Embed;

variants! {
    /// how the tokens of a text become one vector
    pub enum Pool {
        /// Their mean.
        Mean = "mean",
        /// The first of them.
        Cls = "cls",
    }
}

params! {
    /// One vector a text, which is near those of similar texts.
    pub struct Request {
        /// How the tokens of a text become one vector.
        pooling: Pool = Pool::Mean;
    }
}

impl HeadRequest for Request {
    fn task(&self) -> &'static dyn Task {
        &Embed
    }

    fn kind(&self) -> HeadKind {
        HeadKind::Embedding(match self.pooling {
            Pool::Mean => Pooling::Mean,
            Pool::Cls => Pooling::Cls,
        })
    }

    fn is_new(&self) -> bool {
        false
    }
}

impl Task for Embed {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn class_suffix(&self) -> &'static str {
        "Model"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Vectors
    }

    fn output_count(&self, _: &Labels, backbone: &dyn Backbone) -> Result<usize> {
        Ok(backbone.hidden_size())
    }

    fn fixed_outputs(&self, backbone: &dyn Backbone) -> Option<usize> {
        Some(backbone.hidden_size())
    }

    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        Ok(targets.clone())
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        targets.rows().unwrap_or(0) as f64
    }

    fn loss(
        &self,
        _: &Tensor,
        _: &[usize],
        _: &Targets,
        _: &LossOptions,
        _: f64,
        _: &Pass,
    ) -> Result<Tensor> {
        Err(ModelError::new("embeddings are not trained here"))
    }

    fn row_losses(&self, _: &Logits, _: &Targets) -> Vec<RowLoss> {
        Vec::new()
    }

    fn predict(&self, _: &Logits) -> Prediction {
        Prediction::default()
    }
}
