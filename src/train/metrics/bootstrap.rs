//! Percentile bootstrap intervals: rows drawn with replacement as often as there are rows, every
//! metric computed on each resample. Source: Efron and Tibshirani 1993, chapter 13.
//!
//! A resample is a function of (seed, its number, the number of rows) alone: all metrics of one
//! call, and of two models on the same rows, see the same resamples.

use rayon::prelude::*;

use super::{Measured, Metric, Outcome, Sample, Scored, compute};
use crate::base::random::{Purpose, Stream};
use crate::schema::Share;
use crate::{params, variants};

params! {
    /// Resamples rows with replacement and takes the middle of the values.
    pub struct Bootstrap {
        /// How many resamples are drawn.
        resamples: usize = 1_000, in (20.0, 1e6);
        /// The share of the resamples that the interval covers.
        level: Share = Share(0.95), in (0.5, 0.999);
        /// Where the draws start.
        seed: usize = 0;
    }
}

variants! {
    /// how sure a value is
    pub enum IntervalMethod {
        /// Percentiles of resampled rows.
        Bootstrap(Bootstrap) = "bootstrap",
        /// Values alone.
        None = "none",
    }
}

impl Bootstrap {
    /// With every argument left out.
    pub fn usual() -> Self {
        Self { resamples: 1_000, level: Share(0.95), seed: 0 }
    }
}

/// Where a value lies with probability `level`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    pub level: f64,
    /// How many resamples gave a value.
    pub resamples: usize,
}

/// More resamples without a value than this share, and there is no interval: it would describe
/// the lucky resamples alone.
const LARGEST_UNDEFINED_SHARE: f64 = 0.05;

pub(super) fn with_intervals(
    bootstrap: &Bootstrap,
    metrics: &[Box<dyn Metric>],
    scored: &Scored,
    mut measured: Vec<Measured>,
) -> Vec<Measured> {
    let valued: Vec<usize> =
        (0..metrics.len()).filter(|place| measured[*place].outcome.value().is_some()).collect();
    if valued.is_empty() {
        return measured;
    }
    let values = resampled(bootstrap, scored, |sample| {
        valued.iter().map(|place| compute(metrics[*place].as_ref(), sample)).collect()
    });
    for (column, place) in valued.into_iter().enumerate() {
        let of_metric: Vec<f64> =
            values.iter().filter_map(|row: &Vec<Outcome>| row[column].value()).collect();
        let measured = &mut measured[place];
        let undefined = bootstrap.resamples - of_metric.len();
        if undefined as f64 > LARGEST_UNDEFINED_SHARE * bootstrap.resamples as f64 {
            measured.warnings.push(format!(
                "no interval: the value is undefined in {undefined} of {} resamples",
                bootstrap.resamples
            ));
            continue;
        }
        if undefined > 0 {
            measured.warnings.push(format!(
                "the interval leaves out {undefined} of {} resamples in which the value is undefined",
                bootstrap.resamples
            ));
        }
        measured.interval = percentiles(of_metric, bootstrap.level.0);
    }
    measured
}

/// `compute` on every resample, in the order of their numbers whatever the number of threads.
fn resampled<T: Send>(
    bootstrap: &Bootstrap,
    scored: &Scored,
    compute: impl Fn(&Sample) -> T + Sync,
) -> Vec<T> {
    let stream = Stream::new(bootstrap.seed as u64, Purpose::Bootstrap);
    let rows = scored.rows();
    (0..bootstrap.resamples as u64)
        .into_par_iter()
        .map_init(
            || vec![0u32; rows],
            |weights, resample| {
                draw(&stream, resample, weights);
                compute(&Sample::new(scored, weights, false))
            },
        )
        .collect()
}

/// Sets `weights` to how often each row is drawn. Four rows come from one block; the bias towards
/// any row is below rows / 2³².
fn draw(stream: &Stream, resample: u64, weights: &mut [u32]) {
    weights.fill(0);
    let rows = weights.len() as u64;
    for block in 0..rows.div_ceil(4) {
        let left = (rows - 4 * block).min(4) as usize;
        for word in &stream.bits(resample, block)[..left] {
            weights[((u64::from(*word) * rows) >> 32) as usize] += 1;
        }
    }
}

/// The middle `level` of the values, interpolated linearly between neighbours as numpy does.
fn percentiles(mut values: Vec<f64>, level: f64) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let (low, high) = (values[below], values[(below + 1).min(last)]);
        low + (high - low) * (place - below as f64)
    };
    let tail = (1.0 - level) / 2.0;
    Some(Interval { low: at(tail), high: at(1.0 - tail), level, resamples: values.len() })
}
