//! `ftrun check`: every mistake of a program, without running it.

use clap::Args;
use serde_json::json;

use super::Exit;
use super::args::ProgramArgs;
use super::console::Console;
use super::program::Program;
use crate::base::Severity;

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    program: ProgramArgs,
}

pub fn run(args: &CheckArgs, console: &Console) -> Exit {
    let program = match Program::open(&args.program) {
        Ok(program) => program,
        Err(message) => {
            console.message(&message);
            return Exit::Wrong;
        }
    };
    if console.json {
        console.object(&json!({
            "schema": 1,
            "steps": program.graph.as_ref().map(|graph| graph.nodes.len()),
            "errors": program.objects(Severity::Error),
            "warnings": program.objects(Severity::Warning),
        }));
    } else {
        if !program.diags.is_empty() {
            console.message(&program.render(console));
        }
        if let Some(graph) = &program.graph {
            let file = args.program.file.display();
            console.result(&format!("{file}: {} steps, no errors", graph.nodes.len()));
        }
    }
    if program.graph.is_some() { Exit::Done } else { Exit::Wrong }
}
