//! Copies of all parameters of a store, in its order.

use candle_core::{Result, Tensor};

use crate::nn::Parameters;

/// The values of every parameter; nothing for one that shares another's weight.
pub fn copy(parameters: &Parameters) -> Result<Vec<Vec<f32>>> {
    parameters
        .iter()
        .map(|parameter| match parameter.tied_with {
            Some(_) => Ok(Vec::new()),
            None => parameter.weight.flatten_all()?.to_vec1::<f32>(),
        })
        .collect()
}

/// The values of every parameter that trains; nothing for the others.
pub fn trained(parameters: &Parameters) -> Result<Vec<Vec<f32>>> {
    parameters
        .iter()
        .map(|parameter| match parameter.tied_with.is_none() && parameter.weight.is_trainable() {
            true => parameter.weight.flatten_all()?.to_vec1::<f32>(),
            false => Ok(Vec::new()),
        })
        .collect()
}

/// Puts values back that [`copy`] or [`trained`] gave.
pub fn restore(parameters: &Parameters, values: &[Vec<f32>]) -> Result<()> {
    for (parameter, values) in parameters.iter().zip(values) {
        if !values.is_empty() {
            let shape = parameter.weight.shape();
            let tensor = Tensor::from_slice(values, shape, parameter.weight.device())?;
            parameter.weight.set(&tensor)?;
        }
    }
    Ok(())
}
