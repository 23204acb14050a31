//! One class a row: cross entropy.

use candle_core::Tensor;

use super::{HeadRequest, LossOptions, Outputs, Prediction, RowLoss, Task, misfit};
use crate::data::{Labels, Targets};
use crate::model::{ModelError, Pass, Path, Result};
use crate::nn::ops::loss;
use crate::params;

pub struct Classify;

params! {
    /// One class a row: a score for each class, trained with cross entropy.
    pub struct Request {
        /// Leave a head that the checkpoint has, and draw a new one in `train`.
        new: bool = false;
    }
}

impl HeadRequest for Request {
    fn task(&self) -> &'static dyn Task {
        &Classify
    }

    fn is_new(&self) -> bool {
        self.new
    }
}

impl Task for Classify {
    fn name(&self) -> &'static str {
        "sequence_classification"
    }

    fn problem_type(&self) -> &'static str {
        "single_label_classification"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Classes
    }

    fn output_count(&self, labels: &Labels) -> Result<usize> {
        match labels {
            Labels::Classes { names, .. } if names.len() >= 2 => Ok(names.len()),
            Labels::Classes { names, .. } => Err(ModelError::new(format!(
                "the data has {} class; a classifier needs two",
                names.len()
            ))),
            Labels::Values => Err(misfit(self, &Targets::Value(Vec::new()))),
            Labels::Multi { .. } => {
                Err(misfit(self, &Targets::Multi { classes: 0, values: Vec::new() }))
            }
            Labels::Unknown => Err(misfit(self, &Targets::None)),
        }
    }

    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        match targets {
            Targets::Class(_) => Ok(targets.clone()),
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, outputs: usize) -> Result<()> {
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

    fn denominator(&self, targets: &Targets, options: &LossOptions) -> f64 {
        let Targets::Class(classes) = targets else { return 0.0 };
        let weight = |class: &i64| -> f64 {
            match (usize::try_from(*class), &options.class_weights) {
                (Err(_), _) => 0.0,
                (Ok(_), None) => 1.0,
                (Ok(class), Some(weights)) => weights.get(class).map_or(0.0, |w| f64::from(*w)),
            }
        };
        classes.iter().map(weight).sum()
    }

    fn loss(
        &self,
        logits: &Tensor,
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Targets::Class(classes) = targets else { return Err(misfit(self, targets)) };
        let weights = options.class_weights.as_deref();
        let smoothing = options.label_smoothing;
        Ok(match pass.path() {
            Path::Fused => {
                loss::cross_entropy(pass.tape(), logits, classes, weights, smoothing, denominator)?
            }
            Path::Reference => {
                loss::cross_entropy_reference(logits, classes, weights, smoothing, denominator)?
            }
        })
    }

    fn row_losses(&self, logits: &[f32], outputs: usize, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Class(classes) = targets else { return Vec::new() };
        logits
            .chunks_exact(outputs.max(1))
            .zip(classes)
            .map(|(row, class)| {
                match usize::try_from(*class).ok().and_then(|class| row.get(class)) {
                    Some(logit) => {
                        RowLoss { sum: log_sum_exp(row) - f64::from(*logit), elements: 1 }
                    }
                    None => RowLoss { sum: 0.0, elements: 0 },
                }
            })
            .collect()
    }

    fn predict(&self, logits: &[f32], outputs: usize) -> Prediction {
        let mut probabilities = Vec::with_capacity(logits.len());
        let mut classes = Vec::new();
        for row in logits.chunks_exact(outputs.max(1)) {
            let total = log_sum_exp(row);
            probabilities.extend(row.iter().map(|logit| (f64::from(*logit) - total).exp() as f32));
            classes.push(largest(row));
        }
        Prediction { probabilities, classes }
    }
}

/// The first of the largest.
fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[best] {
            best = class;
        }
    }
    best
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let top = row.iter().fold(f64::NEG_INFINITY, |top, logit| top.max(f64::from(*logit)));
    top + row.iter().map(|logit| (f64::from(*logit) - top).exp()).sum::<f64>().ln()
}
