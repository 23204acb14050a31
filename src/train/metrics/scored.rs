//! What a metric reads: predictions beside the truth, and a sample of their rows. The metrics
//! themselves are in the sibling files, resampling is in `bootstrap`.
//!
//! A resample is a multiplicity per row, so sort orders, probabilities and losses of single rows
//! are computed once and shared by all resamples.

use std::cell::{OnceCell, RefCell};
use std::sync::OnceLock;

use super::{Answers, Losses, Ranking, Tags};

/// Predictions of one table with their truth, by the kind of task that made them.
#[derive(Debug)]
pub enum Scored {
    Classes(Classes),
    MultiLabel(MultiLabel),
    Values(Values),
    Tags(Tags),
    Answers(Answers),
    Ranking(Ranking),
    Losses(Losses),
}

/// The kinds of `Scored`: what a metric says it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Classes,
    MultiLabel,
    Values,
    Tags,
    Answers,
    Ranking,
    Losses,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Classes,
        Kind::MultiLabel,
        Kind::Values,
        Kind::Tags,
        Kind::Answers,
        Kind::Ranking,
        Kind::Losses,
    ];

    /// In words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Classes => "one class per row",
            Kind::MultiLabel => "several labels per row",
            Kind::Values => "one number per row",
            Kind::Tags => "one tag per word",
            Kind::Answers => "answers to questions",
            Kind::Ranking => "documents ranked for queries",
            Kind::Losses => "losses of rows",
        }
    }
}

