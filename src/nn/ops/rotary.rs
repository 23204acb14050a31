//! Rotary positions: each pair of columns of a head turns with the position of its row. Source: Su et
//! al., "RoFormer" (2021); pairs are half a head apart, as in GPT-NeoX.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::simd;

/// Cosines and sines of the angles of every position. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `[positions, pairs]`
    cosines: Arc<[f32]>,
    sines: Arc<[f32]>,
    pairs: usize,
}

impl Rotation {
    /// Pair i of a head of `head_dim` turns by position · theta^(−2i / head_dim). Angles are f32, as
    /// those of models that were trained elsewhere are.
    pub fn new(positions: usize, head_dim: usize, theta: f64) -> Self {
        let pairs = head_dim / 2;
        let frequencies: Vec<f32> = (0..pairs)
            .map(|pair| (1.0 / theta.powf(2.0 * pair as f64 / head_dim as f64)) as f32)
            .collect();
        let angles = (0..positions).flat_map(|position| {
            frequencies.iter().map(move |frequency| f64::from(position as f32 * frequency))
        });
        Self {
            cosines: angles.clone().map(|angle| angle.cos() as f32).collect(),
            sines: angles.map(|angle| angle.sin() as f32).collect(),
            pairs,
        }
    }

    fn positions(&self) -> usize {
        self.cosines.len() / self.pairs.max(1)
    }

    fn of(&self, position: u32) -> (&[f32], &[f32]) {
        let range = position as usize * self.pairs..(position as usize + 1) * self.pairs;
        (&self.cosines[range.clone()], &self.sines[range])
    }

    fn check(&self, x: &Tensor, positions: &[u32]) -> Result<()> {
        let (rows, hidden) = x.dims2()?;
        if self.pairs == 0 || !hidden.is_multiple_of(2 * self.pairs) || positions.len() != rows {
            bail!(
                "rotary: {rows} rows of {hidden} columns for {} positions and heads of {}",
                positions.len(),
                2 * self.pairs
            )
        }
        match positions.iter().find(|position| **position as usize >= self.positions()) {
            Some(position) => bail!("rotary: position {position} of {}", self.positions()),
            None => Ok(()),
        }
    }
}

/// `x` `[rows, heads · head_dim]`, `positions` of its rows. Fails on positions without angles.
pub fn rotary(
    tape: &Tape,
    x: &Tensor,
    positions: &Arc<[u32]>,
    rotation: &Rotation,
) -> Result<Tensor> {
    rotation.check(x, positions)?;
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let out = turn::<T>(values.get(), positions, rotation, <T as Real>::ONE);
        Tensor::from_vec(out, x.shape(), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, positions, rotation) = (x.id(), positions.clone(), rotation.clone());
        tape.record(&y, move |dy, gradients| {
            // The way back turns the other way.
            let dx = by_dtype!(dy, T => {
                Gradient::new(turn::<T>(dy.get()?, &positions, &rotation, -<T as Real>::ONE))
            });
            gradients.add(x, dx)
        });
    }
    Ok(y)
}

/// [`rotary`] of candle's primitives.
pub fn reference(x: &Tensor, positions: &[u32], rotation: &Rotation) -> Result<Tensor> {
    rotation.check(x, positions)?;
    let (rows, hidden) = x.dims2()?;
    let pairs = rotation.pairs;
    let angles = |values: &[f32]| {
        let table = Tensor::from_slice(values, (rotation.positions(), pairs), x.device())?;
        let rows = Tensor::from_slice(positions, rows, x.device())?;
        table.to_dtype(x.dtype())?.index_select(&rows, 0)?.unsqueeze(1)
    };
    let (cosines, sines) = (angles(&rotation.cosines)?, angles(&rotation.sines)?);
    let heads = x.reshape((rows, hidden / (2 * pairs), 2 * pairs))?;
    let (first, second) = (heads.narrow(2, 0, pairs)?, heads.narrow(2, pairs, pairs)?);
    let turned = [
        (first.broadcast_mul(&cosines)? - second.broadcast_mul(&sines)?)?,
        (second.broadcast_mul(&cosines)? + first.broadcast_mul(&sines)?)?,
    ];
    Tensor::cat(&turned, 2)?.reshape((rows, hidden))
}

/// Turns every head of every row by its position's angles, times `direction`.
fn turn<T: Real>(x: &[T], positions: &[u32], rotation: &Rotation, direction: T) -> Vec<T> {
    let hidden = x.len() / positions.len().max(1);
    let pairs = rotation.pairs;
    written(x.len(), |out| {
        for_rows(out, hidden, rows_per_piece(hidden), |start, out| {
            let mut angles = vec![T::ZERO; 2 * pairs];
            for (row, out) in out.chunks_exact_mut(hidden.max(1)).enumerate() {
                let x = &x[(start + row) * hidden..][..hidden];
                let (cosines, sines) = rotation.of(positions[start + row]);
                let (cosine, sine) = angles.split_at_mut(pairs);
                for pair in 0..pairs {
                    cosine[pair] = T::of(f64::from(cosines[pair]));
                    sine[pair] = T::of(f64::from(sines[pair])) * direction;
                }
                simd(
                    #[inline(always)]
                    || {
                        let heads = x.chunks_exact(2 * pairs).zip(out.chunks_exact_mut(2 * pairs));
                        for (x, out) in heads {
                            let (first, second) = x.split_at(pairs);
                            let (one, two) = out.split_at_mut(pairs);
                            for pair in 0..pairs {
                                one[pair] = first[pair] * cosine[pair] - second[pair] * sine[pair];
                                two[pair] = second[pair] * cosine[pair] + first[pair] * sine[pair];
                            }
                        }
                    },
                );
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, assert_close, flat, silent, tensor};

    #[test]
    fn rotary_agrees_with_its_reference() {
        for (heads, head_dim) in [(1, 2), (3, 6)] {
            let positions: Arc<[u32]> = [0, 1, 2, 3, 0, 1, 11].into();
            let rotation = Rotation::new(12, head_dim, 100.0);
            Check::new("rotary").input(&[7, heads * head_dim]).run(
                |t, x, _| rotary(t, &x[0], &positions, &rotation),
                |x, _| reference(&x[0], &positions, &rotation),
            );
        }
    }

    /// What the products of turned rows are depends on the distance of their positions alone.
    #[test]
    fn products_depend_on_the_distance() {
        let rotation = Rotation::new(40, 8, 10_000.0);
        let product = |first: u32, second: u32| {
            let turned = |tag, position: u32| {
                flat(
                    &rotary(&silent(), &tensor(&[1, 8], tag), &[position].into(), &rotation)
                        .unwrap(),
                )
            };
            let (a, b) = (turned(1, first), turned(2, second));
            a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>()
        };
        assert_close("distance 7", &[product(0, 7)], &[product(31, 38)], 1e-5);
        assert!((product(0, 7) - product(0, 8)).abs() > 1e-3);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let rotation = Rotation::new(4, 6, 100.0);
        let run = |positions: &[u32], columns| {
            rotary(&silent(), &tensor(&[2, columns], 0), &positions.into(), &rotation)
        };
        assert!(run(&[0, 3], 12).is_ok());
        assert!(run(&[0, 4], 12).is_err());
        assert!(run(&[0], 12).is_err());
        assert!(run(&[0, 3], 8).is_err());
    }
}
