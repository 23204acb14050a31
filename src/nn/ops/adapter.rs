//! Linear layers with adapters. The low-rank part of a layer is in `linear`; what scales columns, or
//! divides by the norms of rows, is here.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::dropout::{self, DropoutAt};
use super::linear::{self, Use, bias_gradient};
use super::tensor::{Slice, by_dtype};
use crate::nn::layer::{Adapter, Linear, LowRank, Scaling, Side};
use crate::nn::parallel::{ELEMENTS_PER_PIECE, for_rows, map2, rows_per_piece, sum_rows, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{self, each, each_with, each_with2, simd};
use crate::nn::{Real, Weight};

/// Several layers of one input `x` `[rows, in]`, each with the dropout of its adapter; returns
/// `[rows, out]` each. Layers with low-rank adapters and those without any are one operation.
pub fn linears<const N: usize>(tape: &Tape, x: &Tensor, layers: [Use; N]) -> Result<[Tensor; N]> {
    let is_simple = |layer: &Linear| match &layer.adapter {
        None => true,
        Some(Adapter::LowRank(low_rank)) => low_rank.magnitude.is_none(),
        Some(Adapter::Scaling(_)) => false,
    };
    if layers.iter().all(|(layer, _)| is_simple(layer)) {
        return linear::linears(tape, x, layers);
    }
    let outputs = layers.into_iter().map(|(layer, at)| match &layer.adapter {
        Some(Adapter::LowRank(low_rank)) => match &low_rank.magnitude {
            Some(magnitude) => decomposed(tape, x, layer, low_rank, magnitude, at),
            None => one(tape, x, (layer, at)),
        },
        Some(Adapter::Scaling(scaling)) => scaled(tape, x, layer, scaling),
        None => one(tape, x, (layer, None)),
    });
    let outputs: Vec<Tensor> = outputs.collect::<Result<_>>()?;
    outputs.try_into().or_else(|_| bail!("as many outputs as layers"))
}

/// A layer of [`linears`], of candle's primitives.
pub fn reference(x: &Tensor, layer: &Linear, dropout: Option<&DropoutAt>) -> Result<Tensor> {
    let times = |x: &Tensor, weight: &Weight| x.matmul(&weight.t()?);
    match &layer.adapter {
        None => linear::reference(x, layer),
        Some(Adapter::Scaling(Scaling { factors, of: Side::Input })) => {
            linear::reference(&x.broadcast_mul(&factors.flatten_all()?)?, layer)
        }
        Some(Adapter::Scaling(Scaling { factors, of: Side::Output })) => {
            linear::reference(x, layer)?.broadcast_mul(&factors.flatten_all()?)
        }
        Some(Adapter::LowRank(LowRank { down, up, magnitude, scale, .. })) => {
            let base = linear::reference(x, layer)?;
            let dropped = dropout.map_or(Ok(x.clone()), |at| dropout::reference(x, at))?;
            let added = (times(&times(&dropped, down)?, up)? * *scale)?;
            let Some(magnitude) = magnitude else { return base + added };
            let sum = (&*layer.weight + (up.matmul(down)? * *scale)?)?;
            let norms = sum.sqr()?.sum(1)?.sqrt()?.detach();
            let factors = magnitude.div(&norms)?;
            let scaled = (times(&dropped, &layer.weight)? + added)?.broadcast_mul(&factors)?;
            (base - times(&dropped, &layer.weight)?)? + scaled
        }
    }
}

fn one(tape: &Tape, x: &Tensor, layer: Use) -> Result<Tensor> {
    let [y] = linear::linears(tape, x, [layer])?;
    Ok(y)
}

/// (IA)³
fn scaled(tape: &Tape, x: &Tensor, layer: &Linear, scaling: &Scaling) -> Result<Tensor> {
    let plain = layer.plain();
    let factors = Factors { weight: &scaling.factors, divided_by: None };
    match scaling.of {
        Side::Input => one(tape, &scale_columns(tape, x, factors, None)?, (&plain, None)),
        Side::Output => scale_columns(tape, &one(tape, x, (&plain, None))?, factors, None),
    }
}

/// DoRA. Where the input x is dropped to x′ the layer's own product sees x, and what is added sees
/// x′, as in peft: x Wᵀ + b − x′ Wᵀ + m/‖W + s B A‖ ∘ (x′ Wᵀ + s · x′ Aᵀ Bᵀ).
fn decomposed(
    tape: &Tape,
    x: &Tensor,
    layer: &Linear,
    low_rank: &LowRank,
    magnitude: &Weight,
    dropout: Option<DropoutAt>,
) -> Result<Tensor> {
    let norms = by_dtype!(x, T => row_norms::<T>(&layer.weight, low_rank)?);
    let factors = Factors { weight: magnitude, divided_by: Some(norms) };
    let low_rank = LowRank { magnitude: None, ..low_rank.clone() };
    let direction = Linear {
        weight: layer.weight.clone(),
        bias: None,
        adapter: Some(Adapter::LowRank(low_rank)),
    };
    let Some(at) = dropout else {
        let direction = one(tape, x, (&direction, None))?;
        return scale_columns(tape, &direction, factors, layer.bias.as_ref());
    };
    let kept = dropout::dropout(tape, x, &at)?;
    let direction = one(tape, &kept, (&direction, None))?;
    let scaled = scale_columns(tape, &direction, factors, None)?;
    let rest = combine(tape, x, &kept, -1.0)?;
    let rest = one(tape, &rest, (&layer.plain(), None))?;
    combine(tape, &rest, &scaled, 1.0)
}

/// ‖W + s B A‖ of every row, `[out]`.
pub fn row_norms<T: Real>(weight: &Weight, low_rank: &LowRank) -> Result<Vec<f64>> {
    let LowRank { down, up, scale, .. } = low_rank;
    let columns = weight.columns();
    let rank = up.columns();
    let (weight, down, up) =
        (Slice::<T>::new(weight)?, Slice::<T>::new(down)?, Slice::<T>::new(up)?);
    let (weight, down, up) = (weight.get(), down.get(), up.get());
    let norm = |(row, weight): (usize, &[T])| {
        let mut sum = weight.to_vec();
        simd(
            #[inline(always)]
            || {
                for (factor, down) in
                    up[row * rank..][..rank].iter().zip(down.chunks_exact(columns))
                {
                    let factor = *factor * T::of(*scale);
                    each_with(&mut sum, down, |sum, down| sum + factor * down);
                }
                vector::dot(&sum, &sum)
            },
        )
    };
    let squares: Vec<T> = weight.par_chunks(columns.max(1)).enumerate().map(norm).collect();
    Ok(squares.into_iter().map(|square| square.to_f64().sqrt()).collect())
}

/// Factors of columns: a weight `[columns]`, over numbers that are constant in the backward.
struct Factors<'a> {
    weight: &'a Weight,
    divided_by: Option<Vec<f64>>,
}

