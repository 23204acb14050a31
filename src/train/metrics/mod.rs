//! Metrics: what predictions are worth. The trait, the table of all metrics, and `measure`, which
//! computes some of them with their intervals. What is scored is in `scored`, resampling in
//! `bootstrap`, one file per group of metrics beside it.
//!
//! A metric reads counts and sums over all rows, never averages over batches. It is undefined,
//! with a reason, where scikit-learn and scipy give no number; where scikit-learn sets 0 it is 0
//! and warns.

mod answers;
mod bootstrap;
mod classes;
mod label;
mod losses;
mod multilabel;
mod ranking;
mod retrieval;
mod scored;
mod tags;
#[cfg(test)]
mod tests;
mod values;

pub use answers::{
    Answers, BestNullThreshold, ExactMatch, NullThreshold, Questions, SquadF1, normalised_answer,
};
pub use bootstrap::{Bootstrap, Interval, IntervalMethod};
pub use classes::{
    Accuracy, BalancedAccuracy, Brier, CohenKappa, ConfusionMatrix, ExpectedCalibrationError,
    KappaWeights, LogLoss, MatthewsCorrelation, TopK,
};
pub use label::{Average, F1, Jaccard, Precision, Recall};
pub use losses::{Loss, Losses, Perplexity};
pub use multilabel::{HammingLoss, SubsetAccuracy};
pub use ranking::{AveragePrecision, MultiClass, RankAverage, RocAuc};
pub use retrieval::{NdcgAt, Ranking, RecallAt, ReciprocalRank};
pub use scored::{Classes, Kind, MultiLabel, Sample, Scored, ScoredError, Values};
pub use tags::{
    EntityAverage, EntityF1, EntityMode, EntityPrecision, EntityRecall, EntityReport, EntityScheme,
    Strict, Tags,
};
pub use values::{
    KendallTau, MeanAbsoluteError, MeanSquaredError, Pearson, R2, RootMeanSquaredError, Spearman,
};

use crate::entry;
use crate::schema::{Entry, Family, Pick};

/// One metric with its arguments.
pub trait Metric: Send + Sync {
    /// What its value is called: `f1_macro`.
    fn name(&self) -> String;

    /// The kinds of predictions it can score.
    fn fits(&self) -> &'static [Kind];

    fn direction(&self) -> Direction;

    /// Whether its arguments fit the names of the labels; the message says why not.
    fn check(&self, _labels: &[String]) -> Result<(), String> {
        Ok(())
    }

    /// The value on a sample of at least one row.
    fn compute(&self, sample: &Sample) -> Outcome;
}

/// Which values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    LargerIsBetter,
    SmallerIsBetter,
    /// A table has no order.
    None,
}

/// What a metric comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Value(f64),
    /// No number, and why.
    Undefined(String),
    Table(Table),
}

impl Outcome {
    pub fn value(&self) -> Option<f64> {
        match self {
            Outcome::Value(value) => Some(*value),
            _ => None,
        }
    }

    fn misfit(kind: Kind) -> Self {
        Outcome::Undefined(format!("it does not score {}", kind.describe()))
    }
}

/// Numbers by label.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the names of the rows are.
    pub corner: String,
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<f64>)>,
}

/// The open set of metrics.
pub struct Metrics;

impl Family for Metrics {
    type Item = dyn Metric;
    const WHAT: &'static str = "a metric";

    fn table() -> &'static [Entry<dyn Metric>] {
        &TABLE
    }
}

/// An argument that names a metric: `f1(average = macro)`.
pub type PickMetric = Pick<Metrics>;

