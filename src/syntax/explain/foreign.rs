//! Spellings of other languages, and numbers that are none.

use super::super::draft::Edit;
use super::super::fault::Finding;
use super::super::lex::{TokenKind, is_word};
use super::View;
use crate::base::Code;

pub(super) fn foreign_comment(view: &View) -> Option<Finding> {
    let first = if view.here() == "/" && view.before() == "/" && view.touches(view.found) {
        view.found - 1
    } else if view.here() == "/"
        && ["/", "*"].contains(&view.after())
        && view.touches(view.found + 1)
    {
        view.found
    } else {
        return None;
    };
    let place = view.places(first, first + 1);
    let finding = Finding::new(Code::E0010, place.clone(), "comments begin with `#`")
        .here(format!("`{}` begins no comment", &view.text[place.clone()]));
    Some(if view.word(first + 1) == "/" {
        finding.edit(Edit::replace(place, "#"))
    } else {
        finding
    })
}

pub(super) fn foreign_quote(view: &View) -> Option<Finding> {
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

pub(super) fn foreign_sign(view: &View) -> Option<Finding> {
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
        _ if first.is_whitespace()
            || first.is_control()
            || "\u{200B}\u{200C}\u{200D}\u{2060}".contains(first) =>
        {
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
pub(super) fn number_without_digits(view: &View) -> Option<Finding> {
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

pub(super) fn misspelt_number(view: &View) -> Option<Finding> {
    // Of `1.5.2` the grammar takes the beginning.
    let possible = view.expects_value() || view.inside;
    if !view.is_kind(view.found, |kind| kind == TokenKind::Number) || !possible {
        return None;
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

pub(super) fn loose_percent(view: &View) -> Option<Finding> {
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
