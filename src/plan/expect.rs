//! `expect` lines: what they look at, as far as declarations and shapes tell, and what it is held
//! to. Whether an expectation is met is found in `exec`, when its step is done.

use super::bind::{At, Binder};
use super::names::{Name, Names};
use super::shapes::Known;
use crate::base::{Code, Diag, Source, Span, Spanned, suggest};
use crate::schema::{Bound, PortType, Type};
use crate::step::{Kind, Shape, ledger};
use crate::syntax::ast::{Ast, BinaryOperator, Expect};

/// A number of a step, and what it is held to. No part of any key.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub step: String,
    /// A report or scores.
    pub output: String,
    pub number: String,
    pub comparison: BinaryOperator,
    pub limit: Limit,
    /// As written, behind `expect`.
    pub text: String,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    Number(f64),
    /// Of the rows that the report counts, as a fraction.
    Share(f64),
}

impl Expectation {
    /// Whether a number, of so many rows, is as expected. A number that is none never is.
    pub fn holds(&self, number: f64, rows: f64) -> bool {
        let limit = match self.limit {
            Limit::Number(limit) => limit,
            Limit::Share(share) => share * rows,
        };
        match self.comparison {
            BinaryOperator::Less => number < limit,
            BinaryOperator::LessEqual => number <= limit,
            BinaryOperator::Greater => number > limit,
            BinaryOperator::GreaterEqual => number >= limit,
            _ => number == limit,
        }
    }
}

/// Checks every expectation of a program.
pub fn all(
    ast: &Ast,
    names: &Names,
    known: &Known,
    sources: &[Source],
    diags: &mut Vec<Diag>,
) -> Vec<Expectation> {
    ast.expectations().filter_map(|written| one(written, names, known, sources, diags)).collect()
}

fn one(
    written: &Expect,
    names: &Names,
    known: &Known,
    sources: &[Source],
    diags: &mut Vec<Diag>,
) -> Option<Expectation> {
    let mut binder = Binder::new(sources, names, "");
    let looked = looked_at(&written.number, names, known, diags);
    // What a limit may be depends on the number; where that is unknown it may be anything.
    let counts = looked.as_ref().is_none_or(|looked| looked.counts_rows);
    let plain = Type::Float { min: f64::NEG_INFINITY, max: f64::INFINITY };
    let ty = match counts {
        true => Type::OneOf(vec![plain, Type::Share { min: 0.0, max: 1.0 }]),
        false => plain,
    };
    let number: Vec<&str> = written.number.iter().map(|word| word.value.as_str()).collect();
    let bound = binder.bind(&written.limit, &ty, &At::named(format!("`{}`", number.join("."))));
    let text = binder.text(written.span).to_string();
    diags.append(&mut binder.diags);
    let limit = match bound? {
        Bound::Share(share) => Limit::Share(share),
        Bound::Float(number) => Limit::Number(number),
        _ => return None,
    };
    let Looked { step, output, number, .. } = looked?;
    let comparison = written.comparison.value;
    Some(Expectation { step, output, number, comparison, limit, text, span: written.span })
}

struct Looked {
    step: String,
    output: String,
    number: String,
    /// So that a share of them has a meaning.
    counts_rows: bool,
}

