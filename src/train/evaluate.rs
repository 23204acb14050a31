//! Scoring rows with a network: logits and losses in the order of the rows. Nothing is dropped and
//! no graph is kept.

use crate::data::Targets;
use crate::model::{Compute, Pass, Result};
use crate::nn::Parameters;
use crate::task::{Logits, LossOptions, Network, RowLoss};

use super::source::Examples;

/// Tokens and rows of one batch: enough to keep the processor busy, little enough for its caches.
const BATCH_TOKENS: usize = 2048;
const BATCH_ROWS: usize = 512;

/// What a network makes of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// `[units, outputs]`; empty where the task keeps none.
    pub logits: Vec<f32>,
    /// Where the units of each row start, `[rows + 1]`.
    pub starts: Vec<usize>,
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

/// Logits and losses of every row. Rows of one length are computed together; `done` hears of every
/// batch and may end the work by returning false.
pub fn score(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    compute: Compute,
    done: &mut dyn FnMut(Done) -> bool,
) -> Result<Option<Scored>> {
    score_under(network, parameters, examples, &LossOptions::default(), compute, done)
}

/// [`score`] where options decide what the loss is.
pub fn score_under(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    options: &LossOptions,
    compute: Compute,
    done: &mut dyn FnMut(Done) -> bool,
) -> Result<Option<Scored>> {
    let _frozen = Frozen::all(parameters);
    let pass = Pass::evaluation(compute);
    let (task, outputs) = (network.task(), network.outputs());
    let mut rows = vec![Row::default(); examples.rows()];
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
        let (batch, after) = rest.split_at(count);
        let input = examples.input(batch, 0, None)?;
        let logits = network.logits(parameters, &input, &pass)?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        let starts = network.units(&input)?;
        let made = Logits { values: &logits, outputs, starts: &starts };
        if !task.keeps_logits() {
            let losses = task.row_losses(&made, &examples.targets(batch, None));
            for (row, loss) in batch.iter().zip(losses) {
                rows[*row].loss = Some(loss);
            }
        }
        for (place, row) in batch.iter().enumerate() {
            rows[*row].units = starts[place + 1] - starts[place];
            if task.keeps_logits() {
                rows[*row].logits = made.row(place).to_vec();
            }
        }
        finished += count;
        if !done(Done { rows: count, tokens, finished }) {
            return Ok(None);
        }
        rest = after;
    }
    let mut starts = vec![0];
    let mut end = 0;
    starts.extend(rows.iter().map(|row| {
        end += row.units;
        end
    }));
    let every: Vec<usize> = (0..examples.rows()).collect();
    let (logits, losses, targets) = match task.keeps_logits() {
        true => {
            let logits: Vec<f32> = rows.into_iter().flat_map(|row| row.logits).collect();
            let targets = examples.targets(&every, None);
            let made = Logits { values: &logits, outputs, starts: &starts };
            let losses = task.losses_under(&made, &targets, options);
            (logits, losses, targets)
        }
        false => {
            let losses = rows.into_iter().filter_map(|row| row.loss).collect();
            (Vec::new(), losses, Targets::None)
        }
    };
    Ok(Some(Scored { logits, starts, losses, targets }))
}

/// What became of one row.
#[derive(Debug, Clone, Default)]
struct Row {
    logits: Vec<f32>,
    units: usize,
    loss: Option<RowLoss>,
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
