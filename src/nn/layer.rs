//! A linear layer as a value: what a module of a model is made of, fetched from the store by its name.

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
