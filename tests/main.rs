//! The one integration binary.

mod cases;
mod cli;
mod floors;
mod forms;
mod language;
mod methods;
mod metrics;
mod models;
mod parity;
mod quickstart;
mod rows;
mod runner;
mod training;
mod transformers;
mod versions;
