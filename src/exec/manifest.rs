//! The manifest of a run: one immutable JSON file that says what ran, with which values from where,
//! and what came of it. Also the names of runs, and how a run is asked for.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::class::Class;
use super::disk;
use super::store::Store;
use crate::base::{Digest, suggest};

pub const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u32,
    /// Sorts by time.
    pub id: String,
    /// For people: `calm-heron`.
    pub name: String,
    pub program: Program,
    /// Seconds since 1970.
    pub started: f64,
    pub seconds: f64,
    /// `done`, `failed` or `stopped`.
    pub status: String,
    pub steps: Vec<Step>,
    /// By step, then by metric.
    pub metrics: IndexMap<String, IndexMap<String, Metric>>,
    pub validation: IndexMap<String, IndexMap<String, Metric>>,
    pub warnings: Vec<String>,
    pub errors: Vec<String>,
    pub class: Class,
    pub threads: usize,
    /// Versions of the libraries that compute.
    pub libraries: BTreeMap<String, String>,
    pub command_line: Vec<String>,
    pub git: Option<Git>,
    /// The sweep and trial that a run belongs to.
    pub parent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The file's name.
    pub file: String,
    pub folder: PathBuf,
    pub digest: Digest,
    pub seed: u64,
    pub quick: bool,
    /// Declared parameters, `--set` and `--params` applied.
    pub parameters: Vec<Value>,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    pub name: String,
    pub value: String,
    /// `sst2.ftp:12`, `p.yaml:3`, `--set`; absent for a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub kind: String,
    /// `hit`, `run` or `failed`.
    pub status: String,
    pub seconds: f64,
    pub attempts: u32,
    /// In bytes.
    pub peak_memory: Option<u64>,
    pub key: Option<Digest>,
    /// Content digests by name.
    pub outputs: IndexMap<String, Digest>,
    pub placed: Option<PathBuf>,
    /// What it counted; `None` for what is no finite number.
    #[serde(default)]
    pub report: IndexMap<String, Option<f64>>,
    pub arguments: Vec<Value>,
}

/// A metric's value with its interval; `None` where it is not defined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Git {
    pub commit: String,
    /// Whether files under version control differed from the commit.
    pub dirty: bool,
}

