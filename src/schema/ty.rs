//! Types of arguments. A type describes which values fit; `plan::bind` decides whether one does.

use super::bound::number;
use super::{PortType, VariantSet};

/// A dimension: `3 epochs`, `2_000 updates`, `4_096 tokens`, `32` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    Epochs,
    Updates,
    Tokens,
    /// Written without a word.
    Rows,
}

impl Unit {
    /// The unit of a word; `steps` is accepted for updates.
    pub fn parse(word: &str) -> Option<Unit> {
        Some(match word {
            "epoch" | "epochs" => Unit::Epochs,
            "update" | "updates" | "step" | "steps" => Unit::Updates,
            "token" | "tokens" => Unit::Tokens,
            "row" | "rows" => Unit::Rows,
            _ => return None,
        })
    }

    /// The word that stands behind a number, in the plural.
    pub fn word(self) -> &'static str {
        match self {
            Unit::Epochs => "epochs",
            Unit::Updates => "updates",
            Unit::Tokens => "tokens",
            Unit::Rows => "rows",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    /// Whole numbers, both limits included.
    Int {
        min: i64,
        max: i64,
    },
    /// Finite numbers, both limits included; a whole number fits.
    Float {
        min: f64,
        max: f64,
    },
    /// `6%`; the limits are fractions (0.06).
    Share {
        min: f64,
        max: f64,
    },
    Text,
    /// A number with one of these units; the limits hold for the number. `Rows` is written bare.
    Quantity {
        units: Vec<Unit>,
        min: f64,
        max: f64,
    },
    /// Any boolean, number or text, kept as written: fields of a foreign configuration.
    Scalar,
    List(Box<Type>),
    /// `{ name = value }`, in the order written.
    Map(Box<Type>),
    Variant(VariantSet),
    /// The first of these that the form of the value fits.
    OneOf(Vec<Type>),
    Port(PortType),
    /// `.name`
    Column,
    /// An expression over columns: `.length > 3 and .label != "x"`.
    ColumnExpr,
    /// A credential: the name of a `secret`, nothing else.
    Secret,
}

impl Type {
    /// The same type with narrower limits. Limits of a type without any are ignored.
    pub fn within(self, low: f64, high: f64) -> Type {
        match self {
            Type::Int { .. } => {
                Type::Int { min: low.max(i64::MIN as f64) as i64, max: high as i64 }
            }
            Type::Float { .. } => Type::Float { min: low, max: high },
            Type::Share { .. } => Type::Share { min: low, max: high },
            Type::Quantity { units, .. } => Type::Quantity { units, min: low, max: high },
            Type::List(item) => Type::List(Box::new(item.within(low, high))),
            Type::Map(item) => Type::Map(Box::new(item.within(low, high))),
            Type::OneOf(types) => {
                Type::OneOf(types.into_iter().map(|ty| ty.within(low, high)).collect())
            }
            other => other,
        }
    }

    /// What messages and documentation call it: `a number from 0 to 1`.
    pub fn describe(&self) -> String {
        match self {
            Type::Bool => "`true` or `false`".into(),
            Type::Int { min, max } => format!("a whole number{}", limits(*min as f64, *max as f64)),
            Type::Float { min, max } => format!("a number{}", limits(*min, *max)),
            Type::Share { min, max } => {
                format!("a share such as `6%`{}", share_limits(*min, *max))
            }
            Type::Text => "a string".into(),
            Type::Quantity { units, min, max } => {
                let forms: Vec<String> = units
                    .iter()
                    .map(|unit| match unit {
                        Unit::Rows => "`32` (rows)".to_string(),
                        Unit::Epochs => "`3 epochs`".to_string(),
                        Unit::Updates => "`2_000 updates`".to_string(),
                        Unit::Tokens => "`4_096 tokens`".to_string(),
                    })
                    .collect();
                format!("{}{}", forms.join(" or "), limits(*min, *max))
            }
            Type::Scalar => "a number, a boolean or a string".into(),
            Type::List(item) => format!("a list `[…]`, in it {}", item.describe()),
            Type::Map(item) => format!("a map `{{ name = … }}`, in it {}", item.describe()),
            Type::Variant(set) => set.describe(),
            Type::OneOf(types) => {
                let all: Vec<String> = types.iter().map(Type::describe).collect();
                all.join(", or ")
            }
            Type::Port(port) => port.describe().into(),
            Type::Column => "a column such as `.text`".into(),
            Type::ColumnExpr => "an expression over columns such as `.n > 3`".into(),
            Type::Secret => "the name of a `secret`".into(),
        }
    }
}

fn limits(min: f64, max: f64) -> String {
    let whole = |value: f64| value <= -9e15 || value >= 9e15 || value.is_infinite();
    match (whole(min), whole(max)) {
        (true, true) => String::new(),
        (false, true) => format!(" of at least {}", number(min)),
        (true, false) => format!(" of at most {}", number(max)),
        (false, false) => format!(" from {} to {}", number(min), number(max)),
    }
}

fn share_limits(min: f64, max: f64) -> String {
    format!(" from {}% to {}%", min * 100.0, max * 100.0)
}
