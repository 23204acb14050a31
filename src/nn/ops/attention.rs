//! Scaled dot-product attention within the sequences of a concatenated batch. The only operation
//! that reads the offsets.
//!
//! Works on tiles of one sequence, one head and a block of queries, in parallel. Of the forward only
//! the logarithm of each query's sum of exponentials is kept; the backward computes the
//! probabilities again. Source: Dao et al., "FlashAttention" (2022), without the blocks over keys.

use std::ops::Range;

use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

use super::dropout::{DropoutAt, Dropper, Row};
use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::written;
use crate::nn::product::{Columns, Matrix, Onto};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{self, each, each_with, simd};
use crate::nn::{Offsets, Real};

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionMask {
    /// Every key of its sequence.
    Full,
    /// Keys up to its own position. If a sequence has fewer queries than keys, the queries are its
    /// last positions.
    Causal,
}

impl AttentionMask {
    /// The keys that query `query` of `queries` sees among `keys`.
    pub fn visible(self, query: usize, queries: usize, keys: usize) -> Range<usize> {
        match self {
            AttentionMask::Full => 0..keys,
            AttentionMask::Causal => 0..(keys + query + 1).saturating_sub(queries).min(keys),
        }
    }
}

/// What attention is computed with, besides queries, keys and values.
#[derive(Debug, Clone)]
pub struct AttentionSpec {
    pub heads: usize,
    /// Where the queries of each sequence are.
    pub query_offsets: Offsets,
    /// Where its keys and values are. As many sequences.
    pub key_offsets: Offsets,
    /// What the products of queries and keys are multiplied with: 1/√(hidden / heads).
    pub scale: f64,
    pub mask: AttentionMask,
    /// Dropout of the probabilities; its rows are those of the queries.
    pub dropout: Option<DropoutAt>,
}

/// `query` `[queries, hidden]`, `key`, `value` `[tokens, hidden]`; returns `[queries, hidden]`.
///
/// softmax(scale · q kᵀ) v for each head, each sequence by itself. Fails if `hidden` is not a
/// multiple of `heads`, if offsets and rows do not fit, or if a causal sequence has more queries than
/// keys.
pub fn attention(
    tape: &Tape,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, dropper) = check(query, key, value, spec)?;
    let op = Attention { spec: spec.clone(), head_dim, dropper };
    let (y, log_sums) = by_dtype!(query, T => {
        let [q, k, v] = [query, key, value].map(Slice::<T>::new);
        let (q, k, v) = (q?, k?, v?);
        let (out, log_sums) = op.forward::<T>(q.get(), k.get(), v.get());
        (Tensor::from_vec(out, query.shape(), query.device())?, log_sums)
    });
    if tape.needs(&[query, key, value], []) {
        let inputs = [query, key, value].map(|input| (input.clone(), tape.tracks(input)));
        tape.record(&y, move |dy, gradients| {
            let [q, k, v] = inputs.each_ref().map(|(input, _)| input);
            let found = by_dtype!(q, T => {
                op.backward::<T>([q, k, v], &log_sums, dy.get()?)?.map(Gradient::new)
            });
            for ((input, tracked), gradient) in inputs.iter().zip(found) {
                if *tracked {
                    gradients.add(input.id(), gradient)?;
                }
            }
            Ok(())
        });
    }
    Ok(y)
}

