//! What a step sees while it runs: its inputs, a way to tell how far it is, and whether to stop.

use std::path::{Path, PathBuf};

use super::check::Probe;
use super::value::{Carried, Value};
use crate::base::Code;
use crate::schema::{Port, PortRef};

/// Loads what an edge carries; loaded once, kept while a later step needs it.
pub trait Inputs {
    fn load(&self, port: &PortRef) -> Result<Value, StepError>;
}

/// What happens inside a step, for progress and logs. Never part of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A phase of known or unknown length begins: `reading`, `tokenizing`, `training`, `validating`.
    Phase { name: &'static str, total: Option<u64> },
    /// So much of the phase is done; `detail` is shown beside it (`loss 0.412`).
    Progress { done: u64, detail: String, work: Option<Work> },
    /// Something a user should know; part of the manifest's warnings.
    Warning { message: String },
    /// One line worth keeping: what was counted, chosen or skipped.
    Note { message: String },
}

/// What was computed since the last progress; for the events of a run, not shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    pub rows: usize,
    pub tokens: usize,
    /// Of an update.
    pub loss: Option<f64>,
    /// What the optimizer of an update took, with the norm of the gradients.
    pub optimizer_seconds: Option<f64>,
}

/// How a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: exit code 130.
    Interrupt,
    /// SIGTERM or SIGUSR2: exit code 85.
    Checkpoint,
}

pub trait Control {
    fn event(&mut self, event: Event);
    /// Asked between updates: finish this one, write a checkpoint, return `StepError::stopped`.
    fn stop_requested(&self) -> Option<Stop>;
}

/// `--quick`: little of everything, to see that all of it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quick {
    /// Rows per table that `load-data` keeps.
    pub rows: usize,
    /// Updates after which `train` ends.
    pub updates: usize,
}

pub struct RunCx<'a> {
    pub quick: Option<Quick>,
    pub inputs: &'a dyn Inputs,
    pub control: &'a mut dyn Control,
    pub probe: &'a dyn Probe,
    /// A folder of this step's key for unfinished work: it survives an interruption and is removed
    /// when the step is done. It may not exist yet.
    pub scratch: &'a Path,
}

impl RunCx<'_> {
    pub fn input<K: Carried>(&self, port: &Port<K>) -> Result<K::Value, StepError> {
        let value = self.inputs.load(&port.source)?;
        let found = value.ty();
        K::value(value).ok_or_else(|| {
            StepError::internal(format!(
                "{port:?} carries {}, not {}",
                found.describe(),
                K::TYPE.describe()
            ))
        })
    }
}

/// Why a step could not be done. `cli` shows it at the step, with the file and line it names.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    pub code: Code,
    /// Lower case: what was found.
    pub message: String,
    pub file: Option<PathBuf>,
    /// Counted from 1.
    pub line: Option<usize>,
    /// The argument at fault, as a dotted path.
    pub argument: Option<String>,
    pub help: Option<String>,
    /// Set if a stop was asked for and a checkpoint lies in `scratch`.
    pub stopped: Option<Stop>,
}

impl StepError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            file: None,
            line: None,
            argument: None,
            help: None,
            stopped: None,
        }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::E0799, message)
    }

    pub fn stopped(stop: Stop) -> Self {
        Self { stopped: Some(stop), ..Self::new(Code::E0701, "stopped on request") }
    }

    pub fn at(mut self, file: impl Into<PathBuf>, line: Option<usize>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    pub fn argument(mut self, path: impl Into<String>) -> Self {
        self.argument = Some(path.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<crate::data::DataError> for StepError {
    fn from(error: crate::data::DataError) -> Self {
        Self {
            file: error.file.map(PathBuf::from),
            line: error.line.and_then(|line| usize::try_from(line).ok()),
            help: error.help,
            ..Self::new(error.fault.code(), error.message)
        }
    }
}

impl From<crate::model::ModelError> for StepError {
    fn from(error: crate::model::ModelError) -> Self {
        Self { file: error.file, help: error.help, ..Self::new(Code::E0701, error.message) }
    }
}
