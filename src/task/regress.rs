//! One number a row: mean squared error.

use candle_core::Tensor;

use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, misfit, misfit_labels, no_options,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Path, Result};
use crate::nn::ops::loss;

pub struct Regress;

head! {
    /// One number a row, trained with the mean squared error.
    Regress: HeadKind::Sequence
}

impl Task for Regress {
    fn name(&self) -> &'static str {
        "sequence_regression"
    }

    fn problem_type(&self) -> Option<&'static str> {
        Some("regression")
    }

    fn class_suffix(&self) -> &'static str {
        "ForSequenceClassification"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Values
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Texts, Form::Pairs]
    }

    fn output_count(&self, labels: &Labels, _: &dyn Backbone) -> Result<usize> {
        match labels {
            Labels::Values | Labels::Classes { .. } => Ok(1),
            other => Err(misfit_labels(self, other)),
        }
    }

    fn fixed_outputs(&self, _: &dyn Backbone) -> Option<usize> {
        Some(1)
    }

    /// Classes whose names are numbers are these numbers.
    fn targets(&self, targets: &Targets, labels: &Labels) -> Result<Targets> {
        if !matches!(targets, Targets::Class(_) | Targets::Value(_)) {
            return Err(misfit(self, targets));
        }
        let values =
            targets.as_values(labels).map_err(|error| ModelError::new(error.to_string()))?;
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::new(format!("row {row} has no value to regress on"))
                .help("`load-data` with `missing = drop` leaves such rows out"));
        }
        Ok(Targets::Value(values))
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        targets.rows().unwrap_or(0) as f64
    }

    fn loss(
        &self,
        logits: &Tensor,
        _: &[usize],
        targets: &Targets,
        _: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Targets::Value(values) = targets else { return Err(misfit(self, targets)) };
        Ok(match pass.path() {
            Path::Fused => loss::mse(pass.tape(), logits, values, denominator)?,
            Path::Reference => loss::mse_reference(logits, values, denominator)?,
        })
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Value(values) = targets else { return Vec::new() };
        let square = |(logit, value): (&f32, &f32)| {
            let difference = f64::from(*logit) - f64::from(*value);
            RowLoss { sum: difference * difference, elements: 1 }
        };
        logits.values.iter().zip(values).map(square).collect()
    }

    fn predict(&self, _: &Logits) -> Prediction {
        Prediction::default()
    }
}
