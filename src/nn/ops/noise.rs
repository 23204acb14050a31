//! Noise on rows of embeddings: what is added is a function of its address alone, as what dropout
//! drops, so that it depends neither on micro-batches nor on threads.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::dropout::TokenPlace;
use super::tensor::{Slice, by_dtype};
use crate::base::random::{Purpose, philox, split};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};

/// The noise of one update.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseAt {
    pub seed: u64,
    pub update: u64,
    /// One for every row of the tensor.
    pub rows: Arc<[TokenPlace]>,
    /// Of every row: its noise is uniform in [-magnitude, magnitude).
    pub magnitudes: Arc<[f64]>,
}

impl NoiseAt {
    fn key(&self) -> [u32; 2] {
        let update = split(self.update);
        let [k0, k1, ..] =
            philox([0, update[0], update[1], Purpose::Noise as u32], split(self.seed));
        [k0, k1]
    }

    /// Adds the noise of one row to its units.
    fn add<T: Real>(&self, key: [u32; 2], row: usize, units: &mut [T]) {
        let TokenPlace { row: place, position } = self.rows[row];
        for (block, units) in units.chunks_mut(4).enumerate() {
            let words = philox([block as u32, position, place, 0], key);
            for (unit, word) in units.iter_mut().zip(words) {
                // A multiple of 2^-23 in [-1, 1).
                let uniform = f64::from(word >> 8) / 8_388_608.0 - 1.0;
                *unit += T::of(uniform * self.magnitudes[row]);
            }
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        if self.rows.len() != rows || self.magnitudes.len() != rows {
            bail!(
                "noise: {} places, {} magnitudes, {rows} rows",
                self.rows.len(),
                self.magnitudes.len()
            )
        }
        Ok(())
    }
}

/// `x` `[rows, units]` with noise added; the gradient goes through as it is.
pub fn noise(tape: &Tape, x: &Tensor, at: &NoiseAt) -> Result<Tensor> {
    let (rows, units) = x.dims2()?;
    at.check(rows)?;
    let key = at.key();
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let out = written(values.len(), |out| {
            for_rows(out, units, rows_per_piece(units), |first, out| {
                for (row, out) in out.chunks_exact_mut(units.max(1)).enumerate() {
                    out.copy_from_slice(&values[(first + row) * units..][..units]);
                    at.add(key, first + row, out);
                }
            });
        });
        Tensor::from_vec(out, x.shape(), x.device())?
    });
    if tape.needs(&[x], []) {
        let x = x.id();
        tape.record(&y, move |dy: Gradient, gradients| gradients.add(x, dy));
    }
    Ok(y)
}

/// [`noise`] of candle's primitives: a sum.
pub fn reference(x: &Tensor, at: &NoiseAt) -> Result<Tensor> {
    let (rows, units) = x.dims2()?;
    at.check(rows)?;
    let mut drawn = vec![0f64; rows * units];
    for (row, units) in drawn.chunks_exact_mut(units.max(1)).enumerate() {
        at.add(at.key(), row, units);
    }
    x + Tensor::from_vec(drawn, (rows, units), x.device())?.to_dtype(x.dtype())?
}

#[cfg(test)]
mod tests {
    use super::super::dropout::tests::places;
    use super::*;
    use crate::nn::ops::check::{Check, flat, silent, tensor};
    use candle_core::{DType, Device};

    fn at(rows: Arc<[TokenPlace]>, magnitude: f64) -> NoiseAt {
        NoiseAt { seed: 42, update: 3, magnitudes: vec![magnitude; rows.len()].into(), rows }
    }

    #[test]
    fn noise_agrees_with_its_reference() {
        for (lengths, units) in [(vec![1], 1), (vec![3, 14], 64), (vec![200, 57], 131)] {
            let at = at(places(0, &lengths), 0.3);
            Check::new("noise")
                .input(&[lengths.iter().sum(), units])
                .run(|t, x, _| noise(t, &x[0], &at), |x, _| reference(&x[0], &at));
        }
    }

    /// Uniform in [-a, a): mean 0, deviation a/√3; four standard errors, of the square by a⁴(1/5 − 1/9).
    #[test]
    fn noise_is_uniform_and_micro_batches_get_that_of_the_whole_update() {
        let zeros = Tensor::zeros((512, 100), DType::F64, &Device::Cpu).unwrap();
        let values = flat(&noise(&silent(), &zeros, &at(places(0, &[512]), 0.5)).unwrap());
        let n = values.len() as f64;
        assert!(values.iter().all(|value| (-0.5..0.5).contains(value)));
        let mean = values.iter().sum::<f64>() / n;
        assert!(mean.abs() < 4.0 * 0.5 / (3.0 * n).sqrt(), "{mean}");
        let square = values.iter().map(|value| value * value).sum::<f64>() / n;
        let error = 0.25 * (4.0 / 45.0f64 / n).sqrt();
        assert!((square - 0.25 / 3.0).abs() < 4.0 * error, "{square}");

        let x = tensor(&[7, 10], 1);
        let whole = flat(&noise(&silent(), &x, &at(places(5, &[4, 3]), 0.5)).unwrap());
        let part = x.narrow(0, 4, 3).unwrap();
        let part = flat(&noise(&silent(), &part, &at(places(6, &[3]), 0.5)).unwrap());
        assert_eq!(whole[40..], part);
        assert!(noise(&silent(), &x, &at(places(0, &[6]), 0.5)).is_err());
    }
}
