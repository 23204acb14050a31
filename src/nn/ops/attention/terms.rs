//! What distances add to the scores of a tile, and the way back.

use std::ops::Range;

use candle_core::Result;

use super::spec::{Distances, Relative};
use super::{Block, Shape, Tile};
use crate::nn::ops::tensor::Slice;
use crate::nn::product::{Columns, Matrix, Onto};
use crate::nn::vector::{each_with, simd};
use crate::nn::{Real, Weight};

/// The values that [`Relative`] reads, locked.
pub(super) struct Held<'a, T> {
    table: Option<Slice<'a, T>>,
    tensors: [Option<Slice<'a, T>>; 2],
}

impl<'a, T: Real> Held<'a, T> {
    pub fn new(relative: &'a Relative) -> Result<Self> {
        let table = relative.weight().map(|weight| Slice::new(weight)).transpose()?;
        let [keys, queries] = relative.tensors();
        let tensors = [keys.map(Slice::new).transpose()?, queries.map(Slice::new).transpose()?];
        Ok(Self { table, tensors })
    }
}

/// What distances add, for all tiles.
pub(super) enum Terms<'a, T> {
    Nothing,
    /// `[heads, distances]`
    Bias {
        values: Vec<T>,
        rows: &'a Distances,
    },
    /// Each `[rows, hidden]`.
    Disentangled {
        keys: Option<&'a [T]>,
        queries: Option<&'a [T]>,
        rows: &'a Distances,
    },
}

impl<'a, T: Real> Terms<'a, T> {
    pub fn new(relative: &'a Relative, held: &'a Held<T>, heads: usize) -> Self {
        match relative {
            Relative::Nothing => Terms::Nothing,
            Relative::Bias { rows, .. } => {
                let table = held.table.as_ref().map_or(&[][..], Slice::get);
                let of_head = |head: usize| {
                    rows.rows().iter().map(move |row| table[*row as usize * heads + head])
                };
                Terms::Bias { values: (0..heads).flat_map(of_head).collect(), rows }
            }
            Relative::Disentangled { rows, .. } => {
                let [keys, queries] = held.tensors.each_ref().map(|t| t.as_ref().map(Slice::get));
                Terms::Disentangled { keys, queries, rows }
            }
        }
    }

    /// Prepares what all blocks of a tile read. `k`: the tile's keys.
    pub fn of_tile(&self, shape: &Shape, tile: &Tile, k: Matrix<T>) -> TileTerms<'_, T> {
        match self {
            Terms::Nothing => TileTerms::Nothing,
            Terms::Bias { values, rows } => {
                let values = &values[tile.head * rows.len()..][..rows.len()];
                TileTerms::Bias { values, rows }
            }
            Terms::Disentangled { keys, queries, rows } => {
                let used = used_rows(rows, tile);
                let of_head = |table: &'a [T]| {
                    let first = used.start * shape.hidden() + tile.head * shape.head_dim;
                    Matrix::strided(&table[first..], used.len(), shape.head_dim, shape.hidden())
                };
                let (keys, queries) = (keys.map(of_head), queries.map(of_head));
                let mut by_key = Vec::new();
                if let Some(queries) = queries {
                    by_key = vec![T::ZERO; used.len() * tile.keys];
                    let out = Columns::new(&mut by_key, tile.keys);
                    let scale = T::of(shape.scale);
                    // SAFETY: `by_key` is borrowed exclusively.
                    unsafe { out.product(queries, k.transposed(), scale, Onto::Nothing) };
                }
                let scale = T::of(shape.scale);
                let tile_keys = tile.keys;
                TileTerms::Disentangled { keys, queries, rows, used, by_key, tile_keys, scale }
            }
        }
    }
}

/// The rows that the distances of a tile name lie in this range.
fn used_rows(rows: &Distances, tile: &Tile) -> Range<usize> {
    let (nearest, farthest) = tile.positions;
    let start = rows.places(farthest, &(0..tile.keys)).start;
    let end = rows.places(nearest, &(0..tile.keys)).end;
    let named = &rows.rows()[start..end];
    let least = named.iter().min().map_or(0, |row| *row as usize);
    let most = named.iter().max().map_or(0, |row| *row as usize + 1);
    least..most
}

