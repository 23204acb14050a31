//! The columns of a matrix in equal parts: what one product with stacked weights computed.

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};

/// `x` `[rows, N · columns]`; returns N matrices `[rows, columns]`.
pub fn split<const N: usize>(tape: &Tape, x: &Tensor) -> Result<[Tensor; N]> {
    let (rows, columns) = check::<N>(x)?;
    let parts = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let part = |part: usize| {
            let out = written(rows * columns, |out| {
                for_rows(out, columns, rows_per_piece(columns), |start, out| {
                    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                        out.copy_from_slice(&values[((start + row) * N + part) * columns..][..columns]);
                    }
                });
            });
            Tensor::from_vec(out, (rows, columns), x.device())
        };
        (0..N).map(part).collect::<Result<Vec<_>>>()?
    });
    if tape.needs(&[x], []) {
        let (x, dtype) = (x.id(), x.dtype());
        tape.record_all(&parts.iter().collect::<Vec<_>>(), move |all, gradients| {
            let dx = match dtype {
                candle_core::DType::F64 => Gradient::new(join::<f64>(&all, rows, columns)?),
                _ => Gradient::new(join::<f32>(&all, rows, columns)?),
            };
            gradients.add(x, dx)
        });
    }
    parts.try_into().or_else(|_| bail!("as many parts as asked for"))
}

/// [`split`] of candle's primitives.
pub fn reference<const N: usize>(x: &Tensor) -> Result<[Tensor; N]> {
    let (_, columns) = check::<N>(x)?;
    let parts = (0..N).map(|part| x.narrow(1, part * columns, columns)?.contiguous());
    let parts: Vec<Tensor> = parts.collect::<Result<_>>()?;
    parts.try_into().or_else(|_| bail!("as many parts as asked for"))
}

fn check<const N: usize>(x: &Tensor) -> Result<(usize, usize)> {
    let (rows, columns) = x.dims2()?;
    if columns == 0 || !columns.is_multiple_of(N) {
        bail!("split: {columns} columns in {N} parts")
    }
    Ok((rows, columns / N))
}

/// Side by side; a part without a gradient is zero.
fn join<T: Real>(parts: &[Option<Gradient>], rows: usize, columns: usize) -> Result<Vec<T>> {
    let parts = parts.iter().map(|part| part.as_ref().map(Gradient::get::<T>).transpose());
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let width = parts.len() * columns;
    Ok(written(rows * width, |out| {
        for_rows(out, width, rows_per_piece(width), |start, out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                for (out, part) in out.chunks_exact_mut(columns).zip(&parts) {
                    match part {
                        Some(part) => {
                            out.copy_from_slice(&part[(start + row) * columns..][..columns])
                        }
                        None => out.fill(T::ZERO),
                    }
                }
            }
        });
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn split_agrees_with_its_reference() {
        for rows in [1, 17] {
            Check::new("split, products of parts").input(&[rows, 15]).run(
                |t, x, _| {
                    let [a, _, c] = split::<3>(t, &x[0])?;
                    // The middle part has no gradient.
                    crate::nn::ops::add::add(t, &a, &c, None)
                },
                |x, _| {
                    let [a, _, c] = reference::<3>(&x[0])?;
                    a + c
                },
            );
        }
        assert!(split::<3>(&silent(), &tensor(&[2, 4], 0)).is_err());
    }
}
