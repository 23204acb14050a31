//! Running a graph: in order, a key per step, a hit or the step's work, early cutoff by content,
//! and what `save` makes put in its place. Nothing is printed here: a [`Sink`] is told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::claim::{Attempt, Claimant, Owner, Pace};
use super::class::{self, Class};
use super::files::Files;
use super::key::{self, Document, KeyError};
use super::place;
use super::store::{Lookup, OutputRecord, Published, Record, Store, io_error};
use crate::base::{Code, Digest};
use crate::plan::{Graph, Node};
use crate::schema::{PortRef, PortType};
use crate::step::store as codec;
use crate::step::value::Scores;
use crate::step::{
    Carried, Control, Event, Inputs, Probe, Quick, RunCx, StepError, Stop, Value, value::port,
};

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
    Failed { step: String, error: StepError },
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
}

/// What the run knows of steps that are done.
struct Done<'a> {
    session: &'a Session<'a>,
    records: RefCell<BTreeMap<String, Record>>,
    /// Values of parts by their object, as long as a later step may need them.
    values: RefCell<BTreeMap<Digest, Value>>,
    /// Outputs that are computed from stored ones, by step and name; `None` where there is nothing
    /// to compute.
    derived: RefCell<BTreeMap<(String, String), Option<Value>>>,
    /// Outputs that were made in memory alone, by step and name.
    loose: RefCell<BTreeMap<(String, String), Value>>,
}

impl<'a> Done<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            records: RefCell::default(),
            values: RefCell::default(),
            derived: RefCell::default(),
            loose: RefCell::default(),
        }
    }

    fn node(&self, step: &str) -> Result<&'a Node, StepError> {
        let node = self.session.graph.node(step);
        node.ok_or_else(|| StepError::internal(format!("no step is named `{step}`")))
    }

    fn output(&self, step: &str, output: &str) -> Result<OutputRecord, StepError> {
        let records = self.records.borrow();
        let record = records
            .get(step)
            .ok_or_else(|| StepError::internal(format!("`{step}` has not been made")))?;
        record
            .output(output)
            .cloned()
            .ok_or_else(|| StepError::internal(format!("`{step}` has made no `{output}`")))
    }

    /// An output that depends on arguments outside the key.
    fn derive(&self, step: &str, output: &str) -> Result<Option<Value>, StepError> {
        let name = (step.to_string(), output.to_string());
        if let Some(known) = self.derived.borrow().get(&name) {
            return Ok(known.clone());
        }
        let stored = |other: &str| self.stored(step, other, None);
        let value = self.node(step)?.step.derive(output, &stored)?;
        self.derived.borrow_mut().insert(name, value.clone());
        Ok(value)
    }

    fn stored(&self, step: &str, output: &str, field: Option<&str>) -> Result<Value, StepError> {
        if let Some(value) = self.loose.borrow().get(&(step.to_string(), output.to_string())) {
            let part = |field: &str| {
                let parts = codec::parts(value).into_iter();
                parts
                    .filter(|(name, _)| name.as_deref() == Some(field))
                    .map(|(_, part)| part)
                    .next()
            };
            return match field {
                None => Ok(value.clone()),
                Some(field) => part(field).ok_or_else(|| {
                    StepError::internal(format!("`{step}.{output}` has no `{field}`"))
                }),
            };
        }
        let record = self.output(step, output)?;
        let parts: Vec<_> = match field {
            Some(field) => record.part(field).into_iter().collect(),
            None => record.parts.iter().collect(),
        };
        let mut loaded = Vec::new();
        for part in parts {
            let known = self.values.borrow().get(&part.object).cloned();
            let value = match known {
                Some(value) => value,
                None => {
                    let alone = OutputRecord { parts: vec![part.clone()], ..record.clone() };
                    let value = self.session.store.load_alone(&alone)?;
                    self.values.borrow_mut().insert(part.object, value.clone());
                    value
                }
            };
            loaded.push((part.name.clone(), value));
        }
        match (field, <[_; 1]>::try_from(loaded)) {
            (Some(_), Ok([(_, value)])) => Ok(value),
            (Some(field), Err(_)) => {
                Err(StepError::internal(format!("`{step}.{output}` has no `{field}`")))
            }
            (None, parts) => {
                let ty = record.port_type().ok_or_else(|| StepError::internal("unknown type"))?;
                codec::join(ty, parts.map_or_else(|parts| parts, Vec::from))
            }
        }
    }

    /// The content digest of what a single reference carries; `None` if it has not been made.
    fn carried(&self, port: &PortRef) -> Result<Option<Digest>, StepError> {
        let PortRef::One { step, output, field } = port else { return Ok(None) };
        if !self.records.borrow().contains_key(step) {
            return Ok(None);
        }
        if let Some(value) = self.derive(step, output)? {
            return codec::digest(&value);
        }
        Ok(self.output(step, output)?.content(field.as_deref()))
    }

    /// Forgets what no step behind `position` refers to.
    fn free(&self, position: usize) {
        let session = self.session;
        let mut needed = BTreeSet::new();
        let records = self.records.borrow();
        let later =
            session.steps.iter().skip(position + 1).filter_map(|at| session.graph.nodes.get(*at));
        for port in later.flat_map(|node| &node.inputs) {
            mark(port, &records, &mut needed);
        }
        self.values.borrow_mut().retain(|object, _| needed.contains(object));
    }
}

