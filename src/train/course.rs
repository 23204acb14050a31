//! The course of a run: which rows each update learns from, and how many updates there are. A
//! function of the seed, the number of rows and the settings alone.

use crate::data::{cut, epoch_order};

pub use crate::data::BatchSize;

use super::schedule::round_up;
use super::source::Examples;

/// How long something is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    Epochs(f64),
    Updates(u64),
}

/// The rows of one update, in batches.
pub type Group = Vec<Vec<usize>>;

/// Where updates are in a run.
pub struct Course<'a> {
    examples: &'a dyn Examples,
    batch: BatchSize,
    gradient_accumulation: usize,
    seed: u64,
    /// Updates before each epoch of the run, as far as they were counted.
    starts: Vec<u64>,
    current: Option<(u64, Vec<Group>)>,
}

impl<'a> Course<'a> {
    pub fn new(
        examples: &'a dyn Examples,
        batch: BatchSize,
        gradient_accumulation: usize,
        seed: u64,
    ) -> Self {
        let gradient_accumulation = gradient_accumulation.max(1);
        Self { examples, batch, gradient_accumulation, seed, starts: vec![0], current: None }
    }

    /// U: the updates of an epoch. With batches of rows it is the same in every epoch.
    pub fn updates_of(&mut self, epoch: u64) -> u64 {
        if let BatchSize::Rows(rows) = self.batch {
            let batches = self.examples.rows().div_ceil(rows.max(1));
            return batches.div_ceil(self.gradient_accumulation).max(1) as u64;
        }
        (self.epoch(epoch).len() as u64).max(1)
    }

    /// T: the updates of a run.
    pub fn total(&mut self, budget: Budget) -> u64 {
        match budget {
            Budget::Updates(updates) => updates,
            Budget::Epochs(epochs) => {
                let whole = epochs.floor();
                let mut total = 0;
                for epoch in 0..whole as u64 {
                    total += self.updates_of(epoch);
                }
                let rest = epochs - whole;
                if rest > 0.0 {
                    total += round_up(rest * self.updates_of(whole as u64) as f64);
                }
                total
            }
        }
    }

    /// The epoch of an update, and its place there.
    pub fn place(&mut self, update: u64) -> (u64, u64) {
        loop {
            let epoch = self.starts.len() as u64 - 1;
            let start = self.starts.last().copied().unwrap_or(0);
            let end = start + self.updates_of(epoch);
            if update < end {
                break;
            }
            self.starts.push(end);
        }
        let epoch = self.starts.partition_point(|start| *start <= update) - 1;
        (epoch as u64, update - self.starts[epoch])
    }

    /// Epochs that are over after `updates` updates, with the share of the one that runs.
    pub fn epochs_after(&mut self, updates: u64) -> f64 {
        let Some(last) = updates.checked_sub(1) else { return 0.0 };
        let (epoch, index) = self.place(last);
        epoch as f64 + (index + 1) as f64 / self.updates_of(epoch) as f64
    }

    /// The rows of an update.
    pub fn group(&mut self, update: u64) -> Group {
        let (epoch, index) = self.place(update);
        self.epoch(epoch).get(index as usize).cloned().unwrap_or_default()
    }

    fn epoch(&mut self, epoch: u64) -> &[Group] {
        if !matches!(&self.current, Some((current, _)) if *current == epoch) {
            let groups = self.deal(epoch);
            self.current = Some((epoch, groups));
        }
        self.current.as_ref().map(|(_, groups)| groups.as_slice()).unwrap_or_default()
    }

    fn deal(&self, epoch: u64) -> Vec<Group> {
        let order = epoch_order(self.seed, epoch, self.examples.rows());
        let batches: Vec<Vec<usize>> = cut(&order, self.batch, |row| self.examples.cost(row))
            .into_iter()
            .map(|range| order.get(range).unwrap_or_default().to_vec())
            .collect();
        batches.chunks(self.gradient_accumulation).map(<[Vec<usize>]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;
    use crate::model::{Dropping, Input, ModelError, Result};

    struct Lengths(Vec<usize>);

    impl Examples for Lengths {
        fn rows(&self) -> usize {
            self.0.len()
        }
        fn cost(&self, row: usize) -> usize {
            self.0[row]
        }
        fn input(&self, _: &[usize], _: u32, _: Option<Dropping>) -> Result<Input> {
            Err(ModelError::new("these rows have no inputs"))
        }
        fn targets(&self, _: &[usize], _: Option<Dropping>) -> Targets {
            Targets::None
        }
        fn name(&self, row: usize) -> String {
            row.to_string()
        }
    }

    /// By hand: 10 rows in batches of 3 are 4 batches, in groups of 2 are 2 updates.
    #[test]
    fn updates_are_counted_as_the_semantics_say() {
        let rows = Lengths(vec![1; 10]);
        let mut course = Course::new(&rows, BatchSize::Rows(3), 2, 0);
        assert_eq!(course.updates_of(0), 2);
        assert_eq!(course.total(Budget::Epochs(1.5)), 3);
        assert_eq!(course.total(Budget::Epochs(0.1)), 1);
        assert_eq!(course.total(Budget::Updates(7)), 7);
        assert_eq!(course.place(5), (2, 1));
        assert_eq!(course.place(1), (0, 1));
        assert_eq!(course.epochs_after(3), 1.5);
        let sizes: Vec<usize> = course.group(1).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 1]); // the last partial group still steps
    }

    #[test]
    fn every_row_comes_once_an_epoch_in_an_order_of_its_own() {
        let rows = Lengths((0..50).map(|row| row % 7 + 1).collect());
        for batch in [BatchSize::Rows(8), BatchSize::Tokens(9)] {
            let mut course = Course::new(&rows, batch, 3, 5);
            let mut orders = Vec::new();
            for epoch in 0..2 {
                let groups = course.epoch(epoch).to_vec();
                let order: Vec<usize> = groups.iter().flatten().flatten().copied().collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..50).collect::<Vec<_>>());
                if let BatchSize::Tokens(most) = batch {
                    let tokens = |batch: &Vec<usize>| batch.iter().map(|row| rows.cost(*row)).sum();
                    assert!(groups.iter().flatten().all(|batch| {
                        let all: usize = tokens(batch);
                        all <= most
                    }));
                }
                orders.push(order);
            }
            assert_ne!(orders[0], orders[1]);
        }
    }
}
