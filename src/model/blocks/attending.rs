//! Which rows of a block ask in its attention, which are seen, and which go on.

use std::sync::Arc;

use candle_core::Tensor;

use crate::model::pass::{Pass, Places};
use crate::model::{ModelError, Read, Result, TextInput};
use crate::nn::{Offsets, Padding};

/// Who attends to whom in one block.
pub(in crate::model) struct Attending<'a> {
    text: &'a TextInput,
    read: Read,
    /// Of the rows that ask.
    pub asking: Places<'a>,
    /// The place of each of them in its sequence.
    pub positions: Arc<[u32]>,
    pub query_offsets: Offsets,
    pub key_offsets: &'a Offsets,
}

impl<'a> Attending<'a> {
    /// Of a block of which these rows are read.
    pub fn new(text: &'a TextInput, read: Read) -> Self {
        let (asking, query_offsets) = match read {
            Read::All | Read::Selected => (Places::All(text), text.offsets.clone()),
            Read::First => (Places::First(text), Offsets::ones(text.offsets.sequences())),
        };
        let positions = positions(&query_offsets);
        Self { text, read, asking, positions, query_offsets, key_offsets: &text.offsets }
    }

    pub fn text(&self) -> &'a TextInput {
        self.text
    }

    /// Whether every row asks.
    pub fn all_ask(&self) -> bool {
        self.read != Read::First
    }

    /// The rows of `x`, one for each token, that ask.
    pub fn queries(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        match self.read {
            Read::First => pass.take_rows(x, &self.text.offsets.starts()),
            Read::All | Read::Selected => Ok(x.clone()),
        }
    }

    /// The rows that no other row sees. `asks`: [`Padding::asks`].
    pub fn padding(&self, asks: bool) -> Result<Option<Padding>> {
        let Some(attended) = &self.text.attended else { return Ok(None) };
        let mut seen = Vec::new();
        for (all, some) in self.text.offsets.ranges().zip(attended.offsets.ranges()) {
            let tokens = &attended.tokens[some];
            if !tokens.iter().copied().eq((all.start as u32..).take(tokens.len())) {
                return Err(ModelError::new(
                    "what attention does not see is not at the end of its row",
                ));
            }
            seen.push(tokens.len());
        }
        Ok(Some(Padding { seen: seen.into(), asks }))
    }

    /// Of rows that asked, those that are read, and their places.
    pub fn read<const N: usize>(
        &self,
        asked: [Tensor; N],
        pass: &Pass,
    ) -> Result<([Tensor; N], Places<'a>)> {
        if self.read != Read::Selected {
            return Ok((asked, self.asking));
        }
        let tokens = &self.text.selected()?.tokens;
        let taken = asked.iter().map(|x| pass.take_rows(x, tokens)).collect::<Result<Vec<_>>>()?;
        let taken = taken.try_into().map_err(|_| ModelError::new("as many tensors as before"))?;
        Ok((taken, Places::Selected(self.text)))
    }
}

/// The place of every row in its sequence.
pub(in crate::model) fn positions(offsets: &Offsets) -> Arc<[u32]> {
    offsets.ranges().flat_map(|range| 0..range.len() as u32).collect()
}
