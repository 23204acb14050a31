//! What goes into a model. The trainer hands inputs on without looking inside.

use std::sync::Arc;

use super::{ModelError, Result};
use crate::nn::{Offsets, TokenPlace};

/// One batch of inputs, without padding.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input {
    Text(TextInput),
}

/// Sequences of tokens, one after the other.
#[derive(Debug, Clone)]
pub struct TextInput {
    /// `[tokens]`
    pub input_ids: Arc<[u32]>,
    /// `[tokens]`; none means type 0 everywhere.
    pub token_type_ids: Option<Arc<[u32]>>,
    /// Where sequences start, `[sequences + 1]`.
    pub offsets: Offsets,
    /// `[tokens]`: the row's place in the whole update, and the position in the row.
    pub places: Arc<[TokenPlace]>,
    /// Which sequences belong to one row, `[rows + 1]`; none means one each.
    pub rows: Option<Offsets>,
    /// The tokens that are scored, where not all are.
    pub selected: Option<Selected>,
    /// The tokens that attention sees, where it does not see all: all but the padding of a reference
    /// that is compared with.
    pub attended: Option<Attended>,
}

/// Some of the tokens of every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Their places among all tokens of the batch, in order.
    pub tokens: Arc<[u32]>,
    /// Where the selected tokens of each row start among them, `[rows + 1]`; rows may have none.
    pub starts: Arc<[usize]>,
}

/// Some of the tokens of every sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attended {
    /// Their places among all tokens of the batch, in order.
    pub tokens: Arc<[u32]>,
    /// Where those of each sequence start among them.
    pub offsets: Offsets,
}

/// What a head scores, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    Sequence,
    Token,
    /// A token that the input selects.
    Selected,
}

impl TextInput {
    /// Sequences that are a row each, of which every token is read.
    pub fn new(input_ids: Arc<[u32]>, offsets: Offsets, places: Arc<[TokenPlace]>) -> Self {
        Self {
            input_ids,
            token_type_ids: None,
            offsets,
            places,
            rows: None,
            selected: None,
            attended: None,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or(self.offsets.sequences(), Offsets::sequences)
    }

    /// The places of the selected tokens; fails if the input selects none.
    pub fn selected(&self) -> Result<&Selected> {
        self.selected
            .as_ref()
            .ok_or_else(|| ModelError::new("the input does not say which of its tokens are scored"))
    }
}

impl Input {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Input::Text(text) => text.rows(),
        }
    }

    /// The amount of work, in tokens.
    pub fn tokens(&self) -> usize {
        match self {
            Input::Text(text) => text.input_ids.len(),
        }
    }

    /// Where the units of each row start among all units, `[rows + 1]`.
    pub fn units(&self, per: Per) -> Result<Arc<[usize]>> {
        let Input::Text(text) = self;
        Ok(match (per, &text.rows) {
            (Per::Sequence, None) => (0..=text.rows()).collect(),
            (Per::Sequence, Some(rows)) => rows.as_slice().into(),
            (Per::Token, None) => text.offsets.as_slice().into(),
            (Per::Token, Some(rows)) => {
                let starts = text.offsets.as_slice();
                rows.as_slice().iter().filter_map(|at| starts.get(*at).copied()).collect()
            }
            (Per::Selected, _) => text.selected()?.starts.clone(),
        })
    }
}
