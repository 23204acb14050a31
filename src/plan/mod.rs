//! From a syntax tree, values from outside and what a probe tells of files to a checked graph:
//! all mistakes in one pass, nothing run, nothing read. How a graph is drawn is in `draw`, how the
//! declarations of steps become documentation in `describe`.

mod arguments;
mod bind;
mod check;
mod columns;
pub mod describe;
pub mod draw;
mod expect;
mod graph;
mod imports;
mod names;
mod outside;
mod params;
mod places;
mod reference;
mod refine;
mod reuse;
mod shapes;
#[cfg(test)]
mod tests;
mod yaml;

pub use check::{Bindings, Checked, check};
pub use expect::{Expectation, Limit};
pub use graph::{Graph, Node, Parameter, UnknownStep};
pub use imports::imports;
pub use params::SEED;
