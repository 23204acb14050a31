//! What attention is computed with, besides queries, keys and values: which keys a query sees, and
//! what the distance between them adds.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use crate::nn::ops::dropout::{DropoutAt, Dropper};
use crate::nn::{Offsets, Weight};

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionMask {
    /// Every key of its sequence.
    Full,
    /// Keys up to its own position.
    Causal,
    /// Keys at most this many places away, on either side.
    Window(usize),
}

impl AttentionMask {
    /// The keys that a query at `position` sees among `keys`.
    pub fn visible(self, position: usize, keys: usize) -> Range<usize> {
        match self {
            AttentionMask::Full => 0..keys,
            AttentionMask::Causal => 0..(position + 1).min(keys),
            AttentionMask::Window(reach) => {
                position.saturating_sub(reach).min(keys)..(position + reach + 1).min(keys)
            }
        }
    }
}

/// The row of a table that belongs to the distance from a query to a key, for every distance that
/// can occur. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Distances {
    /// From −reach to reach.
    rows: Arc<[u32]>,
    reach: usize,
    /// One more than the highest row.
    count: usize,
}

impl Distances {
    /// `row(d)` for the distances d = key − query of sequences of up to `longest` tokens.
    pub fn new(longest: usize, row: impl Fn(i64) -> u32) -> Self {
        let reach = longest.saturating_sub(1);
        let rows: Arc<[u32]> = (-(reach as i64)..=reach as i64).map(row).collect();
        let count = rows.iter().max().map_or(0, |most| *most as usize + 1);
        Self { rows, reach, count }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The places in [`Self::rows`] of the distances from a query to these keys.
    pub(super) fn places(&self, position: usize, keys: &Range<usize>) -> Range<usize> {
        let start = self.reach + keys.start - position;
        start..start + keys.len()
    }

    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }
}

/// What the distance between a query and a key adds to their score.
#[derive(Debug, Clone, Default)]
pub enum Relative {
    #[default]
    Nothing,
    /// A learned number for each head: `table` is `[rows, heads]`. Source: Raffel et al., "Exploring
    /// the limits of transfer learning" (2019), section 2.1.
    Bias { table: Weight, rows: Distances },
    /// The scaled products of the query with a row of `keys`, and of the key with a row of `queries`,
    /// both `[rows, hidden]`. Source: He et al., "DeBERTa" (2020), section 3.1.
    Disentangled { keys: Option<Tensor>, queries: Option<Tensor>, rows: Distances },
}

impl Relative {
    /// Tensors that it reads: `keys`, then `queries`.
    pub(super) fn tensors(&self) -> [Option<&Tensor>; 2] {
        match self {
            Relative::Disentangled { keys, queries, .. } => [keys.as_ref(), queries.as_ref()],
            _ => [None, None],
        }
    }

    pub(super) fn weight(&self) -> Option<&Weight> {
        match self {
            Relative::Bias { table, .. } => Some(table),
            _ => None,
        }
    }

    fn distances(&self) -> Option<&Distances> {
        match self {
            Relative::Nothing => None,
            Relative::Bias { rows, .. } | Relative::Disentangled { rows, .. } => Some(rows),
        }
    }
}

/// Rows at the ends of sequences that no query sees. Batches have none; they are there to compare with
/// references that pad.
#[derive(Debug, Clone)]
pub struct Padding {
    /// How many rows of each sequence are no padding.
    pub seen: Arc<[usize]>,
    /// Whether padding itself sees the rows that others see. Where it does not, it attends to all rows
    /// alike, and no gradient goes through its scores.
    pub asks: bool,
}

/// What attention is computed with, besides queries, keys and values.
#[derive(Debug, Clone)]
pub struct AttentionSpec {
    pub heads: usize,
    /// Where the queries of each sequence are.
    pub query_offsets: Offsets,
    /// Where its keys and values are. As many sequences.
    pub key_offsets: Offsets,
    /// The place of each query among the keys of its sequence. Without: the queries are the last
    /// places.
    pub positions: Option<Arc<[u32]>>,
    /// What the products of queries and keys are multiplied with: 1/√(hidden / heads).
    pub scale: f64,
    pub mask: AttentionMask,
    pub relative: Relative,
    /// A query that a mask leaves nothing but padding attends to all rows of its sequence alike, as
    /// references do that add the least finite number to what is hidden.
    pub padding: Option<Padding>,
    /// Dropout of the probabilities; its rows are those of the queries.
    pub dropout: Option<DropoutAt>,
}

