//! Matrix products on slices.

use gemm::Parallelism;

use super::Real;

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
    /// [`serial_product`] into this part.
    ///
    /// # Safety
    /// No other thread uses these elements meanwhile.
    pub unsafe fn product(&self, left: Matrix<T>, right: Matrix<T>, scale: T, accumulate: bool) {
        assert_eq!((self.rows, self.columns), (left.rows, right.columns));
        // SAFETY: the shape is that of this part.
        unsafe {
            raw_product(
                self.start,
                self.row_stride,
                left,
                right,
                scale,
                accumulate,
                Parallelism::None,
            );
        }
    }
}

/// `out = scale · left × right`, or `out +=` if `accumulate`. `out` is a matrix whose rows start
/// `row_stride` apart.
///
/// Threads divide the tiles of the result among themselves, never the inner dimension: how many there
/// are changes no bit.
pub fn product<T: Real>(
    out: &mut [T],
    row_stride: usize,
    left: Matrix<T>,
    right: Matrix<T>,
    scale: T,
    accumulate: bool,
) {
    let threads = match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    };
    checked_product(out, row_stride, left, right, scale, accumulate, threads);
}

/// [`product`] on the calling thread.
pub fn serial_product<T: Real>(
    out: &mut [T],
    row_stride: usize,
    left: Matrix<T>,
    right: Matrix<T>,
    scale: T,
    accumulate: bool,
) {
    checked_product(out, row_stride, left, right, scale, accumulate, Parallelism::None);
}

fn checked_product<T: Real>(
    out: &mut [T],
    row_stride: usize,
    left: Matrix<T>,
    right: Matrix<T>,
    scale: T,
    accumulate: bool,
    threads: Parallelism,
) {
    let (rows, columns) = (left.rows, right.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * row_stride + columns <= out.len() && columns <= row_stride);
    // SAFETY: the shape of the result lies within `out`, which is borrowed exclusively.
    unsafe { raw_product(out.as_mut_ptr(), row_stride, left, right, scale, accumulate, threads) };
}

/// # Safety
/// `out` points to `left.rows` rows of `right.columns` elements, `row_stride` apart, that nothing
/// else uses meanwhile.
unsafe fn raw_product<T: Real>(
    out: *mut T,
    row_stride: usize,
    left: Matrix<T>,
    right: Matrix<T>,
    scale: T,
    accumulate: bool,
    threads: Parallelism,
) {
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    assert_eq!(inner, right.rows);
    // SAFETY: the shapes of `left` and `right` lie within their slices, as was checked when they were
    // made; that of `out` is promised by the caller.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out,
            1,
            row_stride as isize,
            accumulate,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            T::ONE,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{in_threads, numbers};

    #[test]
    fn products_are_right_and_the_same_for_any_number_of_threads() {
        for (m, n, k) in
            [(1, 1, 1), (1, 384, 384), (17, 33, 5), (257, 2, 96), (512, 17, 257), (768, 384, 1536)]
        {
            let (left, right) = (numbers(m * k, 1), numbers(k * n, 2));
            let lefts = [Matrix::new(&left, m, k), Matrix::new(&left, k, m).transposed()];
            let rights = [Matrix::new(&right, k, n), Matrix::new(&right, n, k).transposed()];
            for (left, right) in lefts.iter().flat_map(|left| rights.map(|right| (*left, right))) {
                let run = || {
                    let mut out = vec![1f32; m * n];
                    product(&mut out, n, left, right, 2.0, true);
                    out
                };
                let one = in_threads(1, run);
                assert_eq!(one, in_threads(2, run));
                assert_eq!(one, in_threads(3, run));
                for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 2)] {
                    let exact: f64 = (0..k)
                        .map(|l| {
                            let at = |matrix: &Matrix<f32>, row: usize, column: usize| {
                                let place = row * matrix.row_stride + column * matrix.column_stride;
                                f64::from(matrix.values[place])
                            };
                            at(&left, i, l) * at(&right, l, j)
                        })
                        .sum();
                    let exact = 1.0 + 2.0 * exact;
                    let found = f64::from(one[i * n + j]);
                    assert!((found - exact).abs() < 1e-4 * (k as f64).sqrt(), "{found} {exact}");
                }
            }
        }
    }
}
