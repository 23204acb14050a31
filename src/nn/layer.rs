//! Layers as values: what the modules of a model are made of, fetched from the store by their names. A
//! linear layer comes with the adapter that may sit on it: a family asks for the layer and never sees the
//! adapter.

use super::Weight;

/// y = x Wᵀ + b, and what an adapter makes of it. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Weight>,
    pub adapter: Option<Adapter>,
}

/// Few parameters that change a layer whose own stay as they are.
#[derive(Debug, Clone)]
pub enum Adapter {
    LowRank(LowRank),
    Scaling(Scaling),
}

/// y = x Wᵀ + b + s · dropout(x) Aᵀ Bᵀ. Source: Hu et al., "LoRA: Low-Rank Adaptation of Large
/// Language Models" (2021).
///
/// With a magnitude m: y = m/‖W + s B A‖ ∘ (x Wᵀ + s · x Aᵀ Bᵀ) + b, the norms of rows, of which
/// no gradient is taken. Source: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024),
/// section 4.3.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// A `[rank, in]`
    pub down: Weight,
    /// B `[out, rank]`
    pub up: Weight,
    /// m `[out]`
    pub magnitude: Option<Weight>,
    /// s
    pub scale: f64,
    /// The share of the layer's input that is dropped on its way to A.
    pub dropout: f64,
    /// The number of this dropout, its own in the whole network.
    pub site: u32,
}

/// Factors on the columns of the layer's input or output. Source: Liu et al., "Few-Shot
/// Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning" (2022), (IA)³.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// `[in]` or `[out]`
    pub factors: Weight,
    pub of: Side,
}

/// What of a layer is scaled; its output with the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Input,
    Output,
}

impl Linear {
    pub fn new(weight: &Weight, bias: Option<&Weight>) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned(), adapter: None }
    }

    /// Everything that may train.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        let adapter = self.adapter.iter().flat_map(Adapter::weights);
        std::iter::once(&self.weight).chain(&self.bias).chain(adapter)
    }

    /// The layer without its adapter.
    pub fn plain(&self) -> Self {
        Self::new(&self.weight, self.bias.as_ref())
    }

    pub fn low_rank(&self) -> Option<&LowRank> {
        match &self.adapter {
            Some(Adapter::LowRank(low_rank)) => Some(low_rank),
            _ => None,
        }
    }
}

impl Adapter {
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        let (first, second, third) = match self {
            Adapter::LowRank(LowRank { down, up, magnitude, .. }) => {
                (down, Some(up), magnitude.as_ref())
            }
            Adapter::Scaling(Scaling { factors, .. }) => (factors, None, None),
        };
        std::iter::once(first).chain(second).chain(third)
    }
}

/// A layer norm. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Norm {
    /// `[hidden]`
    pub weight: Weight,
    /// `[hidden]`; some families have none.
    pub bias: Option<Weight>,
    /// What is added to the variance.
    pub eps: f64,
}

impl Norm {
    pub fn new(weight: &Weight, bias: Option<&Weight>, eps: f64) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned(), eps }
    }

    /// Everything that may train.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        std::iter::once(&self.weight).chain(&self.bias)
    }
}