static TABLE: [Entry<dyn Metric>; 36] = [
    entry!("accuracy", Accuracy => dyn Metric),
    entry!("balanced_accuracy", BalancedAccuracy => dyn Metric),
    entry!("precision", Precision => dyn Metric),
    entry!("recall", Recall => dyn Metric),
    entry!("f1", F1 => dyn Metric),
    entry!("jaccard", Jaccard => dyn Metric),
    entry!("matthews_correlation", MatthewsCorrelation => dyn Metric),
    entry!("cohen_kappa", CohenKappa => dyn Metric),
    entry!("confusion_matrix", ConfusionMatrix => dyn Metric),
    entry!("log_loss", LogLoss => dyn Metric),
    entry!("brier", Brier => dyn Metric),
    entry!("roc_auc", RocAuc => dyn Metric),
    entry!("average_precision", AveragePrecision => dyn Metric),
    entry!("top_k", TopK => dyn Metric),
    entry!("expected_calibration_error", ExpectedCalibrationError => dyn Metric),
    entry!("subset_accuracy", SubsetAccuracy => dyn Metric),
    entry!("hamming_loss", HammingLoss => dyn Metric),
    entry!("pearson", Pearson => dyn Metric),
    entry!("spearman", Spearman => dyn Metric),
    entry!("kendall_tau", KendallTau => dyn Metric),
    entry!("mse", MeanSquaredError => dyn Metric),
    entry!("rmse", RootMeanSquaredError => dyn Metric),
    entry!("mae", MeanAbsoluteError => dyn Metric),
    entry!("r2", R2 => dyn Metric),
    entry!("entity_precision", EntityPrecision => dyn Metric),
    entry!("entity_recall", EntityRecall => dyn Metric),
    entry!("entity_f1", EntityF1 => dyn Metric),
    entry!("entity_report", EntityReport => dyn Metric),
    entry!("exact_match", ExactMatch => dyn Metric),
    entry!("squad_f1", SquadF1 => dyn Metric),
    entry!("best_null_threshold", BestNullThreshold => dyn Metric),
    entry!("recall_at", RecallAt => dyn Metric),
    entry!("mrr", ReciprocalRank => dyn Metric),
    entry!("ndcg_at", NdcgAt => dyn Metric),
    entry!("loss", Loss => dyn Metric),
    entry!("perplexity", Perplexity => dyn Metric),
];

/// What is computed where a program names no metrics.
pub fn defaults(kind: Kind) -> Vec<Box<dyn Metric>> {
    let f1 = |average| Box::new(F1 { average, positive: None });
    match kind {
        Kind::Classes => vec![Box::new(Accuracy {}), f1(Average::Macro)],
        Kind::MultiLabel => {
            vec![f1(Average::Micro), f1(Average::Macro), Box::new(SubsetAccuracy {})]
        }
        Kind::Values => {
            vec![Box::new(Pearson {}), Box::new(Spearman {}), Box::new(MeanSquaredError {})]
        }
        Kind::Tags => {
            let (average, mode) = (EntityAverage::Micro, EntityMode::Default);
            vec![Box::new(EntityF1 { average, mode }), Box::new(Accuracy {})]
        }
        Kind::Answers => {
            let (of, threshold) = (|| Questions::All, || NullThreshold::Predicted);
            vec![
                Box::new(ExactMatch { of: of(), threshold: threshold() }),
                Box::new(SquadF1 { of: of(), threshold: threshold() }),
            ]
        }
        Kind::Ranking => vec![
            Box::new(RecallAt { k: 1 }),
            Box::new(RecallAt { k: 10 }),
            Box::new(ReciprocalRank { k: None }),
        ],
        Kind::Losses => vec![Box::new(Loss {}), Box::new(Perplexity {})],
    }
}

/// One metric on all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub name: String,
    pub outcome: Outcome,
    /// Of a value, if intervals were asked for.
    pub interval: Option<Interval>,
    pub direction: Direction,
    /// What the reader of the value should know; also why there is no interval.
    pub warnings: Vec<String>,
}

/// Computes `metrics` on all rows, with an interval for every value if `bootstrap` is given.
///
/// Deterministic: the same for any number of threads.
pub fn measure(
    metrics: &[Box<dyn Metric>],
    scored: &Scored,
    bootstrap: Option<&Bootstrap>,
) -> Vec<Measured> {
    let ones = vec![1; scored.rows()];
    let whole: Vec<Measured> = metrics
        .iter()
        .map(|metric| {
            let sample = Sample::new(scored, &ones, true);
            Measured {
                name: metric.name(),
                outcome: compute(metric.as_ref(), &sample),
                interval: None,
                direction: metric.direction(),
                warnings: sample.into_notes(),
            }
        })
        .collect();
    match bootstrap {
        Some(bootstrap) => bootstrap::with_intervals(bootstrap, metrics, scored, whole),
        None => whole,
    }
}

/// One metric on all rows, without interval or warnings.
pub fn evaluate(metric: &dyn Metric, scored: &Scored) -> Outcome {
    let ones = vec![1; scored.rows()];
    compute(metric, &Sample::new(scored, &ones, false))
}

fn compute(metric: &dyn Metric, sample: &Sample) -> Outcome {
    if sample.total() == 0 {
        return Outcome::Undefined("there are no rows".to_string());
    }
    match metric.compute(sample) {
        Outcome::Value(value) if !value.is_finite() => {
            Outcome::Undefined(format!("the computation gives {value}"))
        }
        outcome => outcome,
    }
}
