//! `ftrun why FILE STEP`: why a step would run, or would not, with the places of what changed.

use clap::Args;
use serde_json::json;

use super::Exit;
use super::console::Console;
use super::run::{diag_of, origin, refuse};
use super::session::{Opened, Refusal, WorkArgs, set_threads};
use crate::base::suggest;
use crate::exec::key::Difference;
use crate::exec::manifest::Manifest;
use crate::exec::{Prospect, Store, prospect};
use crate::plan::Node;

#[derive(Debug, Args)]
pub struct WhyArgs {
    #[command(flatten)]
    work: WorkArgs,
}

pub fn run(args: &WhyArgs, console: &Console) -> Exit {
    let file = args.work.program.file.display();
    let [name] = args.work.steps.as_slice() else {
        let message = format!("name one step: ftrun why {file} STEP");
        return refuse(Refusal::Message(message), console);
    };
    let opened = match Opened::open(&args.work) {
        Ok(opened) => opened,
        Err(refusal) => return refuse(refusal, console),
    };
    if let Err(message) = set_threads(opened.threads) {
        return refuse(Refusal::Message(message), console);
    }
    let store = Store::at(&opened.store);
    let files = opened.files(&store);
    let planned = match prospect::plan(&opened.session(&store, &files, &|| None)) {
        Ok(planned) => planned,
        Err(error) => {
            refuse(Refusal::Message(diag_of(&opened.graph, name, &error).message), console);
            return Exit::Failed;
        }
    };
    let Some((step, node)) =
        planned.iter().find(|step| step.name == *name).zip(opened.graph.node(name))
    else {
        return refuse(Refusal::Message(format!("no step is named `{name}`")), console);
    };
    let program =
        args.work.program.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let last = Manifest::latest_with(&store, &program, args.work.quick, name);
    let earlier = last.as_ref().and_then(|(_, step)| step.key).and_then(|key| store.document(key));
    let differences: Vec<Difference> = match (&step.document, &earlier) {
        (Some(document), Some(earlier)) => document
            .differences(earlier)
            .into_iter()
            // What is not made yet differs from everything: that says nothing.
            .filter(|one| step.prospect != Prospect::Depends || !one.input)
            .collect(),
        _ => Vec::new(),
    };
    let place = |one: &Difference| -> Option<String> {
        let span = node.origin(&one.path)?;
        Some(origin(&opened.program.sources, span))
    };
    if console.json {
        console.object(&json!({
            "schema": 1,
            "step": name,
            "status": step.prospect.word(),
            "waits_for": step.waits_for,
            "trouble": step.trouble,
            "compared_with": last.as_ref().map(|(manifest, _)| &manifest.name),
            "differences": differences.iter().map(|one| json!({
                "argument": one.path, "text": one.text, "input": one.input, "place": place(one),
            })).collect::<Vec<_>>(),
        }));
        return Exit::Done;
    }
    let verdict = match step.prospect {
        Prospect::Hit => "is unchanged: its result is taken from the store".to_string(),
        Prospect::Run => "will run".to_string(),
        Prospect::Depends => {
            format!(
                "depends on what {} will make",
                suggest::list(step.waits_for.iter().map(String::as_str))
            )
        }
    };
    console.result(&format!("`{name}` {verdict}"));
    if let Some(trouble) = &step.trouble {
        console.result(&format!("  {trouble}"));
    }
    match &last {
        None => console.result(&format!("  no earlier run of {program} had a step `{name}`")),
        Some((manifest, _)) if earlier.is_none() => {
            console.result(&format!("  what run {} made is gone from the store", manifest.name));
        }
        Some((manifest, _)) if !differences.is_empty() => {
            console.result(&format!("  compared with run {}:", manifest.name));
        }
        Some(_) if step.prospect == Prospect::Run && step.trouble.is_none() => {
            console.result("  nothing differs, but the earlier result is gone from the store");
        }
        Some(_) => {}
    }
    for one in &differences {
        let name = if one.path.is_empty() { String::new() } else { format!("{} ", one.path) };
        let place = place(one).map(|place| format!("  ({place})")).unwrap_or_default();
        console.result(&format!("  {name}{}{place}", one.text));
    }
    let upstream = step.waits_for.first().cloned().or_else(|| {
        let input = differences.iter().find(|one| one.input)?;
        upstream(node, &input.path)
    });
    if let Some(upstream) = upstream {
        console.message(&format!("more: ftrun why {file} {upstream}"));
    }
    Exit::Done
}

/// The step that an input comes from.
fn upstream(node: &Node, path: &str) -> Option<String> {
    let name = path.split('.').next()?;
    let port = node.arg(name)?.ports().into_iter().next()?;
    port.steps().first().map(|step| (*step).to_string())
}
