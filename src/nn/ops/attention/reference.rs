//! Attention of candle's primitives, sequence by sequence.

use std::ops::Range;

use candle_core::{D, Result, Tensor};

use super::spec::{AttentionSpec, Relative};
use crate::nn::ops::dropout::Row;

/// [`super::attention`] of candle's primitives.
pub fn reference(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    spec: &AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, dropper) = spec.check(query, key, value)?;
    let heads = spec.heads;
    let mut outputs = Vec::new();
    let sequences = spec.query_offsets.ranges().zip(spec.key_offsets.ranges());
    for (sequence, (queries, keys)) in sequences.enumerate() {
        // [heads, rows, head_dim]
        let split = |x: &Tensor, rows: &Range<usize>| {
            x.narrow(0, rows.start, rows.len())?
                .reshape((rows.len(), heads, head_dim))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (q, k, v) = (split(query, &queries)?, split(key, &keys)?, split(value, &keys)?);
        let positions: Vec<usize> = queries
            .clone()
            .enumerate()
            .map(|(query, row)| spec.position(query, row, [queries.len(), keys.len()]))
            .collect();
        // What hidden scores are multiplied with, and what is added to them: who sees none has equal
        // scores, and those of padding that does not ask have no gradient.
        let (mut kept, mut masked) = (Vec::new(), Vec::new());
        for &position in &positions {
            let visible = spec.visible(sequence, position, keys.len());
            let asks = spec.padding.as_ref().is_none_or(|padding| padding.asks);
            kept.extend((0..keys.len()).map(|_| f64::from(!visible.is_empty() || asks)));
            masked.extend((0..keys.len()).map(|key| match visible.contains(&key) {
                true => 0.0,
                false => -1e30,
            }));
        }
        let shape = (queries.len(), keys.len());
        let [kept, masked] = [kept, masked].map(|values: Vec<f64>| {
            Tensor::from_vec(values, shape, query.device())?.to_dtype(query.dtype())
        });
        let (kept, masked) = (kept?, masked?);
        // [heads, queries, keys]
        let mut scores = (q.matmul(&k.t()?)? * spec.scale)?;
        if let Some(added) = added(spec, &q, &k, &positions)? {
            scores = (scores + added)?;
        }
        let scores = scores.broadcast_mul(&kept)?.broadcast_add(&masked)?;
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

/// What distances add to the scores of one sequence, `[heads, queries, keys]`. `q`, `k`:
/// `[heads, rows, head_dim]`.
fn added(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    positions: &[usize],
) -> Result<Option<Tensor>> {
    let (heads, queries, head_dim) = q.dims3()?;
    let keys = k.dim(1)?;
    let rows = match &spec.relative {
        Relative::Nothing => return Ok(None),
        Relative::Bias { rows, .. } | Relative::Disentangled { rows, .. } => rows,
    };
    let rows: Vec<u32> = positions
        .iter()
        .flat_map(|position| rows.rows()[rows.places(*position, &(0..keys))].to_vec())
        .collect();
    let rows = Tensor::from_vec(rows, queries * keys, q.device())?;
    let [own_keys, own_queries] = spec.relative.tensors();
    let mut sum = None;
    if let Some(table) = spec.relative.weight() {
        let values = table.index_select(&rows, 0)?.reshape((queries, keys, heads))?;
        sum = Some(values.permute((2, 0, 1))?);
    }
    // Each query with a row for each key, and the other way round.
    for (table, x, middle) in [(own_keys, q, 2), (own_queries, k, 1)] {
        let Some(table) = table else { continue };
        let chosen = table.index_select(&rows, 0)?.reshape((queries, keys, heads, head_dim))?;
        let chosen = chosen.permute((2, 0, 1, 3))?; // [heads, queries, keys, head_dim]
        let products = chosen.broadcast_mul(&x.unsqueeze(middle)?)?.sum(D::Minus1)?;
        let products = (products * spec.scale)?;
        sum = Some(match sum {
            None => products,
            Some(sum) => (sum + products)?,
        });
    }
    Ok(sum)
}
