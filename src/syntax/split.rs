//! Cuts a program into items before the grammar sees them, so that one fault does not hide the
//! next. What begins an item is recognised even inside a block that was left open.

use std::ops::Range;

use super::lex::{Token, TokenKind};

/// Words of the language that a later edition gives a meaning.
pub const LATER: [&str; 2] = ["sweep", "compare"];

/// What begins an item that is about other steps.
const ABOUT_STEPS: [(&str, Shape); 5] = [
    ("import", Shape::Import),
    ("fragment", Shape::Fragment),
    ("use", Shape::Use),
    ("sweep", Shape::Later),
    ("compare", Shape::Later),
];

/// Words that name neither steps nor parameters nor step kinds.
pub const RESERVED: [&str; 17] = [
    "ftp", "param", "secret", "seed", "expect", "import", "fragment", "use", "sweep", "compare",
    "in", "and", "or", "not", "when", "true", "false",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Edition,
    Param,
    Secret,
    Seed,
    Expect,
    Import,
    /// Holds steps, which look like items of their own.
    Fragment,
    Use,
    /// Ends with its closing brace, or before the next item.
    Step,
    /// `kind name` with no `{` on its line.
    StepWithoutBlock,
    Later,
    /// Begins with a closing bracket that closes nothing.
    StrayClose,
    /// `parm rate: float = 1`, `rate: float = 1`: like a `param`, without being one.
    LikeParam,
    /// Nothing of the above; `name = value` outside of a step for instance.
    Other,
}

#[derive(Debug, Clone)]
pub struct Piece {
    pub shape: Shape,
    /// Of the significant tokens.
    pub tokens: Range<usize>,
}

/// `tokens`: the significant ones. The pieces cover all of them, in order.
pub fn split(text: &str, tokens: &[Token]) -> Vec<Piece> {
    let splitter = Splitter { text, tokens };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let shape = splitter.shape(at);
        let end = splitter.end(at, shape).max(at + 1);
        pieces.push(Piece { shape, tokens: at..end });
        at = end;
    }
    pieces
}

/// The index behind the words `load-model` or `shared.finetune` that begin at `at`: a name with hyphens
/// or dots and no blanks.
pub fn hyphenated(tokens: &[Token], text: &str, at: usize) -> usize {
    let mut end = at + 1;
    while let [before, hyphen, after, ..] = tokens.get(end - 1..).unwrap_or(&[])
        && matches!(hyphen.text(text), "-" | ".")
        && hyphen.start == before.end
        && hyphen.end == after.start
        && matches!(after.kind, TokenKind::Word | TokenKind::Number)
    {
        end += 2;
    }
    end
}

