//! Baselines: what a model must beat to be worth its training. Those for classes read the training
//! texts and give logits for other texts, those for tags read words and give tags, so that the same
//! metrics score them.

use std::collections::BTreeMap;

use crate::schema::{Entry, Family, Pick};
use crate::{entry, params};

/// Texts with their classes.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    pub texts: &'a [&'a str],
    /// Class of every text, `[texts]`, each below `classes`.
    pub labels: &'a [usize],
    pub classes: usize,
}

/// Sentences with their tags.
#[derive(Debug, Clone, Copy)]
pub struct Tagged<'a> {
    /// `[sentences][words]`
    pub words: &'a [Vec<String>],
    /// `[sentences][words]`
    pub tags: &'a [Vec<String>],
}

/// A way to predict that needs no transformer.
pub trait Baseline: Send + Sync {
    /// What its values are called.
    fn name(&self) -> &'static str;

    /// What it predicts.
    fn way(&self) -> Way<'_>;
}

/// What a baseline predicts, and from what.
pub enum Way<'a> {
    Classes(&'a dyn OfTexts),
    Tags(&'a dyn OfWords),
}

/// One class a text.
pub trait OfTexts {
    /// Logits of `texts`, row-major `[texts, classes]`.
    fn logits(&self, train: &Examples, texts: &[&str]) -> Vec<f64>;
}

/// One tag a word.
pub trait OfWords {
    /// Tags of `sentences`, `[sentences][words]`.
    fn tags(&self, train: &Tagged, sentences: &[Vec<String>]) -> Vec<Vec<String>>;
}

/// The open set of baselines.
pub struct Baselines;

impl Family for Baselines {
    type Item = dyn Baseline;
    const WHAT: &'static str = "a baseline";

    fn table() -> &'static [Entry<dyn Baseline>] {
        &TABLE
    }
}

/// An argument that names a baseline.
pub type PickBaseline = Pick<Baselines>;

static TABLE: [Entry<dyn Baseline>; 3] = [
    entry!("majority", Majority => dyn Baseline),
    entry!("bag_of_words", BagOfWords => dyn Baseline),
    entry!("most_frequent_tag", MostFrequentTag => dyn Baseline),
];

params! {
    /// Always the class with the most training rows, the first of equals.
    pub struct Majority {}
}

impl Baseline for Majority {
    fn name(&self) -> &'static str {
        "majority"
    }

    fn way(&self) -> Way<'_> {
        Way::Classes(self)
    }
}

impl OfTexts for Majority {
    fn logits(&self, train: &Examples, texts: &[&str]) -> Vec<f64> {
        let mut counts = vec![0u32; train.classes];
        train.labels.iter().for_each(|label| counts[*label] += 1);
        // Logarithms of the shares, with one more row of each class so that none is infinite.
        let shares: Vec<f64> = counts
            .iter()
            .map(|count| {
                f64::from(count + 1).ln() - (train.labels.len() as f64 + train.classes as f64).ln()
            })
            .collect();
        texts.iter().flat_map(|_| shares.iter().copied()).collect()
    }
}

params! {
    /// Multinomial logistic regression on the words of a text, weighted by tf-idf, as
    /// scikit-learn's `TfidfVectorizer` and `LogisticRegression` do it by default.
    pub struct BagOfWords {
        /// Inverse strength of the L2 penalty on the weights.
        c: f64 = 1.0, in (1e-6, 1e6);
    }
}

impl Baseline for BagOfWords {
    fn name(&self) -> &'static str {
        "bag_of_words"
    }

    fn way(&self) -> Way<'_> {
        Way::Classes(self)
    }
}

