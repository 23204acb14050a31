//! `ftrun predict`: a trained model's answers for texts from the command line or a file. Nothing is
//! kept. The work is done by the steps `load-data`, `load-model` and `predict`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::Exit;
use super::args::ProgramArgs;
use super::console::Console;
use super::program::{Program, folder_of, settings_of};
use super::progress::Progress;
use super::render;
use super::run::{diag_of, refuse};
use super::session::{Refusal, StoreArgs, set_threads, store_of};
use crate::base::{Code, Diag};
use crate::data::{Table, to_bytes};
use crate::exec::probe::DiskProbe;
use crate::exec::run::{Loose, loose};
use crate::exec::{Class, Files, Pace, Session, Store, class};
use crate::model::{ModelError, adapter, checkpoint};
use crate::plan::Graph;
use crate::step::Value;
use crate::task::task_of_config;

#[derive(Debug, Args)]
pub struct PredictArgs {
    #[command(flatten)]
    program: ProgramArgs,
    /// The step whose model answers, where FILE is a program
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// A text to answer for; repeatable
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// The second text of a pair, one for each --text
    #[arg(long, value_name = "TEXT")]
    text_pair: Vec<String>,
    /// A file of rows: csv, tsv, jsonl, parquet, arrow, or txt with a text a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "text_pair"])]
    rows: Option<PathBuf>,
    /// The column of --rows that holds the text
    #[arg(long, value_name = "NAME", requires = "rows")]
    column: Option<String>,
    /// The column of --rows that holds the second text of a pair
    #[arg(long, value_name = "NAME", requires = "rows")]
    pair_column: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Names that a user is unlikely to give a step.
const ROWS: &str = "rows_to_predict__";
const MODEL: &str = "model_to_predict_with__";
const ANSWERS: &str = "answers__";

pub fn run(args: &PredictArgs, console: &Console) -> Exit {
    match predict(args, console) {
        Ok(exit) => exit,
        Err(refusal) => refuse(refusal, console),
    }
}

fn message(text: impl Into<String>) -> Refusal {
    Refusal::Message(text.into())
}

fn predict(args: &PredictArgs, console: &Console) -> Result<Exit, Refusal> {
    let file = &args.program.file;
    let shown = file.display();
    let temporary = tempfile::tempdir().map_err(|error| message(error.to_string()))?;
    let rows = match &args.rows {
        Some(rows) => std::path::absolute(rows).map_err(|error| message(error.to_string()))?,
        None => write_texts(args, temporary.path())?,
    };
    let mut added = steps_for_rows(args, &rows);
    let (folder, text, model) = if file.is_dir() {
        if let Some(step) = &args.step {
            return Err(message(format!("{shown} is a folder, which has no step `{step}`")));
        }
        let model = std::path::absolute(file).map_err(|error| message(error.to_string()))?;
        let source = quoted(&model.to_string_lossy());
        let head = head_of(&model)?;
        let _ =
            writeln!(added, "load-model {MODEL} {{ source = folder({source}), head = {head} }}");
        (PathBuf::from("."), "ftp 1\n".to_string(), MODEL.to_string())
    } else {
        let text = std::fs::read_to_string(file)
            .map_err(|error| message(format!("{shown}: {}", error.to_string().to_lowercase())))?;
        let step = args.step.clone().ok_or_else(|| {
            message(format!(
                "name the step whose model answers: ftrun predict {shown} STEP --text \"…\""
            ))
        })?;
        (folder_of(file), text, step)
    };
    let settings = settings_of(&folder).map_err(message)?;
    let probe = DiskProbe::new(&folder, &settings);
    if !file.is_dir() {
        // The program itself has to be right before anything is added to it.
        let program = Program::check(&args.program, &probe).map_err(message)?;
        let Some(graph) = &program.graph else { return Err(Refusal::Program(Box::new(program))) };
        graph
            .ancestors(std::slice::from_ref(&model))
            .map_err(|error| message(error.to_string()))?;
    }
    let _ = writeln!(added, "predict {ANSWERS} {{ model = {model}, data = {ROWS} }}");
    let whole = format!("{text}\n{added}");
    let mut program = Program::check_text(&args.program, whole, &probe).map_err(message)?;
    let Some(graph) = program.graph.take() else { return Err(Refusal::Program(Box::new(program))) };
    let steps =
        graph.ancestors(&[ANSWERS.to_string()]).map_err(|error| message(error.to_string()))?;
    set_threads(settings.threads.unwrap_or_else(class::available_threads)).map_err(message)?;
    let store = Store::at(store_of(&args.store, &settings, &folder));
    let files = Files::open(store.folder("files.json"), false);
    let session = Session {
        graph: &graph,
        steps,
        store: &store,
        files: &files,
        probe: &probe,
        quick: None,
        force: Default::default(),
        class: Class::here(),
        pace: Pace::default(),
        base: &folder,
        stop: &|| None,
    };
    let quiet = Console { quiet: true, ..*console };
    let mut progress = Progress::new(&quiet, None).map_err(message)?;
    match loose(&session, &[ROWS, MODEL, ANSWERS], &mut progress) {
        Ok(Value::Predictions(made)) => show(args, &made.table, console),
        Ok(_) => Err(message("the answers are no predictions")),
        Err(Loose::Unmade(step)) => Err(message(format!(
            "`{model}` has not been made with these values: `{step}` has no result in the store; first: ftrun {shown} {model}"
        ))),
        Err(Loose::Failed { step, error }) => {
            console.message(&render::graphical(
                &failure(&graph, &step, &error),
                &program.sources,
                console,
            ));
            Ok(Exit::Failed)
        }
    }
}

/// A failure of a step that the user did not write has no place in their program.
fn failure(graph: &Graph, step: &str, error: &crate::step::StepError) -> Diag {
    let diag = diag_of(graph, step, error);
    if [ROWS, MODEL, ANSWERS].contains(&step) {
        let mut plain = Diag::new(Code::E0701, crate::base::Span::default(), diag.message);
        plain.help = diag.help;
        return plain;
    }
    diag
}

/// The texts of the command line as a file that `load-data` reads.
fn write_texts(args: &PredictArgs, folder: &Path) -> Result<PathBuf, Refusal> {
    if args.text.is_empty() {
        return Err(message("there is nothing to predict; --text \"…\" or --rows FILE gives it"));
    }
    if !args.text_pair.is_empty() && args.text_pair.len() != args.text.len() {
        let (texts, pairs) = (args.text.len(), args.text_pair.len());
        return Err(message(format!(
            "there are {texts} --text and {pairs} --text-pair; each needs its own"
        )));
    }
    let mut lines = String::new();
    for (at, text) in args.text.iter().enumerate() {
        let line = match args.text_pair.get(at) {
            Some(pair) => json!({ "text": text, "text_pair": pair }),
            None => json!({ "text": text }),
        };
        let _ = writeln!(lines, "{line}");
    }
    let path = folder.join("texts.jsonl");
    std::fs::write(&path, lines)
        .map_err(|error| message(format!("{}: {error}", path.display())))?;
    Ok(path)
}

fn steps_for_rows(args: &PredictArgs, rows: &Path) -> String {
    let path = quoted(&rows.to_string_lossy());
    let columns = [("text", &args.column), ("text_pair", &args.pair_column)];
    let columns: Vec<String> = columns
        .iter()
        .filter_map(|(role, name)| Some(format!("{role} = {}", quoted(name.as_deref()?))))
        .collect();
    let columns = match columns.is_empty() {
        true => String::new(),
        false => format!(", columns = {{ {} }}", columns.join(", ")),
    };
    format!("load-data {ROWS} {{ source = files({path}){columns} }}\n")
}

/// A string of the language.
fn quoted(text: &str) -> String {
    Json::String(text.to_string()).to_string()
}

/// The head of a saved model, as its configuration tells it.
fn head_of(folder: &Path) -> Result<String, Refusal> {
    let failed = |error: ModelError| message(error.to_string());
    let has = |name: &str| folder.join(name).is_file();
    if has(adapter::CONFIG_FILE) && !has("config.json") {
        return Err(message(format!(
            "{} holds an adapter, which answers nothing without its model: `load-model` takes both \
             (`adapter = folder(…)`), and `save` with `merge = true` makes them one",
            folder.display()
        )));
    }
    let config = checkpoint::read_config(folder).map_err(failed)?;
    match task_of_config(&config).map_err(failed)? {
        Some(task) => Ok(task.name().to_string()),
        None => Err(message(format!(
            "{}: neither `architectures` nor `id2label` tells what the model answers",
            folder.join("config.json").display()
        ))),
    }
}

fn show(args: &PredictArgs, table: &Table, console: &Console) -> Result<Exit, Refusal> {
    let failed = |error: crate::data::DataError| message(error.to_string());
    let lines = to_bytes(table, Path::new("answers.jsonl")).map_err(failed)?;
    let lines = String::from_utf8_lossy(&lines).into_owned();
    let rows: Vec<Json> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if console.json {
        console.object(&json!({ "schema": 1, "predictions": rows, "warnings": [], "errors": [] }));
    } else if args.rows.is_some() {
        console.result(&lines);
    } else {
        for (row, text) in rows.iter().zip(&args.text) {
            console.result(&format!("{}\t{text}", answer(row)));
        }
    }
    Ok(Exit::Done)
}

/// `positive 0.98`: what was predicted, and its probability where there is one.
fn answer(row: &Json) -> String {
    let predicted = match row.get("predicted") {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(labels)) if labels.is_empty() => "none".to_string(),
        Some(Json::Array(labels)) => {
            let names =
                labels.iter().map(|label| label.as_str().map_or(label.to_string(), str::to_string));
            names.collect::<Vec<_>>().join(", ")
        }
        Some(Json::Number(number)) => {
            number.as_f64().map_or(number.to_string(), |value| format!("{value:.4}"))
        }
        Some(other) => other.to_string(),
        None => {
            let vector = row.get("vector").and_then(Json::as_array);
            let numbers = vector.into_iter().flatten().filter_map(Json::as_f64);
            numbers.map(|number| format!("{number:.4}")).collect::<Vec<_>>().join(" ")
        }
    };
    let classes = matches!(row.get("predicted"), Some(Json::String(_)));
    let highest = row
        .get("probabilities")
        .and_then(Json::as_array)
        .and_then(|all| all.iter().filter_map(Json::as_f64).reduce(f64::max));
    match highest.filter(|_| classes) {
        Some(probability) => format!("{predicted} {probability:.4}"),
        None => predicted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_line_each() {
        let classes = json!({ "predicted": "positive", "probabilities": [0.02, 0.98] });
        assert_eq!(answer(&classes), "positive 0.9800");
        let several = json!({ "predicted": ["joy", "love"], "probabilities": [0.9, 0.8, 0.1] });
        assert_eq!(answer(&several), "joy, love");
        assert_eq!(answer(&json!({ "predicted": 3.25 })), "3.2500");
        assert_eq!(answer(&json!({ "vector": [0.5, -0.25] })), "0.5000 -0.2500");
    }
}
