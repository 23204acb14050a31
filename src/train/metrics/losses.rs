//! Metrics of the loss itself, weighted by supervised elements: they do not depend on how rows
//! were batched.

use crate::params;

use super::scored::{check_finite, check_length};
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, ScoredError};

/// The loss of every row.
#[derive(Debug)]
pub struct Losses {
    sums: Vec<f64>,
    elements: Vec<u32>,
}

impl Losses {
    /// `sums`: the sum of the losses of every row's supervised elements, `[rows]`; `elements`: how
    /// many these are.
    pub fn new(sums: Vec<f64>, elements: Vec<u32>) -> Result<Self, ScoredError> {
        check_length("elements", elements.len(), sums.len())?;
        check_finite("a loss", &sums, 1)?;
        Ok(Self { sums, elements })
    }

    pub(super) fn rows(&self) -> usize {
        self.sums.len()
    }

    fn mean(&self, sample: &Sample) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0u64);
        for ((loss, elements), weight) in self.sums.iter().zip(&self.elements).zip(sample.weights())
        {
            sum += f64::from(*weight) * loss;
            count += u64::from(*weight) * u64::from(*elements);
        }
        (count > 0).then(|| sum / count as f64)
    }
}

macro_rules! of_losses {
    ($($(#[doc = $doc:expr])* $metric:ident $name:literal |$mean:ident| $value:expr;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {}
        }

        impl Metric for $metric {
            fn name(&self) -> String {
                $name.to_string()
            }

            fn fits(&self) -> &'static [Kind] {
                &[Kind::Losses]
            }

            fn direction(&self) -> Direction {
                Direction::SmallerIsBetter
            }

            fn compute(&self, sample: &Sample) -> Outcome {
                let Scored::Losses(losses) = sample.scored() else {
                    return Outcome::misfit(sample.scored().kind());
                };
                match losses.mean(sample) {
                    Some($mean) => Outcome::Value($value),
                    None => Outcome::Undefined("nothing is supervised".to_string()),
                }
            }
        }
    )*};
}

of_losses! {
    /// Mean loss of the supervised elements: of the tokens of a language model.
    Loss "loss" |mean| mean;
    /// Exponential of the mean loss: among how many equally likely tokens the model is undecided.
    Perplexity "perplexity" |mean| mean.exp();
}
