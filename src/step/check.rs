//! What a step sees while it is checked: shapes of its inputs, places of its arguments, and a
//! `Probe` that answers questions about files. Checking itself has no other effect than reports.

use std::path::PathBuf;

use super::shape::Shape;
use super::value::Carried;
use crate::base::{Code, Diag, Fix, Span};
use crate::schema::{Port, PortRef};

/// Answers what the checker must know of the outside: the only way from a check to the disk.
pub trait Probe {
    /// The files a path or glob in a program stands for, sorted; relative paths are sought beside
    /// the program, then in the configured data (or model) folders.
    fn locate(&self, path: &str, place: Place) -> Result<Vec<PathBuf>, Missing>;

    /// What lies where `path` is sought and has a similar name.
    fn nearest(&self, _path: &str, _place: Place) -> Option<String> {
        None
    }

    /// Header and first rows of a data file, read once and remembered.
    fn header(
        &self,
        path: &std::path::Path,
        options: &crate::data::ReadOptions,
    ) -> Result<std::sync::Arc<crate::data::Header>, crate::data::DataError>;

    /// The names in a label file, one a line.
    fn label_names(&self, path: &std::path::Path) -> Result<Vec<String>, crate::data::DataError> {
        crate::data::read::read_label_names(path)
    }

    /// A table of synonyms.
    fn synonyms(
        &self,
        path: &std::path::Path,
    ) -> Result<crate::data::Synonyms, crate::data::DataError> {
        crate::data::read_synonyms(path)
    }

    /// The files of a repository on a model hub that are in the local cache, or fetched now; small
    /// files only (`config.json`, tokenizer) unless `weights`.
    /// `token`: the environment variable of a credential, where the program names one.
    fn snapshot(
        &self,
        repo: &str,
        revision: &str,
        token: Option<&str>,
        weights: bool,
    ) -> Result<PathBuf, Missing>;
}

/// Where relative paths are sought behind the program's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Data,
    Models,
}

/// Why a file could not be found or fetched, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub message: String,
    pub help: Option<String>,
}

/// Places of a step and its arguments in the sources.
pub trait Places {
    /// The value of an argument, by dotted path through variants, maps and lists
    /// (`optimizer.learning_rate`, `source.train`, `do.2`, counted from 0); the nearest written ancestor if that
    /// part was left out, at last the step's name.
    fn at(&self, path: &str) -> Span;
    /// The edit that adds `argument` (`batch = 32`) to the step's block.
    fn insert(&self, argument: &str) -> Fix;
    /// The name of another step.
    fn step(&self, name: &str) -> Span;
}

pub struct CheckCx<'a> {
    pub probe: &'a dyn Probe,
    pub places: &'a dyn Places,
    /// The shape of what a reference carries; `None` if the step upstream has errors.
    pub shapes: &'a dyn Fn(&PortRef) -> Option<Shape>,
    pub reports: Vec<Diag>,
}

impl CheckCx<'_> {
    /// The shape of an input; `None` where a mistake upstream has been reported already.
    pub fn shape<K: Carried>(&self, port: &Port<K>) -> Option<K::Shape> {
        K::shape((self.shapes)(&port.source)?)
    }

    /// Starts a diagnostic at an argument; finish it and hand it to `push`.
    pub fn diag(&self, code: Code, path: &str, message: impl Into<String>) -> Diag {
        Diag::new(code, self.places.at(path), message)
    }

    /// The same with the edit that adds `argument` (`batch = 32`) to the step's block.
    pub fn diag_with_argument(
        &self,
        code: Code,
        path: &str,
        message: impl Into<String>,
        argument: &str,
    ) -> Diag {
        Diag { fix: Some(self.places.insert(argument)), ..self.diag(code, path, message) }
    }

    pub fn push(&mut self, diag: Diag) {
        self.reports.push(diag);
    }

    /// The name of the step that a port comes from.
    pub fn origin<K>(&self, port: &Port<K>) -> Span {
        port.source.steps().first().map(|step| self.places.step(step)).unwrap_or_default()
    }
}
