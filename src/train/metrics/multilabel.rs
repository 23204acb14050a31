//! Metrics of several labels per row that look at whole rows or single cells. Precision, recall,
//! F1 and Jaccard are in `label`.

use crate::params;

use super::{Direction, Kind, Metric, MultiLabel, Outcome, Sample, Scored};

params! {
    /// Share of rows in which every label is right.
    pub struct SubsetAccuracy {}
}

impl Metric for SubsetAccuracy {
    fn name(&self) -> String {
        "subset_accuracy".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::MultiLabel]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_labels(sample, |labels| {
            let right = labels.counts().iter().map(|counts| {
                f64::from(u8::from(counts.both == counts.truth && counts.both == counts.predicted))
            });
            Outcome::Value(sample.mean(right))
        })
    }
}

params! {
    /// Share of the cells (row × label) that are wrong.
    pub struct HammingLoss {}
}

impl Metric for HammingLoss {
    fn name(&self) -> String {
        "hamming_loss".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::MultiLabel]
    }

    fn direction(&self) -> Direction {
        Direction::SmallerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_labels(sample, |labels| {
            let wrong = labels
                .counts()
                .iter()
                .map(|counts| f64::from(counts.truth + counts.predicted - 2 * counts.both));
            Outcome::Value(sample.mean(wrong) / labels.labels().len() as f64)
        })
    }
}

fn with_labels(sample: &Sample, compute: impl FnOnce(&MultiLabel) -> Outcome) -> Outcome {
    match sample.scored() {
        Scored::MultiLabel(labels) => compute(labels),
        other => Outcome::misfit(other.kind()),
    }
}
