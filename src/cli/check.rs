//! `ftrun check`: every mistake of a program, without running it. With `--data` also what only all
//! rows can tell.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::args::ProgramArgs;
use super::console::Console;
use super::progress::Progress;
use super::render;
use super::run::{failures, refuse};
use super::session::{Opened, Refusal, StoreArgs, WorkArgs, set_threads};
use crate::base::Severity;
use crate::exec::{End, Store, prospect, run};

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    program: ProgramArgs,
    /// Read all rows too: bad rows, labels, splits; what was read is kept for the run
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// What reading all rows has shown.
#[derive(Default)]
struct Data {
    errors: Vec<Value>,
    warnings: Vec<Value>,
    shown: String,
}

pub fn run(args: &CheckArgs, console: &Console) -> Exit {
    let work = WorkArgs::of(&args.program, &args.store);
    let opened = match Opened::open(&work) {
        Ok(opened) => opened,
        Err(refusal) => return refuse(refusal, console),
    };
    let data = match args.data.then(|| read_all(&opened, console)).transpose() {
        Ok(data) => data.unwrap_or_default(),
        Err(message) => return refuse(Refusal::Message(message), console),
    };
    let wrong = !data.errors.is_empty();
    if console.json {
        let mut warnings = opened.program.objects(Severity::Warning);
        warnings.extend(data.warnings);
        console.object(&json!({
            "schema": 1,
            "steps": opened.graph.nodes.len(),
            "errors": data.errors,
            "warnings": warnings,
        }));
    } else {
        if !opened.program.diags.is_empty() {
            console.message(&opened.program.render(console));
        }
        if wrong {
            console.message(&data.shown);
        } else {
            let file = args.program.file.display();
            let (count, all) =
                (opened.graph.nodes.len(), if args.data { ", all rows read" } else { "" });
            console.result(&format!("{file}: {count} steps, no errors{all}"));
        }
    }
    if wrong { Exit::Wrong } else { Exit::Done }
}

fn read_all(opened: &Opened, console: &Console) -> Result<Data, String> {
    set_threads(opened.threads)?;
    let store = Store::create(&opened.store)
        .map_err(|error| format!("{}: {error}", opened.store.display()))?;
    let files = opened.files(&store);
    let mut data = Data::default();
    // Each branch by itself: a bad file in one does not hide what is wrong in another.
    for at in prospect::data_alone(&opened.graph) {
        let Some(node) = opened.graph.nodes.get(at) else { continue };
        let steps = opened
            .graph
            .ancestors(std::slice::from_ref(&node.name))
            .map_err(|error| error.to_string())?;
        let mut session = opened.session(&store, &files, &|| None);
        session.steps = steps;
        let mut progress = Progress::new(&Console { quiet: true, ..*console }, None)?;
        let outcome = run::run(&session, &mut progress);
        for (step, message) in &outcome.warnings {
            let warning = json!({ "step": step, "message": message });
            if !data.warnings.contains(&warning) {
                data.warnings.push(warning);
                if !console.json {
                    console.message(&format!("warning: {step}: {message}"));
                }
            }
        }
        // What fails upstream is told there.
        let here = match &outcome.end {
            End::Failed { step, .. } | End::Unmet { step, .. } => *step == node.name,
            End::Done | End::Stopped(_) => false,
        };
        for diag in failures(&opened.graph, &outcome.end).iter().filter(|_| here) {
            data.errors.push(render::object(diag, &opened.program.sources));
            data.shown.push_str(&render::graphical(diag, &opened.program.sources, console));
        }
    }
    Ok(data)
}
