//! Scaled dot-product attention within the sequences of a concatenated batch. The only operation
//! that reads the offsets. Which keys are seen, and what distances add to the scores, are values of
//! its [`AttentionSpec`].
//!
//! Works on tiles of one sequence and head, cut into blocks of queries, in parallel; of a mask that
//! hides far keys, a block computes only the keys that one of its queries sees. Of the forward only the
//! logarithm of each query's sum of exponentials is kept; the backward computes the probabilities
//! again. Source: Dao et al., "FlashAttention" (2022), without the blocks over keys.

mod reference;
mod spec;
mod terms;
#[cfg(test)]
mod tests;

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::dropout::{self, Dropper, Row};
use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::written;
use crate::nn::product::{Columns, Matrix, Onto};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{self, each, each_with, simd};

pub use reference::reference;
pub use spec::{AttentionMask, AttentionSpec, Distances, Padding, Relative};
use terms::{Held, Sum, Terms};

/// `query` `[queries, hidden]`, `key`, `value` `[tokens, hidden]`; returns `[queries, hidden]`.
///
/// softmax(scale · q kᵀ + what distances add) v for each head, each sequence by itself. Fails if
/// `hidden` is not a multiple of `heads`, if offsets, positions and rows do not fit, or if a query sees
/// no key.
pub fn attention(
    tape: &Tape,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, dropper) = spec.check(query, key, value)?;
    let op = Attention { spec: spec.clone(), head_dim, dropper };
    let (y, log_sums) = by_dtype!(query, T => {
        let [q, k, v] = [query, key, value].map(Slice::<T>::new);
        let (q, k, v) = (q?, k?, v?);
        let held = Held::new(&spec.relative)?;
        let terms = Terms::new(&spec.relative, &held, spec.heads);
        let (out, log_sums) = op.forward::<T>(q.get(), k.get(), v.get(), &terms);
        (Tensor::from_vec(out, query.shape(), query.device())?, log_sums)
    });
    let tables = spec.relative.tensors();
    let read: Vec<&Tensor> =
        [query, key, value].into_iter().chain(tables.into_iter().flatten()).collect();
    if tape.needs(&read, spec.relative.weight()) {
        let inputs = [query, key, value].map(|input| (input.clone(), tape.tracks(input)));
        let wanted = tables.map(|table| table.is_some_and(|table| tape.tracks(table)));
        tape.record(&y, move |dy, gradients| {
            let [q, k, v] = inputs.each_ref().map(|(input, _)| input);
            let (found, of_tables) = by_dtype!(q, T => {
                let (found, of_tables) =
                    op.backward::<T>([q, k, v], &log_sums, dy.get()?, wanted)?;
                (found.map(Gradient::new), of_tables.map(|values| values.map(Gradient::new)))
            });
            for ((input, tracked), gradient) in inputs.iter().zip(found) {
                if *tracked {
                    gradients.add(input.id(), gradient)?;
                }
            }
            for (table, gradient) in op.spec.relative.tensors().into_iter().zip(of_tables) {
                if let (Some(table), Some(gradient)) = (table, gradient) {
                    gradients.add(table.id(), gradient)?;
                }
            }
            Ok(())
        });
    }
    Ok(y)
}

/// Queries of one block, so that its scores stay in the cache.
const QUERIES_PER_BLOCK: usize = 128;
/// Sequences over which the gradients of tables are summed before all sums are added up.
const SEQUENCES_PER_SUM: usize = 8;

struct Attention {
    spec: AttentionSpec,
    head_dim: usize,
    dropper: Option<Dropper>,
}

/// What all tiles have in common.
struct Shape {
    heads: usize,
    head_dim: usize,
    scale: f64,
}

impl Shape {
    fn hidden(&self) -> usize {
        self.heads * self.head_dim
    }
}

/// One sequence and head.
#[derive(Clone, Copy)]
struct Tile {
    sequence: usize,
    head: usize,
    query_start: usize,
    queries: usize,
    key_start: usize,
    keys: usize,
    /// The least and the greatest place of a query among the keys.
    positions: (usize, usize),
}

