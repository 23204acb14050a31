//! Matrix products on slices. Blocking is a constant and the inner dimension is never divided among
//! threads: results depend on neither their number nor the sizes of caches.

pub mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_x86;
mod drive;
mod strip;

use super::Real;
use drive::{Job, Left, Right, Target};
use strip::{Float, Kernel, Start};

/// A matrix in a slice: element (i, j) is `values[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// Rows that follow each other.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// Rows that start `row_stride` elements apart.
    pub fn strided(values: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= values.len());
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix of rows that several threads write to, each to rows and columns of its own.
#[derive(Clone, Copy)]
pub struct Columns<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    lifetime: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: every access is through an unsafe method whose caller promises that no other thread uses
// the same elements.
unsafe impl<T: Send> Send for Columns<'_, T> {}
unsafe impl<T: Send> Sync for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    pub fn new(values: &'a mut [T], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        let lifetime = std::marker::PhantomData;
        Self { start: values.as_mut_ptr(), rows, columns, row_stride: columns, lifetime }
    }

    /// Some rows and columns.
    pub fn part(&self, row: usize, rows: usize, column: usize, columns: usize) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns);
        // SAFETY: the first element lies within the matrix, or one past its end if it is empty.
        let start = unsafe { self.start.add((row * self.row_stride + column).min(self.end())) };
        Self { start, rows, columns, ..*self }
    }

    /// One row.
    ///
    /// # Safety
    /// No other reference to these elements is alive, on any thread.
    pub unsafe fn row(&self, row: usize) -> &'a mut [T] {
        assert!(row < self.rows);
        // SAFETY: in bounds as asserted; exclusive as the caller promises.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.row_stride), self.columns)
        }
    }

    fn end(&self) -> usize {
        match self.rows {
            0 => 0,
            rows => (rows - 1) * self.row_stride + self.columns,
        }
    }
}

impl<T: Real> Columns<'_, T> {
    /// [`product`] into this part, on the calling thread.
    ///
    /// # Safety
    /// No other thread uses these elements meanwhile.
    pub unsafe fn product(&self, left: Matrix<T>, right: Matrix<T>, scale: T, onto: Onto<T>) {
        // SAFETY: promised by the caller.
        unsafe { T::multiply(self, left, right, scale, onto, false) };
    }
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'a, T> {
    /// Nothing: the result is overwritten.
    Nothing,
    /// What the result holds.
    Itself,
    /// This row, to every row; the result is overwritten.
    Bias(&'a [T]),
}

impl<T> Onto<'_, T> {
    /// [`Onto::Nothing`] for the first of several contributions, then [`Onto::Itself`].
    pub fn sum(is_first: bool) -> Self {
        if is_first { Self::Nothing } else { Self::Itself }
    }
}

/// `out = scale · left × right`, with what `onto` adds. `out` is a matrix of whole rows.
///
/// Threads divide the tiles of the result among themselves.
pub fn product<T: Real>(out: &mut [T], left: Matrix<T>, right: Matrix<T>, scale: T, onto: Onto<T>) {
    assert_eq!(out.len(), left.rows * right.columns);
    let out = Columns::new(out, right.columns);
    // SAFETY: `out` is borrowed exclusively.
    unsafe { T::multiply(&out, left, right, scale, onto, true) };
}

fn check<T>(out: &Columns<T>, left: &Matrix<T>, right: &Matrix<T>, onto: &Onto<T>) {
    assert_eq!((out.rows, out.columns), (left.rows, right.columns));
    assert_eq!(left.columns, right.rows);
    if let Onto::Bias(bias) = onto {
        assert_eq!(bias.len(), out.columns);
    }
}

fn start(onto: &Onto<f32>) -> Start {
    match onto {
        Onto::Nothing => Start::Zero,
        Onto::Itself => Start::Out,
        Onto::Bias(bias) => Start::Bias(bias.as_ptr()),
    }
}

