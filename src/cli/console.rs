//! The two streams: results on the standard output, without colour, and everything else on the
//! standard error.

use std::io::{IsTerminal, Write};

use super::args::{Color, Common};

#[derive(Debug, Clone, Copy)]
pub struct Console {
    pub json: bool,
    pub quiet: bool,
    /// Whether the standard error is a terminal: bars instead of lines.
    pub terminal: bool,
    /// Whether the standard error takes colour.
    pub color: bool,
}

impl Console {
    pub fn new(common: &Common) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = std::io::stderr().is_terminal() && !dumb;
        let color = match common.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        };
        Self { json: common.json, quiet: common.quiet, terminal, color }
    }

    /// A result: standard output.
    pub fn result(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away wants no more.
        let _ = writeln!(out, "{}", text.trim_end_matches('\n'));
    }

    /// A result for machines: the one object on the standard output.
    pub fn object(&self, value: &serde_json::Value) {
        self.result(&format!("{value:#}"));
    }

    /// A message for people: standard error.
    pub fn message(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{}", text.trim_end_matches('\n'));
    }
}
