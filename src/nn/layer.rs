//! Layers as values: what the modules of a model are made of, fetched from the store by their names.

use super::Weight;

/// y = x Wᵀ + b. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Weight>,
}

impl Linear {
    pub fn new(weight: &Weight, bias: Option<&Weight>) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned() }
    }

    /// Everything that may train.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        std::iter::once(&self.weight).chain(&self.bias)
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
