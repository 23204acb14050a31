//! One of a row's own choices: a score for each, and cross entropy over them.
//! Source: Zellers et al., "SWAG" (2018), as transformers trains it.

use candle_core::Tensor;

use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, choice_loss, largest, log_sum_exp,
    misfit, misfit_labels, no_options, sum_of_units, unit_loss,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Result};

pub struct Choose;

head! {
    /// Chooses among the choices of a row: one score for each, trained with cross entropy over them.
    Choose: HeadKind::Choice
}

impl Task for Choose {
    fn name(&self) -> &'static str {
        "multiple_choice"
    }

    fn class_suffix(&self) -> &'static str {
        "ForMultipleChoice"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Choices
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Choices]
    }

    fn output_count(&self, labels: &Labels, _: &dyn Backbone) -> Result<usize> {
        match labels {
            Labels::Classes { .. } => Ok(1),
            other => Err(misfit_labels(self, other)),
        }
    }

    fn fixed_outputs(&self, _: &dyn Backbone) -> Option<usize> {
        Some(1)
    }

    /// Class k is the row's choice k.
    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        match targets {
            Targets::Class(_) => Ok(targets.clone()),
            Targets::None => {
                Err(ModelError::new("the data does not say which choice is the right one")
                    .help("give the table a column with the role `label`"))
            }
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        let Targets::Class(choices) = targets else { return 0.0 };
        choices.iter().filter(|choice| **choice >= 0).count() as f64
    }

    fn loss(
        &self,
        logits: &Tensor,
        starts: &[usize],
        targets: &Targets,
        _: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Targets::Class(choices) = targets else { return Err(misfit(self, targets)) };
        choice_loss(logits, starts, choices, denominator, pass)
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Class(choices) = targets else { return Vec::new() };
        let losses = logits.each().zip(choices).map(|(row, choice)| unit_loss(row, *choice));
        losses.map(|loss| sum_of_units(std::iter::once(loss))).collect()
    }

    /// A probability for each choice, and one class a row.
    fn predict(&self, logits: &Logits) -> Prediction {
        let mut made = Prediction::default();
        for row in logits.each() {
            let total = log_sum_exp(row.iter());
            made.probabilities.extend(row.iter().map(|x| (f64::from(*x) - total).exp() as f32));
            made.classes.push(largest(row));
        }
        made
    }
}
