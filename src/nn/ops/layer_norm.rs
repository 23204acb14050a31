//! Layer normalisation, with the residual connection and the dropout before it in the same pass.
//! Source: Ba, Kiros, Hinton, "Layer normalization" (2016).

use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

use super::dropout::{self, DropoutAt, Dropper, Row};
use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{ROWS_PER_SUM, for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{self, each, each_with, each_with2, simd};
use crate::nn::{Norm, Real};

/// LN(x + residual) over the last axis. `x`, `residual` `[rows, hidden]`.
///
/// Statistics are computed in two passes; the gradients of weight and bias sum chunks of 256 rows,
/// in order.
pub fn layer_norm(
    tape: &Tape,
    x: &Tensor,
    residual: Option<&Tensor>,
    norm: &Norm,
) -> Result<Tensor> {
    fused(tape, x, residual, None, norm)
}

/// LN(dropout(x) + residual): how a block of a post-norm transformer ends.
pub fn dropout_add_layer_norm(
    tape: &Tape,
    x: &Tensor,
    residual: &Tensor,
    dropout: Option<&DropoutAt>,
    norm: &Norm,
) -> Result<Tensor> {
    fused(tape, x, Some(residual), dropout, norm)
}

/// [`layer_norm`] of candle's primitives.
pub fn reference(x: &Tensor, residual: Option<&Tensor>, norm: &Norm) -> Result<Tensor> {
    let x = residual.map_or(Ok(x.clone()), |residual| x + residual)?;
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
    let scaled = normal.broadcast_mul(&norm.weight)?;
    match &norm.bias {
        Some(bias) => scaled.broadcast_add(bias),
        None => Ok(scaled),
    }
}

/// [`dropout_add_layer_norm`] of candle's primitives.
pub fn dropout_add_reference(
    x: &Tensor,
    residual: &Tensor,
    dropout: Option<&DropoutAt>,
    norm: &Norm,
) -> Result<Tensor> {
    let x = dropout.map_or(Ok(x.clone()), |at| dropout::reference(x, at))?;
    reference(&x, Some(residual), norm)
}

fn fused(
    tape: &Tape,
    x: &Tensor,
    residual: Option<&Tensor>,
    dropout: Option<&DropoutAt>,
    norm: &Norm,
) -> Result<Tensor> {
    let (rows, hidden) = x.dims2()?;
    for part in norm.weights() {
        if part.dims() != [hidden] || hidden == 0 {
            bail!("layer norm: a weight of shape {:?} for {hidden} columns", part.dims())
        }
    }
    if let Some(residual) = residual
        && residual.dims() != x.dims()
    {
        bail!("layer norm: a residual of shape {:?} for {:?}", residual.dims(), x.dims())
    }
    let dropout = match dropout {
        Some(at) => Some((at.dropper(rows)?, at.clone())),
        None => None,
    };
    let op = LayerNorm { has_residual: residual.is_some(), dropout, norm: norm.clone() };
    // Without a residual, x stands in for it and is not read.
    let residual = residual.unwrap_or(x);
    let y = by_dtype!(x, T => {
        let (x_values, residual) = (Slice::<T>::new(x)?, Slice::<T>::new(residual)?);
        Tensor::from_vec(op.forward::<T>(x_values.get(), residual.get())?, x.shape(), x.device())?
    });
    if tape.needs(&[x, residual], norm.weights()) {
        let (x, residual) = (x.clone(), residual.clone());
        let (x_tracked, residual_tracked) = (tape.tracks(&x), tape.tracks(&residual));
        tape.record(&y, move |dy, gradients| {
            let (dx, dsum) = by_dtype!(dy, T => {
                let (dx, dsum) = op.backward::<T>(&x, &residual, dy.get()?)?;
                (dx.map(Gradient::new), Gradient::new(dsum))
            });
            // Without dropout the gradients of both are equal.
            if x_tracked {
                gradients.add(x.id(), dx.unwrap_or_else(|| dsum.clone()))?;
            }
            match op.has_residual && residual_tracked {
                true => gradients.add(residual.id(), dsum),
                false => Ok(()),
            }
        });
    }
    Ok(y)
}

struct LayerNorm {
    has_residual: bool,
    dropout: Option<(Dropper, DropoutAt)>,
    norm: Norm,
}

impl LayerNorm {
    /// `sum = dropout(x) + residual` for one row; `factors` is what dropout multiplied with.
    #[inline(always)]
    fn add<T: Real>(&self, row: usize, x: &[T], residual: &[T], factors: &mut [T], sum: &mut [T]) {
        match &self.dropout {
            Some((dropper, at)) => {
                dropper.factors(Row::Hidden(at.rows[row]), 0, factors);
                each_with2(sum, x, factors, |_, x, factor| x * factor);
                each_with(sum, residual, |sum, residual| sum + residual);
            }
            None if self.has_residual => {
                each_with2(sum, x, residual, |_, x, residual| x + residual);
            }
            None => sum.copy_from_slice(x),
        }
    }

    fn forward<T: Real>(&self, x: &[T], residual: &[T]) -> Result<Vec<T>> {
        let hidden = self.norm.weight.elem_count();
        let weight = Slice::<T>::new(&self.norm.weight)?;
        let bias = self.norm.bias.as_ref().map(|bias| Slice::<T>::new(bias)).transpose()?;
        let (weight, bias) = (weight.get(), bias.as_ref().map(Slice::get));
        Ok(written(x.len(), |out| {
            for_rows(out, hidden, rows_per_piece(hidden), |first, out| {
                let mut factors = vec![T::ZERO; hidden];
                simd(
                    #[inline(always)]
                    || {
                        for (row, out) in out.chunks_exact_mut(hidden).enumerate() {
                            let row = first + row;
                            let range = row * hidden..(row + 1) * hidden;
                            self.add(row, &x[range.clone()], &residual[range], &mut factors, out);
                            let (mean, scale) = statistics(out, self.norm.eps);
                            match bias {
                                Some(bias) => each_with2(out, weight, bias, |x, weight, bias| {
                                    (x - mean) * scale * weight + bias
                                }),
                                None => {
                                    each_with(out, weight, |x, weight| (x - mean) * scale * weight)
                                }
                            }
                        }
                    },
                );
            });
        }))
    }

    /// The gradient of x where dropout makes it another than that of the sum, and that of the sum.
    fn backward<T: Real>(
        &self,
        x: &Tensor,
        residual: &Tensor,
        dy: &[T],
    ) -> Result<(Option<Vec<T>>, Vec<T>)> {
        let (rows, hidden) = x.dims2()?;
        let (x_slice, residual_slice) = (Slice::<T>::new(x)?, Slice::<T>::new(residual)?);
        let (x_values, residual_values) = (x_slice.get(), residual_slice.get());
        let weight = Slice::<T>::new(&self.norm.weight)?;
        let weight = weight.get();

        // Sums of a chunk: the gradient of the weight, then that of the bias.
        let trains = self.norm.weights().any(|weight| weight.is_trainable());
        let mut sums = vec![T::ZERO; rows.div_ceil(ROWS_PER_SUM) * 2 * hidden];
        let dropped_size = if self.dropout.is_some() { rows * hidden } else { 0 };
        let mut dsum = Vec::new();
        let dx = written(dropped_size, |dx| {
            dsum = written(rows * hidden, |dsum| {
                let chunk = ROWS_PER_SUM * hidden;
                let mut dropped = dx.chunks_mut(chunk);
                let pieces: Vec<_> = dsum
                    .chunks_mut(chunk)
                    .zip(sums.chunks_mut(2 * hidden))
                    .map(|(dsum, sums)| (dsum, sums, dropped.next().unwrap_or_default()))
                    .collect();
                pieces.into_par_iter().enumerate().for_each(|(chunk, (dsum, sums, dx))| {
                    let (dweight, dbias) = sums.split_at_mut(hidden);
                    let mut factors = vec![T::ZERO; hidden];
                    let mut normal = vec![T::ZERO; hidden];
                    simd(
                        #[inline(always)]
                        || {
                            for (place, dsum) in dsum.chunks_exact_mut(hidden).enumerate() {
                                let row = chunk * ROWS_PER_SUM + place;
                                let range = row * hidden..(row + 1) * hidden;
                                let (x, dy) = (&x_values[range.clone()], &dy[range.clone()]);
                                let residual = &residual_values[range];
                                self.add(row, x, residual, &mut factors, &mut normal);
                                let scale = normalise(&mut normal, self.norm.eps);
                                if trains {
                                    each_with2(dweight, dy, &normal, |sum, dy, x| sum + dy * x);
                                    each_with(dbias, dy, |sum, dy| sum + dy);
                                }
                                backward_row(&normal, scale, dy, weight, dsum);
                                if self.dropout.is_some() {
                                    let dx = &mut dx[place * hidden..][..hidden];
                                    each_with2(dx, dsum, &factors, |_, dsum, factor| dsum * factor);
                                }
                            }
                        },
                    );
                });
            });
        });

        for (place, target) in
            [Some(&self.norm.weight), self.norm.bias.as_ref()].into_iter().enumerate()
        {
            if let Some(target) = target
                && target.is_trainable()
            {
                target.contribute::<T>(|out, is_first| {
                    if is_first {
                        out.fill(T::ZERO);
                    }
                    for sums in sums.chunks_exact(2 * hidden) {
                        let sums = &sums[place * hidden..][..hidden];
                        each_with(out, sums, |out, sum| out + sum);
                    }
                })?;
            }
        }

        Ok((self.dropout.is_some().then_some(dx), dsum))
    }
}

/// The mean of a row, and 1/√(variance + eps).
#[inline(always)]
fn statistics<T: Real>(row: &[T], eps: f64) -> (T, T) {
    let count = T::of(row.len() as f64);
    let mean = vector::sum(row, |x| x) / count;
    let variance = vector::sum(row, |x| (x - mean) * (x - mean)) / count;
    (mean, T::ONE / (variance + T::of(eps)).sqrt())
}

/// Subtracts the mean and divides by the deviation; returns 1 / deviation.
#[inline(always)]
fn normalise<T: Real>(row: &mut [T], eps: f64) -> T {
    let (mean, scale) = statistics(row, eps);
    each(row, |x| (x - mean) * scale);
    scale
}

/// With g = dy·weight: dx = (g − mean(g) − normal·mean(g·normal)) / deviation.
#[inline(always)]
fn backward_row<T: Real>(normal: &[T], scale: T, dy: &[T], weight: &[T], dx: &mut [T]) {
    let count = T::of(normal.len() as f64);
    each_with2(dx, dy, weight, |_, dy, weight| dy * weight);
    let mean = vector::sum(dx, |g| g) / count;
    let along = vector::dot(dx, normal) / count;
    each_with(dx, normal, |g, normal| (g - mean - normal * along) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Weight;
    use crate::nn::ops::check::{Check, silent, tensor};
    use crate::nn::ops::dropout::tests::{at, places};

    const EPS: f64 = 1e-12;

    fn norm(w: &[Weight]) -> Norm {
        Norm::new(&w[0], w.get(1), EPS)
    }

    #[test]
    fn layer_norm_agrees_with_its_reference() {
        for (rows, hidden) in [(1, 7), (17, 32), (257, 17), (512, 5)] {
            Check::new(&format!("layer_norm {rows}x{hidden}"))
                .input(&[rows, hidden])
                .weight(&[hidden])
                .weight(&[hidden])
                .run(
                    |t, x, w| layer_norm(t, &x[0], None, &norm(w)),
                    |x, w| reference(&x[0], None, &norm(w)),
                );
            Check::new(&format!("layer_norm without bias {rows}x{hidden}"))
                .input(&[rows, hidden])
                .weight(&[hidden])
                .run(
                    |t, x, w| layer_norm(t, &x[0], None, &norm(w)),
                    |x, w| reference(&x[0], None, &norm(w)),
                );
            Check::new(&format!("layer_norm with residual {rows}x{hidden}"))
                .input(&[rows, hidden])
                .input(&[rows, hidden])
                .weight(&[hidden])
                .weight(&[hidden])
                .run(
                    |t, x, w| layer_norm(t, &x[0], Some(&x[1]), &norm(w)),
                    |x, w| reference(&x[0], Some(&x[1]), &norm(w)),
                );
        }
    }

    #[test]
    fn dropout_before_the_norm_agrees_with_its_reference() {
        for (lengths, hidden) in [(vec![1], 9), (vec![100, 157], 67)] {
            let at = at(0.2, 9, places(4, &lengths));
            Check::new("dropout_add_layer_norm")
                .input(&[lengths.iter().sum(), hidden])
                .input(&[lengths.iter().sum(), hidden])
                .weight(&[hidden])
                .weight(&[hidden])
                .run(
                    |t, x, w| dropout_add_layer_norm(t, &x[0], &x[1], Some(&at), &norm(w)),
                    |x, w| dropout_add_reference(&x[0], &x[1], Some(&at), &norm(w)),
                );
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let norm = |n| Norm::new(&Weight::new(&tensor(&[n], 0), true).unwrap(), None, EPS);
        let x = tensor(&[2, 3], 0);
        assert!(layer_norm(&silent(), &x, None, &norm(4)).is_err());
        assert!(layer_norm(&silent(), &x, Some(&tensor(&[1, 3], 0)), &norm(3)).is_err());
    }
}
