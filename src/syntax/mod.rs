//! From text to tree and back: the grammar's parser with recovery, and the formatter. No step kind
//! is known here, and nothing is read or written.

pub mod ast;
mod draft;
mod fault;
mod lex;
mod split;

pub use ast::Ast;
