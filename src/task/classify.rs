//! One class a row: cross entropy.

use candle_core::Tensor;

use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, misfit, misfit_labels, softmax,
    sum_of_units, unit_loss,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Path, Result};
use crate::nn::ops::loss;

pub struct Classify;

head! {
    /// One class a row: a score for each class, trained with cross entropy.
    Classify: HeadKind::Sequence
}

impl Task for Classify {
    fn name(&self) -> &'static str {
        "sequence_classification"
    }

    fn problem_type(&self) -> Option<&'static str> {
        Some("single_label_classification")
    }

    fn class_suffix(&self) -> &'static str {
        "ForSequenceClassification"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Classes
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Texts, Form::Pairs]
    }

    fn output_count(&self, labels: &Labels, _: &dyn Backbone) -> Result<usize> {
        match labels {
            Labels::Classes { names, .. } => at_least_two(names.len()),
            other => Err(misfit_labels(self, other)),
        }
    }

    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        match targets {
            Targets::Class(_) => Ok(targets.clone()),
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, outputs: usize) -> Result<()> {
        check_weights(options, outputs)
    }

    fn denominator(&self, targets: &Targets, options: &LossOptions) -> f64 {
        let Targets::Class(classes) = targets else { return 0.0 };
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
        let Targets::Class(classes) = targets else { return Err(misfit(self, targets)) };
        cross_entropy(logits, classes, options, denominator, pass)
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Class(classes) = targets else { return Vec::new() };
        let losses = logits.each().zip(classes).map(|(row, class)| unit_loss(row, *class));
        losses.map(|loss| sum_of_units(std::iter::once(loss))).collect()
    }

    fn predict(&self, logits: &Logits) -> Prediction {
        softmax(logits)
    }
}

pub(super) fn at_least_two(classes: usize) -> Result<usize> {
    if classes >= 2 {
        return Ok(classes);
    }
    Err(ModelError::new(format!("the data has {classes} class; a classifier needs two")))
}

/// Fails where the weights of classes are not as many as there are outputs.
pub(super) fn check_weights(options: &LossOptions, outputs: usize) -> Result<()> {
    if let Some(weights) = &options.class_weights
        && weights.len() != outputs
    {
        return Err(ModelError::new(format!(
            "`class_weights` has {} weights for {outputs} classes",
            weights.len()
        )));
    }
    Ok(())
}

/// The sum of the weights of supervised units, which have the weights of their classes.
pub(super) fn sum_of_weights(classes: &[i64], options: &LossOptions) -> f64 {
    let weight = |class: &i64| -> f64 {
        match (usize::try_from(*class), &options.class_weights) {
            (Err(_), _) => 0.0,
            (Ok(_), None) => 1.0,
            (Ok(class), Some(weights)) => weights.get(class).map_or(0.0, |w| f64::from(*w)),
        }
    };
    classes.iter().map(weight).sum()
}

/// Cross entropy of every unit, by weight and smoothed.
pub(super) fn cross_entropy(
    logits: &Tensor,
    classes: &[i64],
    options: &LossOptions,
    denominator: f64,
    pass: &Pass,
) -> Result<Tensor> {
    let (weights, smoothing) = (options.class_weights.as_deref(), options.label_smoothing);
    Ok(match pass.path() {
        Path::Fused => {
            loss::cross_entropy(pass.tape(), logits, classes, weights, smoothing, denominator)?
        }
        Path::Reference => {
            loss::cross_entropy_reference(logits, classes, weights, smoothing, denominator)?
        }
    })
}
