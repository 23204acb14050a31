//! The structure of a program as far as layout goes: items, what stands between separators, brackets,
//! and to which of them each comment belongs.

use super::super::lex::{Token, TokenKind};
use super::super::split::{Shape, counterpart, split};

/// A comment with its `#`.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) text: String,
    /// It stands on a line of its own.
    pub(super) own_line: bool,
    pub(super) blank_before: bool,
}

impl Comment {
    /// At a place where `##` would begin to document something it did not before.
    pub(super) fn plain(mut self) -> Self {
        if let Some(doc) = self.text.strip_prefix("##") {
            self.text = format!("#{}", doc.trim_start_matches('#'));
        }
        self
    }
}

/// A token and what stands between it and the one before.
pub(super) struct Sign<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// It touches the token before.
    pub(super) tight: bool,
    pub(super) comments: Vec<Comment>,
    pub(super) newline_before: bool,
    pub(super) blank_before: bool,
}

pub(super) fn with_trivia<'a>(text: &'a str, tokens: &[Token]) -> Vec<Sign<'a>> {
    let mut signs = Vec::new();
    let mut comments = Vec::new();
    let (mut newlines, mut any_newline, mut end) = (0, false, 0);
    let last =
        Token { kind: TokenKind::Close, start: text.len(), end: text.len(), line_start: true };
    for token in tokens.iter().chain([&last]) {
        match token.kind {
            TokenKind::Newline => {
                newlines += 1;
                any_newline = true;
            }
            TokenKind::Comment | TokenKind::Doc => {
                comments.push(Comment {
                    text: token.text(text).trim_end().to_string(),
                    own_line: token.line_start,
                    blank_before: newlines > 1,
                });
                newlines = 0;
            }
            _ => {
                signs.push(Sign {
                    kind: token.kind,
                    text: token.text(text),
                    tight: token.start == end && end > 0,
                    comments: std::mem::take(&mut comments),
                    newline_before: any_newline,
                    blank_before: newlines > 1,
                });
                (newlines, any_newline, end) = (0, false, token.end);
            }
        }
    }
    signs
}

/// One item with what belongs to it.
pub(super) struct Item<'a> {
    pub(super) shape: Shape,
    /// The item as one element; a step's block is its last part.
    pub(super) element: Element<'a>,
}

/// What stands between two separators.
#[derive(Default)]
pub(super) struct Element<'a> {
    /// On lines of their own before it.
    pub(super) comments: Vec<Comment>,
    pub(super) blank_before: bool,
    pub(super) parts: Vec<Part<'a>>,
    /// Behind it on its last line.
    pub(super) trailing: Option<Comment>,
}

pub(super) struct Part<'a> {
    pub(super) kind: PartKind<'a>,
    pub(super) tight: bool,
    pub(super) break_before: bool,
    pub(super) comments: Vec<Comment>,
}

pub(super) enum PartKind<'a> {
    Token { kind: TokenKind, text: &'a str },
    Group(Group<'a>),
    Block(Block<'a>),
}

/// What a fragment holds.
pub(super) struct Block<'a> {
    /// Behind the opening sign, on its line.
    pub(super) head: Option<Comment>,
    pub(super) items: Vec<Item<'a>>,
    /// On lines of their own before the closing sign.
    pub(super) tail: Vec<Comment>,
}

pub(super) struct Group<'a> {
    pub(super) open: &'a str,
    pub(super) close: &'static str,
    /// Behind the opening sign, on its line.
    pub(super) head: Option<Comment>,
    pub(super) elements: Vec<Element<'a>>,
    /// On lines of their own before the closing sign.
    pub(super) tail: Vec<Comment>,
    /// A comma stands behind each element on a line of its own: in lists and calls.
    pub(super) commas: bool,
    /// Its elements stand on lines of their own.
    pub(super) expanded: bool,
}

pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) signs: Vec<Sign<'a>>,
    pub(super) at: usize,
}

