//! `ftrun FILE.ftp`: check, run, and say what came of it.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use clap::Args;
use indexmap::IndexMap;
use serde_json::json;

use super::Exit;
use super::console::Console;
use super::progress::Progress;
use super::render;
use super::session::{Opened, Refusal, WorkArgs, set_threads};
use super::signals;
use crate::base::{Code, Diag, Digest, Severity, Source, Span};
use crate::data::Form;
use crate::exec::manifest::{self, Git, Identity, Manifest, Metric};
use crate::exec::{Class, End, Outcome, Signal, Sink, Store, index::Index, run};
use crate::plan::{Graph, Node};
use crate::report;
use crate::schema::Type;
use crate::step::shape::Shape;
use crate::step::{StepError, Stop};
use crate::task::{Outputs, Task, task};

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// Append JSON lines about what happens, as it happens
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

pub fn run(args: &RunArgs, console: &Console) -> Exit {
    let begun = Instant::now();
    let started = SystemTime::now();
    let file = args.work.program.file.display().to_string();
    // Whatever comes now may take a while: headers on a slow disk, a model hub.
    if !console.quiet && !console.json {
        console.message(&format!("checking {file}"));
    }
    let opened = match Opened::open(&args.work) {
        Ok(opened) => opened,
        Err(refusal) => return refuse(refusal, console),
    };
    let warnings: Vec<_> =
        opened.program.diags.iter().filter(|diag| diag.severity() == Severity::Warning).collect();
    if !warnings.is_empty() && !console.json {
        console.message(&opened.program.render(console));
    }
    let ready = set_threads(opened.threads).and_then(|()| {
        let store = Store::create(&opened.store)
            .map_err(|error| format!("{}: {error}", opened.store.display()))?;
        Ok((store, Progress::new(console, args.events.as_deref())?))
    });
    let (store, mut progress) = match ready {
        Ok(ready) => ready,
        Err(message) => return refuse(Refusal::Message(message), console),
    };
    let names = Index::open(&store).and_then(|index| index.names()).unwrap_or_default();
    let taken: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    let identity = Identity::new(started, &taken);
    if !console.json {
        let (steps, threads) = (opened.steps.len(), opened.threads);
        let count = |number: usize, word: &str| {
            format!("{number} {word}{}", if number == 1 { "" } else { "s" })
        };
        progress.say(&format!(
            "run {}: {}, {} on the processor",
            identity.name,
            count(steps, "step"),
            count(threads, "thread")
        ));
    }
    let stopper = signals::listen(console);
    let stop = || stopper.get();
    let files = opened.files(&store);
    let session = opened.session(&store, &files, &stop);
    let outcome = run::run(&session, &mut progress);
    let manifest = manifest(args, &opened, &outcome, &identity, begun.elapsed().as_secs_f64());
    if let Err(error) = manifest.write(&store) {
        let message = format!("the manifest of the run was not kept: {error}");
        progress.signal(&Signal::Warning { step: "", message: &message });
    }
    progress.clear();
    let failures = failures(&opened.graph, &outcome.end);
    if console.json {
        let errors: Vec<_> =
            failures.iter().map(|diag| render::object(diag, &opened.program.sources)).collect();
        let mut all_warnings = opened.program.objects(Severity::Warning);
        all_warnings.extend(
            outcome
                .warnings
                .iter()
                .map(|(step, message)| json!({ "step": step, "message": message })),
        );
        console.object(&json!({
            "schema": 1,
            "run": identity.name,
            "steps": outcome.steps.iter().map(|step| json!({
                "name": step.name,
                "kind": step.kind,
                "status": step.status.word(),
                "seconds": (step.seconds * 1000.0).round() / 1000.0,
                "report": report_of(&outcome, &step.name),
            })).collect::<Vec<_>>(),
            "metrics": report::json(&outcome.scores),
            "validation": report::json(&outcome.validations),
            "warnings": all_warnings,
            "errors": errors,
        }));
    } else {
        tell(args, &opened, &outcome, &failures, begun.elapsed().as_secs_f64(), console);
    }
    match outcome.end {
        End::Done => Exit::Done,
        End::Stopped(Stop::Interrupt) => Exit::Interrupted,
        End::Stopped(Stop::Checkpoint) => Exit::Checkpointed,
        End::Failed { ref error, .. } if error.code == Code::E0799 => Exit::Fault,
        End::Failed { .. } | End::Unmet { .. } => Exit::Failed,
    }
}

/// Tells why nothing runs.
pub fn refuse(refusal: Refusal, console: &Console) -> Exit {
    match refusal {
        Refusal::Program(program) => program.refuse(console),
        Refusal::Message(message) if console.json => console.object(&json!({
            "schema": 1,
            "errors": [{ "severity": "error", "message": message }],
            "warnings": [],
        })),
        Refusal::Message(message) => console.message(&message),
    }
    Exit::Wrong
}

