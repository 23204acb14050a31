//! What travels along edges, and how each kind of it is stored, digested and recognised.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::run::StepError;
use super::shape::{ModelShape, PredictionsShape, Shape, TableShape, TokenizerShape, TokensShape};
use crate::base::Digest;
use crate::data::{Table, Tables, Tokenizer, Tokens};
use crate::model::Model;
use crate::schema::{PortKind, PortType};

/// Numbers that a step counted, by name.
pub type Report = IndexMap<String, f64>;

#[derive(Clone)]
pub enum Value {
    Table(Arc<Table>),
    Tables(Arc<Tables>),
    Tokens(Arc<Tokens>),
    TokenSets(Arc<IndexMap<String, Arc<Tokens>>>),
    Model(Arc<Model>),
    Tokenizer(Arc<Tokenizer>),
    Predictions(Arc<Predictions>),
    Scores(Arc<Scores>),
    Log(Arc<Table>),
    Report(Arc<Report>),
    /// Finished files: a folder, or one file. While running they lie in the step's scratch folder;
    /// the store copies them.
    Folder(PathBuf),
}

/// Rows with id, label where known, predicted label, logits, probabilities, loss.
#[derive(Debug, Clone)]
pub struct Predictions {
    pub table: Table,
    /// The head that made them: decides what a metric may compute.
    pub head: String,
}

/// Results of metrics, with their intervals.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    pub scores: Vec<Score>,
    /// Per-class values, a confusion matrix: by name.
    pub tables: Vec<ScoreTable>,
    pub rows: usize,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// `f1_macro`
    pub name: String,
    /// `None` where it is not defined; `reason` says why.
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScoreTable {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<f64>)>,
}

impl Value {
    pub fn ty(&self) -> PortType {
        match self {
            Value::Table(_) => PortType::Table,
            Value::Tables(_) => PortType::Tables,
            Value::Tokens(_) => PortType::Tokens,
            Value::TokenSets(_) => PortType::TokenSets,
            Value::Model(_) => PortType::Model,
            Value::Tokenizer(_) => PortType::Tokenizer,
            Value::Predictions(_) => PortType::Predictions,
            Value::Scores(_) => PortType::Scores,
            Value::Log(_) => PortType::Log,
            Value::Report(_) => PortType::Report,
            Value::Folder(_) => PortType::Folder,
        }
    }
}

/// A kind of port, and what it carries while checking and while running.
pub trait Carried: PortKind {
    type Shape;
    type Value;
    fn shape(shape: Shape) -> Option<Self::Shape>;
    fn value(value: Value) -> Option<Self::Value>;
}

/// One table, or several by name; a single one keeps being one on the way out.
#[derive(Debug, Clone, PartialEq)]
pub enum OneOrNamed<T> {
    One(T),
    Named(Vec<(String, T)>),
}

impl<T> OneOrNamed<T> {
    /// All of them, the single one under an empty name.
    pub fn items(&self) -> Vec<(&str, &T)> {
        match self {
            OneOrNamed::One(item) => vec![("", item)],
            OneOrNamed::Named(items) => {
                items.iter().map(|(name, item)| (name.as_str(), item)).collect()
            }
        }
    }

    /// The same arrangement with other contents.
    pub fn try_map<U, E>(
        self,
        mut f: impl FnMut(&str, T) -> Result<U, E>,
    ) -> Result<OneOrNamed<U>, E> {
        Ok(match self {
            OneOrNamed::One(item) => OneOrNamed::One(f("", item)?),
            OneOrNamed::Named(items) => OneOrNamed::Named(
                items
                    .into_iter()
                    .map(|(name, item)| f(&name, item).map(|mapped| (name, mapped)))
                    .collect::<Result<_, E>>()?,
            ),
        })
    }
}

impl OneOrNamed<Arc<Table>> {
    /// The named ones; none of a single one.
    pub fn tables(&self) -> Tables {
        match self {
            OneOrNamed::One(_) => Tables::new(),
            OneOrNamed::Named(named) => {
                named.iter().map(|(name, table)| (name.clone(), Table::clone(table))).collect()
            }
        }
    }
}

macro_rules! port_kinds {
    ($($(#[doc = $doc:literal])* $kind:ident: $ty:ident, $shape:ty, $value:ty,
        |$s:ident| $of_shape:expr, |$v:ident| $of_value:expr;)*) => {$(
        $(#[doc = $doc])*
        pub struct $kind;
        impl PortKind for $kind {
            const TYPE: PortType = PortType::$ty;
        }
        impl Carried for $kind {
            type Shape = $shape;
            type Value = $value;
            fn shape($s: Shape) -> Option<$shape> {
                $of_shape
            }
            fn value($v: Value) -> Option<$value> {
                $of_value
            }
        }
    )*};
}

/// Markers for `Port<…>`.
pub mod port {
    use super::*;

    port_kinds! {
        ATable: Table, TableShape, Arc<Table>,
            |shape| match shape {
                Shape::Table(table) => Some(table),
                Shape::Predictions(_) | Shape::Log => Some(TableShape::default()),
                _ => None,
            },
            |value| match value {
                Value::Table(table) | Value::Log(table) => Some(table),
                Value::Predictions(predictions) => Some(Arc::new(predictions.table.clone())),
                _ => None,
            };
        SomeTables: Tables, OneOrNamed<TableShape>, OneOrNamed<Arc<Table>>,
            |shape| match shape {
                Shape::Tables(tables) => Some(OneOrNamed::Named(tables)),
                other => <ATable as Carried>::shape(other).map(OneOrNamed::One),
            },
            |value| match value {
                Value::Tables(tables) => Some(OneOrNamed::Named(
                    tables.iter().map(|(name, table)| (name.clone(), Arc::new(table.clone()))).collect(),
                )),
                other => <ATable as Carried>::value(other).map(OneOrNamed::One),
            };
        SomeTokens: Tokens, TokensShape, Arc<Tokens>,
            |shape| if let Shape::Tokens(tokens) = shape { Some(tokens) } else { None },
            |value| if let Value::Tokens(tokens) = value { Some(tokens) } else { None };
        AModel: Model, ModelShape, Arc<Model>,
            |shape| if let Shape::Model(model) = shape { Some(model) } else { None },
            |value| if let Value::Model(model) = value { Some(model) } else { None };
        ATokenizer: Tokenizer, TokenizerShape, Arc<Tokenizer>,
            |shape| if let Shape::Tokenizer(tokenizer) = shape { Some(tokenizer) } else { None },
            |value| if let Value::Tokenizer(tokenizer) = value { Some(tokenizer) } else { None };
        SomePredictions: Predictions, PredictionsShape, Arc<Predictions>,
            |shape| if let Shape::Predictions(made) = shape { Some(made) } else { None },
            |value| if let Value::Predictions(made) = value { Some(made) } else { None };
    }
}

/// How a value is kept in the store: files in a folder of its own.
pub trait Stored: Sized {
    /// Over content, not over a file format's bytes.
    fn digest(&self) -> Result<Digest, StepError>;
    /// Writes into an empty folder that exists.
    fn write(&self, folder: &Path) -> Result<(), StepError>;
    fn read(folder: &Path) -> Result<Self, StepError>;
}
