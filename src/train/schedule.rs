//! Learning-rate schedules: pure functions of the update's number. Each is one entry of a table,
//! with transformers' names and formulas. The peak rate belongs to the optimizer.

use std::f64::consts::PI;

use crate::schema::{Entry, Family, Or, Quantity, Share, Unit};
use crate::{entry, params};

/// How long a part of a run is: a share of all updates, or `100 updates`, `1 epoch`.
pub type Span = Or<Share, Quantity<3>>;

/// The extent of a run, in updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// T: all updates of the run.
    pub total: u64,
    /// U: updates of one epoch.
    pub per_epoch: u64,
    /// The peak rate.
    pub learning_rate: f64,
}

impl Extent {
    /// The number of updates that a span stands for; a share is rounded up: ⌈share · T⌉.
    pub fn updates(&self, span: &Span) -> u64 {
        match span {
            Or::First(Share(share)) => round_up(share * self.total as f64),
            Or::Second(Quantity { value, unit: Unit::Epochs }) => {
                round_up(value * self.per_epoch as f64)
            }
            Or::Second(Quantity { value, .. }) => round_up(*value),
        }
    }
}

/// Rounds up, and takes what is a whole number but for the last bits of a product as that number.
pub fn round_up(number: f64) -> u64 {
    let nearest = number.round();
    if (number - nearest).abs() < 1e-9 * nearest.max(1.0) {
        nearest as u64
    } else {
        number.ceil() as u64
    }
}

/// A learning-rate schedule.
pub trait Schedule: Send + Sync {
    /// λ(k): the factor on the peak rate in update `update`, counted from 0.
    fn factor(&self, update: u64, extent: &Extent) -> f64;
}

/// The set of schedules.
pub struct Schedules;

impl Family for Schedules {
    type Item = dyn Schedule;
    const WHAT: &'static str = "a schedule";

    fn table() -> &'static [Entry<dyn Schedule>] {
        &[
            entry!("linear", Linear => dyn Schedule),
            entry!("constant", Constant => dyn Schedule),
            entry!("constant_with_warmup", ConstantWithWarmup => dyn Schedule),
            entry!("cosine", Cosine => dyn Schedule),
            entry!("cosine_with_restarts", CosineWithRestarts => dyn Schedule),
            entry!("cosine_with_min_lr", CosineWithMinLr => dyn Schedule),
            entry!("polynomial", Polynomial => dyn Schedule),
            entry!("inverse_sqrt", InverseSqrt => dyn Schedule),
            entry!("warmup_stable_decay", WarmupStableDecay => dyn Schedule),
        ]
    }
}

/// The default of every `warmup`: none.
const NONE: Span = Or::First(Share(0.0));

/// A run's place with regard to its warmup.
enum Phase {
    /// The factor in the warmup.
    Warmup(f64),
    /// p: the share of what follows the warmup that is over.
    After(f64),
}

fn phase(update: u64, warmup: u64, total: u64) -> Phase {
    if update < warmup {
        Phase::Warmup(update as f64 / warmup.max(1) as f64)
    } else {
        let rest = total.saturating_sub(warmup).max(1);
        Phase::After((update - warmup) as f64 / rest as f64)
    }
}

params! {
    /// Rises through the warmup, then falls in a straight line to 0 at the end.
    pub struct Linear {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
    }
}

impl Schedule for Linear {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        let warmup = extent.updates(&self.warmup);
        match phase(update, warmup, extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(_) => {
                let rest = extent.total.saturating_sub(warmup).max(1);
                (extent.total.saturating_sub(update) as f64 / rest as f64).max(0.0)
            }
        }
    }
}

params! {
    /// The same rate throughout.
    pub struct Constant {}
}

impl Schedule for Constant {
    fn factor(&self, _: u64, _: &Extent) -> f64 {
        1.0
    }
}

params! {
    /// Rises through the warmup, then stays.
    pub struct ConstantWithWarmup {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
    }
}

