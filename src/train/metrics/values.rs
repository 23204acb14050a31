//! Metrics of one number per row: correlations and errors.

use crate::params;

use super::scored::Order;
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, Values};

macro_rules! of_values {
    ($($(#[doc = $doc:expr])* $metric:ident $name:literal $direction:ident $compute:ident;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {}
        }

        impl Metric for $metric {
            fn name(&self) -> String {
                $name.to_string()
            }

            fn fits(&self) -> &'static [Kind] {
                &[Kind::Values]
            }

            fn direction(&self) -> Direction {
                Direction::$direction
            }

            fn compute(&self, sample: &Sample) -> Outcome {
                match sample.scored() {
                    Scored::Values(values) => $compute(values, sample),
                    other => Outcome::misfit(other.kind()),
                }
            }
        }
    )*};
}

of_values! {
    /// Linear correlation; undefined where either side never varies.
    Pearson "pearson" LargerIsBetter pearson;
    /// Linear correlation of the ranks; equal values share their mean rank.
    Spearman "spearman" LargerIsBetter spearman;
    /// Kendall's τ-b: pairs in the same order less those in the opposite one, corrected for ties.
    KendallTau "kendall_tau_b" LargerIsBetter kendall;
    /// Mean squared error.
    MeanSquaredError "mse" SmallerIsBetter mean_squared_error;
    /// Root of the mean squared error, in the unit of the values.
    RootMeanSquaredError "rmse" SmallerIsBetter root_mean_squared_error;
    /// Mean absolute error, in the unit of the values.
    MeanAbsoluteError "mae" SmallerIsBetter mean_absolute_error;
    /// Share of the variance explained (R²): 1 less squared errors by squared distances from the mean.
    R2 "r2" LargerIsBetter r2;
}

fn pearson(values: &Values, sample: &Sample) -> Outcome {
    correlation(values.truth(), values.predicted(), sample)
}

fn spearman(values: &Values, sample: &Sample) -> Outcome {
    let [truth, predicted] = values.orders();
    correlation(&ranks(truth, sample), &ranks(predicted, sample), sample)
}

/// Ranks by falling value, from 1, of rows taken as often as the sample says.
fn ranks(order: &Order, sample: &Sample) -> Vec<f64> {
    let mut ranks = vec![0.0; order.indices.len()];
    let mut above = 0.0;
    for run in order.runs() {
        let taken: f64 = run.iter().map(|row| f64::from(sample.weights()[*row as usize])).sum();
        for row in run {
            ranks[*row as usize] = above + (taken + 1.0) / 2.0;
        }
        above += taken;
    }
    ranks
}