/// What distances add to the scores of one tile.
pub(super) enum TileTerms<'a, T> {
    Nothing,
    Bias {
        /// By distance.
        values: &'a [T],
        rows: &'a Distances,
    },
    Disentangled {
        /// The used rows of the tile's head.
        keys: Option<Matrix<'a, T>>,
        queries: Option<Matrix<'a, T>>,
        rows: &'a Distances,
        used: Range<usize>,
        /// `[used, tile_keys]`: scaled products of rows of `queries` with the tile's keys.
        by_key: Vec<T>,
        tile_keys: usize,
        scale: T,
    },
}

impl<T: Real> TileTerms<'_, T> {
    /// Adds to the scores of a block, in rows of the block's width. `q`: the block's queries.
    pub fn add(&self, block: &Block, q: Matrix<T>, scores: &mut [T]) {
        let lines = || block.positions.iter().zip(0..).map(|(position, place)| (*position, place));
        match self {
            TileTerms::Nothing => {}
            TileTerms::Bias { values, rows } => simd(
                #[inline(always)]
                || {
                    for (position, place) in lines() {
                        let scores = &mut scores[place * block.width()..];
                        let bias = &values[rows.places(position, &block.keys)];
                        each_with(scores, bias, |score, bias| score + bias);
                    }
                },
            ),
            TileTerms::Disentangled { keys, rows, used, by_key, tile_keys, scale, .. } => {
                let by_query = keys.map(|keys| {
                    let mut products = vec![T::ZERO; block.positions.len() * used.len()];
                    let out = Columns::new(&mut products, used.len());
                    // SAFETY: `products` is borrowed exclusively.
                    unsafe { out.product(q, keys.transposed(), *scale, Onto::Nothing) };
                    products
                });
                for (position, place) in lines() {
                    let named = &rows.rows()[rows.places(position, &block.keys)];
                    let scores = &mut scores[place * block.width()..][..named.len()];
                    if let Some(by_query) = &by_query {
                        let own = &by_query[place * used.len()..][..used.len()];
                        for (score, row) in scores.iter_mut().zip(named) {
                            *score += own[*row as usize - used.start];
                        }
                    }
                    if !by_key.is_empty() {
                        for ((score, row), key) in
                            scores.iter_mut().zip(named).zip(block.keys.clone())
                        {
                            *score += by_key[(*row as usize - used.start) * tile_keys + key];
                        }
                    }
                }
            }
        }
    }

    /// Of what [`Self::by_key`] holds, the gradient: zeros.
    pub fn no_gradient(&self) -> Vec<T> {
        match self {
            TileTerms::Disentangled { by_key, .. } => vec![T::ZERO; by_key.len()],
            _ => Vec::new(),
        }
    }

    /// From the gradient of a block's scores: adds to `dq`, to the sum and to `dby_key`.
    ///
    /// # Safety
    /// No other thread uses the elements of `dq` meanwhile.
    pub unsafe fn backward_block(
        &self,
        block: &Block,
        q: Matrix<T>,
        ds: &[T],
        dq: &Columns<T>,
        dby_key: &mut [T],
        sum: &mut Sum<T>,
    ) {
        let lines = || block.positions.iter().zip(ds.chunks_exact(block.width())).enumerate();
        match (self, sum) {
            (TileTerms::Nothing, _) => {}
            (TileTerms::Bias { rows, .. }, sum) => {
                let Sum::Bias(sum) = sum else { return };
                simd(
                    #[inline(always)]
                    || {
                        for (_, (position, ds)) in lines() {
                            let sum = &mut sum[rows.places(*position, &block.keys)];
                            each_with(sum, ds, |sum, ds| sum + ds);
                        }
                    },
                );
            }
            (TileTerms::Disentangled { keys, rows, used, tile_keys, scale, .. }, sum) => {
                let count = block.positions.len();
                let mut dby_query =
                    vec![T::ZERO; if keys.is_some() { count * used.len() } else { 0 }];
                for (place, (position, ds)) in lines() {
                    let named = &rows.rows()[rows.places(*position, &block.keys)];
                    if keys.is_some() {
                        let own = &mut dby_query[place * used.len()..][..used.len()];
                        for (ds, row) in ds.iter().zip(named) {
                            own[*row as usize - used.start] += *ds;
                        }
                    }
                    if !dby_key.is_empty() {
                        for ((ds, row), key) in ds.iter().zip(named).zip(block.keys.clone()) {
                            dby_key[(*row as usize - used.start) * tile_keys + key] += *ds;
                        }
                    }
                }
                let Some(keys) = keys else { return };
                let dby_query = Matrix::new(&dby_query, count, used.len());
                // SAFETY: promised by the caller.
                unsafe { dq.product(dby_query, *keys, *scale, Onto::Itself) };
                if let Sum::Disentangled([Some(sum), _]) = sum {
                    sum.add(used, dby_query.transposed(), q, *scale);
                }
            }
        }
    }

    /// From the gradient of `by_key`: adds to `dk` and to the sum. `k`: the tile's keys.
    ///
    /// # Safety
    /// No other thread uses the elements of `dk` meanwhile.
    pub unsafe fn backward_tile(
        &self,
        k: Matrix<T>,
        dk: &Columns<T>,
        dby_key: &[T],
        sum: &mut Sum<T>,
    ) {
        let TileTerms::Disentangled { queries: Some(queries), used, tile_keys, scale, .. } = self
        else {
            return;
        };
        let dby_key = Matrix::new(dby_key, used.len(), *tile_keys);
        // SAFETY: promised by the caller.
        unsafe { dk.product(dby_key.transposed(), *queries, *scale, Onto::Itself) };
        if let Sum::Disentangled([_, Some(sum)]) = sum {
            sum.add(used, dby_key, k, *scale);
        }
    }
}