fn mark(port: &PortRef, records: &BTreeMap<String, Record>, needed: &mut BTreeSet<Digest>) {
    match port {
        PortRef::One { step, .. } => {
            // The whole step: a derived output reads others beside the one that is named.
            let outputs = records.get(step).into_iter().flat_map(|record| &record.outputs);
            needed.extend(outputs.flat_map(|output| &output.parts).map(|part| part.object));
        }
        PortRef::Named(items) => items.iter().for_each(|(_, item)| mark(item, records, needed)),
    }
}

impl Inputs for Done<'_> {
    fn load(&self, port: &PortRef) -> Result<Value, StepError> {
        match port {
            PortRef::One { step, output, field } => match self.derive(step, output)? {
                Some(value) => Ok(value),
                None => self.stored(step, output, field.as_deref()),
            },
            PortRef::Named(items) => {
                let values = items
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), self.load(item)?)))
                    .collect::<Result<Vec<_>, StepError>>()?;
                if values.iter().all(|(_, value)| value.ty() == PortType::Tokens) {
                    let sets: IndexMap<_, _> = values
                        .into_iter()
                        .filter_map(|(name, value)| match value {
                            Value::Tokens(tokens) => Some((name, tokens)),
                            _ => None,
                        })
                        .collect();
                    return Ok(Value::TokenSets(Arc::new(sets)));
                }
                let mut tables = crate::data::Tables::new();
                for (name, value) in values {
                    let found = value.ty().describe();
                    let table = <port::ATable as Carried>::value(value).ok_or_else(|| {
                        StepError::internal(format!("`{name}` is {found}, not a table"))
                    })?;
                    tables.insert(name, Arc::unwrap_or_clone(table));
                }
                Ok(Value::Tables(Arc::new(tables)))
            }
        }
    }
}

/// What a step's `run` talks to.
struct Listener<'a> {
    step: &'a str,
    sink: &'a mut dyn Sink,
    stop: &'a dyn Fn() -> Option<Stop>,
    warnings: Vec<String>,
}

impl Control for Listener<'_> {
    fn event(&mut self, event: Event) {
        if let Event::Warning { message } = &event {
            self.warnings.push(message.clone());
        }
        self.sink.signal(&Signal::Inside { step: self.step, event: &event });
    }

    fn stop_requested(&self) -> Option<Stop> {
        (self.stop)()
    }
}

