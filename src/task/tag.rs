//! One class a word: cross entropy over the tokens that stand for words.

use candle_core::Tensor;

use super::classify::{at_least_two, check_weights, cross_entropy, sum_of_weights};
use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, misfit, misfit_labels, softmax,
    sum_of_units, unit_loss,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, Pass, Result};

pub struct Tag;

head! {
    /// One class a word: a score for each class on every token, trained with cross entropy on the
    /// first token of each word.
    Tag: HeadKind::Token
}

impl Task for Tag {
    fn name(&self) -> &'static str {
        "token_classification"
    }

    fn class_suffix(&self) -> &'static str {
        "ForTokenClassification"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Tags
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Words]
    }

    fn output_count(&self, labels: &Labels, _: &dyn Backbone) -> Result<usize> {
        match labels {
            Labels::Tags { names, .. } => at_least_two(names.len()),
            other => Err(misfit_labels(self, other)),
        }
    }

    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        match targets {
            Targets::Each { .. } => Ok(targets.clone()),
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, outputs: usize) -> Result<()> {
        check_weights(options, outputs)
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

    fn predict(&self, logits: &Logits) -> Prediction {
        softmax(logits)
    }
}

/// The losses of rows whose units have a class each.
pub(super) fn each_unit(logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
    let Targets::Each { starts, classes } = targets else { return Vec::new() };
    let of_row = |(row, range): (&[f32], &[usize])| {
        let classes = classes.get(range[0]..range[1]).unwrap_or_default();
        let units = row.chunks_exact(logits.outputs.max(1)).zip(classes);
        sum_of_units(units.map(|(unit, class)| unit_loss(unit, *class)))
    };
    logits.each().zip(starts.windows(2)).map(of_row).collect()
}
