//! Choices: each is a sequence of its own, a pair with what comes before it.

use rayon::prelude::*;

use super::collect::{Collector, Fate, Sequences};
use super::words::lists;
use super::{Parts, Tokenization, Tokens};
use crate::data::error::Result;
use crate::data::{Table, Tokenizer};

/// Tokenizes the column `choices`. What comes before every choice of a row is its `context` or `text`, and a
/// `question` stands in front of the choice; without these two the question comes before. Of a sequence that
/// is too long the longer text is cut first. Sources: transformers, `run_swag.py`; Lai et al., "RACE" (2017).
///
/// # Errors
/// A sequence that is too long where `overflow` is `Error`; a row without choices.
pub(super) fn collect(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
    let choices = lists(table, "choices")?;
    let optional = |name: &str| table.has(name).then(|| table.texts(name)).transpose();
    let (mut before, mut asked) = (optional("context")?, optional("question")?);
    before = match before {
        None => optional("text")?,
        before => before,
    };
    if before.is_none() {
        before = asked.take();
    }
    let cutter = tokenizer.cutting(how.max_length)?;
    let encode = |row: usize, choices: &[String]| -> Result<Sequences> {
        let before = before.as_ref().and_then(|all| all.get(row)).map(String::as_str);
        let question = asked.as_ref().and_then(|all| all.get(row));
        let choices: Vec<String> = choices
            .iter()
            .map(|choice| match question {
                Some(question) => format!("{question} {choice}"),
                None => choice.clone(),
            })
            .collect();
        let texts = choices.iter().map(|choice| match before {
            Some(before) => (before, Some(choice.as_str())),
            None => (choice.as_str(), None),
        });
        Sequences::of(texts, tokenizer, &cutter)
    };
    let encoded: Vec<Sequences> = choices
        .par_iter()
        .enumerate()
        .map(|(row, choices)| encode(row, choices).map_err(|error| table.at(row, error)))
        .collect::<Result<_>>()?;

    let mut collector = Collector::new(table, tokenizer, how);
    for (row, made) in encoded.iter().enumerate() {
        if let Fate::Dropped = collector.fate(row, made.longest)? {
            continue;
        }
        made.all.iter().for_each(|one| collector.push(&one.ids, &one.type_ids));
        collector.end_row(row);
    }
    collector.labelled(before.is_some(), true, Parts::Rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::labels::{Labels, Targets};
    use crate::data::{ColumnData, Fault, Overflow};

    fn made(
        columns: &[(&str, &[&str])],
        choices: &[&[&str]],
        how: (usize, Overflow),
    ) -> Result<Tokens> {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"];
        let files = BTreeMap::from([("vocab.txt".into(), words.join("\n").into_bytes())]);
        let tokenizer = Tokenizer::from_files(files)?;
        let lists = |list: &&[&str]| Some(list.iter().map(|choice| choice.to_string()).collect());
        let text = |values: &[&str]| {
            ColumnData::Text(values.iter().map(|value| Some(value.to_string())).collect())
        };
        let mut all: Vec<(String, ColumnData)> =
            columns.iter().map(|(name, values)| (name.to_string(), text(values))).collect();
        all.push(("choices".to_string(), ColumnData::Texts(choices.iter().map(lists).collect())));
        let right = (0..choices.len() as i64).map(Some).collect();
        all.push(("label".to_string(), ColumnData::Int(right)));
        let mut table = Table::from_columns(all)?;
        let names = ["0", "1", "2"].map(String::from).to_vec();
        table.set_labels(Labels::Classes { names, declared: false });
        let (max_length, overflow) = how;
        Tokens::of(&table, &tokenizer, Tokenization { max_length, overflow, separate: false })
    }

    #[test]
    fn every_choice_is_a_sequence_with_what_comes_before() {
        let choices: &[&[&str]] = &[&["a", "b b"], &["c", "d", "a"]];
        let how = (12, Overflow::Error);
        let tokens = made(&[("text", &["c", "d d"])], choices, how).unwrap();
        assert_eq!(tokens.rows(), 2);
        assert_eq!(tokens.sequence_lengths(0).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(tokens.sequence_lengths(1).collect::<Vec<_>>(), [6, 6, 6]);
        assert_eq!(tokens.input_ids(0), [2, 6, 3, 4, 3, 2, 6, 3, 5, 5, 3]);
        assert_eq!(tokens.token_type_ids(0)[..5], [0, 0, 0, 1, 1]);
        assert_eq!(tokens.targets, Targets::Class(vec![0, 1]));

        let columns: &[(&str, &[&str])] = &[("context", &["c", "d"]), ("question", &["a", "b"])];
        let race = made(columns, choices, how).unwrap();
        assert_eq!(race.input_ids(0)[..6], [2, 6, 3, 4, 4, 3]);
        let asked = made(&[("question", &["c", "d d"])], choices, how).unwrap();
        assert_eq!(asked.input_ids(0), tokens.input_ids(0));
        let bare = made(&[], choices, how).unwrap();
        assert_eq!(bare.input_ids(0), [2, 4, 3, 2, 5, 5, 3]);
    }

    #[test]
    fn a_row_is_as_long_as_its_longest_sequence() {
        let choices: &[&[&str]] = &[&["a", "b"], &["a a a a", "b"]];
        let columns: &[(&str, &[&str])] = &[("text", &["c", "c"])];
        let cut = made(columns, choices, (6, Overflow::Truncate)).unwrap();
        assert_eq!(cut.input_ids(1), [2, 6, 3, 4, 4, 3, 2, 6, 3, 5, 3]);
        assert_eq!((cut.report.truncated, cut.report.longest), (1, 8));
        let dropped = made(columns, choices, (6, Overflow::Drop)).unwrap();
        assert_eq!((dropped.rows(), &dropped.targets), (1, &Targets::Class(vec![0])));
        let error = made(columns, choices, (6, Overflow::Error)).unwrap_err();
        assert!(error.fault == Fault::Row && error.message.contains("8 tokens"), "{error}");
    }
}
