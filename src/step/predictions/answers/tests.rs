//! Rows and answers beside those of transformers, which `tests/golden/answers.json` holds.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::AnswerRule;
use super::*;
use crate::data::{Labels, Overflow, Parts, Tokenization, Tokenizer, Tokens};
use crate::step::value::Predictions;
use crate::task::{Logits, RowLoss};

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    tokenized: Vec<Tokenized>,
    /// Of the rows of the first of `tokenized`, `[tokens, 2]`.
    logits: Vec<Vec<f32>>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Row {
    question: String,
    context: String,
    answers: Vec<String>,
    answer_starts: Vec<i64>,
}

/// As the golden file holds a row.
type GoldenRow = (usize, Vec<u32>, Vec<u32>, [i64; 2]);

#[derive(Deserialize)]
struct Tokenized {
    max_length: usize,
    stride: usize,
    /// Question, ids, type ids, first and last token of the answer.
    rows: Vec<GoldenRow>,
}

#[derive(Deserialize)]
struct Rule {
    n_best: usize,
    max_length: usize,
    null_threshold: Option<f64>,
    answers: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    predicted: String,
    null_score: f32,
    candidates: Vec<String>,
    scores: Vec<f32>,
    probabilities: Vec<f32>,
}

fn golden() -> Golden {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/answers.json"));
    serde_json::from_str(text).expect("golden values")
}

fn tokens(rows: &[Row], how: &Tokenized) -> Tokens {
    tokens_with(rows, how, &golden_tokenizer())
}

fn golden_tokenizer() -> Tokenizer {
    let file =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/answers_tokenizer.json"));
    let files = BTreeMap::from([("tokenizer.json".to_string(), file.to_vec())]);
    Tokenizer::from_files(files).expect("a tokenizer")
}

fn tokens_with(rows: &[Row], how: &Tokenized, tokenizer: &Tokenizer) -> Tokens {
    let text = |of: fn(&Row) -> &String| {
        ColumnData::Text(some(rows.iter().map(|row| of(row).clone()).collect()))
    };
    let table = Table::from_columns(vec![
        ("question".to_string(), text(|row| &row.question)),
        ("context".to_string(), text(|row| &row.context)),
        (
            "answers".to_string(),
            ColumnData::Texts(some(rows.iter().map(|row| row.answers.clone()).collect())),
        ),
        (
            "answer_starts".to_string(),
            ColumnData::Ints(some(rows.iter().map(|row| row.answer_starts.clone()).collect())),
        ),
    ])
    .expect("a table");
    let overflow = Overflow::Stride(how.stride);
    let how = Tokenization { max_length: how.max_length, overflow, separate: false };
    Tokens::of(&table, tokenizer, how).expect("tokens")
}

#[test]
fn rows_are_those_of_transformers() {
    let golden = golden();
    for how in &golden.tokenized {
        let made = tokens(&golden.rows, how);
        let Parts::Contexts(parts) = &made.parts else { panic!("questions") };
        let Targets::Spans(spans) = &made.targets else { panic!("answers") };
        assert_eq!(made.rows(), how.rows.len());
        for (row, (question, ids, type_ids, span)) in how.rows.iter().enumerate() {
            assert_eq!(parts.questions[row], *question);
            assert_eq!(made.input_ids(row), ids);
            assert_eq!(made.token_type_ids(row), type_ids);
            assert_eq!(spans[row], *span, "{}", golden.rows[*question].question);
            // What the tokens of an answer stand for holds it.
            let place = made.row_range(row);
            let of = |token: i64| parts.spans[place.start + token as usize];
            if let (Some((from, _)), Some((_, to))) = (of(span[0]), of(span[1])) {
                let text = &parts.texts[parts.contexts[*question]][from as usize..to as usize];
                assert!(text.contains(&golden.rows[*question].answers[0]), "{text}");
            }
        }
    }
}

/// The predictions for tokens with these logits.
fn predictions(
    tokens: &Tokens,
    logits: &[Vec<f32>],
    targets: &Targets,
    answers: &AnswerRule,
) -> Predictions {
    let starts: Vec<usize> = (0..=tokens.rows())
        .map(|row| if row == 0 { 0 } else { tokens.row_range(row - 1).end })
        .collect();
    let values = logits.concat();
    Predictions::new(&Made {
        head: "question_answering",
        labels: &Labels::Answers,
        ids: tokens.ids.clone(),
        parts: &tokens.parts,
        targets,
        logits: Logits { values: &values, outputs: 2, starts: &starts },
        losses: &vec![RowLoss { sum: 1.0, elements: 2 }; tokens.rows()],
        answers,
    })
    .expect("predictions")
}