/// Some queries of a tile, and the keys that they see among them.
struct Block {
    /// The first query's row in the tile.
    first: usize,
    /// The place of each query among the keys of the tile.
    positions: Vec<usize>,
    keys: Range<usize>,
}

impl Block {
    /// Elements of a row of scores: whole vectors.
    fn width(&self) -> usize {
        self.keys.len().next_multiple_of(vector::LANES)
    }

    /// scale · left rightᵀ for each pair of a query and a key, in rows of [`Self::width`].
    fn scores<T: Real>(&self, out: &mut [T], left: Matrix<T>, right: Matrix<T>, scale: T) {
        let out = Columns::new(out, self.width());
        let out = out.part(0, self.positions.len(), 0, self.keys.len());
        // SAFETY: `out` is borrowed exclusively.
        unsafe { out.product(left, right.transposed(), scale, Onto::Nothing) };
    }
}

impl Attention {
    fn shape(&self) -> Shape {
        Shape { heads: self.spec.heads, head_dim: self.head_dim, scale: self.spec.scale }
    }

    /// The tiles of a head, a few sequences at a time.
    fn jobs(&self) -> Vec<Vec<Tile>> {
        let (queries, keys) = (self.spec.query_offsets.ranges(), self.spec.key_offsets.ranges());
        let sequences: Vec<_> = queries.zip(keys).enumerate().collect();
        let tile = |head: usize, sequence: &(usize, (Range<usize>, Range<usize>))| {
            let (sequence, (queries, keys)) = sequence;
            let counts = [queries.len(), keys.len()];
            let positions = queries.clone().enumerate();
            let positions = positions.map(|(query, row)| self.spec.position(query, row, counts));
            let least = positions.clone().min().unwrap_or(0);
            Tile {
                sequence: *sequence,
                head,
                query_start: queries.start,
                queries: queries.len(),
                key_start: keys.start,
                keys: keys.len(),
                positions: (least, positions.max().unwrap_or(0)),
            }
        };
        // Where nothing is summed over sequences, each may go to a thread of its own.
        let together = match self.spec.relative {
            Relative::Nothing => 1,
            _ => SEQUENCES_PER_SUM,
        };
        sequences
            .chunks(together)
            .flat_map(|some| {
                (0..self.spec.heads)
                    .map(move |head| some.iter().map(|sequence| tile(head, sequence)).collect())
            })
            .collect()
    }

    fn blocks(&self, tile: &Tile) -> impl Iterator<Item = Block> {
        let (spec, tile) = (&self.spec, *tile);
        // Units of dropout come in groups, of which none is drawn in part.
        let group = if self.dropper.is_some() { dropout::UNITS } else { 1 };
        (0..tile.queries).step_by(QUERIES_PER_BLOCK).map(move |first| {
            let end = (first + QUERIES_PER_BLOCK).min(tile.queries);
            let counts = [tile.queries, tile.keys];
            let positions = (first..end)
                .map(|query| spec.position(query, tile.query_start + query, counts))
                .collect::<Vec<_>>();
            let visible = positions.iter().map(|position| {
                match spec.visible(tile.sequence, *position, tile.keys) {
                    // Blind: it attends to all.
                    nothing if nothing.is_empty() => 0..tile.keys,
                    visible => visible,
                }
            });
            let start = visible.clone().map(|keys| keys.start).min().unwrap_or(0);
            let end = visible.map(|keys| keys.end).max().unwrap_or(0);
            Block { first, positions, keys: start / group * group..end }
        })
    }

