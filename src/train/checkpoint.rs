//! The state of a training run between two updates, and its bytes. Where they are kept is not
//! decided here.

use std::io::{self, Write};

use crate::base::{Digest, Pieces};
use crate::model::{ModelError, Result};
use crate::nn::ops::tensor::Slice;
use crate::nn::{Parameter, Parameters};
use crate::task::RowLoss;

use super::values;

/// One row of the log: one update.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// From 1.
    pub update: u64,
    /// Epochs that are over, with the share of the one that runs.
    pub epoch: f64,
    /// Mean over the supervised elements of the update.
    pub loss: f64,
    pub learning_rate: f64,
    /// Before clipping.
    pub grad_norm: f64,
}

/// One validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    pub update: u64,
    pub epoch: f64,
    /// Mean over the supervised elements.
    pub loss: f64,
    /// What early stopping looks at.
    pub score: Option<f64>,
    /// `[units, outputs]`, in the order of the rows; empty where the task keeps none.
    pub logits: Vec<f32>,
    /// Of every row; empty where the rows have no targets.
    pub losses: Vec<RowLoss>,
}

/// The best parameters so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    pub update: u64,
    pub score: f64,
    /// The parameters that train, in the order of the store; nothing for the others.
    pub values: Vec<Vec<f32>>,
}

/// A run between two updates. The parameters themselves are in the store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Updates that are done.
    pub update: u64,
    /// The parameters that train, of a state that was read; empty while the run goes.
    pub parameters: Vec<Vec<f32>>,
    /// The optimizer's buffers of each parameter; none for frozen ones.
    pub buffers: Vec<Vec<Vec<f32>>>,
    pub best: Option<Best>,
    pub log: Vec<LogRow>,
    pub validations: Vec<Validation>,
    pub stopped_early: bool,
}

fn trains(parameter: &Parameter) -> bool {
    parameter.tied_with.is_none() && parameter.weight.is_trainable()
}

const MAGIC: &[u8; 8] = b"ftrunck3";

impl State {
    /// The state before the first update.
    pub fn new(parameters: &Parameters, buffers: usize) -> Self {
        let of = |parameter: &Parameter| {
            let count = if trains(parameter) { buffers } else { 0 };
            vec![vec![0.0; parameter.weight.elem_count()]; count]
        };
        Self { buffers: parameters.iter().map(of).collect(), ..Self::default() }
    }

    /// Puts the parameters of a state that was read into the store.
    pub fn restore(&mut self, parameters: &Parameters, buffers: usize) -> Result<()> {
        let values = std::mem::take(&mut self.parameters);
        let all = parameters.iter().zip(&values).zip(&self.buffers);
        let fits = values.len() == parameters.len()
            && self.buffers.len() == parameters.len()
            && all.into_iter().all(|((parameter, values), own)| {
                let count = if trains(parameter) { parameter.weight.elem_count() } else { 0 };
                values.len() == count
                    && own.len() == if trains(parameter) { buffers } else { 0 }
                    && own.iter().all(|buffer| buffer.len() == count)
            });
        if !fits {
            return Err(ModelError::new("the checkpoint is of another model"));
        }
        values::restore(parameters, &values)?;
        Ok(())
    }

    /// What [`Snapshot::write`] writes.
    pub fn to_bytes(&self, parameters: &Parameters) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let written = Snapshot { state: self, parameters }.write(&mut bytes);
        written.map_err(|error| ModelError::new(error.to_string()))?;
        Ok(bytes)
    }

    /// Fails on bytes that are not a whole checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || ModelError::new("the checkpoint is damaged or was not written to its end");
        let (content, digest) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
        if Digest::of(content).0 != *digest {
            return Err(damaged());
        }
        let rest = content.strip_prefix(MAGIC).ok_or_else(damaged)?;
        Reader(rest).state().ok_or_else(damaged)
    }
}

/// A state with the parameters that belong to it, to be written.
pub struct Snapshot<'a> {
    pub state: &'a State,
    pub parameters: &'a Parameters,
}