impl Git {
    /// What `git` says of a folder; `None` outside of a repository or without `git`.
    pub fn of(folder: &Path) -> Option<Self> {
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git")
                .arg("--no-optional-locks")
                .arg("-C")
                .arg(folder)
                .args(arguments)
                .stdin(std::process::Stdio::null())
                .output()
                .ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let commit = git(&["rev-parse", "HEAD"])?;
        let dirty = git(&["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self { commit, dirty: !dirty.is_empty() })
    }
}

/// Versions of the libraries whose arithmetic or reading shows in results, as they were built.
pub fn libraries() -> BTreeMap<String, String> {
    const WATCHED: &[&str] = &["candle-core", "gemm", "polars", "tokenizers", "safetensors"];
    let lock = include_str!("../../Cargo.lock");
    let field = |line: &str, name: &str| -> Option<String> {
        Some(line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_string())
    };
    let mut found = BTreeMap::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let Some(name) = field(line, "name").filter(|name| WATCHED.contains(&name.as_str())) else {
            continue;
        };
        if let Some(version) = lines.next().and_then(|line| field(line, "version")) {
            found.insert(name, version);
        }
    }
    found
}

const ADJECTIVES: &[&str] = &[
    "amber", "bold", "brave", "bright", "brisk", "calm", "candid", "cheery", "clear", "clever",
    "cosy", "crisp", "dapper", "daring", "deft", "eager", "early", "easy", "fair", "fleet",
    "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "jolly", "keen",
    "kind", "light", "lively", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat",
    "nimble", "noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "ready",
    "rosy", "rugged", "sage", "serene", "silent", "silver", "sleek", "smooth", "spry", "steady",
    "sunny", "swift", "tidy", "warm",
];
const NOUNS: &[&str] = &[
    "badger", "bat", "bear", "beaver", "bee", "bison", "bobcat", "crane", "crow", "deer",
    "dolphin", "dove", "duck", "eagle", "egret", "elk", "falcon", "ferret", "finch", "fox", "frog",
    "gecko", "goose", "hare", "hawk", "heron", "ibex", "ibis", "jay", "kestrel", "kite", "koala",
    "lark", "lemur", "llama", "lynx", "magpie", "marten", "mole", "moose", "moth", "newt", "orca",
    "oriole", "otter", "owl", "panda", "perch", "pigeon", "plover", "puffin", "quail", "rabbit",
    "raven", "robin", "salmon", "seal", "shrew", "sparrow", "stork", "swan", "tern", "trout",
    "wren",
];

/// Where a run's manifest will be: an id that no other run has, and a name.
pub struct Identity {
    pub id: String,
    pub name: String,
    pub started: SystemTime,
}

impl Identity {
    /// `taken`: names of runs of the same store.
    pub fn new(started: SystemTime, taken: &[String]) -> Self {
        let nonce = disk::nonce();
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // With milliseconds: ids of one process after another sort as they began.
        let (time, rest) = (compact_time(since.as_secs()), since.subsec_millis());
        let id = format!("{time}-{rest:03}-{}", nonce.get(..6).unwrap_or(&nonce));
        let Digest(bytes) = Digest::of(id.as_bytes());
        let pick = |words: &[&'static str], byte: u8| {
            words.get(usize::from(byte) % words.len()).copied().unwrap_or("run")
        };
        let name = format!("{}-{}", pick(ADJECTIVES, bytes[0]), pick(NOUNS, bytes[1]));
        let mut free = name.clone();
        let mut number = 2;
        while taken.contains(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        Self { id, name: free, started }
    }
}

/// Year, month, day, hour, minute, second of a time in UTC.
pub fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Howard Hinnant, "chrono-compatible low-level date algorithms".
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, rest / 3_600, rest / 60 % 60, rest % 60)
}