struct Splitter<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl Splitter<'_> {
    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text(self.text))
    }

    fn is(&self, at: usize, kind: TokenKind) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == kind)
    }

    fn is_name(&self, at: usize) -> bool {
        self.is(at, TokenKind::Word)
    }

    fn is_line_start(&self, at: usize) -> bool {
        self.tokens.get(at).is_none_or(|token| token.line_start)
    }

    /// Bytes between the line's first byte and the token, for a token that begins its line.
    fn indent(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(0, |token| super::fault::indent(self.text, token.start))
    }

    /// Certainly the beginning of an item: no valid block has such a line.
    fn is_certain(&self, at: usize) -> bool {
        if !self.is_line_start(at) || !self.is_name(at) {
            return false;
        }
        let next = self.word(at + 1);
        let then = self.word(at + 2);
        let form = match self.word(at) {
            "param" => self.is_name(at + 1) && (then == ":" || then == "="),
            "secret" => self.is_name(at + 1) && then == "=",
            "seed" | "ftp" => self.is(at + 1, TokenKind::Number),
            "import" => self.tokens.get(at + 1).is_some_and(Token::is_string),
            "fragment" => self.is_name(at + 1) && then == "(",
            "use" => {
                let name = hyphenated(self.tokens, self.text, at + 1);
                self.is_name(at + 1) && self.is_name(name) && self.word(name + 1) == "{"
            }
            "expect" => self.is_name(at + 1) && [".", "<", "<=", ">", ">=", "=="].contains(&then),
            _ => false,
        };
        if form || next.is_empty() {
            return form;
        }
        self.is_step(at)
    }

    /// `kind name {`, on one line.
    fn is_step(&self, at: usize) -> bool {
        if !self.is_name(at) {
            return false;
        }
        let kind = hyphenated(self.tokens, self.text, at);
        if !(self.is_name(kind) || self.tokens.get(kind).is_some_and(Token::is_string)) {
            return false;
        }
        let name = hyphenated(self.tokens, self.text, kind);
        self.word(name) == "{" && !self.is_line_start(kind) && !self.is_line_start(name)
    }

    /// What the piece that begins at `at`, outside of every bracket, looks like.
    fn shape(&self, at: usize) -> Shape {
        if self.is(at, TokenKind::Close) {
            return Shape::StrayClose;
        }
        if !self.is_name(at) {
            return Shape::Other;
        }
        let word = self.word(at);
        let next = self.word(at + 1);
        let kind = hyphenated(self.tokens, self.text, at);
        let names_step = kind > at + 1 || (self.is_name(at + 1) && self.word(at + 2) == "{");
        let about_steps = ABOUT_STEPS.iter().find(|(begin, _)| *begin == word);
        if !names_step || about_steps.is_some() {
            match word {
                "ftp" => return Shape::Edition,
                "param" => return Shape::Param,
                "secret" => return Shape::Secret,
                "seed" => return Shape::Seed,
                "expect" if kind == at + 1 && next != "=" => return Shape::Expect,
                _ => {}
            }
            if let Some((_, shape)) = about_steps
                && kind == at + 1
                && next != "="
            {
                return *shape;
            }
        }
        if (self.is_name(at + 1) && self.word(at + 2) == ":")
            || (next == ":" && self.is_name(at + 2))
        {
            return Shape::LikeParam;
        }
        let line = (at + 1..self.tokens.len()).take_while(|index| !self.is_line_start(*index));
        let line: Vec<&str> = line.take(24).map(|index| self.word(index)).collect();
        match line.iter().position(|word| *word == "{") {
            // `columns = {` is an argument that lost its step; `tuned = train {` is meant as a step.
            Some(1) if line[0] == "=" => return Shape::Other,
            Some(open) if line[..open].iter().all(|word| !["(", "[", ",", "}"].contains(word)) => {
                return Shape::Step;
            }
            _ => {}
        }
        let names = kind..self.tokens.len();
        let named = names.start < self.tokens.len()
            && !self.is_line_start(kind)
            && (self.is_name(kind) || self.tokens.get(kind).is_some_and(Token::is_string));
        if named {
            let after = hyphenated(self.tokens, self.text, kind);
            if self.word(after) == "{" {
                return Shape::Step;
            }
            if self.is_line_start(after) {
                return Shape::StepWithoutBlock;
            }
        }
        Shape::Other
    }

    /// May begin an item, at a place outside of every bracket.
    fn is_likely(&self, at: usize) -> bool {
        self.is_line_start(at) && !matches!(self.shape(at), Shape::Other | Shape::StrayClose)
    }

    fn end(&self, at: usize, shape: Shape) -> usize {
        match shape {
            Shape::Edition => self.end_of_line(at),
            Shape::Param
            | Shape::Secret
            | Shape::Seed
            | Shape::Expect
            | Shape::Import
            | Shape::LikeParam => self.end_of_values(at),
            Shape::Step | Shape::Use => {
                // What looks like an item but stands deeper is more likely a nested block that
                // lacks its `=`; unless this block is never closed.
                let indent = self.indent(at);
                let next = |index| self.is_certain(index) && self.indent(index) <= indent;
                match self.end_of_block(at, next) {
                    (end, true) => self.end_behind_stray(at, end),
                    _ => self.end_of_block(at, |index| self.is_certain(index)).0,
                }
            }
            Shape::Fragment => {
                let indent = self.indent(at);
                let next = |index| self.is_certain(index) && self.indent(index) <= indent;
                match self.end_of_block(at, next) {
                    (end, true) => end,
                    // Its block does not begin before the next item does.
                    (before, false) if !(at..before).any(|index| self.word(index) == "{") => before,
                    // Its steps may be written without indentation.
                    (before, false) => match self.end_of_block(at, |_| false) {
                        (end, true) => end,
                        _ => before,
                    },
                }
            }
            Shape::Later => {
                let indent = self.indent(at);
                let has_block = (at..self.end_of_line(at)).any(|index| self.word(index) == "{");
                if has_block {
                    let next = |index| self.is_certain(index) && self.indent(index) <= indent;
                    self.end_of_block(at, next).0
                } else {
                    self.end_of_values(at)
                }
            }
            Shape::StrayClose => {
                let mut end = at + 1;
                while self.is(end, TokenKind::Close) {
                    end += 1;
                }
                end
            }
            Shape::StepWithoutBlock | Shape::Other => self.end_of_rest(at, shape),
        }
    }

    fn end_of_line(&self, at: usize) -> usize {
        let mut end = at + 1;
        while end < self.tokens.len() && !self.is_line_start(end) {
            end += 1;
        }
        end
    }

    /// Behind the brace that closes the first block (true), or before the next item (false).
    fn end_of_block(&self, at: usize, is_next: impl Fn(usize) -> bool) -> (usize, bool) {
        let mut open = Brackets::default();
        for index in at + 1..self.tokens.len() {
            if is_next(index) {
                return (index, false);
            }
            if self.is(index, TokenKind::Open) {
                open.open(self.word(index));
            } else if self.is(index, TokenKind::Close) {
                // In the middle of a line and of other brackets it is not the end of the block:
                // its own opening sign is missing.
                let inside = self.word(index) == "}"
                    && open.closes_outermost()
                    && !self.is_line_start(index + 1)
                    && (self.is(index + 1, TokenKind::Close) || self.word(index + 1) == ",");
                if inside {
                    continue;
                }
                open.close(self.word(index));
                if open.is_empty() && self.word(index) == "}" {
                    return (index + 1, true);
                }
            }
        }
        (self.tokens.len(), false)
    }

    /// A block that seems to end at `end` goes on if arguments follow, deeper than its first line,
    /// and then a brace that closes nothing.
    fn end_behind_stray(&self, at: usize, end: usize) -> usize {
        let goes_on = self.is_line_start(end)
            && self.is_name(end)
            && self.word(end + 1) == "="
            && self.indent(end) > self.indent(at);
        if !goes_on {
            return end;
        }
        let mut open = Brackets::default();
        for index in end..self.tokens.len() {
            if self.is_certain(index) {
                return end;
            }
            if self.is(index, TokenKind::Open) {
                open.open(self.word(index));
            } else if self.is(index, TokenKind::Close) {
                if open.is_empty() {
                    return if self.word(index) == "}" { index + 1 } else { end };
                }
                open.close(self.word(index));
            }
        }
        end
    }

    /// Before the line that does not continue the values of a `param`.
    fn end_of_values(&self, at: usize) -> usize {
        let mut open = Brackets::default();
        for index in at + 1..self.tokens.len() {
            if self.is_certain(index) || (open.is_empty() && self.is_step(index)) {
                return index;
            }
            if open.is_empty() && self.is_line_start(index) {
                let continues = ["in", "and", "or"].contains(&self.word(index))
                    || self.is(index, TokenKind::Sign)
                    || ["in", "and", "or", "not"].contains(&self.word(index - 1))
                    || (self.is(index - 1, TokenKind::Sign) && self.word(index - 1) != "%");
                if !continues {
                    return index;
                }
            }
            if self.is(index, TokenKind::Open) {
                open.open(self.word(index));
            } else if self.is(index, TokenKind::Close) {
                open.close(self.word(index));
            }
        }
        self.tokens.len()
    }

    fn end_of_rest(&self, at: usize, shape: Shape) -> usize {
        let mut open = Brackets::default();
        for index in at + 1..self.tokens.len() {
            if self.is_certain(index) || (open.is_empty() && self.is_likely(index)) {
                return index;
            }
            if self.is(index, TokenKind::Open) {
                open.open(self.word(index));
            } else if self.is(index, TokenKind::Close) {
                if open.is_empty() && shape == Shape::StepWithoutBlock {
                    return index + 1;
                }
                open.close(self.word(index));
            }
        }
        self.tokens.len()
    }
}

