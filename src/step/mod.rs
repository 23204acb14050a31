//! Step kinds: the trait, the table, and what a step sees while it is checked and run.
//! One file per kind; adding one is a file and a line in `kinds`.

pub mod check;
pub mod ledger;
pub mod run;
pub mod shape;
pub mod store;
pub mod value;

mod baseline;
mod columns;
#[cfg(test)]
mod data_tests;
mod eval;
mod load_data;
mod load_model;
mod metric;
pub mod precision;
mod predict;
mod predictions;
mod prepare;
mod save;
mod split;
mod tokenize;
mod train;
mod train_tokenizer;

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::schema::{Args, ParamDecl, Params, PortType};

pub use check::{CheckCx, Missing, Place, Places, Probe};
pub use run::{Control, Event, Inputs, Quick, RunCx, StepError, Stop};
pub use shape::Shape;
pub use value::{Carried, Value};

/// One thing that a step makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output {
    pub name: &'static str,
    pub ty: PortType,
    pub doc: &'static str,
}

/// A step kind: its parameters are the fields of the struct that implements it.
pub trait Step: Params + Send + Sync + 'static {
    /// With hyphens, as written in a program.
    const NAME: &'static str;
    /// Raised when equal inputs give other outputs.
    const VERSION: u32;
    /// The first is the main one. Every kind also has `report`.
    const OUTPUTS: &'static [Output];
    /// The numbers in `report`.
    const REPORT: &'static [&'static str] = &[];
    /// A step as a program would hold it.
    const EXAMPLE: &'static str;

    /// Reports every mistake and gives the shapes of the outputs, as far as they can be known.
    /// Pure but for the probe.
    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)>;

    /// External files whose content is part of the result, in a fixed order. Fetches them if they
    /// are remote.
    fn externals(&self, _probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        Ok(Vec::new())
    }

    /// Makes the outputs. Everything it depends on is in the parameters, the inputs and the
    /// externals.
    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError>;

    /// Outputs that are computed from stored ones with arguments outside the key: metrics of a
    /// validation. `stored` loads an output of this step.
    fn derive(
        &self,
        _output: &str,
        _stored: &dyn Fn(&str) -> Result<Value, StepError>,
    ) -> Result<Option<Value>, StepError> {
        Ok(None)
    }

    /// Where the main output is to be placed, in every run: `(path, overwrite)`.
    fn target(&self) -> Option<(&str, bool)> {
        None
    }

    /// The most memory that the process will hold while the step runs, in bytes, from inputs that are
    /// there; `None` where it cannot be told beforehand.
    fn memory(&self, _inputs: &dyn Inputs, _quick: Option<Quick>) -> Option<u64> {
        None
    }

    /// What of the arguments outside the identity decides the result after all: `(argument, what)`.
    fn identity(&self) -> Option<(&'static str, String)> {
        None
    }
}

/// A step as the graph holds it.
pub trait AnyStep: Send + Sync {
    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)>;
    fn externals(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing>;
    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError>;
    fn derive(
        &self,
        output: &str,
        stored: &dyn Fn(&str) -> Result<Value, StepError>,
    ) -> Result<Option<Value>, StepError>;
    fn target(&self) -> Option<(&str, bool)>;
    fn identity(&self) -> Option<(&'static str, String)>;
    fn memory(&self, inputs: &dyn Inputs, quick: Option<Quick>) -> Option<u64>;
}

impl<S: Step> AnyStep for S {
    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        Step::check(self, cx)
    }
    fn externals(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        Step::externals(self, probe)
    }
    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        Step::run(self, cx)
    }
    fn derive(
        &self,
        output: &str,
        stored: &dyn Fn(&str) -> Result<Value, StepError>,
    ) -> Result<Option<Value>, StepError> {
        Step::derive(self, output, stored)
    }
    fn target(&self) -> Option<(&str, bool)> {
        Step::target(self)
    }
    fn identity(&self) -> Option<(&'static str, String)> {
        Step::identity(self)
    }
    fn memory(&self, inputs: &dyn Inputs, quick: Option<Quick>) -> Option<u64> {
        Step::memory(self, inputs, quick)
    }
}

/// A kind's declaration, as the checker, the documentation and the cache key read it.
pub struct Kind {
    pub name: &'static str,
    pub version: u32,
    pub doc: String,
    pub params: Vec<ParamDecl>,
    /// The first is the main one; `report` is the last.
    pub outputs: Vec<Output>,
    pub report: &'static [&'static str],
    pub example: &'static str,
    /// `None` only if the arguments were not bound against `params`.
    pub build: fn(&Args) -> Option<Box<dyn AnyStep>>,
}

impl Kind {
    pub fn of<S: Step>() -> Kind {
        let mut outputs = S::OUTPUTS.to_vec();
        outputs.push(Output { name: "report", ty: PortType::Report, doc: "What it counted." });
        Kind {
            name: S::NAME,
            version: S::VERSION,
            doc: S::doc(),
            params: S::decl(),
            outputs,
            report: S::REPORT,
            example: S::EXAMPLE,
            build: |args| S::from_args(args).map(|step| Box::new(step) as Box<dyn AnyStep>),
        }
    }

    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// Whether its result is worth having by itself: shown at the end, or placed in a folder.
    pub fn shows(&self) -> bool {
        self.outputs.iter().any(|output| {
            matches!(output.ty, PortType::Scores | PortType::Predictions | PortType::Folder)
        })
    }

    pub fn find(name: &str) -> Option<&'static Kind> {
        kinds().iter().find(|kind| kind.name == name)
    }
}

/// Every step kind, in the order of a pipeline.
pub fn kinds() -> &'static [Kind] {
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
        vec![
            Kind::of::<load_data::LoadData>(),
            Kind::of::<prepare::Prepare>(),
            Kind::of::<split::Split>(),
            Kind::of::<train_tokenizer::TrainTokenizer>(),
            Kind::of::<load_model::LoadModel>(),
            Kind::of::<tokenize::Tokenize>(),
            Kind::of::<train::Train>(),
            Kind::of::<eval::Eval>(),
            Kind::of::<predict::Predict>(),
            Kind::of::<baseline::Baseline>(),
            Kind::of::<metric::Metric>(),
            Kind::of::<save::Save>(),
        ]
    });
    &KINDS
}
