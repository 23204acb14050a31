//! Reads one step: its head, then its block as a whole, and where that fails argument by argument.

use std::ops::Range;

use super::ast::*;
use super::build::{Builder, Rule, range, recognise};
use super::draft::{Draft, Edit};
use super::fault::{Finding, first, indent, nesting};
use super::lex::{Token, TokenKind, is_word, lex, significant};
use super::parse::{Place, Reader};
use super::split::{Shape, hyphenated};
use crate::base::{Code, Span, Spanned};

impl Reader<'_> {
    pub(super) fn step(&mut self, place: &Place) {
        let mut draft = self.slice(place.tokens);
        if let Some(finding) = nesting(draft.text(), &significant(&lex(draft.text()))) {
            self.diags.push(finding.diag(&draft, self.source, None));
            return self.unread(place.tokens.get(hyphenated(place.tokens, self.text, 0)));
        }
        let before = self.diags.len();
        if place.shape == Shape::StepWithoutBlock {
            self.add_block(&mut draft);
        }
        self.mend_head(&mut draft);
        let found = self.diags.get(before..).unwrap_or(&[]);
        let guessed = found.iter().any(|diag| diag.code == Code::E0101);
        let faults = self.diags.len();
        let balanced = self.repair(&mut draft, Rule::only_step, place);
        let repaired = self.diags.len();
        let closed = repaired == faults;
        let read = if !balanced {
            None
        } else if let Ok(pair) = recognise(Rule::only_step, draft.text()) {
            self.builder(&draft).step(pair)
        } else {
            self.step_by_arguments(&draft)
        };
        self.mute(repaired);
        let Some(mut step) = read else {
            if self.diags.len() == before {
                self.unreadable_kind(&draft);
            }
            let name = significant(&lex(draft.text()));
            let name = name.get(hyphenated(&name, draft.text(), 0));
            let name = name.map(|name| draft.origin_range(&name.range()));
            let name = place.tokens.iter().find(|token| Some(token.range()) == name);
            return self.unread(name);
        };
        // What a step lacks besides a name or a block, and whether it is used, is not worth saying.
        step.damaged |= guessed;
        step.insertion = insertion(self.text, &step, closed);
        self.ast.items.push(Item::Step(step));
    }

    /// Whatever a step is dropped for is said. What nothing else has said so far is that the kind
    /// is no word of the language: `étrain tuned { … }`.
    fn unreadable_kind(&mut self, draft: &Draft) {
        let tokens = significant(&lex(draft.text()));
        let last = hyphenated(&tokens, draft.text(), 0).saturating_sub(1);
        let start = tokens.first().map_or(0, |token| token.start);
        let end = tokens.get(last).map_or(start, |token| token.end).max(start);
        let kind = draft.text().get(start..end).unwrap_or_default();
        let message = format!("the step kind `{kind}` has letters that kinds cannot have");
        let finding = Finding::new(Code::E0103, start..end, message)
            .help("kinds are written with the letters a to z and hyphens, as in `load-data`");
        self.diags.push(finding.diag(draft, self.source, None));
    }

    /// Drops what was said since on the lines that are muted, and forgets these.
    fn mute(&mut self, since: usize) {
        let line = |at: usize| {
            let before = self.text.get(..at).unwrap_or("").rfind('\n').map_or(0, |end| end + 1);
            let after = self.text.get(at..).unwrap_or("").find('\n');
            before..after.map_or(self.text.len(), |length| at + length)
        };
        let lines: Vec<Range<usize>> = self.muted.drain(..).map(line).collect();
        let mut index = 0;
        self.diags.retain(|diag| {
            index += 1;
            index <= since || !lines.iter().any(|line| line.contains(&diag.span().start))
        });
    }

    fn builder<'b>(&'b mut self, draft: &'b Draft) -> Builder<'b> {
        Builder { source: self.source, draft, docs: self.docs, diags: &mut self.diags }
    }

    /// `train tuned` without a `{`: with arguments below it, or alone.
    fn add_block(&mut self, draft: &mut Draft) {
        let text = draft.text();
        let tokens = significant(&lex(text));
        let name = hyphenated(&tokens, text, 0);
        let last = hyphenated(&tokens, text, name) - 1;
        let (Some(first_token), Some(end)) = (tokens.first(), tokens.get(last)) else { return };
        let words = &text[first_token.start..end.end];
        let place = first_token.start..end.end;
        let has_arguments = tokens.len() > last + 1;
        let finding = Finding::new(Code::E0101, place, format!("the step `{words}` has no block"))
            .here("`{` is expected behind this")
            .help(format!("the form is `{words} {{ argument = value }}`"));
        let opened = Edit::insert(end.end, if has_arguments { " {" } else { " {}" });
        let mut trial = draft.clone();
        trial.apply(&opened);
        if !has_arguments || first(trial.text(), "").is_none() {
            return self.mend(draft, &finding.edit(opened));
        }
        // Both braces are missing: one edit to show, two to keep the places of what is between.
        let close = tokens.last().map_or(end.end, |token| token.end);
        let rest = &text[end.end..close];
        let whole = Edit::replace(end.end..close, format!(" {{{rest}\n}}"));
        self.diags.push(finding.diag(draft, self.source, Some(&whole)));
        draft.apply(&Edit::insert(close, "\n}"));
        draft.apply(&opened);
    }

    /// Brings what stands before the `{` to the form `kind name`.
    fn mend_head(&mut self, draft: &mut Draft) {
        let text = draft.text().to_string();
        let tokens = significant(&lex(&text));
        let Some(open) = tokens.iter().position(|token| token.kind == TokenKind::Open) else {
            return;
        };
        let word = |index: usize| tokens.get(index).map_or("", |token| token.text(&text));
        let place = |from: usize, to: usize| -> Range<usize> {
            let start = tokens.get(from).map_or(0, |token| token.start);
            start..tokens.get(to).map_or(start, |token| token.end).max(start)
        };
        let kind_end = hyphenated(&tokens, &text, 0);
        let name_end = hyphenated(&tokens, &text, kind_end);
        let kind = text.get(place(0, kind_end - 1)).unwrap_or("").to_string();
        let name = place(kind_end, name_end - 1);
        let is_name =
            |index: usize| tokens.get(index).is_some_and(|token| token.kind == TokenKind::Word);
        if kind_end == open {
            let meant = format!(" my_{}", kind.replace('-', "_"));
            let at = place(0, kind_end - 1).end;
            let finding =
                Finding::new(Code::E0101, 0..at, format!("the step `{kind}` has no name"))
                    .here("a name is expected behind this")
                    .help("other steps refer to a step by its name")
                    .edit(Edit::insert(at, meant));
            return self.mend(draft, &finding);
        }
        let string = tokens.get(kind_end).is_some_and(Token::is_string);
        if name_end == open && (string || !is_word(&text[name.clone()])) {
            let written = text[name.clone()].to_string();
            let inner = written.trim_start_matches("r\"").trim_matches('"');
            let mut meant: String =
                inner.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            if !is_word(&meant) {
                meant.insert(0, '_');
            }
            let message = if string {
                format!("the name of the step stands between quotes: `{written}`")
            } else if written.contains('-') {
                format!("the name `{written}` has hyphens")
            } else {
                format!("the name `{written}` has letters that names cannot have")
            };
            let finding = Finding::new(Code::E0103, name.clone(), message)
                .here("names consist of letters, digits and `_`")
                .help("hyphens occur in step kinds alone")
                .edit(Edit::replace(name, meant));
            return self.mend(draft, &finding);
        }
        if name_end == open {
            return;
        }
        // Something else stands there: `tuned = train {`, `train tuned: {`, `step train tuned {`.
        let head = place(0, open - 1);
        let words: Vec<&str> = (0..open).filter(|index| is_name(*index)).map(word).collect();
        let meant = if kind_end == 1 && word(1) == "=" && is_name(2) && words.len() == 2 {
            Some(format!("{} {}", word(2), word(0)))
        } else {
            match words.as_slice() {
                [_, name] => Some(format!("{kind} {name}")),
                [_, .., kind, name] => Some(format!("{kind} {name}")),
                _ => None,
            }
        };
        let shown = text.get(head.clone()).unwrap_or("").to_string();
        let mut finding =
            Finding::new(Code::E0101, head.clone(), format!("`{shown}` does not begin a step"))
                .here("a kind and a name are expected before the `{`")
                .help("the form is `kind name { argument = value }`");
        finding.edits.extend(meant.map(|meant| Edit::replace(head, meant)));
        self.mend(draft, &finding);
    }

    fn mend(&mut self, draft: &mut Draft, finding: &Finding) {
        self.diags.push(finding.diag(draft, self.source, finding.edits.first()));
        if let Some(edit) = finding.edits.first() {
            draft.apply(edit);
        }
    }

    /// Every argument by itself. Brackets are balanced here.
    fn step_by_arguments(&mut self, draft: &Draft) -> Option<Step> {
        let text = draft.text();
        let tokens = significant(&lex(text));
        let open = tokens.iter().position(|token| token.kind == TokenKind::Open)?;
        let close = tokens.len() - 1;
        let head = draft.part(0..tokens.get(open)?.start);
        let (kind, name) = match recognise(Rule::only_head, head.text()) {
            Ok(kind) => {
                // The pairs of a head come one after the other; the name is what is left of it.
                let start = range(&kind).end;
                let rest = head.text().get(start..).unwrap_or("");
                let name_start = start + rest.len() - rest.trim_start().len();
                let name = head.part(name_start..head.text().trim_end().len());
                let kind = Spanned::new(
                    kind.as_str().to_string(),
                    self.span(draft.origin_range(&range(&kind))),
                );
                let end = name.origin_end(name.text().len());
                let place = self.span(name.origin(0)..end);
                (kind, Spanned::new(name.text().to_string(), place))
            }
            Err(_) => return None,
        };
        let faults = self.diags.len();
        let mut args = Vec::new();
        let mut damaged = false;
        for chunk in chunks(text, &tokens, open, close) {
            self.separators(draft, &tokens, &chunk);
            let (Some(first), Some(last)) = (tokens.get(chunk.start), tokens.get(chunk.end - 1))
            else {
                continue;
            };
            let mut part = draft.part(first.start..last.end);
            if !self.refuse(&mut part, Rule::only_argument, Shape::Step) {
                damaged = true;
                continue;
            }
            let read = match recognise(Rule::only_argument, part.text()) {
                Ok(pair) => self.builder(&part).argument(pair),
                Err(_) => None,
            };
            match read {
                Some(arg) => args.push(arg),
                None => damaged = true,
            }
        }
        if self.diags.len() == faults {
            // The parts are fine and the whole is not.
            self.refuse(&mut draft.clone(), Rule::only_step, Shape::Step);
            damaged = true;
        }
        let whole = 0..text.len();
        let body = tokens.get(open)?.start..text.len();
        Some(Step {
            docs: self.docs.get(&draft.origin(0)).cloned().unwrap_or_default(),
            kind,
            name,
            args,
            span: self.span(draft.origin_range(&whole)),
            body: self.span(draft.origin_range(&body)),
            insertion: Insertion::default(),
            damaged,
        })
    }

    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    /// Exactly one comma or a line break stands before an argument.
    fn separators(&mut self, draft: &Draft, tokens: &[Token], chunk: &Range<usize>) {
        let word = |index: usize| tokens.get(index).map_or("", |token| token.text(draft.text()));
        let (Some(first), Some(before)) = (tokens.get(chunk.start), chunk.start.checked_sub(1))
        else {
            return;
        };
        let stray = tokens.get(before).is_some_and(|token| token.kind == TokenKind::Stray);
        if word(before) == "," || word(before) == "{" || first.line_start || stray {
            return;
        }
        let message =
            format!("nothing separates `{}` from what stands before it", word(chunk.start));
        let end = tokens.get(before).map_or(first.start, |token| token.end);
        let finding = Finding::new(Code::E0009, first.range(), message)
            .here("a comma or a line break is expected before this")
            .edit(Edit::insert(end, ","));
        self.diags.push(finding.diag(draft, self.source, finding.edits.first()));
    }
}

