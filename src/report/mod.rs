//! Results as tables for people and as objects for machines. Pure functions; `cli` shows them.

mod scores;
mod text;

pub use scores::{Named, details, json, metrics, table};
pub use text::{ago, duration, grid};
