//! The steps on tables together, on small files and without a program: what one makes fits the
//! next, while checking and while running.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{CheckCx, Missing, Place, Places, Probe};
use super::run::{Control, Event, Inputs, RunCx, StepError, Stop};
use super::shape::{LabelShape, Shape, TokenizerShape};
use super::value::Value;
use super::{Step, load_data::LoadData, prepare::Prepare, split::Split, tokenize::Tokenize};
use crate::base::{Code, Diag, Fix, Span};
use crate::data::read::{SourceFile, find_files, header};
use crate::data::{DataError, Header, ReadOptions, Tokenizer};
use crate::schema::{Bound, ColumnExpr, Operator, Params, PortRef};

struct Folder {
    folder: tempfile::TempDir,
    warnings: RefCell<Vec<String>>,
}

impl Probe for Folder {
    fn locate(&self, path: &str, _: Place) -> Result<Vec<PathBuf>, Missing> {
        find_files(path, &[self.folder.path().to_path_buf()])
            .map_err(|error| Missing { message: error.message, help: error.help })
    }
    fn header(&self, path: &Path, options: &ReadOptions) -> Result<Arc<Header>, DataError> {
        header(&SourceFile::from(path.to_path_buf()), options).map(Arc::new)
    }
    fn snapshot(&self, repo: &str, _: &str, _: Option<&str>, _: bool) -> Result<PathBuf, Missing> {
        Err(Missing { message: format!("no hub for {repo}"), help: None })
    }
}

struct Nowhere;

impl Places for Nowhere {
    fn at(&self, _: &str) -> Span {
        Span::default()
    }
    fn insert(&self, argument: &str) -> Fix {
        Fix { span: Span::default(), replacement: argument.to_string() }
    }
    fn step(&self, _: &str) -> Span {
        Span::default()
    }
}

/// What earlier steps made, by `step` or `step.field`.
#[derive(Default)]
struct Made {
    shapes: BTreeMap<String, Shape>,
    values: BTreeMap<String, Value>,
}

fn key(port: &PortRef) -> String {
    match port {
        PortRef::One { step, field, .. } => match field {
            Some(field) => format!("{step}.{field}"),
            None => step.clone(),
        },
        PortRef::Named(_) => String::new(),
    }
}

impl Inputs for Made {
    fn load(&self, port: &PortRef) -> Result<Value, StepError> {
        let found = self.values.get(&key(port)).cloned();
        found.ok_or_else(|| StepError::internal(format!("nothing under {port}")))
    }
}

struct Listener<'a>(&'a Folder);

impl Control for Listener<'_> {
    fn event(&mut self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.warnings.borrow_mut().push(message);
        }
    }
    fn stop_requested(&self) -> Option<Stop> {
        None
    }
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Folder { folder, warnings: RefCell::default() }
    }

    fn check<S: Step>(&self, step: &S, made: &Made) -> (Vec<(&'static str, Shape)>, Vec<Diag>) {
        let shapes = |port: &PortRef| made.shapes.get(&key(port)).cloned();
        let mut cx =
            CheckCx { probe: self, places: &Nowhere, shapes: &shapes, reports: Vec::new() };
        let outputs = step.check(&mut cx);
        (outputs, cx.reports)
    }

    fn run<S: Step>(&self, step: &S, made: &Made) -> Result<Vec<(&'static str, Value)>, StepError> {
        let mut control = Listener(self);
        let scratch = self.folder.path().join("scratch");
        let mut cx = RunCx {
            quick: None,
            inputs: made,
            control: &mut control,
            probe: self,
            scratch: &scratch,
        };
        step.run(&mut cx)
    }

    /// Checks and runs a step, and keeps what it makes under `name`.
    fn make<S: Step>(&self, name: &str, step: &S, made: &mut Made) {
        let (shapes, reports) = self.check(step, made);
        assert!(reports.is_empty(), "{name}: {reports:?}");
        let values = self.run(step, made).unwrap();
        for (output, shape) in shapes {
            if let Shape::Tables(tables) = &shape {
                for (field, table) in tables {
                    made.shapes.insert(format!("{name}.{field}"), Shape::Table(table.clone()));
                }
            }
            assert_eq!(output, S::OUTPUTS[0].name);
            made.shapes.insert(name.to_string(), shape);
        }
        for (output, value) in values {
            match &value {
                Value::Tables(tables) => {
                    for (field, table) in tables.iter() {
                        let table = Value::Table(Arc::new(table.clone()));
                        made.values.insert(format!("{name}.{field}"), table);
                    }
                }
                Value::Report(report) => {
                    let names: Vec<&str> = report.keys().map(String::as_str).collect();
                    assert_eq!(names, S::REPORT, "{name}");
                }
                _ => {}
            }
            let at = if output == "report" { format!("{name}.report") } else { name.to_string() };
            made.values.insert(at, value);
        }
    }
}

