//! Where things of a step stand, for what its check reports.

use std::collections::BTreeMap;

use crate::base::{Fix, Span};
use crate::step::Places;
use crate::syntax::ast::Step;

/// Where the value of an argument stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// In the step, or in the source that replaced it.
    pub at: Span,
    /// Where the value itself was written: behind the parameter that stands at `at`.
    pub origin: Span,
}

pub struct StepPlaces<'a> {
    pub step: &'a Step,
    pub written: &'a BTreeMap<String, Written>,
    pub names: &'a BTreeMap<&'a str, Span>,
}

impl Places for StepPlaces<'_> {
    fn at(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(written) = self.written.get(path) {
                return written.at;
            }
            match path.rsplit_once('.') {
                Some((before, _)) => path = before,
                None => return self.step.name.span,
            }
        }
    }

    fn insert(&self, argument: &str) -> Fix {
        self.step.insert_argument(argument)
    }

    fn step(&self, name: &str) -> Span {
        self.names.get(name).copied().unwrap_or_default()
    }
}
