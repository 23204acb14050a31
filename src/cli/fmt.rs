//! `ftrun fmt`: programs laid out in the one way. The layout itself is `syntax::format`'s.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::{Exit, render};
use crate::base::Source;
use crate::syntax;

#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Programs; `-` reads the standard input and writes the standard output
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; fail if a file would change
    #[arg(long)]
    check: bool,
}

pub fn run(args: &FmtArgs, console: &Console) -> Exit {
    let mut exit = Exit::Done;
    let mut changed = Vec::new();
    let mut errors = Vec::new();
    for path in &args.files {
        let standard = path == Path::new("-");
        let text = match read(path, standard) {
            Ok(text) => text,
            Err(error) => {
                console.message(&format!("{}: {error}", path.display()));
                exit = Exit::Wrong;
                continue;
            }
        };
        match syntax::format(&text) {
            Ok(formatted) if standard && !args.check => console.result(&formatted),
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                changed.push(path.display().to_string());
                if !args.check
                    && let Err(error) = std::fs::write(path, formatted)
                {
                    console.message(&format!("{}: {error}", path.display()));
                    exit = Exit::Wrong;
                }
            }
            Err(diags) => {
                let sources = [Source::new(path.display().to_string(), text)];
                errors.extend(diags.iter().map(|diag| render::object(diag, &sources)));
                if !console.json {
                    console.message(&render::all(&diags, &sources, console));
                }
                exit = Exit::Wrong;
            }
        }
    }
    if args.check && !changed.is_empty() && exit == Exit::Done {
        exit = Exit::Failed;
    }
    if console.json {
        console.object(&json!({ "schema": 1, "changed": changed, "errors": errors }));
    } else {
        let verb = if args.check { "would change" } else { "changed" };
        changed.iter().for_each(|path| console.message(&format!("{verb} {path}")));
    }
    exit
}

fn read(path: &Path, standard: bool) -> std::io::Result<String> {
    if standard {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}