/// The end of a run, for people.
fn tell(
    args: &RunArgs,
    opened: &Opened,
    outcome: &Outcome,
    failures: &[Diag],
    seconds: f64,
    console: &Console,
) {
    let again = command(args);
    if !failures.is_empty() {
        for diag in failures {
            console.message(&render::graphical(diag, &opened.program.sources, console));
        }
        console.message(&format!("what was finished is kept; to go on: {again}"));
        return;
    }
    if let End::Stopped(_) = outcome.end {
        console.message(&format!("stopped; to go on where it stopped: {again}"));
        return;
    }
    if let Some(table) = report::table(&outcome.validations).filter(|_| outcome.scores.is_empty()) {
        console.result(&table);
    }
    if let Some(table) = report::table(&outcome.scores) {
        console.result(&table);
    }
    for table in report::details(&outcome.scores) {
        console.result(&table);
    }
    if let Some(table) = report::losses(&outcome.reports) {
        console.result(&table);
    }
    let mut saved = None;
    for step in &outcome.steps {
        if let Some(path) = &step.placed {
            console.result(&format!("{}: {}", step.name, shown(path)));
            // An adapter alone cannot be asked.
            let has = |name: &str| path.join(name).is_file();
            let is_whole = has("config.json") && !has(crate::model::adapter::CONFIG_FILE);
            saved = saved.or_else(|| is_whole.then(|| path.clone()));
        }
    }
    if !console.quiet {
        let ran =
            outcome.steps.iter().filter(|step| step.status == crate::exec::Status::Run).count();
        let hits = outcome.steps.len() - ran;
        console.message(&format!(
            "done in {}: {ran} steps ran, {hits} unchanged",
            report::duration(seconds)
        ));
        let model = opened
            .steps
            .iter()
            .filter_map(|at| opened.graph.nodes.get(*at))
            .rfind(|node| trains(node));
        if args.work.quick {
            console.message(&format!("next, in full: {}", again.replace(" --quick", "")));
            return;
        }
        let asked = model.is_none_or(|node| task_of(node).is_none_or(|task| task.keeps_logits()));
        let by_text = model.and_then(task_of).is_none_or(|task| {
            task.forms().contains(&Form::Texts) && task.outputs() != Outputs::Vectors
        });
        let rows = if by_text { "--text \"…\"" } else { "--rows FILE" };
        let next = match (&saved.filter(|_| asked), model.filter(|_| asked)) {
            (Some(folder), _) => format!("ftrun predict {} {rows}", shown(folder)),
            (None, Some(node)) => {
                format!("ftrun predict {} {} {rows}", args.work.program.file.display(), node.name)
            }
            (None, None) => format!("ftrun graph {}", args.work.program.file.display()),
        };
        console.message(&format!("next: {next}"));
    }
}

fn trains(node: &Node) -> bool {
    !node.inputs.is_empty()
        && node.kind.outputs.first().is_some_and(|main| main.ty == crate::schema::PortType::Model)
}

/// The task of the model that a step makes, where it is known.
fn task_of(node: &Node) -> Option<&'static dyn Task> {
    let head = node.shapes.iter().find_map(|(_, shape)| match shape {
        Shape::Model(model) => model.head.as_deref(),
        _ => None,
    });
    head.and_then(|head| task(head).ok())
}

/// A path as people would type it from here.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    text.strip_prefix("./").map_or(text.clone(), str::to_string)
}