impl OfTexts for BagOfWords {
    fn logits(&self, train: &Examples, texts: &[&str]) -> Vec<f64> {
        let words = Vocabulary::of(train.texts);
        let rows: Vec<Features> = train.texts.iter().map(|text| words.features(text)).collect();
        let problem = Problem {
            rows: &rows,
            labels: train.labels,
            classes: train.classes,
            features: words.idf.len(),
            c: self.c,
        };
        let weights = minimise(vec![0.0; problem.width()], |weights| problem.loss(weights));
        let features: Vec<Features> = texts.iter().map(|text| words.features(text)).collect();
        features.iter().flat_map(|row| problem.logits(&weights, row)).collect()
    }
}

params! {
    /// The tag that a word has most often in the training rows, and for a new word the most
    /// frequent tag of all; of equals the first in the alphabet.
    pub struct MostFrequentTag {}
}

impl Baseline for MostFrequentTag {
    fn name(&self) -> &'static str {
        "most_frequent_tag"
    }

    fn way(&self) -> Way<'_> {
        Way::Tags(self)
    }
}

impl OfWords for MostFrequentTag {
    fn tags(&self, train: &Tagged, sentences: &[Vec<String>]) -> Vec<Vec<String>> {
        let mut of_word: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        let mut of_all: BTreeMap<&str, u64> = BTreeMap::new();
        for (word, tag) in train.words.iter().flatten().zip(train.tags.iter().flatten()) {
            *of_word.entry(word).or_default().entry(tag).or_default() += 1;
            *of_all.entry(tag).or_default() += 1;
        }
        let commonest = |counts: &BTreeMap<&str, u64>| {
            // Of equal counts `max_by_key` takes the last: the first one of the reversed order.
            let most = counts.iter().rev().max_by_key(|(_, count)| **count);
            most.map_or(String::new(), |(tag, _)| (*tag).to_string())
        };
        let unknown = commonest(&of_all);
        let known: BTreeMap<&str, String> =
            of_word.iter().map(|(word, counts)| (*word, commonest(counts))).collect();
        let tag = |word: &String| known.get(word.as_str()).unwrap_or(&unknown).clone();
        sentences.iter().map(|words| words.iter().map(tag).collect()).collect()
    }
}

/// The weight of each word that occurs, by the place of the word.
type Features = Vec<(usize, f64)>;

struct Vocabulary {
    places: BTreeMap<String, usize>,
    idf: Vec<f64>,
}

impl Vocabulary {
    fn of(texts: &[&str]) -> Self {
        let mut rows_with: BTreeMap<String, u32> = BTreeMap::new();
        for text in texts {
            for word in counts(text).into_keys() {
                *rows_with.entry(word).or_default() += 1;
            }
        }
        let rows = texts.len() as f64;
        let idf = rows_with
            .values()
            .map(|with| ((1.0 + rows) / (1.0 + f64::from(*with))).ln() + 1.0)
            .collect();
        let places = rows_with.into_keys().enumerate().map(|(place, word)| (word, place)).collect();
        Self { places, idf }
    }

    /// Counts × inverse document frequency, of length 1; words that are not known are left out.
    fn features(&self, text: &str) -> Features {
        let mut features: Features = counts(text)
            .into_iter()
            .filter_map(|(word, count)| {
                let place = *self.places.get(&word)?;
                Some((place, f64::from(count) * self.idf[place]))
            })
            .collect();
        let length = features.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        if length > 0.0 {
            features.iter_mut().for_each(|(_, weight)| *weight /= length);
        }
        features
    }
}

/// Lower-cased words of at least two letters or digits.
fn counts(text: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let text = text.to_lowercase();
    for word in text.split(|sign: char| !sign.is_alphanumeric() && sign != '_') {
        if word.chars().nth(1).is_some() {
            *counts.entry(word.to_string()).or_default() += 1;
        }
    }
    counts
}

/// Weights are row-major `[features + 1, classes]`; the last row is the intercept.
struct Problem<'a> {
    rows: &'a [Features],
    labels: &'a [usize],
    classes: usize,
    features: usize,
    c: f64,
}