/// Gradients of what all tiles of a head read, summed over some of them.
pub(super) enum Sum<T> {
    Nothing,
    /// By distance.
    Bias(Vec<T>),
    /// Of `keys` and of `queries`, where they are wanted.
    Disentangled([Option<Rows<T>>; 2]),
}

/// `[rows, head_dim]`
pub(super) struct Rows<T> {
    values: Vec<T>,
    head_dim: usize,
}

impl<T: Real> Rows<T> {
    /// Adds `scale · left × right` to some of the rows.
    fn add(&mut self, rows: &Range<usize>, left: Matrix<T>, right: Matrix<T>, scale: T) {
        let some = &mut self.values[rows.start * self.head_dim..rows.end * self.head_dim];
        let out = Columns::new(some, self.head_dim);
        // SAFETY: `self` is borrowed exclusively.
        unsafe { out.product(left, right, scale, Onto::Itself) };
    }
}

impl<T: Real> Sum<T> {
    /// Zeros. `wanted`: whether the gradients of [`Relative::tensors`] are.
    pub fn new(relative: &Relative, wanted: [bool; 2], head_dim: usize) -> Self {
        match relative {
            Relative::Bias { table, rows } if table.is_trainable() => {
                Sum::Bias(vec![T::ZERO; rows.len()])
            }
            Relative::Disentangled { .. } => {
                let [keys, queries] = relative.tensors();
                let zeros = |table: Option<&candle_core::Tensor>, wanted: bool| {
                    let rows = table.filter(|_| wanted)?.dim(0).ok()?;
                    Some(Rows { values: vec![T::ZERO; rows * head_dim], head_dim })
                };
                Sum::Disentangled([zeros(keys, wanted[0]), zeros(queries, wanted[1])])
            }
            _ => Sum::Nothing,
        }
    }
}

/// Adds the sums, each of one head, in their order to the gradient of a table `[rows, heads]`.
pub(super) fn add_to_table<T: Real>(
    table: &Weight,
    rows: &Distances,
    heads: usize,
    sums: &[(usize, Sum<T>)],
) -> Result<()> {
    if !table.is_trainable() {
        return Ok(());
    }
    table.contribute::<T>(|out, is_first| {
        if is_first {
            out.fill(T::ZERO);
        }
        for (head, sum) in sums {
            let Sum::Bias(sum) = sum else { continue };
            for (row, value) in rows.rows().iter().zip(sum) {
                out[*row as usize * heads + head] += *value;
            }
        }
    })
}

/// The sums, each of one head, added in their order: the gradient of a tensor `[rows, hidden]`.
/// `which`: 0 for keys, 1 for queries.
pub(super) fn gradient_of<T: Real>(
    which: usize,
    shape: &Shape,
    sums: &[(usize, Sum<T>)],
) -> Option<Vec<T>> {
    let mut out = Vec::new();
    for (head, sum) in sums {
        let Sum::Disentangled(both) = sum else { return None };
        let sum = both[which].as_ref()?;
        let rows = sum.values.chunks_exact(shape.head_dim);
        out.resize(rows.len() * shape.hidden(), T::ZERO);
        for (out, sum) in out.chunks_exact_mut(shape.hidden()).zip(rows) {
            each_with(&mut out[head * shape.head_dim..], sum, |out, sum| out + sum);
        }
    }
    Some(out)
}
