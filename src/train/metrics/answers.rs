//! Metrics of extractive questions, as SQuAD's evaluation computes them, in shares instead of
//! percent. Sources: Rajpurkar et al. 2016 and 2018, `evaluate-v2.0.py`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::{params, variants};

use super::scored::{Order, check_finite, check_length};
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, ScoredError};

/// A text per question, and how much speaks for none.
#[derive(Debug)]
pub struct Answers {
    questions: Vec<Question>,
    null_scores: Vec<f64>,
    threshold: f64,
    order: OnceLock<Order>,
}

#[derive(Debug, Clone, Copy)]
struct Question {
    answerable: bool,
    /// Of the predicted text; what no answer is worth follows from `answerable`.
    exact: f64,
    f1: f64,
}

impl Answers {
    /// `predicted`: the best text of every question, `[questions]`; `gold`: its right answers, none
    /// if the context does not answer it; `null_scores`: the score of no answer less that of the
    /// text. No answer is given where this lies above `threshold`.
    pub fn new(
        predicted: &[String],
        gold: &[Vec<String>],
        null_scores: Vec<f64>,
        threshold: f64,
    ) -> Result<Self, ScoredError> {
        check_length("predicted", predicted.len(), gold.len())?;
        check_length("null scores", null_scores.len(), gold.len())?;
        check_finite("the null score", &null_scores, 1)?;
        let questions = predicted.iter().zip(gold).map(|(text, gold)| {
            let mut golds: Vec<String> = gold.iter().map(|gold| normalised_answer(gold)).collect();
            golds.retain(|gold| !gold.is_empty());
            if golds.is_empty() {
                golds.push(String::new());
            }
            let text = normalised_answer(text);
            Question {
                answerable: !gold.is_empty(),
                exact: f64::from(u8::from(golds.contains(&text))),
                f1: golds.iter().map(|gold| f1(gold, &text)).fold(0.0, f64::max),
            }
        });
        Ok(Self { questions: questions.collect(), null_scores, threshold, order: OnceLock::new() })
    }

    pub(super) fn rows(&self) -> usize {
        self.questions.len()
    }

    /// What the answer to a question is worth at a threshold.
    fn value(&self, question: usize, measure: Measure, threshold: f64) -> f64 {
        let of = &self.questions[question];
        match (self.null_scores[question] > threshold, measure) {
            (true, _) => f64::from(u8::from(!of.answerable)),
            (false, Measure::Exact) => of.exact,
            (false, Measure::F1) => of.f1,
        }
    }

    /// The threshold at which the sample's sum is largest, the smallest of equals. Questions of one
    /// null score are answered all or none; sums that differ by rounding are equal.
    fn best_threshold(&self, measure: Measure, sample: &Sample) -> f64 {
        let order = self.order.get_or_init(|| Order::falling(&self.null_scores));
        let runs: Vec<&[u32]> = order.runs().collect();
        let score = |question: u32| self.null_scores[question as usize];
        // Below the smallest score nothing is answered.
        let mut best = (0.0, runs.last().map_or(0.0, |run| score(run[0]) - 1.0));
        let mut gain = 0.0;
        for run in runs.iter().rev() {
            for question in *run {
                let weight = f64::from(sample.weights()[*question as usize]);
                let [answered, none] = [f64::INFINITY, f64::NEG_INFINITY]
                    .map(|threshold| self.value(*question as usize, measure, threshold));
                gain += weight * (answered - none);
            }
            if gain > best.0 + 1e-9 {
                best = (gain, score(run[0]));
            }
        }
        best.1
    }
}

#[derive(Debug, Clone, Copy)]
enum Measure {
    Exact,
    F1,
}

