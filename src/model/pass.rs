//! One forward pass: which of the two paths computes it (the fused operations, or the slow
//! references that they are checked against), and what is dropped.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Result, TextInput};
use crate::nn::ops::embedding::Lookup;
use crate::nn::ops::{
    activation, attention, dropout, embedding, feed_forward, layer_norm, linear, mean_rows, noise,
    take_rows,
};
use crate::nn::{
    Activation, AttentionMask, AttentionSpec, DropoutAt, Linear, Offsets, Parameters, Precision,
    Tape, TokenPlace, Weight,
};

/// Which implementation of the operations is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Path {
    #[default]
    Fused,
    /// Differentiable primitives, for tests.
    Reference,
}

/// What is kept from the forward pass for the backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Memory {
    /// What every operation needs.
    #[default]
    Normal,
    /// The inputs of blocks; the rest is computed again. The same bits, about a third slower.
    Low,
}

/// How a pass is computed. Only `precision` changes results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    pub path: Path,
    pub precision: Precision,
    pub memory: Memory,
}

/// Dropout of one update. What is dropped is a function of these, of the place in the network, and
/// of the unit's row, position and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropping {
    pub seed: u64,
    pub update: u64,
}

/// One forward pass, and the record of its way back.
#[derive(Clone)]
pub struct Pass {
    compute: Compute,
    dropping: Option<Dropping>,
    /// α of NEFTune.
    neftune: Option<f64>,
    tape: Tape,
}

/// Whose places the rows of a tensor have.
#[derive(Debug, Clone, Copy)]
pub enum Places<'a> {
    /// One row for each token.
    All(&'a TextInput),
    /// One row for the first token of each sequence.
    First(&'a TextInput),
    /// One row for each token that the input selects.
    Selected(&'a TextInput),
}

/// Dropout at one place of the network.
#[derive(Debug, Clone, Copy)]
pub struct Drop<'a> {
    /// The share that is dropped.
    pub p: f64,
    /// The number of the place, its own in the whole network.
    pub site: u32,
    pub places: Places<'a>,
}

impl Places<'_> {
    fn list(&self) -> Arc<[TokenPlace]> {
        let at = |text: &TextInput, tokens: &[u32]| {
            tokens.iter().filter_map(|token| text.places.get(*token as usize).copied()).collect()
        };
        match self {
            Places::All(text) => text.places.clone(),
            Places::First(text) => at(text, &text.offsets.starts()),
            Places::Selected(text) => {
                at(text, text.selected.as_ref().map_or(&[], |selected| &selected.tokens))
            }
        }
    }
}

impl Pass {
    /// A pass that [`Self::backward`] follows. `dropping`: none for checks.
    pub fn training(compute: Compute, dropping: Option<Dropping>) -> Self {
        Self { compute, dropping, neftune: None, tape: Tape::recording(compute.precision) }
    }

    /// The same with noise on the embeddings, as far as it drops at all: see [`Self::noise`].
    pub fn with_neftune(self, alpha: Option<f64>) -> Self {
        Self { neftune: alpha, ..self }
    }

    /// A pass for values alone: nothing is dropped or kept.
    pub fn evaluation(compute: Compute) -> Self {
        Self { compute, dropping: None, neftune: None, tape: Tape::silent(compute.precision) }
    }

    pub fn path(&self) -> Path {
        self.compute.path
    }

    /// Where losses record their way back.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Adds the gradients of `loss`, a scalar of this pass, to those of `parameters`.
    pub fn backward(&self, loss: &Tensor, parameters: &Parameters) -> Result<()> {
        match self.compute.path {
            Path::Fused => self.tape.backward_from_loss(loss).map(|_| ())?,
            Path::Reference => parameters.accumulate(&loss.backward()?)?,
        }
        Ok(())
    }

    /// Whether blocks are to be computed by [`Self::checkpoint`].
    pub fn checkpoints(&self) -> bool {
        self.compute.memory == Memory::Low
            && self.compute.path == Path::Fused
            && self.tape.is_recording()
    }

    /// `block(x)`, of which nothing but `x` is kept; it is computed again on the way back.
    pub fn checkpoint(
        &self,
        x: &Tensor,
        block: impl Fn(&Pass, &Tensor) -> Result<Tensor> + 'static,
    ) -> Result<Tensor> {
        let (compute, dropping, neftune) = (self.compute, self.dropping, self.neftune);
        Ok(self.tape.checkpoint(x, move |tape, x| {
            let pass = Pass { compute, dropping, neftune, tape: tape.clone() };
            block(&pass, x).map_err(candle_core::Error::wrap)
        })?)
    }

    fn dropout_at(&self, drop: &Drop<'_>) -> Option<DropoutAt> {
        let Dropping { seed, update } = self.dropping?;
        let Drop { p, site, places } = *drop;
        (p > 0.0).then(|| DropoutAt { p, seed, site, update, rows: places.list() })
    }

    /// `x` f32 `[rows, in]`; returns `[rows, out]`. `places`: of the rows of `x`, by which an adapter
    /// on the layer drops its input.
    pub fn linear(&self, x: &Tensor, layer: &Linear, places: Places) -> Result<Tensor> {
        let [y] = self.linears(x, [layer], places)?;
        Ok(y)
    }

    /// Several linear layers of one input.
    pub fn linears<const N: usize>(
        &self,
        x: &Tensor,
        layers: [&Linear; N],
        _places: Places,
    ) -> Result<[Tensor; N]> {
        if self.compute.path == Path::Fused {
            return Ok(linear::linears(&self.tape, x, layers)?);
        }
        let outputs = layers.iter().map(|layer| linear::reference(x, layer));
        let outputs: Vec<Tensor> = outputs.collect::<candle_core::Result<_>>()?;
        outputs.try_into().map_err(|_| super::ModelError::new("as many outputs as layers"))
    }

