//! From what the grammar recognised to the tree. Here stand what the grammar cannot say: how
//! tightly operators bind, what escapes mean, how large numbers may be.

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

/// How high the tree of one value may grow: deeper ones could exhaust the stack of whoever walks
/// over them.
const MAX_HEIGHT: usize = 128;

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

/// A tree and its height.
struct Built {
    expr: Expr,
    height: usize,
}

/// The operands and operators of a flat expression, in the order of the text.
struct Flat<'p> {
    operands: std::vec::IntoIter<(Vec<Pair<'p, Rule>>, Pair<'p, Rule>)>,
    operators: std::iter::Peekable<std::vec::IntoIter<Pair<'p, Rule>>>,
    whole: Range<usize>,
}

/// How tightly operators bind; more is tighter.
const RANGE: u8 = 1;
const NOT: u8 = 4;
const COMPARISON: u8 = 5;
const SIGN: u8 = 8;

fn strength(operator: &str) -> u8 {
    match operator {
        ".." => RANGE,
        "or" => 2,
        "and" => 3,
        "+" | "-" => 6,
        "*" | "/" => 7,
        _ => COMPARISON,
    }
}

impl Builder<'_> {
    pub fn span(&self, range: &Range<usize>) -> Span {
        let Range { start, end } = self.draft.origin_range(range);
        Span::new(self.source, start, end)
    }

    fn spanned(&self, pair: &Pair<Rule>) -> Spanned<String> {
        Spanned::new(pair.as_str().to_string(), self.span(&range(pair)))
    }

    fn report(&mut self, finding: Finding) {
        let edit = finding.edits.first().cloned();
        self.diags.push(finding.diag(self.draft, self.source, edit.as_ref()));
    }

    fn docs(&self, at: usize) -> Vec<String> {
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
                            if matches!(
                                value.kind,
                                ExprKind::Range { .. } | ExprKind::List(_)
                            ) =>
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
        finding = finding
            .edit(Edit::replace(place, format!("env(\"{}\")", name.value.to_uppercase())));
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

    /// The kind and the name of a step.
    pub fn head(&mut self, kind: &Pair<Rule>, name: &Pair<Rule>) -> (Spanned<String>, Spanned<String>) {
        let name = self.name(name, "a step");
        let spanned = self.spanned(kind);
        if RESERVED.contains(&spanned.value.as_str()) {
            let message = format!("`{}` is a word of the language and no step kind", spanned.value);
            self.report(Finding::new(Code::E0103, range(kind), message).help(
                "a step begins with its kind, such as `train`; `param`, `secret` and `seed` have no block",
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

    /// The expression that `pair` is or contains.
    pub fn only_expression(&mut self, pair: Pair<Rule>) -> Option<Expr> {
        if pair.as_rule() == Rule::expression {
            return Some(self.expression(pair)?.expr);
        }
        let inner = pair.into_inner().find(|part| part.as_rule() == Rule::expression)?;
        Some(self.expression(inner)?.expr)
    }

    fn expression(&mut self, pair: Pair<Rule>) -> Option<Built> {
        let whole = range(&pair);
        let mut operands = Vec::new();
        let mut operators = Vec::new();
        let mut prefixes = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::prefix => prefixes.push(part),
                Rule::operator => operators.push(part),
                _ => operands.push((std::mem::take(&mut prefixes), part)),
            }
        }
        if let Some((signs, _)) = operands.iter().find(|(signs, _)| signs.len() > MAX_HEIGHT / 4) {
            return self.too_high(signs.first().map_or(whole, range));
        }
        let mut flat = Flat {
            operands: operands.into_iter(),
            operators: operators.into_iter().peekable(),
            whole,
        };
        self.binary(&mut flat, 0)
    }

    fn too_high(&mut self, place: Range<usize>) -> Option<Built> {
        self.report(
            Finding::new(Code::E0005, place, "this expression joins too many parts")
                .help(format!("the tree of an expression may be {MAX_HEIGHT} high")),
        );
        None
    }

    /// The next operand and all operators behind it that bind at least as tightly as `least`.
    fn binary(&mut self, flat: &mut Flat, least: u8) -> Option<Built> {
        let (prefixes, atom) = flat.operands.next()?;
        let left = self.prefixed(flat, &prefixes, atom, least)?;
        self.climb(flat, left, least)
    }

    fn climb(&mut self, flat: &mut Flat, mut left: Built, least: u8) -> Option<Built> {
        while let Some(operator) = flat.operators.next_if(|sign| strength(sign.as_str()) >= least) {
            let bound = strength(operator.as_str());
            let right = self.binary(flat, bound + 1)?;
            if let Some(next) = flat.operators.peek()
                && strength(next.as_str()) == bound
                && [RANGE, COMPARISON].contains(&bound)
            {
                let message = format!("`{}` cannot follow `{}`", next.as_str(), operator.as_str());
                let finding = Finding::new(Code::E0001, range(next), message)
                    .here("a second one of its kind")
                    .also(range(&operator), "the first one")
                    .help("comparisons and ranges do not chain: join comparisons with `and`");
                self.report(finding);
                return None;
            }
            let height = 1 + left.height.max(right.height);
            if height > MAX_HEIGHT {
                return self.too_high(flat.whole.clone());
            }
            let span = left.expr.span.to(right.expr.span);
            let (low, high) = (Box::new(left.expr), Box::new(right.expr));
            let kind = match BinaryOperator::parse(operator.as_str()) {
                Some(sign) => ExprKind::Binary {
                    operator: Spanned::new(sign, self.span(&range(&operator))),
                    left: low,
                    right: high,
                },
                None => ExprKind::Range { low, high },
            };
            left = Built { expr: Expr { kind, span }, height };
        }
        Some(left)
    }

    /// An operand under its prefixes. A sign covers the operand alone, `not` what binds tighter.
    fn prefixed(
        &mut self,
        flat: &mut Flat,
        prefixes: &[Pair<Rule>],
        atom: Pair<Rule>,
        least: u8,
    ) -> Option<Built> {
        let Some((prefix, rest)) = prefixes.split_first() else { return self.atom(atom) };
        let negates = prefix.as_str() == "-";
        if !negates && least > NOT {
            let message = "`not` stands behind an operator that binds tighter";
            self.report(
                Finding::new(Code::E0001, range(prefix), message)
                    .help("parentheses make it clear, as in `a == (not b)`"),
            );
            return None;
        }
        let operand = if negates {
            self.prefixed(flat, rest, atom, SIGN)?
        } else {
            let first = self.prefixed(flat, rest, atom, NOT)?;
            self.climb(flat, first, NOT)?
        };
        let height = operand.height + 1;
        if height > MAX_HEIGHT {
            return self.too_high(range(prefix));
        }
        let inner = operand.expr.span;
        let boxed = |kind| Box::new(Expr { kind, span: inner });
        let kind = match (negates, operand.expr.kind) {
            (true, ExprKind::Number(number)) => ExprKind::Number(negated(number)),
            (true, ExprKind::Share(share)) => ExprKind::Share(Share {
                fraction: -share.fraction,
                text: format!("-{}", share.text),
            }),
            (true, ExprKind::Quantity { amount, unit }) => {
                ExprKind::Quantity { amount: negated(amount), unit }
            }
            (true, kind) => ExprKind::Negate(boxed(kind)),
            (false, kind) => ExprKind::Not(boxed(kind)),
        };
        let span = self.span(&range(prefix)).to(inner);
        Some(Built { expr: Expr { kind, span }, height })
    }

    fn atom(&mut self, pair: Pair<Rule>) -> Option<Built> {
        let place = range(&pair);
        let span = self.span(&place);
        let mut height = 0;
        let kind = match pair.as_rule() {
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::number => ExprKind::Number(self.number(&pair)?),
            Rule::share => ExprKind::Share(self.share(&pair)?),
            Rule::quantity => {
                let mut parts = pair.into_inner();
                let (amount, unit) = (parts.next()?, parts.next()?);
                ExprKind::Quantity { amount: self.number(&amount)?, unit: self.spanned(&unit) }
            }
            Rule::plain | Rule::raw | Rule::triple => ExprKind::String(self.string(&pair)),
            Rule::column => {
                let name = pair.into_inner().next()?;
                ExprKind::Column(match name.as_rule() {
                    Rule::plain => self.string(&name),
                    _ => name.as_str().to_string(),
                })
            }
            Rule::path => {
                let words: Vec<Spanned<String>> =
                    pair.into_inner().map(|word| self.spanned(&word)).collect();
                match words.as_slice() {
                    [word] => match self.borrowed(&word.value, place)? {
                        Some(value) => ExprKind::Bool(value),
                        None => ExprKind::Path(words),
                    },
                    _ => ExprKind::Path(words),
                }
            }
            // What stands between parentheses keeps its own place; its height counts, as its
            // brackets do.
            Rule::group => {
                let inner = pair.into_inner().find(|part| part.as_rule() == Rule::expression)?;
                let built = self.expression(inner)?;
                return Some(Built { expr: Expr { span, ..built.expr }, height: built.height });
            }
            Rule::list => {
                let mut values = Vec::new();
                for part in pair.into_inner().filter(|part| part.as_rule() == Rule::expression) {
                    let built = self.expression(part)?;
                    height = height.max(built.height);
                    values.push(built.expr);
                }
                ExprKind::List(values)
            }
            Rule::map => {
                let mut entries = Vec::new();
                for part in pair.into_inner().filter(|part| part.as_rule() == Rule::entry) {
                    let (entry, inner) = self.entry(part)?;
                    height = height.max(inner);
                    entries.push(entry);
                }
                ExprKind::Map(entries)
            }
            Rule::call => {
                let mut name = None;
                let mut args = Vec::new();
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::word => name = Some(self.spanned(&part)),
                        Rule::call_argument => {
                            let (arg, inner) = self.call_argument(part)?;
                            height = height.max(inner);
                            args.push(arg);
                        }
                        _ => {}
                    }
                }
                ExprKind::Call { name: name?, args }
            }
            _ => return None,
        };
        Some(Built { expr: Expr { kind, span }, height: height + 1 })
    }

    fn entry(&mut self, pair: Pair<Rule>) -> Option<(Entry, usize)> {
        let docs = self.docs(range(&pair).start);
        let mut key = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => key = Some(self.spanned(&part)),
                Rule::plain | Rule::raw | Rule::triple => {
                    let text = self.string(&part);
                    key = Some(Spanned::new(text, self.span(&range(&part))));
                }
                Rule::expression => {
                    let built = self.expression(part)?;
                    return Some((Entry { docs, key: key?, value: built.expr }, built.height));
                }
                _ => {}
            }
        }
        None
    }

    fn call_argument(&mut self, pair: Pair<Rule>) -> Option<(CallArg, usize)> {
        let mut name = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::call_name => name = Some(self.spanned(&part)),
                Rule::expression => {
                    let built = self.expression(part)?;
                    return Some((CallArg { name, value: built.expr }, built.height));
                }
                _ => {}
            }
        }
        None
    }

    /// Words that other languages use for a value and this one does not. None: there is no value;
    /// `Some(None)`: it is an ordinary word.
    fn borrowed(&mut self, word: &str, place: Range<usize>) -> Option<Option<bool>> {
        let value = match word {
            "True" | "TRUE" => true,
            "False" | "FALSE" => false,
            "None" | "null" | "nil" | "Null" => {
                self.report(
                    Finding::new(Code::E0010, place, format!("there is no value `{word}`"))
                        .here("no value of the language")
                        .help("an argument that is not set is left out"),
                );
                return None;
            }
            _ if ["nan", "inf", "infinity"].contains(&word.to_ascii_lowercase().as_str()) => {
                self.report(
                    Finding::new(Code::E0004, place, format!("`{word}` is no value"))
                        .here("not a number of the language")
                        .help("numbers are finite here"),
                );
                return None;
            }
            _ => return Some(None),
        };
        self.report(
            Finding::new(Code::E0010, place.clone(), format!("`{word}` is spelt `{value}` here"))
                .here("a boolean of another language")
                .edit(Edit::replace(place, value.to_string())),
        );
        Some(Some(value))
    }

    fn number(&mut self, pair: &Pair<Rule>) -> Option<Number> {
        let text = pair.as_str();
        let plain = text.replace('_', "");
        let value = if plain.contains(['.', 'e', 'E']) {
            plain.parse().ok().filter(|value: &f64| value.is_finite()).map(NumberValue::Float)
        } else {
            plain.parse().ok().map(NumberValue::Int)
        };
        if value.is_none() {
            let limit = if plain.contains(['.', 'e', 'E']) {
                "floats are below 1.8e308"
            } else {
                "integers are below 2⁶³, about 9.2e18"
            };
            self.too_large(pair, limit);
        }
        Some(Number { value: value?, text: text.to_string() })
    }

    /// The decimal point is moved in the text, so that the result is the float nearest to the
    /// decimal: 0.1% is 0.001.
    fn share(&mut self, pair: &Pair<Rule>) -> Option<Share> {
        let text = pair.as_str();
        let plain = text.trim_end_matches('%').replace('_', "");
        let moved = match plain.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                exponent.parse::<i32>().ok().and_then(|exponent| exponent.checked_sub(2)).map(
                    |exponent| format!("{mantissa}e{exponent}"),
                )
            }
            None => Some(format!("{plain}e-2")),
        };
        let fraction: Option<f64> =
            moved.and_then(|text| text.parse().ok()).filter(|value: &f64| value.is_finite());
        if fraction.is_none() {
            self.too_large(pair, "a share is below 1.8e308");
        }
        Some(Share { fraction: fraction?, text: text.to_string() })
    }

    fn too_large(&mut self, pair: &Pair<Rule>, limit: &str) {
        let message = format!("the number `{}` is too large", super::fault::shown(pair.as_str()));
        self.report(Finding::new(Code::E0004, range(pair), message).here(limit));
    }

    /// The text that a string stands for. A faulty escape is reported and stays as it is.
    fn string(&mut self, pair: &Pair<Rule>) -> String {
        let text = pair.as_str();
        let start = range(pair).start;
        let between = |quote: usize, end: usize| text.get(quote..text.len() - end).unwrap_or("");
        match pair.as_rule() {
            Rule::raw => between(2, 1).to_string(),
            Rule::triple => {
                let (content, faults) = unescape(&dedent(between(3, 3)), true);
                // The content has been dedented, so the fault is sought from the start again.
                if !faults.is_empty() {
                    let (_, faults) = unescape(between(3, 3), true);
                    self.escapes(faults, start + 3, None);
                }
                content
            }
            _ => {
                let (content, faults) = unescape(between(1, 1), false);
                let inner = between(1, 1);
                let raw = (!inner.contains('"')).then(|| (range(pair), format!("r\"{inner}\"")));
                self.escapes(faults, start + 1, raw);
                content
            }
        }
    }

    fn escapes(
        &mut self,
        faults: Vec<Range<usize>>,
        start: usize,
        raw: Option<(Range<usize>, String)>,
    ) {
        // One message a string: a path with backslashes has many.
        let Some(fault) = faults.into_iter().next() else { return };
        let place = start + fault.start..start + fault.end;
        let text = self.draft.text().get(place.clone()).unwrap_or("").to_string();
        let message = format!("`{text}` is no escape of the language");
        let mut finding = Finding::new(Code::E0003, place.clone(), message)
            .here("unknown escape")
            .help("known are \\n \\t \\r \\\\ \\\" and \\u{…}; a raw string `r\"…\"` has no escapes");
        finding = match raw {
            Some((whole, raw)) => finding.edit(Edit::replace(whole, raw)),
            None => finding.edit(Edit::insert(place.start, "\\")),
        };
        self.report(finding);
    }
}

