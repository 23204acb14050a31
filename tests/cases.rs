//! Programs with mistakes, and what is said of them: see `cases/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ftrun::base::{Code, Diag, Severity, Source, SourceId};
use ftrun::exec::probe::DiskProbe;
use ftrun::exec::settings::Settings;
use ftrun::plan::{self, Bindings};
use ftrun::{step, syntax};

#[path = "cases/mutations.rs"]
mod mutations;

/// What is said of a program, or expected to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Remark {
    /// Which source: the program, then parameter files, then assignments.
    source: usize,
    line: usize,
    column: usize,
    code: String,
    /// The message; of an expectation a part of it.
    text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, line, column, code, text } = self;
        write!(f, "source {source} line {line}: {code}@{column} \"{text}\"")
    }
}

/// A program with all that is given to it.
#[derive(Clone)]
struct Program {
    sources: Vec<Source>,
    bindings: Bindings,
}

struct Case {
    /// Its path below `tests/cases`.
    name: String,
    program: Program,
    expected: Vec<Remark>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The disk as the cases see it.
fn probe() -> DiskProbe {
    let settings = Settings {
        data: vec![root().join("data")],
        models: vec![root().join("models")],
        ..Settings::default()
    };
    DiskProbe::new(&root(), &settings)
}

impl Program {
    fn check(&self, probe: &DiskProbe) -> (Vec<Diag>, bool) {
        let (mut ast, mut diags) = syntax::parse(SourceId(0), &self.sources[0].text);
        let mut sources = self.sources.clone();
        let mut read = |path: &Path| {
            fs::read_to_string(root().join("imports").join(path)).map_err(|_| "no such file".into())
        };
        plan::imports(&mut ast, &mut sources, &mut read, &mut diags);
        let checked = plan::check(&sources, &ast, &self.bindings, step::kinds(), probe);
        diags.extend(checked.diags);
        (diags, checked.graph.is_some())
    }

    fn remark(&self, diag: &Diag) -> Remark {
        let span = diag.span();
        let source = span.source.0 as usize;
        let (line, column) = self.sources[source].line_column(span.start);
        Remark { source, line, column, code: diag.code.to_string(), text: diag.message.clone() }
    }

    /// The program after the edit that a message proposes.
    fn mended(&self, diag: &Diag) -> Option<Program> {
        let fix = diag.fix.as_ref()?;
        let mut mended = self.clone();
        let source = &mut mended.sources[fix.span.source.0 as usize];
        let mut text = source.text.to_string();
        text.replace_range(fix.span.start..fix.span.end, &fix.replacement);
        source.text = text.into();
        Some(mended)
    }
}

/// The programs in a folder, in the order of their names.
fn cases(folder: &str) -> Vec<Case> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .expect("the folder is readable")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ftp"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| read(&path, folder)).collect()
}

const FOLDERS: [&str; 8] = ["E00", "E01", "E02", "E03", "E04", "E05", "E06", "warnings"];

fn faulty() -> Vec<Case> {
    FOLDERS.into_iter().flat_map(cases).collect()
}

fn read(path: &Path, folder: &str) -> Case {
    let file = path.file_name().expect("a name").to_string_lossy();
    let text = fs::read_to_string(path).expect("a program is readable");
    let mut expected = expectations(0, &text);
    let mut sources = vec![Source::new(file.as_ref(), text.as_str())];
    let mut bindings = Bindings::default();
    for line in text.lines() {
        let id = SourceId(sources.len() as u32);
        if let Some(name) = line.strip_prefix("#! params: ") {
            let text = fs::read_to_string(root().join("params").join(name.trim()))
                .unwrap_or_else(|error| panic!("{file}: {name}: {error}"));
            expected.extend(expectations(sources.len(), &text));
            sources.push(Source::new(name, text));
            bindings.params.push(id);
        } else if let Some(rest) = line.strip_prefix("#! set: ") {
            let (assignment, remarks) = rest.split_once("#!").unwrap_or((rest, ""));
            let remarks = remarks.split("#!").filter(|one| !one.trim().is_empty());
            expected.extend(remarks.map(|one| expectation(one, sources.len(), 1)));
            sources.push(Source::new("--set", assignment.trim_end()));
            bindings.set.push(id);
        }
    }
    expected.sort();
    Case { name: format!("{folder}/{file}"), program: Program { sources, bindings }, expected }
}