/// x ∘ factors + b; `x` `[rows, columns]`.
fn scale_columns(
    tape: &Tape,
    x: &Tensor,
    factors: Factors,
    bias: Option<&Weight>,
) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let Factors { weight, divided_by } = factors;
    if weight.elem_count() != columns || bias.is_some_and(|bias| bias.elem_count() != columns) {
        bail!("an adapter of {:?} on {columns} columns", weight.dims())
    }
    let y = by_dtype!(x, T => {
        let factors = current::<T>(weight, divided_by.as_deref())?;
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let bias = bias.map(|bias| Slice::<T>::new(bias)).transpose()?;
        let bias = bias.as_ref().map(Slice::get);
        let out = written(rows * columns, |out| {
            for_rows(out, columns, rows_per_piece(columns), |first, out| {
                for (row, out) in out.chunks_exact_mut(columns.max(1)).enumerate() {
                    let x = &values[(first + row) * columns..][..columns];
                    simd(#[inline(always)] || {
                        each_with2(out, x, &factors, |_, x, factor| x * factor);
                        if let Some(bias) = bias {
                            each_with(out, bias, |y, bias| y + bias);
                        }
                    });
                }
            });
        });
        Tensor::from_vec(out, (rows, columns), x.device())?
    });
    if tape.needs(&[x], std::iter::once(weight).chain(bias)) {
        let id = tape.tracks(x).then(|| x.id());
        let x = weight.is_trainable().then(|| x.clone());
        let (weight, bias) = (weight.clone(), bias.cloned());
        tape.record(&y, move |dy, gradients| {
            by_dtype!(dy, T => {
                if let Some(bias) = bias.as_ref().filter(|bias| bias.is_trainable()) {
                    bias_gradient::<T>(dy.get()?, rows, columns, bias)?;
                }
                if let Some(x) = x {
                    let values = Slice::<T>::new(&x)?;
                    factor_gradient::<T>(&weight, divided_by.as_deref(), dy.get()?, values.get())?;
                }
                let Some(id) = id else { return Ok(()) };
                let factors = current::<T>(&weight, divided_by.as_deref())?;
                let mut dx = dy.into_values::<T>()?;
                for_rows(&mut dx, columns, rows_per_piece(columns), |_, dx| {
                    for dx in dx.chunks_exact_mut(columns.max(1)) {
                        simd(#[inline(always)] || each_with(dx, &factors, |dx, factor| dx * factor));
                    }
                });
                gradients.add(id, Gradient::new(dx))
            })
        });
    }
    Ok(y)
}

/// The factors as they are now.
fn current<T: Real>(weight: &Weight, divided_by: Option<&[f64]>) -> Result<Vec<T>> {
    let mut factors = Slice::<T>::new(weight)?.get().to_vec();
    for (factor, norm) in factors.iter_mut().zip(divided_by.unwrap_or_default()) {
        *factor /= T::of(*norm);
    }
    Ok(factors)
}

