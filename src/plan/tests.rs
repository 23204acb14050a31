//! The checker on kinds made for it. What real kinds report is in `tests/cases`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::{Bindings, Checked, check};
use crate::base::{Code, Severity, Source, SourceId};
use crate::data::{DataError, Fault, Header, ReadOptions};
use crate::schema::{Bound, Map, OneOrMany, Or, Port, PortType, Quantity, Secret, Share};
use crate::step::shape::TableShape;
use crate::step::value::port::{ATable, SomeTables};
use crate::step::{
    CheckCx, Kind, Missing, Output, Place, Probe, RunCx, Shape, Step, StepError, Value,
};
use crate::syntax;
use crate::{params, variants};

params! {
    /// Files.
    pub struct Files {
        /// Paths.
        path: OneOrMany<String>, main;
        /// How many.
        limit: Option<usize>;
    }
}

variants! {
    /// a source
    pub enum From {
        /// Files.
        Files(Files) = "files",
        /// Nothing.
        Nowhere = "nowhere",
    }
}

params! {
    /// Makes tables.
    pub struct Make {
        /// Where from.
        source: Or<From, Map<From>>;
        /// A credential.
        token: Option<Secret>, free;
        /// Where randomness starts.
        seed: Option<usize>;
    }
}

impl Step for Make {
    const NAME: &'static str = "make";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = &[
        Output { name: "tables", ty: PortType::Tables, doc: "Tables." },
        Output { name: "left", ty: PortType::Log, doc: "A log." },
        Output { name: "right", ty: PortType::Log, doc: "A log." },
    ];
    const REPORT: &'static [&'static str] = &["rows"];
    const EXAMPLE: &'static str = "";
    fn check(&self, _: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let shape = match &self.source {
            Or::First(_) => Shape::Table(TableShape::default()),
            Or::Second(map) => Shape::Tables(
                map.0.iter().map(|(name, _)| (name.clone(), TableShape::default())).collect(),
            ),
        };
        vec![("tables", shape)]
    }
    fn run(&self, _: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        Err(StepError::internal("a step of tests does not run"))
    }
}

variants! {
    /// a way
    pub enum Way {
        /// As it is.
        Plain = "plain",
        /// Beside another.
        Beside(Beside) = "beside",
    }
}

params! {
    /// Another table.
    pub struct Beside {
        /// The other one.
        other: Port<ATable>, main;
        /// How much.
        amount: Share = Share(0.5), in (0.1, 0.9);
    }
}

params! {
    /// Uses a table.
    pub struct Use {
        /// All of them.
        all: Option<Port<SomeTables>>;
        /// One of them.
        one: Option<Port<ATable>>;
        /// How.
        way: Way = Way::Plain;
        /// How long.
        budget: Quantity<3> = Quantity::new(3.0, crate::schema::Unit::Epochs);
        /// How fast.
        rate: f64 = 0.1, in (0.0, 1.0);
        /// How many at once.
        batch: Quantity<12> = Quantity::new(8.0, crate::schema::Unit::Rows);
        /// What it is called.
        title: Option<String>;
        /// Where it goes.
        to: Option<String>, free;
    }
}

impl Step for Use {
    const NAME: &'static str = "use-it";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] =
        &[Output { name: "scores", ty: PortType::Scores, doc: "Numbers." }];
    const EXAMPLE: &'static str = "";
    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        if self.title.as_deref() == Some("wrong") {
            cx.push(cx.diag(Code::E0209, "title", "the title is wrong"));
        }
        vec![("scores", Shape::Scores(vec!["accuracy".into()]))]
    }
    fn run(&self, _: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        Err(StepError::internal("a step of tests does not run"))
    }
    fn target(&self) -> Option<(&str, bool)> {
        self.to.as_deref().map(|to| (to, false))
    }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| vec![Kind::of::<Make>(), Kind::of::<Use>()]);

struct Nothing;

impl Probe for Nothing {
    fn locate(&self, path: &str, _: Place) -> Result<Vec<PathBuf>, Missing> {
        Err(Missing { message: format!("no {path}"), help: None })
    }
    fn header(&self, path: &Path, _: &ReadOptions) -> Result<Arc<Header>, DataError> {
        Err(DataError::new(Fault::Format, "no files here").file(path))
    }
    fn snapshot(&self, _: &str, _: &str, _: Option<&str>, _: bool) -> Result<PathBuf, Missing> {
        Err(Missing { message: "no hub here".into(), help: None })
    }
}