impl Schedule for ConstantWithWarmup {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        match phase(update, extent.updates(&self.warmup), extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(_) => 1.0,
        }
    }
}

params! {
    /// Rises through the warmup, then falls along a cosine.
    pub struct Cosine {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// Waves of the cosine; one half falls from the peak to 0.
        cycles: f64 = 0.5, in (0.0, 1000.0);
    }
}

impl Schedule for Cosine {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        match phase(update, extent.updates(&self.warmup), extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(progress) => cosine(self.cycles, progress).max(0.0),
        }
    }
}

fn cosine(cycles: f64, progress: f64) -> f64 {
    0.5 * (1.0 + (PI * cycles * 2.0 * progress).cos())
}

params! {
    /// Rises through the warmup, then falls along a cosine several times, each time from the peak.
    pub struct CosineWithRestarts {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// How often the rate falls.
        cycles: usize = 1, in (1, 10_000);
    }
}

impl Schedule for CosineWithRestarts {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        match phase(update, extent.updates(&self.warmup), extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(progress) if progress >= 1.0 => 0.0,
            Phase::After(progress) => {
                let place = (self.cycles as f64 * progress) % 1.0;
                (0.5 * (1.0 + (PI * place).cos())).max(0.0)
            }
        }
    }
}

params! {
    /// Rises through the warmup, then falls along a cosine to a share of the peak.
    pub struct CosineWithMinLr {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// Waves of the cosine; one half falls from the peak to the lowest rate.
        cycles: f64 = 0.5, in (0.0, 1000.0);
        /// The lowest rate, as a share of the peak.
        min_lr_rate: f64 = 0.0, in (0.0, 1.0);
    }
}

impl Schedule for CosineWithMinLr {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        match phase(update, extent.updates(&self.warmup), extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(progress) => {
                let lowest = self.min_lr_rate;
                (cosine(self.cycles, progress) * (1.0 - lowest) + lowest).max(0.0)
            }
        }
    }
}

params! {
    /// Rises through the warmup, then falls along a power of the remaining share.
    pub struct Polynomial {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// The exponent; 1 is a straight line.
        power: f64 = 1.0, in (0.0, 100.0);
        /// The rate at the end.
        lr_end: f64 = 1e-7, in (0.0, 10.0);
    }
}

impl Schedule for Polynomial {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        let peak = extent.learning_rate;
        match phase(update, extent.updates(&self.warmup), extent.total) {
            Phase::Warmup(factor) => factor,
            Phase::After(_) if update > extent.total => self.lr_end / peak,
            Phase::After(progress) => {
                ((peak - self.lr_end) * (1.0 - progress).powf(self.power) + self.lr_end) / peak
            }
        }
    }
}

params! {
    /// Rises through the warmup, then falls with the inverse square root of the update's number.
    pub struct InverseSqrt {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// Updates in which the rate falls to 71 % of the peak; by default the warmup, or 10 000.
        timescale: Option<usize>, in (1, 1_000_000_000);
    }
}

impl Schedule for InverseSqrt {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        let warmup = extent.updates(&self.warmup);
        if update < warmup {
            return update as f64 / warmup.max(1) as f64;
        }
        let default = if warmup == 0 { 10_000.0 } else { warmup as f64 };
        let timescale = self.timescale.map_or(default, |timescale| timescale as f64);
        let shift = timescale - warmup as f64;
        1.0 / ((update as f64 + shift) / timescale).sqrt()
    }
}

params! {
    /// Rises, stays, and falls along a cosine in its last part.
    pub struct WarmupStableDecay {
        /// How long the rate rises from 0.
        warmup: Span = NONE;
        /// How long the rate falls, at the end.
        decay: Span = Or::First(Share(0.1));
        /// The lowest rate, as a share of the peak.
        min_lr_ratio: f64 = 0.0, in (0.0, 1.0);
        /// Waves of the cosine; one half falls from the peak to the lowest rate.
        cycles: f64 = 0.5, in (0.0, 1000.0);
    }
}

