//! What is wrong with a piece of text before the grammar can say anything: strings and brackets
//! that are not closed, brackets that close nothing, and too many of them inside each other.

use std::ops::Range;

use super::draft::{Draft, Edit};
use super::lex::{Token, TokenKind, lex, significant};
use super::split::counterpart;
use crate::base::{Code, Diag, SourceId, Span};

/// How deep brackets may be nested.
pub const MAX_NESTING: usize = 64;

/// A mistake, its places in the text of a draft, and edits of which the first that leads on is
/// shown.
#[derive(Debug, Clone)]
pub struct Finding {
    pub code: Code,
    pub place: Range<usize>,
    pub message: String,
    /// Text beside the mark.
    pub here: String,
    pub also: Option<(Range<usize>, String)>,
    pub help: String,
    pub edits: Vec<Edit>,
    /// What else is found on its line is most likely a consequence, unless an edit mends all.
    pub vague: bool,
}

impl Finding {
    pub fn new(code: Code, place: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            place,
            message: message.into(),
            here: String::new(),
            also: None,
            help: String::new(),
            edits: Vec::new(),
            vague: false,
        }
    }

    pub fn here(mut self, text: impl Into<String>) -> Self {
        self.here = text.into();
        self
    }

    pub fn also(mut self, place: Range<usize>, text: impl Into<String>) -> Self {
        self.also = Some((place, text.into()));
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = text.into();
        self
    }

    pub fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// `edit` has been seen to remove the mistake.
    pub fn diag(&self, draft: &Draft, source: SourceId, edit: Option<&Edit>) -> Diag {
        let span = |range: &Range<usize>| {
            let Range { start, end } = draft.origin_range(range);
            Span::new(source, start, end)
        };
        let mut diag = Diag::new(self.code, span(&self.place), self.message.clone());
        diag = diag.here(self.here.clone());
        if let Some((place, text)) = &self.also {
            diag = diag.also(span(place), text.clone());
        }
        if !self.help.is_empty() {
            diag = diag.help(self.help.clone());
        }
        if let Some(edit) = edit {
            diag = diag.fix(span(&edit.range), edit.with.clone());
        }
        diag
    }
}

/// Bytes between the beginning of the line and `at`.
pub fn indent(text: &str, at: usize) -> usize {
    at - text.get(..at).unwrap_or("").rfind('\n').map_or(0, |newline| newline + 1)
}

/// The first fault of strings and brackets in `text`, which is one item (or one value).
///
/// `beyond` describes what comes behind the text, for a block that is still open there.
pub fn first(text: &str, beyond: &str) -> Option<Finding> {
    let tokens = significant(&lex(text));
    string(text, &tokens).or_else(|| bracket(text, &tokens, beyond, false)).map(|fault| match fault
        .code
    {
        // A piece that does not balance is read again, this time with an eye on its lines.
        Code::E0002 => bracket(text, &tokens, beyond, true).unwrap_or(fault),
        _ => fault,
    })
}

/// The place of the bracket that is one too deep.
pub fn nesting(text: &str, tokens: &[Token]) -> Option<Finding> {
    let mut depth = 0usize;
    for token in tokens {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            let place = token.range();
            let message = format!(
                "`{}` opens bracket number {depth} inside each other, above the {MAX_NESTING} allowed",
                token.text(text)
            );
            return Some(Finding::new(Code::E0005, place, message).here("too deep"));
        }
    }
    None
}

fn string(text: &str, tokens: &[Token]) -> Option<Finding> {
    let (index, token) = tokens.iter().enumerate().find(|(_, token)| token.is_unclosed_string())?;
    if matches!(token.kind, TokenKind::Triple { .. }) {
        let mark = token.start..token.start + 3;
        return Some(
            Finding::new(Code::E0003, mark, "this `\"\"\"` is never closed")
                .here("the text begins here")
                .help("a text of several lines ends with `\"\"\"` as well")
                .edit(Edit::insert(token.end, "\"\"\"")),
        );
    }
    // The mark that is missing may be that of an earlier string of the line, so that the strings
    // from there on are turned inside out.
    let first = tokens[..index].iter().rposition(|t| t.line_start).unwrap_or(0);
    let strings = tokens[first..=index].iter().filter(|t| t.is_string());
    let mut edits = Vec::new();
    for string in strings.clone().skip(strings.clone().count().saturating_sub(8)) {
        edits.extend(ends(text, string).into_iter().map(|at| Edit::insert(at, "\"")));
    }
    // The places in the string that is unclosed are the likeliest.
    edits.sort_by_key(|edit| edit.range.start < token.start);
    let mut finding = Finding::new(
        Code::E0003,
        token.range(),
        format!("the string `{}` is not closed on its line", shown(token.text(text))),
    )
    .here("it begins here")
    .help("a string ends with `\"` on the line it begins on");
    finding.edits = edits;
    finding.vague = true;
    Some(finding)
}

