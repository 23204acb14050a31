//! A model with its adapter merged into its own tensors, and the two apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;

use super::{Adapted, DOWN, FACTORS, Form, MAGNITUDE, Rank, UP};
use crate::model::{Model, ModelError, Result};

impl Model {
    /// The same function without an adapter. A model without one is given back as it is.
    pub fn merged(&self) -> Result<Model> {
        let Some(adapted) = &self.adapter else { return Ok(self.clone()) };
        let mut tensors = self.tensors.clone();
        let places: BTreeMap<String, usize> =
            tensors.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let own: BTreeMap<&str, &Tensor> =
            adapted.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        for module in &adapted.config.modules {
            let place = |name: String| places.get(&name).copied();
            let weight = place(format!("{module}.weight")).ok_or_else(|| lacks(module))?;
            let own = |part: &str| {
                own.get(format!("{module}.{part}").as_str()).copied().ok_or_else(|| lacks(module))
            };
            let base = &tensors[weight].1;
            let merged = match &adapted.config.form {
                Form::LowRank(rank) => {
                    let magnitude = rank.decomposed.then(|| own(MAGNITUDE)).transpose()?;
                    with_low_rank(base, own(DOWN)?, own(UP)?, magnitude, rank)?
                }
                Form::Scaling { .. } => {
                    let factors = own(FACTORS)?;
                    let bias = place(format!("{module}.bias"));
                    if let Some(bias) = bias.filter(|_| !adapted.config.scales_input(module)) {
                        tensors[bias].1 = (&tensors[bias].1 * factors.flatten_all()?)?;
                    }
                    tensors[weight].1.broadcast_mul(factors)?
                }
            };
            tensors[weight].1 = merged;
        }
        Ok(Model { tensors, adapter: None, ..self.clone() })
    }

    /// The model that an adapter sits on, and what the adapter adds to it: its parameters, the
    /// tensors that were saved beside it, the head. `None` without an adapter.
    pub fn split(&self) -> Option<(Arc<Model>, Model)> {
        let adapted = self.adapter.as_ref()?;
        let base = Arc::clone(adapted.base.as_ref()?);
        let saved = |(name, _): &&(String, Tensor)| adapted.config.saves(name);
        let tensors = self.tensors.iter().filter(saved).cloned().collect();
        let digest = |model: &Model| model.tokenizer.as_ref().map(|tokenizer| tokenizer.content());
        let piece = Model {
            tensors,
            tokenizer: self.tokenizer.clone().filter(|_| digest(self) != digest(&base)),
            adapter: Some(Adapted { base: None, ..adapted.clone() }),
            ..self.clone()
        };
        Some((base, piece))
    }

    /// What [`Self::split`] took apart.
    pub fn join(base: Arc<Model>, piece: Model) -> Result<Model> {
        let Some(adapted) = piece.adapter.clone() else {
            return Err(ModelError::new("an adapter was stored without its values"));
        };
        let tokenizer = piece.tokenizer.clone().or_else(|| base.tokenizer.clone());
        let own: BTreeMap<&str, &Tensor> = base
            .tensors
            .iter()
            .chain(&piece.tensors)
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let tensors = piece.declarations()?.into_iter().filter_map(|declaration| {
            let tensor = own.get(declaration.name.as_str()).copied()?.clone();
            Some((declaration.name, tensor))
        });
        let tensors = tensors.collect();
        let adapter = Some(Adapted { base: Some(base), ..adapted });
        Ok(Model { tensors, tokenizer, adapter, ..piece })
    }
}

/// W + s B A, with rows of the given magnitude where there is one.
fn with_low_rank(
    weight: &Tensor,
    down: &Tensor,
    up: &Tensor,
    magnitude: Option<&Tensor>,
    rank: &Rank,
) -> Result<Tensor> {
    let sum = (weight + (up.matmul(down)? * rank.scale())?)?;
    let Some(magnitude) = magnitude else { return Ok(sum) };
    let factors = magnitude.div(&sum.sqr()?.sum(1)?.sqrt()?)?;
    Ok(sum.broadcast_mul(&factors.unsqueeze(1)?)?)
}

fn lacks(module: &str) -> ModelError {
    ModelError::new(format!("the adapter on `{module}` does not fit the model"))
}
