//! A checked program: steps with bound arguments, and the edges between them. How it comes about is
//! in `check`.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use petgraph::graph::{DiGraph, NodeIndex};

use super::expect::Expectation;
use crate::base::{Span, suggest};
use crate::schema::{Bound, PortRef};
use crate::step::{AnyStep, Kind, Shape};

/// A program without mistakes.
pub struct Graph {
    /// In the order of the source.
    pub nodes: Vec<Node>,
    /// Indices of `nodes`: every step behind all that it refers to, ties by the order of the source.
    pub order: Vec<usize>,
    /// The program's seed: what a step without a seed of its own uses.
    pub seed: u64,
    /// Declared parameters and their values, in the order of the source.
    pub params: Vec<Parameter>,
    /// What steps are held to, in the order of the source.
    pub expectations: Vec<Expectation>,
}

/// A declared parameter and the value it has in this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub docs: Vec<String>,
    /// As the language spells it.
    pub value: String,
    /// Where the value was written: in the program, in a parameter file or in a `--set`.
    pub origin: Span,
}

pub struct Node {
    pub name: String,
    pub docs: Vec<String>,
    pub kind: &'static Kind,
    /// In the order of the declaration, all of them.
    pub args: Vec<(String, Bound)>,
    pub step: Box<dyn AnyStep>,
    /// Every reference in the arguments, in order.
    pub inputs: Vec<PortRef>,
    /// What is known of the outputs, by name.
    pub shapes: Vec<(String, Shape)>,
    /// The name in the program.
    pub span: Span,
    /// Where the value of each written argument stands, by dotted path. What was left out has the
    /// default of the declaration.
    pub origins: BTreeMap<String, Span>,
}

impl Node {
    pub fn arg(&self, name: &str) -> Option<&Bound> {
        self.args.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    pub fn shape(&self, output: &str) -> Option<&Shape> {
        self.shapes.iter().find(|(name, _)| name == output).map(|(_, shape)| shape)
    }

    /// Where the value of an argument comes from; `None` for a default.
    pub fn origin(&self, path: &str) -> Option<Span> {
        let mut path = path;
        loop {
            if let Some(span) = self.origins.get(path) {
                return Some(*span);
            }
            path = path.rsplit_once('.')?.0;
        }
    }
}

impl Graph {
    pub fn index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The steps that a step refers to, without repetition, in the order of the source.
    pub fn dependencies(&self, index: usize) -> Vec<usize> {
        let found: BTreeSet<usize> = self
            .nodes
            .get(index)
            .into_iter()
            .flat_map(|node| &node.inputs)
            .flat_map(PortRef::steps)
            .filter_map(|name| self.index(name))
            .collect();
        found.into_iter().collect()
    }

    /// These steps and all they need, in the order of running.
    ///
    /// # Errors
    /// The name that no step has, and the nearest one that a step has.
    pub fn ancestors(&self, names: &[String]) -> Result<Vec<usize>, UnknownStep> {
        let mut wanted = BTreeSet::new();
        let mut open = Vec::new();
        for name in names {
            open.push(self.index(name).ok_or_else(|| {
                UnknownStep {
                    name: name.clone(),
                    nearest: suggest::nearest(
                        name,
                        self.nodes.iter().map(|node| node.name.as_str()),
                    )
                    .map(str::to_string),
                }
            })?);
        }
        while let Some(index) = open.pop() {
            if wanted.insert(index) {
                open.extend(self.dependencies(index));
            }
        }
        Ok(self.order.iter().copied().filter(|index| wanted.contains(index)).collect())
    }
}

/// A name that no step of the program has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStep {
    pub name: String,
    pub nearest: Option<String>,
}

impl std::fmt::Display for UnknownStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no step is named `{}`", self.name)?;
        self.nearest.iter().try_for_each(|near| write!(f, "; the nearest is `{near}`"))
    }
}

/// An order in which every node comes behind all it needs, ties by index; and the nodes of each
/// circle, which have no place in it, nor has what needs them.
pub struct Order {
    pub order: Vec<usize>,
    /// Each in the order of its edges, from the lowest index.
    pub circles: Vec<Vec<usize>>,
}

/// `needs[n]`: what node `n` needs.
pub fn order(needs: &[Vec<usize>]) -> Order {
    let mut graph: DiGraph<(), ()> = DiGraph::new();
    let handles: Vec<NodeIndex> = needs.iter().map(|_| graph.add_node(())).collect();
    for (index, needed) in needs.iter().enumerate() {
        for &other in needed {
            if let (Some(&from), Some(&to)) = (handles.get(other), handles.get(index)) {
                graph.update_edge(from, to, ());
            }
        }
    }
    let mut waiting: Vec<usize> = handles
        .iter()
        .map(|&handle| graph.neighbors_directed(handle, petgraph::Incoming).count())
        .collect();
    let mut ready: BinaryHeap<std::cmp::Reverse<usize>> = waiting
        .iter()
        .enumerate()
        .filter(|(_, count)| **count == 0)
        .map(|(index, _)| std::cmp::Reverse(index))
        .collect();
    let mut order = Vec::new();
    while let Some(std::cmp::Reverse(index)) = ready.pop() {
        order.push(index);
        for next in graph.neighbors(handles[index]) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(std::cmp::Reverse(next.index()));
            }
        }
    }
    let mut circles: Vec<Vec<usize>> = petgraph::algo::tarjan_scc(&graph)
        .into_iter()
        .filter(|members| {
            members.len() > 1 || members.iter().any(|&one| graph.contains_edge(one, one))
        })
        .map(|members| circle(&members.iter().map(|one| one.index()).collect(), needs))
        .collect();
    circles.sort();
    Order { order, circles }
}

/// A shortest way from the lowest of `members` back to itself, along what each needs.
fn circle(members: &BTreeSet<usize>, needs: &[Vec<usize>]) -> Vec<usize> {
    let Some(&start) = members.first() else { return Vec::new() };
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for &next in needs.get(at).into_iter().flatten().filter(|next| members.contains(next)) {
            if next == start {
                let mut chain = vec![at];
                while let Some(&before) = chain.last().and_then(|last| came_from.get(last)) {
                    chain.push(before);
                }
                chain.reverse();
                return chain;
            }
            if let std::collections::btree_map::Entry::Vacant(place) = came_from.entry(next) {
                place.insert(at);
                open.push_back(next);
            }
        }
    }
    vec![start]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_ties_keep_the_order_of_the_source() {
        let found = order(&[vec![2], vec![], vec![1], vec![]]);
        assert_eq!(found.order, [1, 2, 0, 3]);
        assert!(found.circles.is_empty());
    }

    #[test]
    fn circles_are_named_with_their_shortest_chain() {
        // 0 needs 1, 1 needs 2, 2 needs 0 and 1; 3 needs itself; 4 is free.
        let found = order(&[vec![1], vec![2], vec![1, 0], vec![3], vec![]]);
        assert_eq!(found.order, [4]);
        assert_eq!(found.circles, [vec![0, 1, 2], vec![3]]);
    }
}
