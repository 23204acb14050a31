//! What a program may say: types of arguments, their declarations, and the values they are bound to.
//!
//! A set of parameters is declared once with [`params!`](crate::params); a closed set of variants
//! with [`variants!`](crate::variants); an open set is a [`Family`]. Checker, documentation, JSON
//! schema, completion and cache key all read these declarations. Nothing here knows of syntax,
//! files or tensors; checking a syntax tree against a [`Type`] is `plan`'s.

mod arg;
mod bound;
mod declare;
mod family;
mod port;
mod ty;

pub use arg::{Arg, Column, Map, OneOrMany, Or, Quantity, Scalar, Secret, Share};
pub use bound::{Bound, ColumnExpr, Operator};
pub use declare::{Args, ParamDecl, Params, VariantDecl, VariantSet};
#[doc(hidden)]
pub use declare::{argument, doc_text, plain_name};
pub use family::{Entry, Family, Pick};
pub use port::{Port, PortKind, PortRef, PortType};
pub use ty::{Type, Unit};
