//! Masked tokens: cross entropy over the vocabulary. Which tokens are masked, is drawn with the
//! examples. Source: Devlin et al., "BERT" (2018), section 3.1.

use candle_core::Tensor;

use super::classify::{cross_entropy, sum_of_weights};
use super::tag::each_unit;
use super::{Logits, LossOptions, Outputs, Prediction, RowLoss, Task, misfit, no_options};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Result};

pub struct Masked;

head! {
    /// Guesses masked tokens: a score for each token of the vocabulary. For training on text alone.
    Masked: HeadKind::MaskedToken
}

impl Task for Masked {
    fn name(&self) -> &'static str {
        "masked_language_model"
    }

    fn class_suffix(&self) -> &'static str {
        "ForMaskedLM"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Tokens
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Texts, Form::Pairs, Form::Words]
    }

    fn output_count(&self, _: &Labels, backbone: &dyn Backbone) -> Result<usize> {
        self.fixed_outputs(backbone)
            .ok_or_else(|| ModelError::new("the model has no vocabulary to guess tokens of"))
    }

    fn fixed_outputs(&self, backbone: &dyn Backbone) -> Option<usize> {
        backbone.vocabulary()
    }

    /// The text is its own target; labels are not read.
    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        Ok(match targets {
            Targets::Each { .. } => targets.clone(),
            _ => Targets::None,
        })
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    fn denominator(&self, targets: &Targets, options: &LossOptions) -> f64 {
        let Targets::Each { classes, .. } = targets else { return 0.0 };
        sum_of_weights(classes, options)
    }

    fn loss(
        &self,
        logits: &Tensor,
        _: &[usize],
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Targets::Each { classes, .. } = targets else { return Err(misfit(self, targets)) };
        cross_entropy(logits, classes, options, denominator, pass)
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        each_unit(logits, targets)
    }

    /// A vocabulary's scores of every masked token would take more memory than the model.
    fn keeps_logits(&self) -> bool {
        false
    }

    fn predict(&self, _: &Logits) -> Prediction {
        Prediction::default()
    }
}
