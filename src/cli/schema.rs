//! `ftrun schema`: every step kind for editors and other programs, always as JSON.

use clap::Args;

use super::Exit;
use super::console::Console;
use crate::plan::describe;
use crate::step::kinds;

#[derive(Debug, Args)]
pub struct SchemaArgs {}

pub fn run(_args: &SchemaArgs, console: &Console) -> Exit {
    console.object(&describe::schema_json(kinds()));
    Exit::Done
}