fn correlation(a: &[f64], b: &[f64], sample: &Sample) -> Outcome {
    if sample.total() < 2 {
        return Outcome::Undefined("a correlation needs at least two rows".to_string());
    }
    if constant(a, sample) || constant(b, sample) {
        return never_varies();
    }
    let mean_a = sample.mean(a.iter().copied());
    let mean_b = sample.mean(b.iter().copied());
    let (mut of_both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for ((a, b), weight) in a.iter().zip(b).zip(sample.weights()) {
        let (a, b, weight) = (a - mean_a, b - mean_b, f64::from(*weight));
        of_both += weight * a * b;
        of_a += weight * a * a;
        of_b += weight * b * b;
    }
    let correlation = of_both / (of_a.sqrt() * of_b.sqrt());
    if correlation.is_finite() {
        Outcome::Value(correlation.clamp(-1.0, 1.0))
    } else {
        never_varies()
    }
}

/// Whether all rows taken have the same value.
fn constant(values: &[f64], sample: &Sample) -> bool {
    let mut taken = values.iter().zip(sample.weights()).filter(|(_, weight)| **weight > 0);
    match taken.next() {
        Some((first, _)) => taken.all(|(value, _)| value == first),
        None => true,
    }
}

fn never_varies() -> Outcome {
    Outcome::Undefined("the true or the predicted value is the same in every row".to_string())
}

fn kendall(values: &Values, sample: &Sample) -> Outcome {
    if sample.total() < 2 {
        return Outcome::Undefined("a correlation needs at least two rows".to_string());
    }
    let [by_truth, by_predicted] = values.orders();
    // The level of every row's prediction: 0 is the largest.
    let mut level = vec![0usize; by_predicted.indices.len()];
    let mut ties_predicted = 0u64;
    for (place, run) in by_predicted.runs().enumerate() {
        run.iter().for_each(|row| level[*row as usize] = place);
        ties_predicted += pairs(taken(run, sample));
    }
    let mut seen = Counts::new(by_predicted.ends.len());
    let (mut balance, mut above, mut ties_truth) = (0i64, 0u64, 0u64);
    for run in by_truth.runs() {
        for row in run {
            let weight = i64::from(sample.weights()[*row as usize]);
            let level = level[*row as usize];
            let larger = seen.below(level) as i64;
            let not_smaller = seen.below(level + 1) as i64;
            balance += weight * (larger - (above as i64 - not_smaller));
        }
        for row in run {
            seen.add(level[*row as usize], u64::from(sample.weights()[*row as usize]));
        }
        let taken = taken(run, sample);
        above += taken;
        ties_truth += pairs(taken);
    }
    let all = pairs(sample.total());
    if all == ties_truth || all == ties_predicted {
        return never_varies();
    }
    let tau = balance as f64
        / ((all - ties_truth) as f64).sqrt()
        / ((all - ties_predicted) as f64).sqrt();
    Outcome::Value(tau.clamp(-1.0, 1.0))
}

fn taken(run: &[u32], sample: &Sample) -> u64 {
    run.iter().map(|row| u64::from(sample.weights()[*row as usize])).sum()
}

fn pairs(rows: u64) -> u64 {
    rows * rows.saturating_sub(1) / 2
}

/// Counts by level with sums of all lower levels in logarithmic time (a Fenwick tree).
struct Counts(Vec<u64>);

impl Counts {
    fn new(levels: usize) -> Self {
        Self(vec![0; levels + 1])
    }

    fn add(&mut self, level: usize, count: u64) {
        let mut place = level + 1;
        while let Some(cell) = self.0.get_mut(place) {
            *cell += count;
            place += place & place.wrapping_neg();
        }
    }

    /// The sum of the levels under `level`.
    fn below(&self, level: usize) -> u64 {
        let (mut place, mut sum) = (level, 0);
        while place > 0 {
            sum += self.0[place];
            place -= place & place.wrapping_neg();
        }
        sum
    }
}

fn errors(values: &Values) -> impl Iterator<Item = f64> {
    values.truth().iter().zip(values.predicted()).map(|(truth, predicted)| truth - predicted)
}

fn mean_squared(values: &Values, sample: &Sample) -> f64 {
    sample.mean(errors(values).map(|error| error * error))
}

fn mean_squared_error(values: &Values, sample: &Sample) -> Outcome {
    Outcome::Value(mean_squared(values, sample))
}

fn root_mean_squared_error(values: &Values, sample: &Sample) -> Outcome {
    Outcome::Value(mean_squared(values, sample).sqrt())
}

fn mean_absolute_error(values: &Values, sample: &Sample) -> Outcome {
    Outcome::Value(sample.mean(errors(values).map(f64::abs)))
}

fn r2(values: &Values, sample: &Sample) -> Outcome {
    if sample.total() < 2 {
        return Outcome::Undefined("R² needs at least two rows".to_string());
    }
    let squared_error = mean_squared(values, sample);
    let mean = sample.mean(values.truth().iter().copied());
    let variance = sample.mean(values.truth().iter().map(|truth| (truth - mean).powi(2)));
    if variance == 0.0 || constant(values.truth(), sample) {
        let value = f64::from(u8::from(squared_error == 0.0));
        sample.warn(|| format!("the true value is the same in every row: R² is set to {value}"));
        return Outcome::Value(value);
    }
    Outcome::Value(1.0 - squared_error / variance)
}
