//! The mean of each sequence's rows.

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::written;
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each, each_with};
use crate::nn::{Offsets, Real};

/// `x` `[tokens, hidden]`, `offsets` of its sequences; returns `[sequences, hidden]`, summed in the
/// order of the rows.
pub fn mean_rows(tape: &Tape, x: &Tensor, offsets: &Offsets) -> Result<Tensor> {
    let columns = check(x, offsets)?;
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let out = written(offsets.sequences() * columns, |out| {
            for (mean, rows) in out.chunks_exact_mut(columns.max(1)).zip(offsets.ranges()) {
                mean.fill(<T as Real>::ZERO);
                let share = <T as Real>::of(1.0 / rows.len() as f64);
                for row in rows {
                    each_with(mean, &values[row * columns..][..columns], |sum, x| sum + x);
                }
                each(mean, |sum| sum * share);
            }
        });
        Tensor::from_vec(out, (offsets.sequences(), columns), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, offsets) = (x.id(), offsets.clone());
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => {
                let dy = dy.get::<T>()?;
                let dx = written(offsets.tokens() * columns, |dx| {
                    for (dy, rows) in dy.chunks_exact(columns.max(1)).zip(offsets.ranges()) {
                        let share = <T as Real>::of(1.0 / rows.len() as f64);
                        let rows = &mut dx[rows.start * columns..rows.end * columns];
                        for row in rows.chunks_exact_mut(columns.max(1)) {
                            each_with(row, dy, |_, dy| dy * share);
                        }
                    }
                });
                Gradient::new(dx)
            });
            gradients.add(x, dx)
        });
    }
    Ok(y)
}

/// [`mean_rows`] of candle's primitives.
pub fn reference(x: &Tensor, offsets: &Offsets) -> Result<Tensor> {
    check(x, offsets)?;
    let means: Vec<Tensor> = offsets
        .ranges()
        .map(|rows| x.narrow(0, rows.start, rows.len())?.mean_keepdim(0))
        .collect::<Result<_>>()?;
    Tensor::cat(&means, 0)
}

fn check(x: &Tensor, offsets: &Offsets) -> Result<usize> {
    let (rows, columns) = x.dims2()?;
    if rows != offsets.tokens() {
        bail!("mean: {rows} rows for sequences of {} tokens", offsets.tokens())
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn mean_rows_agrees_with_its_reference() {
        for lengths in [vec![1], vec![3, 1, 9]] {
            let offsets = Offsets::from_lengths(lengths).unwrap();
            Check::new("mean_rows")
                .input(&[offsets.tokens(), 5])
                .run(|t, x, _| mean_rows(t, &x[0], &offsets), |x, _| reference(&x[0], &offsets));
        }
        let offsets = Offsets::from_lengths([2]).unwrap();
        assert!(mean_rows(&silent(), &tensor(&[3, 2], 0), &offsets).is_err());
    }
}
