//! Sentences of words: the first token of a word stands for it. A sentence that is too long is cut, or
//! becomes several rows that overlap.

use std::ops::Range;

use rayon::prelude::*;

use super::collect::{Collector, Fate, Meaning};
use super::{Overflow, Parts, Tokenization, Tokens, Words};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::{IGNORED, Labels, Targets};
use crate::data::tokenizer::WordPieces;
use crate::data::{Table, Tokenizer};

/// Tokenizes the column `words`; targets are the `tags`, where the table has them.
///
/// # Errors
/// A row that is too long where `overflow` is `Error`, or whose overlap leaves no room; a row with
/// more or fewer tags than words.
pub(super) fn collect(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
    let sentences = lists(table, "words")?;
    let truth = truth(table, &sentences)?;
    let tags = if truth.is_some() { lists(table, "tags")? } else { Vec::new() };
    let special = tokenizer.special_tokens(false);
    let room = how.max_length - special;
    overlap(how.overflow, room)?;
    let encoded: Vec<WordPieces> = sentences
        .par_iter()
        .enumerate()
        .map(|(row, words)| tokenizer.encode_words(words).map_err(|error| table.at(row, error)))
        .collect::<Result<_>>()?;

    let mut collector = Collector::new(table, tokenizer, how);
    let mut parts = Words::default();
    let (mut starts, mut classes) = (vec![0], Vec::new());
    let all_ids = table.ids();
    for (row, (pieces, words)) in encoded.into_iter().zip(sentences).enumerate() {
        let windows = match collector.fate(row, pieces.ids.len() + special)? {
            Fate::Whole => whole(pieces.ids.len()),
            Fate::Cut => whole(room),
            Fate::Several(overlap) => windows(pieces.ids.len(), room, overlap),
            Fate::Dropped => continue,
        };
        let sentence = parts.words.len();
        // Of a word in two rows, the row with more around it answers: the first token of a row
        // knows nothing of what is before it.
        let mut next = 0;
        for (number, window) in windows.iter().enumerate() {
            let own_end = match windows.get(number + 1) {
                Some(following) => (following.start + window.end).div_ceil(2),
                None => window.end,
            };
            let framed =
                tokenizer.frame(pieces.ids.get(window.clone()).unwrap_or_default(), None)?;
            collector.push(&framed.ids, &framed.type_ids);
            for place in 0..framed.ids.len() {
                let piece = place
                    .checked_sub(framed.before)
                    .map(|inner| window.start + inner)
                    .filter(|piece| *piece < window.end);
                let first = piece.and_then(|piece| pieces.first_of.get(piece).copied().flatten());
                let answers = piece.is_some_and(|piece| (next..own_end).contains(&piece));
                parts.word_of.push(first.filter(|_| answers));
                let class = first.and_then(|word| truth.as_ref()?.get(row)?.get(word as usize));
                classes.push(class.copied().unwrap_or(IGNORED));
            }
            next = own_end;
            starts.push(classes.len());
            parts.sentences.push(sentence);
            collector.end_row(row);
        }
        parts.sentence_ids.push(all_ids.get(row).cloned().unwrap_or_default());
        parts.words.push(words);
        parts.truth.extend(tags.get(row).cloned());
    }
    let targets = match truth {
        Some(_) => Targets::Each { starts, classes },
        None => Targets::None,
    };
    let labels = table.labels().clone();
    let parts = Parts::Words(parts);
    Ok(collector.tokens(Meaning { targets, labels, pair: false, several: false, parts }))
}

/// How many of `room` tokens a row repeats of the one before; fails where nothing new would fit.
pub(super) fn overlap(overflow: Overflow, room: usize) -> Result<usize> {
    match overflow {
        Overflow::Stride(overlap) if overlap >= room => Err(DataError::new(
            Fault::Tokenizer,
            format!("rows of {room} tokens cannot overlap by {overlap}"),
        )
        .help(format!("at most `stride({})`", room - 1))),
        Overflow::Stride(overlap) => Ok(overlap),
        _ => Ok(0),
    }
}

/// The parts of `length` pieces that fit into `room`, each with `overlap` pieces of the one before.
pub(super) fn windows(length: usize, room: usize, overlap: usize) -> Vec<Range<usize>> {
    let next = |last: &Range<usize>| {
        let start = last.end.checked_sub(overlap)?;
        (last.end < length).then(|| start..(start + room).min(length))
    };
    std::iter::successors(Some(0..room.min(length)), next).collect()
}

/// All of `length` pieces as one part.
pub(super) fn whole(length: usize) -> Vec<Range<usize>> {
    windows(length, length, 0)
}

/// A column of lists of texts. A missing list is an error with its file and line.
pub(super) fn lists(table: &Table, name: &str) -> Result<Vec<Vec<String>>> {
    let ColumnData::Texts(rows) = table.column(name)? else {
        let message = format!("column `{name}` holds no lists of texts");
        return Err(DataError::new(Fault::Column, message).subject(name));
    };
    rows.into_iter()
        .enumerate()
        .map(|(row, list)| {
            list.filter(|list| !list.is_empty()).ok_or_else(|| {
                let error = DataError::new(Fault::Row, format!("the row has no `{name}`"));
                table.at(row, error).help("`load-data` with `missing = drop` leaves such rows out")
            })
        })
        .collect()
}

/// The class of every word; none where the table has no tags.
fn truth(table: &Table, sentences: &[Vec<String>]) -> Result<Option<Vec<Vec<i64>>>> {
    let Labels::Tags { names, .. } = table.labels() else { return Ok(None) };
    if !table.has("tags") {
        return Ok(None);
    }
    let tags = lists(table, "tags")?;
    let number: std::collections::HashMap<&str, i64> =
        names.iter().map(String::as_str).zip(0..).collect();
    let of_row = |(row, (tags, words)): (usize, (&Vec<String>, &Vec<String>))| {
        if tags.len() != words.len() {
            let message = format!("{} words have {} tags", words.len(), tags.len());
            return Err(table.at(row, DataError::new(Fault::Row, message)));
        }
        let class = |tag: &String| {
            number.get(tag.as_str()).copied().ok_or_else(|| {
                let message = format!("the tag `{tag}` is not one of the labels");
                table.at(row, DataError::new(Fault::Label, message))
            })
        };
        tags.iter().map(class).collect::<Result<Vec<i64>>>()
    };
    tags.iter().zip(sentences).enumerate().map(of_row).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_and_leave_nothing_out() {
        assert_eq!(windows(3, 5, 2), whole(3));
        assert_eq!(windows(10, 4, 1), [0..4, 3..7, 6..10]);
        for (length, room, overlap) in [(11, 4, 3), (100, 7, 0), (5, 2, 1)] {
            let all = windows(length, room, overlap);
            assert_eq!(all.last().map(|last| last.end), Some(length));
            assert!(all.iter().all(|window| window.len() <= room));
            assert!(all.windows(2).all(|pair| pair[1].start + overlap == pair[0].end));
        }
    }
}