/// Runs the steps of a session. Nothing that was finished before a failure or a stop is lost.
pub fn run(session: &Session, sink: &mut dyn Sink) -> Outcome {
    let mut outcome = Outcome {
        steps: Vec::new(),
        end: End::Done,
        warnings: Vec::new(),
        scores: Vec::new(),
        validations: Vec::new(),
    };
    sink.signal(&Signal::Begin { steps: session.steps.len() });
    let done = Done::new(session);
    let steps = session.steps.iter().filter_map(|at| session.graph.nodes.get(*at));
    // A place that may not be written is found out before hours of training.
    for node in steps.clone() {
        if let Some((to, overwrite)) = node.step.target()
            && let Err(error) = place::check(session.store, session.base, to, overwrite)
        {
            sink.signal(&Signal::Failed { step: &node.name, message: &error.message });
            outcome.end = End::Failed { step: node.name.clone(), error };
            return outcome;
        }
    }
    for (position, node) in steps.enumerate() {
        if let Some(stop) = (session.stop)() {
            outcome.end = End::Stopped(stop);
            break;
        }
        let begun = Instant::now();
        class::reset_peak_memory();
        let mut key = None;
        let made = step(session, node, &done, sink, &mut outcome.warnings, &mut key);
        let seconds = begun.elapsed().as_secs_f64();
        let mut result = StepResult {
            name: node.name.clone(),
            kind: node.kind.name,
            status: Status::Failed,
            seconds,
            peak_memory: class::peak_memory(),
            key,
            record: None,
            placed: None,
        };
        match made {
            Ok(made) => {
                result.status = made.status;
                result.record = Some(made.record);
                result.placed = made.placed;
                outcome.steps.push(result);
                if made.status == Status::Run {
                    sink.signal(&Signal::Done { step: &node.name, seconds });
                }
                if let Err(error) = scores(node, &done, &mut outcome) {
                    outcome.end = End::Failed { step: node.name.clone(), error };
                    break;
                }
                done.free(position);
            }
            Err(StepError { stopped: Some(stop), .. }) => {
                outcome.end = End::Stopped(stop);
                break;
            }
            Err(error) => {
                sink.signal(&Signal::Failed { step: &node.name, message: &error.message });
                outcome.steps.push(result);
                outcome.end = End::Failed { step: node.name.clone(), error };
                break;
            }
        }
    }
    if let Err(error) = session.files.save() {
        let message = format!("digests of files were not kept: {error}");
        sink.signal(&Signal::Warning { step: "", message: &message });
    }
    outcome
}

/// Collects the scores among a step's outputs.
fn scores(node: &Node, done: &Done, outcome: &mut Outcome) -> Result<(), StepError> {
    for (at, output) in node.kind.outputs.iter().enumerate() {
        if output.ty != PortType::Scores {
            continue;
        }
        let stored = || {
            done.records
                .borrow()
                .get(&node.name)
                .is_some_and(|record| record.output(output.name).is_some())
        };
        let value = match done.derive(&node.name, output.name)? {
            Some(value) => value,
            None if stored() => done.stored(&node.name, output.name, None)?,
            None => continue,
        };
        if let Value::Scores(scores) = value {
            let list = if at == 0 { &mut outcome.scores } else { &mut outcome.validations };
            list.push((node.name.clone(), scores));
        }
    }
    Ok(())
}

struct Made {
    status: Status,
    record: Record,
    placed: Option<PathBuf>,
}

