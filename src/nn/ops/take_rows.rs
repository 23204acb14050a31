//! Some rows of a matrix.

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::written;
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::each_with;

/// `x` `[n, hidden]`, `rows` below n, in any order and any number of times; returns
/// `[rows, hidden]`.
pub fn take_rows(tape: &Tape, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (count, columns) = x.dims2()?;
    check_rows(rows, count)?;
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let out = gather::<T>(values.get(), columns, rows);
        Tensor::from_vec(out, (rows.len(), columns), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, rows) = (x.id(), rows.to_vec());
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => {
                let mut dx = vec![<T as Real>::ZERO; count * columns];
                for (from, &row) in dy.get::<T>()?.chunks_exact(columns.max(1)).zip(&rows) {
                    let to = &mut dx[row as usize * columns..][..columns];
                    each_with(to, from, |to, from| to + from);
                }
                Gradient::new(dx)
            });
            gradients.add(x, dx)
        });
    }
    Ok(y)
}

/// [`take_rows`] of candle's primitives.
pub fn reference(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    check_rows(rows, x.dim(0)?)?;
    x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)
}

fn check_rows(rows: &[u32], count: usize) -> Result<()> {
    match rows.iter().find(|row| **row as usize >= count) {
        Some(row) => bail!("row {row} of a matrix of {count} rows"),
        None => Ok(()),
    }
}

/// Copies rows of `table` in the order of `rows`.
fn gather<T: Real>(table: &[T], columns: usize, rows: &[u32]) -> Vec<T> {
    written(rows.len() * columns, |out| {
        for (out, &row) in out.chunks_exact_mut(columns.max(1)).zip(rows) {
            out.copy_from_slice(&table[row as usize * columns..][..columns]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn rows_may_repeat_and_be_left_out() {
        for rows in [vec![0], vec![16, 0, 3, 3, 3, 9]] {
            Check::new("take_rows")
                .input(&[17, 5])
                .run(|t, x, _| take_rows(t, &x[0], &rows), |x, _| reference(&x[0], &rows));
        }
        assert!(take_rows(&silent(), &tensor(&[3, 2], 0), &[3]).is_err());
    }
}