/// A step of the arguments that differ from its defaults.
fn step<S: Params>(arguments: Vec<(&str, Bound)>) -> S {
    let args: Vec<(String, Bound)> = S::decl()
        .into_iter()
        .map(|param| {
            let given = arguments.iter().find(|(name, _)| *name == param.name);
            let value = given.map(|(_, value)| value.clone()).or(param.default);
            (param.name.to_string(), value.unwrap_or(Bound::None))
        })
        .collect();
    S::from_args(&args).expect("the arguments fit the declaration")
}

fn text(value: &str) -> Bound {
    Bound::Text(value.to_string())
}

fn variant(name: &str, arguments: Vec<(&str, Bound)>) -> Bound {
    Bound::Variant(
        name.into(),
        arguments.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    )
}

fn files(path: &str) -> Bound {
    variant("files", vec![("path", text(path))])
}

fn map(entries: Vec<(&str, Bound)>) -> Bound {
    Bound::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn port(step: &str, field: Option<&str>) -> Bound {
    Bound::Port(PortRef::One {
        step: step.into(),
        output: "table".into(),
        field: field.map(str::to_string),
    })
}

fn codes(reports: &[Diag]) -> Vec<Code> {
    reports.iter().map(|diag| diag.code).collect()
}

fn messages() -> Folder {
    let mut train = String::from("body,label\n");
    for row in 0..40 {
        let label = if row % 4 == 0 { "bill" } else { "other" };
        train.push_str(&format!("text number {row} of many,{label}\n"));
    }
    Folder::new(&[
        ("train.csv", &train),
        ("test.csv", "body,label\ntext number 3 of many,bill\nnew text,other\n"),
    ])
}

fn load() -> LoadData {
    step(vec![
        ("source", map(vec![("train", files("train.csv")), ("test", files("test.csv"))])),
        ("columns", map(vec![("text", text("body"))])),
    ])
}

#[test]
fn from_files_to_tokens() {
    let folder = messages();
    let mut made = Made::default();
    folder.make("messages", &load(), &mut made);
    let Some(Shape::Table(shape)) = made.shapes.get("messages.train") else { panic!() };
    assert_eq!(shape.labels, LabelShape::Classes(Some(vec!["bill".into(), "other".into()])));
    let shared = "1 of 2 rows of `test` is in `train` too, compared in lower case and with single blanks: ids 0 (there 3)";
    assert_eq!(*folder.warnings.borrow(), [shared]);
    let Some(Value::Report(report)) = made.values.get("messages.report") else { panic!() };
    assert_eq!((report["rows"], report["shared"]), (42.0, 1.0));

    let words = ColumnExpr::Call("words".into(), vec![ColumnExpr::Column("text".into())]);
    let enough =
        ColumnExpr::Binary(Operator::GreaterOrEqual, Box::new(words), Box::new(ColumnExpr::Int(2)));
    let filter = variant("filter", vec![("condition", Bound::Expr(enough))]);
    let dedupe = variant("dedupe", vec![("by", Bound::List(vec![Bound::Column("text".into())]))]);
    let prepare: Prepare =
        step(vec![("data", port("messages", None)), ("do", Bound::List(vec![filter, dedupe]))]);
    folder.make("clean", &prepare, &mut made);
    // What was told of once is not told of again.
    assert_eq!(folder.warnings.borrow().len(), 1);

    let shares =
        [("train", 0.75), ("validation", 0.25)].map(|(name, share)| (name, Bound::Share(share)));
    let mut shares = shares.to_vec();
    shares.push(("test", Bound::None));
    let split: Split = step(vec![
        ("data", port("clean", Some("train"))),
        ("by", variant("fraction", shares)),
        ("stratify", Bound::Column("label".into())),
    ]);
    folder.make("parts", &split, &mut made);
    let Some(Value::Tables(parts)) = made.values.get("parts") else { panic!() };
    assert_eq!(parts.values().map(|part| part.rows()).collect::<Vec<_>>(), [30, 10]);

    let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "text", "number", "of", "many"];
    let vocabulary =
        BTreeMap::from([("vocab.txt".to_string(), vocabulary.join("\n").into_bytes())]);
    let tokenizer = Tokenizer::from_files(vocabulary).unwrap();
    let shape = TokenizerShape { vocab_size: Some(8), digest: None, name: "small".into() };
    made.shapes.insert("encoder".into(), Shape::Tokenizer(shape));
    made.values.insert("encoder".into(), Value::Tokenizer(Arc::new(tokenizer)));
    let tokenize: Tokenize = step(vec![
        ("data", port("parts", None)),
        ("tokenizer", port("encoder", None)),
        ("max_length", Bound::Int(5)),
    ]);
    folder.make("tokens", &tokenize, &mut made);
    let Some(Value::TokenSets(sets)) = made.values.get("tokens") else { panic!() };
    assert_eq!(sets["train"].input_ids(0), [2, 4, 5, 1, 3]);
    let Some(Value::Report(report)) = made.values.get("tokens.report") else { panic!() };
    assert_eq!((report["rows"], report["truncated"], report["longest"]), (40.0, 40.0, 7.0));
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let folder = messages();
    let mut made = Made::default();
    let wrong: LoadData = step(vec![
        ("source", map(vec![("train", files("train.csv")), ("test", files("test.csv"))])),
        ("columns", map(vec![("text", text("boddy"))])),
    ]);
    let (_, reports) = folder.check(&wrong, &made);
    assert_eq!(codes(&reports), [Code::E0404], "one mistake, though two files lack the column");
    assert_eq!(reports[0].fix.as_ref().unwrap().replacement, "\"body\"");
    let lost: LoadData = step(vec![("source", files("trian.csv"))]);
    let (_, reports) = folder.check(&lost, &made);
    assert_eq!(codes(&reports), [Code::E0401]);
    assert!(reports[0].help.as_ref().unwrap().contains("train.csv"));
    let odd: LoadData = step(vec![
        ("source", files("train.csv")),
        ("delimiter", text("ab")),
        ("labels", Bound::List(vec![])),
    ]);
    assert_eq!(codes(&folder.check(&odd, &made).1), [Code::E0205, Code::E0205]);

    folder.make("messages", &load(), &mut made);
    let tokenize: Tokenize =
        step(vec![("data", port("messages", None)), ("tokenizer", port("encoder", None))]);
    assert!(
        folder.check(&tokenize, &made).1.is_empty(),
        "what is missing upstream is reported there"
    );
    let sample = variant(
        "sample",
        vec![("rows", Bound::Int(3)), ("stratify", Bound::None), ("seed", Bound::Int(0))],
    );
    let select =
        variant("select", vec![("columns", Bound::List(vec![Bound::Column("txt".into())]))]);
    let prepare: Prepare =
        step(vec![("data", port("messages", None)), ("do", Bound::List(vec![sample, select]))]);
    assert_eq!(codes(&folder.check(&prepare, &made).1), [Code::E0209, Code::E0404]);
    let shares = vec![
        ("train", Bound::Share(0.8)),
        ("validation", Bound::Share(0.1)),
        ("test", Bound::None),
    ];
    let split: Split = step(vec![
        ("data", port("messages", Some("train"))),
        ("by", variant("fraction", shares)),
        ("group", text("label_")),
    ]);
    assert_eq!(codes(&folder.check(&split, &made).1), [Code::E0408, Code::E0404]);
}

