//! What the verbs that look into a store share: which store, how many threads, which steps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::ProgramArgs;
use super::program::{Program, folder_of, settings_of};
use crate::base::suggest;
use crate::exec::probe::DiskProbe;
use crate::exec::prospect::data_first;
use crate::exec::settings::Settings;
use crate::exec::{Class, Files, Pace, Session, Store};
use crate::plan::Graph;
use crate::step::{Quick, Stop};

/// Where results are kept, for verbs that read them.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The folder that keeps results; `.ftrun` beside the program unless given
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// What decides which steps run and how.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    #[command(flatten)]
    pub program: ProgramArgs,
    /// Only these steps and what they need
    #[arg(value_name = "STEP")]
    pub steps: Vec<String>,
    /// Run a step again even if its result is there; repeatable
    #[arg(long, value_name = "STEP")]
    pub force: Vec<String>,
    /// 200 rows per table and 10 updates, to see that all of it works
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub store: StoreArgs,
    /// How many threads compute; the processors that this process may use unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Read the data files again even if they look unchanged
    #[arg(long)]
    pub rehash: bool,
}

impl WorkArgs {
    /// All steps of a program, with nothing special.
    pub fn of(program: &ProgramArgs, store: &StoreArgs) -> Self {
        Self {
            program: program.clone(),
            steps: Vec::new(),
            force: Vec::new(),
            quick: false,
            store: store.clone(),
            threads: None,
            rehash: false,
        }
    }
}

/// What `--quick` takes of everything.
const QUICK: Quick = Quick { rows: 200, updates: 10 };

/// A program that was checked, and everything around it that a session needs.
pub struct Opened {
    pub program: Program,
    pub graph: Graph,
    pub folder: PathBuf,
    pub store: PathBuf,
    pub threads: usize,
    pub probe: DiskProbe,
    /// In the order of running.
    pub steps: Vec<usize>,
    force: BTreeSet<String>,
    quick: bool,
    rehash: bool,
}

/// Why there is nothing to run.
pub enum Refusal {
    /// The command line or a file; one line.
    Message(String),
    /// The program has errors.
    Program(Box<Program>),
}

impl Opened {
    pub fn open(args: &WorkArgs) -> Result<Self, Refusal> {
        let folder = folder_of(&args.program.file);
        let settings = settings_of(&folder).map_err(Refusal::Message)?;
        let probe = DiskProbe::new(&folder, &settings);
        let mut program = Program::check(&args.program, &probe).map_err(Refusal::Message)?;
        let Some(graph) = program.graph.take() else {
            return Err(Refusal::Program(Box::new(program)));
        };
        let unknown = |error: crate::plan::UnknownStep| Refusal::Message(error.to_string());
        let steps = match args.steps.is_empty() {
            true => graph.order.clone(),
            false => graph.ancestors(&args.steps).map_err(unknown)?,
        };
        graph.ancestors(&args.force).map_err(unknown)?;
        let steps = data_first(&graph, &steps);
        Ok(Self {
            store: store_of(&args.store, &settings, &folder),
            threads: threads(args.threads, &settings),
            force: args.force.iter().cloned().collect(),
            quick: args.quick,
            rehash: args.rehash,
            program,
            graph,
            folder,
            probe,
            steps,
        })
    }

    pub fn files(&self, store: &Store) -> Files {
        Files::open(store.folder("files.json"), self.rehash)
    }

    pub fn session<'a>(
        &'a self,
        store: &'a Store,
        files: &'a Files,
        stop: &'a dyn Fn() -> Option<Stop>,
    ) -> Session<'a> {
        Session {
            graph: &self.graph,
            steps: self.steps.clone(),
            store,
            files,
            probe: &self.probe,
            quick: self.quick.then_some(QUICK),
            force: self.force.clone(),
            class: Class::here(),
            pace: Pace::default(),
            base: &self.folder,
            stop,
        }
    }
}

/// The store of a program.
pub fn store_of(args: &StoreArgs, settings: &Settings, folder: &Path) -> PathBuf {
    let given = args.store.clone().or_else(|| settings.store.clone());
    given.unwrap_or_else(|| folder.join(".ftrun"))
}

/// Flag, environment or project file, then what the process may use.
fn threads(flag: Option<u16>, settings: &Settings) -> usize {
    let given = flag.map(usize::from).or(settings.threads);
    given.unwrap_or_else(crate::exec::class::available_threads)
}

/// Sets the number of threads of everything that computes. Once, before anything does.
pub fn set_threads(threads: usize) -> Result<(), String> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| format!("the threads cannot be started: {error}"))
}

/// The store that a verb without a program means: the one that was named, of the project's settings,
/// of this folder, or the only one in a folder below.
pub fn find_store(args: &StoreArgs, program: Option<&Path>) -> Result<Store, String> {
    let folder = program.map_or_else(|| PathBuf::from("."), folder_of);
    let settings = settings_of(&folder)?;
    let wanted = store_of(args, &settings, &folder);
    if wanted.is_dir() {
        return Ok(Store::at(wanted));
    }
    if program.is_none() && args.store.is_none() {
        let below = std::fs::read_dir(".").into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> =
            below.map(|entry| entry.path().join(".ftrun")).filter(|path| path.is_dir()).collect();
        found.sort();
        match found.as_slice() {
            [only] => return Ok(Store::at(only)),
            [] => {}
            many => {
                let names: Vec<String> =
                    many.iter().map(|path| path.display().to_string()).collect();
                return Err(format!(
                    "there are several stores, {}; say `--store DIR`",
                    suggest::list(names.iter().map(String::as_str))
                ));
            }
        }
    }
    Err(format!("there is no store at {}: nothing has run yet", wanted.display()))
}