struct Run {
    sources: Vec<Source>,
    checked: Checked,
}

fn run_with(text: &str, set: &[&str], params: &[&str]) -> Run {
    let mut sources = vec![Source::new("a.ftp", text)];
    let mut bindings = Bindings::default();
    for text in params {
        bindings.params.push(SourceId(sources.len() as u32));
        sources.push(Source::new("p.yaml", *text));
    }
    for text in set {
        bindings.set.push(SourceId(sources.len() as u32));
        sources.push(Source::new("--set", *text));
    }
    let (ast, diags) = syntax::parse(SourceId(0), text);
    assert!(diags.is_empty(), "{text}: {diags:?}");
    let checked = check(&sources, &ast, &bindings, &KINDS, &Nothing);
    let broken = checked.diags.iter().any(|diag| diag.severity() == Severity::Error);
    assert_eq!(broken, checked.graph.is_none());
    Run { sources, checked }
}

/// Items behind a program's first line.
fn run(items: &str) -> Run {
    run_with(&format!("ftp 1\n{items}\n"), &[], &[])
}

/// A program beside files that it may import.
fn importing(items: &str, files: &[(&str, &str)]) -> Run {
    let text = format!("ftp 1\n{items}\n");
    let mut sources = vec![Source::new("in/a.ftp", text.as_str())];
    let (mut ast, mut diags) = syntax::parse(SourceId(0), &text);
    let mut read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| format!("ftp 1\n{text}\n")).ok_or("there is no such file".to_string())
    };
    super::imports(&mut ast, &mut sources, &mut read, &mut diags);
    let mut checked = check(&sources, &ast, &Bindings::default(), &KINDS, &Nothing);
    diags.append(&mut checked.diags);
    checked.diags = diags;
    Run { sources, checked }
}

impl Run {
    /// Codes and the text under their marks.
    fn found(&self) -> Vec<(&'static str, &str)> {
        let text = |diag: &crate::base::Diag| {
            let span = diag.span();
            &self.sources[span.source.0 as usize].text[span.start..span.end]
        };
        self.checked.diags.iter().map(|diag| (diag.code.as_str(), text(diag))).collect()
    }

    fn arg(&self, step: &str, name: &str) -> String {
        let graph =
            self.checked.graph.as_ref().unwrap_or_else(|| panic!("{:?}", self.checked.diags));
        graph.node(step).and_then(|node| node.arg(name)).map(Bound::to_string).unwrap_or_default()
    }
}

const MADE: &str = "make made { source = { train = nowhere, test = files(\"a\") } }";

#[test]
fn references_mean_outputs_fields_and_the_main_output() {
    let found = run(&format!(
        "{MADE}\nmake alone {{ source = nowhere }}
         use-it a {{ all = made, one = made.train }}
         use-it b {{ all = {{ x = made.train, y = alone }}, one = alone, way = beside(made.test) }}
         use-it c {{ all = alone, one = made.left, way = beside(other = made.right, amount = 90%) }}"
    ));
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("a", "all"), "made.tables");
    assert_eq!(found.arg("a", "one"), "made.tables.train");
    assert_eq!(found.arg("b", "all"), "{ x = made.tables.train, y = alone.tables }");
    assert_eq!(found.arg("b", "way"), "beside(other = made.tables.test, amount = 50%)");
    assert_eq!(found.arg("c", "one"), "made.left");
    let graph = found.checked.graph.expect("it is right");
    let names = |order: &[usize]| -> Vec<String> {
        order.iter().map(|&at| graph.nodes[at].name.clone()).collect()
    };
    assert_eq!(names(&graph.order), ["made", "alone", "a", "b", "c"]);
    assert_eq!(names(&graph.ancestors(&["a".into()]).expect("is there")), ["made", "a"]);
    let unknown = graph.ancestors(&["mad".into()]).expect_err("no such step");
    assert_eq!(unknown.nearest.as_deref(), Some("made"));
}

