//! Inputs of a step that come from other steps.

use std::marker::PhantomData;

/// What travels along an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortType {
    Table,
    /// Several named tables; a single table fits too.
    Tables,
    Tokens,
    /// Several named token sets; a single one fits too.
    TokenSets,
    Model,
    Tokenizer,
    Predictions,
    Scores,
    Log,
    /// Files laid out for another program: what `save` makes.
    Folder,
    /// Numbers that a step reports: `tokens.report.truncated`.
    Report,
}

impl PortType {
    pub fn describe(self) -> &'static str {
        match self {
            PortType::Table => "a table",
            PortType::Tables => "a table or several named tables",
            PortType::Tokens => "tokens",
            PortType::TokenSets => "tokens, of one or several tables",
            PortType::Model => "a model",
            PortType::Tokenizer => "a tokenizer",
            PortType::Predictions => "predictions",
            PortType::Scores => "scores",
            PortType::Log => "a training log",
            PortType::Folder => "a folder",
            PortType::Report => "a report",
        }
    }

    /// Whether a value of this type can be handed to a port of type `wanted`.
    pub fn fits(self, wanted: PortType) -> bool {
        self == wanted
            || matches!(
                (self, wanted),
                (PortType::Table, PortType::Tables)
                    | (PortType::Log, PortType::Table | PortType::Tables)
                    | (PortType::Predictions, PortType::Table | PortType::Tables)
                    | (PortType::Tokens, PortType::TokenSets)
            )
    }
}

/// A resolved reference to what another step makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortRef {
    /// `step.output`, or `.field` of it: a table of several, a metric.
    One { step: String, output: String, field: Option<String> },
    /// `{ train = parts.train, test = reviews.test }`: several of one type, by name.
    Named(Vec<(String, PortRef)>),
}

impl PortRef {
    /// Every step that is referred to, in order.
    pub fn steps(&self) -> Vec<&str> {
        match self {
            PortRef::One { step, .. } => vec![step],
            PortRef::Named(items) => items.iter().flat_map(|(_, item)| item.steps()).collect(),
        }
    }
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortRef::One { step, output, field } => {
                write!(f, "{step}.{output}")?;
                field.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            PortRef::Named(items) => {
                let all: Vec<String> =
                    items.iter().map(|(name, item)| format!("{name} = {item}")).collect();
                write!(f, "{{ {} }}", all.join(", "))
            }
        }
    }
}

/// A marker type for what a port carries; `step::value` ties it to shapes and values.
pub trait PortKind: 'static {
    const TYPE: PortType;
}

/// An input of a step: a field of its parameters.
pub struct Port<K> {
    pub source: PortRef,
    kind: PhantomData<fn() -> K>,
}

impl<K> Port<K> {
    pub fn new(source: PortRef) -> Self {
        Self { source, kind: PhantomData }
    }
}

impl<K> Clone for Port<K> {
    fn clone(&self) -> Self {
        Self::new(self.source.clone())
    }
}

impl<K> std::fmt::Debug for Port<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.source)
    }
}
