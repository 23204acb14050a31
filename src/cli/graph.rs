//! `ftrun graph`: the steps of a program and what flows between them.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Exit;
use super::args::ProgramArgs;
use super::console::Console;
use super::program::Program;
use crate::plan::{Graph, draw};

#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(flatten)]
    program: ProgramArgs,
    /// What to draw it as
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Dot,
    Mermaid,
    Svg,
}

impl Format {
    fn draw(self, graph: &Graph) -> String {
        match self {
            Format::Text => draw::text(graph),
            Format::Dot => draw::dot(graph),
            Format::Mermaid => draw::mermaid(graph),
            Format::Svg => draw::svg(graph),
        }
    }
}

pub fn run(args: &GraphArgs, console: &Console) -> Exit {
    let program = match Program::open(&args.program) {
        Ok(program) => program,
        Err(message) => {
            console.message(&message);
            return Exit::Wrong;
        }
    };
    let Some(graph) = &program.graph else {
        program.refuse(console);
        return Exit::Wrong;
    };
    if console.json {
        let steps: Vec<_> = graph
            .order
            .iter()
            .filter_map(|index| graph.nodes.get(*index))
            .map(|node| {
                let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
                json!({ "name": node.name, "kind": node.kind.name, "inputs": inputs })
            })
            .collect();
        console.object(&json!({ "schema": 1, "steps": steps }));
    } else {
        console.result(&args.format.draw(graph));
    }
    Exit::Done
}
