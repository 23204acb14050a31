//! From arguments to the settings of a run.

use super::{KeepRule, Length, LossRule, LossWord, StopRule, Train, WeightRule};
use crate::base::Code;
use crate::data::{BatchSize, Fingerprints, Targets, Tokens};
use crate::model::{Compute, Model};
use crate::schema::{Or, Pick, PortRef, Unit};
use crate::step::eval::{masking, partners};
use crate::step::run::{Event, RunCx, StepError};
use crate::task::labels::Reconciled;
use crate::task::{LossOptions, Network, Outputs};
use crate::train::masking::Masking;
use crate::train::metrics::PickMetric;
use crate::train::{Budget, Keep, Measure, Settings, StopEarly, TokenExamples};

fn length(of: &Length) -> Budget {
    match of.unit {
        Unit::Epochs => Budget::Epochs(of.value),
        _ => Budget::Updates(of.value.ceil() as u64),
    }
}

impl Train {
    /// The targets of rows, in the model's order of labels.
    pub(super) fn targets(
        &self,
        network: &Network,
        tokens: &Tokens,
        labels: &Reconciled,
    ) -> Result<Targets, StepError> {
        let targets = labels.apply(&network.task().targets(&tokens.targets, &tokens.labels)?);
        if network.task().outputs() != Outputs::Vectors {
            return Ok(targets);
        }
        let wrong = |message: String| StepError::new(Code::E0502, message).argument("loss");
        match (&self.loss, &targets) {
            (Some(LossRule::InBatchNegatives(_)), _) | (None, Targets::None) => {
                Ok(partners(tokens.rows()))
            }
            (Some(_), Targets::None) => Err(wrong("the rows have no scores to learn".to_string())
                .help("`loss = in_batch_negatives` learns from pairs alone")),
            (Some(LossRule::Cosine(rule)), Targets::Value(scores)) => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if f64::from(most) > rule.highest {
                    let message = format!(
                        "a score is {most}, and no cosine is more than 1 = {most} / {most}"
                    );
                    return Err(wrong(message).help(format!(
                        "`loss = cosine({most})` compares cosines with score / {most}"
                    )));
                }
                Ok(targets)
            }
            _ => Ok(targets),
        }
    }

    /// Rows as the head learns from them.
    pub(super) fn examples<'a>(
        &self,
        network: &Network,
        model: &Model,
        tokens: &'a Tokens,
        targets: Targets,
    ) -> Result<TokenExamples<'a>, StepError> {
        Ok(match network.task().outputs() {
            Outputs::Tokens => TokenExamples::masked(tokens, self.masking(model)?),
            _ => TokenExamples::new(tokens, targets),
        })
    }

    /// Warns of rows to validate on that are learned from. Parts of one table were compared when it was
    /// divided, by their texts.
    pub(super) fn report_shared(&self, tokens: &Tokens, validation: &Tokens, cx: &mut RunCx) {
        let step = |port: &PortRef| match port {
            PortRef::One { step, .. } => Some(step.clone()),
            _ => None,
        };
        let other = self.validate.as_ref().and_then(|port| step(&port.source));
        if other == step(&self.data.source) {
            return;
        }
        let count = Fingerprints::of(tokens).count(validation);
        if count > 0 {
            let of = validation.examples();
            let verb = if count == 1 { "is" } else { "are" };
            let message = format!(
                "{count} of {of} rows of `validate` {verb} among those of `data` too, token by token"
            );
            cx.control.event(Event::Warning { message });
        }
    }

    /// How tokens are masked.
    fn masking(&self, model: &Model) -> Result<Masking, StepError> {
        let whole_words = match &self.loss {
            Some(LossRule::Masked(rule)) => rule.whole_words,
            _ => Masking::USUAL.1,
        };
        masking(model, self.masked_share(), whole_words)
    }

    /// The share of the tokens that are to be guessed.
    pub(super) fn masked_share(&self) -> f64 {
        match &self.loss {
            Some(LossRule::Masked(rule)) => rule.share.0,
            _ => Masking::USUAL.0,
        }
    }

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
            Some(Or::First(WeightRule::Balanced)) => balanced(labels.len(), targets),
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
            neftune: self.neftune,
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

/// rows / (classes · rows of the class), over the rows that have a class; 0 for a class without rows.
fn balanced(labels: usize, targets: &Targets) -> Option<Vec<f32>> {
    let (Targets::Class(classes) | Targets::Each { classes, .. }) = targets else { return None };
    let mut counts = vec![0usize; labels];
    for class in classes {
        let place = usize::try_from(*class).ok().and_then(|class| counts.get_mut(class));
        place.into_iter().for_each(|count| *count += 1);
    }
    let rows: usize = counts.iter().sum();
    let weight = |count: &usize| match count {
        0 => 0.0,
        count => (rows as f64 / (labels * count) as f64) as f32,
    };
    Some(counts.iter().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 4 rows with a class, 3 of them of the first; each class weighs 2 as a whole.
    #[test]
    fn balanced_classes_weigh_the_same() {
        let classes = Targets::Class(vec![0, 1, 0, -100, 0]);
        assert_eq!(balanced(2, &classes), Some(vec![4.0 / 6.0, 2.0]));
        assert_eq!(balanced(3, &classes), Some(vec![4.0 / 9.0, 4.0 / 3.0, 0.0]));
        assert_eq!(balanced(2, &Targets::Value(vec![1.0])), None);
    }
}