/// Predictions that cannot be scored at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScoredError {
    #[error("{what} has {found} values where {expected} were expected")]
    Length { what: &'static str, found: usize, expected: usize },
    #[error("row {row} has class {class}, but there are {classes} labels")]
    Class { row: usize, class: usize, classes: usize },
    #[error("row {row} has {value} as {what}, which is not a finite number")]
    NotFinite { what: &'static str, row: usize, value: f64 },
    #[error("row {row} has {found} {what} where {expected} were expected")]
    RowLength { what: &'static str, row: usize, found: usize, expected: usize },
    #[error("the ranks of query {row} are not different numbers from 1 on, at least one")]
    Ranks { row: usize },
}

impl Scored {
    pub fn kind(&self) -> Kind {
        match self {
            Scored::Classes(_) => Kind::Classes,
            Scored::MultiLabel(_) => Kind::MultiLabel,
            Scored::Values(_) => Kind::Values,
            Scored::Tags(_) => Kind::Tags,
            Scored::Answers(_) => Kind::Answers,
            Scored::Ranking(_) => Kind::Ranking,
            Scored::Losses(_) => Kind::Losses,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Scored::Classes(classes) => classes.truth.len(),
            Scored::MultiLabel(labels) => labels.counts.len(),
            Scored::Values(values) => values.truth.len(),
            Scored::Tags(tags) => tags.truth().len(),
            Scored::Answers(answers) => answers.rows(),
            Scored::Ranking(ranking) => ranking.ranks().len(),
            Scored::Losses(losses) => losses.rows(),
        }
    }

    /// The names of the labels or tags; none where there are none.
    pub fn labels(&self) -> &[String] {
        match self {
            Scored::Classes(classes) => &classes.labels,
            Scored::MultiLabel(labels) => &labels.labels,
            Scored::Tags(tags) => tags.labels(),
            _ => &[],
        }
    }
}

/// One class per row.
#[derive(Debug)]
pub struct Classes {
    labels: Vec<String>,
    truth: Vec<usize>,
    predicted: Vec<usize>,
    logits: Vec<f64>,
    probabilities: OnceLock<Vec<f64>>,
    orders: OnceLock<Vec<Order>>,
}

impl Classes {
    /// `labels`: names, `[classes]`; `truth`: class of every row, `[rows]`; `logits`: row-major
    /// `[rows, classes]`. The prediction is the largest logit, the first one of equals.
    pub fn new(
        labels: Vec<String>,
        truth: Vec<usize>,
        logits: Vec<f64>,
    ) -> Result<Self, ScoredError> {
        check_length("logits", logits.len(), truth.len() * labels.len())?;
        check_finite("a logit", &logits, labels.len())?;
        let classes = labels.len();
        if let Some((row, &class)) = truth.iter().enumerate().find(|(_, class)| **class >= classes)
        {
            return Err(ScoredError::Class { row, class, classes });
        }
        // Without a class there is no row either: the check of `truth` above has seen to it.
        let predicted = logits.chunks(classes.max(1)).map(first_largest).collect();
        Ok(Self {
            labels,
            truth,
            predicted,
            logits,
            probabilities: OnceLock::new(),
            orders: OnceLock::new(),
        })
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    pub fn truth(&self) -> &[usize] {
        &self.truth
    }

    pub fn predicted(&self) -> &[usize] {
        &self.predicted
    }

    pub fn logits(&self) -> &[f64] {
        &self.logits
    }

    /// Softmax of the logits in f64, row-major `[rows, classes]`.
    pub fn probabilities(&self) -> &[f64] {
        self.probabilities.get_or_init(|| {
            let mut probabilities = Vec::with_capacity(self.logits.len());
            for row in self.logits.chunks(self.labels.len().max(1)) {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let start = probabilities.len();
                probabilities.extend(row.iter().map(|logit| (logit - largest).exp()));
                let sum: f64 = probabilities[start..].iter().sum();
                probabilities[start..].iter_mut().for_each(|value| *value /= sum);
            }
            probabilities
        })
    }

    /// For each class, the rows by falling probability of that class.
    pub fn orders(&self) -> &[Order] {
        self.orders.get_or_init(|| orders_of_columns(self.probabilities(), self.labels.len()))
    }
}

/// Any number of labels per row.
#[derive(Debug)]
pub struct MultiLabel {
    labels: Vec<String>,
    truth: Vec<bool>,
    predicted: Vec<bool>,
    probabilities: Vec<f64>,
    counts: Vec<RowCounts>,
    orders: OnceLock<Vec<Order>>,
    flat_order: OnceLock<Order>,
}

/// How many labels of one row are right, predicted and true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCounts {
    pub both: u32,
    pub predicted: u32,
    pub truth: u32,
}

impl MultiLabel {
    /// `labels`: names, `[labels]`; `truth` and `logits`: row-major `[rows, labels]`. A label is
    /// predicted where the logistic function of its logit lies above `threshold`.
    pub fn new(
        labels: Vec<String>,
        truth: Vec<bool>,
        logits: Vec<f64>,
        threshold: f64,
    ) -> Result<Self, ScoredError> {
        let width = labels.len().max(1);
        check_length("logits", logits.len(), truth.len())?;
        check_length("truth", truth.len(), truth.len() / width * labels.len())?;
        check_finite("a logit", &logits, labels.len())?;
        let probabilities: Vec<f64> =
            logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
        let predicted: Vec<bool> = probabilities.iter().map(|value| *value > threshold).collect();
        let count = |row: &[bool]| row.iter().map(|flag| u32::from(*flag)).sum();
        let counts = truth
            .chunks(width)
            .zip(predicted.chunks(width))
            .map(|(truth, predicted)| RowCounts {
                both: truth.iter().zip(predicted).map(|(a, b)| u32::from(*a && *b)).sum(),
                predicted: count(predicted),
                truth: count(truth),
            })
            .collect();
        Ok(Self {
            labels,
            truth,
            predicted,
            probabilities,
            counts,
            orders: OnceLock::new(),
            flat_order: OnceLock::new(),
        })
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Row-major `[rows, labels]`.
    pub fn truth(&self) -> &[bool] {
        &self.truth
    }

    /// Row-major `[rows, labels]`.
    pub fn predicted(&self) -> &[bool] {
        &self.predicted
    }

    /// The logistic function of the logits, row-major `[rows, labels]`.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    pub fn counts(&self) -> &[RowCounts] {
        &self.counts
    }

    /// For each label, the rows by falling probability of that label.
    pub fn orders(&self) -> &[Order] {
        self.orders.get_or_init(|| orders_of_columns(&self.probabilities, self.labels.len()))
    }

    /// All cells (row × labels + label) by falling probability: what micro averages rank.
    pub fn flat_order(&self) -> &Order {
        self.flat_order.get_or_init(|| Order::falling(&self.probabilities))
    }
}

/// One number per row.
#[derive(Debug)]
pub struct Values {
    truth: Vec<f64>,
    predicted: Vec<f64>,
    orders: OnceLock<[Order; 2]>,
}

impl Values {
    /// `truth`, `predicted`: `[rows]`.
    pub fn new(truth: Vec<f64>, predicted: Vec<f64>) -> Result<Self, ScoredError> {
        check_length("predicted", predicted.len(), truth.len())?;
        check_finite("the true value", &truth, 1)?;
        check_finite("the predicted value", &predicted, 1)?;
        Ok(Self { truth, predicted, orders: OnceLock::new() })
    }

    pub fn truth(&self) -> &[f64] {
        &self.truth
    }

    pub fn predicted(&self) -> &[f64] {
        &self.predicted
    }

    /// The rows by falling truth and by falling prediction.
    pub fn orders(&self) -> &[Order; 2] {
        self.orders.get_or_init(|| [Order::falling(&self.truth), Order::falling(&self.predicted)])
    }
}

/// Indices by falling value, with the runs of equal values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub indices: Vec<u32>,
    /// Where each run of equal values ends in `indices`.
    pub ends: Vec<u32>,
}

impl Order {
    /// `values`: finite numbers, fewer than 2³².
    pub fn falling(values: &[f64]) -> Self {
        let mut indices: Vec<u32> = (0..values.len() as u32).collect();
        indices.sort_by(|a, b| values[*b as usize].total_cmp(&values[*a as usize]));
        let mut ends = Vec::new();
        for place in 1..=indices.len() {
            let last = values[indices[place - 1] as usize];
            // `!=` and not the total order: 0 and −0 are equal here.
            if indices.get(place).is_none_or(|next| values[*next as usize] != last) {
                ends.push(place as u32);
            }
        }
        Self { indices, ends }
    }

    /// The runs of equal values, largest value first.
    pub fn runs(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let run = &self.indices[start..*end as usize];
            start = *end as usize;
            run
        })
    }
}

