//! What is known of steps that are done: their records, and values as long as a later step needs
//! them. From these come the inputs of later steps and their keys.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::key::{self, Document, KeyError};
use super::session::Session;
use super::store::{OutputRecord, Record};
use crate::base::Digest;
use crate::plan::Node;
use crate::schema::{PortRef, PortType};
use crate::step::store as codec;
use crate::step::{Carried, Inputs, StepError, Value, value::port};

/// What the run knows of steps that are done.
pub(super) struct Done<'a> {
    session: &'a Session<'a>,
    pub records: RefCell<BTreeMap<String, Record>>,
    /// Values of parts by their object, as long as a later step may need them.
    pub values: RefCell<BTreeMap<Digest, Value>>,
    /// Outputs that are computed from stored ones, by step and name; `None` where there is nothing
    /// to compute.
    derived: RefCell<BTreeMap<(String, String), Option<Value>>>,
    /// Outputs that were made in memory alone, by step and name.
    pub loose: RefCell<BTreeMap<(String, String), Value>>,
}

impl<'a> Done<'a> {
    pub fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            records: RefCell::default(),
            values: RefCell::default(),
            derived: RefCell::default(),
            loose: RefCell::default(),
        }
    }

    fn node(&self, step: &str) -> Result<&'a Node, StepError> {
        let node = self.session.graph.node(step);
        node.ok_or_else(|| StepError::internal(format!("no step is named `{step}`")))
    }

    fn output(&self, step: &str, output: &str) -> Result<OutputRecord, StepError> {
        let records = self.records.borrow();
        let record = records
            .get(step)
            .ok_or_else(|| StepError::internal(format!("`{step}` has not been made")))?;
        record
            .output(output)
            .cloned()
            .ok_or_else(|| StepError::internal(format!("`{step}` has made no `{output}`")))
    }

    /// An output that depends on arguments outside the key.
    pub fn derive(&self, step: &str, output: &str) -> Result<Option<Value>, StepError> {
        let name = (step.to_string(), output.to_string());
        if let Some(known) = self.derived.borrow().get(&name) {
            return Ok(known.clone());
        }
        let stored = |other: &str| self.stored(step, other, None);
        let value = self.node(step)?.step.derive(output, &stored)?;
        self.derived.borrow_mut().insert(name, value.clone());
        Ok(value)
    }

    pub fn stored(
        &self,
        step: &str,
        output: &str,
        field: Option<&str>,
    ) -> Result<Value, StepError> {
        if let Some(value) = self.loose.borrow().get(&(step.to_string(), output.to_string())) {
            let part = |field: &str| {
                let parts = codec::parts(value).into_iter();
                parts
                    .filter(|(name, _)| name.as_deref() == Some(field))
                    .map(|(_, part)| part)
                    .next()
            };
            return match field {
                None => Ok(value.clone()),
                Some(field) => part(field).ok_or_else(|| {
                    StepError::internal(format!("`{step}.{output}` has no `{field}`"))
                }),
            };
        }
        let record = self.output(step, output)?;
        let one = field.and_then(|field| record.part(field)).cloned();
        let several = match field {
            Some(field) => record.group(field),
            None => record.clone(),
        };
        let mut loaded = Vec::new();
        for part in one.as_ref().map_or(several.parts.as_slice(), std::slice::from_ref) {
            let known = self.values.borrow().get(&part.object).cloned();
            let value = match known {
                Some(value) => value,
                None => {
                    let alone = OutputRecord { parts: vec![part.clone()], ..record.clone() };
                    let value = self.session.store.load_alone(&alone)?;
                    self.values.borrow_mut().insert(part.object, value.clone());
                    value
                }
            };
            loaded.push((part.name.clone(), value));
        }
        let none = || StepError::internal(format!("`{step}.{output}` has no `{field:?}`"));
        match (one, field) {
            (Some(_), _) => loaded.pop().map(|(_, value)| value).ok_or_else(none),
            (None, Some(_)) if loaded.is_empty() => Err(none()),
            (None, _) => {
                let ty = record.port_type().ok_or_else(|| StepError::internal("unknown type"))?;
                codec::join(ty, loaded)
            }
        }
    }

    /// The content digest of what a single reference carries; `None` if it has not been made.
    fn carried(&self, port: &PortRef) -> Result<Option<Digest>, StepError> {
        let PortRef::One { step, output, field } = port else { return Ok(None) };
        if !self.records.borrow().contains_key(step) {
            return Ok(None);
        }
        if let Some(value) = self.derive(step, output)? {
            return codec::digest(&value);
        }
        Ok(self.output(step, output)?.content(field.as_deref()))
    }

    /// Forgets what no step behind `position` refers to.
    pub fn free(&self, position: usize) {
        let session = self.session;
        let mut needed = BTreeSet::new();
        let records = self.records.borrow();
        let later =
            session.steps.iter().skip(position + 1).filter_map(|at| session.graph.nodes.get(*at));
        for port in later.flat_map(|node| &node.inputs) {
            mark(port, &records, &mut needed);
        }
        self.values.borrow_mut().retain(|object, _| needed.contains(object));
    }
}

fn mark(port: &PortRef, records: &BTreeMap<String, Record>, needed: &mut BTreeSet<Digest>) {
    match port {
        PortRef::One { step, .. } => {
            // The whole step: a derived output reads others beside the one that is named.
            let outputs = records.get(step).into_iter().flat_map(|record| &record.outputs);
            needed.extend(outputs.flat_map(|output| &output.parts).map(|part| part.object));
        }
        PortRef::Named(items) => items.iter().for_each(|(_, item)| mark(item, records, needed)),
    }
}

impl Inputs for Done<'_> {
    fn load(&self, port: &PortRef) -> Result<Value, StepError> {
        match port {
            PortRef::One { step, output, field } => match self.derive(step, output)? {
                Some(value) => Ok(value),
                None => self.stored(step, output, field.as_deref()),
            },
            PortRef::Named(items) => {
                let values = items
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), self.load(item)?)))
                    .collect::<Result<Vec<_>, StepError>>()?;
                if values.iter().all(|(_, value)| value.ty() == PortType::Tokens) {
                    let sets: IndexMap<_, _> = values
                        .into_iter()
                        .filter_map(|(name, value)| match value {
                            Value::Tokens(tokens) => Some((name, tokens)),
                            _ => None,
                        })
                        .collect();
                    return Ok(Value::TokenSets(Arc::new(sets)));
                }
                let mut tables = crate::data::Tables::new();
                for (name, value) in values {
                    let found = value.ty().describe();
                    let table = <port::ATable as Carried>::value(value).ok_or_else(|| {
                        StepError::internal(format!("`{name}` is {found}, not a table"))
                    })?;
                    tables.insert(name, Arc::unwrap_or_clone(table));
                }
                Ok(Value::Tables(Arc::new(tables)))
            }
        }
    }
}

/// `unmade`: what stands for inputs that have not been made, if that is no error.
pub(super) fn document_of(
    session: &Session,
    node: &Node,
    done: &Done,
    unmade: Option<Digest>,
) -> Result<Result<Document, KeyError>, StepError> {
    // Looking up a derived output can fail: that failure is not a missing input.
    let failed: RefCell<Option<StepError>> = RefCell::new(None);
    let carried = |port: &PortRef| match done.carried(port) {
        Ok(digest) => digest.or(unmade),
        Err(error) => {
            *failed.borrow_mut() = Some(error);
            None
        }
    };
    let digest = |path: &Path| -> io::Result<Digest> { session.files.digest(path) };
    let document =
        key::document(node, &session.class.device, session.quick, session.probe, &carried, &digest);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(document),
    }
}
