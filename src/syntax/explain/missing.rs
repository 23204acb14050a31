//! Names, signs and values that are missing, doubled, or of another form.

use super::super::build::Rule;
use super::super::draft::Edit;
use super::super::fault::{Finding, shown};
use super::super::lex::{TokenKind, is_word};
use super::super::split::{Shape, hyphenated};
use super::View;
use crate::base::Code;

/// `param rate float = 1`
pub(super) fn missing_param_colon(view: &View) -> Option<Finding> {
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
pub(super) fn superfluous_equals(view: &View) -> Option<Finding> {
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
pub(super) fn hyphen_in_name(view: &View) -> Option<Finding> {
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
pub(super) fn quoted_name(view: &View) -> Option<Finding> {
    let token = view.token(view.found)?;
    let word = view.here();
    let named = view.expects_name() && !view.expects_value() && !view.expects_more();
    if !named && !view.inside {
        return None;
    }
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
pub(super) fn other_equals(view: &View) -> Option<Finding> {
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
pub(super) fn missing_equals(view: &View) -> Option<Finding> {
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
pub(super) fn missing_operand(view: &View) -> Option<Finding> {
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
    if here == "+"
        && view.expects_value()
        && view.is_kind(view.found + 1, |k| k == TokenKind::Number)
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
pub(super) fn single_equals_compares(view: &View) -> Option<Finding> {
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
pub(super) fn missing_separator(view: &View) -> Option<Finding> {
    if !view.expects_more() || view.found == 0 {
        return None;
    }
    let token = view.token(view.found)?;
    let is_column = view.here() == "." && !view.touches(view.found);
    let kinds = [TokenKind::Word, TokenKind::Number, TokenKind::Open];
    if !(token.is_string() || kinds.contains(&token.kind) || is_column) {
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
        while is_word_at(last + 1)
            && !view.place(last + 1).is_empty()
            && view.word(last + 2) != "="
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
pub(super) fn arguments_of_reference(view: &View) -> Option<Finding> {
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

pub(super) fn wrong_form_of_item(view: &View) -> Option<Finding> {
    let (form, example) = match view.shape {
        Shape::Param => ("param", "param rate: float = 5e-5 in 1e-7 .. 1e-2"),
        Shape::Secret => ("secret", "secret token = env(\"HF_TOKEN\")"),
        Shape::Seed => ("seed", "seed 17"),
        Shape::Expect => ("expect", "expect tokens.report.truncated < 1%"),
        Shape::Import => ("import", "import \"shared.ftp\" as shared"),
        Shape::Fragment => {
            ("fragment", "fragment finetune(model: model, rate: float = 5e-5) { steps }")
        }
        _ => return None,
    };
    let is_named = [Shape::Seed, Shape::Expect, Shape::Import].contains(&view.shape)
        || view.is_kind(1, |kind| kind == TokenKind::Word);
    if view.found == 0 || !is_named {
        let missing = match view.shape {
            Shape::Seed => "number",
            Shape::Expect => "comparison",
            Shape::Import => "path",
            _ => "name",
        };
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
