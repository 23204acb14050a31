//! From a checked graph to results: keys, the store, claims, running, the manifest of each run and
//! the index over them. Nothing here prints; `cli` shows what a [`Sink`] is told.

mod claim;
pub mod class;
mod disk;
mod done;
mod expect;
mod files;
pub mod index;
pub mod key;
pub mod manifest;
mod place;
pub mod probe;
pub mod prospect;
pub mod run;
mod session;
pub mod settings;
mod store;

pub use claim::Pace;
pub use class::Class;
pub use expect::Unmet;
pub use files::Files;
pub use prospect::{Planned, Prospect};
pub use session::{End, Outcome, Session, Signal, Sink, Status, StepResult};
pub use store::{Lookup, OutputRecord, Record, Store};
