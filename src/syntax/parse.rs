//! Reads a program: cuts it into items, reads each by itself, and goes on behind every fault. Where
//! an edit has been seen to repair a fault, what it repairs is read as if it had been made.

use std::cmp::Reverse;

use super::ast::*;
use super::build::{Builder, Docs, Rule, recognise};
use super::draft::{Draft, Edit};
use super::explain::explain;
use super::fault::{Finding, first, nesting, shown};
use super::lex::{BYTE_ORDER_MARK, Token, TokenKind, is_word, lex, significant};
use super::split::{LATER, Piece, Shape, split};
use crate::base::{Code, Diag, SourceId, Span, Spanned, suggest};

/// The edition of the language that this version reads.
pub const EDITION: u32 = 1;

/// Faults of brackets and strings that are repaired in one item before the rest of it is given up.
const MAX_REPAIRS: usize = 16;

/// Reads a program. Never fails: what could not be read is in the diagnostics, the rest in the tree.
pub fn parse(source: SourceId, text: &str) -> (Ast, Vec<Diag>) {
    let all = lex(text);
    let tokens = significant(&all);
    let (docs, file_docs) = collect_docs(text, &all);
    let pieces = split(text, &tokens);
    let mut reader = Reader {
        source,
        text,
        whole: Draft::new(text, 0),
        docs: &docs,
        ast: Ast { source, docs: file_docs, ..Ast::default() },
        diags: Vec::new(),
        muted: Vec::new(),
    };
    reader.edition(&tokens, &pieces);
    places(&tokens, &pieces, None).iter().for_each(|place| reader.piece(place));
    let mut diags = reader.diags;
    diags.sort_by_key(|diag| (diag.span().start, diag.span().end));
    (reader.ast, diags)
}

/// Reads one value: `--set name=value`, a scalar of a parameter file.
pub fn parse_value(source: SourceId, text: &str) -> Result<Expr, Diag> {
    let draft = Draft::new(text, 0);
    let tokens = significant(&lex(text));
    if tokens.is_empty() {
        let finding = Finding::new(Code::E0008, 0..0, "no value stands here")
            .help("a text is written `\"…\"`, an empty one `\"\"`");
        return Err(finding.diag(&draft, source, None));
    }
    if let Some(finding) = nesting(text, &tokens).or_else(|| first(text, "the end of the value")) {
        let edit = finding.edits.iter().find(|edit| {
            let mut trial = draft.clone();
            trial.apply(edit);
            recognise(Rule::only_expression, trial.text()).is_ok()
        });
        return Err(finding.diag(&draft, source, edit));
    }
    let docs = Docs::new();
    let mut diags = Vec::new();
    let mut builder = Builder { source, draft: &draft, docs: &docs, diags: &mut diags };
    match recognise(Rule::only_expression, text) {
        Ok(pair) => match (builder.only_expression(pair), diags.into_iter().next()) {
            (_, Some(diag)) => Err(diag),
            (Some(value), None) => Ok(value),
            (None, None) => {
                let finding = Finding::new(Code::E0001, 0..text.len(), "this is no value");
                Err(finding.diag(&draft, source, None))
            }
        },
        Err(stop) => {
            let finding = explain(text, &tokens, &stop, Shape::Other);
            let edit = finding.edits.iter().find(|edit| {
                let mut trial = draft.clone();
                trial.apply(edit);
                recognise(Rule::only_expression, trial.text()).is_ok()
            });
            Err(finding.diag(&draft, source, edit))
        }
    }
}