fn step(
    session: &Session,
    node: &Node,
    done: &Done,
    sink: &mut dyn Sink,
    warnings: &mut Vec<(String, String)>,
    key: &mut Option<Digest>,
) -> Result<Made, StepError> {
    let document = document_of(session, node, done, None)?.map_err(of_key)?;
    let address = document.key();
    *key = Some(address);
    let name = node.name.as_str();
    let mut warn = |sink: &mut dyn Sink, message: String| {
        sink.signal(&Signal::Warning { step: name, message: &message });
        warnings.push((name.to_string(), message));
    };
    let forced = session.force.contains(name);
    let mut found = match session.store.lookup(address) {
        Lookup::Hit(record) if !forced => Some(*record),
        _ => None,
    };
    let mut status = Status::Hit;
    if found.is_none() {
        let mut claimant = Claimant::new(&session.store.folder("claims"), address, session.pace);
        let mut told: Option<Owner> = None;
        let claim = loop {
            let attempt =
                claimant.attempt().map_err(|error| io_error(session.store.root(), &error))?;
            match attempt {
                Attempt::Ours(claim) => break Some(claim),
                Attempt::Theirs(owner) => {
                    if told.as_ref() != Some(&owner) {
                        let (host, process) = (owner.host.as_str(), owner.process);
                        sink.signal(&Signal::Waiting { step: name, host, process });
                        told = Some(owner);
                    }
                    if let Some(stop) = (session.stop)() {
                        return Err(StepError::stopped(stop));
                    }
                    std::thread::sleep(Duration::from_millis(200).min(session.pace.heartbeat));
                    if let Lookup::Hit(record) = session.store.lookup(address)
                        && !forced
                    {
                        found = Some(*record);
                        break None;
                    }
                }
            }
        };
        // While the claim was waited for, another process may have finished.
        let mut earlier = None;
        if claim.is_some() {
            match session.store.lookup(address) {
                Lookup::Hit(record) if forced => {
                    session
                        .store
                        .withdraw(address)
                        .map_err(|error| io_error(session.store.root(), &error))?;
                    earlier = Some(*record);
                }
                Lookup::Hit(record) => found = Some(*record),
                Lookup::Absent => {}
                Lookup::Damaged(what) => {
                    warn(sink, format!("{what}; the step runs again"));
                    session
                        .store
                        .set_aside(address)
                        .map_err(|error| io_error(session.store.root(), &error))?;
                }
            }
        }
        if found.is_none() {
            sink.signal(&Signal::Start { step: name, kind: node.kind.name });
            status = Status::Run;
            let record = work(session, node, done, sink, address, document)?;
            if let Some(earlier) = earlier.filter(|earlier| !earlier.agrees_with(&record)) {
                warn(sink, fault(&earlier, &record, "an earlier run"));
            }
            found = Some(match session.store.publish(&record)? {
                Published::Ours => record,
                Published::Theirs(theirs) => {
                    if !theirs.agrees_with(&record) {
                        warn(sink, fault(&theirs, &record, "another process"));
                    }
                    *theirs
                }
            });
            let scratch = session.store.scratch(address);
            let _ = std::fs::remove_dir_all(scratch);
        }
        drop(claim);
    }
    let Some(record) = found else {
        return Err(StepError::internal("a step has neither run nor been found"));
    };
    if status == Status::Hit {
        sink.signal(&Signal::Hit { step: name });
        if record.class != session.class.to_string() {
            warn(
                sink,
                format!("the stored result is of another class of numbers: {}", record.class),
            );
        }
    }
    for message in &record.warnings {
        warnings.push((name.to_string(), message.clone()));
    }
    done.records.borrow_mut().insert(node.name.clone(), record.clone());
    let mut placed = None;
    if let Some((to, overwrite)) = node.step.target()
        && let Some(part) = node
            .kind
            .outputs
            .first()
            .and_then(|main| record.output(main.name))
            .and_then(|output| output.parts.first())
    {
        let (path, written) = place::place(session.store, session.base, to, part, overwrite)?;
        sink.signal(&Signal::Placed { step: name, path: &path, written });
        placed = Some(path);
    }
    Ok(Made { status, record, placed })
}

fn fault(earlier: &Record, record: &Record, whose: &str) -> String {
    let names: Vec<&str> = record
        .outputs
        .iter()
        .filter(|output| {
            earlier.output(&output.name).and_then(|was| was.content(None)) != output.content(None)
        })
        .map(|output| output.name.as_str())
        .collect();
    format!(
        "determinism fault: the same key gave {whose} other values of {}",
        crate::base::suggest::list(names)
    )
}

