//! The ordered store of a model's parameters: names, weights, which train, which are tied.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, bail};

use super::{Adapter, Linear, Norm, Weight, ops};
use crate::base::suggest;

/// One named parameter. Values and gradient are in `weight`.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// As in checkpoints: `bert.encoder.layer.0.attention.self.query.weight`.
    pub name: String,
    pub weight: Weight,
    /// Whether weight decay applies.
    pub decay: bool,
    /// The place of the parameter whose weight this one shares. It is updated and saved once: there.
    pub tied_with: Option<usize>,
}

/// All parameters of a model, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
    places: BTreeMap<String, usize>,
    /// By module.
    adapters: BTreeMap<String, Adapter>,
}

impl Parameters {
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies `tensor` in as f32, trainable. Returns its place. Fails if the name is taken.
    pub fn add(&mut self, name: &str, tensor: &Tensor, decay: bool) -> Result<usize> {
        let weight = Weight::new(&tensor.to_dtype(candle_core::DType::F32)?, true)?;
        self.push(name, weight, decay, None)
    }

    /// Shares the values of `tensor`, f32, which never change. Returns its place. Fails if the name
    /// is taken.
    pub fn add_fixed(&mut self, name: &str, tensor: &Tensor, decay: bool) -> Result<usize> {
        self.push(name, Weight::fixed(tensor)?, decay, None)
    }

    /// A second name for the weight of `other`.
    pub fn tie(&mut self, name: &str, other: &str) -> Result<usize> {
        let place = self.place(other)?;
        let target = self.list[place].tied_with.unwrap_or(place);
        let Parameter { weight, decay, .. } = self.list[target].clone();
        self.push(name, weight, decay, Some(target))
    }

    /// The weight of a name. Fails with the nearest name if there is none.
    pub fn get(&self, name: &str) -> Result<Weight> {
        Ok(self.list[self.place(name)?].weight.clone())
    }

    /// The layer of a module: its weight, its bias where it has one, and the adapter on it. Fails without a weight.
    pub fn linear(&self, module: &str) -> Result<Linear> {
        let weight = self.get(&format!("{module}.weight"))?;
        let bias = self.places.get(&format!("{module}.bias"));
        let bias = bias.map(|&place| self.list[place].weight.clone());
        Ok(Linear { weight, bias, adapter: self.adapters.get(module).cloned() })
    }

    /// Puts an adapter on the layer of a module. Its weights are to be in the store too.
    pub fn adapt(&mut self, module: &str, adapter: Adapter) -> Result<()> {
        self.place(&format!("{module}.weight"))?;
        match self.adapters.insert(module.to_string(), adapter) {
            Some(_) => bail!("two adapters on `{module}`"),
            None => Ok(()),
        }
    }

    /// The norm of a module: its weight, and its bias where it has one. Fails without a weight.
    pub fn norm(&self, module: &str, eps: f64) -> Result<Norm> {
        let Linear { weight, bias, .. } = self.linear(module)?;
        Ok(Norm { weight, bias, eps })
    }

    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub fn place(&self, name: &str) -> Result<usize> {
        if let Some(&place) = self.places.get(name) {
            return Ok(place);
        }
        match suggest::nearest(name, self.places.keys().map(String::as_str)) {
            Some(near) => bail!("no parameter is named `{name}`; the nearest is `{near}`"),
            None => bail!("no parameter is named `{name}`"),
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Parameter> {
        self.list.iter_mut()
    }

    pub fn as_slice(&self) -> &[Parameter] {
        &self.list
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What an optimizer works on: every weight once, without frozen ones, in order.
    pub fn trainable(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.list.iter().enumerate().filter(|(_, parameter)| {
            parameter.tied_with.is_none() && parameter.weight.is_trainable()
        })
    }

    pub fn zero_grad(&self) {
        self.list.iter().for_each(|parameter| parameter.weight.zero_grad());
    }

    /// Adds the gradients that reference paths left in `gradients` to the weights' own buffers.
    /// Fused operations have added theirs already, during `backward`.
    pub fn accumulate(&self, gradients: &GradStore) -> Result<()> {
        for (_, parameter) in self.trainable() {
            if let Some(gradient) = gradients.get(parameter.weight.tensor()) {
                parameter.weight.add_gradient(gradient)?;
            }
        }
        Ok(())
    }

    /// The L2 norm over the gradients of all trainable parameters, summed in f64 in a fixed order.
    /// NaN or infinite if any element is.
    pub fn global_norm(&self) -> f64 {
        let squares = self.trainable().map(|(_, Parameter { weight, .. })| {
            let sum = weight.with_gradient(|gradient, rows| match rows {
                Some(rows) => ops::sum_of_squares_in_rows(gradient, weight.columns(), rows),
                None => ops::sum_of_squares(gradient),
            });
            sum.unwrap_or_default()
        });
        squares.sum::<f64>().sqrt()
    }

    fn push(
        &mut self,
        name: &str,
        weight: Weight,
        decay: bool,
        tied_with: Option<usize>,
    ) -> Result<usize> {
        if self.contains(name) {
            bail!("two parameters are named `{name}`")
        }
        let place = self.list.len();
        self.places.insert(name.to_string(), place);
        self.list.push(Parameter { name: name.to_string(), weight, decay, tied_with });
        Ok(place)
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::new();
        let ones = Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        parameters.add("b.weight", &ones, true).unwrap();
        parameters.add("a.bias", &ones, false).unwrap();
        parameters.tie("c.weight", "b.weight").unwrap();
        parameters
    }

    #[test]
    fn order_is_insertion_and_ties_count_once() {
        let parameters = parameters();
        let names: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["b.weight", "a.bias", "c.weight"]);
        assert_eq!(parameters.trainable().map(|(place, _)| place).collect::<Vec<_>>(), [0, 1]);
        parameters.get("c.weight").unwrap().set_trainable(false);
        assert_eq!(parameters.trainable().map(|(place, _)| place).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn unknown_and_double_names_are_errors() {
        let mut parameters = parameters();
        let error = parameters.get("b.weigth").unwrap_err().to_string();
        assert!(error.contains("`b.weight`"), "{error}");
        assert!(parameters.tie("a.bias", "b.weight").is_err());
    }

    /// By hand: d(sum of w²)/dw = 2 for ones; both names of the tied weight contribute.
    #[test]
    fn gradients_of_both_names_of_a_tied_weight_are_summed() {
        let parameters = parameters();
        let (first, second) =
            (parameters.get("b.weight").unwrap(), parameters.get("c.weight").unwrap());
        let loss = (first.sqr().unwrap() + second.sqr().unwrap()).unwrap().sum_all().unwrap();
        parameters.accumulate(&loss.backward().unwrap()).unwrap();
        let gradient = first.gradient().unwrap().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(gradient, vec![vec![4.0; 3]; 2]);
        assert_eq!(parameters.global_norm(), (6.0f64 * 16.0).sqrt());
        parameters.zero_grad();
        assert_eq!(parameters.global_norm(), 0.0);
    }
}
