//! Some rows of a matrix.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::tensor::{Slice, by_dtype, output, read};
use crate::nn::Real;
use crate::nn::parallel::written;
use crate::nn::vector::each_with;

/// `x` `[n, hidden]`, `rows` below n, in any order and any number of times; returns
/// `[rows, hidden]`.
pub fn take_rows(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (count, _) = x.dims2()?;
    check_rows(rows, count)?;
    x.contiguous()?.apply_op1(TakeRows { rows: rows.to_vec() })
}

/// [`take_rows`] of candle's primitives.
pub fn reference(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    check_rows(rows, x.dim(0)?)?;
    x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)
}

pub(super) fn check_rows(rows: &[u32], count: usize) -> Result<()> {
    match rows.iter().find(|row| **row as usize >= count) {
        Some(row) => bail!("row {row} of a matrix of {count} rows"),
        None => Ok(()),
    }
}

/// Copies rows of `table` in the order of `rows`.
pub(super) fn gather<T: Real>(table: &[T], columns: usize, rows: &[u32]) -> Vec<T> {
    written(rows.len() * columns, |out| {
        for (out, &row) in out.chunks_exact_mut(columns.max(1)).zip(rows) {
            out.copy_from_slice(&table[row as usize * columns..][..columns]);
        }
    })
}

struct TakeRows {
    rows: Vec<u32>,
}

impl CustomOp1 for TakeRows {
    fn name(&self) -> &'static str {
        "take-rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let columns = layout.dims()[1];
        by_dtype!(x, T => {
            output(gather::<T>(read(x, layout)?, columns, &self.rows), (self.rows.len(), columns))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (count, columns) = x.dims2()?;
        let gradient = gradient.contiguous()?;
        let out = by_dtype!(x, T => {
            let gradient = Slice::<T>::new(&gradient)?;
            let mut out = vec![<T as Real>::ZERO; count * columns];
            for (from, &row) in gradient.get().chunks_exact(columns.max(1)).zip(&self.rows) {
                let to = &mut out[row as usize * columns..][..columns];
                each_with(to, from, |to, from| to + from);
            }
            Tensor::from_vec(out, (count, columns), x.device())
        });
        out.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, tensor};

    #[test]
    fn rows_may_repeat_and_be_left_out() {
        for rows in [vec![0], vec![16, 0, 3, 3, 3, 9]] {
            Check::new("take_rows")
                .input(&[17, 5])
                .run(|x, _| take_rows(&x[0], &rows), |x, _| reference(&x[0], &rows));
        }
        assert!(take_rows(&tensor(&[3, 2], 0), &[3]).is_err());
    }
}