    /// Rows of one head of a `[rows, hidden]` matrix.
    fn head<'a, T: Real>(
        &self,
        x: &'a [T],
        head: usize,
        start: usize,
        rows: usize,
    ) -> Matrix<'a, T> {
        let hidden = self.shape().hidden();
        let first = start * hidden + head * self.head_dim;
        Matrix::strided(&x[first..], rows, self.head_dim, hidden)
    }

    fn columns<'a, T: Real>(
        &self,
        out: &Columns<'a, T>,
        head: usize,
        start: usize,
        rows: usize,
    ) -> Columns<'a, T> {
        out.part(start, rows, head * self.head_dim, self.head_dim)
    }

    /// Also returns ln Σ exp(score), `[heads, queries]`.
    fn forward<T: Real>(
        &self,
        query: &[T],
        key: &[T],
        value: &[T],
        terms: &Terms<T>,
    ) -> (Vec<T>, Vec<f64>) {
        let shape = self.shape();
        let hidden = shape.hidden();
        let rows = query.len() / hidden;
        let scale = T::of(shape.scale);
        let mut log_sums = vec![0.0; shape.heads * rows];
        let out = written(query.len(), |out| {
            let out = Columns::new(out, hidden);
            let log_sums = Columns::new(&mut log_sums, rows);
            self.jobs().concat().into_par_iter().for_each(|tile| {
                let all = self.head(key, tile.head, tile.key_start, tile.keys);
                let terms = terms.of_tile(&shape, &tile, all);
                let mut scores = Vec::new();
                for block in self.blocks(&tile) {
                    let (start, count) = (tile.query_start + block.first, block.positions.len());
                    let q = self.head(query, tile.head, start, count);
                    let first_key = tile.key_start + block.keys.start;
                    let k = self.head(key, tile.head, first_key, block.keys.len());
                    let v = self.head(value, tile.head, first_key, block.keys.len());
                    let width = block.width();
                    scores.resize(count * width, T::ZERO);
                    block.scores(&mut scores, q, k, scale);
                    terms.add(&block, q, &mut scores);
                    // SAFETY: no other tile has these queries of this head.
                    let log_sums = unsafe { log_sums.part(tile.head, 1, start, count).row(0) };
                    simd(
                        #[inline(always)]
                        || {
                            for (place, row) in scores.chunks_exact_mut(width).enumerate() {
                                log_sums[place] = self.softmax(&tile, &block, place, row);
                            }
                        },
                    );
                    let scores = Matrix::strided(&scores, count, block.keys.len(), width);
                    let out = self.columns(&out, tile.head, start, count);
                    // SAFETY: no other tile writes to these rows and columns.
                    unsafe { out.product(scores, v, T::ONE, Onto::Nothing) };
                }
            });
        });
        (out, log_sums)
    }

    /// The keys that a query of a block sees, counted from the block's first; none where it is blind.
    #[inline(always)]
    fn visible(&self, tile: &Tile, block: &Block, place: usize) -> Range<usize> {
        let visible = self.spec.visible(tile.sequence, block.positions[place], tile.keys);
        match visible.is_empty() {
            true => 0..0,
            false => visible.start - block.keys.start..visible.end - block.keys.start,
        }
    }

    /// Where dropout draws for a query of a block.
    #[inline(always)]
    fn dropping(&self, tile: &Tile, block: &Block, place: usize) -> Option<(&Dropper, Row)> {
        let (dropper, at) = (self.dropper.as_ref()?, self.spec.dropout.as_ref()?);
        let row = tile.query_start + block.first + place;
        Some((dropper, Row::Query(at.rows[row], tile.head)))
    }

    /// From scores to what values are multiplied with; returns ln Σ exp(score).
    #[inline(always)]
    fn softmax<T: Real>(&self, tile: &Tile, block: &Block, place: usize, row: &mut [T]) -> f64 {
        let row = scores_seen(row, self.visible(tile, block, place), block);
        let most = vector::max(row);
        each(row, |x| (x - most).exp());
        let sum = vector::sum(row, |x| x);
        let scale = T::ONE / sum;
        each(row, |x| x * scale);
        if let Some((dropper, place)) = self.dropping(tile, block, place) {
            dropper.scale(place, block.keys.start, row);
        }
        most.to_f64() + sum.to_f64().ln()
    }

    /// Gradients of query, key and value, and of the tables that distances name where they are
    /// `wanted`.
    #[allow(clippy::type_complexity)]
    fn backward<T: Real>(
        &self,
        [query, key, value]: [&Tensor; 3],
        log_sums: &[f64],
        dy: &[T],
        wanted: [bool; 2],
    ) -> Result<([Vec<T>; 3], [Option<Vec<T>>; 2])> {
        let [q_slice, k_slice, v_slice] = [query, key, value].map(Slice::<T>::new);
        let (q_slice, k_slice, v_slice) = (q_slice?, k_slice?, v_slice?);
        let (q, k, v) = (q_slice.get(), k_slice.get(), v_slice.get());
        let relative = &self.spec.relative;
        let held = Held::new(relative)?;
        let terms = Terms::new(relative, &held, self.spec.heads);
        let shape = self.shape();
        let hidden = shape.hidden();

        let (mut dk, mut dv, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        let dq = written(q.len(), |dq| {
            dk = written(k.len(), |dk| {
                dv = written(k.len(), |dv| {
                    let way = Back {
                        op: self,
                        shape: self.shape(),
                        terms: &terms,
                        inputs: [q, k, v],
                        log_sums,
                        dy,
                        outputs: [dq, dk, dv].map(|out| Columns::new(out, hidden)),
                    };
                    let jobs = self.jobs();
                    sums = jobs
                        .into_par_iter()
                        .map(|tiles| {
                            let head = tiles.first().map_or(0, |tile| tile.head);
                            let mut sum = Sum::new(relative, wanted, self.head_dim);
                            // SAFETY: no other job has these sequences of this head.
                            tiles.iter().for_each(|tile| unsafe { way.tile(tile, &mut sum) });
                            (head, sum)
                        })
                        .collect();
                });
            });
        });
        if let Relative::Bias { table, rows } = relative {
            terms::add_to_table(table, rows, self.spec.heads, &sums)?;
        }
        let of_tables = [0, 1].map(|which| terms::gradient_of(which, &shape, &sums));
        Ok(([dq, dk, dv], of_tables))
    }

    /// `p` holds scores and becomes what values were multiplied with; `ds` holds dy·v and becomes the
    /// gradient of the scores: p·(dp − Σ p·dp).
    #[inline(always)]
    fn backward_row<T: Real>(
        &self,
        (tile, block, place): (&Tile, &Block, usize),
        log_sum: f64,
        p: &mut [T],
        ds: &mut [T],
        factors: &mut [T],
    ) {
        let visible = self.visible(tile, block, place);
        let blind = visible.is_empty();
        let p = scores_seen(p, visible.clone(), block);
        let ds = whole_vectors(ds, if blind { 0..block.keys.len() } else { visible }, T::ZERO);
        let passes_gradient = self.spec.padding.as_ref().is_none_or(|padding| padding.asks);
        let factors = &mut factors[..p.len()];
        let log_sum = T::of(log_sum);
        each(p, |p| (p - log_sum).exp());
        let Some((dropper, row)) = self.dropping(tile, block, place) else {
            let along = vector::dot(p, ds);
            each_with(ds, p, |ds, p| p * (ds - along));
            if blind && !passes_gradient {
                ds.fill(T::ZERO);
            }
            return;
        };
        dropper.factors(row, block.keys.start, factors);
        each_with(ds, factors, |ds, factor| ds * factor);
        let along = vector::dot(p, ds);
        each_with(ds, p, |ds, p| p * (ds - along));
        each_with(p, factors, |p, factor| p * factor);
        if blind && !passes_gradient {
            ds.fill(T::ZERO);
        }
    }
}