impl Snapshot<'_> {
    /// The state and the parameters, with a digest at the end. Nothing is copied before.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { state, parameters } = self;
        let mut out = Writer { out, written: Pieces::default() };
        out.bytes(MAGIC)?;
        out.number(state.update)?;
        out.number(u64::from(state.stopped_early))?;
        out.number(parameters.len() as u64)?;
        for (parameter, buffers) in parameters.iter().zip(&state.buffers) {
            if trains(parameter) {
                let values = Slice::<f32>::new(&parameter.weight).map_err(io::Error::other)?;
                out.floats(values.get())?;
            } else {
                out.floats(&[])?;
            }
            out.number(buffers.len() as u64)?;
            buffers.iter().try_for_each(|buffer| out.floats(buffer))?;
        }
        out.number(u64::from(state.best.is_some()))?;
        if let Some(best) = &state.best {
            out.number(best.update)?;
            out.double(best.score)?;
            out.number(best.values.len() as u64)?;
            best.values.iter().try_for_each(|values| out.floats(values))?;
        }
        out.number(state.log.len() as u64)?;
        for row in &state.log {
            out.number(row.update)?;
            let values = [row.epoch, row.loss, row.learning_rate, row.grad_norm];
            values.into_iter().try_for_each(|value| out.double(value))?;
        }
        out.number(state.validations.len() as u64)?;
        for validation in &state.validations {
            out.number(validation.update)?;
            out.double(validation.epoch)?;
            out.double(validation.loss)?;
            out.number(u64::from(validation.score.is_some()))?;
            out.double(validation.score.unwrap_or(0.0))?;
            out.floats(&validation.logits)?;
            out.number(validation.losses.len() as u64)?;
            for loss in &validation.losses {
                out.double(loss.sum)?;
                out.number(loss.elements as u64)?;
            }
        }
        let digest = out.written.finish();
        out.out.write_all(&digest.0)
    }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    written: Pieces,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written.add(bytes);
        self.out.write_all(bytes)
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    fn double(&mut self, value: f64) -> io::Result<()> {
        self.number(value.to_bits())
    }

    fn floats(&mut self, values: &[f32]) -> io::Result<()> {
        const TOGETHER: usize = 16_384;
        self.number(values.len() as u64)?;
        let mut bytes = Vec::with_capacity(4 * TOGETHER.min(values.len()));
        for values in values.chunks(TOGETHER) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.bytes(&bytes)?;
        }
        Ok(())
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn state(mut self) -> Option<State> {
        let mut state = State { update: self.number()?, ..State::default() };
        state.stopped_early = self.number()? == 1;
        for _ in 0..self.number()? {
            state.parameters.push(self.floats()?);
            let count = self.number()?;
            state.buffers.push((0..count).map(|_| self.floats()).collect::<Option<_>>()?);
        }
        if self.number()? == 1 {
            let (update, score, count) = (self.number()?, self.double()?, self.number()?);
            let values = (0..count).map(|_| self.floats()).collect::<Option<_>>()?;
            state.best = Some(Best { update, score, values });
        }
        for _ in 0..self.number()? {
            state.log.push(LogRow {
                update: self.number()?,
                epoch: self.double()?,
                loss: self.double()?,
                learning_rate: self.double()?,
                grad_norm: self.double()?,
            });
        }
        for _ in 0..self.number()? {
            let (update, epoch, loss) = (self.number()?, self.double()?, self.double()?);
            let (scored, score) = (self.number()? == 1, self.double()?);
            let logits = self.floats()?;
            let score = scored.then_some(score);
            let count = self.number()?;
            let losses = (0..count).map(|_| self.row_loss()).collect::<Option<_>>()?;
            state.validations.push(Validation { update, epoch, loss, score, logits, losses });
        }
        self.0.is_empty().then_some(state)
    }

    fn row_loss(&mut self) -> Option<RowLoss> {
        let (sum, elements) = (self.double()?, self.number()?);
        Some(RowLoss { sum, elements: usize::try_from(elements).ok()? })
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn double(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    fn floats(&mut self) -> Option<Vec<f32>> {
        let count = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(count.checked_mul(4)?)?;
        self.0 = rest;
        let (chunks, _) = bytes.as_chunks::<4>();
        Some(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
    }
}