/// What the comments of a text expect.
fn expectations(source: usize, text: &str) -> Vec<Remark> {
    let mut found = Vec::new();
    let mut above = 1;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("#! set: ") || line.starts_with("#! params: ") {
            continue;
        }
        let alone = line.trim_start().starts_with("#!");
        if !alone {
            above = index + 1;
        }
        for one in line.split("#!").skip(1) {
            found.push(expectation(one, source, above));
        }
    }
    found
}

/// `E0204@9 "part of a message"`, at `line` unless another one is named before it.
fn expectation(written: &str, source: usize, line: usize) -> Remark {
    let wrong = || -> ! { panic!("no expectation: `{written}`") };
    let Some((head, rest)) = written.split_once('"') else { wrong() };
    let Some((text, _)) = rest.rsplit_once('"') else { wrong() };
    let (before, place) = head.trim().split_once('@').unwrap_or((head.trim(), "0"));
    let (line, code) = match before.split_once(' ') {
        Some(("^", code)) => (line, code),
        Some((number, code)) => (number.parse().unwrap_or_else(|_| wrong()), code),
        None => (line, before),
    };
    let column = place.trim().parse().unwrap_or_else(|_| wrong());
    Remark { source, line, column, code: code.trim().to_string(), text: text.to_string() }
}

/// Compares what was found with what was expected; both in order.
fn differences(expected: &[Remark], found: &[Remark]) -> Vec<String> {
    let mut rest = found.to_vec();
    let mut wrong = Vec::new();
    for one in expected {
        let same = rest.iter().position(|other| {
            (other.source, other.line, other.column, &other.code)
                == (one.source, one.line, one.column, &one.code)
                && other.text.contains(&one.text)
        });
        match same {
            Some(at) => drop(rest.remove(at)),
            None => wrong.push(format!("  expected {one}")),
        }
    }
    wrong.extend(rest.iter().map(|one| format!("  found    {one}")));
    wrong
}

