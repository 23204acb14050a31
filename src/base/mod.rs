//! What every other module may name: places in a source, diagnostics and their codes, digests,
//! seeded random streams. Nothing here knows of steps, tensors or files.

pub mod codes;
pub mod diag;
pub mod digest;
pub mod random;
pub mod source;
pub mod suggest;

pub use codes::Code;
pub use diag::{Diag, Diags, Fix, Label, Severity};
pub use digest::{Digest, Hasher, Pieces};
pub use source::{Source, SourceId, Span, Spanned};
