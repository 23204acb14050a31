//! From arguments to the settings of a run.

use super::{KeepRule, Length, LossWord, StopRule, Train, WeightRule};
use crate::base::Code;
use crate::data::{BatchSize, Targets};
use crate::model::Compute;
use crate::schema::{Or, Pick, Unit};
use crate::step::run::StepError;
use crate::task::LossOptions;
use crate::train::metrics::PickMetric;
use crate::train::{Budget, Keep, Measure, Settings, StopEarly};

fn length(of: &Length) -> Budget {
    match of.unit {
        Unit::Epochs => Budget::Epochs(of.value),
        _ => Budget::Updates(of.value.ceil() as u64),
    }
}

impl Train {
    /// The weight of each class, in the model's order.
    pub(super) fn class_weights(
        &self,
        labels: &[String],
        targets: &Targets,
    ) -> Result<Option<Vec<f32>>, StepError> {
        let wrong =
            |message: String| StepError::new(Code::E0502, message).argument("class_weights");
        Ok(match &self.class_weights {
            None => None,
            Some(Or::First(WeightRule::Balanced)) => {
                let Targets::Class(classes) = targets else { return Ok(None) };
                let mut counts = vec![0usize; labels.len()];
                for class in classes {
                    let place =
                        usize::try_from(*class).ok().and_then(|class| counts.get_mut(class));
                    place.into_iter().for_each(|count| *count += 1);
                }
                let rows: usize = counts.iter().sum();
                let weight = |count: &usize| match count {
                    0 => 0.0,
                    count => (rows as f64 / (labels.len() * count) as f64) as f32,
                };
                Some(counts.iter().map(weight).collect())
            }
            Some(Or::Second(Or::First(list))) => {
                Some(list.iter().map(|weight| *weight as f32).collect())
            }
            Some(Or::Second(Or::Second(map))) => {
                let weight = |name: &String| {
                    let found = map.get(name).map(|weight| *weight as f32);
                    found.ok_or_else(|| wrong(format!("the label `{name}` has no weight")))
                };
                if let Some((name, _)) = map.0.iter().find(|(name, _)| !labels.contains(name)) {
                    return Err(wrong(format!("no label is called `{name}`")));
                }
                Some(labels.iter().map(weight).collect::<Result<_, _>>()?)
            }
        })
    }

    pub(super) fn measure(of: &Or<LossWord, PickMetric>) -> Result<Measure, StepError> {
        match of {
            Or::First(LossWord::Loss) => Ok(Measure::Loss),
            Or::Second(pick) => pick
                .build()
                .map(Measure::Metric)
                .ok_or_else(|| StepError::internal(format!("`{pick:?}` was not checked"))),
        }
    }

    pub(super) fn settings(
        &self,
        loss: LossOptions,
        quick: Option<usize>,
        compute: Compute,
    ) -> Result<Settings, StepError> {
        let unchecked = |what: &str| StepError::internal(format!("`{what}` was not checked"));
        let optimizer = self.optimizer.clone().or_else(|| Pick::default_of("adamw"));
        let schedule = self.schedule.clone().or_else(|| Pick::default_of("linear"));
        let keep = match &self.keep {
            KeepRule::Last => Keep::Last,
            KeepRule::Best(best) => Keep::Best(Self::measure(&best.metric)?),
        };
        let stop_early = match &self.stop_early {
            None => None,
            Some(StopRule::Patience(rule)) => Some(StopEarly {
                measure: Self::measure(&rule.metric)?,
                patience: rule.validations,
                min_delta: rule.min_delta,
            }),
        };
        let size = self.batch.value as usize;
        Ok(Settings {
            optimizer: optimizer
                .and_then(|pick| pick.build())
                .ok_or_else(|| unchecked("optimizer"))?,
            schedule: schedule
                .and_then(|pick| pick.build())
                .ok_or_else(|| unchecked("schedule"))?,
            budget: match quick {
                Some(updates) => Budget::Updates(updates as u64),
                None => length(&self.budget),
            },
            batch: if self.batch.unit == Unit::Tokens {
                BatchSize::Tokens(size)
            } else {
                BatchSize::Rows(size)
            },
            gradient_accumulation: self.gradient_accumulation,
            defer_rows: true,
            max_grad_norm: self.max_grad_norm,
            loss,
            layer_decay: self.layer_decay,
            validate_every: length(&self.validate_every),
            keep,
            stop_early,
            checkpoint_every: Some(length(&self.checkpoint_every)),
            seed: self.seed(),
            compute,
        })
    }

    /// The program's seed where the step has none of its own.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or(42) as u64
    }
}
