//! From what the grammar recognised to values. Here stands what the grammar cannot say: how tightly
//! operators bind and how large numbers may be.

use std::ops::Range;

use pest::iterators::Pair;

use super::ast::*;
use super::build::{Builder, Rule, range};
use super::draft::Edit;
use super::fault::{Finding, shown};
use super::text::{dedent, unescape};
use crate::base::{Code, Spanned};

/// How high the tree of one value may grow: deeper ones could exhaust the stack of whoever walks
/// over them.
const MAX_HEIGHT: usize = 128;

/// A tree and its height.
pub(super) struct Built {
    pub expr: Expr,
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
    /// The expression that `pair` is or contains.
    pub fn only_expression(&mut self, pair: Pair<Rule>) -> Option<Expr> {
        if pair.as_rule() == Rule::expression {
            return Some(self.expression(pair)?.expr);
        }
        let inner = pair.into_inner().find(|part| part.as_rule() == Rule::expression)?;
        Some(self.expression(inner)?.expr)
    }

    pub(super) fn expression(&mut self, pair: Pair<Rule>) -> Option<Built> {
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
            Some((mantissa, exponent)) => exponent
                .parse::<i32>()
                .ok()
                .and_then(|exponent| exponent.checked_sub(2))
                .map(|exponent| format!("{mantissa}e{exponent}")),
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
        let message = format!("the number `{}` is too large", shown(pair.as_str()));
        self.report(Finding::new(Code::E0004, range(pair), message).here(limit));
    }

    /// The text that a string stands for. A faulty escape is reported and stays as it is.
    pub(super) fn string(&mut self, pair: &Pair<Rule>) -> String {
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
        let mut finding =
            Finding::new(Code::E0003, place.clone(), message).here("unknown escape").help(
                "known are \\n \\t \\r \\\\ \\\" and \\u{…}; a raw string `r\"…\"` has no escapes",
            );
        finding = match raw {
            Some((whole, raw)) => finding.edit(Edit::replace(whole, raw)),
            None => finding.edit(Edit::insert(place.start, "\\")),
        };
        self.report(finding);
    }
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