#[test]
fn references_that_lead_nowhere_or_elsewhere() {
    for (argument, code, place) in [
        ("one = mude", "E0301", "mude"),
        ("one = made.trian", "E0302", "trian"),
        ("one = made.left.x", "E0302", "x"),
        ("one = made.lefd.x", "E0302", "lefd"),
        ("one = made.left.x.y", "E0302", "y"),
        ("one = made", "E0303", "made"),
        ("one = made.report", "E0303", "made.report"),
        ("one = made.report.rows", "E0303", "made.report.rows"),
        ("one = other", "E0303", "other"),
        ("one = alone.train", "E0302", "train"),
        ("one = \"made\"", "E0204", "\"made\""),
        ("all = { x = made }", "E0303", "made"),
        ("one = { x = made.train }", "E0204", "{ x = made.train }"),
        ("way = beside(made.nothing)", "E0302", "nothing"),
        ("way = other", "E0204", "other"),
        ("one = x", "E0303", "x"),
    ] {
        let found = run(&format!(
            "{MADE}\nmake alone {{ source = nowhere }}\nuse-it other {{ all = alone }}\nuse-it x {{ {argument} }}"
        ));
        assert_eq!(found.found(), [(code, place)], "{argument}");
    }
}

#[test]
fn mistakes_are_not_reported_again_downstream() {
    let found =
        run("make made { source = nowher }\nuse-it a { one = made.train }\nuse-it b { one = a }");
    assert_eq!(found.found(), [("E0206", "nowher"), ("E0303", "a")]);
    let found = run("mak made { source = nowhere }\nuse-it a { one = made.train }");
    assert_eq!(found.found(), [("E0105", "mak")]);
}

#[test]
fn parameters_have_types_ranges_and_one_precedence() {
    let text = format!(
        "ftp 1\nparam rate: float = 1 in 0.5 .. 1\nparam way = plain in [plain, other]\n{MADE}
         use-it a {{ all = made, rate = rate, way = way, budget = 2_000 steps }}\n"
    );
    let found = run_with(&text, &[], &[]);
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("a", "rate"), "1.0");
    assert_eq!(found.arg("a", "budget"), "2000 updates");
    assert_eq!(found.arg("a", "batch"), "8");
    let both = run_with(
        &text,
        &["rate=0.5", "a.budget=1 epoch"],
        &["rate: 6e-1\na:\n  budget: 9 epochs\n  title: some text\nmade.seed: 4"],
    );
    assert_eq!(both.found(), []);
    assert_eq!(both.arg("a", "rate"), "0.5");
    assert_eq!(both.arg("a", "budget"), "1 epoch");
    assert_eq!(both.arg("a", "title"), "\"some text\"");
    assert_eq!(both.arg("made", "seed"), "4");
    let graph = both.checked.graph.as_ref().expect("it is right");
    let origin = |step: &str, path: &str| {
        graph.node(step).and_then(|node| node.origin(path)).map(|span| {
            let source = &both.sources[span.source.0 as usize];
            (source.name.as_str(), &source.text[span.start..span.end])
        })
    };
    assert_eq!(origin("a", "rate"), Some(("--set", "0.5")));
    assert_eq!(origin("a", "title"), Some(("p.yaml", "some text")));
    assert_eq!(origin("a", "way"), Some(("a.ftp", "plain")));
    assert_eq!(origin("a", "batch"), None);
    let wrong = run_with(&text, &["rate=0.2"], &["way: plane"]);
    assert_eq!(wrong.found(), [("E0205", "plane"), ("E0205", "0.2")]);
}

#[test]
fn paths_from_outside_reach_into_variants_and_maps() {
    let text = format!("ftp 1\n{MADE}\nuse-it a {{ one = made.train, way = beside(made.test) }}\n");
    let found = run_with(
        &text,
        &["a.way.amount=20%", "made.source.test.limit=3", "made.source.dev=nowhere", "seed=7"],
        &[],
    );
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("a", "way"), "beside(other = made.tables.test, amount = 20%)");
    assert_eq!(
        found.arg("made", "source"),
        "{ train = nowhere, test = files(path = \"a\", limit = 3), dev = nowhere }"
    );
    assert_eq!(found.arg("made", "seed"), "7");
    for (set, code, place) in [
        ("a.way.amont=20%", "E0601", "amont"),
        ("a.wai=plain", "E0601", "wai"),
        ("b.way=plain", "E0601", "b"),
        ("rate=1", "E0601", "rate"),
        ("a=1", "E0601", "a"),
        ("a.rate.x=1", "E0601", "x"),
        ("a.rate=2", "E0205", "2"),
        ("a.rate", "E0603", "a.rate"),
        ("a.rate=", "E0603", "a.rate="),
        ("a.way.amount=\"", "E0003", "\""),
        ("seed=-1", "E0205", "-1"),
    ] {
        assert_eq!(run_with(&text, &[set], &[]).found(), [(code, place)], "{set}");
    }
    let twice = run_with(&text, &["seed=1", "seed=2"], &[]);
    assert_eq!(twice.found(), [("E0602", "seed")]);
}

