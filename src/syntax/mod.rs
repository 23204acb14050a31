//! From text to tree and back: the grammar's parser with recovery, and the formatter. No step kind
//! is known here, and nothing is read or written.

pub mod ast;
mod build;
mod draft;
mod explain;
mod fault;
mod format;
mod lex;
mod meaning;
mod parse;
mod reuse;
mod split;
mod steps;
mod text;
mod values;

pub use ast::Ast;
pub use format::format;
pub use lex::is_word;
pub use parse::{EDITION, parse, parse_value};
pub use split::RESERVED;

#[cfg(test)]
mod tests;
