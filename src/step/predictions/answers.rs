//! Answers to questions: a row for each question, whatever rows it was tokenized into. The columns:
//! `id`, `answers` (the right ones, where they are known), `predicted` (empty where no answer is
//! given), `null_score` (what speaks for no answer, less what speaks for the best one), `candidates`
//! with their `scores` and `probabilities` (the best first; an empty one is no answer), `loss`.
//! Source: transformers, `utils_qa.py`, `postprocess_qa_predictions`.

use std::ops::Range;

use rayon::prelude::*;

use super::{Made, loss_column, some, unlabelled};
use crate::base::Code;
use crate::data::{ColumnData, Contexts, IGNORED, Table, Targets};
use crate::schema::Or;
use crate::step::check::CheckCx;
use crate::step::run::StepError;
use crate::task::{self, Outputs};
use crate::train::metrics::{Answers, Scored};
use crate::{params, variants};

variants! {
    /// no threshold
    pub enum Never {
        /// Every question is answered.
        Never = "never",
    }
}

params! {
    /// The part of the context whose first and last token score best together.
    pub struct Spans {
        /// How many candidates are kept, and how many first and last tokens of each row make them.
        n_best: usize = USUAL.n_best, in (1, 10_000);
        /// The longest answer, in tokens.
        max_length: usize = USUAL.max_length, in (1, 1_048_576);
        /// How much better than the best answer none has to score for none to be given, or `never`.
        /// The metric `best_null_threshold` finds it.
        null_threshold: Or<Never, f64> = USUAL.null_threshold;
    }
}

variants! {
    /// how answers are found
    pub enum AnswerRule {
        /// The part of the context whose first and last token score best together.
        Spans(Spans) = "spans",
    }
}

/// The values of transformers.
const USUAL: Spans = Spans { n_best: 20, max_length: 30, null_threshold: Or::Second(0.0) };

impl AnswerRule {
    /// Where a program says nothing.
    pub const USUAL: AnswerRule = AnswerRule::Spans(USUAL);

    /// Refuses a rule for a head that answers no questions.
    pub fn check(rule: Option<&AnswerRule>, head: &str, cx: &mut CheckCx) {
        let answers = task::task(head).is_ok_and(|task| task.outputs() == Outputs::Answers);
        if rule.is_some() && !answers {
            let message = format!("`answers` belongs to questions, and `{head}` answers none");
            let diag = cx.diag(Code::E0209, "answers", message).help("it can be left out");
            cx.push(diag);
        }
    }
}

pub(super) fn table(made: &Made, parts: &Contexts) -> Result<Table, StepError> {
    let AnswerRule::Spans(rule) = made.answers;
    let mut rows: Vec<Range<usize>> = vec![0..0; parts.question_ids.len()];
    for (row, question) in parts.questions.iter().enumerate() {
        match rows.get_mut(*question) {
            Some(own) if own.start == own.end => *own = row..row + 1,
            Some(own) => own.end = row + 1,
            None => return Err(StepError::internal("a row belongs to no question")),
        }
    }
    let part = |row: usize| -> Option<Part> {
        let tokens = *made.logits.starts.get(row)?..*made.logits.starts.get(row + 1)?;
        Some(Part {
            logits: made.logits.row(row),
            spans: parts.spans.get(tokens)?,
            no_answer: *parts.no_answer.get(row)?,
        })
    };
    let answered: Vec<Answered> = rows
        .par_iter()
        .zip(&parts.contexts)
        .map(|(rows, context)| {
            let own: Vec<Part> = rows.clone().filter_map(part).collect();
            rule.answer(parts.texts.get(*context).map_or("", String::as_str), &own)
        })
        .collect();

    let mut columns = vec![("id".to_string(), ColumnData::Text(some(parts.question_ids.clone())))];
    if let (true, Targets::Spans(targets)) = (parts.answered, made.targets) {
        let known = |rows: &Range<usize>| {
            targets.get(rows.clone()).is_some_and(|own| own.iter().any(|span| span[0] != IGNORED))
        };
        let truth = rows.iter().zip(&parts.answers);
        let truth = truth.map(|(rows, answers)| known(rows).then(|| answers.clone()));
        columns.push(("answers".to_string(), ColumnData::Texts(truth.collect())));
    }
    let lists = |of: fn(&Candidate) -> f32| {
        let list = |one: &Answered| one.candidates.iter().map(of).collect();
        ColumnData::Floats32(some(answered.iter().map(list).collect()))
    };
    let (scores, probabilities) = (lists(|one| one.score), lists(|one| one.probability));
    let texts =
        |one: &Answered| one.candidates.iter().map(|candidate| candidate.text.clone()).collect();
    let null_scores = answered.iter().map(|one| one.null_score).collect();
    let candidates = some(answered.iter().map(texts).collect());
    columns.push((
        "predicted".to_string(),
        ColumnData::Text(some(answered.iter().map(|one| rule.given(one)).collect())),
    ));
    columns.push(("null_score".to_string(), ColumnData::Float32(some(null_scores))));
    columns.push(("candidates".to_string(), ColumnData::Texts(candidates)));
    columns.push(("scores".to_string(), scores));
    columns.push(("probabilities".to_string(), probabilities));
    columns.extend(loss_column(made, &parts.questions, rows.len()));
    Ok(Table::from_columns(columns)?)
}

