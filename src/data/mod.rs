//! Data: tables (polars dataframes; every polars call of the program is in here), reading and
//! writing them, operations and splits, tokenizers, tokens and batches. Nothing here knows of
//! steps, programs or models.

mod augment;
mod batches;
mod column;
mod error;
pub mod expression;
pub mod hub;
mod labels;
pub mod learn;
pub mod prepare;
pub mod read;
mod shared;
mod split;
mod table;
pub mod tagging;
mod tokenizer;
mod tokens;
mod write;

pub use augment::{Augment, Augmentation, Synonyms, read_synonyms};
pub use batches::{Batch, BatchSize, cut, epoch_order};
pub use column::{ColumnData, ColumnType};
pub use error::{DataError, Fault, Result};
pub use labels::{IGNORED, Labels, Targets, sort_names};
pub use read::{Header, LabelSample, ReadOptions};
pub use shared::{Fingerprints, Shared, count as count_shared, shared};
pub use split::{PARTS, Split, SplitBy};
pub use table::{Origin, ROLES, Table, Tables, no_column};
pub use tokenizer::{SpecialIds, Tokenizer};
pub use tokens::{
    Contexts, Form, Overflow, Parts, SeparateTexts, TokenReport, Tokenization, Tokens, Words,
};
pub use write::{to_bytes, write, written_formats};