/// The number that `step.report.NUMBER`, `step.METRIC` or `step.OUTPUT.METRIC` stands for.
fn looked_at(
    words: &[Spanned<String>],
    names: &Names,
    known: &Known,
    diags: &mut Vec<Diag>,
) -> Option<Looked> {
    let of_use = names.of_use(words);
    let words = of_use.as_deref().unwrap_or(words);
    let (first, rest) = words.split_first()?;
    let kind = match names.get(&first.value) {
        Some(Name::Step { kind, .. }) => (*kind)?,
        Some(Name::Unread(_) | Name::Open(_)) => return None,
        Some(other) => {
            let message = format!("{} `{}` is no step", other.what(), first.value);
            diags.push(
                Diag::new(Code::E0307, first.span, message)
                    .here("reports nothing")
                    .also(other.span(), "declared here")
                    .help("an expectation looks at a number that a step reports"),
            );
            return None;
        }
        None => {
            let steps = names.steps().map(|(step, _)| step.name.value.as_str());
            let message = format!("no step is named `{}`", first.value);
            let diag = Diag::new(Code::E0301, first.span, message).here("unknown");
            diags.push(match suggest::nearest(&first.value, steps) {
                Some(near) => {
                    diag.help(format!("the nearest one is `{near}`")).fix(first.span, near)
                }
                None => diag.help("an expectation looks at a number that a step reports"),
            });
            return None;
        }
    };
    let shape = |output: &str| {
        let outputs = known.get(&first.value)?;
        outputs.iter().find(|(name, _)| name == output).map(|(_, shape)| shape)
    };
    let main = kind.outputs.first()?;
    let (output, number) = match rest {
        [number] if main.ty == PortType::Scores && kind.output(&number.value).is_none() => {
            (main, number)
        }
        [output, number] => match kind.output(&output.value) {
            Some(found) if matches!(found.ty, PortType::Scores | PortType::Report) => {
                (found, number)
            }
            Some(_) => {
                diags.push(no_number(words, kind));
                return None;
            }
            None => {
                diags.push(no_output(&first.value, output, kind));
                return None;
            }
        },
        [] => {
            diags.push(no_number(words, kind));
            return None;
        }
        [word] if kind.output(&word.value).is_some() => {
            diags.push(no_number(words, kind));
            return None;
        }
        [word] => {
            diags.push(no_output(&first.value, word, kind));
            return None;
        }
        [_, _, extra, ..] => {
            let message = format!("`{}` leads nowhere", extra.value);
            diags.push(
                Diag::new(Code::E0302, extra.span, message)
                    .here("one word too many")
                    .help("a number is named by a step, an output of it, and its own name"),
            );
            return None;
        }
    };
    if shape(main.name).is_some() && shape(output.name).is_none() {
        let place = words.get(1).map_or(first.span, |word| word.span);
        let message = format!("`{}` makes no `{}` as it is written", first.value, output.name);
        diags.push(
            Diag::new(Code::E0302, place, message)
                .here("not made")
                .help(format!("what makes it: ftrun doc {}", kind.name)),
        );
        return None;
    }
    // Without a shape the step has mistakes of its own; without names only its run will tell them.
    let numbers: &[String] = match shape(output.name) {
        Some(Shape::Report(names) | Shape::Scores(names)) => names,
        _ => &[],
    };
    if !numbers.is_empty() && !numbers.contains(&number.value) {
        let what = if output.ty == PortType::Report { "reports" } else { "computes" };
        let message = format!("`{}` {what} no `{}`", first.value, number.value);
        let diag = Diag::new(Code::E0302, number.span, message)
            .here("not among the numbers")
            .help(format!("there are {}", suggest::list(numbers.iter().map(String::as_str))));
        let near = suggest::nearest(&number.value, numbers.iter().map(String::as_str));
        diags.push(match near {
            Some(near) => diag.fix(number.span, near),
            None => diag,
        });
        return None;
    }
    Some(Looked {
        step: first.value.clone(),
        output: output.name.to_string(),
        number: number.value.clone(),
        counts_rows: output.ty == PortType::Report && ledger::counts_rows(&number.value),
    })
}

/// A step or an output where a number of it is meant.
fn no_number(words: &[Spanned<String>], kind: &'static Kind) -> Diag {
    let (first, last) = (&words[0], &words[words.len() - 1]);
    let shown: Vec<&str> = words.iter().map(|word| word.value.as_str()).collect();
    let message = format!("`{}` is no number", shown.join("."));
    let place = first.span.to(last.span);
    let diag = Diag::new(Code::E0307, place, message).here(format!("of a `{}`", kind.name));
    match kind.report.first() {
        Some(number) => {
            diag.help(format!("a number of it is for instance `{}.report.{number}`", first.value))
        }
        None => diag.help("an expectation looks at a number that a step reports"),
    }
}

/// A word behind a step that is no output of it.
fn no_output(step: &str, word: &Spanned<String>, kind: &'static Kind) -> Diag {
    let message = format!("`{step}` makes no `{}`", word.value);
    let outputs = kind.outputs.iter().map(|output| output.name);
    let diag = Diag::new(Code::E0302, word.span, message).here("no output of this name");
    if kind.report.contains(&word.value.as_str()) {
        return diag
            .help("the numbers of a step are in its report")
            .fix(word.span, format!("report.{}", word.value));
    }
    let diag =
        diag.help(format!("the outputs of `{}` are {}", kind.name, suggest::list(outputs.clone())));
    match suggest::nearest(&word.value, outputs) {
        Some(near) => diag.fix(word.span, near),
        None => diag,
    }
}
