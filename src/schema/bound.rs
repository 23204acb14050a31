//! Values after checking: what an argument is bound to, defaults filled in, parameters replaced.
//! `Display` writes a value as the language spells it; `hash` encodes it for a step's key.

use std::fmt;

use super::{PortRef, Unit};
use crate::base::{Digest, Hasher};

#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// An optional argument that was left out.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// As a fraction: `6%` is 0.06.
    Share(f64),
    Text(String),
    Quantity(f64, Unit),
    List(Vec<Bound>),
    /// In the order written.
    Map(Vec<(String, Bound)>),
    /// Arguments in the order of their declaration, all of them.
    Variant(String, Vec<(String, Bound)>),
    Port(PortRef),
    Column(String),
    Expr(ColumnExpr),
    /// The environment variable that holds a credential: never shown, never part of a key.
    Secret(String),
}

/// An expression over the columns of a table, as written; types are checked by `step::prepare`.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnExpr {
    Column(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Call(String, Vec<ColumnExpr>),
    Not(Box<ColumnExpr>),
    Negate(Box<ColumnExpr>),
    Binary(Operator, Box<ColumnExpr>, Box<ColumnExpr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Or => "or",
            Operator::And => "and",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        }
    }
}

impl Bound {
    /// Every port in the value, at any depth, in order: the edges of the graph.
    pub fn ports(&self) -> Vec<&PortRef> {
        match self {
            Bound::Port(port) => vec![port],
            Bound::List(items) => items.iter().flat_map(Bound::ports).collect(),
            Bound::Map(fields) | Bound::Variant(_, fields) => {
                fields.iter().flat_map(|(_, value)| value.ports()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Encodes the value into a key. A port is encoded as the digest of what it carries, so that
    /// names and places of steps stay out of keys.
    pub fn hash<E>(
        &self,
        hasher: &mut Hasher,
        carried: &mut dyn FnMut(&PortRef) -> Result<Digest, E>,
    ) -> Result<(), E> {
        match self {
            Bound::None => hasher.text("none"),
            Bound::Bool(value) => hasher.text("bool").number(u64::from(*value)),
            Bound::Int(value) => hasher.text("int").number(*value as u64),
            Bound::Float(value) => hasher.text("float").number(canonical_bits(*value)),
            Bound::Share(value) => hasher.text("share").number(canonical_bits(*value)),
            Bound::Text(value) => hasher.text("text").text(value),
            Bound::Quantity(value, unit) => {
                hasher.text("quantity").number(canonical_bits(*value)).text(unit.word())
            }
            Bound::List(items) => {
                hasher.text("list").number(items.len() as u64);
                for item in items {
                    item.hash(hasher, carried)?;
                }
                hasher
            }
            Bound::Map(fields) => {
                hasher.text("map").number(fields.len() as u64);
                for (name, value) in fields {
                    value.hash(hasher.text(name), carried)?;
                }
                hasher
            }
            Bound::Variant(variant, fields) => {
                hasher.text("variant").text(variant).number(fields.len() as u64);
                for (name, value) in fields {
                    value.hash(hasher.text(name), carried)?;
                }
                hasher
            }
            Bound::Port(PortRef::Named(items)) => {
                hasher.text("ports").number(items.len() as u64);
                for (name, item) in items {
                    Bound::Port(item.clone()).hash(hasher.text(name), carried)?;
                }
                hasher
            }
            Bound::Port(port) => {
                let digest = carried(port)?;
                hasher.text("port").digest(&digest)
            }
            Bound::Column(name) => hasher.text("column").text(name),
            Bound::Expr(expr) => hasher.text("expr").text(&expr.to_string()),
            Bound::Secret(_) => hasher.text("secret"),
        };
        Ok(())
    }
}

/// Zero has one encoding; a checked value is never NaN.
fn canonical_bits(value: f64) -> u64 {
    if value == 0.0 { 0 } else { value.to_bits() }
}

/// A number as the language spells it: `5e-5`, `0.01`, `1`.
pub(super) fn number(value: f64) -> String {
    let plain = value.to_string();
    if value != 0.0 && (plain.len() > 8 || value.abs() < 1e-3) {
        format!("{value:e}")
    } else {
        plain
    }
}

fn fields(f: &mut fmt::Formatter<'_>, fields: &[(String, Bound)]) -> fmt::Result {
    let shown = fields.iter().filter(|(_, value)| *value != Bound::None);
    for (index, (name, value)) in shown.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{name} = {value}")?;
    }
    Ok(())
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::None => f.write_str("none"),
            Bound::Bool(value) => write!(f, "{value}"),
            Bound::Int(value) => write!(f, "{value}"),
            Bound::Float(value) => {
                let text = number(*value);
                let whole = !text.contains(['.', 'e']);
                write!(f, "{text}{}", if whole { ".0" } else { "" })
            }
            Bound::Share(value) => {
                // Shortest decimal of the percentage, free of the binary tail of `value * 100`.
                let percent = (value * 100.0 * 1e9).round() / 1e9;
                write!(f, "{percent}%")
            }
            Bound::Text(value) => write!(f, "{}", quote(value)),
            Bound::Quantity(value, Unit::Rows) => write!(f, "{value}"),
            Bound::Quantity(value, unit) => {
                let word = unit.word();
                write!(f, "{value} {}", if *value == 1.0 { &word[..word.len() - 1] } else { word })
            }
            Bound::List(items) => {
                let items: Vec<String> = items.iter().map(Bound::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Bound::Map(items) if items.is_empty() => f.write_str("{ }"),
            Bound::Map(items) => {
                f.write_str("{ ")?;
                fields(f, items)?;
                f.write_str(" }")
            }
            Bound::Variant(name, arguments) => {
                f.write_str(name)?;
                if arguments.iter().any(|(_, value)| *value != Bound::None) {
                    f.write_str("(")?;
                    fields(f, arguments)?;
                    f.write_str(")")?;
                }
                Ok(())
            }
            Bound::Port(port) => write!(f, "{port}"),
            Bound::Column(name) => f.write_str(&column(name)),
            Bound::Expr(expr) => write!(f, "{expr}"),
            Bound::Secret(_) => f.write_str("secret"),
        }
    }
}

impl fmt::Display for ColumnExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnExpr::Column(name) => f.write_str(&column(name)),
            ColumnExpr::Bool(value) => write!(f, "{value}"),
            ColumnExpr::Int(value) => write!(f, "{value}"),
            ColumnExpr::Float(value) => write!(f, "{}", Bound::Float(*value)),
            ColumnExpr::Text(value) => f.write_str(&quote(value)),
            ColumnExpr::Call(name, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                write!(f, "{name}({})", arguments.join(", "))
            }
            ColumnExpr::Not(inner) => write!(f, "(not {inner})"),
            ColumnExpr::Negate(inner) => write!(f, "(-{inner})"),
            ColumnExpr::Binary(operator, left, right) => {
                write!(f, "({left} {} {right})", operator.symbol())
            }
        }
    }
}

/// A string literal of the language.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn column(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { format!(".{name}") } else { format!(".{}", quote(name)) }
}
