//! Results as tables for people and as objects for machines. Pure functions; `cli` shows them.

mod losses;
mod scores;
mod text;

pub use losses::losses;
pub use scores::{Named, details, json, metrics, table};
pub use text::{ago, duration, grid};
