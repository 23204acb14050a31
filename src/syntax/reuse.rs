//! Reads fragments and their uses: the head of a fragment by itself, what it holds like the items of a
//! program, a use like a step.

use super::ast::{Fragment, Item};
use super::build::{Builder, Rule, recognise};
use super::draft::Edit;
use super::fault::{Finding, indent, nesting};
use super::lex::{Token, TokenKind, lex, significant};
use super::parse::{Place, Reader, places};
use super::split::{Shape, split};
use crate::base::{Code, Span};

impl Reader<'_> {
    pub(super) fn fragment(&mut self, place: &Place) {
        let tokens = place.tokens;
        let before = self.diags.len();
        let Some(open) = block_of(self.text, tokens) else {
            let words = tokens.first().map_or(0, |token| token.start);
            let end = tokens.last().map_or(words, |token| token.end);
            let finding = Finding::new(Code::E0101, words..end, "the fragment has no block")
                .here("`{` is expected behind this")
                .help("the form is `fragment name(model: model, rate: float = 5e-5) { steps }`");
            self.report(&finding);
            return self.unread(tokens.get(1));
        };
        let (head, rest) = tokens.split_at(open);
        let mut draft = self.slice(head);
        if let Some(finding) = nesting(draft.text(), &significant(&lex(draft.text()))) {
            self.diags.push(finding.diag(&draft, self.source, None));
            return self.unread(tokens.get(1));
        }
        let of_head = Place { tokens: head, next: rest.first(), ..*place };
        let readable = self.repair(&mut draft, Rule::only_signature, &of_head)
            && self.refuse(&mut draft, Rule::only_signature, Shape::Fragment);
        let signature = match recognise(Rule::only_signature, draft.text()) {
            Ok(pair) if readable => {
                let (source, docs) = (self.source, self.docs);
                Builder { source, draft: &draft, docs, diags: &mut self.diags }.signature(pair)
            }
            _ => None,
        };
        let items = self.held(tokens, rest);
        let Some((name, params, damaged)) = signature else { return self.unread(tokens.get(1)) };
        let start = tokens.first().map_or(0, |token| token.start);
        let end = tokens.last().map_or(start, |token| token.end);
        self.ast.items.push(Item::Fragment(Fragment {
            docs: self.docs.get(&start).cloned().unwrap_or_default(),
            name,
            params,
            items,
            span: Span::new(self.source, start, end),
            damaged: damaged || self.diags.len() > before,
        }));
    }

    /// What stands in the block of the fragment of all these tokens.
    fn held(&mut self, fragment: &[Token], block: &[Token]) -> Vec<Item> {
        let Some((open, inner)) = block.split_first() else { return Vec::new() };
        let depth = fragment.first().map_or(0, |first| indent(self.text, first.start));
        let closes = |last: &Token| last.line_start && indent(self.text, last.start) <= depth;
        let closing = inner.last().filter(|last| last.text(self.text) == "}");
        let (inner, behind) = match closing {
            // All brackets of what it holds are closed, this last one among them.
            Some(last) if !closes(last) && is_balanced(self.text, inner) => {
                self.unclosed(open, last);
                (inner, None)
            }
            Some(last) => (inner.get(..inner.len() - 1).unwrap_or_default(), Some(last)),
            None => {
                self.unclosed(open, inner.last().unwrap_or(open));
                (inner, None)
            }
        };
        let outer = std::mem::take(&mut self.ast.items);
        let pieces = split(self.text, inner);
        for place in places(inner, &pieces, behind) {
            match place.shape {
                Shape::Edition
                | Shape::Param
                | Shape::Secret
                | Shape::Seed
                | Shape::Expect
                | Shape::Import
                | Shape::Fragment
                | Shape::Later => self.not_held(&place),
                _ => self.piece(&place),
            }
        }
        std::mem::replace(&mut self.ast.items, outer)
    }

    fn unclosed(&mut self, open: &Token, last: &Token) {
        let finding = Finding::new(Code::E0002, open.range(), "`{` is not closed")
            .here("the block of the fragment begins here")
            .also(last.range(), "`}` is missed behind this")
            .edit(Edit::insert(last.end, "\n}"));
        self.report(&finding);
    }

    fn not_held(&mut self, place: &Place) {
        let Some(first) = place.tokens.first() else { return };
        let word = first.text(self.text);
        let help = match place.shape {
            Shape::Param => "what a fragment takes stands between the parentheses behind its name",
            Shape::Fragment => "a fragment may use another one that stands beside it",
            _ => "it stands outside of the fragment",
        };
        let message = format!("a fragment holds steps and uses, and no `{word}`");
        let finding =
            Finding::new(Code::E0107, first.range(), message).here("not in a fragment").help(help);
        self.report(&finding);
        self.unread(place.tokens.get(1));
    }

    /// Behind the word it has the form of a step.
    pub(super) fn use_fragment(&mut self, place: &Place) {
        let Some((first, tokens)) = place.tokens.split_first() else { return };
        let has_block = block_of(self.text, tokens).is_some();
        let shape = if has_block { Shape::Step } else { Shape::StepWithoutBlock };
        if tokens.len() < 2 {
            let finding =
                Finding::new(Code::E0101, first.range(), "a `use` names a fragment and itself")
                    .here("two names are expected behind this")
                    .help("the form is `use fragment name { argument = value }`");
            return self.report(&finding);
        }
        let known = self.ast.items.len();
        self.step(&Place { tokens, shape, ..*place });
        if self.ast.items.len() > known
            && let Some(Item::Step(mut step)) = self.ast.items.pop()
        {
            step.docs = self.docs.get(&first.start).cloned().unwrap_or_default();
            step.span = Span::new(self.source, first.start, step.span.end);
            self.ast.items.push(Item::Use(step));
        }
    }
}

/// The first `{` that stands in no other bracket, or else the first one.
fn block_of(text: &str, tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Open if depth == 0 && token.text(text) == "{" => return Some(at),
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.iter().position(|token| token.text(text) == "{")
}

fn is_balanced(text: &str, tokens: &[Token]) -> bool {
    let mut depth = 0i64;
    for token in tokens {
        match token.text(text) {
            "{" if token.kind == TokenKind::Open => depth += 1,
            "}" if token.kind == TokenKind::Close => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}
