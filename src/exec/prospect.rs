//! What a run would do, and in which order.

use std::collections::BTreeSet;

use super::done::{Done, document_of};
use super::key::{Document, KeyError};
use super::session::Session;
use super::store::{Lookup, Record};
use crate::base::Digest;
use crate::plan::Graph;
use crate::schema::{PortRef, PortType};
use crate::step::StepError;

/// What would happen to a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Prospect {
    Hit,
    Run,
    /// On what a step upstream will make.
    Depends,
}

impl Prospect {
    pub fn word(&self) -> &'static str {
        match self {
            Prospect::Hit => "hit",
            Prospect::Run => "run",
            Prospect::Depends => "depends",
        }
    }
}

/// A step and what would happen to it.
pub struct Planned {
    pub name: String,
    pub kind: &'static str,
    pub prospect: Prospect,
    /// What it would be computed from. Where the step depends on others, the inputs in it stand for
    /// nothing yet.
    pub document: Option<Document>,
    pub record: Option<Record>,
    /// Steps upstream that decide.
    pub waits_for: Vec<String>,
    /// The most memory it will hold, in bytes, where its inputs are there and tell.
    pub memory: Option<u64>,
    /// What is wrong with what is stored, or with the files it needs.
    pub trouble: Option<String>,
}

/// What `run` would do. Writes nothing.
pub fn plan(session: &Session) -> Result<Vec<Planned>, StepError> {
    let done = Done::new(session);
    let mut planned: Vec<Planned> = Vec::new();
    for node in session.steps.iter().filter_map(|at| session.graph.nodes.get(*at)) {
        let mut entry = Planned {
            name: node.name.clone(),
            kind: node.kind.name,
            prospect: Prospect::Depends,
            document: None,
            record: None,
            waits_for: Vec::new(),
            memory: None,
            trouble: None,
        };
        for step in node.inputs.iter().flat_map(PortRef::steps) {
            let open =
                planned.iter().any(|other| other.name == step && other.prospect != Prospect::Hit);
            if open && !entry.waits_for.iter().any(|known| known == step) {
                entry.waits_for.push(step.to_string());
            }
        }
        if !entry.waits_for.is_empty() {
            let unmade = Some(Digest::of(b"unmade"));
            entry.document = document_of(session, node, &done, unmade)?.ok();
        } else {
            match document_of(session, node, &done, None)? {
                Ok(document) => {
                    let key = document.key();
                    entry.document = Some(document);
                    entry.prospect = Prospect::Run;
                    match session.store.lookup(key) {
                        Lookup::Hit(_) if session.force.contains(&node.name) => {}
                        Lookup::Hit(record) => {
                            entry.prospect = Prospect::Hit;
                            done.records.borrow_mut().insert(node.name.clone(), (*record).clone());
                            entry.record = Some(*record);
                        }
                        Lookup::Absent => {}
                        Lookup::Damaged(what) => entry.trouble = Some(what),
                    }
                }
                Err(KeyError::Missing(missing)) => {
                    entry.prospect = Prospect::Run;
                    entry.trouble = Some(missing.message);
                }
                Err(KeyError::Unmade(_)) => {}
            }
        }
        if entry.prospect == Prospect::Run {
            entry.memory = node.step.memory(&done, session.quick);
        }
        planned.push(entry);
    }
    Ok(planned)
}

/// The steps in an order in which whatever reads and prepares data comes before whatever makes a
/// model of a model, as far as the edges allow: what is wrong with the data of any branch is found
/// before hours of training.
pub fn data_first(graph: &Graph, steps: &[usize]) -> Vec<usize> {
    let mut late: BTreeSet<usize> = BTreeSet::new();
    for &at in steps {
        let Some(node) = graph.nodes.get(at) else { continue };
        let trains = !node.inputs.is_empty()
            && node.kind.outputs.first().is_some_and(|main| main.ty == PortType::Model);
        if trains || graph.dependencies(at).iter().any(|needed| late.contains(needed)) {
            late.insert(at);
        }
    }
    let (behind, first): (Vec<usize>, Vec<usize>) = steps.iter().partition(|at| late.contains(at));
    first.into_iter().chain(behind).collect()
}

/// The steps that make nothing but tables from nothing but tables: what they establish needs all
/// rows and no model.
pub fn data_alone(graph: &Graph) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for &at in &graph.order {
        let tables = graph
            .nodes
            .get(at)
            .and_then(|node| node.kind.outputs.first())
            .is_some_and(|main| matches!(main.ty, PortType::Table | PortType::Tables));
        if tables && graph.dependencies(at).iter().all(|needed| found.contains(needed)) {
            found.push(at);
        }
    }
    found
}