fn near(found: &[f32], expected: &[f32]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(one, two)| (one - two).abs() <= 1e-6 * two.abs().max(1.0))
}

#[test]
fn answers_are_those_of_transformers() {
    let golden = golden();
    let tokens = tokens(&golden.rows, &golden.tokenized[0]);
    for rule in &golden.rules {
        let answers = AnswerRule::Spans(Spans {
            n_best: rule.n_best,
            max_length: rule.max_length,
            null_threshold: rule.null_threshold.map_or(Or::First(Never::Never), Or::Second),
        });
        let made = predictions(&tokens, &golden.logits, &tokens.targets, &answers);
        let column = |name: &str| made.table.column(name).expect("a column");
        let (
            ColumnData::Text(predicted),
            ColumnData::Float32(null_scores),
            ColumnData::Texts(candidates),
            ColumnData::Floats32(scores),
            ColumnData::Floats32(probabilities),
        ) = (
            column("predicted"),
            column("null_score"),
            column("candidates"),
            column("scores"),
            column("probabilities"),
        )
        else {
            panic!("other columns")
        };
        assert_eq!(made.table.rows(), rule.answers.len());
        for (row, expected) in rule.answers.iter().enumerate() {
            assert_eq!(predicted[row].as_deref(), Some(expected.predicted.as_str()), "{row}");
            assert_eq!(candidates[row].as_ref(), Some(&expected.candidates), "{row}");
            assert!(near(&[null_scores[row].unwrap()], &[expected.null_score]), "{row}");
            assert!(near(scores[row].as_ref().unwrap(), &expected.scores), "{row}");
            assert!(near(probabilities[row].as_ref().unwrap(), &expected.probabilities), "{row}");
        }
    }
}

/// By hand: one of eight questions has no answer, and it alone is given none.
#[test]
fn what_is_scored_is_what_was_given() {
    let golden = golden();
    let mut tokens = tokens(&golden.rows, &golden.tokenized[2]);
    // Logits that point at the answers, so that all are right.
    let Targets::Spans(spans) = tokens.targets.clone() else { panic!("answers") };
    let point = |row: usize| {
        let mut logits = vec![0.0; 2 * tokens.row_length(row)];
        logits[2 * spans[row][0] as usize] = 5.0;
        logits[2 * spans[row][1] as usize + 1] = 5.0;
        logits
    };
    let logits: Vec<Vec<f32>> = (0..tokens.rows()).map(point).collect();
    let value = |made: &Predictions, name: &str| {
        let metric = crate::schema::Pick::<crate::train::metrics::Metrics>::default_of(name)
            .and_then(|pick| pick.build())
            .expect("a metric");
        let scored = made.scored().expect("scored");
        crate::train::metrics::measure(&[metric], &scored, None)[0].outcome.value()
    };
    let usual = &AnswerRule::USUAL;
    let made = predictions(&tokens, &logits, &tokens.targets, usual);
    assert_eq!(value(&made, "exact_match"), Some(1.0));
    assert_eq!(value(&made, "squad_f1"), Some(1.0));
    let ColumnData::Float32(losses) = made.table.column("loss").unwrap() else { panic!() };
    assert_eq!(losses, [Some(0.5); 8]);

    let never = AnswerRule::Spans(Spans { null_threshold: Or::First(Never::Never), ..USUAL });
    let made = predictions(&tokens, &logits, &tokens.targets, &never);
    let ColumnData::Text(given) = made.table.column("predicted").unwrap() else { panic!() };
    assert!(given.iter().all(|text| text.as_ref().is_some_and(|text| !text.is_empty())));

    // Without the truth nothing can be scored; a question whose answers are not known is left out.
    let unknown = predictions(&tokens, &logits, &Targets::None, usual);
    assert!(unknown.scored().is_err());
    if let Targets::Spans(spans) = &mut tokens.targets {
        spans[0] = [IGNORED; 2];
    }
    let some = predictions(&tokens, &logits, &tokens.targets, usual);
    assert_eq!(some.scored().expect("scored").rows(), 7);
}
