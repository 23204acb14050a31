//! Running a graph: in order, a key per step, a hit or the step's work, early cutoff by content,
//! and what `save` makes put in its place. Nothing is printed here: a [`Sink`] is told.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::claim::{Attempt, Claimant, Owner};
use super::class;
use super::done::{Done, document_of};
use super::expect;
use super::key::{Document, KeyError};
use super::place;
use super::session::{End, Outcome, Session, Signal, Sink, Status, StepResult};
use super::store::{Lookup, Published, Record, io_error};
use crate::base::{Code, Digest};
use crate::plan::Node;
use crate::schema::PortType;
use crate::step::store as codec;
use crate::step::{Control, Event, RunCx, StepError, Stop, Value};

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
        reports: Vec::new(),
    };
    sink.signal(&Signal::Begin { steps: session.steps.len() });
    let done = Done::new(session);
    let steps = session.steps.iter().filter_map(|at| session.graph.nodes.get(*at));
    // A place that may not be written is found out before hours of training.
    for node in steps.clone() {
        if session.quick.is_none()
            && let Some((to, overwrite)) = node.step.target()
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
                let unmet = numbers(node, &done, &mut outcome)
                    .and_then(|()| expect::unmet(session, &node.name, &done));
                match unmet {
                    Ok(unmet) if unmet.is_empty() => {}
                    // A few rows and updates are no measure: a quick run only tells.
                    Ok(unmet) if session.quick.is_some() => {
                        for expect::Unmet { message, .. } in unmet {
                            sink.signal(&Signal::Warning { step: &node.name, message: &message });
                            outcome.warnings.push((node.name.clone(), message));
                        }
                    }
                    Ok(unmet) => {
                        for one in &unmet {
                            let (step, message) = (node.name.as_str(), one.message.as_str());
                            sink.signal(&Signal::Failed { step, message });
                        }
                        outcome.end = End::Unmet { step: node.name.clone(), unmet };
                        break;
                    }
                    Err(error) => {
                        outcome.end = End::Failed { step: node.name.clone(), error };
                        break;
                    }
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

/// Collects the scores and the report among a step's outputs.
fn numbers(node: &Node, done: &Done, outcome: &mut Outcome) -> Result<(), StepError> {
    for (at, output) in node.kind.outputs.iter().enumerate() {
        if !matches!(output.ty, PortType::Scores | PortType::Report) {
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
        match value {
            Value::Scores(scores) => {
                let list = if at == 0 { &mut outcome.scores } else { &mut outcome.validations };
                list.push((node.name.clone(), scores));
            }
            Value::Report(report) => outcome.reports.push((node.name.clone(), report)),
            _ => {}
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
        // A step that ran has told them already.
        if status == Status::Hit {
            sink.signal(&Signal::Warning { step: name, message });
        }
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
        if session.quick.is_some() {
            // What lies there may have taken hours.
            let message = format!("`{to}` is left as it is by a quick run");
            sink.signal(&Signal::Inside { step: name, event: &Event::Note { message } });
        } else {
            let (path, written) = place::place(session.store, session.base, to, part, overwrite)?;
            sink.signal(&Signal::Placed { step: name, path: &path, written });
            placed = Some(path);
        }
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
        if follows(node, name, &values) {
            continue;
        }
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

/// Whether an output follows from the others and arguments outside the key: it is computed whenever
/// it is asked for, and not kept.
fn follows(node: &Node, output: &str, values: &[(&'static str, Value)]) -> bool {
    let needs_itself = Cell::new(false);
    let stored = |other: &str| {
        needs_itself.set(needs_itself.get() || other == output);
        let found = values.iter().find(|(name, _)| *name == other);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| StepError::internal(format!("`{}` made no `{other}`", node.name)))
    };
    matches!(node.step.derive(output, &stored), Ok(Some(_))) && !needs_itself.get()
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