/// The `##` lines by the place of what they document, and those of the file: they stand before the
/// edition line, or between it and a blank line.
fn collect_docs(text: &str, tokens: &[Token]) -> (Docs, Vec<String>) {
    let mut docs = Docs::new();
    let mut of_file = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut breaks = 0;
    let mut items = 0;
    for token in tokens {
        match token.kind {
            TokenKind::Newline => {
                breaks += 1;
                if breaks > 1 && items == 2 && of_file.is_empty() {
                    of_file = std::mem::take(&mut lines);
                }
                continue;
            }
            // Behind something on its line it is a comment like others.
            TokenKind::Doc if token.line_start => {
                let line = token.text(text).trim_start_matches('#');
                lines.push(line.strip_prefix(' ').unwrap_or(line).trim_end().to_string());
            }
            TokenKind::Doc | TokenKind::Comment => {}
            _ => {
                // `ftp` and its number.
                let is_edition = items == 0 && token.text(text) == "ftp";
                if is_edition {
                    of_file = std::mem::take(&mut lines);
                } else if !lines.is_empty() {
                    docs.insert(token.start, std::mem::take(&mut lines));
                }
                items += 1;
            }
        }
        breaks = 0;
    }
    if items == 2 && of_file.is_empty() {
        of_file = lines;
    }
    (docs, of_file)
}

/// One piece of the program and its neighbours.
pub(super) struct Place<'a> {
    pub tokens: &'a [Token],
    pub shape: Shape,
    pub is_first: bool,
    pub before: Option<(Shape, &'a [Token])>,
    /// The first token behind it.
    pub next: Option<&'a Token>,
}

/// The pieces of `tokens` as places; `behind`: the token that follows them all.
pub(super) fn places<'a>(
    tokens: &'a [Token],
    pieces: &[Piece],
    behind: Option<&'a Token>,
) -> Vec<Place<'a>> {
    let of = |piece: &Piece| tokens.get(piece.tokens.clone()).unwrap_or_default();
    let place = |(index, piece): (usize, &Piece)| {
        let previous = index.checked_sub(1).and_then(|before| pieces.get(before));
        Place {
            tokens: of(piece),
            shape: piece.shape,
            is_first: index == 0,
            before: previous.map(|piece| (piece.shape, of(piece))),
            next: tokens.get(piece.tokens.end).or(behind),
        }
    };
    pieces.iter().enumerate().map(place).collect()
}

pub(super) struct Reader<'a> {
    pub source: SourceId,
    pub text: &'a str,
    /// The user's text, unedited.
    pub whole: Draft,
    pub docs: &'a Docs,
    pub ast: Ast,
    pub diags: Vec<Diag>,
    /// Places on whose lines nothing more is to be said of the item that is being read.
    pub muted: Vec<usize>,
}

