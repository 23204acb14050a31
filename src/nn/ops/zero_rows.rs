//! A matrix without some of its rows: they are zero.

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::tape::{Gradient, Tape};

/// `x` `[n, hidden]`, `rows` below n.
pub fn zero_rows(tape: &Tape, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (count, columns) = x.dims2()?;
    if let Some(row) = rows.iter().find(|row| **row as usize >= count) {
        bail!("row {row} of a matrix of {count} rows")
    }
    let y = by_dtype!(x, T => {
        let mut values = Slice::<T>::new(x)?.get().to_vec();
        clear::<T>(&mut values, columns, rows);
        Tensor::from_vec(values, x.shape(), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, rows) = (x.id(), rows.to_vec());
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => {
                let mut dx = dy.into_values::<T>()?;
                clear::<T>(&mut dx, columns, &rows);
                Gradient::new(dx)
            });
            gradients.add(x, dx)
        });
    }
    Ok(y)
}

/// [`zero_rows`] of candle's primitives.
pub fn reference(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let count = x.dim(0)?;
    let kept = (0..count).map(|row| f64::from(!rows.contains(&(row as u32))));
    let kept = Tensor::from_vec(kept.collect::<Vec<_>>(), (count, 1), x.device())?;
    x.broadcast_mul(&kept.to_dtype(x.dtype())?)
}

fn clear<T: Real>(values: &mut [T], columns: usize, rows: &[u32]) {
    for row in rows {
        values[*row as usize * columns..][..columns].fill(T::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn zero_rows_agrees_with_its_reference() {
        for rows in [vec![], vec![16, 0, 3]] {
            Check::new("zero_rows")
                .input(&[17, 5])
                .run(|t, x, _| zero_rows(t, &x[0], &rows), |x, _| reference(&x[0], &rows));
        }
        assert!(zero_rows(&silent(), &tensor(&[3, 2], 0), &[3]).is_err());
    }
}
