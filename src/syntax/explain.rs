//! From the place where the grammar stopped to a sentence: what was found, what belongs there, and
//! edits that may help. The grammar's own list of expected signs is consulted, never shown.

use std::ops::Range;

use super::build::{Rule, Stop};
use super::draft::Edit;
use super::fault::{Finding, shown};
use super::lex::{Token, TokenKind, is_word};
use super::split::{Shape, hyphenated};
use crate::base::Code;

/// Never empty-handed: the last explanation says what was found and what is expected in general.
pub fn explain(text: &str, tokens: &[Token], stop: &Stop, shape: Shape) -> Finding {
    let found = tokens.iter().position(|token| token.end > stop.at).unwrap_or(tokens.len());
    let view = View { text, tokens, found, expected: &stop.expected, shape };
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

fn foreign_comment(view: &View) -> Option<Finding> {
    let first = if view.here() == "/" && view.before() == "/" && view.touches(view.found) {
        view.found - 1
    } else if view.here() == "/" && ["/", "*"].contains(&view.after()) && view.touches(view.found + 1)
    {
        view.found
    } else {
        return None;
    };
    let place = view.places(first, first + 1);
    let finding = Finding::new(Code::E0010, place.clone(), "comments begin with `#`")
        .here(format!("`{}` begins no comment", &view.text[place.clone()]));
    Some(if view.word(first + 1) == "/" { finding.edit(Edit::replace(place, "#")) } else { finding })
}

fn foreign_quote(view: &View) -> Option<Finding> {
    let start = view.place(view.found).start;
    let line = view.rest_of_line(start);
    let first = line.chars().next()?;
    let closing: &[char] = match first {
        '\'' | '`' | '´' => &['\'', '`', '´'],
        '“' | '”' | '„' | '‘' | '’' | '‚' | '«' | '»' => {
            &['“', '”', '‘', '’', '«', '»', '"', '\'']
        }
        _ => return None,
    };
    if !view.is_kind(view.found, |kind| kind == TokenKind::Stray) {
        return None;
    }
    let inner = line.get(first.len_utf8()..)?;
    let mut finding = Finding::new(
        Code::E0010,
        start..start + first.len_utf8(),
        format!("strings stand between `\"`, not between `{first}`"),
    )
    .here("a string of another language");
    if let Some(length) = inner.find(closing) {
        let content = &inner[..length];
        let last = inner[length..].chars().next().map_or(0, char::len_utf8);
        let end = start + first.len_utf8() + length + last;
        finding.place = start..end;
        if !content.contains(['"', '\\']) {
            finding = finding.edit(Edit::replace(start..end, format!("\"{content}\"")));
        }
    }
    Some(finding)
}

fn foreign_sign(view: &View) -> Option<Finding> {
    if !view.is_kind(view.found, |kind| kind == TokenKind::Stray) {
        return None;
    }
    let sign = view.here();
    let place = view.place(view.found);
    let doubled = view.after() == sign && view.touches(view.found + 1);
    let both = if doubled { place.start..view.place(view.found + 1).end } else { place.clone() };
    let first = sign.chars().next()?;
    Some(match first {
        ';' => Finding::new(Code::E0010, place.clone(), "`;` separates nothing here")
            .here("not a sign of the language")
            .help("arguments are separated by line breaks or commas")
            .edit(Edit::delete(place.clone()))
            .edit(Edit::replace(place, ",")),
        '&' | '|' | '!' => {
            let meant = match first {
                '&' => "and",
                '|' => "or",
                _ => "not",
            };
            // `a&b` needs blanks around the word, `!.a` one behind it.
            let tight = |index: usize| if view.touches(index) { " " } else { "" };
            let last = view.found + usize::from(doubled);
            let word = format!(
                "{}{meant}{}",
                if first == '!' { "" } else { tight(view.found) },
                tight(last + 1)
            );
            Finding::new(
                Code::E0010,
                both.clone(),
                format!("`{}` is spelt `{meant}` here", &view.text[both.clone()]),
            )
            .here("an operator of another language")
            .edit(Edit::replace(both, word))
        }
        '\u{FEFF}' => Finding::new(
            Code::E0001,
            place.clone(),
            "a byte order mark stands in the middle of the text",
        )
        .edit(Edit::delete(place)),
        _ if first.is_whitespace() || first.is_control() || "\u{200B}\u{200C}\u{200D}\u{2060}".contains(first) => {
            Finding::new(
                Code::E0001,
                place.clone(),
                format!("an invisible character (U+{:04X}) stands here", u32::from(first)),
            )
            .help("a blank, a tab or a line break separates words")
            .edit(Edit::replace(place, " "))
        }
        _ => Finding::new(
            Code::E0001,
            place,
            format!("the sign `{first}` has no meaning outside of strings"),
        )
        .here("not a sign of the language"),
    })
}

/// `.5` and `1.`
fn number_without_digits(view: &View) -> Option<Finding> {
    let (index, next) = if view.here() == "." {
        (view.found, view.found + 1)
    } else if view.before() == "." && view.found > 0 {
        (view.found - 1, view.found)
    } else {
        return None;
    };
    let is_number = |at: usize| view.is_kind(at, |kind| kind == TokenKind::Number);
    let point = view.place(index);
    if is_number(next) && view.touches(next) && !(index > 0 && view.touches(index)) {
        let place = view.places(index, next);
        return Some(
            Finding::new(
                Code::E0004,
                place.clone(),
                format!("`{}` begins with no digit", &view.text[place]),
            )
            .here("a number begins with a digit")
            .edit(Edit::insert(point.start, "0")),
        );
    }
    if index > 0 && is_number(index - 1) && view.touches(index) {
        let place = view.places(index - 1, index);
        return Some(
            Finding::new(
                Code::E0004,
                place.clone(),
                format!("`{}` ends with no digit", &view.text[place]),
            )
            .here("a digit follows the decimal point")
            .edit(Edit::insert(point.end, "0")),
        );
    }
    None
}

fn misspelt_number(view: &View) -> Option<Finding> {
    if !view.is_kind(view.found, |kind| kind == TokenKind::Number) || !(view.expects_value()) {
        // The grammar may have read the beginning of it as a number (`1.5.2`).
        let stops_inside = view.is_kind(view.found, |kind| kind == TokenKind::Number)
            && view.here().matches('.').count() > 1;
        if !stops_inside {
            return None;
        }
    }
    let word = view.here();
    let place = view.place(view.found);
    let digits = word.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let finding = Finding::new(Code::E0004, place.clone(), format!("`{word}` is no number"));
    if let Some(split) = digits
        && let Some(unit) = word.get(split..)
        && is_word(unit)
        && !word.starts_with("0x")
        && !word.starts_with("0b")
    {
        return Some(
            finding
                .here("a unit stands behind a blank")
                .help(format!("with a unit it is `{} {unit}`", &word[..split]))
                .edit(Edit::insert(place.start + split, " ")),
        );
    }
    let parts: Vec<&str> = word.split('_').filter(|part| !part.is_empty()).collect();
    let finding = finding
        .here("not a number of the language")
        .help("the forms are `1_000`, `0.5`, `2e-5`, `6%` and `3 epochs`");
    Some(if word.contains('_') {
        finding.edit(Edit::replace(place, parts.join("_")))
    } else {
        finding
    })
}

fn loose_percent(view: &View) -> Option<Finding> {
    if view.here() != "%" {
        return None;
    }
    let place = view.place(view.found);
    let gap = view.end_before()..place.start;
    let after_number =
        view.found > 0 && view.is_kind(view.found - 1, |kind| kind == TokenKind::Number);
    Some(if after_number && !gap.is_empty() {
        Finding::new(Code::E0004, place, "`%` stands apart from its number")
            .here("a share is written `6%`")
            .edit(Edit::delete(gap))
    } else {
        Finding::new(Code::E0001, place, "`%` stands behind a number alone")
            .here("a share is written `6%`")
    })
}

/// `param rate float = 1`
fn missing_param_colon(view: &View) -> Option<Finding> {
    if view.shape != Shape::Param
        || view.found != 2
        || !view.is_kind(2, |kind| kind == TokenKind::Word)
        || !view.expects(Rule::colon)
    {
        return None;
    }
    let name = view.word(1);
    Some(
        Finding::new(
            Code::E0104,
            view.place(2),
            format!("no `:` stands between the parameter `{name}` and its type"),
        )
        .here("a type follows a `:`")
        .help(format!("the form is `param {name}: {} = …`", view.here()))
        .edit(Edit::insert(view.place(1).end, ":")),
    )
}

/// `seed = 17`, `batch = = 3`, `a => b`, `a := b`
fn superfluous_equals(view: &View) -> Option<Finding> {
    let place = view.place(view.found);
    if view.shape == Shape::Seed && view.found == 1 && ["=", ":"].contains(&view.here()) {
        return Some(
            Finding::new(Code::E0104, place.clone(), "the seed is written without a sign")
                .help("the form is `seed 17`")
                .edit(Edit::delete(place.start..view.place(view.found + 1).start)),
        );
    }
    let doubled = (view.before() == "=" && ["=", ">", "=="].contains(&view.here()))
        || (view.here() == ":" && view.after() == "=" && view.touches(view.found + 1));
    if !doubled || !(view.expects_value() || view.expects(Rule::equals)) {
        return None;
    }
    Some(
        Finding::new(Code::E0007, place.clone(), "a name and its value are joined by one `=`")
            .here("one sign too many")
            .edit(Edit::delete(place)),
    )
}

/// `learning-rate = 1e-4`
fn hyphen_in_name(view: &View) -> Option<Finding> {
    if view.here() != "-"
        || view.found == 0
        || !(view.expects(Rule::equals) || view.expects(Rule::colon))
        || view.expects_more()
    {
        return None;
    }
    let first = view.found - 1;
    let end = hyphenated(view.tokens, view.text, first);
    if end == first + 1 {
        return None;
    }
    let place = view.places(first, end - 1);
    let name = view.text.get(place.clone())?;
    let meant = name.replace('-', "_");
    Some(
        Finding::new(Code::E0103, place.clone(), format!("the name `{name}` has hyphens"))
            .here("hyphens occur in step kinds alone")
            .help(format!("it is spelt `{meant}`"))
            .edit(Edit::replace(place, meant)),
    )
}

/// `"batch" = 32`, `param "rate": float`, and names with letters that names cannot have.
fn quoted_name(view: &View) -> Option<Finding> {
    if !view.expects_name() || view.expects_value() || view.expects_more() {
        return None;
    }
    let token = view.token(view.found)?;
    let word = view.here();
    if token.is_string() {
        let inner = word.trim_start_matches('r').trim_matches('"');
        let meant: String =
            inner.chars().map(|c| if c == '-' || c == ' ' { '_' } else { c }).collect();
        let finding = Finding::new(
            Code::E0103,
            token.range(),
            format!("the string `{}` stands where a name is expected", shown(word)),
        )
        .here("names stand without quotes");
        return Some(if is_word(&meant) {
            finding.edit(Edit::replace(token.range(), meant))
        } else {
            finding
        });
    }
    if token.kind == TokenKind::Word && !is_word(word) {
        let message = format!("the name `{}` has letters that names cannot have", shown(word));
        return Some(
            Finding::new(Code::E0103, token.range(), message)
                .here("letters a to z, digits and `_` make a name"),
        );
    }
    None
}

/// `batch: 32`, `batch == 32`
fn other_equals(view: &View) -> Option<Finding> {
    let sign = view.here();
    if !view.expects(Rule::equals) || ![":", "==", "+", "->", "<"].contains(&sign) {
        return None;
    }
    // Behind a complete value (`f(.a: 1)`) an `=` is possible only if that value is a name.
    let name = view.before();
    if !is_word(name) && !name.ends_with('"') {
        return None;
    }
    let place = view.place(view.found);
    if view.shape == Shape::Param && view.expects(Rule::colon) {
        return None;
    }
    // A blank on both sides, as the formatter has it.
    let before = if view.touches(view.found) { " " } else { "" };
    let after = if view.touches(view.found + 1) { " " } else { "" };
    Some(
        Finding::new(
            Code::E0007,
            place.clone(),
            format!("`{sign}` stands between `{}` and its value", shown(name)),
        )
        .here("`=` is expected")
        .edit(Edit::replace(place, format!("{before}={after}"))),
    )
}

/// `batch 32`, `columns { … }`
fn missing_equals(view: &View) -> Option<Finding> {
    if !view.expects(Rule::equals) || view.expects_more() || view.found == 0 {
        return None;
    }
    let name = shown(view.before());
    let here = view.token(view.found);
    let same_line = here.is_some_and(|token| !token.line_start);
    if here.is_some_and(|token| !token.line_start || token.kind == TokenKind::Open)
        && view.begins_value(view.found)
    {
        let sign = if view.touches(view.found) { " = " } else { " =" };
        let finding = Finding::new(
            Code::E0007,
            view.place(view.found),
            format!("no `=` stands between `{name}` and its value"),
        )
        .here("`=` is expected before this");
        if view.after() == "{" && view.is_kind(view.found, |kind| kind == TokenKind::Word) {
            let variant = view.here();
            return Some(finding.help(format!(
                "the arguments of a variant stand between parentheses: `{name} = {variant}(…)`"
            )));
        }
        return Some(finding.edit(Edit::insert(view.end_before(), sign)));
    }
    let place = view.place(view.found - 1);
    let found = if same_line { format!(" but `{}`", shown(view.here())) } else { String::new() };
    Some(
        Finding::new(Code::E0008, place, format!("`{name}` has no value{found}"))
            .here("`=` and a value are expected behind this")
            .help(format!("the form is `{name} = …`")),
    )
}

/// Nothing stands where a value, a name or an argument has to.
fn missing_operand(view: &View) -> Option<Finding> {
    let here = view.here();
    let before = view.before();
    if here == "," && (before == "," || ["{", "[", "("].contains(&before) || view.found == 0) {
        let place = view.place(view.found);
        let message = match before {
            "," => "nothing stands between two commas".to_string(),
            _ => "nothing stands before this comma".to_string(),
        };
        return Some(
            Finding::new(Code::E0008, place.clone(), message)
                .here("one comma too many")
                .edit(Edit::delete(place)),
        );
    }
    if here == "+" && view.expects_value() && view.is_kind(view.found + 1, |k| k == TokenKind::Number)
    {
        let place = view.place(view.found);
        return Some(
            Finding::new(Code::E0010, place.clone(), "a number has no sign `+`")
                .here("not a sign of the language")
                .edit(Edit::delete(place)),
        );
    }
    let next_is_argument = view.is_kind(view.found, |kind| kind == TokenKind::Word)
        && view.token(view.found).is_some_and(|token| token.line_start)
        && view.after() == "=";
    let nothing = view.found >= view.tokens.len()
        || view.is_kind(view.found, |kind| kind == TokenKind::Close)
        || here == ","
        || next_is_argument
        || ["and", "or", "in", "*", "/", "==", "!=", "<", "<=", ">", ">=", ".."].contains(&here);
    if !nothing || view.found == 0 {
        return None;
    }
    let place = view.place(view.found - 1);
    if before == "." && view.expects_name() {
        return Some(
            Finding::new(Code::E0008, place, "no name stands behind the `.`")
                .here("a name is expected behind this"),
        );
    }
    if !view.expects_value() {
        return match view.shape {
            Shape::Param | Shape::Secret if view.found == 1 => Some(
                Finding::new(Code::E0104, place, format!("`{before}` is followed by no name"))
                    .here("a name is expected behind this"),
            ),
            Shape::Secret if view.expects(Rule::equals) => Some(
                Finding::new(Code::E0104, place, format!("the secret `{before}` has no source"))
                    .help(format!("the form is `secret {before} = env(\"VARIABLE\")`")),
            ),
            _ if before == ":" => Some(
                Finding::new(Code::E0104, place, "no type stands behind the `:`")
                    .help("types are `int`, `float`, `bool`, `string`, `share` and `budget`"),
            ),
            _ => None,
        };
    }
    let message = match before {
        "=" if view.shape == Shape::Param => format!("`{}` has no value", view.word(1)),
        "=" if view.found > 1 => format!("`{}` has no value", shown(view.word(view.found - 2))),
        "(" => "nothing stands between the parentheses".to_string(),
        _ => format!("no value stands behind `{}`", shown(before)),
    };
    Some(Finding::new(Code::E0008, place, message).here("a value is expected behind this"))
}

/// `filter(.label = "x")`
fn single_equals_compares(view: &View) -> Option<Finding> {
    if view.here() != "=" || !view.expects_more() {
        return None;
    }
    let place = view.place(view.found);
    let finding = Finding::new(
        Code::E0007,
        place.clone(),
        format!("`=` stands behind `{}`, which is a value here", shown(view.before())),
    )
    .here("`=` gives a value to a name, `==` compares");
    Some(if view.opener() == "{" { finding } else { finding.edit(Edit::replace(place, "==")) })
}

/// Two values side by side.
fn missing_separator(view: &View) -> Option<Finding> {
    if !view.expects_more() || view.found == 0 {
        return None;
    }
    let token = view.token(view.found)?;
    if !(token.is_string() || matches!(token.kind, TokenKind::Word | TokenKind::Number | TokenKind::Open))
        && !(view.here() == "." && !view.touches(view.found))
    {
        return None;
    }
    if token.kind == TokenKind::Open && view.touches(view.found) {
        return None;
    }
    let (before, here) = (shown(view.before()), shown(view.here()));
    let opener = view.opener();
    if opener.is_empty() {
        // A param's value, a seed: nothing can follow on the line.
        return Some(
            Finding::new(Code::E0009, token.range(), format!("`{here}` stands behind a value"))
                .here("the next item begins on a line of its own")
                .edit(Edit::insert(token.start, "\n")),
        );
    }
    let (wanted, help) = if opener == "{" {
        ("a comma or a line break", "arguments are separated by line breaks or commas")
    } else {
        ("a comma or an operator", "values are separated by commas")
    };
    let mut finding = Finding::new(
        Code::E0009,
        token.range(),
        format!("nothing separates `{before}` and `{here}`"),
    )
    .here(format!("{wanted} is expected before this"))
    .help(help)
    .edit(Edit::insert(view.end_before(), ","));
    // `name = some words` is most likely a text.
    let is_word_at = |index: usize| view.is_kind(index, |kind| kind == TokenKind::Word);
    if is_word_at(view.found - 1) && is_word_at(view.found) {
        let mut last = view.found;
        while is_word_at(last + 1) && !view.place(last + 1).is_empty() && view.word(last + 2) != "="
            && view.token(last + 1).is_some_and(|token| !token.line_start)
        {
            last += 1;
        }
        let place = view.places(view.found - 1, last);
        if let Some(words) = view.text.get(place.clone()) {
            finding = finding
                .help(format!("{help}; a text stands between quotes"))
                .edit(Edit::replace(place, format!("\"{words}\"")));
        }
    }
    Some(finding)
}

/// `tokens.train(1)`
fn arguments_of_reference(view: &View) -> Option<Finding> {
    if view.here() != "(" || !view.touches(view.found) || !view.expects_more() {
        return None;
    }
    Some(
        Finding::new(
            Code::E0001,
            view.place(view.found),
            format!("`{}` takes no arguments", shown(view.before())),
        )
        .here("parentheses stand behind the name of a variant alone"),
    )
}

fn wrong_form_of_item(view: &View) -> Option<Finding> {
    let (form, example) = match view.shape {
        Shape::Param => ("param", "param rate: float = 5e-5 in 1e-7 .. 1e-2"),
        Shape::Secret => ("secret", "secret token = env(\"HF_TOKEN\")"),
        Shape::Seed => ("seed", "seed 17"),
        _ => return None,
    };
    let is_named = view.shape == Shape::Seed || view.is_kind(1, |kind| kind == TokenKind::Word);
    if view.found == 0 || !is_named {
        let missing = if view.shape == Shape::Seed { "number" } else { "name" };
        return Some(
            Finding::new(Code::E0104, view.place(0), format!("this `{form}` has no {missing}"))
                .here(format!("a {missing} is expected behind this"))
                .help(format!("the form is `{example}`")),
        );
    }
    let found = match view.here() {
        "" => "the end".to_string(),
        word => format!("`{}`", shown(word)),
    };
    Some(
        Finding::new(
            Code::E0104,
            view.place(view.found),
            format!("{found} does not belong into this `{form}`"),
        )
        .here("not expected here")
        .help(format!("the form is `{example}`")),
    )
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
    for (rule, sign) in [
        (Rule::close_block, "`}`"),
        (Rule::close_list, "`]`"),
        (Rule::close_group, "`)`"),
    ] {
        if view.expects(rule) {
            wanted.push(sign);
        }
    }
    let wanted = match wanted.as_slice() {
        [] => "nothing".to_string(),
        [one] => (*one).to_string(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    };
    let found = match view.here() {
        "" => "the text ends".to_string(),
        word => format!("`{}` stands", shown(word)),
    };
    Finding::new(
        Code::E0001,
        view.place(view.found),
        format!("{found} where {wanted} is expected"),
    )
    .here("not expected here")
}