impl Reader<'_> {
    pub fn piece(&mut self, place: &Place) {
        let starts_line = place.tokens.first().is_none_or(|token| token.line_start);
        let misplaced = !starts_line && !place.is_first;
        match place.shape {
            Shape::Edition => {}
            Shape::StrayClose => self.stray_close(place),
            Shape::Other | Shape::LikeParam => self.no_item(place),
            _ => {
                if misplaced && let Some(token) = place.tokens.first() {
                    let message =
                        format!("`{}` begins an item behind another", token.text(self.text));
                    let finding = Finding::new(Code::E0009, token.range(), message)
                        .here("an item begins on a line of its own")
                        .edit(Edit::insert(token.start, "\n"));
                    self.report(&finding);
                }
                match place.shape {
                    Shape::Later => self.later(place),
                    Shape::Fragment => self.fragment(place),
                    Shape::Use => self.use_fragment(place),
                    Shape::Step | Shape::StepWithoutBlock => self.step(place),
                    _ => self.values(place),
                }
            }
        }
    }

    /// A finding in the user's text itself; its first edit is shown.
    pub fn report(&mut self, finding: &Finding) {
        self.diags.push(finding.diag(&self.whole, self.source, finding.edits.first()));
    }

    pub fn slice(&self, tokens: &[Token]) -> Draft {
        let start = tokens.first().map_or(0, |token| token.start);
        let end = tokens.last().map_or(0, |token| token.end);
        Draft::new(self.text.get(start..end).unwrap_or(""), start)
    }

    pub fn unread(&mut self, token: Option<&Token>) {
        if let Some(token) = token
            && is_word(token.text(self.text))
        {
            let span = Span::new(self.source, token.start, token.end);
            self.ast.unread.push(Spanned::new(token.text(self.text).to_string(), span));
        }
    }

    fn edition(&mut self, tokens: &[Token], pieces: &[Piece]) {
        let line = format!("ftp {EDITION}");
        let mut editions = pieces.iter().filter(|piece| piece.shape == Shape::Edition);
        let start =
            if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let Some(first) = editions.next() else {
            let place = tokens.first().map_or(start..start, Token::range);
            let finding = Finding::new(Code::E0006, place, format!("the line `{line}` is missing"))
                .here("a file begins with its edition")
                .edit(Edit::insert(start, format!("{line}\n")));
            return self.report(&finding);
        };
        let words = tokens.get(first.tokens.clone()).unwrap_or(&[]);
        let place = |words: &[Token]| {
            let start = words.first().map_or(0, |token| token.start);
            start..words.last().map_or(start, |token| token.end)
        };
        let whole = place(words);
        if first.tokens.start != 0 {
            let other = tokens.first().map_or(0..0, Token::range);
            let finding =
                Finding::new(Code::E0006, whole.clone(), "the edition line is not the first")
                    .also(other, "this stands before it")
                    .help(format!("`{line}` stands before everything but comments"));
            self.report(&finding);
        }
        let number = words.get(1).map(|token| token.text(self.text)).unwrap_or("");
        match number.parse::<u32>() {
            Ok(edition) => {
                let span = Span::new(self.source, whole.start, whole.end);
                self.ast.edition = Some(Spanned::new(edition, span));
                if edition != EDITION {
                    let message = format!(
                        "edition {edition} is not known: this version of ftrun reads edition {EDITION}"
                    );
                    let finding = Finding::new(Code::E0006, place(&words[1..2]), message)
                        .here("unknown edition")
                        .help("a newer ftrun may read it")
                        .edit(Edit::replace(place(&words[1..2]), EDITION.to_string()));
                    self.report(&finding);
                } else if let Some(rest) = words.get(2..).filter(|rest| !rest.is_empty()) {
                    let message = "something stands behind the edition on its line";
                    let finding = Finding::new(Code::E0006, place(rest), message)
                        .here("not expected here")
                        .edit(Edit::insert(place(rest).start, "\n"));
                    self.report(&finding);
                }
            }
            Err(_) => {
                let message = format!(
                    "`{}` is no edition line",
                    shown(self.text.get(whole.clone()).unwrap_or(""))
                );
                let finding = Finding::new(Code::E0006, whole.clone(), message)
                    .here(format!("`{line}` is expected"))
                    .edit(Edit::replace(whole.clone(), line.clone()));
                self.report(&finding);
            }
        }
        for again in editions {
            let words = tokens.get(again.tokens.clone()).unwrap_or(&[]);
            let finding = Finding::new(Code::E0006, place(words), "a second edition line")
                .here("the edition is given once")
                .also(whole.clone(), "the first one")
                .edit(Edit::delete(place(words)));
            self.report(&finding);
        }
    }

    fn stray_close(&mut self, place: &Place) {
        let (Some(first), Some(last)) = (place.tokens.first(), place.tokens.last()) else { return };
        let range = first.start..last.end;
        let signs = self.text.get(range.clone()).unwrap_or("");
        let finding =
            Finding::new(Code::E0002, range.clone(), format!("this `{signs}` closes nothing"))
                .here("no bracket is open here")
                .edit(Edit::delete(range));
        self.report(&finding);
    }

    /// An item of a later edition: one message, and its name is remembered.
    fn later(&mut self, place: &Place) {
        let Some(word) = place.tokens.first() else { return };
        let text = word.text(self.text);
        self.unread(place.tokens.get(1));
        let finding = Finding::new(
            Code::E0102,
            word.range(),
            format!("`{text}` comes in a later version of ftrun"),
        )
        .here("not run by this version")
        .help("the rest of the file is checked without it");
        self.report(&finding);
    }

    /// What is no item at all.
    fn no_item(&mut self, place: &Place) {
        let Some(first) = place.tokens.first() else { return };
        let word = first.text(self.text);
        let second = place.tokens.get(1);
        let next = second.map_or("", |token| token.text(self.text));
        if word == "/" && next == "/" {
            let range = first.start..second.map_or(first.end, |token| token.end);
            let finding = Finding::new(Code::E0010, range.clone(), "comments begin with `#`")
                .here("`//` begins no comment")
                .edit(Edit::replace(range, "#"));
            return self.report(&finding);
        }
        if word == ";" {
            let finding = Finding::new(Code::E0010, first.range(), "`;` separates nothing here")
                .here("not a sign of the language")
                .help("items stand on lines of their own")
                .edit(Edit::delete(first.range()));
            return self.report(&finding);
        }
        let draft = self.slice(place.tokens);
        let reads = |edit: &Edit| {
            let mut trial = draft.clone();
            trial.apply(edit);
            [
                Rule::only_param,
                Rule::only_secret,
                Rule::only_seed,
                Rule::only_expect,
                Rule::only_import,
                Rule::only_step,
            ]
            .into_iter()
            .any(|rule| recognise(rule, trial.text()).is_ok())
        };
        let line = self.text.get(first.start..).unwrap_or("").lines().next().unwrap_or("");
        let line = shown(line.split(" #").next().unwrap_or("").trim_end());
        let known = ["param", "secret", "seed", "expect", "import", "fragment", "use", "ftp"];
        let known = known.into_iter().chain(LATER);
        let near = suggest::nearest(word, known).filter(|near| *near != word);
        let mut finding =
            Finding::new(Code::E0101, first.range(), format!("`{line}` begins no item"))
                .here("not the beginning of an item")
                .help("items are `param`, `secret`, `seed`, `expect`, `import`, `fragment`, `use` and steps `kind name { … }`");
        if next == "=" {
            finding.message = format!("`{word} = …` stands outside of every step");
            finding.here = "an argument belongs between the braces of a step".to_string();
            if let Some((Shape::Step, before)) = place.before
                && let (Some(name), Some(end)) = (before.get(1), before.last())
            {
                let end_of = format!("the block of `{}` ends here", name.text(self.text));
                finding = finding.also(end.range(), end_of);
            }
        }
        // `parm rate: float = 1`, `rate: float = 1`
        let start = draft.origin(0);
        let respelt = near.map(|near| Edit::replace(0..word.len(), near));
        let edits = [respelt.clone(), Some(Edit::insert(0, "param "))];
        if let Some(edit) = edits.iter().flatten().find(|edit| reads(edit)) {
            let range = start + edit.range.start..start + edit.range.end;
            finding = finding.edit(Edit::replace(range, edit.with.clone()));
        }
        if let (Some(near), true) = (near, respelt.is_some_and(|edit| reads(&edit))) {
            finding.help = format!("the nearest word is `{near}`");
        }
        if matches!(word, "param" | "secret") {
            self.unread(second);
        }
        self.report(&finding);
    }

    /// Repairs brackets and strings of `draft` one after the other, reporting each. False: there is
    /// no repair, or there are too many.
    pub fn repair(&mut self, draft: &mut Draft, rule: Rule, place: &Place) -> bool {
        for _ in 0..MAX_REPAIRS {
            let Some(finding) = first(draft.text(), "the end of the file") else { return true };
            // 0: all is well with it; 1: the grammar stops, the later the better; 2: this fault at
            // least is gone.
            let rank = |edit: &Edit| {
                let mut trial = draft.clone();
                trial.apply(edit);
                match first(trial.text(), "") {
                    None => Some(match recognise(rule, trial.text()) {
                        Ok(_) => (0, Reverse(0)),
                        Err(stop) => (1, Reverse(trial.origin(stop.at))),
                    }),
                    Some(next) if next.code == finding.code => {
                        let (old, new) = (&finding.place, &next.place);
                        let moved = trial.origin(new.start) != draft.origin(old.start);
                        moved.then_some((2, Reverse(0)))
                    }
                    Some(_) => Some((2, Reverse(0))),
                }
            };
            let best = finding
                .edits
                .iter()
                .filter_map(|edit| rank(edit).map(|rank| (rank, edit)))
                .min_by_key(|(rank, _)| *rank);
            let mends_all = best.is_some_and(|((class, _), _)| class == 0);
            if finding.vague && !mends_all {
                self.muted.push(draft.origin(finding.place.start));
            }
            let best = best.map(|(_, edit)| edit.clone());
            let mut diag = finding.diag(draft, self.source, best.as_ref());
            // A block that is open at its end is missed where the next item begins.
            if let (Some((seen, _)), Some(next)) = (&finding.also, place.next)
                && seen.start == draft.text().len()
                && let Some(label) = diag.labels.get_mut(1)
            {
                label.span = Span::new(self.source, next.start, next.end);
                label.text = "the next item begins here".to_string();
            }
            self.diags.push(diag);
            match best {
                Some(edit) => draft.apply(&edit),
                None => return false,
            }
        }
        first(draft.text(), "").is_none()
    }

    /// What the grammar refuses in `draft`: reported, and mended if an edit is seen to help. False:
    /// it could not be mended.
    pub fn refuse(&mut self, draft: &mut Draft, rule: Rule, shape: Shape) -> bool {
        for _ in 0..MAX_REPAIRS {
            let Err(stop) = recognise(rule, draft.text()) else { return true };
            let tokens = significant(&lex(draft.text()));
            let finding = explain(draft.text(), &tokens, &stop, shape);
            let trials = finding.edits.iter().map(|edit| {
                let mut trial = draft.clone();
                trial.apply(edit);
                (edit, trial)
            });
            // One that makes all of it right, else one behind which only a later fault is found.
            let mut helped = None;
            for (edit, trial) in trials {
                match recognise(rule, trial.text()) {
                    Ok(_) => {
                        helped = Some((edit, trial, true));
                        break;
                    }
                    Err(next)
                        if helped.is_none() && trial.origin(next.at) > draft.origin(stop.at) =>
                    {
                        helped = Some((edit, trial, false));
                    }
                    Err(_) => {}
                }
            }
            let edit = helped.as_ref().map(|(edit, ..)| *edit);
            self.diags.push(finding.diag(draft, self.source, edit));
            match helped {
                Some((_, trial, true)) => {
                    *draft = trial;
                    return true;
                }
                // One sign for another is certain, so reading goes on behind it; other edits are
                // guesses on which no second message should rest.
                Some((edit, trial, false))
                    if finding.code == Code::E0010
                        || (finding.code == Code::E0007 && !edit.range.is_empty()) =>
                {
                    *draft = trial;
                }
                _ => return false,
            }
        }
        false
    }

    /// `param`, `secret`, `seed`, `expect`, `import`.
    fn values(&mut self, place: &Place) {
        let (rule, name) = match place.shape {
            Shape::Param => (Rule::only_param, place.tokens.get(1)),
            Shape::Secret => (Rule::only_secret, place.tokens.get(1)),
            Shape::Expect => (Rule::only_expect, None),
            Shape::Import => (Rule::only_import, place.tokens.get(3)),
            _ => (Rule::only_seed, None),
        };
        let mut draft = self.slice(place.tokens);
        if let Some(finding) = nesting(draft.text(), &significant(&lex(draft.text()))) {
            self.diags.push(finding.diag(&draft, self.source, None));
            return self.unread(name);
        }
        if !self.repair(&mut draft, rule, place) || !self.refuse(&mut draft, rule, place.shape) {
            return self.unread(name);
        }
        let Ok(pair) = recognise(rule, draft.text()) else { return };
        let mut builder =
            Builder { source: self.source, draft: &draft, docs: self.docs, diags: &mut self.diags };
        let item = match place.shape {
            Shape::Param => builder.param(pair).map(Item::Param),
            Shape::Secret => builder.secret(pair).map(Item::Secret),
            Shape::Expect => builder.expect(pair).map(Item::Expect),
            Shape::Import => builder.import(pair).map(Item::Import),
            _ => builder.seed(pair).map(Item::Seed),
        };
        match item {
            Some(item) => self.ast.items.push(item),
            None => self.unread(name),
        }
    }
}
