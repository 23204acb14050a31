//! The signs of a text, with comments and line breaks. This is what cutting into items, messages
//! and the formatter work on; what a valid program is, the grammar says alone.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `batch`, `and`
    Word,
    /// Begins with a digit; may be misspelt (`3epochs`).
    Number,
    /// `"…"`. What is not closed ends with its line.
    Plain {
        closed: bool,
    },
    /// `r"…"`
    Raw {
        closed: bool,
    },
    /// `"""…"""`
    Triple {
        closed: bool,
    },
    Open,
    Close,
    /// `=`, `==`, `..`, `,` and the like.
    Sign,
    /// A character the language has no use for.
    Stray,
    Newline,
    /// `# …` without the line break.
    Comment,
    /// `## …` without the line break.
    Doc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
    /// Nothing but blanks stands before it on its line.
    pub line_start: bool,
}

impl Token {
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.range()).unwrap_or("")
    }

    /// Neither a comment nor a line break.
    pub fn is_significant(&self) -> bool {
        !matches!(self.kind, TokenKind::Newline | TokenKind::Comment | TokenKind::Doc)
    }

    pub fn is_string(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Plain { .. } | TokenKind::Raw { .. } | TokenKind::Triple { .. }
        )
    }

    pub fn is_unclosed_string(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Plain { closed: false }
                | TokenKind::Raw { closed: false }
                | TokenKind::Triple { closed: false }
        )
    }
}

pub const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Cuts `text` into tokens; never fails, and takes time in proportion to its length.
pub fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, line_start: true, no_triple_ends: false };
    if text.starts_with(BYTE_ORDER_MARK) {
        lexer.at = BYTE_ORDER_MARK.len_utf8();
    }
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

/// The tokens that a program consists of.
pub fn significant(tokens: &[Token]) -> Vec<Token> {
    tokens.iter().filter(|token| token.is_significant()).copied().collect()
}

pub fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(is_word_char)
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line_start: bool,
    /// A search for the end of a `"""` reached the end of the text: the next ones need no search.
    no_triple_ends: bool,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn next(&mut self) -> Option<Token> {
        let blanks = self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r']).len();
        self.at += blanks;
        let start = self.at;
        let (kind, length) = self.measure()?;
        let line_start = self.line_start;
        self.at += length;
        self.line_start = kind == TokenKind::Newline;
        Some(Token { kind, start, end: self.at, line_start })
    }

    fn measure(&mut self) -> Option<(TokenKind, usize)> {
        let rest = self.text.get(self.at..)?;
        let first = rest.chars().next()?;
        let two = rest.get(..2).unwrap_or("");
        Some(match first {
            '\n' => (TokenKind::Newline, 1),
            '#' => {
                let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
                let kind = if two == "##" && !line.starts_with("###") {
                    TokenKind::Doc
                } else {
                    TokenKind::Comment
                };
                (kind, line.len())
            }
            '"' if rest.starts_with("\"\"\"") => self.triple(rest),
            '"' => {
                let (length, closed) = quoted(rest, 1, true);
                (TokenKind::Plain { closed }, length)
            }
            'r' if two == "r\"" => {
                let (length, closed) = quoted(rest, 2, false);
                (TokenKind::Raw { closed }, length)
            }
            '{' | '[' | '(' => (TokenKind::Open, 1),
            '}' | ']' | ')' => (TokenKind::Close, 1),
            _ if first.is_ascii_digit() => (TokenKind::Number, number(rest)),
            // Names of columns may have letters of any language; elsewhere the grammar refuses them.
            _ if first.is_alphabetic() || first == '_' => {
                let other = |c: char| !(c.is_alphabetic() || is_word_char(c));
                (TokenKind::Word, rest.find(other).unwrap_or(rest.len()))
            }
            _ if ["==", "!=", "<=", ">=", ".."].contains(&two) => (TokenKind::Sign, 2),
            '=' | '<' | '>' | '+' | '-' | '*' | '/' | ',' | ':' | '.' | '%' => (TokenKind::Sign, 1),
            _ => (TokenKind::Stray, first.len_utf8()),
        })
    }

    /// A `"""` that is never closed ends with its line, so that what follows is still read.
    fn triple(&mut self, rest: &str) -> (TokenKind, usize) {
        let mut at = 3;
        while !self.no_triple_ends {
            let Some(found) = rest.get(at..).and_then(|tail| tail.find(['\\', '"'])) else {
                self.no_triple_ends = true;
                break;
            };
            at += found;
            let tail = rest.get(at..).unwrap_or("");
            if tail.starts_with("\"\"\"") {
                return (TokenKind::Triple { closed: true }, at + 3);
            }
            // An escape covers the character behind it.
            let covered = if tail.starts_with('\\') { 2 } else { 1 };
            at += tail.chars().take(covered).map(char::len_utf8).sum::<usize>();
        }
        let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r').len();
        (TokenKind::Triple { closed: false }, line)
    }
}

