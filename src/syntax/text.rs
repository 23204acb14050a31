//! What the source of a string stands for: escapes resolved, shared indentation removed.

use std::ops::Range;

/// The text without escapes, and the places of escapes that do not exist. `quotes`: a `"` may stand
/// in it. Line breaks of Windows become `\n`.
pub fn unescape(text: &str, quotes: bool) -> (String, Vec<Range<usize>>) {
    let mut content = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\r' if quotes && chars.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\\' => {
                let Some((_, escaped)) = chars.next() else { break };
                match escaped {
                    'n' => content.push('\n'),
                    't' => content.push('\t'),
                    'r' => content.push('\r'),
                    '\\' | '"' => content.push(escaped),
                    _ => {
                        let tail = text.get(at..).unwrap_or("");
                        match codepoint(tail) {
                            Some((decoded, length)) => {
                                content.push(decoded);
                                while chars.next_if(|(next, _)| *next < at + length).is_some() {}
                            }
                            None => {
                                faults.push(at..at + 1 + escaped.len_utf8());
                                content.push('\\');
                                content.push(escaped);
                            }
                        }
                    }
                }
            }
            _ => content.push(c),
        }
    }
    (content, faults)
}

/// `\u{1F600}` at the beginning of `text`, and its length.
fn codepoint(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix("\\u{")?;
    let end = digits.bytes().take(9).position(|byte| byte == b'}')?;
    let code = u32::from_str_radix(digits.get(..end)?, 16).ok()?;
    Some((char::from_u32(code)?, 3 + end + 1))
}

/// The lines of a `"""…"""` without the indentation they share. A line break directly behind the
/// opening marks and the last one before the closing marks do not belong to the text.
pub fn dedent(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let lines: Vec<&str> = rest.split('\n').collect();
    let is_blank = |line: &str| line.trim_matches([' ', '\t']).is_empty();
    let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let closing = lines.len() - 1;
    let shared = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| *index == closing || !is_blank(line))
        .map(|(_, line)| blanks(line))
        .min()
        .unwrap_or(0);
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len() + 1);
    if !is_blank(first) {
        kept.push(first);
    }
    for (index, line) in lines.iter().enumerate() {
        if index < closing || !is_blank(line) {
            kept.push(if is_blank(line) { "" } else { line.get(shared..).unwrap_or("") });
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_indentation_goes_and_the_outer_line_breaks_with_it() {
        assert_eq!(dedent("\n    a\n      b\n\n    c\n    "), "a\n  b\n\nc");
        assert_eq!(dedent("\n    a\n  "), "  a");
        assert_eq!(dedent("a\n  b"), "a\nb");
        assert_eq!(dedent("a"), "a");
        assert_eq!(dedent("\r\n  a\r\n  "), "a");
    }

    #[test]
    fn escapes_are_resolved_and_unknown_ones_kept_and_placed() {
        let faults = |place: Range<usize>| Vec::from([place]);
        assert_eq!(unescape(r#"a\n\"\u{e9}\\"#, false), ("a\n\"é\\".to_string(), vec![]));
        assert_eq!(unescape(r"C:\data", false), (r"C:\data".to_string(), faults(2..4)));
        assert_eq!(unescape(r"\u{110000}", false).1, faults(0..2));
    }
}
