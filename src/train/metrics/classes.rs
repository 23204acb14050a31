//! Metrics of one class per row that read the confusion counts or the probabilities. Precision,
//! recall and F1 are in `label`, what ranks rows is in `ranking`.

use crate::{params, variants};

use super::{Classes, Direction, Kind, Metric, Outcome, Sample, Scored, Table};

params! {
    /// Share of rows whose class is predicted; where words have tags, share of words.
    pub struct Accuracy {}
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes, Kind::Tags]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        if let Scored::Tags(tags) = sample.scored() {
            return tags.accuracy(sample);
        }
        with_classes(sample, |classes| {
            Outcome::Value(sample.confusion(classes).right() as f64 / sample.total() as f64)
        })
    }
}

params! {
    /// Mean recall of the classes that occur.
    pub struct BalancedAccuracy {}
}

impl Metric for BalancedAccuracy {
    fn name(&self) -> String {
        "balanced_accuracy".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let confusion = sample.confusion(classes);
            let (mut sum, mut occurring) = (0.0, 0);
            for class in 0..confusion.classes() {
                let rows = confusion.truth()[class];
                if rows > 0 {
                    sum += confusion.at(class, class) as f64 / rows as f64;
                    occurring += 1;
                } else if confusion.predicted()[class] > 0 {
                    sample.warn(|| {
                        format!(
                            "`{}` is predicted but is no row's class: balanced accuracy leaves it out",
                            classes.labels()[class]
                        )
                    });
                }
            }
            Outcome::Value(sum / f64::from(occurring))
        })
    }
}

params! {
    /// Matthews correlation of true and predicted classes; 0 where either never varies.
    /// Source: Gorodkin 2004, as in scikit-learn.
    pub struct MatthewsCorrelation {}
}

impl Metric for MatthewsCorrelation {
    fn name(&self) -> String {
        "matthews_correlation".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let confusion = sample.confusion(classes);
            let dot = |a: &[u64], b: &[u64]| -> f64 {
                a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
            };
            let rows = sample.total() as f64;
            let (truth, predicted) = (confusion.truth(), confusion.predicted());
            let both = confusion.right() as f64 * rows - dot(truth, predicted);
            let of_truth = rows * rows - dot(truth, truth);
            let of_predicted = rows * rows - dot(predicted, predicted);
            if of_truth * of_predicted == 0.0 {
                sample.warn(|| {
                    "the true or the predicted class is always the same: the Matthews correlation \
                     is set to 0"
                        .to_string()
                });
                return Outcome::Value(0.0);
            }
            Outcome::Value(both / (of_truth * of_predicted).sqrt())
        })
    }
}

variants! {
    /// the cost of a disagreement
    pub enum KappaWeights {
        /// Every disagreement costs the same.
        None = "none",
        /// The distance between the places of the two labels.
        Linear = "linear",
        /// The square of that distance.
        Quadratic = "quadratic",
    }
}

params! {
    /// Agreement of true and predicted classes beyond chance. Source: Cohen 1960, 1968.
    pub struct CohenKappa {
        /// What a disagreement costs; other than `none` for labels that have an order.
        weights: KappaWeights = KappaWeights::None;
    }
}

impl Metric for CohenKappa {
    fn name(&self) -> String {
        match self.weights {
            KappaWeights::None => "cohen_kappa".to_string(),
            KappaWeights::Linear => "cohen_kappa_linear".to_string(),
            KappaWeights::Quadratic => "cohen_kappa_quadratic".to_string(),
        }
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let confusion = sample.confusion(classes);
            let (mut observed, mut expected) = (0.0, 0.0);
            for truth in 0..confusion.classes() {
                for predicted in 0..confusion.classes() {
                    let distance = truth.abs_diff(predicted) as f64;
                    let cost = match self.weights {
                        KappaWeights::None => f64::from(u8::from(truth != predicted)),
                        KappaWeights::Linear => distance,
                        KappaWeights::Quadratic => distance * distance,
                    };
                    observed += cost * confusion.at(truth, predicted) as f64;
                    expected += cost
                        * (confusion.truth()[truth] as f64
                            * confusion.predicted()[predicted] as f64
                            / sample.total() as f64);
                }
            }
            if expected == 0.0 {
                return Outcome::Undefined(
                    "every row has the same class and the same prediction, so no disagreement is \
                     expected by chance"
                        .to_string(),
                );
            }
            Outcome::Value(1.0 - observed / expected)
        })
    }
}

params! {
    /// Rows by true class and predicted class.
    pub struct ConfusionMatrix {}
}

