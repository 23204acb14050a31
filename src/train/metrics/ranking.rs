//! Metrics that rank rows by the probability of a label: areas under the ROC curve and average
//! precision. Equal probabilities are one threshold.

use crate::base::suggest;
use crate::{params, variants};

use super::label::positive_label;
use super::scored::Order;
use super::{Classes, Direction, Kind, Metric, MultiLabel, Outcome, Sample, Scored};

variants! {
    /// how more than two classes become pairs of positive and negative rows
    pub enum MultiClass {
        /// Each class against the rest.
        OneVersusRest = "ovr",
        /// Each pair of classes among its own rows (Hand and Till 2001).
        OneVersusOne = "ovo",
    }
}

variants! {
    /// how the values of the labels become one
    pub enum RankAverage {
        /// The plain mean over the labels.
        Macro = "macro",
        /// The mean over the labels, weighted by their true rows.
        Weighted = "weighted",
        /// All cells of several labels per row, ranked together.
        Micro = "micro",
    }
}

impl RankAverage {
    fn suffix(&self) -> &'static str {
        match self {
            RankAverage::Macro => "macro",
            RankAverage::Weighted => "weighted",
            RankAverage::Micro => "micro",
        }
    }
}

params! {
    /// Area under the ROC curve: the chance that a row of the class ranks above a row that is not
    /// of it. Of two classes, the second one's.
    pub struct RocAuc {
        /// Left out: two classes give the second one's area, more give one versus rest.
        multi_class: Option<MultiClass>;
        /// How the areas of several classes or labels become one.
        average: RankAverage = RankAverage::Macro;
    }
}

impl Metric for RocAuc {
    fn name(&self) -> String {
        match (&self.multi_class, &self.average) {
            (None, RankAverage::Macro) => "roc_auc".to_string(),
            (None, average) => format!("roc_auc_{}", average.suffix()),
            (Some(MultiClass::OneVersusRest), average) => {
                format!("roc_auc_ovr_{}", average.suffix())
            }
            (Some(MultiClass::OneVersusOne), average) => {
                format!("roc_auc_ovo_{}", average.suffix())
            }
        }
    }

    fn fits(&self) -> &'static [Kind] {
        match (&self.multi_class, &self.average) {
            (None, RankAverage::Micro) => &[Kind::MultiLabel],
            (None, _) => &[Kind::Classes, Kind::MultiLabel],
            (Some(_), _) => &[Kind::Classes],
        }
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn check(&self, _labels: &[String]) -> Result<(), String> {
        match (&self.multi_class, &self.average) {
            (Some(_), RankAverage::Micro) => {
                Err("`average = micro` ranks several labels per row, not classes".to_string())
            }
            _ => Ok(()),
        }
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        match sample.scored() {
            Scored::Classes(classes) => match (&self.multi_class, classes.labels().len()) {
                (None, 2) => binary_roc(classes, sample),
                (None | Some(MultiClass::OneVersusRest), _) => {
                    one_versus_rest(classes, &self.average, sample)
                }
                (Some(MultiClass::OneVersusOne), _) => {
                    one_versus_one(classes, &self.average, sample)
                }
            },
            Scored::MultiLabel(labels) => {
                let of_label = |label: usize| {
                    let (pairs, truth) = pairs_of_label(labels, label, sample);
                    ratio(pairs, truth, sample.total() - truth)
                };
                match &self.average {
                    RankAverage::Micro => {
                        let (pairs, truth) = flat_pairs(labels, sample);
                        let cells = sample.total() * labels.labels().len() as u64;
                        match ratio(pairs, truth, cells - truth) {
                            Some(area) => Outcome::Value(area),
                            None => Outcome::Undefined(
                                "every cell has the same truth, so nothing can be ranked"
                                    .to_string(),
                            ),
                        }
                    }
                    average => mean_of_labels(labels.labels(), average, sample, of_label),
                }
            }
            other => Outcome::misfit(other.kind()),
        }
    }
}

params! {
    /// Area under the steps of precision over recall. Of two classes the positive one's, of more
    /// and of labels each against the rest. A label without a true row counts 0.
    pub struct AveragePrecision {
        /// The class that is ranked; left out, the second of two, or each in turn.
        positive: Option<String>;
        /// How the areas of several classes or labels become one.
        average: RankAverage = RankAverage::Macro;
    }
}

impl Metric for AveragePrecision {
    fn name(&self) -> String {
        match &self.average {
            RankAverage::Macro => "average_precision".to_string(),
            average => format!("average_precision_{}", average.suffix()),
        }
    }

