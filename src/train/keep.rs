//! Which parameters a run keeps, and when it ends early: both look at a number of each validation.

use crate::data::Targets;
use crate::model::{ModelError, Result};
use crate::task::Outputs;

use super::checkpoint::Validation;
use super::evaluate::Scored;
use super::metrics::{self, Direction, Kind, Metric, Outcome};

/// A number of a validation.
pub enum Measure {
    /// The mean loss; smaller is better.
    Loss,
    Metric(Box<dyn Metric>),
}

/// Which parameters are kept.
pub enum Keep {
    /// Those after the last update.
    Last,
    /// Those of the best validation, the first of equals.
    Best(Measure),
}

/// Ends a run that no longer gets better.
pub struct StopEarly {
    pub measure: Measure,
    /// Validations in a row without an improvement.
    pub patience: usize,
    /// How much counts as an improvement.
    pub min_delta: f64,
}

impl Measure {
    /// The number for these outputs; `None` where the metric is not defined on them.
    pub fn value(
        &self,
        outputs: Outputs,
        scored: &Scored,
        labels: &[String],
    ) -> Result<Option<f64>> {
        match self {
            Measure::Loss => Ok(Some(scored.mean_loss())),
            Measure::Metric(metric) => {
                let scored = for_metrics(outputs, scored, labels)?;
                Ok(match metrics::evaluate(metric.as_ref(), &scored) {
                    Outcome::Value(value) => Some(value),
                    _ => None,
                })
            }
        }
    }

    /// Whether `a` is better than `b` by more than `delta`.
    pub fn better(&self, a: f64, b: f64, delta: f64) -> bool {
        let larger = match self {
            Measure::Loss => false,
            Measure::Metric(metric) => metric.direction() != Direction::SmallerIsBetter,
        };
        if larger { a > b + delta } else { a < b - delta }
    }
}

impl StopEarly {
    /// Whether the last `patience` validations were no better than the best before them.
    pub fn stops(&self, validations: &[Validation]) -> bool {
        let mut best: Option<f64> = None;
        let mut waiting = 0;
        for validation in validations {
            match (validation.score, best) {
                (Some(score), Some(before))
                    if !self.measure.better(score, before, self.min_delta) =>
                {
                    waiting += 1;
                }
                (Some(score), _) => {
                    best = Some(score);
                    waiting = 0;
                }
                (None, _) => waiting += 1,
            }
        }
        waiting >= self.patience.max(1)
    }
}

/// The kind of predictions that metrics know a task's outputs as.
pub fn metric_kind(outputs: Outputs) -> Kind {
    match outputs {
        Outputs::Classes => Kind::Classes,
        Outputs::Labels => Kind::MultiLabel,
        Outputs::Values => Kind::Values,
    }
}

/// Outputs beside their targets, in the form that metrics read. Rows without a class are left out.
pub fn for_metrics(
    outputs: Outputs,
    scored: &Scored,
    labels: &[String],
) -> Result<metrics::Scored> {
    let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let failed = |error: metrics::ScoredError| ModelError::new(error.to_string());
    match (outputs, &scored.targets) {
        (Outputs::Classes, Targets::Class(classes)) => {
            let width = labels.len().max(1);
            let mut truth = Vec::with_capacity(classes.len());
            let mut logits = Vec::with_capacity(scored.logits.len());
            for (class, row) in classes.iter().zip(scored.logits.chunks_exact(width)) {
                if let Ok(class) = usize::try_from(*class) {
                    truth.push(class);
                    logits.extend(row.iter().map(|logit| f64::from(*logit)));
                }
            }
            let classes = metrics::Classes::new(labels.to_vec(), truth, logits).map_err(failed)?;
            Ok(metrics::Scored::Classes(classes))
        }
        (Outputs::Labels, Targets::Multi { values, .. }) => {
            let truth = values.iter().map(|value| *value > 0.5).collect();
            let logits = wide(&scored.logits);
            metrics::MultiLabel::new(labels.to_vec(), truth, logits, 0.5)
                .map(metrics::Scored::MultiLabel)
                .map_err(failed)
        }
        (Outputs::Values, Targets::Value(values)) => {
            metrics::Values::new(wide(values), wide(&scored.logits))
                .map(metrics::Scored::Values)
                .map_err(failed)
        }
        _ => Err(ModelError::new("the rows have no labels to score against")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_validations_without_improvement() {
        let rule = StopEarly { measure: Measure::Loss, patience: 2, min_delta: 0.0 };
        let validations = |losses: &[f64]| -> Vec<Validation> {
            let of = |loss: &f64| Validation {
                update: 0,
                epoch: 0.0,
                loss: *loss,
                score: Some(*loss),
                logits: Vec::new(),
            };
            losses.iter().map(of).collect()
        };
        assert!(!rule.stops(&validations(&[3.0, 2.0, 2.5])));
        assert!(rule.stops(&validations(&[3.0, 2.0, 2.5, 2.0])));
        assert!(!rule.stops(&validations(&[3.0, 3.5, 2.0, 2.5])));
    }
}