/// The command that runs this program again with the same values.
fn command(args: &RunArgs) -> String {
    let program = &args.work.program;
    let mut words = vec!["ftrun".to_string(), program.file.display().to_string()];
    words.extend(args.work.steps.iter().cloned());
    if args.work.quick {
        words.push("--quick".into());
    }
    for set in &program.set {
        words.push(format!("--set {}", quoted(set)));
    }
    for params in &program.params {
        words.push(format!("--params {}", params.display()));
    }
    if let Some(store) = &args.work.store.store {
        words.push(format!("--store {}", store.display()));
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "=._-+/:@%".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// What went wrong at the end of a run.
pub fn failures(graph: &Graph, end: &End) -> Vec<Diag> {
    match end {
        End::Failed { step, error } => vec![diag_of(graph, step, error)],
        End::Unmet { step, unmet } => unmet
            .iter()
            .map(|one| {
                let span = graph.node(step).map_or(one.span, |node| node.span);
                Diag::new(Code::E0702, one.span, &one.message)
                    .here("expected here")
                    .also(span, "what was found is of this step")
            })
            .collect(),
        End::Done | End::Stopped(_) => Vec::new(),
    }
}

/// What a step counted; `None` for what is no finite number.
fn report_of(outcome: &Outcome, step: &str) -> IndexMap<String, Option<f64>> {
    let report = outcome.reports.iter().find(|(name, _)| name == step);
    let numbers = report.into_iter().flat_map(|(_, report)| report.iter());
    numbers
        .map(|(name, number)| (name.clone(), Some(*number).filter(|number| number.is_finite())))
        .collect()
}

/// A failure of a step as a diagnostic at the argument it names.
pub fn diag_of(graph: &Graph, step: &str, error: &StepError) -> Diag {
    let node = graph.node(step);
    let span = node
        .and_then(|node| {
            error.argument.as_deref().and_then(|path| node.origin(path)).or(Some(node.span))
        })
        .unwrap_or_default();
    let place = match (&error.file, error.line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, _) => String::new(),
    };
    let message = match error.message.starts_with(&place) {
        true => error.message.clone(),
        false => format!("{place}{}", error.message),
    };
    let mut diag = Diag::new(error.code, span, message).here(format!("step `{step}`"));
    diag.help.clone_from(&error.help);
    diag
}

/// Where a value was written: `sst2.ftp:12`, `--set`.
pub fn origin(sources: &[Source], span: Span) -> String {
    match sources.get(span.source.0 as usize) {
        Some(source) if source.name.starts_with("--") => source.name.clone(),
        Some(source) => {
            let name = Path::new(&source.name).file_name().unwrap_or_default().to_string_lossy();
            format!("{name}:{}", source.line_column(span.start).0)
        }
        None => String::new(),
    }
}

fn manifest(
    args: &RunArgs,
    opened: &Opened,
    outcome: &Outcome,
    identity: &Identity,
    seconds: f64,
) -> Manifest {
    let sources = &opened.program.sources;
    let file = &args.work.program.file;
    let metrics = |all: &[report::Named]| {
        let steps = report::metrics(all).into_iter().map(|(step, values)| {
            let values = values
                .into_iter()
                .map(|(name, (value, low, high))| (name, Metric { value, low, high }));
            (step, values.collect())
        });
        steps.collect()
    };
    let steps = outcome.steps.iter().map(|step| manifest::Step {
        name: step.name.clone(),
        kind: step.kind.to_string(),
        status: step.status.word().to_string(),
        seconds: step.seconds,
        attempts: 1,
        peak_memory: step.peak_memory,
        key: step.key,
        outputs: step
            .record
            .iter()
            .flat_map(|record| &record.outputs)
            .filter_map(|output| Some((output.name.clone(), output.content(None)?)))
            .collect(),
        placed: step.placed.clone(),
        report: report_of(outcome, &step.name),
        arguments: opened
            .graph
            .node(&step.name)
            .map(|node| arguments(node, sources))
            .unwrap_or_default(),
    });
    let (status, errors) = match &outcome.end {
        End::Done => ("done", Vec::new()),
        End::Stopped(_) => ("stopped", Vec::new()),
        End::Failed { step, error } => ("failed", vec![format!("{step}: {}", error.message)]),
        End::Unmet { step, unmet } => {
            ("failed", unmet.iter().map(|one| format!("{step}: {}", one.message)).collect())
        }
    };
    Manifest {
        schema: manifest::SCHEMA,
        id: identity.id.clone(),
        name: identity.name.clone(),
        program: manifest::Program {
            file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folder: std::path::absolute(&opened.folder).unwrap_or_else(|_| opened.folder.clone()),
            digest: sources
                .first()
                .map_or(Digest::of(b""), |source| Digest::of(source.text.as_bytes())),
            seed: opened.graph.seed,
            quick: args.work.quick,
            parameters: opened
                .graph
                .params
                .iter()
                .map(|param| manifest::Value {
                    name: param.name.clone(),
                    value: param.value.clone(),
                    origin: Some(origin(sources, param.origin)),
                })
                .collect(),
        },
        started: identity
            .started
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        seconds,
        status: status.to_string(),
        steps: steps.collect(),
        metrics: metrics(&outcome.scores),
        validation: metrics(&outcome.validations),
        warnings: outcome
            .warnings
            .iter()
            .map(|(step, message)| format!("{step}: {message}"))
            .collect(),
        errors,
        class: Class::here(),
        threads: opened.threads,
        libraries: manifest::libraries(),
        command_line: std::env::args().collect(),
        git: Git::of(&opened.folder),
        parent: None,
    }
}

/// Every argument with its value and where it was written; parts of a value that were written
/// elsewhere than the whole stand behind it. Credentials are left out.
fn arguments(node: &Node, sources: &[Source]) -> Vec<manifest::Value> {
    let secret = |name: &str| {
        node.kind.params.iter().any(|param| param.name == name && param.ty == Type::Secret)
    };
    let mut all = Vec::new();
    for (name, value) in node.args.iter().filter(|(name, _)| !secret(name)) {
        all.push(manifest::Value {
            name: name.clone(),
            value: value.to_string(),
            origin: node.origins.get(name).map(|span| origin(sources, *span)),
        });
        let whole = node.origins.get(name).map(|span| span.source);
        let inside = format!("{name}.");
        for (path, span) in node.origins.iter().filter(|(path, _)| path.starts_with(&inside)) {
            if Some(span.source) != whole {
                let source = sources.get(span.source.0 as usize);
                let text = source.and_then(|source| source.text.get(span.start..span.end));
                all.push(manifest::Value {
                    name: path.clone(),
                    value: text.unwrap_or_default().to_string(),
                    origin: Some(origin(sources, *span)),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_change_are_quoted() {
        assert_eq!(quoted("learning_rate=3e-5"), "learning_rate=3e-5");
        assert_eq!(quoted("training=3 epochs"), "'training=3 epochs'");
    }
}
