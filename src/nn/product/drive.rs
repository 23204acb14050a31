//! From whole matrices to strips: panels of the right matrix, blocks of the inner dimension, and
//! which thread computes what.

use std::cell::RefCell;

use rayon::prelude::*;

use super::strip::{Kernel, Start, Strip};
use super::{Columns, Matrix};
use crate::nn::Real;

/// The left matrix.
#[derive(Clone, Copy)]
pub enum Left<E> {
    Strided {
        values: *const E,
        row: usize,
        step: usize,
    },
    /// The transpose of panels: a row of it is a column of a panel.
    Panels {
        values: *const E,
    },
}

/// The right matrix.
#[derive(Clone, Copy)]
pub enum Right<E> {
    /// `[panel][step][width]`; what lies behind the last column is read and not used.
    Panels { values: *const E },
    /// As it is stored, `step` elements from row to row; its columns are whole vectors.
    InPlace { values: *const E, step: usize },
}

// SAFETY: both only read, from memory that is borrowed as long as they live.
unsafe impl<E> Send for Left<E> {}
unsafe impl<E> Sync for Left<E> {}
unsafe impl<E> Send for Right<E> {}
unsafe impl<E> Sync for Right<E> {}

/// Where the result goes.
pub struct Target<'a> {
    pub out: Columns<'a, f32>,
    pub scale: f32,
    pub start: Start,
}

// SAFETY: a bias is only read, and borrowed as long as the target lives.
unsafe impl Sync for Target<'_> {}

/// Steps of the inner dimension that are done before the next panel: a block of a panel stays in
/// the second-level cache.
const STEPS_PER_BLOCK: usize = 1024;
/// Rows of one piece of work.
const ROWS_PER_TASK: usize = 240;
/// Multiplications that are worth a second thread.
const SERIAL_WORK: usize = 1 << 16;

/// One product.
pub struct Job<'a, K: Kernel> {
    pub kernel: &'a K,
    pub left: Left<K::Element>,
    pub right: Right<K::Element>,
    /// Of the inner dimension.
    pub steps: usize,
    pub target: Target<'a>,
}

impl<K: Kernel> Job<'_, K> {
    /// # Safety
    /// `left` and `right` hold `steps` of the rows and columns of the target, and nothing else uses the
    /// target's elements meanwhile.
    pub unsafe fn run(&self, parallel: bool) {
        let (rows, columns) = (self.target.out.rows, self.target.out.columns);
        if rows == 0 || columns == 0 {
            return;
        }
        let width = self.kernel.width();
        let panels = columns.div_ceil(width);
        let parts = rows.div_ceil(ROWS_PER_TASK);
        let task = |index: usize| {
            let (panel, part) = (index / parts, index % parts);
            let row = part * ROWS_PER_TASK;
            let rows = ROWS_PER_TASK.min(rows - row);
            // SAFETY: each index has rows and columns of its own.
            unsafe { self.block(panel * width, row, rows) };
        };
        let work = rows * columns * self.steps;
        if parallel && work > SERIAL_WORK && rayon::current_num_threads() > 1 {
            (0..panels * parts).into_par_iter().for_each(task);
        } else {
            (0..panels * parts).for_each(task);
        }
    }

    /// The rows `row..row + rows` of the panel that starts at `column`.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn block(&self, column: usize, row: usize, rows: usize) {
        let Self { kernel, left, right, steps, target } = self;
        let steps = *steps;
        let width = kernel.width();
        let columns = width.min(target.out.columns - column);
        let blocks = steps.div_ceil(STEPS_PER_BLOCK).max(1);
        let per_block = steps.div_ceil(blocks);
        for index in 0..blocks {
            let first = index * per_block;
            let block_steps = per_block.min(steps - first);
            let start = match (index, target.start) {
                (0, Start::Bias(bias)) => Start::Bias(bias.wrapping_add(column)),
                (0, start) => start,
                _ => Start::Out,
            };
            let (panel, panel_step) = match *right {
                Right::Panels { values } => {
                    (values.wrapping_add(column * steps + first * width), width)
                }
                Right::InPlace { values, step } => {
                    (values.wrapping_add(first * step + column), step)
                }
            };
            let mut done = 0;
            while done < rows {
                let at = row + done;
                let (left, left_row, left_step, run) = match *left {
                    Left::Strided { values, row, step } => {
                        (values.wrapping_add(at * row + first * step), row, step, rows - done)
                    }
                    Left::Panels { values } => {
                        let (panel, inside) = (at / width, at % width);
                        let values = values.wrapping_add((panel * steps + first) * width + inside);
                        (values, 1, width, (width - inside).min(rows - done))
                    }
                };
                let strip = Strip {
                    left,
                    left_row,
                    left_step,
                    rows: run,
                    panel,
                    panel_step,
                    columns,
                    steps: block_steps,
                    out: target.out.start.wrapping_add(at * target.out.row_stride + column),
                    out_row: target.out.row_stride,
                    scale: target.scale,
                    start,
                };
                // SAFETY: promised by the caller.
                unsafe { kernel.run(&strip) };
                done += run;
            }
        }
    }
}

