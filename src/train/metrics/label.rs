//! Precision, recall, F1 and Jaccard: one ratio of counts per label, averaged in the usual ways,
//! for one class per row and for several labels per row.

use crate::base::suggest;
use crate::{params, variants};

use super::scored::{LabelCounts, RowCounts};
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, Table};

variants! {
    /// how the values of the labels become one
    pub enum Average {
        /// The plain mean over the labels; a label without rows counts 0.
        Macro = "macro",
        /// One ratio over the counts of all labels.
        Micro = "micro",
        /// The mean over the labels, weighted by their true rows.
        Weighted = "weighted",
        /// The positive label's alone.
        Binary = "binary",
        /// The mean over the rows of each row's ratio, where rows have several labels.
        Samples = "samples",
        /// No average: a table with a row per label.
        None = "none",
    }
}

impl Average {
    fn suffix(&self) -> &'static str {
        match self {
            Average::Macro => "macro",
            Average::Micro => "micro",
            Average::Weighted => "weighted",
            Average::Binary => "binary",
            Average::Samples => "samples",
            Average::None => "per_class",
        }
    }
}

/// Which ratio of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ratio {
    Precision,
    Recall,
    F1,
    Jaccard,
}

impl Ratio {
    pub(super) fn name(self) -> &'static str {
        match self {
            Ratio::Precision => "precision",
            Ratio::Recall => "recall",
            Ratio::F1 => "f1",
            Ratio::Jaccard => "jaccard",
        }
    }

    /// Numerator and denominator.
    fn parts(self, counts: LabelCounts) -> (u64, u64) {
        let LabelCounts { both, predicted, truth } = counts;
        match self {
            Ratio::Precision => (both, predicted),
            Ratio::Recall => (both, truth),
            Ratio::F1 => (2 * both, predicted + truth),
            Ratio::Jaccard => (both, predicted + truth - both),
        }
    }

    /// What is missing where the denominator of one label is 0.
    fn missing(self) -> &'static str {
        match self {
            Ratio::Precision => "is never predicted",
            Ratio::Recall => "has no true row",
            Ratio::F1 | Ratio::Jaccard => "is neither true nor predicted anywhere",
        }
    }

    /// What is missing where the denominator of all labels is 0.
    fn all_missing(self) -> &'static str {
        match self {
            Ratio::Precision => "no label is predicted",
            Ratio::Recall => "no label is true",
            Ratio::F1 | Ratio::Jaccard => "no label is true or predicted",
        }
    }

    /// 0 and a warning where the denominator is 0, as scikit-learn does by default.
    pub(super) fn value(
        self,
        counts: LabelCounts,
        sample: &Sample,
        why: impl FnOnce() -> String,
    ) -> f64 {
        let (numerator, denominator) = self.parts(counts);
        if denominator == 0 {
            sample.warn(|| format!("{}: {} is set to 0", why(), self.name()));
            return 0.0;
        }
        numerator as f64 / denominator as f64
    }
}

macro_rules! ratios {
    ($($(#[doc = $doc:expr])* $metric:ident = $ratio:expr, $average:expr;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {
                /// How the values of the labels become one.
                average: Average = $average;
                /// The label that `average = binary` is about; left out, the second of two.
                positive: Option<String>;
            }
        }

        impl Metric for $metric {
            fn name(&self) -> String {
                format!("{}_{}", $ratio.name(), self.average.suffix())
            }

            fn fits(&self) -> &'static [Kind] {
                match self.average {
                    Average::Binary => &[Kind::Classes],
                    Average::Samples => &[Kind::MultiLabel],
                    _ => &[Kind::Classes, Kind::MultiLabel],
                }
            }

            fn direction(&self) -> Direction {
                match self.average {
                    Average::None => Direction::None,
                    _ => Direction::LargerIsBetter,
                }
            }

            fn check(&self, labels: &[String]) -> Result<(), String> {
                match self.average {
                    Average::Binary => positive_label(self.positive.as_deref(), labels).map(drop),
                    _ => Ok(()),
                }
            }

            fn compute(&self, sample: &Sample) -> Outcome {
                average($ratio, &self.average, self.positive.as_deref(), sample)
            }
        }
    )*};
}