#[test]
fn parameter_files_are_read_with_places() {
    let text = format!(
        "ftp 1\nparam rate: float = 1\n{MADE}\nuse-it a {{ one = made.train, rate = rate }}\n"
    );
    for (yaml, code, place) in [
        ("# ü\nrat: 1", "E0601", "rat"),
        ("rate: 1\nrate: 2", "E0602", "rate"),
        ("a: { rate: 1, rate: 1 }", "E0602", "rate"),
        ("a.rate: 1\na: { rate: 1 }", "E0602", "rate"),
        ("rate: [1", "E0603", ""),
        ("rate:", "E0603", ""),
        ("- rate", "E0603", ""),
        ("rate: &x 1\na.rate: *x", "E0603", ""),
        ("rate: \"2%\"", "E0207", "\"2%\""),
        ("rate: 3 epochs", "E0207", "3 epochs"),
        ("rate: !x 1", "E0603", "1"),
        ("? [1]\n: 2", "E0603", ""),
    ] {
        let found = run_with(&text, &[], &[yaml]);
        let all = found.found();
        assert_eq!(all.len(), 1, "{yaml}: {:?}", found.checked.diags);
        assert_eq!(all[0].0, code, "{yaml}");
        if !place.is_empty() && yaml != "rate: \"2%\"" {
            assert_eq!(all[0].1, place, "{yaml}");
        }
    }
    assert_eq!(run_with(&text, &[], &["# nothing"]).found(), []);
    assert_eq!(run_with(&text, &[], &[""]).found(), []);
    assert_eq!(run_with(&text, &[], &["rate: \"0.5\""]).arg("a", "rate"), "0.5");
}

#[test]
fn secrets_reach_credentials_alone() {
    let found = run(
        "secret key = env(\"KEY\")\nmake made { source = nowhere, token = key }\nuse-it a { one = made }",
    );
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("made", "token"), "secret");
    for (step, place) in [
        ("use-it a { one = made, title = key }", "key"),
        ("use-it a { one = made, rate = key }", "key"),
        ("use-it a { one = key, all = made }", "key"),
        ("make b { source = nowhere, token = \"abc\" }\nuse-it a { one = b }", "\"abc\""),
    ] {
        let found = run(&format!(
            "secret key = env(\"KEY\")\nmake made {{ source = nowhere, token = key }}\n{step}"
        ));
        assert!(found.found().contains(&("E0604", place)), "{step}: {:?}", found.found());
    }
}

#[test]
fn parameters_do_not_lead_to_each_other() {
    let found = run(
        "param a = b in [b, c]\nparam b = a in [a, c]\nmake made { source = nowhere }\nuse-it x { one = made, way = a, rate = b }",
    );
    assert_eq!(found.found(), [("E0206", "a"), ("E0204", "b")]);
}

#[test]
fn what_stands_twice_is_found() {
    let found = run(
        "make made { source = nowhere }\nuse-it a { one = made, to = \"x/y\" }\nuse-it b { one = made, to = \"./x//y/\" }",
    );
    assert_eq!(found.found(), [("E0306", "\"./x//y/\"")]);
    let found = run(
        "make made { source = nowhere }\nmake made { source = nowhere }\nuse-it b { one = made }\nseed 1\nseed 2",
    );
    assert_eq!(found.found(), [("E0106", "made"), ("E0106", "seed 2")]);
}

#[test]
fn what_is_not_used_is_a_warning() {
    let found = run(
        "param a: int = 1\nmake made { source = nowhere }\nmake idle { source = nowhere }\nuse-it b { one = made, title = \"wrong\" }",
    );
    assert_eq!(found.found(), [("W0102", "a"), ("W0101", "idle"), ("E0209", "\"wrong\"")]);
}

