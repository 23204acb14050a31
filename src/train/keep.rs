//! Which parameters a run keeps, and when it ends early: both look at a number of each validation.

use crate::model::Result;

use super::checkpoint::Validation;
use super::evaluate::Scored;
use super::metrics::{self, Direction, Metric, Outcome};

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
    /// The number for these outputs, which `read` hands to metrics; `None` where the metric is not
    /// defined on them.
    pub fn value(
        &self,
        scored: &Scored,
        read: &dyn Fn(&Scored) -> Result<metrics::Scored>,
    ) -> Result<Option<f64>> {
        match self {
            Measure::Loss => Ok(Some(scored.mean_loss())),
            Measure::Metric(metric) => {
                Ok(match metrics::evaluate(metric.as_ref(), &read(scored)?) {
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
                losses: Vec::new(),
            };
            losses.iter().map(of).collect()
        };
        assert!(!rule.stops(&validations(&[3.0, 2.0, 2.5])));
        assert!(rule.stops(&validations(&[3.0, 2.0, 2.5, 2.0])));
        assert!(!rule.stops(&validations(&[3.0, 3.5, 2.0, 2.5])));
    }
}
