//! The residual connection of a block whose norm comes first: dropout(x) + residual.

use candle_core::{Result, Tensor, bail};

use super::dropout::{self, DropoutAt, Row};
use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each_with2, simd};

/// `x`, `residual` `[rows, hidden]`.
pub fn add(
    tape: &Tape,
    x: &Tensor,
    residual: &Tensor,
    dropout: Option<&DropoutAt>,
) -> Result<Tensor> {
    let (rows, hidden) = x.dims2()?;
    if residual.dims() != x.dims() {
        bail!("add: a residual of shape {:?} for {:?}", residual.dims(), x.dims())
    }
    let dropper =
        dropout.map(|at| Ok::<_, candle_core::Error>((at.dropper(rows)?, at.rows.clone())));
    let dropper = dropper.transpose()?;
    let y = by_dtype!(x, T => {
        let (values, residual) = (Slice::<T>::new(x)?, Slice::<T>::new(residual)?);
        let (values, residual) = (values.get(), residual.get());
        let out = written(values.len(), |out| {
            for_rows(out, hidden, rows_per_piece(hidden), |start, out| {
                simd(
                    #[inline(always)]
                    || {
                        for (row, out) in out.chunks_exact_mut(hidden.max(1)).enumerate() {
                            let row = start + row;
                            let (x, residual) =
                                (&values[row * hidden..][..hidden], &residual[row * hidden..][..hidden]);
                            match &dropper {
                                None => each_with2(out, x, residual, |_, x, residual| x + residual),
                                Some((dropper, places)) => {
                                    dropper.factors(Row::Hidden(places[row]), 0, out);
                                    each_with2(out, x, residual, |out, x, residual| out * x + residual);
                                }
                            }
                        }
                    },
                );
            });
        });
        Tensor::from_vec(out, x.shape(), x.device())?
    });
    if tape.needs(&[x, residual], []) {
        let [x, residual] = [x, residual].map(|input| (input.id(), tape.tracks(input)));
        tape.record(&y, move |dy, gradients| {
            if x.1 {
                let dx = match &dropper {
                    None => dy.clone(),
                    Some((dropper, places)) => by_dtype!(dy, T => {
                        let mut dx = dy.get::<T>()?.to_vec();
                        for_rows(&mut dx, hidden, rows_per_piece(hidden), |start, dx| {
                            simd(
                                #[inline(always)]
                                || {
                                    for (row, dx) in dx.chunks_exact_mut(hidden.max(1)).enumerate() {
                                        dropper.scale(Row::Hidden(places[start + row]), 0, dx);
                                    }
                                },
                            );
                        });
                        Gradient::new(dx)
                    }),
                };
                gradients.add(x.0, dx)?;
            }
            match residual.1 {
                true => gradients.add(residual.0, dy),
                false => Ok(()),
            }
        });
    }
    Ok(y)
}

/// [`add`] of candle's primitives.
pub fn reference(x: &Tensor, residual: &Tensor, dropout: Option<&DropoutAt>) -> Result<Tensor> {
    dropout.map_or(Ok(x.clone()), |at| dropout::reference(x, at))? + residual
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};
    use crate::nn::ops::dropout::tests::{at, places};

    #[test]
    fn add_agrees_with_its_reference() {
        for at in [None, Some(at(0.3, 2, places(5, &[100, 157])))] {
            Check::new("add").input(&[257, 65]).input(&[257, 65]).run(
                |t, x, _| add(t, &x[0], &x[1], at.as_ref()),
                |x, _| reference(&x[0], &x[1], at.as_ref()),
            );
        }
        assert!(add(&silent(), &tensor(&[2, 4], 0), &tensor(&[2, 3], 0), None).is_err());
    }
}