/// Rearranges a matrix into panels of `width` columns. What fills up the last one stays undefined:
/// it only reaches columns that nobody wants.
pub fn pack<T: Real>(matrix: &Matrix<T>, width: usize, panels: &mut Vec<T>, parallel: bool) {
    let Matrix { values, rows, columns, row_stride, column_stride } = *matrix;
    let size = rows * width;
    let count = columns.div_ceil(width);
    panels.resize(count * size, T::ZERO);
    let fill = |(panel, out): (usize, &mut [T])| {
        let first = panel * width;
        let columns = width.min(columns - first);
        if column_stride == 1 {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let from = &values[row * row_stride + first..][..columns];
                out[..columns].copy_from_slice(from);
            }
        } else {
            assert_eq!(row_stride, 1, "a matrix has whole rows or whole columns");
            let column = |column: usize| &values[(first + column) * column_stride..][..rows];
            transpose(columns, column, out, width);
        }
    };
    if parallel && count > 1 && count * size > SERIAL_WORK {
        panels.par_chunks_mut(size.max(1)).enumerate().for_each(fill);
    } else {
        panels.chunks_mut(size.max(1)).enumerate().for_each(fill);
    }
}

/// Columns that are written side by side.
const TOGETHER: usize = 8;
/// Rows that are written before the next columns, so that they stay in the first cache.
const ROWS_PER_BLOCK: usize = 64;

/// Writes `columns` columns, at most `width`, to the rows of `out`, `width` apart.
pub fn transpose<'a, E: Copy + 'a>(
    columns: usize,
    column: impl Fn(usize) -> &'a [E],
    out: &mut [E],
    width: usize,
) {
    for (block, out) in out.chunks_mut(ROWS_PER_BLOCK * width).enumerate() {
        let start = block * ROWS_PER_BLOCK;
        let rows = out.len() / width;
        let part = |at: usize| &column(at)[start..start + rows];
        let mut done = 0;
        while done + TOGETHER <= columns {
            let from: [&[E]; TOGETHER] = std::array::from_fn(|place| part(done + place));
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let values: [E; TOGETHER] = std::array::from_fn(|place| from[place][row]);
                out[done..done + TOGETHER].copy_from_slice(&values);
            }
            done += TOGETHER;
        }
        for at in done..columns {
            for (out, value) in out.chunks_exact_mut(width).zip(part(at)) {
                out[at] = *value;
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Memory that a thread keeps from one product to the next. While this thread waits for others it
/// may compute another product, which then has memory of its own.
pub fn with_scratch<R>(use_it: impl FnOnce(&mut Vec<f32>) -> R) -> R {
    let mut scratch = SCRATCH.with(|scratch| scratch.take());
    let result = use_it(&mut scratch);
    SCRATCH.with(|kept| kept.replace(scratch));
    result
}
