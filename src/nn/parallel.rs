//! How kernels run: over fixed chunks, whatever the number of threads.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{Real, vector};

/// Rows that one partial sum of a reduction over rows covers.
pub const ROWS_PER_SUM: usize = 256;
/// Elements of one piece of work of an elementwise kernel.
pub const ELEMENTS_PER_PIECE: usize = 16_384;

/// How many rows of `columns` elements make one piece of work.
pub fn rows_per_piece(columns: usize) -> usize {
    (ELEMENTS_PER_PIECE / columns.max(1)).max(1)
}

/// A type of which every bit pattern is a value.
pub trait Number: Copy {}

impl<T: Real> Number for T {}
impl Number for u32 {}

/// A vector of `count` elements, every one of which `write` sets.
pub fn written<T: Number>(count: usize, write: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut values: Vec<T> = Vec::with_capacity(count);
    let spare: &mut [MaybeUninit<T>] = &mut values.spare_capacity_mut()[..count];
    // SAFETY: `T` is a number: every bit pattern is a value, and dropping one does nothing. The
    // kernels only write to the slice before they read from it.
    let spare = unsafe { &mut *(std::ptr::from_mut(spare) as *mut [T]) };
    write(spare);
    // SAFETY: `count` elements lie within the capacity and have been written.
    unsafe { values.set_len(count) };
    values
}

/// Calls `f(first_row, rows)` for pieces of `out`, a matrix of `columns`, in parallel.
pub fn for_rows<T: Send>(
    out: &mut [T],
    columns: usize,
    rows_per_piece: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    let piece = rows_per_piece * columns.max(1);
    if out.len() <= piece {
        if !out.is_empty() {
            f(0, out);
        }
        return;
    }
    out.par_chunks_mut(piece).enumerate().for_each(|(index, rows)| f(index * rows_per_piece, rows));
}

/// `f(input, output)` on matching pieces of the input and a new vector.
pub fn map<T: Real>(input: &[T], f: impl Fn(&[T], &mut [T]) + Sync + Send) -> Vec<T> {
    written(input.len(), |out| {
        for_rows(out, 1, ELEMENTS_PER_PIECE, |start, out| f(&input[start..start + out.len()], out));
    })
}

/// `f(first, second, output)` on matching pieces of two inputs of one length and a new vector.
pub fn map2<T: Real>(
    first: &[T],
    second: &[T],
    f: impl Fn(&[T], &[T], &mut [T]) + Sync + Send,
) -> Vec<T> {
    assert_eq!(first.len(), second.len());
    written(first.len(), |out| {
        for_rows(out, 1, ELEMENTS_PER_PIECE, |start, out| {
            let range = start..start + out.len();
            f(&first[range.clone()], &second[range], out);
        });
    })
}

/// Sums `count` rows into vectors of `columns`: `add(rows, sums)` adds the given rows to zeroed
/// sums, for chunks of [`ROWS_PER_SUM`] rows in parallel; the chunks' sums are then added in order to
/// `out`, which is overwritten if `is_first`.
pub fn sum_rows<T: Real>(
    count: usize,
    columns: usize,
    out: &mut [T],
    is_first: bool,
    add: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync + Send,
) {
    let chunks = count.div_ceil(ROWS_PER_SUM);
    let mut partial = vec![T::ZERO; chunks * columns];
    for_rows(&mut partial, columns, 1, |chunk, sums| {
        let start = chunk * ROWS_PER_SUM;
        add(start..(start + ROWS_PER_SUM).min(count), sums);
    });
    if is_first {
        out.fill(T::ZERO);
    }
    for sums in partial.chunks_exact(columns.max(1)) {
        vector::each_with(out, sums, |out, sum| out + sum);
    }
}

/// The sum of `f(piece)` over fixed pieces, in order.
pub fn sum_f64<T: Sync>(values: &[T], f: impl Fn(&[T]) -> f64 + Sync + Send) -> f64 {
    let pieces: Vec<f64> = values.par_chunks(ELEMENTS_PER_PIECE).map(f).collect();
    pieces.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once() {
        for rows in [0usize, 1, 17, 256, 257, 1000] {
            let input: Vec<f64> = (0..rows * 3).map(|i| i as f64).collect();
            assert_eq!(map(&input, |x, y| y.copy_from_slice(x)), input);
            let mut sums = vec![9.0; 3];
            sum_rows(rows, 3, &mut sums, true, |range, sums| {
                for row in range {
                    (0..3).for_each(|column| sums[column] += input[row * 3 + column]);
                }
            });
            let expected: f64 = (0..rows).map(|row| (row * 3) as f64).sum();
            assert_eq!(sums[0], expected);
            sum_rows(rows, 3, &mut sums, false, |_, _| {});
            assert_eq!(sums[0], expected);
        }
    }
}