/// Runs a step and stores what it made. The claim is ours.
fn work(
    session: &Session,
    node: &Node,
    done: &Done,
    sink: &mut dyn Sink,
    key: Digest,
    document: Document,
) -> Result<Record, StepError> {
    let scratch = session.store.scratch(key);
    let mut listener =
        Listener { step: &node.name, sink, stop: session.stop, warnings: Vec::new() };
    let mut cx = RunCx {
        quick: session.quick,
        inputs: done,
        control: &mut listener,
        probe: session.probe,
        scratch: &scratch,
    };
    let values = node.step.run(&mut cx)?;
    let warnings = listener.warnings;
    let mut outputs = Vec::new();
    for declared in &node.kind.outputs {
        let Some((name, value)) = values.iter().find(|(name, _)| *name == declared.name) else {
            continue;
        };
        let output = session.store.put(name, value)?;
        let kept = codec::parts(value).into_iter().zip(&output.parts);
        for ((_, value), part) in kept.filter(|((_, value), _)| value.ty() != PortType::Folder) {
            done.values.borrow_mut().insert(part.object, value);
        }
        outputs.push(output);
    }
    if let Some(main) = node.kind.outputs.first()
        && !outputs.iter().any(|output| output.name == main.name)
    {
        return Err(StepError::internal(format!("`{}` made no `{}`", node.kind.name, main.name)));
    }
    Ok(Record { key, document, outputs, class: session.class.to_string(), warnings })
}

fn of_key(error: KeyError) -> StepError {
    match error {
        KeyError::Unmade(what) => StepError::internal(format!("`{what}` has not been made")),
        KeyError::Missing(missing) => {
            let error = StepError::new(Code::E0701, missing.message);
            StepError { help: missing.help, ..error }
        }
    }
}

/// `unmade`: what stands for inputs that have not been made, if that is no error.
fn document_of(
    session: &Session,
    node: &Node,
    done: &Done,
    unmade: Option<Digest>,
) -> Result<Result<Document, KeyError>, StepError> {
    let externals = match node.step.externals(session.probe) {
        Ok(externals) => externals,
        Err(missing) => return Ok(Err(KeyError::Missing(missing))),
    };
    // Looking up a derived output can fail: that failure is not a missing input.
    let failed: RefCell<Option<StepError>> = RefCell::new(None);
    let carried = |port: &PortRef| match done.carried(port) {
        Ok(digest) => digest.or(unmade),
        Err(error) => {
            *failed.borrow_mut() = Some(error);
            None
        }
    };
    let digest = |path: &Path| -> io::Result<Digest> { session.files.digest(path) };
    let document =
        key::document(node, &session.class.device, session.quick, &externals, &carried, &digest);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(document),
    }
}

/// Why steps could not be done in memory.
pub enum Loose {
    /// A step that they need has no result in the store.
    Unmade(String),
    Failed {
        step: String,
        error: StepError,
    },
}

/// Runs `steps` without keeping anything; whatever else they need must be in the store. Gives the
/// main output of the last of them.
pub fn loose(session: &Session, steps: &[&str], sink: &mut dyn Sink) -> Result<Value, Loose> {
    let done = Done::new(session);
    let mut last = None;
    for node in session.steps.iter().filter_map(|at| session.graph.nodes.get(*at)) {
        let failed = |error| Loose::Failed { step: node.name.clone(), error };
        if !steps.contains(&node.name.as_str()) {
            let document = document_of(session, node, &done, None).map_err(failed)?;
            let key = document.map_err(of_key).map_err(failed)?.key();
            let Lookup::Hit(record) = session.store.lookup(key) else {
                return Err(Loose::Unmade(node.name.clone()));
            };
            done.records.borrow_mut().insert(node.name.clone(), *record);
            continue;
        }
        let scratch =
            tempfile::tempdir().map_err(|error| failed(io_error(&std::env::temp_dir(), &error)))?;
        let mut listener = Listener {
            step: &node.name,
            sink: &mut *sink,
            stop: session.stop,
            warnings: Vec::new(),
        };
        let mut cx = RunCx {
            quick: session.quick,
            inputs: &done,
            control: &mut listener,
            probe: session.probe,
            scratch: scratch.path(),
        };
        for (output, value) in node.step.run(&mut cx).map_err(failed)? {
            if node.kind.outputs.first().is_some_and(|main| main.name == output) {
                last = Some(value.clone());
            }
            done.loose.borrow_mut().insert((node.name.clone(), output.to_string()), value);
        }
    }
    last.ok_or_else(|| Loose::Failed {
        step: steps.last().map(|step| (*step).to_string()).unwrap_or_default(),
        error: StepError::internal("nothing was made"),
    })
}