impl Problem<'_> {
    fn width(&self) -> usize {
        (self.features + 1) * self.classes
    }

    fn logits(&self, weights: &[f64], row: &Features) -> Vec<f64> {
        let mut logits = weights[self.features * self.classes..].to_vec();
        for (feature, value) in row {
            let of_feature = &weights[feature * self.classes..(feature + 1) * self.classes];
            logits.iter_mut().zip(of_feature).for_each(|(logit, weight)| *logit += value * weight);
        }
        logits
    }

    /// C · Σ cross entropy + ½ ‖weights without intercept‖², and its gradient.
    fn loss(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let penalised = self.features * self.classes;
        let mut gradient = weights.to_vec();
        gradient[penalised..].fill(0.0);
        let mut loss = 0.5 * weights[..penalised].iter().map(|weight| weight * weight).sum::<f64>();
        for (row, label) in self.rows.iter().zip(self.labels) {
            let mut scores = self.logits(weights, row);
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            loss += self.c * (sum.ln() + largest - scores[*label]);
            for (class, score) in scores.iter_mut().enumerate() {
                let probability = (*score - largest).exp() / sum;
                *score = self.c * (probability - f64::from(u8::from(class == *label)));
            }
            for (feature, value) in row {
                let of_feature =
                    &mut gradient[feature * self.classes..(feature + 1) * self.classes];
                of_feature.iter_mut().zip(&scores).for_each(|(slot, score)| *slot += value * score);
            }
            gradient[penalised..].iter_mut().zip(&scores).for_each(|(slot, score)| *slot += score);
        }
        (loss, gradient)
    }
}

const REMEMBERED_STEPS: usize = 10;
const MOST_ITERATIONS: usize = 500;
const LARGEST_GRADIENT: f64 = 1e-4;

/// The minimum of a smooth convex function by L-BFGS with backtracking.
/// Source: Nocedal and Wright 2006, algorithm 7.5.
fn minimise(mut at: Vec<f64>, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let (mut value, mut gradient) = function(&at);
    let mut memory: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    for _ in 0..MOST_ITERATIONS {
        if gradient.iter().all(|slope| slope.abs() <= LARGEST_GRADIENT) {
            break;
        }
        let direction = descent(&gradient, &memory);
        let slope = dot(&direction, &gradient);
        // The first direction is the bare gradient, whose length means nothing.
        let mut step = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
        let mut next = None;
        for _ in 0..60 {
            let place: Vec<f64> = at.iter().zip(&direction).map(|(a, d)| a + step * d).collect();
            let (new_value, new_gradient) = function(&place);
            if new_value <= value + 1e-4 * step * slope {
                next = Some((place, new_value, new_gradient));
                break;
            }
            step /= 2.0;
        }
        // No step gets lower: the minimum as far as f64 can tell.
        let Some((place, new_value, new_gradient)) = next else { break };
        let moved: Vec<f64> = place.iter().zip(&at).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&moved, &turned);
        if curvature > 1e-12 * dot(&turned, &turned) {
            if memory.len() == REMEMBERED_STEPS {
                memory.remove(0);
            }
            memory.push((moved, turned, 1.0 / curvature));
        }
        (at, value, gradient) = (place, new_value, new_gradient);
    }
    at
}