/// The questions whose answers are known.
pub(super) fn scored(table: &Table) -> Result<Scored, StepError> {
    if !table.has("answers") {
        return Err(unlabelled());
    }
    let (
        ColumnData::Texts(truth),
        ColumnData::Text(predicted),
        ColumnData::Float32(null_scores),
        ColumnData::Texts(candidates),
    ) = (
        table.column("answers")?,
        table.column("predicted")?,
        table.column("null_score")?,
        table.column("candidates")?,
    )
    else {
        return Err(StepError::internal("the columns of the answers have other types"));
    };
    let (mut texts, mut gold, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    // Answers were given up to a threshold: the largest score at which one was says as much.
    let mut threshold = f64::NEG_INFINITY;
    for (row, truth) in truth.into_iter().enumerate() {
        let Some(truth) = truth else { continue };
        let score = null_scores.get(row).copied().flatten().map_or(f64::NAN, f64::from);
        if predicted.get(row).is_some_and(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
        {
            threshold = threshold.max(score);
        }
        let best = candidates.get(row).and_then(Option::as_ref);
        texts.push(best.and_then(|all| best_text(all.iter())).cloned().unwrap_or_default());
        gold.push(truth);
        scores.push(score);
    }
    let scored = Answers::new(&texts, &gold, scores, threshold);
    scored.map(Scored::Answers).map_err(|error| StepError::new(Code::E0701, error.to_string()))
}

/// A row of a question.
struct Part<'a> {
    /// `[tokens, 2]`
    logits: &'a [f32],
    /// What each token stands for in the context.
    spans: &'a [Option<(u32, u32)>],
    no_answer: usize,
}

struct Candidate {
    text: String,
    score: f32,
    probability: f32,
}

/// What is known of one question.
struct Answered {
    /// The best first. An empty text is no answer.
    candidates: Vec<Candidate>,
    null_score: f32,
}

fn best_text<'a>(mut texts: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    texts.find(|text| !text.is_empty())
}

impl Spans {
    fn threshold(&self) -> Option<f64> {
        match self.null_threshold {
            Or::First(Never::Never) => None,
            Or::Second(threshold) => Some(threshold),
        }
    }

    /// The answer that is given; empty for none.
    fn given(&self, of: &Answered) -> String {
        let none = self.threshold().is_some_and(|threshold| f64::from(of.null_score) > threshold);
        let best = best_text(of.candidates.iter().map(|candidate| &candidate.text));
        best.filter(|_| !none).cloned().unwrap_or_default()
    }

    /// The candidates of a question from all its rows. Scores are summed in single precision, as in
    /// the source, so that equal ones are equal there.
    fn answer(&self, context: &str, parts: &[Part]) -> Answered {
        let none = |part: &Part| part.sum(part.no_answer, part.no_answer);
        let none = parts.iter().map(none).reduce(f32::min).unwrap_or(0.0);
        let mut found: Vec<(Option<(u32, u32)>, f32)> = Vec::new();
        for part in parts {
            let ends = part.best(1, self.n_best);
            for first in part.best(0, self.n_best) {
                for last in &ends {
                    let (Some(from), Some(to)) = (part.spans[first], part.spans[*last]) else {
                        continue;
                    };
                    if (first..first + self.max_length).contains(last) {
                        found.push((Some((from.0, to.1)), part.sum(first, *last)));
                    }
                }
            }
        }
        if self.threshold().is_some() {
            found.push((None, none));
        }
        found.sort_by(|one, two| two.1.total_cmp(&one.1));
        found.truncate(self.n_best);
        if self.threshold().is_some() && found.iter().all(|(span, _)| span.is_some()) {
            found.push((None, none));
        }
        let top = found.first().map_or(0.0, |(_, score)| f64::from(*score));
        let weight = |score: f32| (f64::from(score) - top).exp();
        let total: f64 = found.iter().map(|(_, score)| weight(*score)).sum();
        let candidates: Vec<Candidate> = found
            .into_iter()
            .map(|(span, score)| Candidate {
                text: span.map_or(String::new(), |(from, to)| {
                    context.get(from as usize..to as usize).unwrap_or_default().to_string()
                }),
                score,
                probability: (weight(score) / total) as f32,
            })
            .collect();
        let best = candidates.iter().find(|candidate| !candidate.text.is_empty());
        Answered { null_score: none - best.map_or(0.0, |best| best.score), candidates }
    }
}

impl Part<'_> {
    fn logit(&self, token: usize, end: usize) -> f32 {
        self.logits.get(2 * token + end).copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// The score of the part from one token to another.
    fn sum(&self, first: usize, last: usize) -> f32 {
        self.logit(first, 0) + self.logit(last, 1)
    }

    /// The tokens that are most likely the first (`end` 0) or the last (1), the best first.
    fn best(&self, end: usize, count: usize) -> Vec<usize> {
        let mut tokens: Vec<usize> = (0..self.spans.len()).collect();
        tokens.sort_by(|one, two| self.logit(*two, end).total_cmp(&self.logit(*one, end)));
        tokens.truncate(count);
        tokens
    }
}

#[cfg(test)]
mod tests;
