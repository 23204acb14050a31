//! Rows of one text or of a pair.

use rayon::prelude::*;

use super::words::{overlap, windows};
use super::{Collected, Overflow, Parts, TokenReport, Tokenization, Tokens};
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::Targets;
use crate::data::tokenizer::Encoded;
use crate::data::{Table, Tokenizer};

impl Tokens {
    /// Tokenizes the column `text`, or the pair `text` and `text_pair`.
    pub(super) fn of_texts(
        table: &Table,
        tokenizer: &Tokenizer,
        how: Tokenization,
    ) -> Result<Tokens> {
        let texts = table.texts("text")?;
        let pair = table.has("text_pair");
        let pairs = if pair { Some(table.texts("text_pair")?) } else { None };
        let cutter = tokenizer.cutting(how.max_length)?;
        let targets = table.targets()?;
        let room = how.max_length - tokenizer.special_tokens(pair);
        let strided = matches!(how.overflow, Overflow::Stride(_));
        if strided && (pair || targets != Targets::None) {
            let what = if pair { "pairs of texts" } else { "texts with labels" };
            return Err(DataError::new(
                Fault::Tokenizer,
                format!("{what} cannot become several rows that overlap"),
            )
            .help("`overflow = truncate` cuts them"));
        }
        let shared = overlap(how.overflow, room)?;

        struct Row {
            /// What becomes of it; one but for a stride.
            parts: Vec<Encoded>,
            whole: usize,
        }
        // Rows are encoded in parallel and collected in their order.
        let encoded: Vec<Row> = (0..texts.len())
            .into_par_iter()
            .map(|row| -> Result<Row> {
                let text = texts.get(row).map(String::as_str).unwrap_or_default();
                let second = pairs.as_ref().and_then(|pairs| pairs.get(row)).map(String::as_str);
                let full = tokenizer.encode(text, second).map_err(|error| table.at(row, error))?;
                let whole = full.ids.len();
                let parts = match how.overflow {
                    _ if whole <= how.max_length => vec![full],
                    Overflow::Truncate => {
                        vec![cutter.encode(text, second).map_err(|error| table.at(row, error))?]
                    }
                    Overflow::Stride(_) => {
                        let ids = tokenizer.encode_bare(text)?;
                        let part = |window: std::ops::Range<usize>| -> Result<Encoded> {
                            let framed =
                                tokenizer.frame(ids.get(window).unwrap_or_default(), None)?;
                            Ok(Encoded { ids: framed.ids, type_ids: framed.type_ids })
                        };
                        windows(ids.len(), room, shared)
                            .into_iter()
                            .map(part)
                            .collect::<Result<_>>()?
                    }
                    Overflow::Drop | Overflow::Error => vec![full],
                };
                Ok(Row { parts, whole })
            })
            .collect::<Result<_>>()?;

        let mut report = TokenReport { rows: encoded.len(), ..TokenReport::default() };
        let mut collected = Collected::default();
        let mut kept = Vec::with_capacity(encoded.len());
        for (number, row) in encoded.iter().enumerate() {
            report.longest = report.longest.max(row.whole);
            if row.whole > how.max_length {
                match how.overflow {
                    Overflow::Truncate => report.truncated += 1,
                    Overflow::Drop => {
                        report.dropped += 1;
                        continue;
                    }
                    Overflow::Error => return Err(too_long(table, number, row.whole, how)),
                    Overflow::Stride(_) => {}
                }
            }
            for part in &row.parts {
                kept.push(number);
                collected.push(&part.ids, &part.type_ids);
            }
        }
        report.tokens = collected.input_ids.len();
        let all_ids = table.ids();
        let ids = kept.iter().filter_map(|row| all_ids.get(*row).cloned()).collect();
        Ok(Tokens {
            offsets: collected.offsets(),
            input_ids: collected.input_ids.into(),
            token_type_ids: collected.token_type_ids.into(),
            sequences: None,
            targets: targets.take(&kept),
            labels: table.labels().clone(),
            ids,
            tokenization: how,
            tokenizer: tokenizer.digest(),
            pair,
            report,
            parts: Parts::Rows,
        })
    }
}

/// The error for a row that is longer than it may be.
pub(super) fn too_long(table: &Table, row: usize, length: usize, how: Tokenization) -> DataError {
    let message = format!("the row has {length} tokens, max_length is {}", how.max_length);
    table
        .at(row, DataError::new(Fault::Row, message))
        .help("`overflow = truncate` cuts such rows, `overflow = drop` leaves them out")
}