/// Rows of `Scored`, each taken a number of times: all once, or a resample.
pub struct Sample<'a> {
    scored: &'a Scored,
    weights: &'a [u32],
    total: u64,
    confusion: OnceCell<Confusion>,
    label_counts: OnceCell<Vec<LabelCounts>>,
    notes: Option<RefCell<Vec<String>>>,
}

impl<'a> Sample<'a> {
    /// `weights`: how often each row is taken, `[rows]`. With `notes`, `warn` is heard.
    pub(super) fn new(scored: &'a Scored, weights: &'a [u32], notes: bool) -> Self {
        Self {
            scored,
            weights,
            total: weights.iter().map(|weight| u64::from(*weight)).sum(),
            confusion: OnceCell::new(),
            label_counts: OnceCell::new(),
            notes: notes.then(RefCell::default),
        }
    }

    pub fn scored(&self) -> &'a Scored {
        self.scored
    }

    /// How often each row is taken, `[rows]`.
    pub fn weights(&self) -> &'a [u32] {
        self.weights
    }

    /// The number of rows taken, counted with repetition.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The mean of a value per row, `[rows]`.
    pub fn mean(&self, values: impl IntoIterator<Item = f64>) -> f64 {
        let sum: f64 = values
            .into_iter()
            .zip(self.weights)
            .map(|(value, weight)| value * f64::from(*weight))
            .sum();
        sum / self.total as f64
    }

    /// True class against predicted class.
    pub fn confusion(&self, classes: &Classes) -> &Confusion {
        self.confusion.get_or_init(|| {
            let width = classes.labels().len();
            let mut counts = vec![0u64; width * width];
            let cells = classes.truth().iter().zip(classes.predicted());
            for ((truth, predicted), weight) in cells.zip(self.weights) {
                counts[truth * width + predicted] += u64::from(*weight);
            }
            Confusion::new(width, counts)
        })
    }

    /// Right, predicted and true rows of every label.
    pub fn label_counts(&self) -> &[LabelCounts] {
        self.label_counts.get_or_init(|| match self.scored {
            Scored::Classes(classes) => self.confusion(classes).label_counts(),
            Scored::MultiLabel(labels) => {
                let width = labels.labels().len().max(1);
                let mut counts = vec![LabelCounts::default(); labels.labels().len()];
                let rows = labels.truth().chunks(width).zip(labels.predicted().chunks(width));
                for ((truth, predicted), weight) in rows.zip(self.weights) {
                    let weight = u64::from(*weight);
                    for (count, (truth, predicted)) in
                        counts.iter_mut().zip(truth.iter().zip(predicted))
                    {
                        count.both += weight * u64::from(*truth && *predicted);
                        count.predicted += weight * u64::from(*predicted);
                        count.truth += weight * u64::from(*truth);
                    }
                }
                counts
            }
            _ => Vec::new(),
        })
    }

    /// Notes something the reader of the value should know; resamples keep no notes.
    pub fn warn(&self, text: impl FnOnce() -> String) {
        if let Some(notes) = &self.notes {
            let text = text();
            let mut notes = notes.borrow_mut();
            if !notes.contains(&text) {
                notes.push(text);
            }
        }
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// Counts of rows by true class (row) and predicted class (column).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
    truth: Vec<u64>,
    predicted: Vec<u64>,
}

