//! Shipped pipelines with parts deleted, doubled and exchanged: whatever comes out is read, checked
//! and formatted in bounded time, and every place that a message names is in the text.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ftrun::base::Source;
use ftrun::exec::probe::DiskProbe;
use ftrun::exec::settings::Settings;
use ftrun::plan::Bindings;
use ftrun::syntax;
use proptest::prelude::*;

use super::Program;

/// For the largest of these programs; a usual one takes milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

/// What is put in somewhere.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    "==",
    ",",
    "\"",
    "\"\"\"",
    "r\"",
    "#",
    ".",
    "..",
    "%",
    "-",
    ":",
    "\n",
    " ",
    "\\",
    "é",
    "\u{FEFF}",
    "'",
    ";",
    "and",
    "not",
    "in",
    "true",
    "1e999",
    "3 epochs",
    "6%",
    "train",
    "tokens.train",
    "param x: int = 1\n",
    "seed 1\n",
    "files(\"\")",
    "{ a = 1 }",
    "[1, 2]",
    "import \"a\" as b\n",
    "sweep s { }\n",
];

#[derive(Debug, Clone)]
enum Change {
    DeleteLine(usize),
    DoubleLine(usize),
    SwapLines(usize, usize),
    DeleteWord(usize),
    DoubleWord(usize),
    SwapWords(usize, usize),
    DeleteCharacter(usize),
    DoubleCharacter(usize),
    Insert(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    use Change::*;
    let at = || 0usize..100_000;
    prop_oneof![
        at().prop_map(DeleteLine),
        at().prop_map(DoubleLine),
        (at(), at()).prop_map(|(one, two)| SwapLines(one, two)),
        at().prop_map(DeleteWord),
        at().prop_map(DoubleWord),
        (at(), at()).prop_map(|(one, two)| SwapWords(one, two)),
        at().prop_map(DeleteCharacter),
        at().prop_map(DoubleCharacter),
        (at(), at()).prop_map(|(place, piece)| Insert(place, piece)),
        at().prop_map(Cut),
    ]
}

/// The text in pieces which, put together, are the text again.
fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_string).collect()
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for c in text.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match words.last_mut().filter(|_| word && inside) {
            Some(last) => last.push(c),
            None => words.push(c.to_string()),
        }
        inside = word;
    }
    words
}

fn characters(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

impl Change {
    fn of(&self, text: &str) -> String {
        use Change::*;
        let mut parts = match self {
            DeleteLine(_) | DoubleLine(_) | SwapLines(..) => lines(text),
            DeleteWord(_) | DoubleWord(_) | SwapWords(..) => words(text),
            _ => characters(text),
        };
        if parts.is_empty() {
            return text.to_string();
        }
        let count = parts.len();
        match self {
            DeleteLine(at) | DeleteWord(at) | DeleteCharacter(at) => drop(parts.remove(at % count)),
            DoubleLine(at) | DoubleWord(at) | DoubleCharacter(at) => {
                parts.insert(at % count, parts[at % count].clone());
            }
            SwapLines(one, two) | SwapWords(one, two) => parts.swap(one % count, two % count),
            Insert(at, piece) => parts.insert(at % count, PIECES[piece % PIECES.len()].to_string()),
            Cut(at) => parts.truncate(at % count),
        }
        parts.concat()
    }
}

/// Names and texts of the shipped pipelines, in the order of their names.
pub fn pipelines() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the pipelines are readable")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ftp"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a pipeline is readable"))
        })
        .collect();
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_to_a_pipeline_brings_checking_to_a_halt(
        which in 0usize..100,
        changes in prop::collection::vec(change(), 1..8),
    ) {
        let pipelines = pipelines();
        let (name, text) = &pipelines[which % pipelines.len()];
        let text = changes.iter().fold(text.clone(), |text, change| change.of(&text));
        let program = Program {
            sources: vec![Source::new(name.as_str(), text.as_str())],
            bindings: Bindings::default(),
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let probe = DiskProbe::new(&folder, &Settings::default());
        let started = Instant::now();
        let (diags, graph) = program.check(&probe);
        let formatted = syntax::format(&text);
        prop_assert!(started.elapsed() < LONGEST, "{:?}\n{text}", started.elapsed());
        for diag in &diags {
            let spans = diag.labels.iter().map(|label| label.span).chain(diag.fix.iter().map(|fix| fix.span));
            for span in spans {
                let text = &program.sources[span.source.0 as usize].text;
                prop_assert!(text.get(span.start..span.end).is_some(), "{diag:#?}\n{text}");
            }
            if let Some(mended) = program.mended(diag) {
                mended.check(&probe);
            }
        }
        // A program that could be read means the same after formatting, and formatting is done.
        if let Ok(formatted) = formatted {
            let again = syntax::format(&formatted);
            prop_assert_eq!(again.as_deref().ok(), Some(formatted.as_str()));
            let formatted = Program {
                sources: vec![Source::new(name.as_str(), formatted)],
                bindings: Bindings::default(),
            };
            prop_assert_eq!(formatted.check(&probe).1, graph);
        }
    }
}
