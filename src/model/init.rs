//! First values of new parameters, drawn by address: a function of the seed and of the parameter's
//! name alone, whatever else the model has.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Declaration, Init, Result};
use crate::base::Digest;
use crate::base::random::{Purpose, Stream};

/// Draws a parameter: f32 of the declared shape.
pub fn draw(declaration: &Declaration, seed: u64) -> Result<Tensor> {
    let count = declaration.elements();
    let values: Vec<f32> = match declaration.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Uniform(bound) => {
            let stream = Stream::new(seed, Purpose::Init);
            let tensor = tensor_number(&declaration.name);
            (0..count as u64)
                .into_par_iter()
                .map(|element| {
                    let unit = stream.uniform_f64(tensor, element);
                    ((2.0 * unit - 1.0) * bound) as f32
                })
                .collect()
        }
        Init::Normal(deviation) => {
            let stream = Stream::new(seed, Purpose::Init);
            let tensor = tensor_number(&declaration.name);
            (0..count as u64)
                .into_par_iter()
                .map(|element| (stream.normal(tensor, element) * deviation) as f32)
                .collect()
        }
    };
    Ok(Tensor::from_vec(values, declaration.shape.as_slice(), &Device::Cpu)?)
}

/// The address of a parameter's draws: 48 bits of its name's digest.
fn tensor_number(name: &str) -> u64 {
    let Digest(bytes) = Digest::of(name.as_bytes());
    bytes.iter().take(6).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    #[test]
    fn draws_depend_on_seed_and_name_alone_and_have_the_declared_spread() {
        let declaration = |name: &str| Declaration {
            name: name.into(),
            shape: vec![100, 200],
            init: Init::Normal(0.02),
            kind: Kind::Weight,
            depth: 1,
        };
        let values = |name: &str, seed| {
            let drawn = draw(&declaration(name), seed).unwrap();
            drawn.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let first = values("a", 1);
        assert_eq!(first, values("a", 1));
        assert_ne!(first, values("b", 1));
        assert_ne!(first, values("a", 2));
        let mean = first.iter().sum::<f32>() / first.len() as f32;
        let spread =
            (first.iter().map(|value| value * value).sum::<f32>() / first.len() as f32).sqrt();
        // Four standard errors of the mean and of the deviation of 20 000 draws.
        assert!(mean.abs() < 4.0 * 0.02 / 141.4, "{mean}");
        assert!((spread - 0.02).abs() < 4.0 * 0.02 / 200.0, "{spread}");
    }
}
