//! `ftrun show RUN`: what ran, with which values, and what came of it.

use std::path::PathBuf;

use clap::Args;

use super::Exit;
use super::console::Console;
use super::run::refuse;
use super::session::{Refusal, StoreArgs, find_store};
use crate::exec::index::Index;
use crate::exec::manifest::{self, Manifest, civil};
use crate::report;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A run's name, the beginning of one, `last`, `@1` (the last), `@2` (the one before)
    #[arg(default_value = "last")]
    run: String,
    /// The program whose store is meant
    #[arg(long, value_name = "FILE")]
    of: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

pub fn run(args: &ShowArgs, console: &Console) -> Exit {
    let found = find_store(&args.store, args.of.as_deref()).and_then(|store| {
        let names = Index::open(&store)?.names()?;
        Manifest::read(&store, manifest::resolve(&args.run, &names)?)
    });
    let manifest = match found {
        Ok(manifest) => manifest,
        Err(message) => return refuse(Refusal::Message(message), console),
    };
    if console.json {
        console.object(&serde_json::json!({ "schema": 1, "manifest": manifest }));
        return Exit::Done;
    }
    let (year, month, day, hour, minute, _) = civil(manifest.started as u64);
    console.result(&format!(
        "{}: {} on {year:04}-{month:02}-{day:02} at {hour:02}:{minute:02} UTC, {} in {}",
        manifest.name,
        manifest.program.file,
        manifest.status,
        report::duration(manifest.seconds)
    ));
    if let Some(git) = &manifest.git {
        let commit = git.commit.get(..12).unwrap_or(&git.commit);
        let dirty = if git.dirty { ", with changes that were not committed" } else { "" };
        console.result(&format!("commit {commit}{dirty}"));
    }
    console.result(&format!("class: {}; {} threads", manifest.class, manifest.threads));
    let parameters = manifest.program.parameters.iter().map(|one| {
        vec![one.name.clone(), one.value.clone(), one.origin.clone().unwrap_or_default()]
    });
    let parameters: Vec<Vec<String>> = parameters.collect();
    if !parameters.is_empty() {
        console.result(&report::grid(&["parameter", "value", "from"], &[], &parameters));
    }
    let steps: Vec<Vec<String>> = manifest
        .steps
        .iter()
        .map(|step| {
            let memory =
                step.peak_memory.map(|bytes| format!("{} MiB", bytes >> 20)).unwrap_or_default();
            let placed =
                step.placed.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            vec![
                step.name.clone(),
                step.kind.clone(),
                step.status.clone(),
                report::duration(step.seconds),
                memory,
                placed,
            ]
        })
        .collect();
    console.result(&report::grid(
        &["step", "kind", "", "took", "memory", "placed"],
        &["took", "memory"],
        &steps,
    ));
    let metrics: Vec<Vec<String>> = manifest
        .metrics
        .iter()
        .chain(&manifest.validation)
        .flat_map(|(step, values)| values.iter().map(move |(name, metric)| (step, name, metric)))
        .map(|(step, name, metric)| {
            let number =
                |value: Option<f64>| value.map(|value| format!("{value:.4}")).unwrap_or_default();
            vec![
                step.clone(),
                name.clone(),
                number(metric.value),
                number(metric.low),
                number(metric.high),
            ]
        })
        .collect();
    if !metrics.is_empty() {
        let right = ["value", "low", "high"];
        console.result(&report::grid(
            &["step", "metric", "value", "low", "high"],
            &right,
            &metrics,
        ));
    }
    for warning in &manifest.warnings {
        console.result(&format!("warning: {warning}"));
    }
    for error in &manifest.errors {
        console.result(&format!("error: {error}"));
    }
    Exit::Done
}
