//! Texts to compare: each is a sequence of its own.

use std::collections::HashMap;

use rayon::prelude::*;

use super::texts::too_long;
use super::{Collected, Overflow, Parts, SeparateTexts, TokenReport, Tokenization, Tokens};
use crate::data::error::{DataError, Fault, Result};
use crate::data::{Table, Tokenizer};

/// The columns whose texts make a row, as far as they are there, in this order.
const COLUMNS: [&str; 3] = ["text", "text_pair", "negative"];

impl Tokens {
    /// Tokenizes the columns `text`, `text_pair` and `negative`. A text that is too long is cut, or its
    /// row is left out.
    pub(super) fn of_separate(
        table: &Table,
        tokenizer: &Tokenizer,
        how: Tokenization,
    ) -> Result<Tokens> {
        if matches!(how.overflow, Overflow::Stride(_)) {
            let message = "texts to compare cannot become several rows that overlap";
            return Err(
                DataError::new(Fault::Tokenizer, message).help("`overflow = truncate` cuts them")
            );
        }
        let columns: Vec<Vec<String>> = COLUMNS
            .iter()
            .filter(|column| **column == "text" || table.has(column))
            .map(|column| table.texts(column))
            .collect::<Result<_>>()?;
        let cutter = tokenizer.cutting(how.max_length)?;
        let rows = columns.first().map_or(0, Vec::len);
        let texts_of = |row: usize| columns.iter().filter_map(move |column| column.get(row));
        // The ids of each text, its types, and its whole length.
        type Text = (Vec<u32>, Vec<u32>, usize);
        let encoded: Vec<Vec<Text>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let of_text = |text: &String| -> Result<Text> {
                    let full = tokenizer.encode(text, None)?;
                    let whole = full.ids.len();
                    let kept = match how.overflow {
                        Overflow::Truncate if whole > how.max_length => {
                            cutter.encode(text, None)?
                        }
                        _ => full,
                    };
                    Ok((kept.ids, kept.type_ids, whole))
                };
                let texts: Result<Vec<Text>> = texts_of(row).map(of_text).collect();
                texts.map_err(|error| table.at(row, error))
            })
            .collect::<Result<_>>()?;

        let mut report = TokenReport { rows, ..TokenReport::default() };
        let mut collected = Collected::default();
        let mut sequences = vec![0];
        let mut kept = Vec::with_capacity(rows);
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut texts = Vec::new();
        for (row, of_row) in encoded.iter().enumerate() {
            let longest = of_row.iter().map(|(.., whole)| *whole).max().unwrap_or(0);
            report.longest = report.longest.max(longest);
            if longest > how.max_length {
                match how.overflow {
                    Overflow::Drop => {
                        report.dropped += 1;
                        continue;
                    }
                    Overflow::Error => return Err(too_long(table, row, longest, how)),
                    Overflow::Truncate | Overflow::Stride(_) => report.truncated += 1,
                }
            }
            kept.push(row);
            for ((ids, type_ids, _), text) in of_row.iter().zip(texts_of(row)) {
                collected.push(ids, type_ids);
                let next = numbers.len();
                texts.push(*numbers.entry(text).or_insert(next));
            }
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
            pair: false,
            report,
            parts: Parts::Texts(SeparateTexts { texts }),
        })
    }
}