#[test]
fn every_mistake_is_reported_at_its_place_and_nothing_else() {
    let probe = probe();
    let mut wrong = Vec::new();
    let all = faulty();
    for case in &all {
        let (diags, _) = case.program.check(&probe);
        let mut found: Vec<Remark> = diags.iter().map(|diag| case.program.remark(diag)).collect();
        found.sort();
        let differences = differences(&case.expected, &found);
        if !differences.is_empty() || case.expected.is_empty() {
            wrong.push(format!("{}\n{}", case.name, differences.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    assert!(all.len() >= 140, "{} cases", all.len());
}

#[test]
fn every_code_has_cases_of_different_forms() {
    let mut known: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for case in faulty() {
        for one in case.expected {
            known.entry(one.code).or_default().insert((case.name.clone(), one.text));
        }
    }
    for code in Code::ALL {
        // Only a run can establish these.
        if code.as_str().starts_with("E07") {
            continue;
        }
        let count = known.get(code.as_str()).map_or(0, BTreeSet::len);
        assert!(count >= 2, "{code} ({}) has {count} cases", code.title());
    }
}

/// Letters and signs that stand for nothing else: messages are written with care.
#[test]
fn every_message_has_the_form_of_messages() {
    let probe = probe();
    for case in faulty() {
        for diag in case.program.check(&probe).0 {
            let first = diag.message.chars().next().unwrap_or(' ');
            assert!(!first.is_uppercase() && first != ' ', "{}: {}", case.name, diag.message);
            assert!(!diag.message.ends_with('.'), "{}: {}", case.name, diag.message);
            for text in
                diag.labels.iter().map(|label| &label.text).chain([&diag.message]).chain(&diag.help)
            {
                let words = text.to_lowercase();
                for word in words.split(|c: char| !c.is_alphabetic()) {
                    assert!(
                        !["you", "your", "please", "sorry"].contains(&word),
                        "{}: {text}",
                        case.name
                    );
                }
            }
            for label in &diag.labels {
                let text = &case.program.sources[label.span.source.0 as usize].text;
                assert!(
                    text.get(label.span.start..label.span.end).is_some(),
                    "{}: {diag:#?}",
                    case.name
                );
            }
        }
    }
}

/// A way out: some message without one is a message that was forgotten.
#[test]
fn every_error_has_a_way_out() {
    let probe = probe();
    let mut without = BTreeSet::new();
    for case in faulty() {
        for diag in case.program.check(&probe).0 {
            // Of text that cannot be read, and of a row or a file, it is enough to say what is wrong.
            let plain =
                ["E00", "E04", "E05"].iter().any(|group| diag.code.as_str().starts_with(group));
            if diag.help.is_none()
                && diag.fix.is_none()
                && diag.severity() == Severity::Error
                && !plain
            {
                without.insert(format!("{}: {} {}", case.name, diag.code, diag.message));
            }
        }
    }
    assert!(without.is_empty(), "{}\n{without:#?}", without.len());
}

#[test]
fn what_is_proposed_removes_the_mistake() {
    let probe = probe();
    let mut proposals = 0;
    let mut wrong = Vec::new();
    for case in faulty() {
        let (before, _) = case.program.check(&probe);
        for diag in &before {
            let Some(mended) = case.program.mended(diag) else { continue };
            proposals += 1;
            let (after, _) = mended.check(&probe);
            let same = |all: &[Diag]| {
                all.iter()
                    .filter(|one| one.code == diag.code && one.message == diag.message)
                    .count()
            };
            let unreadable = |all: &[Diag]| {
                all.iter().filter(|one| one.code.as_str().starts_with("E00")).count()
            };
            if same(&after) >= same(&before) || unreadable(&after) > unreadable(&before) {
                let after: Vec<String> =
                    after.iter().map(|diag| format!("    {}", mended.remark(diag))).collect();
                wrong.push(format!(
                    "{}: {}\n  with {:?}\n{}",
                    case.name,
                    case.program.remark(diag),
                    diag.fix.as_ref().map(|fix| &fix.replacement),
                    after.join("\n")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {proposals} proposals:\n{}", wrong.len(), wrong.join("\n"));
    assert!(proposals > 100, "{proposals} proposals");
}

#[test]
fn right_programs_are_not_remarked_upon() {
    let probe = probe();
    let right = cases("right");
    for case in &right {
        let (diags, graph) = case.program.check(&probe);
        let found: Vec<String> =
            diags.iter().map(|diag| case.program.remark(diag).to_string()).collect();
        assert!(found.is_empty() && graph, "{}\n{}", case.name, found.join("\n"));
    }
    assert!(right.len() >= 10, "{} right programs", right.len());
}

#[test]
fn the_shipped_pipelines_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let settings = Settings::find(&folder, None, &|name| std::env::var_os(name)).expect("settings");
    let probe = DiskProbe::new(&folder, &settings);
    for (name, text) in mutations::pipelines() {
        let program =
            Program { sources: vec![Source::new(&*name, text)], bindings: Bindings::default() };
        let (diags, graph) = program.check(&probe);
        // Data and models of the others are not part of the repository.
        let absent = |diag: &Diag| [Code::E0401, Code::E0501].contains(&diag.code);
        if name != "quickstart.ftp" && diags.iter().any(absent) {
            continue;
        }
        let found: Vec<String> =
            diags.iter().map(|diag| program.remark(diag).to_string()).collect();
        assert!(found.is_empty() && graph, "{name}\n{}", found.join("\n"));
    }
}