/// Length of the string that begins `rest` with `prefix` bytes before its content, and whether it
/// is closed on its line.
fn quoted(rest: &str, prefix: usize, escapes: bool) -> (usize, bool) {
    let mut chars = rest.char_indices().skip(prefix);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (at + 1, true),
            '\n' => return (rest.get(..at).unwrap_or("").trim_end_matches('\r').len(), false),
            '\\' if escapes => {
                if let Some((at, '\n')) = chars.next() {
                    let line = rest.get(..at).unwrap_or("").trim_end_matches('\r').len();
                    return (line, false);
                }
            }
            _ => {}
        }
    }
    (rest.len(), false)
}

/// Length of what begins like a number: letters and digits in a row, with a fraction and the sign
/// of an exponent. Longer than what the grammar takes, so that `3epochs` is one token.
fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(b' ');
    let mut end = 0;
    loop {
        let c = at(end);
        let continues = c.is_ascii_alphanumeric()
            || c == b'_'
            || (c == b'.' && at(end + 1).is_ascii_digit())
            || ((c == b'+' || c == b'-')
                && end > 0
                && at(end - 1).eq_ignore_ascii_case(&b'e')
                && at(end.saturating_sub(2)).is_ascii_digit()
                && at(end + 1).is_ascii_digit());
        if !continues {
            return end;
        }
        end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(&str, TokenKind)> {
        lex(text).iter().map(|token| (token.text(text), token.kind)).collect()
    }

    #[test]
    fn numbers_are_one_token_and_ranges_are_three() {
        let words = |text| kinds(text).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
        assert_eq!(words("1e-7 .. 1e-2"), ["1e-7", "..", "1e-2"]);
        assert_eq!(words("1..2"), ["1", "..", "2"]);
        assert_eq!(words("3epochs 6% 1.5"), ["3epochs", "6", "%", "1.5"]);
    }

    #[test]
    fn strings_end_where_the_grammar_ends_them() {
        use TokenKind::*;
        assert_eq!(kinds(r#""a\"b""#), [(r#""a\"b""#, Plain { closed: true })]);
        assert_eq!(kinds(".größe"), [(".", Sign), ("größe", Word)]);
        assert_eq!(kinds(r#"r"a\""#), [(r#"r"a\""#, Raw { closed: true })]);
        assert_eq!(
            kinds("\"\"\"a\n\"b\"\n\"\"\""),
            [("\"\"\"a\n\"b\"\n\"\"\"", Triple { closed: true })]
        );
        assert_eq!(
            kinds("\"a\r\nb"),
            [("\"a", Plain { closed: false }), ("\n", Newline), ("b", Word)]
        );
        assert_eq!(
            kinds("\"\"\"a\nb"),
            [("\"\"\"a", Triple { closed: false }), ("\n", Newline), ("b", Word)]
        );
    }

    #[test]
    fn line_starts_and_comments_are_seen() {
        let tokens = lex("\u{FEFF}  a # b\r\n## c\n");
        assert!(tokens[0].line_start && tokens[0].start == 5);
        assert_eq!(tokens[1].kind, TokenKind::Comment);
        assert_eq!(tokens[3].kind, TokenKind::Doc);
        assert!(tokens[3].line_start);
    }
}
