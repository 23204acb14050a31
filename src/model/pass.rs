//! One forward pass: which of the two paths computes it (the fused operations, or the slow
//! references that they are checked against), and what is dropped.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Result, TextInput};
use crate::nn::ops::embedding::Lookup;
use crate::nn::ops::{
    activation, adapter, add, attention, convolution, dropout, embedding, feed_forward, gated,
    layer_norm, mean_rows, rotary, split, take_rows, zero_rows,
};
use crate::nn::{
    Activation, AttentionMask, AttentionSpec, DropoutAt, Linear, Norm, Offsets, Padding,
    Parameters, Precision, Relative, Rotation, Tape, TokenPlace,
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
    tape: Tape,
}

/// Whose places the rows of a tensor have.
#[derive(Debug, Clone, Copy)]
pub enum Places<'a> {
    /// One row for each token.
    All(&'a TextInput),
    /// One row for the first token of each sequence.
    First(&'a TextInput),
    /// One for each of these rows of a table, which are those of no token.
    Table(&'a [u32]),
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

/// How queries attend to keys, besides the two themselves.
#[derive(Debug, Clone)]
pub struct Attend<'a> {
    pub heads: usize,
    /// What products of queries and keys are multiplied with; none means 1/√(hidden / heads).
    pub scale: Option<f64>,
    /// Where the queries of each sequence are, then its keys and values.
    pub offsets: [&'a Offsets; 2],
    /// The place of each query among the keys of its sequence.
    pub positions: &'a Arc<[u32]>,
    pub mask: AttentionMask,
    pub relative: Relative,
    pub padding: Option<Padding>,
    /// Of the probabilities, by the places of the queries.
    pub dropping: Drop<'a>,
}

impl Places<'_> {
    fn list(&self) -> Arc<[TokenPlace]> {
        let at = |text: &TextInput, tokens: &[u32]| {
            tokens.iter().filter_map(|token| text.places.get(*token as usize).copied()).collect()
        };
        match self {
            Places::Table(rows) => {
                rows.iter().map(|row| TokenPlace { row: 0, position: *row }).collect()
            }
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
        Self { compute, dropping, tape: Tape::recording(compute.precision) }
    }

    /// A pass for values alone: nothing is dropped or kept.
    pub fn evaluation(compute: Compute) -> Self {
        Self { compute, dropping: None, tape: Tape::silent(compute.precision) }
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
        let (compute, dropping) = (self.compute, self.dropping);
        Ok(self.tape.checkpoint(x, move |tape, x| {
            let pass = Pass { compute, dropping, tape: tape.clone() };
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
        places: Places,
    ) -> Result<[Tensor; N]> {
        let uses = layers.map(|layer| {
            let drops = layer.low_rank().filter(|low_rank| low_rank.dropout > 0.0);
            let drops =
                drops.map(|low_rank| Drop { p: low_rank.dropout, site: low_rank.site, places });
            (layer, drops.and_then(|drops| self.dropout_at(&drops)))
        });
        if self.compute.path == Path::Fused {
            return Ok(adapter::linears(&self.tape, x, uses)?);
        }
        let outputs = uses.iter().map(|(layer, at)| adapter::reference(x, layer, at.as_ref()));
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
        places: Places,
    ) -> Result<Tensor> {
        let is_fused = self.compute.path == Path::Fused;
        if is_fused && up.adapter.is_none() && down.adapter.is_none() {
            return Ok(feed_forward::feed_forward(&self.tape, x, up, function, down)?);
        }
        let inner = self.activation(&self.linear(x, up, places)?, function)?;
        self.linear(&inner, down, places)
    }

    /// LN(x) over the last axis.
    pub fn layer_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => layer_norm::layer_norm(&self.tape, x, None, norm)?,
            Path::Reference => layer_norm::reference(x, None, norm)?,
        })
    }

    /// dropout(x) + residual.
    pub fn add(&self, x: &Tensor, residual: &Tensor, dropping: &Drop<'_>) -> Result<Tensor> {
        let at = self.dropout_at(dropping);
        Ok(match self.compute.path {
            Path::Fused => add::add(&self.tape, x, residual, at.as_ref())?,
            Path::Reference => add::reference(x, residual, at.as_ref())?,
        })
    }

    /// LN(dropout(x) + residual) over the last axis.
    pub fn dropout_add_layer_norm(
        &self,
        x: &Tensor,
        residual: &Tensor,
        dropping: &Drop<'_>,
        norm: &Norm,
    ) -> Result<Tensor> {
        let at = self.dropout_at(dropping);
        let (tape, at) = (&self.tape, at.as_ref());
        Ok(match self.compute.path {
            Path::Fused => layer_norm::dropout_add_layer_norm(tape, x, residual, at, norm)?,
            Path::Reference => layer_norm::dropout_add_reference(x, residual, at, norm)?,
        })
    }

    pub fn activation(&self, x: &Tensor, function: Activation) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => activation::activation(&self.tape, x, function)?,
            Path::Reference => activation::reference(x, function)?,
        })
    }

    /// function(first half of the columns) · second half.
    pub fn gated(&self, x: &Tensor, function: Activation) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => gated::gated(&self.tape, x, function)?,
            Path::Reference => gated::reference(x, function)?,
        })
    }

    /// N equal parts of the columns.
    pub fn split<const N: usize>(&self, x: &Tensor) -> Result<[Tensor; N]> {
        Ok(match self.compute.path {
            Path::Fused => split::split(&self.tape, x)?,
            Path::Reference => split::reference(x)?,
        })
    }

    /// Turns the heads of every row by its position.
    pub fn rotary(
        &self,
        x: &Tensor,
        positions: &Arc<[u32]>,
        rotation: &Rotation,
    ) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => rotary::rotary(&self.tape, x, positions, rotation)?,
            Path::Reference => rotary::reference(x, positions, rotation)?,
        })
    }

    /// The sum of rows of tables `[vocabulary, hidden]`; fails on a number out of range.
    pub fn embedding(&self, lookups: &[Lookup]) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => embedding::embedding(&self.tape, lookups)?,
            Path::Reference => {
                let rows = lookups.iter().map(|lookup| embedding::reference(*lookup));
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

    /// `x` with these rows zero.
    pub fn zero_rows(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => zero_rows::zero_rows(&self.tape, x, rows)?,
            Path::Reference => zero_rows::reference(x, rows)?,
        })
    }

    /// Convolution over the tokens of each sequence. The layer's weight is `[out, in / groups, kernel]`.
    pub fn convolution(
        &self,
        x: &Tensor,
        layer: &Linear,
        offsets: &Offsets,
        groups: usize,
    ) -> Result<Tensor> {
        Ok(match self.compute.path {
            Path::Fused => convolution::convolution(&self.tape, x, layer, offsets, groups)?,
            Path::Reference => convolution::reference(x, layer, offsets, groups)?,
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

    /// Attention within sequences. Query `[query rows, hidden]`, key and value `[tokens, hidden]`.
    pub fn attention(&self, [query, key, value]: [&Tensor; 3], how: &Attend<'_>) -> Result<Tensor> {
        let head_dim = query.dim(1)? / how.heads.max(1);
        let [query_offsets, key_offsets] = how.offsets;
        // Only where a query stands in its sequence makes a difference.
        let placed = how.mask != AttentionMask::Full
            || !matches!(how.relative, Relative::Nothing)
            || how.padding.is_some();
        let spec = AttentionSpec {
            heads: how.heads,
            query_offsets: query_offsets.clone(),
            key_offsets: key_offsets.clone(),
            positions: placed.then(|| how.positions.clone()),
            scale: how.scale.unwrap_or_else(|| 1.0 / (head_dim as f64).sqrt()),
            mask: how.mask,
            relative: how.relative.clone(),
            padding: how.padding.clone(),
            dropout: self.dropout_at(&how.dropping),
        };
        Ok(match self.compute.path {
            Path::Fused => attention::attention(&self.tape, query, key, value, &spec)?,
            Path::Reference => attention::reference(query, key, value, &spec)?,
        })
    }
}