/// [`attention`] of candle's primitives, sequence by sequence.
pub fn reference(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, dropper) = check(query, key, value, spec)?;
    let heads = spec.heads;
    let mut outputs = Vec::new();
    for (queries, keys) in spec.query_offsets.ranges().zip(spec.key_offsets.ranges()) {
        // [heads, rows, head_dim]
        let split = |x: &Tensor, rows: &Range<usize>| {
            x.narrow(0, rows.start, rows.len())?
                .reshape((rows.len(), heads, head_dim))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (q, k, v) = (split(query, &queries)?, split(key, &keys)?, split(value, &keys)?);
        let mut masked = Vec::with_capacity(queries.len() * keys.len());
        for place in 0..queries.len() {
            let visible = spec.mask.visible(place, queries.len(), keys.len());
            masked.extend(
                (0..keys.len()).map(|key| if visible.contains(&key) { 0.0 } else { -1e30 }),
            );
        }
        let shape = (queries.len(), keys.len());
        let masked = Tensor::from_vec(masked, shape, query.device())?.to_dtype(query.dtype())?;
        // [heads, queries, keys]
        let scores = (q.matmul(&k.t()?)? * spec.scale)?.broadcast_add(&masked)?;
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
        let exp = scores.exp()?;
        let mut probabilities = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
        if let (Some(dropper), Some(at)) = (&dropper, &spec.dropout) {
            let mut factors = Vec::with_capacity(heads * shape.0 * shape.1);
            for head in 0..heads {
                for row in queries.clone() {
                    let row = Row::Query(at.rows[row], head);
                    factors.extend((0..keys.len()).map(|key| dropper.factor(row, key)));
                }
            }
            let factors = Tensor::from_vec(factors, (heads, shape.0, shape.1), query.device())?;
            probabilities = (probabilities * factors.to_dtype(query.dtype())?)?;
        }
        let context = probabilities.matmul(&v)?.transpose(0, 1)?; // [queries, heads, head_dim]
        outputs.push(context.reshape((queries.len(), heads * head_dim))?);
    }
    match outputs.is_empty() {
        true => query.zeros_like(),
        false => Tensor::cat(&outputs, 0),
    }
}

fn check(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    spec: &AttentionSpec,
) -> Result<(usize, Option<Dropper>)> {
    let (queries, hidden) = query.dims2()?;
    let (keys, _) = key.dims2()?;
    let heads = spec.heads;
    if heads == 0 || hidden == 0 || hidden % heads != 0 {
        bail!("attention: {hidden} columns cannot be divided among {heads} heads")
    }
    if key.dims() != value.dims() || key.dim(1)? != hidden {
        bail!(
            "attention: queries {:?}, keys {:?}, values {:?}",
            query.dims(),
            key.dims(),
            value.dims()
        )
    }
    let (query_offsets, key_offsets) = (&spec.query_offsets, &spec.key_offsets);
    if query_offsets.sequences() != key_offsets.sequences()
        || query_offsets.tokens() != queries
        || key_offsets.tokens() != keys
    {
        bail!(
            "attention: offsets of {} and {} sequences with {} queries and {} keys for tensors of {queries} and {keys} rows",
            query_offsets.sequences(),
            key_offsets.sequences(),
            query_offsets.tokens(),
            key_offsets.tokens()
        )
    }
    for (sequence, (queries, keys)) in query_offsets.ranges().zip(key_offsets.ranges()).enumerate()
    {
        if spec.mask.visible(0, queries.len(), keys.len()).is_empty() {
            bail!(
                "attention: sequence {sequence} has {} queries for {} keys: the first sees none",
                queries.len(),
                keys.len()
            )
        }
    }
    let dropper = spec.dropout.as_ref().map(|at| at.dropper(queries)).transpose()?;
    Ok((hidden / heads, dropper))
}

/// Queries of one tile, so that its scores stay in the cache.
const QUERIES_PER_BLOCK: usize = 128;

struct Attention {
    spec: AttentionSpec,
    head_dim: usize,
    dropper: Option<Dropper>,
}

/// One sequence and head.
#[derive(Clone, Copy)]
struct Tile {
    head: usize,
    query_start: usize,
    queries: usize,
    key_start: usize,
    keys: usize,
}

impl Attention {
    fn tiles(&self) -> Vec<Tile> {
        let (queries, keys) = (self.spec.query_offsets.ranges(), self.spec.key_offsets.ranges());
        let sequences = queries.zip(keys);
        sequences
            .flat_map(|(queries, keys)| {
                (0..self.spec.heads).map(move |head| Tile {
                    head,
                    query_start: queries.start,
                    queries: queries.len(),
                    key_start: keys.start,
                    keys: keys.len(),
                })
            })
            .collect()
    }

