//! What a run is given, what it tells while it goes on, and what it gives back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claim::Pace;
use super::class::Class;
use super::expect::Unmet;
use super::files::Files;
use super::store::{Record, Store};
use crate::base::Digest;
use crate::plan::Graph;
use crate::step::value::{Report, Scores};
use crate::step::{Event, Probe, Quick, StepError, Stop};

/// Everything a run is given.
pub struct Session<'a> {
    pub graph: &'a Graph,
    /// Indices of the graph's nodes, each behind all that it needs.
    pub steps: Vec<usize>,
    pub store: &'a Store,
    pub files: &'a Files,
    pub probe: &'a dyn Probe,
    pub quick: Option<Quick>,
    /// Steps that run again even if their result is there.
    pub force: BTreeSet<String>,
    pub class: Class,
    pub pace: Pace,
    /// The program's folder: where relative targets lie.
    pub base: &'a Path,
    pub stop: &'a dyn Fn() -> Option<Stop>,
}

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Signal<'a> {
    Begin {
        steps: usize,
    },
    Hit {
        step: &'a str,
    },
    Start {
        step: &'a str,
        kind: &'a str,
    },
    Inside {
        step: &'a str,
        event: &'a Event,
    },
    /// Another process works on the same key.
    Waiting {
        step: &'a str,
        host: &'a str,
        process: u32,
    },
    Done {
        step: &'a str,
        seconds: f64,
    },
    Failed {
        step: &'a str,
        message: &'a str,
    },
    Placed {
        step: &'a str,
        path: &'a Path,
        written: bool,
    },
    /// Of the store or of the run, not of a step's data.
    Warning {
        step: &'a str,
        message: &'a str,
    },
}

pub trait Sink {
    fn signal(&mut self, signal: &Signal);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Hit,
    Run,
    Failed,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Hit => "hit",
            Status::Run => "run",
            Status::Failed => "failed",
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone)]
pub struct StepResult {
    pub name: String,
    pub kind: &'static str,
    pub status: Status,
    pub seconds: f64,
    /// The most memory the process held while it ran, in bytes.
    pub peak_memory: Option<u64>,
    pub key: Option<Digest>,
    pub record: Option<Record>,
    pub placed: Option<PathBuf>,
}

#[derive(Debug)]
pub enum End {
    Done,
    Stopped(Stop),
    Failed {
        step: String,
        error: StepError,
    },
    /// A step is done, and what it reports is not as expected.
    Unmet {
        step: String,
        unmet: Vec<Unmet>,
    },
}

pub struct Outcome {
    pub steps: Vec<StepResult>,
    pub end: End,
    /// With the step they are about.
    pub warnings: Vec<(String, String)>,
    /// Of steps that compute scores.
    pub scores: Vec<(String, Arc<Scores>)>,
    /// Of steps that have scores beside their main output: validations.
    pub validations: Vec<(String, Arc<Scores>)>,
    /// What steps counted.
    pub reports: Vec<(String, Arc<Report>)>,
}