impl Confusion {
    fn new(classes: usize, counts: Vec<u64>) -> Self {
        let sum = |cells: &mut dyn Iterator<Item = u64>| cells.sum::<u64>();
        let truth = (0..classes)
            .map(|row| sum(&mut (0..classes).map(|column| counts[row * classes + column])))
            .collect();
        let predicted = (0..classes)
            .map(|column| sum(&mut (0..classes).map(|row| counts[row * classes + column])))
            .collect();
        Self { classes, counts, truth, predicted }
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    pub fn at(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// Rows of each true class, `[classes]`.
    pub fn truth(&self) -> &[u64] {
        &self.truth
    }

    /// Rows of each predicted class, `[classes]`.
    pub fn predicted(&self) -> &[u64] {
        &self.predicted
    }

    pub fn right(&self) -> u64 {
        (0..self.classes).map(|class| self.at(class, class)).sum()
    }

    fn label_counts(&self) -> Vec<LabelCounts> {
        (0..self.classes)
            .map(|class| LabelCounts {
                both: self.at(class, class),
                predicted: self.predicted[class],
                truth: self.truth[class],
            })
            .collect()
    }
}

/// How many rows carry a label rightly predicted, predicted, and in truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelCounts {
    pub both: u64,
    pub predicted: u64,
    pub truth: u64,
}

pub(super) fn check_length(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), ScoredError> {
    if found == expected { Ok(()) } else { Err(ScoredError::Length { what, found, expected }) }
}

pub(super) fn check_finite(
    what: &'static str,
    values: &[f64],
    width: usize,
) -> Result<(), ScoredError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => {
            Err(ScoredError::NotFinite { what, row: place / width.max(1), value: values[place] })
        }
    }
}

fn first_largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = place;
        }
    }
    best
}

fn orders_of_columns(values: &[f64], width: usize) -> Vec<Order> {
    (0..width)
        .map(|column| {
            let column: Vec<f64> = values.iter().skip(column).step_by(width).copied().collect();
            Order::falling(&column)
        })
        .collect()
}
