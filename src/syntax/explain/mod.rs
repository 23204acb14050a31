//! From the place where the grammar stopped to a sentence: what was found, what belongs there, and
//! edits that may help. The grammar's own list of expected signs is consulted, never shown.

mod foreign;
mod missing;

use std::ops::Range;

use foreign::*;
use missing::*;

use super::build::{Rule, Stop};
use super::fault::{Finding, shown};
use super::lex::{Token, TokenKind};
use super::split::Shape;
use crate::base::Code;

/// Never empty-handed: the last explanation says what was found and what is expected in general.
pub fn explain(text: &str, tokens: &[Token], stop: &Stop, shape: Shape) -> Finding {
    let found = tokens.iter().position(|token| token.end > stop.at).unwrap_or(tokens.len());
    let inside = tokens.get(found).is_some_and(|token| token.start < stop.at);
    let view = View { text, tokens, found, inside, expected: &stop.expected, shape };
    EXPLANATIONS.iter().find_map(|explanation| explanation(&view)).unwrap_or_else(|| general(&view))
}

/// Tried in this order; the first that knows the mistake explains it.
const EXPLANATIONS: [fn(&View) -> Option<Finding>; 17] = [
    foreign_comment,
    foreign_quote,
    foreign_sign,
    number_without_digits,
    misspelt_number,
    loose_percent,
    missing_param_colon,
    superfluous_equals,
    hyphen_in_name,
    quoted_name,
    other_equals,
    missing_equals,
    missing_operand,
    single_equals_compares,
    missing_separator,
    arguments_of_reference,
    wrong_form_of_item,
];

struct View<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// The token that does not fit; behind the last one at the end.
    found: usize,
    /// The grammar took the beginning of that token.
    inside: bool,
    expected: &'a [Rule],
    shape: Shape,
}

impl<'a> View<'a> {
    fn token(&self, index: usize) -> Option<&'a Token> {
        self.tokens.get(index)
    }

    fn word(&self, index: usize) -> &'a str {
        self.token(index).map_or("", |token| token.text(self.text))
    }

    fn before(&self) -> &'a str {
        if self.found == 0 { "" } else { self.word(self.found - 1) }
    }

    fn here(&self) -> &'a str {
        self.word(self.found)
    }

    fn after(&self) -> &'a str {
        self.word(self.found + 1)
    }

    /// The place of the token `index`; the end of the text behind the last one.
    fn place(&self, index: usize) -> Range<usize> {
        self.token(index).map_or(self.text.len()..self.text.len(), Token::range)
    }

    fn places(&self, from: usize, to: usize) -> Range<usize> {
        self.place(from).start..self.place(to).end
    }

    fn end_before(&self) -> usize {
        if self.found == 0 { 0 } else { self.place(self.found - 1).end }
    }

    fn expects(&self, rule: Rule) -> bool {
        self.expected.contains(&rule)
    }

    /// The grammar names the outermost rule that could begin here.
    fn expects_value(&self) -> bool {
        const VALUES: [Rule; 7] = [
            Rule::expression,
            Rule::call_argument,
            Rule::default,
            Rule::within,
            Rule::number,
            Rule::path,
            Rule::prefix,
        ];
        VALUES.into_iter().any(|rule| self.expects(rule))
    }

    fn expects_name(&self) -> bool {
        [Rule::word, Rule::argument, Rule::entry].into_iter().any(|rule| self.expects(rule))
    }

    /// A value is complete before the place.
    fn expects_more(&self) -> bool {
        self.expects(Rule::operator)
    }

    fn is_kind(&self, index: usize, test: impl Fn(TokenKind) -> bool) -> bool {
        self.token(index).is_some_and(|token| test(token.kind))
    }

    fn begins_value(&self, index: usize) -> bool {
        self.token(index).is_some_and(|token| {
            token.is_string()
                || matches!(token.kind, TokenKind::Word | TokenKind::Number | TokenKind::Open)
                || (["-", "."].contains(&self.word(index)))
        })
    }

    fn touches(&self, index: usize) -> bool {
        index > 0 && self.place(index - 1).end == self.place(index).start
    }

    /// The innermost bracket that is open before the place.
    fn opener(&self) -> &'a str {
        let mut open = Vec::new();
        for index in 0..self.found.min(self.tokens.len()) {
            match self.tokens[index].kind {
                TokenKind::Open => open.push(self.word(index)),
                TokenKind::Close => {
                    open.pop();
                }
                _ => {}
            }
        }
        // An argument is shown to the grammar without the block around it.
        open.last().copied().unwrap_or(if self.shape == Shape::Step { "{" } else { "" })
    }

    /// The end of the line on which `at` stands.
    fn rest_of_line(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or("").split('\n').next().unwrap_or("").trim_end()
    }
}

fn general(view: &View) -> Finding {
    let mut wanted = Vec::new();
    if view.expects_value() {
        wanted.push("a value");
    } else if view.expects_name() {
        wanted.push("a name");
    }
    if view.expects(Rule::equals) {
        wanted.push("`=`");
    }
    if view.expects_more() {
        wanted.push("an operator");
    }
    if view.expects(Rule::comma) {
        wanted.push("a comma");
    }
    for (rule, sign) in
        [(Rule::close_block, "`}`"), (Rule::close_list, "`]`"), (Rule::close_group, "`)`")]
    {
        if view.expects(rule) {
            wanted.push(sign);
        }
    }
    let found = match view.here() {
        "" => "the text ends".to_string(),
        word => format!("`{}` stands", shown(word)),
    };
    let message = match wanted.as_slice() {
        [] => format!("`{}` does not belong here", shown(view.here())),
        [one] => format!("{found} where {one} is expected"),
        [init @ .., last] => format!("{found} where {} or {last} is expected", init.join(", ")),
    };
    Finding::new(Code::E0001, view.place(view.found), message).here("not expected here")
}
