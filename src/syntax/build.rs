//! From what the grammar recognised to the tree: items, steps and arguments. Their values are built
//! in `values`.

use std::collections::BTreeMap;
use std::ops::Range;

use pest::Parser;
use pest::iterators::Pair;
use pest_derive::Parser;

use super::ast::*;
use super::draft::{Draft, Edit};
use super::fault::Finding;
use super::split::RESERVED;
use crate::base::{Code, Diag, SourceId, Span, Spanned};

#[derive(Parser)]
#[grammar = "grammar/ftp.pest"]
pub struct Grammar;

/// How a number is compared with what is expected of it.
const COMPARISONS: [BinaryOperator; 5] = [
    BinaryOperator::Less,
    BinaryOperator::LessEqual,
    BinaryOperator::Greater,
    BinaryOperator::GreaterEqual,
    BinaryOperator::Equal,
];

/// The `##` lines before each item, argument and entry, by the place where it begins.
pub type Docs = BTreeMap<usize, Vec<String>>;

/// Where and on what the grammar stopped.
#[derive(Debug)]
pub struct Stop {
    pub at: usize,
    pub expected: Vec<Rule>,
}

/// The first pair of `rule` in `text`.
pub fn recognise(rule: Rule, text: &str) -> Result<Pair<'_, Rule>, Stop> {
    let nothing = || Stop { at: 0, expected: Vec::new() };
    match Grammar::parse(rule, text) {
        Ok(mut pairs) => pairs.next().ok_or_else(nothing),
        Err(error) => {
            let at = match error.location {
                pest::error::InputLocation::Pos(at) => at,
                pest::error::InputLocation::Span((at, _)) => at,
            };
            let expected = match error.variant {
                pest::error::ErrorVariant::ParsingError { positives, .. } => positives,
                pest::error::ErrorVariant::CustomError { .. } => Vec::new(),
            };
            Err(Stop { at, expected })
        }
    }
}

/// Builds nodes from pairs over the text of `draft`. What is wrong goes to `diags`; where that
/// leaves no value, None is returned.
pub struct Builder<'a> {
    pub source: SourceId,
    pub draft: &'a Draft,
    pub docs: &'a Docs,
    pub diags: &'a mut Vec<Diag>,
}