/// The tokens of each argument between `open` and `close`, without the comma behind it.
fn chunks(text: &str, tokens: &[Token], open: usize, close: usize) -> Vec<Range<usize>> {
    let mut starts = Vec::new();
    let mut depth = 0usize;
    for index in open + 1..close {
        if depth == 0 && (index == open + 1 || starts_argument(text, tokens, index)) {
            starts.push(index);
        }
        match tokens[index].kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let mut found = Vec::with_capacity(starts.len());
    for (number, start) in starts.iter().enumerate() {
        let mut end = starts.get(number + 1).copied().unwrap_or(close);
        if end > start + 1 && tokens[end - 1].text(text) == "," {
            end -= 1;
        }
        found.push(*start..end);
    }
    found
}

fn starts_argument(text: &str, tokens: &[Token], index: usize) -> bool {
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text(text));
    let (token, before) = (&tokens[index], word(index - 1));
    let named = word(index + 1) == "=" || word(index + 1) == ":";
    let is_word = token.kind == TokenKind::Word;
    let operator =
        matches!(tokens[index - 1].kind, TokenKind::Sign) && before != "," && before != "%";
    if !(is_word || token.is_string())
        || (operator && !(token.line_start && word(index + 1) == "="))
    {
        return false;
    }
    if before == "," || token.line_start {
        return is_word && (named || !["and", "or", "not", "in"].contains(&token.text(text)))
            || (named && token.is_string());
    }
    // On one line with another argument: only if it cannot be anything else.
    is_word && word(index + 1) == "=" && !["and", "or", "not", "in"].contains(&before)
}

