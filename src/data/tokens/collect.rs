//! What all forms of rows end in: sequences one behind the other, what became of each row of the table,
//! and the count of it.

use super::{Overflow, Parts, TokenReport, Tokenization, Tokens};
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::{Labels, Targets};
use crate::data::tokenizer::{Cutter, Encoded};
use crate::data::{Table, Tokenizer};

/// The sequences of one row, each cut where it is too long.
pub(super) struct Sequences {
    pub all: Vec<Encoded>,
    /// The longest before it was cut, in tokens.
    pub longest: usize,
}

impl Sequences {
    pub fn of<'t>(
        texts: impl Iterator<Item = (&'t str, Option<&'t str>)>,
        tokenizer: &Tokenizer,
        cutter: &Cutter,
    ) -> Result<Sequences> {
        let mut made = Sequences { all: Vec::new(), longest: 0 };
        for (text, pair) in texts {
            let whole = tokenizer.encode(text, pair)?;
            let length = whole.ids.len();
            made.longest = made.longest.max(length);
            let fits = length <= cutter.max_length;
            made.all.push(if fits { whole } else { cutter.encode(text, pair)? });
        }
        Ok(made)
    }
}

/// Rows as they are collected, in the order of the table.
pub(super) struct Collector<'a> {
    table: &'a Table,
    tokenizer: &'a Tokenizer,
    how: Tokenization,
    input_ids: Vec<u32>,
    token_type_ids: Vec<u32>,
    /// Where the sequences begin, and the last one ends.
    offsets: Vec<usize>,
    /// The first sequence of each row, and one past the last of all.
    sequences: Vec<usize>,
    /// The row of the table that each row is made from.
    pub rows: Vec<usize>,
    pub report: TokenReport,
}

/// What becomes of a row of the table.
pub(super) enum Fate {
    /// It has room.
    Whole,
    /// It is cut.
    Cut,
    /// It becomes several rows, each of which repeats so many tokens of the one before.
    Several(usize),
    /// It is left out.
    Dropped,
}

/// What the tokens of a form are beside their ids.
pub(super) struct Meaning {
    pub targets: Targets,
    pub labels: Labels,
    /// Whether the rows are pairs of texts.
    pub pair: bool,
    /// Whether rows may have several sequences.
    pub several: bool,
    pub parts: Parts,
}

impl<'a> Collector<'a> {
    pub fn new(table: &'a Table, tokenizer: &'a Tokenizer, how: Tokenization) -> Collector<'a> {
        Collector {
            table,
            tokenizer,
            how,
            input_ids: Vec::new(),
            token_type_ids: Vec::new(),
            offsets: vec![0],
            sequences: vec![0],
            rows: Vec::new(),
            report: TokenReport { rows: table.rows(), ..TokenReport::default() },
        }
    }

    /// What becomes of a row of so many tokens; it is counted.
    ///
    /// # Errors
    /// It is too long, and `overflow` is `Error`.
    pub fn fate(&mut self, row: usize, length: usize) -> Result<Fate> {
        self.report.longest = self.report.longest.max(length);
        if length <= self.how.max_length {
            return Ok(Fate::Whole);
        }
        match self.how.overflow {
            Overflow::Truncate => {
                self.report.truncated += 1;
                Ok(Fate::Cut)
            }
            Overflow::Drop => {
                self.report.dropped += 1;
                Ok(Fate::Dropped)
            }
            Overflow::Stride(overlap) => Ok(Fate::Several(overlap)),
            Overflow::Error => {
                let max_length = self.how.max_length;
                let message = format!("the row has {length} tokens, max_length is {max_length}");
                let error = self.table.at(row, DataError::new(Fault::Row, message));
                Err(error.help(
                    "`overflow = truncate` cuts such rows, `overflow = drop` leaves them out",
                ))
            }
        }
    }

    /// Adds a sequence to the row that is being collected.
    pub fn push(&mut self, ids: &[u32], type_ids: &[u32]) {
        self.input_ids.extend_from_slice(ids);
        self.token_type_ids.extend_from_slice(type_ids);
        self.offsets.push(self.input_ids.len());
    }

    /// The row is complete: it is made from this one of the table.
    pub fn end_row(&mut self, row: usize) {
        self.sequences.push(self.offsets.len() - 1);
        self.rows.push(row);
    }

    pub fn tokens(mut self, meaning: Meaning) -> Tokens {
        self.report.tokens = self.input_ids.len();
        let ids = self.table.ids();
        Tokens {
            input_ids: self.input_ids.into(),
            token_type_ids: self.token_type_ids.into(),
            offsets: self.offsets.into(),
            sequences: meaning.several.then(|| self.sequences.into()),
            targets: meaning.targets,
            labels: meaning.labels,
            ids: self.rows.iter().filter_map(|row| ids.get(*row).cloned()).collect(),
            tokenization: self.how,
            tokenizer: self.tokenizer.digest(),
            pair: meaning.pair,
            report: self.report,
            parts: meaning.parts,
        }
    }

    /// Tokens whose targets are the labels of the table.
    pub fn labelled(self, pair: bool, several: bool, parts: Parts) -> Result<Tokens> {
        let targets = self.table.targets()?.take(&self.rows);
        let labels = self.table.labels().clone();
        Ok(self.tokens(Meaning { targets, labels, pair, several, parts }))
    }
}