    fn fits(&self) -> &'static [Kind] {
        match &self.average {
            RankAverage::Micro => &[Kind::MultiLabel],
            _ => &[Kind::Classes, Kind::MultiLabel],
        }
    }

    fn direction(&self) -> Direction {
        Direction::LargerIsBetter
    }

    fn check(&self, labels: &[String]) -> Result<(), String> {
        match &self.positive {
            Some(name) => positive_label(Some(name), labels).map(drop),
            None => Ok(()),
        }
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        let weights = sample.weights();
        match sample.scored() {
            Scored::Classes(classes) => {
                let of_class = |class: usize| {
                    let is_true = |row: u32| classes.truth()[row as usize] == class;
                    let weight = |row: u32| u64::from(weights[row as usize]);
                    precision_steps(&classes.orders()[class], weight, is_true)
                };
                let alone = match &self.positive {
                    None if classes.labels().len() == 2 => Some(1),
                    None => None,
                    Some(name) => match positive_label(Some(name), classes.labels()) {
                        Ok(class) => Some(class),
                        Err(reason) => return Outcome::Undefined(reason),
                    },
                };
                match alone {
                    Some(class) => {
                        Outcome::Value(or_zero(of_class(class), &classes.labels()[class], sample))
                    }
                    None => {
                        let of_class = |class| {
                            Some(or_zero(of_class(class), &classes.labels()[class], sample))
                        };
                        mean_of_labels(classes.labels(), &self.average, sample, of_class)
                    }
                }
            }
            Scored::MultiLabel(labels) => {
                let width = labels.labels().len();
                let of_label = |label: usize| {
                    let is_true = |row: u32| labels.truth()[row as usize * width + label];
                    let weight = |row: u32| u64::from(weights[row as usize]);
                    let area = precision_steps(&labels.orders()[label], weight, is_true);
                    Some(or_zero(area, &labels.labels()[label], sample))
                };
                match &self.average {
                    RankAverage::Micro => {
                        let is_true = |cell: u32| labels.truth()[cell as usize];
                        let weight = |cell: u32| u64::from(weights[cell as usize / width]);
                        let area = precision_steps(labels.flat_order(), weight, is_true);
                        Outcome::Value(or_zero(area, "any", sample))
                    }
                    average => mean_of_labels(labels.labels(), average, sample, of_label),
                }
            }
            other => Outcome::misfit(other.kind()),
        }
    }
}

fn or_zero(area: Option<f64>, label: &str, sample: &Sample) -> f64 {
    area.unwrap_or_else(|| {
        sample.warn(|| {
            format!("the label `{label}` has no true row: its average precision is set to 0")
        });
        0.0
    })
}

/// Sum over thresholds of the gain in recall times precision; `None` without a true item.
fn precision_steps(
    order: &Order,
    weight: impl Fn(u32) -> u64,
    is_true: impl Fn(u32) -> bool,
) -> Option<f64> {
    let (mut taken, mut right, mut area) = (0u64, 0u64, 0.0);
    for run in order.runs() {
        let before = right;
        for item in run {
            let weight = weight(*item);
            taken += weight;
            right += weight * u64::from(is_true(*item));
        }
        if right > before {
            area += (right - before) as f64 * (right as f64 / taken as f64);
        }
    }
    (right > 0).then(|| area / right as f64)
}

/// `pairs` (twice the number won) by twice the number of pairs.
fn ratio(pairs: u64, positive: u64, negative: u64) -> Option<f64> {
    (positive > 0 && negative > 0).then(|| pairs as f64 / (2.0 * positive as f64 * negative as f64))
}

fn only_one_class(classes: &Classes, class: usize) -> Outcome {
    Outcome::Undefined(format!(
        "the class `{}` needs both rows of it and rows of another class to be ranked",
        classes.labels()[class]
    ))
}

fn binary_roc(classes: &Classes, sample: &Sample) -> Outcome {
    let counts = sample.confusion(classes).truth();
    let pairs = pairs_won(classes, 1, sample);
    match ratio(pairs[0], counts[1], counts[0]) {
        Some(area) => Outcome::Value(area),
        None => only_one_class(classes, 1),
    }
}

fn one_versus_rest(classes: &Classes, average: &RankAverage, sample: &Sample) -> Outcome {
    let counts = sample.confusion(classes).truth();
    let of_class = |class: usize| {
        let won = pairs_won(classes, class, sample);
        let against_rest = (0..counts.len()).filter(|other| *other != class);
        let pairs = against_rest.map(|other| won[other]).sum();
        ratio(pairs, counts[class], sample.total() - counts[class])
    };
    mean_of_labels(classes.labels(), average, sample, of_class)
}