    fn hidden(&self) -> usize {
        self.spec.heads * self.head_dim
    }

    /// Rows of one head of a `[rows, hidden]` matrix.
    fn head<'a, T: Real>(
        &self,
        x: &'a [T],
        head: usize,
        start: usize,
        rows: usize,
    ) -> Matrix<'a, T> {
        let hidden = self.hidden();
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
    fn forward<T: Real>(&self, query: &[T], key: &[T], value: &[T]) -> (Vec<T>, Vec<f64>) {
        let hidden = self.hidden();
        let rows = query.len() / hidden;
        let mut log_sums = vec![0.0; self.spec.heads * rows];
        let out = written(query.len(), |out| {
            let out = Columns::new(out, hidden);
            let log_sums = Columns::new(&mut log_sums, rows);
            self.tiles().into_par_iter().for_each(|tile| {
                let k = self.head(key, tile.head, tile.key_start, tile.keys);
                let v = self.head(value, tile.head, tile.key_start, tile.keys);
                let mut scores = Vec::new();
                for block in blocks(tile.queries) {
                    let start = tile.query_start + block.start;
                    let q = self.head(query, tile.head, start, block.len());
                    let width = tile.width();
                    scores.resize(block.len() * width, T::ZERO);
                    let scale = T::of(self.spec.scale);
                    tile.scores(&mut scores, q, k, scale);
                    // SAFETY: no other tile has these queries of this head.
                    let log_sums =
                        unsafe { log_sums.part(tile.head, 1, start, block.len()).row(0) };
                    simd(
                        #[inline(always)]
                        || {
                            for (place, row) in scores.chunks_exact_mut(width).enumerate() {
                                let query = block.start + place;
                                log_sums[place] = self.softmax(&tile, query, row);
                            }
                        },
                    );
                    let scores = Matrix::strided(&scores, block.len(), tile.keys, width);
                    let out = self.columns(&out, tile.head, start, block.len());
                    // SAFETY: no other tile writes to these rows and columns.
                    unsafe { out.product(scores, v, T::ONE, Onto::Nothing) };
                }
            });
        });
        (out, log_sums)
    }

    /// From scores to what values are multiplied with; returns ln Σ exp(score).
    #[inline(always)]
    fn softmax<T: Real>(&self, tile: &Tile, query: usize, row: &mut [T]) -> f64 {
        let visible = self.spec.mask.visible(query, tile.queries, tile.keys);
        let row = whole_vectors(row, visible.end, T::NEGATIVE_INFINITY);
        let most = vector::max(row);
        each(row, |x| (x - most).exp());
        let sum = vector::sum(row, |x| x);
        let scale = T::ONE / sum;
        each(row, |x| x * scale);
        if let (Some(dropper), Some(at)) = (&self.dropper, &self.spec.dropout) {
            let place = Row::Query(at.rows[tile.query_start + query], tile.head);
            dropper.scale(place, row);
        }
        most.to_f64() + sum.to_f64().ln()
    }

    fn backward<T: Real>(
        &self,
        [query, key, value]: [&Tensor; 3],
        log_sums: &[f64],
        dy_all: &[T],
    ) -> Result<[Vec<T>; 3]> {
        let [q_slice, k_slice, v_slice] = [query, key, value].map(Slice::<T>::new);
        let (q_slice, k_slice, v_slice) = (q_slice?, k_slice?, v_slice?);
        let (q_all, k_all, v_all) = (q_slice.get(), k_slice.get(), v_slice.get());
        let hidden = self.hidden();
        let rows = q_all.len() / hidden;
        let scale = T::of(self.spec.scale);

        let (mut dk, mut dv) = (Vec::new(), Vec::new());
        let dq = written(q_all.len(), |dq| {
            dk = written(k_all.len(), |dk| {
                dv = written(k_all.len(), |dv| {
                    let (dq, dk) = (Columns::new(dq, hidden), Columns::new(dk, hidden));
                    let dv = Columns::new(dv, hidden);
                    self.tiles().into_par_iter().for_each(|tile| {
                        let k = self.head(k_all, tile.head, tile.key_start, tile.keys);
                        let v = self.head(v_all, tile.head, tile.key_start, tile.keys);
                        let dk = self.columns(&dk, tile.head, tile.key_start, tile.keys);
                        let dv = self.columns(&dv, tile.head, tile.key_start, tile.keys);
                        // Probabilities, then dropped ones, then gradients of the scores.
                        let (mut p, mut ds, mut factors) = (Vec::new(), Vec::new(), Vec::new());
                        for block in blocks(tile.queries) {
                            let start = tile.query_start + block.start;
                            let count = block.len();
                            let q = self.head(q_all, tile.head, start, count);
                            let dy = self.head(dy_all, tile.head, start, count);
                            let width = tile.width();
                            p.resize(count * width, T::ZERO);
                            ds.resize(count * width, T::ZERO);
                            factors.resize(width, T::ONE);
                            tile.scores(&mut p, q, k, scale);
                            tile.scores(&mut ds, dy, v, T::ONE);
                            let log_sums = &log_sums[tile.head * rows + start..][..count];
                            simd(
                                #[inline(always)]
                                || {
                                    let rows =
                                        p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width));
                                    for ((place, (p, ds)), &log_sum) in
                                        rows.enumerate().zip(log_sums)
                                    {
                                        let query = block.start + place;
                                        self.backward_row(
                                            &tile,
                                            query,
                                            log_sum,
                                            p,
                                            ds,
                                            &mut factors,
                                        );
                                    }
                                },
                            );
                            let p = Matrix::strided(&p, count, tile.keys, width);
                            let ds = Matrix::strided(&ds, count, tile.keys, width);
                            let onto = Onto::sum(block.start == 0);
                            let dq = self.columns(&dq, tile.head, start, count);
                            // SAFETY: no other tile writes to these rows and columns.
                            unsafe {
                                dv.product(p.transposed(), dy, T::ONE, onto);
                                dk.product(ds.transposed(), q, scale, onto);
                                dq.product(ds, k, scale, Onto::Nothing);
                            }
                        }
                    });
                });
            });
        });
        Ok([dq, dk, dv])
    }

    /// `p` holds scores and becomes what values were multiplied with; `ds` holds dy·v and becomes the
    /// gradient of the scores: p·(dp − Σ p·dp).
    #[inline(always)]
    fn backward_row<T: Real>(
        &self,
        tile: &Tile,
        query: usize,
        log_sum: f64,
        p: &mut [T],
        ds: &mut [T],
        factors: &mut [T],
    ) {
        let visible = self.spec.mask.visible(query, tile.queries, tile.keys);
        let p = whole_vectors(p, visible.end, T::NEGATIVE_INFINITY);
        let ds = whole_vectors(ds, visible.end, T::ZERO);
        let factors = &mut factors[..p.len()];
        let log_sum = T::of(log_sum);
        each(p, |p| (p - log_sum).exp());
        let (Some(dropper), Some(at)) = (&self.dropper, &self.spec.dropout) else {
            let along = vector::dot(p, ds);
            each_with(ds, p, |ds, p| p * (ds - along));
            return;
        };
        let place = Row::Query(at.rows[tile.query_start + query], tile.head);
        dropper.factors(place, factors);
        each_with(ds, factors, |ds, factor| ds * factor);
        let along = vector::dot(p, ds);
        each_with(ds, p, |ds, p| p * (ds - along));
        each_with(p, factors, |p, factor| p * factor);
    }
}

