//! ftrun: declarative fine-tuning of transformers. The way of a run is in `ARCHITECTURE.md`.

pub mod base;
pub mod cli;
pub mod data;
pub mod exec;
pub mod model;
pub mod nn;
pub mod plan;
pub mod report;
pub mod schema;
pub mod step;
pub mod syntax;
pub mod task;
pub mod train;