#[test]
fn edits_remove_what_they_were_proposed_for() {
    for argument in [
        "budget = 3",
        "budget = 3 epochz",
        "budget = 0 epochs",
        "budget = 1.5 updates",
        "rate = 6%",
        "rate = \"0.5\"",
        "rate = 2",
        "rate = 0.1 epochs",
        "batch = \"32\"",
        "batch = 0",
        "way = \"plain\"",
        "way = beside(made.train, amount = 0.5)",
        "way = beside(made.train, amount = 50)",
        "way = beside(made.train, amount = 1%)",
        "way = beside",
        "way = beside(amount = 50%)",
        "way = beside(made.train, amont = 50%)",
        "way = plan",
        "way = [plain]",
        "title = some",
        "title = 3",
        "to = a.b",
        "rats = 0.1",
        "one = made.trian",
        "one = \"made\"",
    ] {
        let text = format!("ftp 1\n{MADE}\nuse-it x {{ all = made, {argument} }}\n");
        let found = run_with(&text, &[], &[]);
        let [diag] = found.checked.diags.as_slice() else {
            panic!("{argument}: {:?}", found.checked.diags)
        };
        let Some(fix) = &diag.fix else { panic!("{argument}: {diag:?}") };
        let mut repaired = text.clone();
        repaired.replace_range(fix.span.start..fix.span.end, &fix.replacement);
        // A table that was left out is proposed by its step; which of its tables is the next edit.
        let asks_on = argument == "one = \"made\""
            || argument.starts_with("way = beside") && diag.code == Code::E0202;
        let expected: &[(&str, &str)] = if asks_on { &[("E0303", "made")] } else { &[] };
        assert_eq!(run_with(&repaired, &[], &[]).found(), expected, "{argument} → {repaired}");
    }
    let time = run(&format!("{MADE}\nuse-it x {{ all = made, budget = 3 hours }}"));
    assert_eq!(time.found(), [("E0207", "hours")]);
    assert!(time.checked.diags[0].help.as_ref().is_some_and(|help| help.contains("machine")));
}

const FRAGMENT: &str = "fragment pair(tables: table, rate: float = 0.2 in 0.0 .. 0.9) {\n\
    use-it first { all = tables, rate = rate }\n\
    use-it second { one = tables.train, way = beside(tables.test), title = \"x\" }\n\
}";

#[test]
fn a_use_becomes_the_steps_of_its_fragment() {
    let text = format!(
        "ftp 1\n{MADE}\nparam fast: float = 0.3\n{FRAGMENT}\n\
         use pair small {{ tables = made }}\nuse pair large {{ tables = made, rate = fast }}\n\
         use pair parts {{ tables = {{ train = made.train, test = made.left }} }}\n\
         expect small.first.accuracy > 0.5\n"
    );
    let found = run_with(&text, &[], &[]);
    assert_eq!(found.found(), []);
    let names: Vec<&str> =
        found.checked.graph.as_ref().unwrap().nodes.iter().map(|n| n.name.as_str()).collect();
    let expected = [
        "made",
        "small.first",
        "small.second",
        "large.first",
        "large.second",
        "parts.first",
        "parts.second",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (found.arg("small.first", "rate"), found.arg("large.first", "rate")),
        ("0.2".into(), "0.3".into())
    );
    assert_eq!(found.arg("small.second", "one"), "made.tables.train");
    assert_eq!(found.arg("parts.second", "way"), "beside(other = made.left, amount = 50%)");
    assert_eq!(found.arg("parts.first", "all"), "{ train = made.tables.train, test = made.left }");

    let set = run_with(&text, &["fast=0.4", "small.rate=0.1", "large.second.batch=16"], &[]);
    assert_eq!(set.found(), []);
    assert_eq!(
        (set.arg("small.first", "rate"), set.arg("large.first", "rate")),
        ("0.1".into(), "0.4".into())
    );
    assert_eq!(
        (set.arg("large.second", "batch"), set.arg("small.second", "batch")),
        ("16".into(), "8".into())
    );
    let yaml = run_with(&text, &[], &["small:\n  rate: 0.15\n  second:\n    batch: 4"]);
    assert_eq!(
        (yaml.arg("small.first", "rate"), yaml.arg("small.second", "batch")),
        ("0.15".into(), "4".into())
    );
    assert_eq!(run_with(&text, &["small.rate=0.95"], &[]).found(), [("E0205", "0.95")]);
}