/// Where one more argument goes. `closed`: the user's text has the closing brace.
fn insertion(text: &str, step: &Step, closed: bool) -> Insertion {
    let body = step.body;
    let inner_end = if closed { body.end.saturating_sub(1) } else { body.end };
    let indented = |at: usize| {
        let blanks = indent(text, at);
        text.get(at - blanks..at).filter(|line| line.trim().is_empty()).unwrap_or("").to_string()
    };
    let place = |at: usize, before: String, after: &str| Insertion {
        at: Span { start: at, end: at, ..body },
        before,
        after: after.to_string(),
    };
    let start = step.args.last().map_or(body.start + 1, |arg| arg.value.span.end);
    // A comma behind the last argument is kept before the new one.
    let gap = text.get(start..inner_end).unwrap_or("");
    let commas = gap.len() - gap.trim_start_matches([' ', '\t', ',']).len();
    let comma = gap.get(..commas).unwrap_or("").rfind(',').map(|at| at + 1);
    let many_lines = text.get(body.start..inner_end).unwrap_or("").contains('\n');
    let from = start + comma.unwrap_or(0);
    let gap = text.get(from..inner_end).unwrap_or("");
    if !many_lines {
        if !closed {
            return place(from, if step.args.is_empty() { " " } else { ", " }.to_string(), "");
        }
        return match (step.args.is_empty(), comma) {
            (true, _) => {
                place(body.start + 1, " ".to_string(), if gap.is_empty() { " " } else { "" })
            }
            (false, None) => place(from, ", ".to_string(), ""),
            (false, Some(_)) => place(from, " ".to_string(), ""),
        };
    }
    let indentation = match step.args.last() {
        Some(arg) if !indented(arg.name.span.start).is_empty() => indented(arg.name.span.start),
        _ => format!("{}  ", indented(step.span.start)),
    };
    match gap.find('\n') {
        Some(newline) => {
            let line = gap.get(..newline).unwrap_or("").trim_end_matches('\r').len();
            place(from + line, format!("\n{indentation}"), "")
        }
        None => place(from, format!("\n{indentation}"), if closed { "\n" } else { "" }),
    }
}
