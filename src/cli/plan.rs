//! `ftrun plan`: what a run would do, and why. Writes nothing.

use clap::Args;
use serde_json::json;

use super::Exit;
use super::console::Console;
use super::run::{diag_of, refuse};
use super::session::{Opened, Refusal, WorkArgs, set_threads};
use crate::base::Severity;
use crate::exec::manifest::Manifest;
use crate::exec::{Planned, Prospect, Session, Store, prospect};
use crate::report;

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// End with exit code 10 if there is work to do
    #[arg(long)]
    exit_code: bool,
}

pub fn run(args: &PlanArgs, console: &Console) -> Exit {
    let opened = match Opened::open(&args.work) {
        Ok(opened) => opened,
        Err(refusal) => return refuse(refusal, console),
    };
    if let Err(message) = set_threads(opened.threads) {
        return refuse(Refusal::Message(message), console);
    }
    let store = Store::at(&opened.store);
    let files = opened.files(&store);
    let session = opened.session(&store, &files, &|| None);
    let planned = match prospect::plan(&session) {
        Ok(planned) => planned,
        Err(error) => {
            let message = diag_of(&opened.graph, "", &error).message;
            refuse(Refusal::Message(message), console);
            return Exit::Failed;
        }
    };
    let program =
        args.work.program.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let rows: Vec<Row> = planned.iter().map(|step| Row::of(step, &session, &program)).collect();
    if console.json {
        console.object(&json!({
            "schema": 1,
            "steps": rows.iter().zip(&planned).map(|(row, step)| json!({
                "name": step.name,
                "kind": step.kind,
                "status": step.prospect.word(),
                "reason": row.reason,
                "seconds": row.seconds,
                "memory": row.memory,
                "disk": row.disk,
            })).collect::<Vec<_>>(),
            "warnings": opened.program.objects(Severity::Warning),
            "errors": [],
        }));
    } else {
        let cells: Vec<Vec<String>> = rows
            .iter()
            .zip(&planned)
            .map(|(row, step)| {
                let time = row.seconds.map(report::duration).unwrap_or_default();
                vec![
                    step.name.clone(),
                    step.kind.into(),
                    step.prospect.word().into(),
                    time,
                    row.reason.clone(),
                ]
            })
            .collect();
        console.result(&report::grid(&["step", "kind", "", "time", "why"], &["time"], &cells));
        let count =
            |prospect: Prospect| planned.iter().filter(|step| step.prospect == prospect).count();
        let known: f64 = rows.iter().filter_map(|row| row.seconds).sum();
        let mut needs = Vec::new();
        if known > 0.0 {
            needs.push(format!("about {} going by earlier runs", report::duration(known)));
        }
        let memory = rows.iter().filter_map(|row| row.memory).max();
        needs.extend(memory.map(|bytes| format!("{} MiB of memory", bytes >> 20)));
        let disk: u64 = rows.iter().filter_map(|row| row.disk).sum();
        if disk > 0 {
            needs.push(format!("{} MiB of disk", disk.div_ceil(1 << 20)));
        }
        let needs = match needs.is_empty() {
            true => String::new(),
            false => format!("; {}", needs.join(", ")),
        };
        console.result(&format!(
            "{} to run, {} that depend on them, {} unchanged{needs}",
            count(Prospect::Run),
            count(Prospect::Depends),
            count(Prospect::Hit)
        ));
    }
    let work = planned.iter().any(|step| step.prospect != Prospect::Hit);
    if work && args.exit_code { Exit::Work } else { Exit::Done }
}

struct Row {
    reason: String,
    /// How long it took the last time it ran; nothing for a hit.
    seconds: Option<f64>,
    /// The most it will hold, as far as its inputs tell, else what it held the last time.
    memory: Option<u64>,
    /// Bytes in the store that it added then.
    disk: Option<u64>,
}

impl Row {
    fn of(step: &Planned, session: &Session, program: &str) -> Self {
        let (store, quick) = (session.store, session.quick.is_some());
        let last = Manifest::latest_with(store, program, quick, &step.name);
        let ran = Manifest::latest_run(store, program, quick, &step.name);
        let reason = match step.prospect {
            Prospect::Hit => {
                let other = crate::exec::Class::here().to_string();
                match step.record.as_ref().filter(|record| record.class != other) {
                    Some(record) => format!("of another class of numbers: {}", record.class),
                    None => String::new(),
                }
            }
            Prospect::Depends => format!(
                "on {}",
                crate::base::suggest::list(step.waits_for.iter().map(String::as_str))
            ),
            Prospect::Run => match (&step.trouble, last) {
                (Some(trouble), _) => trouble.clone(),
                _ if session.force.contains(&step.name) => "forced".to_string(),
                (None, None) => "has not run yet".to_string(),
                (None, Some((_, earlier))) => reason(step, store, earlier.key),
            },
        };
        let seconds =
            ran.as_ref().filter(|_| step.prospect != Prospect::Hit).map(|ran| ran.seconds);
        let ran = ran.filter(|_| step.prospect != Prospect::Hit);
        let disk = ran.as_ref().and_then(|ran| store.size(ran.key?));
        let memory = step.memory.or_else(|| ran.and_then(|ran| ran.peak_memory));
        Self { reason, seconds, memory, disk }
    }
}

/// What differs from the last time, in short.
fn reason(step: &Planned, store: &Store, earlier: Option<crate::base::Digest>) -> String {
    let earlier = earlier.and_then(|key| store.document(key));
    let (Some(document), Some(earlier)) = (&step.document, earlier) else {
        return "the earlier result is gone".to_string();
    };
    let found = document.differences(&earlier);
    let mut texts: Vec<String> = found
        .iter()
        .take(2)
        .map(|one| {
            format!("{}{}{}", one.path, if one.path.is_empty() { "" } else { " " }, one.text)
        })
        .collect();
    match found.len() {
        0 => return "the earlier result is gone".to_string(),
        count if count > 2 => texts.push(format!("{} more", count - 2)),
        _ => {}
    }
    texts.join("; ")
}
