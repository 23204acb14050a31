//! Arguments that several verbs share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// For every verb, before or behind it.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// One JSON object on the standard output, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// No progress, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// A program and the values given to it from outside.
#[derive(Debug, Clone, Args)]
pub struct ProgramArgs {
    /// The program, a file such as `pipeline.ftp`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Give a parameter, an argument of a step or the seed another value; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A YAML file with such values; `--set` wins over it
    #[arg(long, value_name = "FILE.yaml")]
    pub params: Vec<PathBuf>,
}