/// The items of `tokens`, which begin at the cursor, and the comments behind the last one.
pub(super) fn items<'a>(
    cursor: &mut Cursor<'a>,
    tokens: &[Token],
) -> (Vec<Item<'a>>, Vec<Comment>) {
    let begin = cursor.at;
    let mut items: Vec<Item> = Vec::new();
    for piece in split(cursor.text, tokens) {
        let (comments, blank_before) =
            cursor.leading(items.last_mut().map(|item| &mut item.element));
        let mut element = Element { comments, blank_before, ..Element::default() };
        while cursor.at < begin + piece.tokens.end {
            let inside = piece.shape == Shape::Fragment && cursor.text_at(cursor.at) == "{";
            let mut part = match inside {
                true => {
                    let held = cursor.at + 1 - begin..piece.tokens.end - 1;
                    cursor.block(tokens.get(held).unwrap_or_default())
                }
                false => cursor.part(),
            };
            if element.parts.is_empty() {
                part.break_before = false;
                // Behind `seed` a value begins, as behind an operator.
                if let (Shape::Seed, PartKind::Token { kind, .. }) = (piece.shape, &mut part.kind) {
                    *kind = TokenKind::Sign;
                }
            }
            if let (Shape::Seed, 1, PartKind::Group(group)) =
                (piece.shape, element.parts.len(), &mut part.kind)
            {
                group.commas = group.open == "[";
            }
            element.parts.push(part);
        }
        items.push(Item { shape: piece.shape, element });
    }
    let (mut tail, _) = cursor.leading(items.last_mut().map(|item| &mut item.element));
    if items.is_empty()
        && let Some(first) = tail.first_mut()
    {
        first.blank_before = false;
    }
    (items, tail)
}

impl<'a> Cursor<'a> {
    /// The comments before the next token; what ends the line of the element before goes to it.
    pub(super) fn leading(&mut self, before: Option<&mut Element<'a>>) -> (Vec<Comment>, bool) {
        let Some(sign) = self.signs.get_mut(self.at) else { return (Vec::new(), false) };
        let mut comments = std::mem::take(&mut sign.comments);
        if comments.first().is_some_and(|comment| !comment.own_line)
            && let Some(before) = before
            && before.trailing.is_none()
        {
            before.trailing = Some(comments.remove(0));
        }
        (comments, sign.blank_before)
    }

    /// The token or the group at the cursor, which moves behind it.
    pub(super) fn part(&mut self) -> Part<'a> {
        let Some(sign) = self.signs.get_mut(self.at) else {
            let kind = PartKind::Token { kind: TokenKind::Sign, text: "" };
            return Part { kind, tight: true, break_before: false, comments: Vec::new() };
        };
        let comments = std::mem::take(&mut sign.comments);
        let (kind, text, tight) = (sign.kind, sign.text, sign.tight);
        let break_before = sign.newline_before;
        let kind = if kind == TokenKind::Open {
            PartKind::Group(self.group())
        } else {
            self.at += 1;
            PartKind::Token { kind, text }
        };
        Part { kind, tight, break_before, comments }
    }

    /// The block of a fragment, which begins at the cursor and holds these tokens.
    fn block(&mut self, tokens: &[Token]) -> Part<'a> {
        let comments = self.leading(None).0;
        self.at += 1;
        let first = self.signs.get_mut(self.at).map(|sign| &mut sign.comments);
        let head = first
            .filter(|comments| comments.first().is_some_and(|comment| !comment.own_line))
            .map(|comments| comments.remove(0));
        let (mut items, mut tail) = items(self, tokens);
        // No blank line directly behind the opening sign.
        let element = items.first_mut().map(|first| &mut first.element);
        match element {
            Some(element) => match element.comments.first_mut() {
                Some(comment) => comment.blank_before = false,
                None => element.blank_before = false,
            },
            None => tail.iter_mut().take(1).for_each(|comment| comment.blank_before = false),
        }
        self.at += 1;
        let kind = PartKind::Block(Block { head, items, tail });
        Part { kind, tight: false, break_before: false, comments }
    }

    pub(super) fn text_at(&self, at: usize) -> &'a str {
        self.signs.get(at).map_or("", |sign| sign.text)
    }

    /// An entry of a map or an argument of a step begins at the cursor.
    pub(super) fn begins_entry(&self) -> bool {
        let named = self.signs.get(self.at).is_some_and(|sign| {
            matches!(
                sign.kind,
                TokenKind::Word
                    | TokenKind::Plain { .. }
                    | TokenKind::Raw { .. }
                    | TokenKind::Triple { .. }
            )
        });
        named && self.text_at(self.at + 1) == "="
    }

    pub(super) fn group(&mut self) -> Group<'a> {
        let open = self.text_at(self.at);
        let close = counterpart(open);
        let called = self
            .at
            .checked_sub(1)
            .and_then(|before| self.signs.get(before))
            .is_some_and(|sign| sign.kind == TokenKind::Word && !is_operator_word(sign.text));
        self.at += 1;
        let mut group = Group {
            open,
            close,
            head: None,
            elements: Vec::new(),
            tail: Vec::new(),
            commas: open == "[" || (open == "(" && called),
            expanded: false,
        };
        let mut waiting: Vec<Comment> = Vec::new();
        while let Some(sign) = self.signs.get(self.at) {
            group.expanded |= sign.newline_before;
            let (kind, text) = (sign.kind, sign.text);
            let head = &mut group.head;
            let (mut comments, blank_before) = match group.elements.last_mut() {
                Some(element) if waiting.is_empty() => self.leading(Some(element)),
                Some(_) => self.leading(None),
                None => {
                    let (mut comments, blank) = self.leading(None);
                    if head.is_none()
                        && waiting.is_empty()
                        && comments.first().is_some_and(|comment| !comment.own_line)
                    {
                        *head = Some(comments.remove(0));
                    }
                    (comments, blank)
                }
            };
            // Comments before a comma come before the next element, which they do not document.
            comments.splice(0..0, waiting.drain(..));
            if kind == TokenKind::Close {
                group.tail = comments;
                self.at += 1;
                break;
            }
            if text == "," {
                waiting = comments.into_iter().map(Comment::plain).collect();
                self.at += 1;
                continue;
            }
            let mut element = Element { comments, blank_before, ..Element::default() };
            loop {
                let mut part = self.part();
                if element.parts.is_empty() {
                    part.break_before = false;
                } else {
                    group.expanded |= part.break_before;
                }
                element.parts.push(part);
                let Some(next) = self.signs.get(self.at) else { break };
                if next.kind == TokenKind::Close
                    || next.text == ","
                    || (open == "{" && self.begins_entry())
                {
                    break;
                }
            }
            group.elements.push(element);
        }
        group
    }
}