impl Metric for ConfusionMatrix {
    fn name(&self) -> String {
        "confusion_matrix".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::None
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let confusion = sample.confusion(classes);
            let width = confusion.classes();
            Outcome::Table(Table {
                corner: "true class".to_string(),
                columns: classes
                    .labels()
                    .iter()
                    .map(|label| format!("predicted {label}"))
                    .collect(),
                rows: classes
                    .labels()
                    .iter()
                    .enumerate()
                    .map(|(truth, label)| {
                        let cells = (0..width).map(|column| confusion.at(truth, column) as f64);
                        (label.clone(), cells.collect())
                    })
                    .collect(),
            })
        })
    }
}

params! {
    /// Mean negative logarithm of the true class's probability, which is kept 2⁻⁵² from 0 and 1 as
    /// in scikit-learn.
    pub struct LogLoss {}
}

impl Metric for LogLoss {
    fn name(&self) -> String {
        "log_loss".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::SmallerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let of_truth = |(row, truth): (&[f64], &usize)| {
                -row[*truth].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
            };
            Outcome::Value(sample.mean(rows(classes).zip(classes.truth()).map(of_truth)))
        })
    }
}

params! {
    /// Mean squared distance of the probabilities from the truth; of two classes the second one's
    /// alone, as in scikit-learn. Source: Brier 1950.
    pub struct Brier {}
}

impl Metric for Brier {
    fn name(&self) -> String {
        "brier".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::SmallerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            // With two classes both distances are equal: half of the sum is one of them.
            let share = if classes.labels().len() == 2 { 0.5 } else { 1.0 };
            let distance = |(row, truth): (&[f64], &usize)| {
                let squares = row.iter().enumerate().map(|(class, probability)| {
                    (probability - f64::from(u8::from(class == *truth))).powi(2)
                });
                share * squares.sum::<f64>()
            };
            Outcome::Value(sample.mean(rows(classes).zip(classes.truth()).map(distance)))
        })
    }
}

params! {
    /// Share of rows whose class is among the `k` largest logits; of equal logits the later class
    /// comes first, as in scikit-learn.
    pub struct TopK {
        /// How many classes count as found.
        k: usize = 5, in (1.0, 1e6), main;
    }
}

impl Metric for TopK {
    fn name(&self) -> String {
        format!("top_{}_accuracy", self.k)
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let width = classes.labels().len();
            if self.k >= width {
                sample.warn(|| {
                    format!(
                        "there are {width} classes, so the class is always in the top {}",
                        self.k
                    )
                });
            }
            let found = |(row, truth): (&[f64], &usize)| {
                let own = row[*truth];
                let before = row
                    .iter()
                    .enumerate()
                    .filter(|(class, logit)| **logit > own || (**logit == own && class > truth))
                    .count();
                f64::from(u8::from(before < self.k))
            };
            let logits = classes.logits().chunks(width.max(1));
            Outcome::Value(sample.mean(logits.zip(classes.truth()).map(found)))
        })
    }
}

params! {
    /// Mean distance between the largest probability and the share of right predictions, over
    /// equal bins of the probability, open below and closed above. Source: Guo et al. 2017.
    pub struct ExpectedCalibrationError {
        /// How many bins the probabilities fall into.
        bins: usize = 15, in (1.0, 1e4);
    }
}

impl Metric for ExpectedCalibrationError {
    fn name(&self) -> String {
        format!("expected_calibration_error_{}", self.bins)
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Classes]
    }

    fn direction(&self) -> Direction {
        Direction::SmallerIsBetter
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_classes(sample, |classes| {
            let bins = self.bins.max(1);
            let mut confidence = vec![0.0; bins];
            let mut right = vec![0u64; bins];
            let pairs = classes.truth().iter().zip(classes.predicted());
            for ((row, (truth, predicted)), weight) in
                rows(classes).zip(pairs).zip(sample.weights())
            {
                let probability = row[*predicted];
                let bin = (probability * bins as f64).ceil() as usize;
                let bin = bin.clamp(1, bins) - 1;
                confidence[bin] += probability * f64::from(*weight);
                right[bin] += u64::from(*weight) * u64::from(truth == predicted);
            }
            let distances =
                confidence.iter().zip(&right).map(|(sum, right)| (sum - *right as f64).abs());
            Outcome::Value(distances.sum::<f64>() / sample.total() as f64)
        })
    }
}

fn rows(classes: &Classes) -> impl Iterator<Item = &[f64]> {
    classes.probabilities().chunks(classes.labels().len().max(1))
}

fn with_classes(sample: &Sample, compute: impl FnOnce(&Classes) -> Outcome) -> Outcome {
    match sample.scored() {
        Scored::Classes(classes) => compute(classes),
        other => Outcome::misfit(other.kind()),
    }
}