/// The brackets that are open. Counts keep a closing sign that fits none from searching all of
/// them each time.
#[derive(Default)]
struct Brackets<'a> {
    open: Vec<&'a str>,
    counts: [usize; 3],
}

impl<'a> Brackets<'a> {
    fn count(&mut self, closing: &str) -> &mut usize {
        let [block, list, group] = &mut self.counts;
        match closing {
            "}" => block,
            "]" => list,
            _ => group,
        }
    }

    fn open(&mut self, opening: &'a str) {
        *self.count(counterpart(opening)) += 1;
        self.open.push(opening);
    }

    /// Closes everything up to the counterpart of `closing`; nothing if there is none.
    fn close(&mut self, closing: &str) {
        if *self.count(closing) == 0 {
            return;
        }
        while let Some(opening) = self.open.pop() {
            *self.count(counterpart(opening)) -= 1;
            if counterpart(opening) == closing {
                return;
            }
        }
    }

    /// A `}` would close the outermost bracket, with others open inside it.
    fn closes_outermost(&self) -> bool {
        self.counts[0] == 1 && self.open.len() > 1 && self.open.first() == Some(&"{")
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

pub fn counterpart(opening: &str) -> &'static str {
    match opening {
        "{" => "}",
        "[" => "]",
        _ => ")",
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::{lex, significant};
    use super::*;

    fn shapes(text: &str) -> Vec<(Shape, &str)> {
        let tokens = significant(&lex(text));
        split(text, &tokens)
            .into_iter()
            .map(|piece| {
                let part = &tokens[piece.tokens];
                (piece.shape, &text[part[0].start..part[part.len() - 1].end])
            })
            .collect()
    }

    #[test]
    fn items_are_told_apart() {
        use Shape::*;
        let text = "ftp 1\nparam a: int = 3\n  in 1 .. 5\nseed 7\nexpect b.report.n\n  < 5%\nload-data b {\n x = { y = 1 }\n}\n\
                    sweep s {\n vary = {}\n}\neval c { m = [1] }";
        assert_eq!(
            shapes(text),
            [
                (Edition, "ftp 1"),
                (Param, "param a: int = 3\n  in 1 .. 5"),
                (Seed, "seed 7"),
                (Expect, "expect b.report.n\n  < 5%"),
                (Step, "load-data b {\n x = { y = 1 }\n}"),
                (Later, "sweep s {\n vary = {}\n}"),
                (Step, "eval c { m = [1] }"),
            ]
        );
    }

    #[test]
    fn an_open_block_ends_where_the_next_item_begins() {
        let text = "train a {\n x = [1\n seed = 3\n\neval b {\n y = 1\n}\nsave c { to = \"x\" }";
        let parts: Vec<&str> = shapes(text).into_iter().map(|(_, part)| part).collect();
        assert_eq!(
            parts,
            ["train a {\n x = [1\n seed = 3", "eval b {\n y = 1\n}", "save c { to = \"x\" }"]
        );
    }

    #[test]
    fn a_fragment_keeps_the_steps_inside_it() {
        let text = "fragment f(m: model) {\n  train t { a = 1 }\n  eval e { b = 2 }\n}\nseed 3";
        assert_eq!(shapes(text).len(), 2);
        let flat = "fragment f(m: model) {\ntrain t { a = 1 }\neval e { b = 2 }\n}\nseed 3";
        assert_eq!(shapes(flat).len(), 2);
        let used = "use shared.f small { a = 1 }\nimport \"a.ftp\" as b\nuse f\n";
        let found: Vec<Shape> = shapes(used).into_iter().map(|(shape, _)| shape).collect();
        assert_eq!(found, [Shape::Use, Shape::Import, Shape::Use]);
    }

    #[test]
    fn what_is_no_item_ends_before_the_next_one() {
        use Shape::*;
        let text = "eval a { }\n}\nb = 2\nc = { d = 3 }\ntrain t\n  model = m\n}\nseed 1";
        let found: Vec<Shape> = shapes(text).into_iter().map(|(shape, _)| shape).collect();
        assert_eq!(found, [Step, StrayClose, Other, StepWithoutBlock, Seed]);
    }
}