/// Minus the approximate inverse Hessian times the gradient.
fn descent(gradient: &[f64], memory: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::new();
    for (moved, turned, inverse) in memory.iter().rev() {
        let share = inverse * dot(moved, &direction);
        direction.iter_mut().zip(turned).for_each(|(d, t)| *d -= share * t);
        shares.push(share);
    }
    if let Some((moved, turned, _)) = memory.last() {
        let scale = dot(moved, turned) / dot(turned, turned);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((moved, turned, inverse), share) in memory.iter().zip(shares.iter().rev()) {
        let back = inverse * dot(turned, &direction);
        direction.iter_mut().zip(moved).for_each(|(d, m)| *d += (share - back) * m);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(logits: &[f64], classes: usize) -> Vec<usize> {
        let largest = |row: &[f64]| {
            (0..classes).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or_default()
        };
        logits.chunks(classes).map(largest).collect()
    }

    const TEXTS: [&str; 6] = [
        "a red apple",
        "red apples taste",
        "the red car",
        "blue sky",
        "a blue boat",
        "the blue one",
    ];
    const LABELS: [usize; 6] = [0, 0, 0, 1, 1, 1];

    #[test]
    fn the_majority_is_the_most_frequent_class() {
        let train = Examples { texts: &TEXTS[..5], labels: &[2, 0, 2, 0, 1], classes: 4 };
        let logits = Majority {}.logits(&train, &["x", "y"]);
        assert_eq!(predictions(&logits, 4), [0, 0]);
        assert!(logits.iter().all(|logit| logit.is_finite()));
    }

    /// By hand: `tea` is N twice and V once, `is` V and N once each, and N is the commonest.
    #[test]
    fn words_have_their_commonest_tag() {
        let lists = |texts: &[&str]| -> Vec<Vec<String>> {
            texts.iter().map(|text| text.split(' ').map(str::to_string).collect()).collect()
        };
        let (words, tags) = (lists(&["tea is tea", "tea is"]), lists(&["N V N", "V N"]));
        let train = Tagged { words: &words, tags: &tags };
        let found = MostFrequentTag {}.tags(&train, &lists(&["is tea", "ice"]));
        assert_eq!(found, lists(&["N N", "N"]));
    }

    #[test]
    fn words_decide() {
        let train = Examples { texts: &TEXTS, labels: &LABELS, classes: 2 };
        let logits =
            BagOfWords { c: 1.0 }.logits(&train, &["Red!", "something blue", "unknown", ""]);
        assert_eq!(predictions(&logits[..4], 2), [0, 1]);
        // Without a known word nothing but the intercept is left.
        assert_eq!(logits[4..6], logits[6..8]);
    }

    /// The penalised minimum has gradient 0; finite differences see the gradient that is claimed.
    #[test]
    fn the_gradient_is_that_of_the_loss_and_vanishes_at_the_minimum() {
        let words = Vocabulary::of(&TEXTS);
        let rows: Vec<Features> = TEXTS.iter().map(|text| words.features(text)).collect();
        let problem =
            Problem { rows: &rows, labels: &LABELS, classes: 2, features: words.idf.len(), c: 3.0 };
        let at: Vec<f64> = (0..problem.width()).map(|place| (place as f64 * 0.7).sin()).collect();
        let (_, gradient) = problem.loss(&at);
        for place in 0..at.len() {
            let moved = |by: f64| {
                let mut moved = at.clone();
                moved[place] += by;
                problem.loss(&moved).0
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((difference - gradient[place]).abs() < 1e-7, "{place}");
        }
        let minimum = minimise(at, |weights| problem.loss(weights));
        let (_, gradient) = problem.loss(&minimum);
        assert!(gradient.iter().all(|slope| slope.abs() <= LARGEST_GRADIENT));
    }

    /// By hand: idf of a word in 3 of 6 texts is ln(7/4) + 1, in 1 of 6 ln(7/2) + 1.
    #[test]
    fn features_are_tf_idf_of_length_one() {
        let words = Vocabulary::of(&TEXTS);
        let features = words.features("red apple");
        let (red, apple) = ((7.0f64 / 4.0).ln() + 1.0, (7.0f64 / 2.0).ln() + 1.0);
        let length = (red * red + apple * apple).sqrt();
        let expected = [("apple", apple / length), ("red", red / length)];
        for ((place, weight), (word, expected)) in features.iter().zip(expected) {
            assert_eq!(words.places[word], *place);
            assert!((weight - expected).abs() < 1e-15);
        }
        assert_eq!(features.len(), 2);
    }
}