impl Group<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.tail.is_empty() && self.head.is_none()
    }

    pub(super) fn has_lines(&self) -> bool {
        (self.expanded && !self.is_empty()) || self.elements.iter().any(Element::has_lines)
    }
}

impl Element<'_> {
    /// It takes more than one line.
    pub(super) fn has_lines(&self) -> bool {
        self.parts.iter().enumerate().any(|(index, part)| {
            self.breaks(index)
                || match &part.kind {
                    PartKind::Group(group) => group.has_lines(),
                    PartKind::Block(_) => true,
                    PartKind::Token { text, .. } => text.contains('\n'),
                }
        })
    }

    /// A line break stands before the part: kept where the author has one, but not behind `=`.
    pub(super) fn breaks(&self, index: usize) -> bool {
        let Some(part) = self.parts.get(index) else { return false };
        if !part.comments.is_empty() {
            return true;
        }
        let before = index.checked_sub(1).and_then(|before| self.parts.get(before));
        let behind_equals = before.is_some_and(|part| part.is("="));
        let opens = matches!(part.kind, PartKind::Group(_));
        part.break_before && !behind_equals && !opens
    }

    /// `name` of `name = value`.
    pub(super) fn name(&self) -> Option<&str> {
        match (self.parts.first().map(|part| &part.kind), self.parts.get(1)) {
            (Some(PartKind::Token { text, .. }), Some(second)) if second.is("=") => Some(text),
            _ => None,
        }
    }
}

impl Part<'_> {
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(&self.kind, PartKind::Token { text, .. } if *text == wanted)
    }

    /// Behind it a `-` is a sign and no operator.
    pub(super) fn awaits_operand(&self) -> bool {
        match &self.kind {
            PartKind::Token { kind: TokenKind::Sign, text } => *text != "%",
            PartKind::Token { kind: TokenKind::Word, text } => is_operator_word(text),
            _ => false,
        }
    }
}

pub(super) fn is_operator_word(word: &str) -> bool {
    ["and", "or", "not", "in"].contains(&word)
}
