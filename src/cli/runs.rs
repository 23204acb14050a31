//! `ftrun runs`: the latest runs of a store; `ftrun runs rebuild` reads every manifest again.

use std::path::Path;
use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::Exit;
use super::console::Console;
use super::run::refuse;
use super::session::{Refusal, StoreArgs, find_store};
use crate::exec::index::{Index, Row};
use crate::report;

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// A program whose store is meant, or `rebuild`
    #[arg(value_name = "FILE|rebuild")]
    what: Option<String>,
    /// How many, the latest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    store: StoreArgs,
}

pub fn run(args: &RunsArgs, console: &Console) -> Exit {
    let rebuild = args.what.as_deref() == Some("rebuild");
    let program = args.what.as_deref().filter(|_| !rebuild).map(Path::new);
    let found = find_store(&args.store, program).and_then(|store| {
        if rebuild {
            let count = Index::rebuild(&store)?;
            return Ok((Some(count), Vec::new()));
        }
        Ok((None, Index::open(&store)?.latest(args.limit)?))
    });
    let (count, rows) = match found {
        Ok(found) => found,
        Err(message) => return refuse(Refusal::Message(message), console),
    };
    if let Some(count) = count {
        match console.json {
            true => console.object(&json!({ "schema": 1, "runs": count })),
            false => console.result(&format!("{count} runs in the index")),
        }
        return Exit::Done;
    }
    if console.json {
        console.object(&json!({ "schema": 1, "runs": rows }));
        return Exit::Done;
    }
    if rows.is_empty() {
        console.result("no runs yet");
        return Exit::Done;
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, now)).collect();
    console.result(&report::grid(
        &["run", "program", "when", "took", "", "ran", "metrics"],
        &["took", "ran"],
        &cells,
    ));
    Exit::Done
}

fn cells(row: &Row, now: f64) -> Vec<String> {
    let shown = row.metrics.iter().take(3).map(|(_, metric, value)| match value {
        Some(value) => format!("{metric} {value:.4}"),
        None => format!("{metric} none"),
    });
    vec![
        row.name.clone(),
        row.program.clone(),
        report::ago(now - row.started),
        report::duration(row.seconds),
        row.status.clone(),
        format!("{}/{}", row.ran, row.steps),
        shown.collect::<Vec<_>>().join(", "),
    ]
}