pub fn range(pair: &Pair<Rule>) -> Range<usize> {
    let span = pair.as_span();
    span.start()..span.end()
}

fn negated(number: Number) -> Number {
    let value = match number.value {
        // A literal is not negative, so this is exact.
        NumberValue::Int(value) => NumberValue::Int(-value),
        NumberValue::Float(value) => NumberValue::Float(-value),
    };
    // Of two signs (`--3`) none is left.
    let text = match number.text.strip_prefix('-') {
        Some(positive) => positive.to_string(),
        None => format!("-{}", number.text),
    };
    Number { value, text }
}

/// The text without escapes, and the places of escapes that do not exist. `quotes`: a `"` may stand
/// in it. Line breaks of Windows become `\n`.
fn unescape(text: &str, quotes: bool) -> (String, Vec<Range<usize>>) {
    let mut content = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\r' if quotes && chars.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\\' => {
                let Some((_, escaped)) = chars.next() else { break };
                match escaped {
                    'n' => content.push('\n'),
                    't' => content.push('\t'),
                    'r' => content.push('\r'),
                    '\\' | '"' => content.push(escaped),
                    _ => {
                        let tail = text.get(at..).unwrap_or("");
                        match codepoint(tail) {
                            Some((decoded, length)) => {
                                content.push(decoded);
                                while chars.next_if(|(next, _)| *next < at + length).is_some() {}
                            }
                            None => {
                                faults.push(at..at + 1 + escaped.len_utf8());
                                content.push('\\');
                                content.push(escaped);
                            }
                        }
                    }
                }
            }
            _ => content.push(c),
        }
    }
    (content, faults)
}

