//! The runner with steps made for it: early cutoff, force, faults of determinism, failures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};

use ftrun::base::{Code, Span};
use ftrun::data::{ColumnData, DataError, Header, ReadOptions, Table};
use ftrun::exec::{
    Class, End, Files, Outcome, Pace, Prospect, Session, Signal, Sink, Store, prospect, run,
};
use ftrun::params;
use ftrun::plan::{Graph, Node};
use ftrun::schema::{Bound, Port, PortRef, PortType};
use ftrun::step::value::port;
use ftrun::step::{
    CheckCx, Kind, Missing, Output, Place, Probe, RunCx, Shape, Step, StepError, Value,
};

const TABLE: &[Output] = &[Output { name: "table", ty: PortType::Table, doc: "A number." }];

fn number(value: i64) -> Vec<(&'static str, Value)> {
    let columns = vec![("n".to_string(), ColumnData::Int(vec![Some(value)]))];
    vec![("table", Value::Table(Table::from_columns(columns).unwrap().into()))]
}

params! {
    /// Half of a number, rounded down: 4 and 5 give the same.
    pub struct Half {
        value: i64;
        note: i64 = 0, free;
    }
}

impl Step for Half {
    const NAME: &'static str = "half";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = TABLE;
    const EXAMPLE: &'static str = "half h { value = 4 }";
    fn check(&self, _: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        Vec::new()
    }
    fn run(&self, _: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        Ok(number(self.value / 2))
    }
}

params! {
    /// One more than the input; fails on 100.
    pub struct More {
        data: Port<port::ATable>;
    }
}

impl Step for More {
    const NAME: &'static str = "more";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = TABLE;
    const EXAMPLE: &'static str = "more m { data = h }";
    fn check(&self, _: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        Vec::new()
    }
    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        match cx.input(&self.data)?.column("n") {
            Ok(ColumnData::Int(values)) if values == [Some(100)] => {
                Err(StepError::new(Code::E0701, "a hundred is too much").argument("data"))
            }
            Ok(ColumnData::Int(values)) => Ok(number(values[0].unwrap() + 1)),
            other => panic!("{other:?}"),
        }
    }
}

params! {
    /// Another number every time: what no step may do.
    pub struct Chance {
        unused: i64 = 0;
    }
}

impl Step for Chance {
    const NAME: &'static str = "chance";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = TABLE;
    const EXAMPLE: &'static str = "chance c {}";
    fn check(&self, _: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        Vec::new()
    }
    fn run(&self, _: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        static COUNTER: AtomicI64 = AtomicI64::new(0);
        Ok(number(COUNTER.fetch_add(1, Ordering::Relaxed)))
    }
}

static KINDS: LazyLock<Vec<Kind>> =
    LazyLock::new(|| vec![Kind::of::<Half>(), Kind::of::<More>(), Kind::of::<Chance>()]);

fn node(kind: &str, name: &str, args: Vec<(&str, Bound)>) -> Node {
    let kind = KINDS.iter().find(|known| known.name == kind).unwrap();
    let args: Vec<(String, Bound)> =
        args.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    Node {
        name: name.to_string(),
        docs: Vec::new(),
        kind,
        step: (kind.build)(&args).unwrap(),
        inputs: args.iter().flat_map(|(_, value)| value.ports()).cloned().collect(),
        args,
        shapes: Vec::new(),
        span: Span::default(),
        origins: BTreeMap::new(),
    }
}

fn half(name: &str, value: i64, note: i64) -> Node {
    node("half", name, vec![("value", Bound::Int(value)), ("note", Bound::Int(note))])
}

fn more(name: &str, of: &str) -> Node {
    let port = PortRef::One { step: of.into(), output: "table".into(), field: None };
    node("more", name, vec![("data", Bound::Port(port))])
}

/// A world without files.
struct Nothing;

impl Probe for Nothing {
    fn locate(&self, path: &str, _: Place) -> Result<Vec<PathBuf>, Missing> {
        Err(Missing { message: path.to_string(), help: None })
    }
    fn header(&self, path: &Path, _: &ReadOptions) -> Result<std::sync::Arc<Header>, DataError> {
        Err(DataError::new(ftrun::data::Fault::NotFound, "nothing is here").file(path))
    }
    fn snapshot(&self, repo: &str, _: &str, _: Option<&str>, _: bool) -> Result<PathBuf, Missing> {
        Err(Missing { message: repo.to_string(), help: None })
    }
}

#[derive(Default)]
struct Heard(Vec<String>);

