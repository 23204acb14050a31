//! The feed-forward part of a transformer's block: linear, activation, linear, as one operation.

use candle_core::{DType, Result, Tensor, bail};

use super::activation::{self, Activation};
use super::linear::{self, Source};
use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{ELEMENTS_PER_PIECE, for_rows, map, rows_per_piece};
use crate::nn::product::bf16::Rows;
use crate::nn::tape::{Gradient, Precision, Tape};
use crate::nn::{Linear, Weight};

/// `x` `[rows, hidden]`; `up` to `[rows, inner]`, `function` of every element, `down` to
/// `[rows, hidden]`. Computes no gradient for a frozen weight, and keeps nothing for one. Adapters are
/// not known here.
pub fn feed_forward(
    tape: &Tape,
    x: &Tensor,
    up: &Linear,
    function: Activation,
    down: &Linear,
) -> Result<Tensor> {
    let inner = linear::check(x.dims2()?.1, up)?;
    linear::check(inner, down)?;
    let source = Source::new(tape.precision(), x)?;
    let before = source.forward(up)?;
    let (before, after) = Before::activate(tape.precision(), before, function)?;
    let y = after.forward(down)?;
    if tape.needs(&[x], up.weights().chain(down.weights())) {
        let (up, down) = (up.clone(), down.clone());
        let x = tape.tracks(x).then(|| x.id());
        let source = source.kept(up.weight.is_trainable())?;
        let after = after.kept(down.weight.is_trainable())?;
        tape.record(&y, move |dy, gradients| {
            after.weight_gradients(&dy, &down.weight, down.bias.as_ref())?;
            if x.is_none() && !up.weights().any(Weight::is_trainable) {
                return Ok(());
            }
            let dafter = after.input_gradient(&dy, &down.weight, None)?;
            drop((after, dy));
            let dbefore = before.slope(dafter, function)?;
            drop(before);
            source.weight_gradients(&dbefore, &up.weight, up.bias.as_ref())?;
            match x {
                Some(x) => gradients.add(x, source.input_gradient(&dbefore, &up.weight, None)?),
                None => Ok(()),
            }
        });
    }
    Ok(y)
}

/// [`feed_forward`] of candle's primitives.
pub fn reference(x: &Tensor, up: &Linear, function: Activation, down: &Linear) -> Result<Tensor> {
    let inner = linear::reference(x, up)?;
    linear::reference(&activation::reference(&inner, function)?, down)
}

/// What the activation was applied to, kept for its slope.
enum Before {
    Exact(Tensor),
    Rounded(Rows),
}

impl Before {
    /// Also returns the activated values, as the second linear layer reads them.
    fn activate(precision: Precision, x: Tensor, function: Activation) -> Result<(Self, Source)> {
        let (rows, inner) = x.dims2()?;
        if precision == Precision::Bf16 && x.dtype() == DType::F32 {
            let slice = Slice::<f32>::new(&x)?;
            let values = slice.get();
            let after = Rows::made(rows, inner, |row, out| {
                activation::forward(function, &values[row * inner..][..inner], out);
            });
            return Ok((Before::Rounded(Rows::new(values, inner)), Source::rounded(after)));
        }
        let after = by_dtype!(x, T => {
            let values = Slice::<T>::new(&x)?;
            let after = map(values.get(), |x, out| activation::forward(function, x, out));
            Tensor::from_vec(after, (rows, inner), x.device())?
        });
        let after = Source::new(precision, &after)?;
        Ok((Before::Exact(x), after))
    }

    /// The gradient of what was activated, from that of the activated values.
    fn slope(&self, gradient: Gradient, function: Activation) -> Result<Gradient> {
        match self {
            Before::Exact(x) => by_dtype!(x, T => {
                let values = Slice::<T>::new(x)?;
                let values = values.get();
                let mut gradient = gradient.into_values::<T>()?;
                for_rows(&mut gradient, 1, ELEMENTS_PER_PIECE, |start, gradient| {
                    activation::backward(function, &values[start..start + gradient.len()], gradient);
                });
                Ok(Gradient::new(gradient))
            }),
            Before::Rounded(rows) => {
                let inner = rows.columns();
                let mut gradient = gradient.into_values::<f32>()?;
                if gradient.len() != rows.rows() * inner {
                    bail!("feed-forward: a gradient of {} elements", gradient.len())
                }
                for_rows(&mut gradient, inner, rows_per_piece(inner), |first, gradient| {
                    let mut before = vec![0.0; inner];
                    for (row, gradient) in gradient.chunks_exact_mut(inner.max(1)).enumerate() {
                        rows.read(first + row, &mut before);
                        activation::backward(function, &before, gradient);
                    }
                });
                Ok(Gradient::new(gradient))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    fn layers(w: &[Weight]) -> [Linear; 2] {
        [Linear::new(&w[0], Some(&w[1])), Linear::new(&w[2], Some(&w[3]))]
    }

    #[test]
    fn feed_forward_agrees_with_its_reference() {
        for (rows, hidden, inner) in [(1, 3, 5), (17, 8, 31), (257, 5, 12)] {
            for function in [Activation::Gelu, Activation::Silu, Activation::Identity] {
                Check::new(&format!("feed_forward {rows}x{hidden}x{inner} {function:?}"))
                    .input(&[rows, hidden])
                    .weight(&[inner, hidden])
                    .weight(&[inner])
                    .weight(&[hidden, inner])
                    .weight(&[hidden])
                    .run(
                        |t, x, w| {
                            let [up, down] = layers(w);
                            feed_forward(t, &x[0], &up, function, &down)
                        },
                        |x, w| {
                            let [up, down] = layers(w);
                            reference(&x[0], &up, function, &down)
                        },
                    );
            }
        }
    }

    /// The two linear operations with the activation between them compute the same bits.
    #[test]
    fn feed_forward_equals_its_parts() {
        let weight = |shape: &[usize], tag| Weight::new(&tensor(shape, tag), true).unwrap();
        let [up, down] = layers(&[
            weight(&[33, 17], 1),
            weight(&[33], 2),
            weight(&[17, 33], 3),
            weight(&[17], 4),
        ]);
        let x = tensor(&[70, 17], 5);
        let whole = feed_forward(&silent(), &x, &up, Activation::Gelu, &down);
        let inner = linear::linear(&silent(), &x, &up).unwrap();
        let inner = activation::activation(&silent(), &inner, Activation::Gelu).unwrap();
        let parts = linear::linear(&silent(), &inner, &down).unwrap();
        let values = |x: Tensor| x.to_vec2::<f32>().unwrap();
        assert_eq!(values(whole.unwrap()), values(parts));
    }
}
