//! Choices: each is a sequence of its own, a pair with what comes before it.

use rayon::prelude::*;

use super::texts::too_long;
use super::words::lists;
use super::{Collected, Overflow, Parts, TokenReport, Tokenization, Tokens};
use crate::data::error::Result;
use crate::data::tokenizer::Encoded;
use crate::data::{Table, Tokenizer};

impl Tokens {
    /// Tokenizes the column `choices`. What comes before every choice of a row is its `context` or
    /// `text`, and a `question` stands in front of the choice; without these two the question comes
    /// before. Of a sequence that is too long the longer text is cut first. Sources: transformers,
    /// `run_swag.py`; Lai et al., "RACE" (2017).
    ///
    /// # Errors
    /// A sequence that is too long where `overflow` is `Error`; a row without choices.
    pub(super) fn of_choices(
        table: &Table,
        tokenizer: &Tokenizer,
        how: Tokenization,
    ) -> Result<Tokens> {
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

        struct Row {
            sequences: Vec<Encoded>,
            /// Before they were cut.
            longest: usize,
        }
        let encoded: Vec<Row> = choices
            .par_iter()
            .enumerate()
            .map(|(row, choices)| -> Result<Row> {
                let before = before.as_ref().and_then(|all| all.get(row)).map(String::as_str);
                let mut made = Row { sequences: Vec::with_capacity(choices.len()), longest: 0 };
                for choice in choices {
                    let choice = match asked.as_ref().and_then(|all| all.get(row)) {
                        Some(question) => format!("{question} {choice}"),
                        None => choice.clone(),
                    };
                    let (first, second) = match before {
                        Some(before) => (before, Some(choice.as_str())),
                        None => (choice.as_str(), None),
                    };
                    let encode = |with: &Tokenizer| {
                        with.encode(first, second).map_err(|error| table.at(row, error))
                    };
                    let whole = encode(tokenizer)?;
                    let length = whole.ids.len();
                    made.longest = made.longest.max(length);
                    made.sequences.push(match length > how.max_length {
                        true => encode(&cutter)?,
                        false => whole,
                    });
                }
                Ok(made)
            })
            .collect::<Result<_>>()?;

        let mut report = TokenReport { rows: encoded.len(), ..TokenReport::default() };
        let mut collected = Collected::default();
        let (mut kept, mut sequences) = (Vec::with_capacity(encoded.len()), vec![0]);
        for (number, row) in encoded.iter().enumerate() {
            report.longest = report.longest.max(row.longest);
            if row.longest > how.max_length {
                match how.overflow {
                    Overflow::Truncate | Overflow::Stride(_) => report.truncated += 1,
                    Overflow::Drop => {
                        report.dropped += 1;
                        continue;
                    }
                    Overflow::Error => return Err(too_long(table, number, row.longest, how)),
                }
            }
            kept.push(number);
            row.sequences.iter().for_each(|one| collected.push(&one.ids, &one.type_ids));
            sequences.push(collected.ends.len());
        }
        report.tokens = collected.input_ids.len();
        let all_ids = table.ids();
        let ids = kept.iter().filter_map(|row| all_ids.get(*row).cloned()).collect();
        Ok(Tokens {
            offsets: collected.offsets(),
            input_ids: collected.input_ids.into(),
            token_type_ids: collected.token_type_ids.into(),
            sequences: Some(sequences.into()),
            targets: table.targets()?.take(&kept),
            labels: table.labels().clone(),
            ids,
            tokenization: how,
            tokenizer: tokenizer.digest(),
            pair: before.is_some(),
            report,
            parts: Parts::Rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::labels::{Labels, Targets};
    use crate::data::{ColumnData, Fault};

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
