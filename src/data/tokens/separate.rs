//! Texts to compare: each is a sequence of its own.

use std::collections::HashMap;

use rayon::prelude::*;

use super::collect::{Collector, Fate, Sequences};
use super::{Parts, SeparateTexts, Tokenization, Tokens};
use crate::data::error::Result;
use crate::data::{Table, Tokenizer};

/// The columns whose texts make a row, as far as they are there, in this order.
const COLUMNS: [&str; 3] = ["text", "text_pair", "negative"];

/// Tokenizes the columns `text`, `text_pair` and `negative`. A text that is too long is cut, or its row is
/// left out.
pub(super) fn collect(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
    let columns: Vec<Vec<String>> = COLUMNS
        .iter()
        .filter(|column| **column == "text" || table.has(column))
        .map(|column| table.texts(column))
        .collect::<Result<_>>()?;
    let cutter = tokenizer.cutting(how.max_length)?;
    let texts_of = |row: usize| columns.iter().filter_map(move |column| column.get(row));
    let encoded: Vec<Sequences> = (0..table.rows())
        .into_par_iter()
        .map(|row| {
            let texts = texts_of(row).map(|text| (text.as_str(), None));
            Sequences::of(texts, tokenizer, &cutter).map_err(|error| table.at(row, error))
        })
        .collect::<Result<_>>()?;

    let mut collector = Collector::new(table, tokenizer, how);
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut texts = Vec::new();
    for (row, made) in encoded.iter().enumerate() {
        if let Fate::Dropped = collector.fate(row, made.longest)? {
            continue;
        }
        for (one, text) in made.all.iter().zip(texts_of(row)) {
            collector.push(&one.ids, &one.type_ids);
            let next = numbers.len();
            texts.push(*numbers.entry(text).or_insert(next));
        }
        collector.end_row(row);
    }
    collector.labelled(false, true, Parts::Texts(SeparateTexts { texts }))
}
