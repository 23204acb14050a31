//! Products of bf16 with sums in f32, for processors with AVX512-BF16. Two neighbours along the inner
//! dimension stand in one u32; f32 values are rounded to the nearest, ties to even.

#[cfg(target_arch = "x86_64")]
use super::bf16_x86 as processor;
use super::drive::{Job, Left, Right, Target};
use super::strip::Start;
use super::{Columns, Onto, start};
use crate::nn::parallel::{for_rows, rows_per_piece, written};

/// Whether this processor multiplies bf16.
pub fn is_available() -> bool {
    processor::is_available()
}

/// A matrix in bf16, row by row: neighbours in a row are pairs, and a row of an odd number of
/// columns ends with a zero. The inner dimension of a product is its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// `[rows][columns / 2, rounded up]`
    pub(super) values: Vec<u32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A matrix in bf16 as panels of columns: neighbours in a column are pairs. The inner dimension of a
/// product is its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panels {
    /// `[panel][rows / 2, rounded up][WIDTH]`, filled up with zeros.
    pub(super) values: Vec<u32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The left matrix of a product.
#[derive(Clone, Copy)]
pub enum Factor<'a> {
    Rows(&'a Rows),
    /// The transpose of these panels.
    Transposed(&'a Panels),
}

/// Columns of a panel.
pub(super) const WIDTH: usize = 48;

impl Rows {
    /// Rounds `values`, a matrix of `columns`.
    pub fn new(values: &[f32], columns: usize) -> Self {
        let (rows, step) = (values.len() / columns.max(1), columns.div_ceil(2));
        let rounded = written(rows * step, |rounded| {
            for_rows(rounded, step, rows_per_piece(columns), |first, out| {
                for (row, out) in out.chunks_exact_mut(step.max(1)).enumerate() {
                    processor::round(&values[(first + row) * columns..][..columns], out);
                }
            });
        });
        Self { values: rounded, rows, columns }
    }

    /// Rounds what `make(row, values)` writes to each row, in parallel.
    pub fn made(rows: usize, columns: usize, make: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        let step = columns.div_ceil(2);
        let values = written(rows * step, |values| {
            for_rows(values, step, rows_per_piece(columns), |first, out| {
                let mut buffer = vec![0.0; columns];
                for (row, out) in out.chunks_exact_mut(step.max(1)).enumerate() {
                    make(first + row, &mut buffer);
                    processor::round(&buffer, out);
                }
            });
        });
        Self { values, rows, columns }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of one row, exactly.
    pub fn read(&self, row: usize, out: &mut [f32]) {
        let step = self.columns.div_ceil(2);
        processor::widen(&self.values[row * step..][..step], out);
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.values.len() * 4
    }
}

impl Panels {
    /// Rounds `values`, a matrix of `columns`.
    pub fn new(values: &[f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self::filled(rows, columns, |first, out| {
            processor::pair_rows(values, rows, columns, first, out);
        })
    }

    /// The same matrix, with its inner dimension along the columns.
    pub fn of_rows(rows: &Rows) -> Self {
        Self::filled(rows.rows, rows.columns, |first, out| {
            processor::pair_rounded(rows, first, out)
        })
    }

    /// Rounds the transpose of `values`, a matrix of `columns`.
    pub fn transposed(values: &[f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self::filled(columns, rows, |first, out| {
            processor::pair_columns(values, rows, columns, first, out);
        })
    }

    fn filled(rows: usize, columns: usize, fill: impl Fn(usize, &mut [u32]) + Sync) -> Self {
        let size = rows.div_ceil(2) * WIDTH;
        let values = written(columns.div_ceil(WIDTH) * size, |values| {
            for_rows(values, size, 1, |panel, out| fill(panel * WIDTH, out));
        });
        Self { values, rows, columns }
    }
}

/// `out = left × right`, with what `onto` adds. `out` is a matrix of whole rows. Panics on a
/// processor without AVX512-BF16: [`is_available`] tells.
pub fn product(out: &mut [f32], left: Factor, right: &Panels, onto: Onto<f32>) {
    let (rows, inner, left) = match left {
        Factor::Rows(rows) => {
            let step = rows.columns.div_ceil(2);
            let values = rows.values.as_ptr();
            (rows.rows, rows.columns, Left::Strided { values, row: step, step: 1 })
        }
        Factor::Transposed(panels) => {
            let values = panels.values.as_ptr();
            (panels.columns, panels.rows, Left::Panels { values })
        }
    };
    assert_eq!(inner, right.rows);
    assert_eq!(out.len(), rows * right.columns);
    if let Onto::Bias(bias) = onto {
        assert_eq!(bias.len(), right.columns);
    }
    let start: Start = start(&onto);
    let target = Target { out: Columns::new(out, right.columns), scale: 1.0, start };
    let right = Right::Panels { values: right.values.as_ptr() };
    let kernel = processor::Dot::new();
    // SAFETY: rows and panels hold the inner dimension, as was checked; `out` is borrowed exclusively.
    unsafe { Job { kernel: &kernel, left, right, steps: inner.div_ceil(2), target }.run(true) };
}

/// Processors without products of bf16.
#[cfg(not(target_arch = "x86_64"))]
mod processor {
    use super::super::strip::{Kernel, Strip};
    use super::Rows;

    pub fn is_available() -> bool {
        false
    }

    pub struct Dot;

    impl Dot {
        pub fn new() -> Self {
            panic!("{MISSING}")
        }
    }

    const MISSING: &str = "this processor has no products of bf16";

    impl Kernel for Dot {
        type Element = u32;

        fn width(&self) -> usize {
            super::WIDTH
        }

        unsafe fn run(&self, _: &Strip<u32>) {
            panic!("{MISSING}")
        }
    }

    pub fn round(_: &[f32], _: &mut [u32]) {
        panic!("{MISSING}")
    }

    pub fn widen(_: &[u32], _: &mut [f32]) {
        panic!("{MISSING}")
    }

    pub fn pair_rows(_: &[f32], _: usize, _: usize, _: usize, _: &mut [u32]) {
        panic!("{MISSING}")
    }

    pub fn pair_rounded(_: &Rows, _: usize, _: &mut [u32]) {
        panic!("{MISSING}")
    }

    pub fn pair_columns(_: &[f32], _: usize, _: usize, _: usize, _: &mut [u32]) {
        panic!("{MISSING}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{in_threads, numbers};

    fn rounded(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| half::bf16::from_f32(*value).to_f64()).collect()
    }

    fn skip() -> bool {
        if !is_available() {
            eprintln!("skipped: this processor has no products of bf16");
        }
        !is_available()
    }

    #[test]
    fn rounding_is_to_the_nearest_even() {
        if skip() {
            return;
        }
        for columns in [1, 2, 15, 16, 33, 70] {
            let values = numbers(3 * columns, columns as u64);
            let rows = Rows::new(&values, columns);
            for row in 0..3 {
                let mut found = vec![0.0; columns];
                rows.read(row, &mut found);
                let found: Vec<f64> = found.iter().map(|value| f64::from(*value)).collect();
                assert_eq!(found, rounded(&values[row * columns..][..columns]));
            }
        }
    }

    #[test]
    fn panels_hold_the_same_values_however_they_are_made() {
        if skip() {
            return;
        }
        for (rows, columns) in [(1, 1), (2, 16), (7, 31), (33, 49), (64, 96), (17, 130)] {
            let values = numbers(rows * columns, 5);
            let panels = Panels::new(&values, columns);
            assert_eq!(panels, Panels::of_rows(&Rows::new(&values, columns)), "{rows} {columns}");
            let turned: Vec<f32> =
                (0..columns * rows).map(|i| values[i % rows * columns + i / rows]).collect();
            assert_eq!(panels, Panels::transposed(&turned, rows), "{rows} {columns}");
            let value = |row: usize, column: usize| {
                let pairs = rows.div_ceil(2);
                let place = (column / WIDTH * pairs + row / 2) * WIDTH + column % WIDTH;
                (panels.values[place] >> (row % 2 * 16)) as u16
            };
            for (row, column) in [(0, 0), (rows - 1, columns - 1), (rows / 2, columns / 2)] {
                let expected = half::bf16::from_f32(values[row * columns + column]).to_bits();
                assert_eq!(value(row, column), expected);
            }
        }
    }

    #[test]
    fn products_are_right_and_the_same_for_any_number_of_threads() {
        if skip() {
            return;
        }
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 48, 33), (257, 130, 96), (50, 70, 2501)] {
            let (left, right, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
            let turned: Vec<f32> = (0..m * k).map(|i| left[i % m * k + i / m]).collect();
            let (rows, columns) = (Rows::new(&left, k), Panels::new(&turned, m));
            let panels = Panels::new(&right, n);
            let (exact_left, exact_right) = (rounded(&left), rounded(&right));
            for left in [Factor::Rows(&rows), Factor::Transposed(&columns)] {
                for onto in [Onto::Nothing, Onto::Itself, Onto::Bias(&bias)] {
                    let run = || {
                        let mut out = vec![1f32; m * n];
                        product(&mut out, left, &panels, onto);
                        out
                    };
                    let one = in_threads(1, run);
                    assert_eq!(one, in_threads(3, run));
                    for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 2)] {
                        let exact: f64 =
                            (0..k).map(|l| exact_left[i * k + l] * exact_right[l * n + j]).sum();
                        let before = match onto {
                            Onto::Nothing => 0.0,
                            Onto::Itself => 1.0,
                            Onto::Bias(bias) => f64::from(bias[j]),
                        };
                        let found = f64::from(one[i * n + j]);
                        let error = (found - before - exact).abs();
                        assert!(error < 1e-5 * (k as f64).sqrt(), "{found} {exact} {before}");
                    }
                }
            }
        }
    }
}