/// Where the string that begins with `token` may have been meant to end, likeliest first: before
/// the closing signs at the end of the line, before the first of them, at the end of the line.
fn ends(text: &str, token: &Token) -> Vec<usize> {
    let content = token.text(text);
    let quote = content.find('"').map_or(1, |at| at + 1);
    let code = content.find(" #").map_or(content, |comment| &content[..comment]);
    let signs = |c: char| c.is_whitespace() || ",)]}".contains(c);
    let mut found = vec![code.trim_end_matches(signs).len()];
    found.extend(content[quote..].find([',', ')', ']', '}']).map(|at| quote + at));
    let mut rest = code.trim_end();
    for _ in 0..6 {
        found.push(rest.len());
        match rest.strip_suffix([',', ')', ']', '}']) {
            Some(shorter) => rest = shorter.trim_end(),
            None => break,
        }
    }
    found.retain(|at| *at >= quote);
    let mut seen = Vec::new();
    for at in found {
        if !seen.contains(&(token.start + at)) {
            seen.push(token.start + at);
        }
    }
    seen
}

/// A long or many-line text, shortened for a message.
pub fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let mut short: String = line.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

struct Open {
    index: usize,
    /// Indentation of the line it stands on, and the number of that line.
    indent: usize,
    line: usize,
}

/// `by_layout`: a line that stands no deeper than the line of an open bracket shows that this
/// bracket was left open.
fn bracket(text: &str, tokens: &[Token], beyond: &str, by_layout: bool) -> Option<Finding> {
    let mut open: Vec<Open> = Vec::new();
    let mut counts = [0usize; 3];
    let number = |sign: &str| match sign {
        "{" | "}" => 0,
        "[" | "]" => 1,
        _ => 2,
    };
    let (mut line, mut line_indent) = (0, 0);
    for (index, token) in tokens.iter().enumerate() {
        let sign = token.text(text);
        if token.line_start {
            (line, line_indent) = (index, indent(text, token.start));
            // The outermost block is the step itself; its end is seen by what follows it.
            if by_layout
                && token.kind != TokenKind::Close
                && open.len() > 1
                && let Some(last) = open.last()
                && last.line < index
                && line_indent <= last.indent
            {
                return Some(unclosed(text, tokens, last.index, index, beyond));
            }
        }
        match token.kind {
            TokenKind::Open => {
                counts[number(sign)] += 1;
                open.push(Open { index, indent: line_indent, line });
            }
            TokenKind::Close => match open.last() {
                Some(last) if counterpart(tokens[last.index].text(text)) == sign => {
                    counts[number(sign)] -= 1;
                    let last = last.index;
                    open.pop();
                    // The block of a step ends with its piece, unless it ends too early.
                    let of_step = last > 0 && tokens[last - 1].kind == TokenKind::Word;
                    if open.is_empty() && sign == "}" && of_step && index + 1 < tokens.len() {
                        return Some(stray(text, tokens, Some(last), index));
                    }
                }
                Some(last) if counts[number(sign)] > 0 => {
                    let left_open = unclosed(text, tokens, last.index, index, beyond);
                    // Else the opening sign of this one is missing, if that alone explains all.
                    let stray = stray(text, tokens, Some(last.index), index);
                    let is_stray = stray.edits.iter().any(|edit| balances(text, edit))
                        && !left_open.edits.iter().any(|edit| balances(text, edit));
                    return Some(if is_stray { stray } else { left_open });
                }
                Some(last) => return Some(stray(text, tokens, Some(last.index), index)),
                None => return Some(stray(text, tokens, None, index)),
            },
            _ => {}
        }
    }
    let last = open.last()?;
    Some(unclosed(text, tokens, last.index, tokens.len(), beyond))
}