/// What would happen to a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Prospect {
    Hit,
    Run,
    /// On what a step upstream will make.
    Depends,
}

impl Prospect {
    pub fn word(&self) -> &'static str {
        match self {
            Prospect::Hit => "hit",
            Prospect::Run => "run",
            Prospect::Depends => "depends",
        }
    }
}

/// A step and what would happen to it.
pub struct Planned {
    pub name: String,
    pub kind: &'static str,
    pub prospect: Prospect,
    /// What it would be computed from. Where the step depends on others, the inputs in it stand for
    /// nothing yet.
    pub document: Option<Document>,
    pub record: Option<Record>,
    /// Steps upstream that decide.
    pub waits_for: Vec<String>,
    /// What is wrong with what is stored, or with the files it needs.
    pub trouble: Option<String>,
}

/// What `run` would do. Writes nothing.
pub fn plan(session: &Session) -> Result<Vec<Planned>, StepError> {
    let done = Done::new(session);
    let mut planned: Vec<Planned> = Vec::new();
    for node in session.steps.iter().filter_map(|at| session.graph.nodes.get(*at)) {
        let mut entry = Planned {
            name: node.name.clone(),
            kind: node.kind.name,
            prospect: Prospect::Depends,
            document: None,
            record: None,
            waits_for: Vec::new(),
            trouble: None,
        };
        for step in node.inputs.iter().flat_map(PortRef::steps) {
            let open =
                planned.iter().any(|other| other.name == step && other.prospect != Prospect::Hit);
            if open && !entry.waits_for.iter().any(|known| known == step) {
                entry.waits_for.push(step.to_string());
            }
        }
        if !entry.waits_for.is_empty() {
            let unmade = Some(Digest::of(b"unmade"));
            entry.document = document_of(session, node, &done, unmade)?.ok();
        } else {
            match document_of(session, node, &done, None)? {
                Ok(document) => {
                    let key = document.key();
                    entry.document = Some(document);
                    entry.prospect = Prospect::Run;
                    match session.store.lookup(key) {
                        Lookup::Hit(_) if session.force.contains(&node.name) => {}
                        Lookup::Hit(record) => {
                            entry.prospect = Prospect::Hit;
                            done.records.borrow_mut().insert(node.name.clone(), (*record).clone());
                            entry.record = Some(*record);
                        }
                        Lookup::Absent => {}
                        Lookup::Damaged(what) => entry.trouble = Some(what),
                    }
                }
                Err(KeyError::Missing(missing)) => {
                    entry.prospect = Prospect::Run;
                    entry.trouble = Some(missing.message);
                }
                Err(KeyError::Unmade(_)) => {}
            }
        }
        planned.push(entry);
    }
    Ok(planned)
}

/// The steps in an order in which whatever reads and prepares data comes before whatever makes a
/// model of a model, as far as the edges allow: what is wrong with the data of any branch is found
/// before hours of training.
pub fn data_first(graph: &Graph, steps: &[usize]) -> Vec<usize> {
    let mut late: BTreeSet<usize> = BTreeSet::new();
    for &at in steps {
        let Some(node) = graph.nodes.get(at) else { continue };
        let trains = !node.inputs.is_empty()
            && node.kind.outputs.first().is_some_and(|main| main.ty == PortType::Model);
        if trains || graph.dependencies(at).iter().any(|needed| late.contains(needed)) {
            late.insert(at);
        }
    }
    let (behind, first): (Vec<usize>, Vec<usize>) = steps.iter().partition(|at| late.contains(at));
    first.into_iter().chain(behind).collect()
}

/// The steps that make nothing but tables from nothing but tables: what they establish needs all
/// rows and no model.
pub fn data_alone(graph: &Graph) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for &at in &graph.order {
        let tables = graph
            .nodes
            .get(at)
            .and_then(|node| node.kind.outputs.first())
            .is_some_and(|main| matches!(main.ty, PortType::Table | PortType::Tables));
        if tables && graph.dependencies(at).iter().all(|needed| found.contains(needed)) {
            found.push(at);
        }
    }
    found
}