fn compact_time(seconds: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(seconds);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

impl Manifest {
    /// Writes the manifest into the store; it is never changed.
    pub fn write(&self, store: &Store) -> io::Result<PathBuf> {
        let path = store.folder("runs").join(format!("{}.json", self.id));
        disk::write_whole(&path, &serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        Ok(path)
    }

    pub fn read(store: &Store, id: &str) -> Result<Self, String> {
        let path = store.folder("runs").join(format!("{id}.json"));
        let fail = |error: String| format!("{}: {}", path.display(), error.to_lowercase());
        let bytes = std::fs::read(&path).map_err(|error| fail(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
    }

    /// The ids of all runs, the oldest first.
    pub fn ids(store: &Store) -> Vec<String> {
        let entries = std::fs::read_dir(store.folder("runs")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = names
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| name.strip_suffix(".json").map(str::to_string))
            .collect();
        ids.sort();
        ids
    }

    /// The latest run in which a step of this name and program had a key. A quick run is compared
    /// with quick ones alone.
    pub fn latest_with(
        store: &Store,
        program: &str,
        quick: bool,
        step: &str,
    ) -> Option<(Manifest, Step)> {
        Self::latest(store, program, quick, &|one| one.name == step && one.key.is_some())
    }

    /// The step as it was when it last ran, for its time and memory.
    pub fn latest_run(store: &Store, program: &str, quick: bool, step: &str) -> Option<Step> {
        let ran = |one: &Step| one.name == step && one.status == "run";
        Self::latest(store, program, quick, &ran).map(|(_, step)| step)
    }

    fn latest(
        store: &Store,
        program: &str,
        quick: bool,
        wanted: &dyn Fn(&Step) -> bool,
    ) -> Option<(Manifest, Step)> {
        // Far back nothing is worth comparing with.
        Manifest::ids(store).into_iter().rev().take(50).find_map(|id| {
            let manifest = Manifest::read(store, &id).ok()?;
            if manifest.program.file != program || manifest.program.quick != quick {
                return None;
            }
            let found = manifest.steps.iter().find(|one| wanted(one))?.clone();
            Some((manifest, found))
        })
    }
}

/// Finds the run that is asked for: `last`, `@1` (the last), `@2` (the one before), a name, an id, or
/// a beginning of one of them that fits one run alone. `runs`: ids and names, the oldest first.
pub fn resolve<'a>(asked: &str, runs: &'a [(String, String)]) -> Result<&'a str, String> {
    let back = match asked {
        "last" => Some(1),
        _ => asked.strip_prefix('@').and_then(|number| number.parse::<usize>().ok()),
    };
    if let Some(back) = back {
        let found = back.checked_sub(1).and_then(|back| runs.iter().rev().nth(back));
        return found.map(|(id, _)| id.as_str()).ok_or_else(|| {
            format!("`{asked}` is no run: there are {}, `@1` is the last", runs.len())
        });
    }
    let exact = runs.iter().find(|(id, name)| id == asked || name == asked);
    if let Some((id, _)) = exact {
        return Ok(id);
    }
    let fitting: Vec<_> = runs
        .iter()
        .filter(|(id, name)| {
            !asked.is_empty() && (id.starts_with(asked) || name.starts_with(asked))
        })
        .collect();
    match fitting.as_slice() {
        [(id, _)] => Ok(id),
        [] => Err(match suggest::nearest(asked, runs.iter().map(|(_, name)| name.as_str())) {
            Some(near) => format!("no run is named `{asked}`; the nearest is `{near}`"),
            None => format!("no run is named `{asked}`; `ftrun runs` lists them"),
        }),
        many => Err(format!(
            "`{asked}` is the beginning of {}",
            suggest::list(many.iter().map(|(_, name)| name.as_str()))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `date -u -d @…`.
    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(civil(0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(civil(951_827_696), (2000, 2, 29, 12, 34, 56));
        assert_eq!(civil(1_798_761_599), (2026, 12, 31, 23, 59, 59));
    }

    #[test]
    fn names_are_free_and_words_are_told_apart() {
        let first = Identity::new(SystemTime::now(), &[]);
        let words: Vec<String> = ADJECTIVES
            .iter()
            .flat_map(|adjective| NOUNS.iter().map(move |noun| format!("{adjective}-{noun}")))
            .collect();
        assert!(words.contains(&first.name));
        assert!(Identity::new(SystemTime::now(), &words).name.ends_with("-2"));
        for list in [ADJECTIVES, NOUNS] {
            assert_eq!(list.len(), 64);
            assert!(list.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn runs_are_found_by_what_people_type() {
        let runs =
            [("20260101-1", "calm-heron"), ("20260102-2", "calm-owl"), ("20260103-3", "keen-fox")]
                .map(|(id, name)| (id.to_string(), name.to_string()));
        assert_eq!(resolve("last", &runs), Ok("20260103-3"));
        assert_eq!(resolve("@3", &runs), Ok("20260101-1"));
        assert_eq!(resolve("keen", &runs), Ok("20260103-3"));
        assert_eq!(resolve("20260102", &runs), Ok("20260102-2"));
        assert!(resolve("calm", &runs).unwrap_err().contains("`calm-heron` and `calm-owl`"));
        assert!(resolve("calm-hero", &runs).is_ok());
        assert!(resolve("keen-fix", &runs).unwrap_err().contains("`keen-fox`"));
        assert!(resolve("@4", &runs).is_err() && resolve("@0", &runs).is_err());
    }

    #[test]
    fn library_versions_come_from_the_lock_file() {
        assert_eq!(libraries().get("candle-core").map(String::as_str), Some("0.11.1"));
    }
}