/// The product in f32.
///
/// # Safety
/// No other thread uses the elements of `out` meanwhile.
pub unsafe fn multiply_f32(
    out: &Columns<f32>,
    left: Matrix<f32>,
    right: Matrix<f32>,
    scale: f32,
    onto: Onto<f32>,
    parallel: bool,
) {
    check(out, &left, &right, &onto);
    let kernel = Float::default();
    let steps = left.columns;
    let left = Left::Strided {
        values: left.values.as_ptr(),
        row: left.row_stride,
        step: left.column_stride,
    };
    let multiply = |right: Right<f32>| {
        let target = Target { out: *out, scale, start: start(&onto) };
        // SAFETY: the shapes of left and right lie within their slices, as was checked when they were
        // made, and panels hold all steps of all columns; `out` is exclusive as the caller promises.
        unsafe { Job { kernel: &kernel, left, right, steps, target }.run(parallel) };
    };
    // A few rows of whole vectors are read where they are.
    let direct = right.column_stride == 1 && right.columns.is_multiple_of(kernel.lanes());
    if direct && (!parallel || out.rows <= FEW_ROWS) {
        multiply(Right::InPlace { values: right.values.as_ptr(), step: right.row_stride });
        return;
    }
    drive::with_scratch(|scratch| {
        drive::pack(&right, kernel.width(), scratch, parallel);
        multiply(Right::Panels { values: scratch.as_ptr() });
    });
}

/// So few rows of the left matrix do not repay rearranging the right one.
const FEW_ROWS: usize = 16;

/// The product in f64, which only checks use.
///
/// # Safety
/// No other thread uses the elements of `out` meanwhile.
pub unsafe fn multiply_f64(
    out: &Columns<f64>,
    left: Matrix<f64>,
    right: Matrix<f64>,
    scale: f64,
    onto: Onto<f64>,
) {
    check(out, &left, &right, &onto);
    for row in 0..out.rows {
        // SAFETY: promised by the caller.
        let out = unsafe { out.row(row) };
        match onto {
            Onto::Nothing => out.fill(0.0),
            Onto::Itself => {}
            Onto::Bias(bias) => out.copy_from_slice(bias),
        }
        for (column, out) in out.iter_mut().enumerate() {
            let sum: f64 = (0..left.columns)
                .map(|step| {
                    left.values[row * left.row_stride + step * left.column_stride]
                        * right.values[step * right.row_stride + column * right.column_stride]
                })
                .sum();
            *out += scale * sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{in_threads, numbers};

    fn at(matrix: &Matrix<f32>, row: usize, column: usize) -> f64 {
        f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
    }

    #[test]
    fn products_are_right_and_the_same_for_any_number_of_threads() {
        for (m, n, k) in [
            (1, 1, 1),
            (1, 384, 384),
            (17, 33, 5),
            (257, 2, 96),
            (512, 17, 257),
            (12, 32, 7),
            (30, 50, 2500),
            (768, 384, 1536),
        ] {
            let (left, right, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
            let lefts = [Matrix::new(&left, m, k), Matrix::new(&left, k, m).transposed()];
            let rights = [Matrix::new(&right, k, n), Matrix::new(&right, n, k).transposed()];
            for (left, right) in lefts.iter().flat_map(|left| rights.map(|right| (*left, right))) {
                for onto in [Onto::Nothing, Onto::Itself, Onto::Bias(&bias)] {
                    let run = || {
                        let mut out = vec![1f32; m * n];
                        product(&mut out, left, right, 2.0, onto);
                        out
                    };
                    let one = in_threads(1, run);
                    assert_eq!(one, in_threads(2, run));
                    assert_eq!(one, in_threads(3, run));
                    let mut serial = vec![1f32; m * n];
                    // SAFETY: `serial` is borrowed exclusively.
                    unsafe { Columns::new(&mut serial, n).product(left, right, 2.0, onto) };
                    assert_eq!(one, serial);
                    for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 2)] {
                        let exact: f64 = (0..k).map(|l| at(&left, i, l) * at(&right, l, j)).sum();
                        let before = match onto {
                            Onto::Nothing => 0.0,
                            Onto::Itself => 1.0,
                            Onto::Bias(bias) => f64::from(bias[j]),
                        };
                        let exact = before + 2.0 * exact;
                        let found = f64::from(one[i * n + j]);
                        assert!(
                            (found - exact).abs() < 1e-4 * (k as f64).sqrt(),
                            "{found} {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_inner_dimension_leaves_what_is_added_to() {
        let mut out = [5f32; 4];
        let empty = Matrix::new(&[], 2, 0);
        product(&mut out, empty, Matrix::new(&[], 0, 2), 1.0, Onto::Itself);
        assert_eq!(out, [5.0; 4]);
        product(&mut out, empty, Matrix::new(&[], 0, 2), 1.0, Onto::Bias(&[1.0, 2.0]));
        assert_eq!(out, [1.0, 2.0, 1.0, 2.0]);
    }
}