#[test]
fn fragments_use_each_other_and_what_they_make() {
    let text = format!(
        "{FRAGMENT}\nfragment twice(all: table) {{\n  use pair inner {{ tables = all, rate = 0.5 }}\n\
         make more {{ source = {{ train = nowhere, test = nowhere }} }}\n  use pair again {{ tables = more }}\n}}\n\
         {MADE}\nuse twice outer {{ all = made }}\nuse-it last {{ one = outer.more.left }}"
    );
    let found = run(&text);
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("outer.inner.second", "one"), "made.tables.train");
    assert_eq!(found.arg("outer.again.second", "one"), "outer.more.tables.train");
    assert_eq!(found.arg("outer.inner.first", "rate"), "0.5");
    assert_eq!(found.arg("last", "one"), "outer.more.left");
}

#[test]
fn mistakes_with_fragments_are_found_where_they_are() {
    let with = |more: &str| run(&format!("{MADE}\n{FRAGMENT}\n{more}"));
    for (more, code, place) in [
        ("use pear a { tables = made }", "E0308", "pear"),
        ("use b.pair a { tables = made }", "E0308", "b.pair"),
        ("use pair a {}", "E0308", "a"),
        ("use pair a { tables = made, rat = 0.3 }", "E0308", "rat"),
        ("use pair a { tables = made, rate = 0.3, rate = 0.3 }", "E0308", "rate"),
        ("use pair a { tables = made, rate = 2.0 }", "E0205", "2.0"),
        ("use pair a { tables = made, rate = 6% }", "E0207", "6%"),
        ("use pair a { tables = maid }", "E0301", "maid"),
        ("use pair a { tables = made }\nuse pair a { tables = made }", "E0106", "a"),
        ("use pair a { tables = made }\nuse-it b { one = a }", "E0303", "a"),
        ("use pair a { tables = made }\nuse-it b { one = a.third }", "E0301", "a.third"),
        ("use-it b { one = pair }", "E0303", "pair"),
        ("fragment f() {\n  use f g {}\n}\nuse f a {}", "E0308", "f"),
        ("fragment f(x: float, x: int) { use-it a { rate = x } }", "E0106", "x"),
        ("fragment f(x: flaot) { use-it a { rate = x } }\nuse f a { x = 0.1 }", "E0104", "flaot"),
        // A fragment sees its parameters alone, and is looked at even if nothing uses it.
        ("fragment f(x: float) { use-it a { one = made.train, rate = x } }", "E0301", "made"),
        ("fragment f(x: table) { use-it a { one = x.train, rate = 2.0 } }", "E0205", "2.0"),
    ] {
        let found = with(more);
        let errors: Vec<_> =
            found.found().into_iter().filter(|(code, _)| code.starts_with('E')).collect();
        assert!(errors.contains(&(code, place)), "{more}: {:?}", found.checked.diags);
        assert!(errors.len() == 1 || more.contains("E0301"), "{more}: {errors:?}");
    }
    // A mistake inside tells which use it is about.
    let wrong = with("use pair a { tables = { train = made.train } }");
    let diag = wrong.checked.diags.iter().find(|diag| diag.code == Code::E0303).expect("an error");
    let marked: Vec<&str> = diag.labels.iter().map(|label| label.text.as_str()).collect();
    assert!(marked.contains(&"handed over here") && marked.contains(&"used here"), "{marked:?}");
}

#[test]
fn imports_are_found_beside_their_file() {
    let files = [
        (
            "in/shared.ftp",
            "import \"sub/deep.ftp\" as deep\nfragment both(t: table) {\n  use deep.pair one { tables = t }\n}\nseed 3",
        ),
        ("in/sub/deep.ftp", FRAGMENT),
        ("in/circle.ftp", "import \"a.ftp\" as back"),
        ("in/broken.ftp", "fragment f( {\n}"),
    ];
    let found = importing(
        &format!("import \"shared.ftp\" as shared\n{MADE}\nuse shared.both a {{ t = made }}"),
        &files,
    );
    assert_eq!(found.found(), []);
    assert_eq!(found.arg("a.one.second", "one"), "made.tables.train");
    for (items, code, place) in [
        ("import \"none.ftp\" as none", "E0309", "\"none.ftp\""),
        ("import \"circle.ftp\" as circle", "E0309", "\"a.ftp\""),
        ("import \"broken.ftp\" as broken\nuse broken.f a {}", "E0002", "("),
        ("import \"shared.ftp\" as shared\nuse shared.pair a { t = 1 }", "E0308", "shared.pair"),
    ] {
        let found = importing(items, &files);
        assert!(found.found().contains(&(code, place)), "{items}: {:?}", found.found());
    }
}