/// With `edit` every bracket is closed by its counterpart.
fn balances(text: &str, edit: &Edit) -> bool {
    let mut draft = Draft::new(text, 0);
    draft.apply(edit);
    let mut open = Vec::new();
    for token in lex(draft.text()) {
        let sign = token.text(draft.text());
        match token.kind {
            TokenKind::Open => open.push(counterpart(sign)),
            TokenKind::Close if open.pop() != Some(sign) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

/// The sign `index` closes what it should not: its own opening sign is missing, it is another one
/// than was meant, or one too many. `opening`: the innermost bracket that is open there.
fn stray(text: &str, tokens: &[Token], opening: Option<usize>, index: usize) -> Finding {
    let token = &tokens[index];
    let sign = token.text(text);
    let mut finding = Finding::new(
        Code::E0002,
        token.range(),
        format!("this `{sign}` closes nothing that was opened for it"),
    );
    if let Some(opening) = opening.and_then(|opening| tokens.get(opening)) {
        let wanted = counterpart(opening.text(text));
        if wanted == sign {
            finding.message = format!("this `{sign}` closes the block before its end");
            finding = finding.also(opening.range(), "the block begins here");
        } else {
            finding = finding.also(opening.range(), format!("this is closed by `{wanted}`"));
            // `[1, 2)` is more likely misspelt than `{ x = 1 ) }`.
            if wanted != "}" {
                finding = finding.edit(Edit::replace(token.range(), wanted));
            }
        }
    }
    finding.vague = true;
    finding = finding.edit(Edit::delete(token.range()));
    let missing = match sign {
        "}" => "{ ",
        "]" => "[",
        _ => "(",
    };
    let line = tokens[..index].iter().rposition(|token| token.line_start).unwrap_or(0);
    for at in (line.max(1)..index).rev().take(24) {
        let before = &tokens[at - 1];
        let called = sign == ")" && before.kind == TokenKind::Word && tokens[at].is_string();
        if called {
            finding = finding.edit(Edit::replace(before.end..tokens[at].start, missing));
        } else if ["=", "(", "[", ","].contains(&before.text(text)) {
            finding = finding.edit(Edit::insert(tokens[at].start, missing));
        }
    }
    finding
}

/// The bracket `opening` should have been closed before the token `next`.
fn unclosed(text: &str, tokens: &[Token], opening: usize, next: usize, beyond: &str) -> Finding {
    let open = &tokens[opening];
    let sign = open.text(text);
    let wanted = counterpart(sign);
    let message = if opening > 0
        && sign == "{"
        && tokens[..opening].iter().all(|token| token.kind != TokenKind::Open)
        && tokens[opening - 1].kind == TokenKind::Word
    {
        format!("the block of `{}` is not closed", tokens[opening - 1].text(text))
    } else if opening > 0 && tokens[opening - 1].text(text) == "=" && opening > 1 {
        // Behind the type of a `param` its name is meant.
        let typed = opening > 3 && tokens[opening - 3].text(text) == ":";
        let name = if typed { opening - 4 } else { opening - 2 };
        format!("this `{sign}` of `{}` is not closed", tokens[name].text(text))
    } else if opening > 0 && sign == "(" {
        format!("the `(` of `{}` is not closed", tokens[opening - 1].text(text))
    } else {
        format!("this `{sign}` is not closed")
    };
    // Before a comma that separates from what follows.
    let mut before = next.saturating_sub(1).max(opening);
    let follows = tokens.get(next);
    if before > opening && tokens[before].text(text) == "," && follows.is_some() {
        before -= 1;
    }
    let at = tokens[before].end;
    let many_lines = tokens[opening + 1..next].iter().any(|token| token.line_start);
    let with = match (sign, many_lines) {
        ("{", true) => {
            let line = tokens[..=opening].iter().rposition(|token| token.line_start).unwrap_or(0);
            let start = tokens[line].start;
            let blanks = text.get(start - indent(text, start)..start).unwrap_or("");
            let end = text.get(at..).unwrap_or("").split('\n').next().unwrap_or("");
            let closes_line = end.trim_start().starts_with('#');
            // A comment at the end of the line stays there.
            if closes_line && follows.is_none_or(|token| token.line_start) {
                let at = at + end.trim_end_matches('\r').len();
                let edit = Edit::insert(at, format!("\n{blanks}{wanted}"));
                return finish(text, open, follows, beyond, message, edit);
            }
            format!("\n{blanks}{wanted}")
        }
        ("{", false) => format!(" {wanted}"),
        _ => wanted.to_string(),
    };
    finish(text, open, follows, beyond, message, Edit::insert(at, with))
}

fn finish(
    text: &str,
    open: &Token,
    follows: Option<&Token>,
    beyond: &str,
    message: String,
    edit: Edit,
) -> Finding {
    let wanted = counterpart(open.text(text));
    let (place, seen) = match follows {
        Some(token) => (token.range(), format!("`{wanted}` is missing before this")),
        None => (text.len()..text.len(), format!("`{wanted}` is missing before {beyond}")),
    };
    Finding::new(Code::E0002, open.range(), message)
        .here("opened here")
        .also(place, seen)
        .help(format!("close it with `{wanted}`"))
        .edit(edit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text after the first edit of the first fault.
    fn repaired(text: &str) -> String {
        let finding = first(text, "the end").expect("a fault");
        let mut draft = Draft::new(text, 0);
        draft.apply(&finding.edits[0]);
        draft.text().to_string()
    }

    #[test]
    fn the_bracket_left_open_is_found_by_layout() {
        assert_eq!(
            repaired("load-data a {\n  x = { y = 1\n  z = { w = 2 }\n}"),
            "load-data a {\n  x = { y = 1 }\n  z = { w = 2 }\n}"
        );
        assert_eq!(repaired("a b {\n  x = f(1\n  y = 2\n}"), "a b {\n  x = f(1)\n  y = 2\n}");
        assert_eq!(repaired("a b {\n  x = 1 # c\n"), "a b {\n  x = 1 # c\n}\n");
        assert_eq!(repaired("a b { x = [1, 2 }"), "a b { x = [1, 2] }");
        assert_eq!(repaired("a b { x = [1, 2) }"), "a b { x = [1, 2] }");
        assert_eq!(repaired("a b { x = 1 ) }"), "a b { x = 1  }");
    }

    #[test]
    fn an_unclosed_string_ends_before_the_closing_signs() {
        assert_eq!(repaired("a b {\n  x = f(\"y)\n}"), "a b {\n  x = f(\"y\")\n}");
        assert_eq!(repaired("a b {\n  x = \"y   # c\n}"), "a b {\n  x = \"y\"   # c\n}");
    }
}