impl Tile {
    /// Elements of a row of scores: whole vectors.
    fn width(&self) -> usize {
        self.keys.next_multiple_of(vector::LANES)
    }

    /// scale · left rightᵀ for each pair of a query and a key, in rows of [`Self::width`].
    fn scores<T: Real>(&self, out: &mut [T], left: Matrix<T>, right: Matrix<T>, scale: T) {
        let width = self.width();
        let rows = out.len() / width;
        let out = Columns::new(out, width).part(0, rows, 0, self.keys);
        // SAFETY: `out` is borrowed exclusively.
        unsafe { out.product(left, right.transposed(), scale, Onto::Nothing) };
    }
}

/// The first `visible` elements of a row of scores, filled up with `nothing` to whole vectors; what
/// lies behind is zero. Loops over the rest of a vector take longer than over all of it.
#[inline(always)]
fn whole_vectors<T: Real>(row: &mut [T], visible: usize, nothing: T) -> &mut [T] {
    let (row, behind) = row.split_at_mut(visible.next_multiple_of(vector::LANES).min(row.len()));
    row[visible..].fill(nothing);
    behind.fill(T::ZERO);
    row
}

fn blocks(queries: usize) -> impl Iterator<Item = Range<usize>> {
    (0..queries)
        .step_by(QUERIES_PER_BLOCK)
        .map(move |start| start..(start + QUERIES_PER_BLOCK).min(queries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, assert_close, flat, silent, tensor};
    use crate::nn::ops::dropout::tests::{at, places};
    use candle_core::DType;

    fn spec(queries: &[usize], keys: &[usize], heads: usize, mask: AttentionMask) -> AttentionSpec {
        AttentionSpec {
            heads,
            query_offsets: Offsets::from_lengths(queries.iter().copied()).unwrap(),
            key_offsets: Offsets::from_lengths(keys.iter().copied()).unwrap(),
            scale: 0.3,
            mask,
            dropout: None,
        }
    }

    fn check(name: &str, spec: &AttentionSpec, head_dim: usize) {
        let hidden = spec.heads * head_dim;
        let (queries, keys) = (spec.query_offsets.tokens(), spec.key_offsets.tokens());
        Check::new(name)
            .input(&[queries, hidden])
            .input(&[keys, hidden])
            .input(&[keys, hidden])
            .run(
                |t, x, _| attention(t, &x[0], &x[1], &x[2], spec),
                |x, _| reference(&x[0], &x[1], &x[2], spec),
            );
    }

    #[test]
    fn attention_agrees_with_its_reference() {
        use AttentionMask::{Causal, Full};
        check("one token", &spec(&[1], &[1], 1, Full), 1);
        check("full", &spec(&[17, 1, 30], &[17, 1, 30], 3, Full), 5);
        check("causal", &spec(&[17, 1, 30], &[17, 1, 30], 2, Causal), 8);
        check("first tokens", &spec(&[1, 1, 1], &[17, 5, 30], 2, Full), 4);
        check("last tokens", &spec(&[1, 2, 3], &[17, 5, 3], 2, Causal), 4);
        check("cross", &spec(&[9, 2], &[3, 33], 2, Full), 4);
        check("two blocks of queries", &spec(&[129, 3], &[257, 3], 1, Full), 3);
        check("long", &spec(&[257], &[257], 1, Causal), 2);
    }

    #[test]
    fn dropped_attention_agrees_with_its_reference() {
        let mut spec = spec(&[70, 9], &[70, 9], 2, AttentionMask::Full);
        spec.dropout = Some(at(0.25, 4, places(11, &[70, 9])));
        check("dropout", &spec, 4);
        spec.mask = AttentionMask::Causal;
        check("causal dropout", &spec, 4);
    }

    #[test]
    fn micro_batches_compute_what_the_whole_update_computes() {
        let lengths: Vec<usize> = (0..32).map(|row| row % 7 + 1).collect();
        let tokens: usize = lengths.iter().sum();
        let [q, k, v] = [1, 2, 3].map(|tag| tensor(&[tokens, 6], tag));
        let run = |first: usize, start: usize, lengths: &[usize]| {
            let mut spec = spec(lengths, lengths, 2, AttentionMask::Full);
            spec.dropout = Some(at(0.2, 1, places(first as u32, lengths)));
            let count = spec.key_offsets.tokens();
            let [q, k, v] = [&q, &k, &v].map(|x| x.narrow(0, start, count).unwrap());
            flat(&attention(&silent(), &q, &k, &v, &spec).unwrap())
        };
        let mut parts = Vec::new();
        let mut start = 0;
        for (batch, lengths) in lengths.chunks(8).enumerate() {
            parts.extend(run(batch * 8, start, lengths));
            start += lengths.iter().sum::<usize>();
        }
        assert_eq!(run(0, 0, &lengths), parts);
    }

    /// What PyTorch does: sequences padded to one length, padded keys masked with −∞.
    #[test]
    fn padding_changes_nothing() {
        let (lengths, heads, head_dim) = ([5, 9, 2], 2, 4);
        let (hidden, longest) = (heads * head_dim, 9);
        let spec = spec(&lengths, &lengths, heads, AttentionMask::Full);
        let [q, k, v] = [1, 2, 3].map(|tag| tensor(&[16, hidden], tag));
        let found = flat(&attention(&silent(), &q, &k, &v, &spec).unwrap());
        let mut expected = Vec::new();
        for range in spec.key_offsets.ranges() {
            let padded = |x: &Tensor| {
                let rows = x.narrow(0, range.start, range.len()).unwrap();
                let padding = tensor(&[longest - range.len() + 1, hidden], 9);
                let all = Tensor::cat(&[&rows, &padding], 0).unwrap();
                all.reshape((longest + 1, heads, head_dim)).unwrap().transpose(0, 1).unwrap()
            };
            let [q, k, v] = [&q, &k, &v].map(|x| padded(x).contiguous().unwrap());
            let mask: Vec<f32> = (0..=longest)
                .map(|key| if key < range.len() { 0.0 } else { f32::NEG_INFINITY })
                .collect();
            let mask = Tensor::new(mask, q.device()).unwrap();
            let scores = (q.matmul(&k.t().unwrap()).unwrap() * 0.3).unwrap();
            let exp = scores.broadcast_add(&mask).unwrap().exp().unwrap();
            let p = exp.broadcast_div(&exp.sum_keepdim(2).unwrap()).unwrap();
            let context = p.matmul(&v).unwrap().transpose(0, 1).unwrap();
            let context = context.narrow(0, 0, range.len()).unwrap();
            expected.extend(flat(&context));
        }
        assert_close("padding", &found, &expected, 1e-6);
    }

    /// A large score must neither overflow nor lose the others.
    #[test]
    fn large_scores_do_not_overflow() {
        let spec = spec(&[3], &[3], 1, AttentionMask::Full);
        let [q, k, v] = [1, 2, 3].map(|tag| (tensor(&[3, 2], tag) * 1e4).unwrap());
        let found = attention(&silent(), &q, &k, &v, &spec).unwrap();
        assert!(flat(&found).iter().all(|value| value.is_finite()));
        let expected = reference(
            &q.to_dtype(DType::F64).unwrap(),
            &k.to_dtype(DType::F64).unwrap(),
            &v.to_dtype(DType::F64).unwrap(),
            &spec,
        );
        assert_close("large", &flat(&found), &flat(&expected.unwrap()), 1e-5);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        use AttentionMask::{Causal, Full};
        let run = |spec: &AttentionSpec| {
            let x = tensor(&[6, 4], 0);
            attention(&silent(), &x, &x, &x, spec)
        };
        assert!(run(&spec(&[6], &[6], 2, Full)).is_ok());
        assert!(run(&spec(&[6], &[6], 3, Full)).is_err());
        assert!(run(&spec(&[5], &[6], 2, Full)).is_err());
        assert!(run(&spec(&[2, 4], &[6], 2, Full)).is_err());
        assert!(run(&spec(&[4, 2], &[2, 4], 2, Causal)).is_err());
    }
}