impl Builder<'_> {
    pub fn span(&self, range: &Range<usize>) -> Span {
        let Range { start, end } = self.draft.origin_range(range);
        Span::new(self.source, start, end)
    }

    pub(super) fn spanned(&self, pair: &Pair<Rule>) -> Spanned<String> {
        Spanned::new(pair.as_str().to_string(), self.span(&range(pair)))
    }

    pub(super) fn report(&mut self, finding: Finding) {
        let edit = finding.edits.first().cloned();
        self.diags.push(finding.diag(self.draft, self.source, edit.as_ref()));
    }

    pub(super) fn docs(&self, at: usize) -> Vec<String> {
        self.docs.get(&self.draft.origin(at)).cloned().unwrap_or_default()
    }

    /// The name of a step, parameter or secret.
    pub fn name(&mut self, pair: &Pair<Rule>, of: &str) -> Spanned<String> {
        let name = self.spanned(pair);
        if RESERVED.contains(&name.value.as_str()) {
            let message =
                format!("`{}` is a word of the language and cannot name {of}", name.value);
            self.report(
                Finding::new(Code::E0103, range(pair), message)
                    .here("a word of the language")
                    .help(format!("another name is needed, for instance `my_{}`", name.value))
                    .edit(Edit::replace(range(pair), format!("my_{}", name.value))),
            );
        }
        name
    }

    pub fn param(&mut self, pair: Pair<Rule>) -> Option<Param> {
        let whole = range(&pair);
        let mut name = None;
        let mut param = Param {
            docs: self.docs(whole.start),
            name: Spanned::new(String::new(), self.span(&whole)),
            type_name: None,
            default: None,
            within: None,
            span: self.span(&whole),
            damaged: false,
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => name = Some(self.name(&part, "a parameter")),
                Rule::type_name => param.type_name = Some(self.spanned(&part)),
                Rule::default => match self.only_expression(part) {
                    Some(value) => param.default = Some(value),
                    None => param.damaged = true,
                },
                Rule::within => {
                    let place = range(&part);
                    match self.only_expression(part) {
                        Some(value)
                            if matches!(value.kind, ExprKind::Range { .. } | ExprKind::List(_)) =>
                        {
                            param.within = Some(value);
                        }
                        Some(value) => {
                            param.damaged = true;
                            let message = format!(
                                "{} stands behind `in`, where a range or a list of values is expected",
                                value.describe()
                            );
                            let text = self.draft.text().get(place.clone()).unwrap_or("");
                            let edit = Edit::replace(place.clone(), format!("[{text}]"));
                            self.report(
                                Finding::new(Code::E0104, place, message)
                                    .here("neither a range nor a list")
                                    .help("the forms are `in 1 .. 10` and `in [16, 32]`")
                                    .edit(edit),
                            );
                        }
                        None => param.damaged = true,
                    }
                }
                _ => {}
            }
        }
        param.name = name?;
        Some(param)
    }

    pub fn import(&mut self, pair: Pair<Rule>) -> Option<Import> {
        let whole = range(&pair);
        let (docs, span) = (self.docs(whole.start), self.span(&whole));
        let (mut path, mut name) = (None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::plain | Rule::raw | Rule::triple => {
                    let place = self.span(&range(&part));
                    path = Some(Spanned::new(self.string(&part), place));
                }
                Rule::word => name = Some(self.name(&part, "an import")),
                _ => {}
            }
        }
        Some(Import { docs, path: path?, name: name?, span, module: None })
    }

    /// The name of a fragment and what it takes; whether some of it could not be read.
    pub fn signature(&mut self, pair: Pair<Rule>) -> Option<(Spanned<String>, Vec<Param>, bool)> {
        let (mut name, mut params, mut damaged) = (None, Vec::new(), false);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => name = Some(self.name(&part, "a fragment")),
                Rule::parameter => match self.param(part) {
                    Some(param) => params.push(param),
                    None => damaged = true,
                },
                _ => {}
            }
        }
        damaged |= params.iter().any(|param: &Param| param.damaged);
        Some((name?, params, damaged))
    }

    pub fn secret(&mut self, pair: Pair<Rule>) -> Option<Secret> {
        let whole = range(&pair);
        let docs = self.docs(whole.start);
        let span = self.span(&whole);
        let (mut name, mut value, mut place) = (None, None, whole);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => name = Some(self.name(&part, "a secret")),
                Rule::expression => {
                    place = range(&part);
                    value = self.only_expression(part);
                }
                _ => {}
            }
        }
        let (name, value) = (name?, value?);
        if let ExprKind::Call { name: function, args } = &value.kind
            && function.value == "env"
            && let [CallArg { name: None, value: variable }] = args.as_slice()
            && let ExprKind::String(text) = &variable.kind
        {
            let variable = Spanned::new(text.clone(), variable.span);
            return Some(Secret { docs, name, variable, span });
        }
        let mut finding = Finding::new(
            Code::E0104,
            place.clone(),
            format!("the secret `{}` is {}, not `env(\"…\")`", name.value, value.describe()),
        )
        .here("the name of an environment variable is expected")
        .help(format!(
            "a secret is read from the environment: `secret {} = env(\"{}\")`",
            name.value,
            name.value.to_uppercase()
        ));
        // A secret written into the file is not repeated in what is proposed.
        finding =
            finding.edit(Edit::replace(place, format!("env(\"{}\")", name.value.to_uppercase())));
        self.report(finding);
        None
    }

    pub fn seed(&mut self, pair: Pair<Rule>) -> Option<Seed> {
        let whole = range(&pair);
        let docs = self.docs(whole.start);
        let span = self.span(&whole);
        let part = pair.into_inner().find(|part| part.as_rule() == Rule::expression)?;
        Some(Seed { docs, value: self.only_expression(part)?, span })
    }

    /// A number that a step reports, a comparison, a limit.
    pub fn expect(&mut self, pair: Pair<Rule>) -> Option<Expect> {
        let docs = self.docs(range(&pair).start);
        let part = pair.into_inner().find(|part| part.as_rule() == Rule::expression)?;
        let place = range(&part);
        let whole = self.only_expression(part)?;
        let span = whole.span;
        if let ExprKind::Binary { operator: comparison, left, right: limit } = whole.kind
            && COMPARISONS.contains(&comparison.value)
            && let ExprKind::Path(number) = left.kind
        {
            return Some(Expect { docs, number, comparison, limit: *limit, span });
        }
        let message = "an expectation compares a number that a step reports with a value";
        self.report(
            Finding::new(Code::E0104, place, message)
                .here("not a number of a step, then `<`, `<=`, `>`, `>=` or `==`")
                .help("the form is `expect tokens.report.truncated < 1%`"),
        );
        None
    }

    /// The kind and the name of a step.
    pub fn head(
        &mut self,
        kind: &Pair<Rule>,
        name: &Pair<Rule>,
    ) -> (Spanned<String>, Spanned<String>) {
        let name = self.name(name, "a step");
        let spanned = self.spanned(kind);
        if RESERVED.contains(&spanned.value.as_str()) {
            let message = format!("`{}` is a word of the language and no step kind", spanned.value);
            self.report(Finding::new(Code::E0103, range(kind), message).help(
                "a step begins with its kind, such as `train`; `param`, `secret`, `seed` and `expect` have no block",
            ));
        }
        (spanned, name)
    }

    /// A whole step. Arguments whose value has a fault are left out, which makes it damaged.
    pub fn step(&mut self, pair: Pair<Rule>) -> Option<Step> {
        let whole = range(&pair);
        let mut parts = pair.into_inner();
        let (kind, name, block) = (parts.next()?, parts.next()?, parts.next()?);
        let (kind, name) = self.head(&kind, &name);
        let body = self.span(&range(&block));
        let mut args = Vec::new();
        let mut damaged = false;
        for part in block.into_inner().filter(|part| part.as_rule() == Rule::argument) {
            match self.argument(part) {
                Some(arg) => args.push(arg),
                None => damaged = true,
            }
        }
        Some(Step {
            docs: self.docs(whole.start),
            kind,
            name,
            args,
            span: self.span(&whole),
            body,
            insertion: Insertion::default(),
            damaged,
        })
    }

    pub fn argument(&mut self, pair: Pair<Rule>) -> Option<Arg> {
        let docs = self.docs(range(&pair).start);
        let mut name = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => name = Some(self.spanned(&part)),
                Rule::expression => {
                    return Some(Arg { docs, name: name?, value: self.expression(part)?.expr });
                }
                _ => {}
            }
        }
        None
    }
}

pub fn range(pair: &Pair<Rule>) -> Range<usize> {
    let span = pair.as_span();
    span.start()..span.end()
}