impl Schedule for WarmupStableDecay {
    fn factor(&self, update: u64, extent: &Extent) -> f64 {
        let warmup = extent.updates(&self.warmup);
        let decay = extent.updates(&self.decay);
        let lowest = self.min_lr_ratio;
        if update < warmup {
            let factor = update as f64 / warmup.max(1) as f64;
            return (factor * (1.0 - lowest) + lowest).max(0.0);
        }
        let falls_at = extent.total.saturating_sub(decay).max(warmup);
        if update < falls_at {
            return 1.0;
        }
        if update < falls_at + decay {
            let progress = (update - falls_at) as f64 / decay.max(1) as f64;
            return (cosine(self.cycles, progress) * (1.0 - lowest) + lowest).max(0.0);
        }
        lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Bound, Pick};

    /// `golden/metrics.json`, key `schedules`: transformers' rates at every step.
    #[test]
    fn rates_are_those_of_transformers() {
        let text = include_str!("../../tests/golden/metrics.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = golden["schedules"].as_object().unwrap();
        assert!(cases.len() >= 9);
        for (name, case) in cases {
            let mut pick = Pick::<Schedules>::default_of(name).unwrap();
            let updates = |count: &serde_json::Value| {
                Or::<Share, Quantity<3>>::Second(Quantity::new(
                    count.as_f64().unwrap(),
                    Unit::Updates,
                ))
            };
            let mut given = vec![("warmup", bound(updates(&case["num_warmup_steps"])))];
            for (option, value) in case["kwargs"].as_object().unwrap() {
                given.push(match option.as_str() {
                    "num_cycles" => ("cycles", number(value)),
                    "num_decay_steps" => ("decay", bound(updates(value))),
                    "min_lr_rate" => ("min_lr_rate", number(value)),
                    "power" => ("power", number(value)),
                    "lr_end" => ("lr_end", number(value)),
                    other => panic!("an option of transformers that is not known here: {other}"),
                });
            }
            for (option, value) in given {
                match pick.args.iter_mut().find(|(name, _)| name == option) {
                    Some((_, argument)) => {
                        *argument = match (&*argument, value) {
                            (Bound::Int(_), Bound::Float(value)) => Bound::Int(value as i64),
                            (_, value) => value,
                        }
                    }
                    None => assert_eq!((name.as_str(), option), ("constant", "warmup")),
                }
            }
            let extent = Extent {
                total: case["num_training_steps"].as_u64().unwrap(),
                per_epoch: 10,
                learning_rate: case["learning_rate"].as_f64().unwrap(),
            };
            let schedule = pick.build().unwrap();
            for (update, rate) in case["lr_at_step"].as_array().unwrap().iter().enumerate() {
                let found = extent.learning_rate * schedule.factor(update as u64, &extent);
                let wanted = rate.as_f64().unwrap();
                assert!(
                    (found - wanted).abs() <= 1e-9 * wanted.abs().max(1e-9),
                    "{name}, step {update}"
                );
            }
        }
    }

    fn bound<T: crate::schema::Arg>(value: T) -> Bound {
        value.to_bound()
    }

    fn number(value: &serde_json::Value) -> Bound {
        Bound::Float(value.as_f64().unwrap())
    }

    #[test]
    fn spans_are_rounded_up() {
        let extent = Extent { total: 938, per_epoch: 469, learning_rate: 1.0 };
        assert_eq!(extent.updates(&Or::First(Share(0.06))), 57); // 56.28
        assert_eq!(extent.updates(&Or::Second(Quantity::new(0.5, Unit::Epochs))), 235);
        let hundred = Extent { total: 100, ..extent };
        assert_eq!(hundred.updates(&Or::First(Share(0.07))), 7); // 7.000000000000001 in f64
    }
}
