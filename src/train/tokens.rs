//! Tokenized rows as a source of examples.

use crate::data::{Batch, Targets, Tokens};
use crate::model::{Input, ModelError, Result, TextInput};
use crate::nn::{Offsets, TokenPlace};

use super::source::Examples;

/// Tokens with targets in the model's classes.
pub struct TokenExamples<'a> {
    tokens: &'a Tokens,
    /// One for each row of `tokens`, or none.
    targets: Targets,
}

impl<'a> TokenExamples<'a> {
    pub fn new(tokens: &'a Tokens, targets: Targets) -> Self {
        Self { tokens, targets }
    }
}

impl Examples for TokenExamples<'_> {
    fn rows(&self) -> usize {
        self.tokens.rows()
    }

    fn cost(&self, row: usize) -> usize {
        self.tokens.row_length(row)
    }

    fn input(&self, rows: &[usize], first_place: u32) -> Result<Input> {
        let batch = Batch::of(self.tokens, rows);
        if let Some(row) = rows.iter().find(|row| self.tokens.row_length(**row) == 0) {
            return Err(ModelError::new(format!("row {} has no tokens", self.name(*row))));
        }
        let offsets = Offsets::new(batch.offsets)?;
        let places = offsets
            .ranges()
            .zip(first_place..)
            .flat_map(|(range, row)| {
                (0..range.len() as u32).map(move |position| TokenPlace { row, position })
            })
            .collect();
        let single = batch.token_type_ids.iter().all(|kind| *kind == 0);
        Ok(Input::Text(TextInput {
            input_ids: batch.input_ids.into(),
            token_type_ids: (!single).then(|| batch.token_type_ids.into()),
            offsets,
            places,
        }))
    }

    fn targets(&self, rows: &[usize]) -> Targets {
        self.targets.take(rows)
    }

    fn name(&self, row: usize) -> String {
        self.tokens.ids.get(row).cloned().unwrap_or_else(|| row.to_string())
    }
}