/// The way back: what all tiles read, and the gradients of query, key and value that they write.
struct Back<'a, T> {
    op: &'a Attention,
    shape: Shape,
    terms: &'a Terms<'a, T>,
    inputs: [&'a [T]; 3],
    log_sums: &'a [f64],
    dy: &'a [T],
    outputs: [Columns<'a, T>; 3],
}

impl<T: Real> Back<'_, T> {
    /// Writes a tile's part of the gradients, and adds to the sum.
    ///
    /// # Safety
    /// No other thread has this tile's sequence and head.
    unsafe fn tile(&self, tile: &Tile, sum: &mut Sum<T>) {
        let (op, [query, key, value]) = (self.op, self.inputs);
        let rows = query.len() / self.shape.hidden();
        let scale = T::of(self.shape.scale);
        let [dq, dk, dv] = &self.outputs;
        let of_tile = [dk, dv].map(|out| op.columns(out, tile.head, tile.key_start, tile.keys));
        let all = op.head(key, tile.head, tile.key_start, tile.keys);
        let terms = self.terms.of_tile(&self.shape, tile, all);
        let mut dby_key = terms.no_gradient();
        // A mask may hide keys from every query of a block.
        let all_in_each_block = op.spec.mask == AttentionMask::Full && op.spec.padding.is_none();
        if !all_in_each_block {
            for (row, out) in
                (0..tile.keys).flat_map(|row| of_tile.iter().map(move |out| (row, out)))
            {
                // SAFETY: promised by the caller.
                unsafe { out.row(row).fill(T::ZERO) };
            }
        }
        // Probabilities, then dropped ones, then gradients of the scores.
        let (mut p, mut ds, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        for block in op.blocks(tile) {
            let (start, count) = (tile.query_start + block.first, block.positions.len());
            let (first_key, keys) = (tile.key_start + block.keys.start, block.keys.len());
            let q = op.head(query, tile.head, start, count);
            let dy = op.head(self.dy, tile.head, start, count);
            let k = op.head(key, tile.head, first_key, keys);
            let v = op.head(value, tile.head, first_key, keys);
            let dk = op.columns(dk, tile.head, first_key, keys);
            let dv = op.columns(dv, tile.head, first_key, keys);
            let dq = op.columns(dq, tile.head, start, count);
            let width = block.width();
            p.resize(count * width, T::ZERO);
            ds.resize(count * width, T::ZERO);
            factors.resize(width, T::ONE);
            block.scores(&mut p, q, k, scale);
            terms.add(&block, q, &mut p);
            block.scores(&mut ds, dy, v, T::ONE);
            let log_sums = &self.log_sums[tile.head * rows + start..][..count];
            simd(
                #[inline(always)]
                || {
                    let rows = p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width));
                    for ((place, (p, ds)), &log_sum) in rows.enumerate().zip(log_sums) {
                        op.backward_row((tile, &block, place), log_sum, p, ds, &mut factors);
                    }
                },
            );
            let onto = Onto::sum(all_in_each_block && block.first == 0);
            {
                let p = Matrix::strided(&p, count, keys, width);
                let ds = Matrix::strided(&ds, count, keys, width);
                // SAFETY: promised by the caller.
                unsafe {
                    dv.product(p.transposed(), dy, T::ONE, onto);
                    dk.product(ds.transposed(), q, scale, onto);
                    dq.product(ds, k, scale, Onto::Nothing);
                }
            }
            // SAFETY: promised by the caller.
            unsafe { terms.backward_block(&block, q, &ds, &dq, &mut dby_key, sum) };
        }
        // SAFETY: promised by the caller.
        unsafe { terms.backward_tile(all, &of_tile[0], &dby_key, sum) };
    }
}

/// A row of scores of which only the visible ones count. Who sees none has equal scores for all.
#[inline(always)]
fn scores_seen<'a, T: Real>(row: &'a mut [T], visible: Range<usize>, block: &Block) -> &'a mut [T] {
    let all = 0..block.keys.len();
    if visible.is_empty() {
        row[all.clone()].fill(T::ZERO);
    }
    whole_vectors(row, if visible.is_empty() { all } else { visible }, T::NEGATIVE_INFINITY)
}

/// The `visible` elements of a row of scores with all before them, filled up with `nothing` to whole
/// vectors; what lies behind is zero. Loops over the rest of a vector take longer than over all of it.
#[inline(always)]
fn whole_vectors<T: Real>(row: &mut [T], visible: Range<usize>, nothing: T) -> &mut [T] {
    let end = visible.end.next_multiple_of(vector::LANES).min(row.len());
    let (row, behind) = row.split_at_mut(end);
    row[..visible.start].fill(nothing);
    row[visible.end..].fill(nothing);
    behind.fill(T::ZERO);
    row
}
