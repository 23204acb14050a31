//! What goes into a model. The trainer hands inputs on without looking inside.

use std::sync::Arc;

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
}

impl Input {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Input::Text(text) => text.offsets.sequences(),
        }
    }

    /// The amount of work, in tokens.
    pub fn tokens(&self) -> usize {
        match self {
            Input::Text(text) => text.input_ids.len(),
        }
    }
}