fn one_versus_one(classes: &Classes, average: &RankAverage, sample: &Sample) -> Outcome {
    let counts = sample.confusion(classes).truth();
    let occurring: Vec<usize> = (0..counts.len()).filter(|class| counts[*class] > 0).collect();
    if occurring.len() < 2 {
        return Outcome::Undefined(
            "rows of at least two classes are needed to be ranked".to_string(),
        );
    }
    if occurring.len() < counts.len() {
        sample.warn(|| {
            let absent = (0..counts.len()).filter(|class| counts[*class] == 0);
            let absent = absent.map(|class| classes.labels()[class].as_str());
            format!(
                "no row has the class {}: its pairs are left out of ROC AUC",
                suggest::list(absent)
            )
        });
    }
    let won: Vec<Vec<u64>> =
        (0..counts.len()).map(|class| pairs_won(classes, class, sample)).collect();
    let (mut sum, mut weights) = (0.0, 0.0);
    for (place, &a) in occurring.iter().enumerate() {
        for &b in &occurring[place + 1..] {
            let pairs = won[a][b] + won[b][a];
            let area = pairs as f64 / (4.0 * counts[a] as f64 * counts[b] as f64);
            let weight = match average {
                RankAverage::Weighted => (counts[a] + counts[b]) as f64,
                _ => 1.0,
            };
            sum += weight * area;
            weights += weight;
        }
    }
    Outcome::Value(sum / weights)
}

/// For each other class, twice the number of pairs of a row of `class` and a row of the other in
/// which the first has the larger probability of `class`; a tie counts as half a pair.
fn pairs_won(classes: &Classes, class: usize, sample: &Sample) -> Vec<u64> {
    let mut won = vec![0u64; classes.labels().len()];
    let mut above = 0u64;
    for run in classes.orders()[class].runs() {
        let weight = |row: &u32| u64::from(sample.weights()[*row as usize]);
        let of_class = |row: &&u32| classes.truth()[**row as usize] == class;
        let level: u64 = run.iter().filter(of_class).map(weight).sum();
        for row in run {
            won[classes.truth()[*row as usize]] += weight(row) * (2 * above + level);
        }
        above += level;
    }
    won
}

/// Twice the number of pairs won by the rows that carry the label, and the number of these rows.
fn pairs_of_label(labels: &MultiLabel, label: usize, sample: &Sample) -> (u64, u64) {
    let width = labels.labels().len();
    let is_true = |row: u32| labels.truth()[row as usize * width + label];
    let weight = |row: u32| u64::from(sample.weights()[row as usize]);
    two_way_pairs(&labels.orders()[label], weight, is_true)
}

fn flat_pairs(labels: &MultiLabel, sample: &Sample) -> (u64, u64) {
    let width = labels.labels().len();
    let is_true = |cell: u32| labels.truth()[cell as usize];
    let weight = |cell: u32| u64::from(sample.weights()[cell as usize / width]);
    two_way_pairs(labels.flat_order(), weight, is_true)
}

fn two_way_pairs(
    order: &Order,
    weight: impl Fn(u32) -> u64,
    is_true: impl Fn(u32) -> bool,
) -> (u64, u64) {
    let (mut pairs, mut above) = (0u64, 0u64);
    for run in order.runs() {
        let (mut level, mut below) = (0u64, 0u64);
        for item in run {
            let weight = weight(*item);
            if is_true(*item) {
                level += weight;
            } else {
                below += weight;
            }
        }
        pairs += below * (2 * above + level);
        above += level;
    }
    (pairs, above)
}

/// Mean over the labels, undefined if one label's value is. A weighted mean leaves out the labels
/// without a true row, as scikit-learn does.
fn mean_of_labels(
    labels: &[String],
    average: &RankAverage,
    sample: &Sample,
    of_label: impl Fn(usize) -> Option<f64>,
) -> Outcome {
    let counts = sample.label_counts();
    let (mut sum, mut weights) = (0.0, 0.0);
    for (label, name) in labels.iter().enumerate() {
        let weight = match average {
            RankAverage::Weighted => counts[label].truth as f64,
            _ => 1.0,
        };
        if weight == 0.0 {
            sample.warn(|| {
                format!("the label `{name}` has no true row: the weighted mean leaves it out")
            });
            continue;
        }
        let Some(value) = of_label(label) else {
            return Outcome::Undefined(format!(
                "the label `{name}` needs both rows that carry it and rows that do not"
            ));
        };
        sum += weight * value;
        weights += weight;
    }
    if weights == 0.0 {
        sample.warn(|| "no row carries a label: the weighted mean is set to 0".to_string());
        return Outcome::Value(0.0);
    }
    Outcome::Value(sum / weights)
}
