//! Rows of one text or of a pair.

use rayon::prelude::*;

use super::collect::{Collector, Fate};
use super::words::{overlap, windows};
use super::{Overflow, Parts, Tokenization, Tokens};
use crate::data::error::Result;
use crate::data::tokenizer::Encoded;
use crate::data::{Table, Tokenizer};

/// Tokenizes the column `text`, or the pair `text` and `text_pair`.
pub(super) fn collect(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
    let texts = table.texts("text")?;
    let pair = table.has("text_pair");
    let pairs = if pair { Some(table.texts("text_pair")?) } else { None };
    let cutter = tokenizer.cutting(how.max_length)?;
    let room = how.max_length - tokenizer.special_tokens(pair);
    let shared = overlap(how.overflow, room)?;

    struct Row {
        /// What becomes of it; one but for a stride.
        parts: Vec<Encoded>,
        whole: usize,
    }
    // Rows are encoded in parallel and collected in their order.
    let encode = |row: usize, text: &str| -> Result<Row> {
        let second = pairs.as_ref().and_then(|pairs| pairs.get(row)).map(String::as_str);
        let full = tokenizer.encode(text, second)?;
        let whole = full.ids.len();
        let parts = match how.overflow {
            _ if whole <= how.max_length => vec![full],
            Overflow::Truncate => vec![cutter.encode(text, second)?],
            Overflow::Stride(_) => {
                let ids = tokenizer.encode_bare(text)?;
                let part = |window: std::ops::Range<usize>| -> Result<Encoded> {
                    let framed = tokenizer.frame(ids.get(window).unwrap_or_default(), None)?;
                    Ok(Encoded { ids: framed.ids, type_ids: framed.type_ids })
                };
                windows(ids.len(), room, shared).into_iter().map(part).collect::<Result<_>>()?
            }
            Overflow::Drop | Overflow::Error => vec![full],
        };
        Ok(Row { parts, whole })
    };
    let encoded: Vec<Row> = texts
        .par_iter()
        .enumerate()
        .map(|(row, text)| encode(row, text).map_err(|error| table.at(row, error)))
        .collect::<Result<_>>()?;

    let mut collector = Collector::new(table, tokenizer, how);
    for (number, row) in encoded.iter().enumerate() {
        if let Fate::Dropped = collector.fate(number, row.whole)? {
            continue;
        }
        for part in &row.parts {
            collector.push(&part.ids, &part.type_ids);
            collector.end_row(number);
        }
    }
    collector.labelled(pair, false, Parts::Rows)
}
