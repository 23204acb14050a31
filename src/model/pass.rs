//! One forward pass: which of the two paths computes it (the fused operations, or the slow
//! references that they are checked against), and what is dropped.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Result, TextInput};
use crate::nn::ops::{
    activation, attention, dropout, embedding, feed_forward, layer_norm, linear, take_rows,
};
use crate::nn::{Activation, AttentionMask, AttentionSpec, DropoutAt, Offsets, TokenPlace, Weight};

/// Which implementation of the operations is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Path {
    #[default]
    Fused,
    /// Differentiable primitives, for tests.
    Reference,
}

/// Dropout of one update. What is dropped is a function of these, of the place in the network, and
/// of the unit's row, position and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropping {
    pub seed: u64,
    pub update: u64,
}

/// One forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    pub path: Path,
    /// None in evaluation.
    pub dropping: Option<Dropping>,
}

/// Whose places the rows of a tensor have.
#[derive(Debug, Clone, Copy)]
pub enum Places<'a> {
    /// One row for each token.
    All(&'a TextInput),
    /// One row for the first token of each sequence.
    First(&'a TextInput),
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
        match self {
            Places::All(text) => text.places.clone(),
            Places::First(text) => text
                .offsets
                .starts()
                .iter()
                .filter_map(|start| text.places.get(*start as usize).copied())
                .collect(),
        }
    }
}

impl Pass {
    /// Evaluation: nothing is dropped.
    pub fn evaluation() -> Self {
        Self::default()
    }

    fn dropout_at(&self, drop: &Drop<'_>) -> Option<DropoutAt> {
        let Dropping { seed, update } = self.dropping?;
        let Drop { p, site, places } = *drop;
        (p > 0.0).then(|| DropoutAt { p, seed, site, update, rows: places.list() })
    }

    /// `x` f32 `[rows, in]`, `weight` `[out, in]`, `bias` `[out]`; returns `[rows, out]`.
    pub fn linear(&self, x: &Tensor, weight: &Weight, bias: Option<&Weight>) -> Result<Tensor> {
        Ok(match self.path {
            Path::Fused => linear::linear(x, weight, bias)?,
            Path::Reference => linear::reference(x, weight, bias.map(Weight::tensor))?,
        })
    }

    /// Linear, activation, linear: `up` to `[rows, inner]`, `down` to `[rows, hidden]`; each a weight
    /// and its bias.
    pub fn feed_forward(
        &self,
        x: &Tensor,
        up: (&Weight, &Weight),
        function: Activation,
        down: (&Weight, &Weight),
    ) -> Result<Tensor> {
        Ok(match self.path {
            Path::Fused => feed_forward::feed_forward(x, up, function, down)?,
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
        Ok(match self.path {
            Path::Fused => layer_norm::layer_norm(x, None, weight, bias, eps)?,
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
        Ok(match self.path {
            Path::Fused => {
                layer_norm::dropout_add_layer_norm(x, residual, at.as_ref(), weight, bias, eps)?
            }
            Path::Reference => {
                layer_norm::dropout_add_reference(x, residual, at.as_ref(), weight, bias, eps)?
            }
        })
    }

    pub fn activation(&self, x: &Tensor, function: Activation) -> Result<Tensor> {
        Ok(match self.path {
            Path::Fused => activation::activation(x, function)?,
            Path::Reference => activation::reference(x, function)?,
        })
    }

    /// Rows of `weight` `[rows, hidden]`; fails on a number out of range.
    pub fn embedding(&self, weight: &Weight, ids: &[u32]) -> Result<Tensor> {
        Ok(match self.path {
            Path::Fused => embedding::embedding(weight, ids)?,
            Path::Reference => embedding::reference(weight, ids)?,
        })
    }

    pub fn take_rows(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        Ok(match self.path {
            Path::Fused => take_rows::take_rows(x, rows)?,
            Path::Reference => take_rows::reference(x, rows)?,
        })
    }

    /// Keeps a share of 1 − p and scales it up, in training.
    pub fn dropout(&self, x: &Tensor, dropping: &Drop<'_>) -> Result<Tensor> {
        let Some(at) = self.dropout_at(dropping) else { return Ok(x.clone()) };
        Ok(match self.path {
            Path::Fused => dropout::dropout(x, &at)?,
            Path::Reference => dropout::reference(x, &at)?,
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
        Ok(match self.path {
            Path::Fused => attention::attention(query, key, value, &spec)?,
            Path::Reference => attention::reference(query, key, value, &spec)?,
        })
    }
}
