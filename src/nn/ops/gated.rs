//! Gated linear units: one half of the columns, activated, times the other. Source: Shazeer, "GLU
//! variants improve transformer" (2020).

use candle_core::{Result, Tensor, bail};

use super::activation::{self, Activation};
use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each_with, each_with2, simd};

/// `x` `[rows, 2 · inner]`; returns function(first half) · second half, `[rows, inner]`.
pub fn gated(tape: &Tape, x: &Tensor, function: Activation) -> Result<Tensor> {
    let (rows, inner) = check(x)?;
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let out = written(rows * inner, |out| {
            for_rows(out, inner, rows_per_piece(inner), |start, out| {
                for (row, out) in out.chunks_exact_mut(inner).enumerate() {
                    let (x, gate) = values[(start + row) * 2 * inner..][..2 * inner].split_at(inner);
                    activation::forward(function, x, out);
                    simd(
                        #[inline(always)]
                        || each_with(out, gate, |out, gate| out * gate),
                    );
                }
            });
        });
        Tensor::from_vec(out, (rows, inner), x.device())?
    });
    if tape.needs(&[x], []) {
        let x = x.clone();
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => {
                let values = Slice::<T>::new(&x)?;
                Gradient::new(backward::<T>(values.get(), dy.get()?, inner, function))
            });
            gradients.add(x.id(), dx)
        });
    }
    Ok(y)
}

/// [`gated`] of candle's primitives.
pub fn reference(x: &Tensor, function: Activation) -> Result<Tensor> {
    let (_, inner) = check(x)?;
    activation::reference(&x.narrow(1, 0, inner)?.contiguous()?, function)?
        * x.narrow(1, inner, inner)?
}

fn check(x: &Tensor) -> Result<(usize, usize)> {
    let (rows, columns) = x.dims2()?;
    if columns == 0 || !columns.is_multiple_of(2) {
        bail!("gated: {columns} columns have no halves")
    }
    Ok((rows, columns / 2))
}

/// With y = f(a)·b: da = dy·b·f′(a), db = dy·f(a).
fn backward<T: Real>(x: &[T], dy: &[T], inner: usize, function: Activation) -> Vec<T> {
    written(x.len(), |dx| {
        for_rows(dx, 2 * inner, rows_per_piece(2 * inner), |start, dx| {
            for (row, dx) in dx.chunks_exact_mut(2 * inner).enumerate() {
                let row = start + row;
                let (a, b) = x[row * 2 * inner..][..2 * inner].split_at(inner);
                let dy = &dy[row * inner..][..inner];
                let (da, db) = dx.split_at_mut(inner);
                activation::forward(function, a, db);
                simd(
                    #[inline(always)]
                    || {
                        each_with(db, dy, |f, dy| f * dy);
                        each_with2(da, dy, b, |_, dy, b| dy * b);
                    },
                );
                activation::backward(function, a, da);
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn gated_agrees_with_its_reference() {
        for (rows, inner) in [(1, 1), (17, 31), (257, 70)] {
            for function in [Activation::Gelu, Activation::Silu, Activation::Identity] {
                Check::new(&format!("gated {rows}x{inner} {function:?}"))
                    .input(&[rows, 2 * inner])
                    .run(|t, x, _| gated(t, &x[0], function), |x, _| reference(&x[0], function));
            }
        }
        assert!(gated(&silent(), &tensor(&[2, 3], 0), Activation::Gelu).is_err());
    }
}
