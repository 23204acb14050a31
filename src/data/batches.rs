//! Which rows go together, in which order, and what a batch of them looks like: one row behind the
//! other, without padding.

use super::labels::Targets;
use super::tokens::Tokens;
use crate::base::random::{Purpose, Stream};
use std::ops::Range;

/// How much goes into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// So many rows; the last batch may have fewer.
    Rows(usize),
    /// Whole rows of at most so many tokens together. A longer row is a batch of its own.
    Tokens(usize),
}

/// The order of the rows in an epoch: a function of seed, epoch and number of rows alone.
pub fn epoch_order(seed: u64, epoch: u64, rows: usize) -> Vec<usize> {
    let count = u32::try_from(rows).unwrap_or(u32::MAX);
    let order = Stream::new(seed, Purpose::DataOrder).permutation(count, epoch);
    order.into_iter().map(|row| row as usize).collect()
}

/// Cuts an order of rows into batches. `length`: the tokens of a row.
pub fn cut(order: &[usize], size: BatchSize, length: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut tokens = 0;
    for (at, row) in order.iter().enumerate() {
        let full = match size {
            BatchSize::Rows(rows) => at - start >= rows.max(1),
            BatchSize::Tokens(limit) => at > start && tokens + length(*row) > limit,
        };
        if full {
            batches.push(start..at);
            start = at;
            tokens = 0;
        }
        tokens += length(*row);
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
    batches
}

/// Rows as a model reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The ids of all rows, one row behind the other.
    pub input_ids: Vec<u32>,
    pub token_type_ids: Vec<u32>,
    /// Sequence k of the batch holds the tokens `offsets[k]..offsets[k + 1]`; positions count from 0
    /// within each.
    pub offsets: Vec<usize>,
    /// Row k has the sequences `sequences[k]..sequences[k + 1]`; none means one each.
    pub sequences: Option<Vec<usize>>,
    /// The number of each row in the tokens.
    pub rows: Vec<usize>,
    pub targets: Targets,
}

impl Batch {
    /// These rows, in this order. A row that is not there is left out.
    pub fn of(tokens: &Tokens, rows: &[usize]) -> Batch {
        let rows: Vec<usize> = rows.iter().copied().filter(|row| *row < tokens.rows()).collect();
        let total = rows.iter().map(|row| tokens.row_length(*row)).sum();
        let mut input_ids = Vec::with_capacity(total);
        let mut token_type_ids = Vec::with_capacity(total);
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        let mut sequences = vec![0];
        for row in &rows {
            let mut end = input_ids.len();
            input_ids.extend_from_slice(tokens.input_ids(*row));
            token_type_ids.extend_from_slice(tokens.token_type_ids(*row));
            offsets.extend(tokens.sequence_lengths(*row).map(|length| {
                end += length;
                end
            }));
            sequences.push(offsets.len() - 1);
        }
        let sequences = tokens.has_several_sequences().then_some(sequences);
        let targets = tokens.targets.take(&rows);
        Batch { input_ids, token_type_ids, offsets, sequences, rows, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_that_differs_between_epochs_and_seeds() {
        let order = epoch_order(17, 0, 1000);
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(order, epoch_order(17, 0, 1000));
        assert_ne!(order, epoch_order(17, 1, 1000));
        assert_ne!(order, epoch_order(18, 0, 1000));
    }

    #[test]
    fn batches_of_rows_and_of_tokens_hold_every_row_once() {
        let lengths = [3, 9, 2, 2, 20, 1];
        let order = [0, 1, 2, 3, 4, 5];
        assert_eq!(cut(&order, BatchSize::Rows(4), |_| 1), [0..4, 4..6]);
        let by_tokens = cut(&order, BatchSize::Tokens(12), |row| lengths[row]);
        assert_eq!(by_tokens, [0..2, 2..4, 4..5, 5..6]);
        assert!(cut(&[], BatchSize::Rows(4), |_| 1).is_empty());
    }
}