/// A text as SQuAD compares it: lower case, no ASCII punctuation, no articles, single blanks.
pub fn normalised_answer(text: &str) -> String {
    let lower = text.to_lowercase();
    let bare: String = lower.chars().filter(|sign| !sign.is_ascii_punctuation()).collect();
    // Articles stand between signs that are no part of words.
    let is_word = |sign: char| sign.is_alphanumeric();
    let mut out = String::with_capacity(bare.len());
    let mut rest = bare.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|sign| is_word(sign) != is_word(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    // Python's blanks include the four separators of ASCII.
    let blank = |sign: char| sign.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&sign);
    out.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// F1 over the words of two normalised texts, counted with repetition.
fn f1(gold: &str, predicted: &str) -> f64 {
    let (gold, predicted): (Vec<&str>, Vec<&str>) =
        (gold.split(' ').collect(), predicted.split(' ').collect());
    if gold == [""] || predicted == [""] {
        return f64::from(u8::from(gold == predicted));
    }
    let mut left: BTreeMap<&str, u32> = BTreeMap::new();
    for word in &gold {
        *left.entry(word).or_default() += 1;
    }
    let mut same = 0u32;
    for word in &predicted {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    2.0 * f64::from(same) / (gold.len() + predicted.len()) as f64
}

variants! {
    /// which questions count
    pub enum Questions {
        /// All of them.
        All = "all",
        /// Those that have an answer.
        Answerable = "answerable",
        /// Those that the context does not answer.
        Unanswerable = "unanswerable",
    }
}

variants! {
    /// where no answer is given
    pub enum NullThreshold {
        /// Where the predictions gave none.
        Predicted = "predicted",
        /// Where it is best for all questions together: a bound, since it looks at the answers.
        Best = "best",
    }
}

macro_rules! of_answers {
    ($($(#[doc = $doc:expr])* $metric:ident $name:literal $measure:expr;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {
                /// Which questions count.
                of: Questions = Questions::All;
                /// Where no answer is given.
                threshold: NullThreshold = NullThreshold::Predicted;
            }
        }

        impl Metric for $metric {
            fn name(&self) -> String {
                let of = match self.of {
                    Questions::All => "",
                    Questions::Answerable => "_answerable",
                    Questions::Unanswerable => "_unanswerable",
                };
                let best = if matches!(self.threshold, NullThreshold::Best) { "_best" } else { "" };
                format!("{}{of}{best}", $name)
            }

            fn fits(&self) -> &'static [Kind] {
                &[Kind::Answers]
            }

            fn direction(&self) -> Direction {
                Direction::LargerIsBetter
            }

            fn compute(&self, sample: &Sample) -> Outcome {
                with_answers(sample, |answers| {
                    let threshold = match self.threshold {
                        NullThreshold::Predicted => answers.threshold,
                        NullThreshold::Best => answers.best_threshold($measure, sample),
                    };
                    mean(answers, &self.of, $measure, threshold, sample)
                })
            }
        }
    )*};
}

of_answers! {
    /// Share of the questions whose answer equals a right one, but for case, punctuation and articles.
    ExactMatch "exact_match" Measure::Exact;
    /// Mean F1 over the words of the answer and of the right one it is nearest to.
    SquadF1 "squad_f1" Measure::F1;
}

params! {
    /// The null score above which to give no answer for the best `squad_f1`.
    pub struct BestNullThreshold {}
}

impl Metric for BestNullThreshold {
    fn name(&self) -> String {
        "best_null_threshold".to_string()
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Answers]
    }

    fn direction(&self) -> Direction {
        Direction::None
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        with_answers(sample, |answers| Outcome::Value(answers.best_threshold(Measure::F1, sample)))
    }
}

fn with_answers(sample: &Sample, compute: impl FnOnce(&Answers) -> Outcome) -> Outcome {
    match sample.scored() {
        Scored::Answers(answers) => compute(answers),
        other => Outcome::misfit(other.kind()),
    }
}

fn mean(
    answers: &Answers,
    of: &Questions,
    measure: Measure,
    threshold: f64,
    sample: &Sample,
) -> Outcome {
    let (mut sum, mut count) = (0.0, 0u64);
    for (question, weight) in sample.weights().iter().enumerate() {
        let answerable = answers.questions[question].answerable;
        let counts = match of {
            Questions::All => true,
            Questions::Answerable => answerable,
            Questions::Unanswerable => !answerable,
        };
        if counts {
            sum += f64::from(*weight) * answers.value(question, measure, threshold);
            count += u64::from(*weight);
        }
    }
    match (count, of) {
        (0, Questions::Unanswerable) => {
            Outcome::Undefined("every question has an answer".to_string())
        }
        (0, _) => Outcome::Undefined("no question has an answer".to_string()),
        _ => Outcome::Value(sum / count as f64),
    }
}
