//! Diagnostics for people and for machines.

use std::fmt::Write as _;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use serde_json::{Value, json};

use crate::base::{Diag, Severity, Source, SourceId, Span};

use super::console::Console;

/// A diagnostic as miette draws it: labels of its main source, the others as related notes.
#[derive(Debug)]
struct Drawn<'a> {
    diag: &'a Diag,
    source: NamedSource<String>,
    notes: Vec<Note>,
    help: Option<String>,
}

/// A label in another source than the diagnostic's own.
#[derive(Debug)]
struct Note {
    text: String,
    source: NamedSource<String>,
    span: Span,
}

impl std::fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.diag.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.diag.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diag.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let own = self.diag.span().source;
        let labels = self.diag.labels.iter().filter(move |label| label.span.source == own);
        Some(Box::new(labels.enumerate().map(|(index, label)| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            let span = (label.span.start, label.span.end.saturating_sub(label.span.start));
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, span)
            } else {
                LabeledSpan::new_with_span(text, span)
            }
        })))
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        (!self.notes.is_empty()).then(|| {
            Box::new(self.notes.iter().map(|note| note as &dyn Diagnostic))
                as Box<dyn Iterator<Item = &dyn Diagnostic>>
        })
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Note {}

impl Diagnostic for Note {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = (self.span.start, self.span.end.saturating_sub(self.span.start));
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

fn named(sources: &[Source], id: SourceId) -> NamedSource<String> {
    match sources.get(id.0 as usize) {
        Some(source) => NamedSource::new(&source.name, source.text.to_string()),
        None => NamedSource::new("", String::new()),
    }
}

/// The line with which a fix can be pasted, or `None` if it only removes something.
fn pasteable(diag: &Diag) -> Option<String> {
    let fix = diag.fix.as_ref()?;
    let text = fix.replacement.trim();
    (!text.is_empty()).then(|| text.to_string())
}

/// One diagnostic, with its part of the source.
pub fn graphical(diag: &Diag, sources: &[Source], console: &Console) -> String {
    let mut help = diag.help.clone().unwrap_or_default();
    if let Some(line) = pasteable(diag)
        && !help.contains(&line)
    {
        let _ = write!(help, "{}{line}", if help.is_empty() { "write: " } else { "\nwrite: " });
    }
    let own = diag.span().source;
    let notes = diag
        .labels
        .iter()
        .filter(|label| label.span.source != own)
        .map(|label| Note {
            text: label.text.clone(),
            source: named(sources, label.span.source),
            span: label.span,
        })
        .collect();
    let drawn = Drawn {
        diag,
        source: named(sources, own),
        notes,
        help: (!help.is_empty()).then_some(help),
    };
    let theme = match (console.color, console.terminal) {
        (true, _) => GraphicalTheme::unicode(),
        (false, true) => GraphicalTheme::unicode_nocolor(),
        (false, false) => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut text = String::new();
    match handler.render_report(&mut text, &drawn) {
        Ok(()) => text,
        // A span outside its source: the message is still worth showing.
        Err(_) => format!("{} {}\n", diag.code, diag.message),
    }
}

/// All of them, with a closing line that says how many and what to do next.
pub fn all(diags: &[Diag], sources: &[Source], console: &Console) -> String {
    let mut text = String::new();
    for diag in diags {
        text.push_str(&graphical(diag, sources, console));
    }
    let errors = diags.iter().filter(|diag| diag.severity() == Severity::Error).count();
    let warnings = diags.len() - errors;
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    };
    let counts: Vec<String> =
        [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect();
    if let Some(first) = diags.first() {
        let _ = writeln!(text, "{}; more: ftrun explain {}", counts.join(", "), first.code);
    }
    text
}

/// A diagnostic for machines; lines and columns count from 1, columns in characters.
pub fn object(diag: &Diag, sources: &[Source]) -> Value {
    let place = |span: Span| {
        let source = sources.get(span.source.0 as usize);
        let start = source.map_or((1, 1), |source| source.line_column(span.start));
        let end = source.map_or((1, 1), |source| source.line_column(span.end));
        json!({
            "file": source.map(|source| source.name.as_str()).unwrap_or_default(),
            "line": start.0, "column": start.1, "end_line": end.0, "end_column": end.1,
            "start": span.start, "end": span.end,
        })
    };
    let labels: Vec<Value> = diag
        .labels
        .iter()
        .map(|label| json!({ "place": place(label.span), "text": label.text }))
        .collect();
    json!({
        "code": diag.code.as_str(),
        "severity": match diag.severity() { Severity::Error => "error", Severity::Warning => "warning" },
        "message": diag.message,
        "place": place(diag.span()),
        "labels": labels,
        "help": diag.help,
        "fix": diag.fix.as_ref().map(|fix| json!({
            "place": place(fix.span), "replacement": fix.replacement,
        })),
    })
}
