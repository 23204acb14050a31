//! Tokenized rows as a source of examples.

use rayon::prelude::*;

use crate::data::{Batch, Targets, Tokens};
use crate::model::{Dropping, Input, ModelError, Result, Selected, TextInput};
use crate::nn::{Offsets, TokenPlace};

use super::masking::{Masked, Masking};
use super::source::Examples;

/// Tokens with targets in the model's classes.
pub struct TokenExamples<'a> {
    tokens: &'a Tokens,
    learn: Learn,
}

/// What is learned from tokens.
enum Learn {
    /// One of these for each row of the tokens, or none.
    Targets(Targets),
    /// The tokens themselves, some of which are masked.
    Masked(Masking),
}

impl<'a> TokenExamples<'a> {
    pub fn new(tokens: &'a Tokens, targets: Targets) -> Self {
        Self { tokens, learn: Learn::Targets(targets) }
    }

    /// Tokens some of which are to be guessed.
    pub fn masked(tokens: &'a Tokens, masking: Masking) -> Self {
        Self { tokens, learn: Learn::Masked(masking) }
    }

    fn masked_rows(
        &self,
        masking: &Masking,
        rows: &[usize],
        update: Option<Dropping>,
    ) -> Vec<Masked> {
        rows.par_iter().map(|row| masking.row(self.tokens.input_ids(*row), *row, update)).collect()
    }
}

impl Examples for TokenExamples<'_> {
    fn rows(&self) -> usize {
        self.tokens.rows()
    }

    fn cost(&self, row: usize) -> usize {
        self.tokens.row_length(row)
    }

    fn input(&self, rows: &[usize], first_place: u32, update: Option<Dropping>) -> Result<Input> {
        let mut batch = Batch::of(self.tokens, rows);
        if let Some(row) = rows.iter().find(|row| self.tokens.row_length(**row) == 0) {
            return Err(ModelError::new(format!("row {} has no tokens", self.name(*row))));
        }
        let offsets = Offsets::new(batch.offsets)?;
        let sequences = batch.sequences.map(Offsets::new).transpose()?;
        let places = match &sequences {
            None => places(offsets.ranges().map(|range| range.len()), first_place),
            Some(sequences) => {
                let starts = offsets.as_slice();
                let lengths =
                    sequences.ranges().map(|range| starts[range.end] - starts[range.start]);
                places(lengths, first_place)
            }
        };
        let mut selected = None;
        if let Learn::Masked(masking) = &self.learn {
            let rows = self.masked_rows(masking, rows, update);
            batch.input_ids = rows.iter().flat_map(|row| row.ids.iter().copied()).collect();
            let chosen = offsets.ranges().zip(&rows).flat_map(|(range, row)| {
                row.places.iter().map(move |place| (range.start + place) as u32)
            });
            selected = Some(Selected { tokens: chosen.collect(), starts: starts(&rows).into() });
        }
        let single = batch.token_type_ids.iter().all(|kind| *kind == 0);
        Ok(Input::Text(TextInput {
            token_type_ids: (!single).then(|| batch.token_type_ids.into()),
            rows: sequences,
            selected,
            ..TextInput::new(batch.input_ids.into(), offsets, places)
        }))
    }

    fn targets(&self, rows: &[usize], update: Option<Dropping>) -> Targets {
        match &self.learn {
            Learn::Targets(targets) => targets.take(rows),
            Learn::Masked(masking) => {
                let rows = self.masked_rows(masking, rows, update);
                Targets::Each {
                    starts: starts(&rows),
                    classes: rows.into_iter().flat_map(|row| row.classes).collect(),
                }
            }
        }
    }

    fn name(&self, row: usize) -> String {
        self.tokens.ids.get(row).cloned().unwrap_or_else(|| row.to_string())
    }
}

/// The place of every token, from the lengths of the rows.
fn places<T: FromIterator<TokenPlace>>(lengths: impl Iterator<Item = usize>, first: u32) -> T {
    lengths
        .zip(first..)
        .flat_map(|(length, row)| {
            (0..length as u32).map(move |position| TokenPlace { row, position })
        })
        .collect()
}

/// Where the masked tokens of each row start among them all.
fn starts(rows: &[Masked]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut end = 0;
    starts.extend(rows.iter().map(|row| {
        end += row.places.len();
        end
    }));
    starts
}