/// `augment(synonyms("words.tsv", share = 100%), copies = 1)`
fn augment(file: &str) -> Bound {
    let way = variant("synonyms", vec![("path", text(file)), ("share", Bound::Share(1.0))]);
    let columns = Bound::List(vec![Bound::Column("text".into())]);
    let rest = [("copies", Bound::Int(1)), ("columns", columns), ("originals", Bound::Bool(true))];
    variant(
        "augment",
        [("way", way)].into_iter().chain(rest).chain([("seed", Bound::Int(0))]).collect(),
    )
}

#[test]
fn rows_to_learn_from_are_augmented_by_a_file_of_synonyms() {
    let folder = Folder::new(&[
        ("train.csv", "text,label\nA good film,x\na bad film,y\na good film,x\n"),
        ("test.csv", "text,label\na fine film,x\n"),
        ("words.tsv", "good\tfine\n"),
        ("wrong.tsv", "good\tfine\nbad\n"),
    ]);
    let mut made = Made::default();
    let load: LoadData = step(vec![(
        "source",
        map(vec![("train", files("train.csv")), ("test", files("test.csv"))]),
    )]);
    folder.make("films", &load, &mut made);
    assert!(folder.warnings.borrow().is_empty());
    let only = Bound::List(vec![variant("train", vec![])]);
    let by = Bound::List(vec![Bound::Column("text".into())]);
    let prepare = |file: &str, only: Bound| -> Prepare {
        let change = vec![augment(file), variant("dedupe", vec![("by", by.clone())])];
        step(vec![("data", port("films", None)), ("do", Bound::List(change)), ("only", only)])
    };
    folder.make("more", &prepare("words.tsv", only.clone()), &mut made);
    let Some(Value::Tables(tables)) = made.values.get("more") else { panic!() };
    let texts = tables["train"].texts("text").unwrap();
    assert_eq!(texts, ["A good film", "A fine film", "a bad film", "a good film", "a fine film"]);
    assert_eq!(tables["test"].rows(), 1);
    let Some(Value::Report(report)) = made.values.get("more.report") else { panic!() };
    let counts = ["rows", "kept", "added", "deduplicated", "shared"].map(|name| report[name]);
    assert_eq!(counts, [7.0, 6.0, 3.0, 1.0, 1.0]);
    // The augmented rows are what the test holds: `prepare` brought them there, and says so.
    assert_eq!(folder.warnings.borrow().len(), 1);

    let externals = Step::externals(&prepare("words.tsv", only.clone()), &folder).unwrap();
    assert_eq!(externals, [folder.folder.path().join("words.tsv")]);
    let wrong = folder.check(&prepare("wrong.tsv", only.clone()), &made).1;
    assert_eq!(codes(&wrong), [Code::E0403]);
    assert!(wrong[0].message.contains("wrong.tsv:2"), "{}", wrong[0].message);
    assert_eq!(codes(&folder.check(&prepare("word.tsv", only), &made).1), [Code::E0401]);
    assert_eq!(codes(&folder.check(&prepare("words.tsv", Bound::None), &made).1), [Code::E0209]);
}

#[test]
fn faults_of_rows_name_file_and_line() {
    let folder = Folder::new(&[("a.csv", "text,label\nx,1\ny\n")]);
    let load: LoadData = step(vec![("source", files("a.csv"))]);
    let made = Made::default();
    assert_eq!(codes(&folder.check(&load, &made).1), [Code::E0403]);
    let Err(error) = folder.run(&load, &made) else { panic!("the row is broken") };
    assert_eq!((error.code, error.line), (Code::E0403, Some(3)));
    assert_eq!(error.file.as_deref(), Some(Path::new("a.csv")));
}
