//! Where the sequences of a concatenated batch start.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, bail};

/// The starts of `sequences` sequences in their concatenation, and its end: `sequences + 1` numbers,
/// the first 0, each greater than the one before. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets(Arc<[usize]>);

impl Offsets {
    /// Fails if the numbers do not start at 0, do not ascend, or leave a sequence empty.
    pub fn new(offsets: impl Into<Arc<[usize]>>) -> Result<Self> {
        let offsets = offsets.into();
        if offsets.first() != Some(&0) {
            bail!("offsets of sequences start at 0, found {:?}", offsets.first())
        }
        for (sequence, pair) in offsets.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                bail!("sequence {sequence} is empty: it goes from {} to {}", pair[0], pair[1])
            }
        }
        Ok(Self(offsets))
    }

    /// From the length of every sequence.
    pub fn from_lengths(lengths: impl IntoIterator<Item = usize>) -> Result<Self> {
        let mut offsets = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            offsets.push(end);
        }
        Self::new(offsets)
    }

    /// `sequences` sequences of one element each: the queries when one token per sequence asks.
    pub fn ones(sequences: usize) -> Self {
        Self((0..=sequences).collect())
    }

    pub fn sequences(&self) -> usize {
        self.0.len() - 1
    }

    /// The number of tokens of the whole batch.
    pub fn tokens(&self) -> usize {
        self.0[self.0.len() - 1]
    }

    /// The rows of one sequence. `sequence` is below [`Self::sequences`].
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.0[sequence]..self.0[sequence + 1]
    }

    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.0.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The first row of every sequence.
    pub fn starts(&self) -> Vec<u32> {
        self.ranges().map(|range| range.start as u32).collect()
    }

    /// The last row of every sequence.
    pub fn last_rows(&self) -> Vec<u32> {
        self.ranges().map(|range| (range.end - 1) as u32).collect()
    }

    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }

    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_checked() {
        for wrong in [vec![], vec![1, 2], vec![0, 2, 2], vec![0, 3, 1]] {
            assert!(Offsets::new(wrong.clone()).is_err(), "{wrong:?}");
        }
        let offsets = Offsets::from_lengths([3, 1, 2]).unwrap();
        assert_eq!(offsets.as_slice(), [0, 3, 4, 6]);
        assert_eq!((offsets.sequences(), offsets.tokens(), offsets.longest()), (3, 6, 3));
        assert_eq!(offsets.starts(), [0, 3, 4]);
        assert_eq!(offsets.last_rows(), [2, 3, 5]);
        assert_eq!(Offsets::ones(2).as_slice(), [0, 1, 2]);
        assert_eq!(Offsets::new(vec![0]).unwrap().tokens(), 0);
    }
}
