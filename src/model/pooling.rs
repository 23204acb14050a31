//! Sequences as vectors: the head of embeddings, which every family has.
//! Source: Reimers, Gurevych, "Sentence-BERT" (2019), section 3.

use candle_core::Tensor;

use super::{Declaration, Input, OutputHead, Pass, Pooling, Read, Result};
use crate::nn::Parameters;

/// The mean of a sequence's hidden states, or the first of them.
pub(super) struct Pooled(pub Pooling);

impl OutputHead for Pooled {
    /// What sentence-transformers opens: the bare backbone.
    fn class(&self) -> &'static str {
        ""
    }

    fn declarations(&self) -> Vec<Declaration> {
        Vec::new()
    }

    fn output_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn read(&self) -> Read {
        match self.0 {
            Pooling::Mean => Read::All,
            Pooling::Cls => Read::First,
        }
    }

    fn forward(
        &self,
        _: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        match self.0 {
            Pooling::Mean => pass.mean_rows(hidden_states, &text.offsets),
            Pooling::Cls => Ok(hidden_states.clone()),
        }
    }
}