ratios! {
    /// Share of the rows predicted to carry a label that carry it.
    Precision = Ratio::Precision, Average::Macro;
    /// Share of the rows that carry a label that are predicted to.
    Recall = Ratio::Recall, Average::Macro;
    /// Harmonic mean of precision and recall.
    F1 = Ratio::F1, Average::Macro;
    /// Rows that carry a label in truth and prediction, by those that do in either.
    Jaccard = Ratio::Jaccard, Average::Macro;
}

/// The place of the label that is "positive", of two if none is named.
pub(super) fn positive_label(positive: Option<&str>, labels: &[String]) -> Result<usize, String> {
    let known = || suggest::list(labels.iter().map(String::as_str));
    match positive {
        Some(name) => labels
            .iter()
            .position(|label| label == name)
            .ok_or_else(|| format!("`{name}` is not one of the labels {}", known())),
        None if labels.len() == 2 => Ok(1),
        None => Err(format!(
            "`average = binary` with the {} labels {} needs `positive = \"…\"`",
            labels.len(),
            known()
        )),
    }
}

fn average(ratio: Ratio, average: &Average, positive: Option<&str>, sample: &Sample) -> Outcome {
    let labels = sample.scored().labels();
    if !matches!(sample.scored().kind(), Kind::Classes | Kind::MultiLabel) {
        return Outcome::misfit(sample.scored().kind());
    }
    let counts = sample.label_counts();
    let of_label = |label: usize| {
        ratio.value(counts[label], sample, || {
            format!("the label `{}` {}", labels[label], ratio.missing())
        })
    };
    match average {
        Average::Macro => {
            Outcome::Value((0..labels.len()).map(of_label).sum::<f64>() / labels.len() as f64)
        }
        Average::Weighted => {
            let rows: u64 = counts.iter().map(|count| count.truth).sum();
            if rows == 0 {
                sample.warn(|| format!("no row carries a label: {} is set to 0", ratio.name()));
                return Outcome::Value(0.0);
            }
            let weighted =
                (0..labels.len()).map(|label| counts[label].truth as f64 * of_label(label));
            Outcome::Value(weighted.sum::<f64>() / rows as f64)
        }
        Average::Micro => {
            let all = counts.iter().fold(LabelCounts::default(), |sum, count| LabelCounts {
                both: sum.both + count.both,
                predicted: sum.predicted + count.predicted,
                truth: sum.truth + count.truth,
            });
            Outcome::Value(ratio.value(all, sample, || ratio.all_missing().to_string()))
        }
        Average::Binary => match positive_label(positive, labels) {
            Ok(label) => Outcome::Value(of_label(label)),
            Err(reason) => Outcome::Undefined(reason),
        },
        Average::Samples => match sample.scored() {
            Scored::MultiLabel(rows) => {
                let of_row = |counts: &RowCounts| {
                    let counts = LabelCounts {
                        both: u64::from(counts.both),
                        predicted: u64::from(counts.predicted),
                        truth: u64::from(counts.truth),
                    };
                    ratio.value(counts, sample, || format!("in some rows {}", ratio.all_missing()))
                };
                Outcome::Value(sample.mean(rows.counts().iter().map(of_row)))
            }
            other => Outcome::misfit(other.kind()),
        },
        Average::None => Outcome::Table(Table {
            corner: "label".to_string(),
            columns: vec![ratio.name().to_string(), "support".to_string()],
            rows: labels
                .iter()
                .enumerate()
                .map(|(label, name)| {
                    (name.clone(), vec![of_label(label), counts[label].truth as f64])
                })
                .collect(),
        }),
    }
}