/// Adds the sums over rows of dy ∘ x, each over its norm.
fn factor_gradient<T: Real>(
    weight: &Weight,
    divided_by: Option<&[f64]>,
    dy: &[T],
    x: &[T],
) -> Result<()> {
    let columns = weight.elem_count();
    let mut sums = vec![T::ZERO; columns];
    sum_rows(x.len() / columns.max(1), columns, &mut sums, true, |range, sums| {
        for row in range {
            let range = row * columns..(row + 1) * columns;
            let (dy, x) = (&dy[range.clone()], &x[range]);
            simd(
                #[inline(always)]
                || each_with2(sums, dy, x, |sum, dy, x| sum + dy * x),
            );
        }
    });
    for (sum, norm) in sums.iter_mut().zip(divided_by.unwrap_or_default()) {
        *sum /= T::of(*norm);
    }
    weight.contribute::<T>(|all, is_first| match is_first {
        true => all.copy_from_slice(&sums),
        false => each_with(all, &sums, |all, sum| all + sum),
    })
}

/// a + factor · b, of one shape.
fn combine(tape: &Tape, a: &Tensor, b: &Tensor, factor: f64) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("a sum of {:?} and {:?}", a.dims(), b.dims())
    }
    let y = by_dtype!(a, T => {
        let (first, second) = (Slice::<T>::new(a)?, Slice::<T>::new(b)?);
        let out = map2(first.get(), second.get(), |a, b, out| {
            each_with2(out, a, b, |_, a, b| a + b * T::of(factor));
        });
        Tensor::from_vec(out, a.shape(), a.device())?
    });
    if tape.needs(&[a, b], []) {
        let [a, b] = [a, b].map(|x| tape.tracks(x).then(|| x.id()));
        tape.record(&y, move |dy, gradients| {
            if let Some(b) = b {
                let scaled = by_dtype!(dy, T => {
                    let mut values = dy.get::<T>()?.to_vec();
                    for_rows(&mut values, 1, ELEMENTS_PER_PIECE, |_, values| {
                        each(values, |value| value * T::of(factor));
                    });
                    Gradient::new(values)
                });
                gradients.add(b, scaled)?;
            }
            match a {
                Some(a) => gradients.add(a, dy),
                None => Ok(()),
            }
        });
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::Check;
    use crate::nn::ops::dropout::tests::{at, places};

    /// On 5 to 7 columns, rank 3; `w`: the layer's weight and bias, then the adapter's weights.
    fn check(what: &str, shapes: &[&[usize]], dropped: bool, adapter: fn(&[Weight]) -> Adapter) {
        let lengths = [100, 157];
        let layer = |w: &[Weight]| Linear {
            adapter: Some(adapter(&w[2..])),
            ..Linear::new(&w[0], Some(&w[1]))
        };
        let at = dropped.then(|| at(0.3, 70_000, places(4, &lengths)));
        let mut check = Check::new(what).input(&[257, 5]).weight(&[7, 5]).weight(&[7]);
        for shape in shapes {
            check = check.weight(shape);
        }
        // The norms of DoRA are constants to the gradient, not to a difference.
        let check = if what.contains("dora") { check.without_differences() } else { check };
        check.run(
            |tape, x, w| {
                let [y] = linears(tape, &x[0], [(&layer(w), at.clone())])?;
                Ok(y)
            },
            |x, w| reference(&x[0], &layer(w), at.as_ref()),
        );
    }

    fn low_rank(w: &[Weight]) -> Adapter {
        Adapter::LowRank(LowRank {
            down: w[0].clone(),
            up: w[1].clone(),
            magnitude: w.get(2).cloned(),
            scale: 1.7,
            dropout: 0.3,
            site: 70_000,
        })
    }

    fn scaling(w: &[Weight], of: Side) -> Adapter {
        Adapter::Scaling(Scaling { factors: w[0].clone(), of })
    }

    #[test]
    fn adapters_agree_with_their_references() {
        for dropped in [false, true] {
            check("lora", &[&[3, 5], &[7, 3]], dropped, low_rank);
            check("dora", &[&[3, 5], &[7, 3], &[7]], dropped, low_rank);
        }
        check("ia3 of the input", &[&[5]], false, |w| scaling(w, Side::Input));
        check("ia3 of the output", &[&[7]], false, |w| scaling(w, Side::Output));
    }

    /// Layers together compute the bits of each alone, whichever of them have adapters.
    #[test]
    fn several_layers_of_one_input() {
        let shapes: [&[usize]; 4] = [&[7, 5], &[7, 5], &[3, 5], &[7, 3]];
        let layers = |w: &[Weight]| {
            [
                Linear { adapter: Some(low_rank(&w[2..4])), ..Linear::new(&w[0], None) },
                Linear::new(&w[1], None),
            ]
        };
        let mut check = Check::new("lora beside a plain layer").input(&[33, 5]);
        for shape in shapes {
            check = check.weight(shape);
        }
        check.run(
            |tape, x, w| {
                let layers = layers(w);
                let [a, b] = linears(tape, &x[0], [(&layers[0], None), (&layers[1], None)])?;
                combine(tape, &a, &b, 0.5)
            },
            |x, w| {
                let [a, b] = layers(w).map(|layer| reference(&x[0], &layer, None));
                a? + (b? * 0.5)?
            },
        );
    }
}
