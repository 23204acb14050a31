//! `ftrun doc`: what a step kind does and takes, or what a program says of itself.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Exit;
use super::console::Console;
use crate::base::{SourceId, suggest};
use crate::plan::describe;
use crate::step::{Kind, kinds};
use crate::syntax;
use crate::syntax::ast::Item;

#[derive(Debug, Args)]
pub struct DocArgs {
    /// A step kind such as `train`, or a program; without it, all kinds
    what: Option<String>,
    /// All kinds as one document, which is `docs/steps.md`
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &DocArgs, console: &Console) -> Exit {
    if args.markdown {
        console.result(&describe::steps_markdown(kinds()));
        return Exit::Done;
    }
    match &args.what {
        None if console.json => console.object(&describe::schema_json(kinds())),
        None => {
            let width = kinds().iter().map(|kind| kind.name.len()).max().unwrap_or(0);
            let line = |kind: &Kind| {
                format!("{:width$}  {}", kind.name, kind.doc.lines().next().unwrap_or_default())
            };
            console.result(&kinds().iter().map(line).collect::<Vec<_>>().join("\n"));
        }
        Some(what) if what.ends_with(".ftp") => return program(Path::new(what), console),
        Some(what) => {
            let Some(kind) = Kind::find(what) else {
                let nearest = suggest::nearest(what, kinds().iter().map(|kind| kind.name));
                let hint = nearest.map(|name| format!("; the nearest is `{name}`"));
                let hint = hint.unwrap_or_default();
                console.message(&format!(
                    "there is no step kind `{what}`{hint}; `ftrun doc` lists all of them"
                ));
                return Exit::Wrong;
            };
            if console.json {
                console.object(&describe::schema_json(std::slice::from_ref(kind)));
            } else {
                console.result(&describe::kind_markdown(kind));
            }
        }
    }
    Exit::Done
}

/// The `##` lines of a program and of its items.
fn program(path: &Path, console: &Console) -> Exit {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            console.message(&format!("{}: {error}", path.display()));
            return Exit::Wrong;
        }
    };
    let (ast, diags) = syntax::parse(SourceId(0), &text);
    let mut items = Vec::new();
    for item in &ast.items {
        let (head, docs) = match item {
            Item::Param(param) => (format!("param {}", param.name.value), &param.docs),
            Item::Secret(secret) => (format!("secret {}", secret.name.value), &secret.docs),
            Item::Fragment(fragment) => {
                (format!("fragment {}", fragment.name.value), &fragment.docs)
            }
            Item::Use(used) => (format!("use {} {}", used.kind.value, used.name.value), &used.docs),
            Item::Step(step) => (format!("{} {}", step.kind.value, step.name.value), &step.docs),
            _ => continue,
        };
        items.push((head, docs.join("\n")));
    }
    if console.json {
        let items: Vec<_> = items
            .iter()
            .map(|(head, docs)| json!({ "item": head, "documentation": docs }))
            .collect();
        console.object(&json!({ "schema": 1, "items": items }));
    } else {
        for (head, docs) in &items {
            console.result(head);
            docs.lines().for_each(|line| console.result(&format!("    {line}")));
        }
    }
    if diags.is_empty() { Exit::Done } else { Exit::Wrong }
}