impl AttentionSpec {
    /// The place of a query among the keys of its sequence. `row`: its place among all queries.
    pub(super) fn position(&self, query: usize, row: usize, [queries, keys]: [usize; 2]) -> usize {
        match &self.positions {
            Some(positions) => positions[row] as usize,
            None => (keys + query).saturating_sub(queries),
        }
    }

    /// The keys that a query at `position` sees among the `keys` of a sequence.
    pub(super) fn visible(&self, sequence: usize, position: usize, keys: usize) -> Range<usize> {
        match &self.padding {
            None => self.mask.visible(position, keys),
            Some(Padding { seen, asks }) => match position < seen[sequence] || *asks {
                true => self.mask.visible(position, seen[sequence]),
                false => 0..0,
            },
        }
    }

    /// Returns the size of a head. Fails if `hidden` is not a multiple of `heads`, if offsets,
    /// positions and rows do not fit, or if a query sees no key.
    pub(super) fn check(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
    ) -> Result<(usize, Option<Dropper>)> {
        let (queries, hidden) = query.dims2()?;
        let (keys, _) = key.dims2()?;
        let heads = self.heads;
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
        let (query_offsets, key_offsets) = (&self.query_offsets, &self.key_offsets);
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
        if let Some(positions) = &self.positions
            && positions.len() != queries
        {
            bail!("attention: {} positions for {queries} queries", positions.len())
        }
        self.check_positions()?;
        self.check_relative(hidden)?;
        let dropper = self.dropout.as_ref().map(|at| at.dropper(queries)).transpose()?;
        Ok((hidden / heads, dropper))
    }

    fn check_positions(&self) -> Result<()> {
        if let Some(Padding { seen, .. }) = &self.padding {
            let fits = |(seen, keys): (&usize, Range<usize>)| (1..=keys.len()).contains(seen);
            let sequences = self.key_offsets.sequences();
            if seen.len() != sequences || !seen.iter().zip(self.key_offsets.ranges()).all(fits) {
                bail!("attention: padding of {} sequences for {sequences}", seen.len())
            }
        }
        if self.mask == AttentionMask::Full
            && self.relative.distances().is_none()
            && self.padding.is_none()
        {
            return Ok(());
        }
        let reach = self.relative.distances().map_or(usize::MAX, |distances| distances.reach);
        let sequences = self.query_offsets.ranges().zip(self.key_offsets.ranges());
        for (sequence, (queries, keys)) in sequences.enumerate() {
            let counts = [queries.len(), keys.len()];
            if self.positions.is_none() && queries.len() > keys.len() {
                bail!(
                    "attention: sequence {sequence} has {} queries for {} keys: the first has no place",
                    queries.len(),
                    keys.len()
                )
            }
            for (query, row) in queries.enumerate() {
                let position = self.position(query, row, counts);
                let visible = self.visible(sequence, position, keys.len());
                if visible.is_empty() && self.padding.is_none() {
                    bail!("attention: query {query} of sequence {sequence} sees no key")
                }
                if position.max(keys.len() - 1) > reach {
                    bail!(
                        "attention: sequence {sequence} is longer than the {} places that distances are known of",
                        reach + 1
                    )
                }
            }
        }
        Ok(())
    }

    fn check_relative(&self, hidden: usize) -> Result<()> {
        let count = self.relative.distances().map_or(0, |distances| distances.count);
        if let Some(table) = self.relative.weight() {
            let (rows, heads) = table.dims2()?;
            if rows < count || heads != self.heads {
                bail!(
                    "attention: a table of {rows} rows and {heads} heads for {count} and {}",
                    self.heads
                )
            }
        }
        for table in self.relative.tensors().into_iter().flatten() {
            let (rows, columns) = table.dims2()?;
            if rows < count || columns != hidden {
                bail!("attention: {rows} rows of {columns} columns for {count} and {hidden}")
            }
        }
        Ok(())
    }
}