/// `\u{1F600}` at the beginning of `text`, and its length.
fn codepoint(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix("\\u{")?;
    let end = digits.bytes().take(9).position(|byte| byte == b'}')?;
    let code = u32::from_str_radix(digits.get(..end)?, 16).ok()?;
    Some((char::from_u32(code)?, 3 + end + 1))
}

/// The lines of a `"""…"""` without the indentation they share. A line break directly behind the
/// opening marks and the last one before the closing marks do not belong to the text.
fn dedent(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let lines: Vec<&str> = rest.split('\n').collect();
    let is_blank = |line: &str| line.trim_matches([' ', '\t']).is_empty();
    let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let closing = lines.len() - 1;
    let shared = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| *index == closing || !is_blank(line))
        .map(|(_, line)| blanks(line))
        .min()
        .unwrap_or(0);
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len() + 1);
    if !is_blank(first) {
        kept.push(first);
    }
    for (index, line) in lines.iter().enumerate() {
        if index < closing || !is_blank(line) {
            kept.push(if is_blank(line) { "" } else { line.get(shared..).unwrap_or("") });
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_indentation_goes_and_the_outer_line_breaks_with_it() {
        assert_eq!(dedent("\n    a\n      b\n\n    c\n    "), "a\n  b\n\nc");
        assert_eq!(dedent("\n    a\n  "), "  a");
        assert_eq!(dedent("a\n  b"), "a\nb");
        assert_eq!(dedent("a"), "a");
        assert_eq!(dedent("\r\n  a\r\n  "), "a");
    }

    #[test]
    fn escapes_are_resolved_and_unknown_ones_kept_and_placed() {
        assert_eq!(unescape(r#"a\n\"\u{e9}\\"#, false), ("a\n\"é\\".to_string(), vec![]));
        assert_eq!(unescape(r"C:\data", false), (r"C:\data".to_string(), vec![2..4]));
        assert_eq!(unescape(r"\u{110000}", false).1, vec![0..2]);
    }
}
