//! Scoring rows with a network: logits and losses in the order of the rows. Nothing is dropped and
//! no graph is kept.

use crate::data::Targets;
use crate::model::{Compute, Pass, Result};
use crate::nn::Parameters;
use crate::task::{Network, RowLoss};

use super::source::Examples;

/// Tokens and rows of one batch: enough to keep the processor busy, little enough for its caches.
const BATCH_TOKENS: usize = 2048;
const BATCH_ROWS: usize = 512;

/// What a network makes of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// `[rows, outputs]`
    pub logits: Vec<f32>,
    /// Of every row; empty where the rows have no targets.
    pub losses: Vec<RowLoss>,
    pub targets: Targets,
}

impl Scored {
    /// The mean over all supervised elements; NaN where there are none.
    pub fn mean_loss(&self) -> f64 {
        let elements: usize = self.losses.iter().map(|loss| loss.elements).sum();
        self.losses.iter().map(|loss| loss.sum).sum::<f64>() / elements as f64
    }
}

/// A batch that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub rows: usize,
    pub tokens: usize,
    /// Rows of this batch and those before.
    pub finished: usize,
}

/// Logits f32 `[rows, outputs]`. Rows of one length are computed together; `done` hears of every
/// batch and may end the work by returning false.
pub fn logits(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    compute: Compute,
    done: &mut dyn FnMut(Done) -> bool,
) -> Result<Option<Vec<f32>>> {
    let _frozen = Frozen::all(parameters);
    let pass = Pass::evaluation(compute);
    let outputs = network.outputs();
    let mut all = vec![0.0; examples.rows() * outputs];
    let mut order: Vec<usize> = (0..examples.rows()).collect();
    order.sort_by_key(|row| (examples.cost(*row), *row));
    let mut finished = 0;
    let mut rest = order.as_slice();
    while let Some(first) = rest.first() {
        // The longest row of a batch is its last one.
        let mut count = 1;
        let mut tokens = examples.cost(*first);
        while let Some(row) = rest.get(count)
            && count < BATCH_ROWS
            && tokens + examples.cost(*row) <= BATCH_TOKENS
        {
            tokens += examples.cost(*row);
            count += 1;
        }
        let (rows, after) = rest.split_at(count);
        let logits = network.logits(parameters, &examples.input(rows, 0)?, &pass)?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        for (row, logits) in rows.iter().zip(logits.chunks_exact(outputs.max(1))) {
            all[row * outputs..(row + 1) * outputs].copy_from_slice(logits);
        }
        finished += count;
        if !done(Done { rows: count, tokens, finished }) {
            return Ok(None);
        }
        rest = after;
    }
    Ok(Some(all))
}

/// Logits and losses of every row.
pub fn score(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    compute: Compute,
) -> Result<Scored> {
    let logits = logits(network, parameters, examples, compute, &mut |_| true)?.unwrap_or_default();
    Ok(with_targets(network, logits, examples))
}

/// Adds the losses to logits.
pub fn with_targets(network: &Network, logits: Vec<f32>, examples: &dyn Examples) -> Scored {
    let rows: Vec<usize> = (0..examples.rows()).collect();
    let targets = examples.targets(&rows);
    let losses = network.task().row_losses(&logits, network.outputs(), &targets);
    Scored { logits, losses, targets }
}

/// All parameters frozen, so that no graph is kept, until it is dropped.
struct Frozen<'a> {
    parameters: &'a Parameters,
    trainable: Vec<bool>,
}

impl<'a> Frozen<'a> {
    fn all(parameters: &'a Parameters) -> Self {
        let trainable =
            parameters.iter().map(|parameter| parameter.weight.is_trainable()).collect();
        parameters.iter().for_each(|parameter| parameter.weight.set_trainable(false));
        Self { parameters, trainable }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        for (parameter, trainable) in self.parameters.iter().zip(&self.trainable) {
            parameter.weight.set_trainable(*trainable);
        }
    }
}