    /// Linear, activation, linear: `up` to `[rows, inner]`, `down` to `[rows, hidden]`. `places`: of
    /// the rows, as in [`Self::linear`].
    pub fn feed_forward(
        &self,
        x: &Tensor,
        up: &Linear,
        function: Activation,
        down: &Linear,
        _places: Places,
    ) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => feed_forward::feed_forward(&self.tape, x, up, function, down)?,
            Path::Reference => feed_forward::reference(x, up, function, down)?,
        })
    }

    /// LN(x) over the last axis.
    pub fn layer_norm(
        &self,
        x: &Tensor,
        weight: &Weight,
        bias: &Weight,
        eps: f64,
    ) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => layer_norm::layer_norm(&self.tape, x, None, weight, bias, eps)?,
            Path::Reference => layer_norm::reference(x, None, weight, bias, eps)?,
        })
    }

    /// LN(dropout(x) + residual) over the last axis.
    pub fn dropout_add_layer_norm(
        &self,
        x: &Tensor,
        residual: &Tensor,
        dropping: &Drop<'_>,
        norm: (&Weight, &Weight),
        eps: f64,
    ) -> Result<Tensor> {
        let at = self.dropout_at(dropping);
        let (weight, bias) = norm;
        Ok(match self.compute.path {
            Path::Fused => layer_norm::dropout_add_layer_norm(
                &self.tape,
                x,
                residual,
                at.as_ref(),
                weight,
                bias,
                eps,
            )?,
            Path::Reference => {
                layer_norm::dropout_add_reference(x, residual, at.as_ref(), weight, bias, eps)?
            }
        })
    }

    pub fn activation(&self, x: &Tensor, function: Activation) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => activation::activation(&self.tape, x, function)?,
            Path::Reference => activation::reference(x, function)?,
        })
    }

    /// The sum of rows of tables `[vocabulary, hidden]`; fails on a number out of range.
    pub fn embedding(&self, lookups: &[Lookup]) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => embedding::embedding(&self.tape, lookups)?,
            Path::Reference => {
                let rows = lookups.iter().map(|(weight, ids)| embedding::reference(weight, ids));
                rows.reduce(|sum, rows| sum? + rows?)
                    .unwrap_or_else(|| candle_core::bail!("embedding: no tables"))?
            }
        })
    }

    pub fn take_rows(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => take_rows::take_rows(&self.tape, x, rows)?,
            Path::Reference => take_rows::reference(x, rows)?,
        })
    }

    /// The mean of the rows of each sequence: `[sequences, hidden]`.
    pub fn mean_rows(&self, x: &Tensor, offsets: &Offsets) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => mean_rows::mean_rows(&self.tape, x, offsets)?,
            Path::Reference => mean_rows::reference(x, offsets)?,
        })
    }

    /// Keeps a share of 1 − p and scales it up, in training.
    pub fn dropout(&self, x: &Tensor, dropping: &Drop<'_>) -> Result<Tensor> {
        let Some(at) = self.dropout_at(dropping) else { return Ok(x.clone()) };
        Ok(match self.compute.path {
            Path::Fused => dropout::dropout(&self.tape, x, &at)?,
            Path::Reference => dropout::reference(x, &at)?,
        })
    }

    /// Embeddings `[tokens, hidden]` with noise uniform in ±α/√(L · hidden), L the tokens of the row;
    /// as they are where none is asked for. For what the embeddings' sum is, before it is normed.
    ///
    /// Source: Jain and others, "NEFTune: Noisy Embeddings Improve Instruction Finetuning" (2023).
    pub fn noise(&self, x: &Tensor, text: &TextInput) -> Result<Tensor> {
        let (Some(Dropping { seed, update }), Some(alpha)) = (self.dropping, self.neftune) else {
            return Ok(x.clone());
        };
        let hidden = x.dim(1)?;
        let magnitude = |length: usize| alpha / ((length * hidden) as f64).sqrt();
        let of_row = |range: std::ops::Range<usize>| {
            std::iter::repeat_n(magnitude(range.len()), range.len())
        };
        let magnitudes = text.offsets.ranges().flat_map(of_row).collect();
        let at = noise::NoiseAt { seed, update, rows: text.places.clone(), magnitudes };
        Ok(match self.compute.path {
            Path::Fused => noise::noise(&self.tape, x, &at)?,
            Path::Reference => noise::reference(x, &at)?,
        })
    }

    /// Attention within sequences, scaled by 1/√(hidden / heads). Query `[query rows, hidden]`, key
    /// and value `[tokens, hidden]`; offsets of the queries, then of the keys. Probabilities are
    /// dropped by the places of the queries.
    pub fn attention(
        &self,
        [query, key, value]: [&Tensor; 3],
        heads: usize,
        [query_offsets, key_offsets]: [&Offsets; 2],
        mask: AttentionMask,
        dropping: &Drop<'_>,
    ) -> Result<Tensor> {
        let hidden = query.dim(1)?;
        let spec = AttentionSpec {
            heads,
            query_offsets: query_offsets.clone(),
            key_offsets: key_offsets.clone(),
            scale: 1.0 / ((hidden / heads.max(1)) as f64).sqrt(),
            mask,
            dropout: self.dropout_at(dropping),
        };
        Ok(match self.compute.path {
            Path::Fused => attention::attention(&self.tape, query, key, value, &spec)?,
            Path::Reference => attention::reference(query, key, value, &spec)?,
        })
    }
}