impl Sink for Heard {
    fn signal(&mut self, signal: &Signal) {
        self.0.push(format!("{signal:?}"));
    }
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn with<T>(&self, nodes: Vec<Node>, force: &[&str], work: impl FnOnce(&Session) -> T) -> T {
        let order: Vec<usize> = (0..nodes.len()).collect();
        let graph = Graph {
            order: order.clone(),
            nodes,
            seed: 0,
            params: Vec::new(),
            expectations: Vec::new(),
        };
        let store = Store::create(self.folder.path().join("store")).unwrap();
        let files = Files::open(store.folder("files.json"), false);
        work(&Session {
            graph: &graph,
            steps: order,
            store: &store,
            files: &files,
            probe: &Nothing,
            quick: None,
            force: force.iter().map(|name| (*name).to_string()).collect::<BTreeSet<_>>(),
            class: Class::here(),
            pace: Pace::default(),
            base: self.folder.path(),
            stop: &|| None,
        })
    }

    fn run(&self, nodes: Vec<Node>, force: &[&str]) -> Outcome {
        self.with(nodes, force, |session| run::run(session, &mut Heard::default()))
    }
}

fn statuses(outcome: &Outcome) -> Vec<&'static str> {
    outcome.steps.iter().map(|step| step.status.word()).collect()
}

#[test]
fn a_changed_step_with_the_same_result_stops_the_change() {
    let world = World::new();
    let nodes = |value, note| vec![half("a", value, note), more("b", "a"), more("c", "b")];
    assert_eq!(statuses(&world.run(nodes(4, 0), &[])), ["run", "run", "run"]);
    assert_eq!(statuses(&world.run(nodes(4, 0), &[])), ["hit", "hit", "hit"]);
    assert_eq!(statuses(&world.run(nodes(5, 0), &[])), ["run", "hit", "hit"]);
    assert_eq!(statuses(&world.run(nodes(60, 0), &[])), ["run", "run", "run"]);
    // An argument outside the identity.
    assert_eq!(statuses(&world.run(nodes(4, 7), &[])), ["hit", "hit", "hit"]);
    // Other names, and the same input under another name.
    let renamed = vec![half("x", 4, 0), more("y", "x"), more("z", "y")];
    assert_eq!(statuses(&world.run(renamed, &[])), ["hit", "hit", "hit"]);
}

#[test]
fn a_forced_step_runs_and_a_step_that_draws_is_found_out() {
    let world = World::new();
    let nodes = || {
        vec![half("a", 4, 0), more("b", "a"), node("chance", "c", vec![("unused", Bound::Int(0))])]
    };
    world.run(nodes(), &[]);
    let outcome = world.run(nodes(), &["a"]);
    assert_eq!(statuses(&outcome), ["run", "hit", "hit"]);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    let outcome = world.run(nodes(), &["c"]);
    assert_eq!(statuses(&outcome), ["hit", "hit", "run"]);
    let [(step, message)] = outcome.warnings.as_slice() else { panic!("{:?}", outcome.warnings) };
    assert!(step == "c" && message.starts_with("determinism fault"), "{message}");
}

#[test]
fn a_failure_keeps_what_was_finished() {
    let world = World::new();
    let nodes = || vec![half("a", 200, 0), more("b", "a"), more("c", "b")];
    for first in ["run", "hit"] {
        let outcome = world.run(nodes(), &[]);
        assert_eq!(statuses(&outcome), [first, "failed"]);
        let End::Failed { step, error } = outcome.end else { panic!("{:?}", outcome.end) };
        assert_eq!((step.as_str(), error.argument.as_deref()), ("b", Some("data")));
    }
}

#[test]
fn a_plan_knows_what_depends() {
    let world = World::new();
    let prospects = |nodes: Vec<Node>| -> Vec<Prospect> {
        world.with(nodes, &[], |session| {
            prospect::plan(session).unwrap().into_iter().map(|step| step.prospect).collect()
        })
    };
    let nodes = |value| vec![half("a", value, 0), more("b", "a")];
    assert_eq!(prospects(nodes(4)), [Prospect::Run, Prospect::Depends]);
    world.run(nodes(4), &[]);
    assert_eq!(prospects(nodes(4)), [Prospect::Hit, Prospect::Hit]);
    assert_eq!(prospects(nodes(5)), [Prospect::Run, Prospect::Depends]);
}

#[test]
fn values_are_loaded_again_where_a_later_step_needs_them() {
    let world = World::new();
    world.run(vec![half("a", 4, 0)], &[]);
    let outcome =
        world.run(vec![half("a", 4, 0), more("b", "a"), more("c", "b"), more("d", "a")], &[]);
    // `d` is `b` under another name.
    assert_eq!(statuses(&outcome), ["hit", "run", "run", "hit"]);
}
