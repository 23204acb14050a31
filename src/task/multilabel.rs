//! Any number of labels a row: binary cross entropy of each.

use candle_core::Tensor;

use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, misfit, misfit_labels, no_options,
    sum_of_units,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, Pass, Path, Result};
use crate::nn::ops::loss;

pub struct MultiLabel;

head! {
    /// Any number of labels a row: a probability for each, trained with binary cross entropy.
    MultiLabel: HeadKind::Sequence
}

impl Task for MultiLabel {
    fn name(&self) -> &'static str {
        "multi_label_classification"
    }

    fn problem_type(&self) -> Option<&'static str> {
        Some("multi_label_classification")
    }

    fn class_suffix(&self) -> &'static str {
        "ForSequenceClassification"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Labels
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Texts, Form::Pairs]
    }

    /// One class a row is a set of one label.
    fn output_count(&self, labels: &Labels, _: &dyn Backbone) -> Result<usize> {
        match labels {
            Labels::Multi { names, .. } | Labels::Classes { names, .. } => Ok(names.len().max(1)),
            other => Err(misfit_labels(self, other)),
        }
    }

    fn targets(&self, targets: &Targets, labels: &Labels) -> Result<Targets> {
        match targets {
            Targets::Multi { .. } => Ok(targets.clone()),
            Targets::Class(rows) => {
                let classes = labels.names().len();
                let mut values = vec![0.0; rows.len() * classes];
                for (values, class) in values.chunks_exact_mut(classes.max(1)).zip(rows) {
                    match usize::try_from(*class).ok().and_then(|at| values.get_mut(at)) {
                        Some(value) => *value = 1.0,
                        None => values.fill(f32::NAN),
                    }
                }
                Ok(Targets::Multi { classes, values })
            }
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    /// Every label of every row is an element; those of a row whose labels are missing are NaN.
    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        let Targets::Multi { values, .. } = targets else { return 0.0 };
        values.iter().filter(|value| !value.is_nan()).count() as f64
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
        let Targets::Multi { values, .. } = targets else { return Err(misfit(self, targets)) };
        Ok(match pass.path() {
            Path::Fused => loss::bce_with_logits(pass.tape(), logits, values, denominator)?,
            Path::Reference => loss::bce_with_logits_reference(logits, values, denominator)?,
        })
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Multi { values, .. } = targets else { return Vec::new() };
        let outputs = logits.outputs.max(1);
        let element = |(logit, value): (&f32, &f32)| {
            // max(x, 0) − x·y + ln(1 + e^−|x|): the form that does not overflow.
            let x = f64::from(*logit);
            x.max(0.0) - x * f64::from(*value) + (-x.abs()).exp().ln_1p()
        };
        logits
            .each()
            .zip(values.chunks_exact(outputs))
            .map(|(row, values)| {
                let known = row.iter().zip(values).filter(|(_, value)| !value.is_nan());
                sum_of_units(known.map(|pair| Some(element(pair))))
            })
            .collect()
    }

    fn predict(&self, logits: &Logits) -> Prediction {
        let sigmoid = |logit: &f32| (1.0 / (1.0 + (-f64::from(*logit)).exp())) as f32;
        let probabilities = logits.values.iter().map(sigmoid).collect();
        Prediction { probabilities, classes: Vec::new() }
    }
}
