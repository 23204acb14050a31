//! `ftrun fmt`: one way to lay out a program. Comments, spellings of numbers and strings, and the
//! choice between one line and several stay the author's; blanks, indentation and the alignment of
//! `=` do not. The text is laid out from its tokens; a program with faults is not touched.

mod parts;
mod writer;

use parts::{Cursor, items, with_trivia};
use writer::Writer;

use super::lex::{BYTE_ORDER_MARK, lex, significant};
use super::parse::parse;
use crate::base::{Diag, SourceId};

/// The program laid out anew: the same meaning, the same comments. Laying out the result again
/// changes nothing. The diagnostics of a program that cannot be read are returned instead.
pub fn format(text: &str) -> Result<String, Vec<Diag>> {
    let (_, diags) = parse(SourceId::default(), text);
    if !diags.is_empty() {
        return Err(diags);
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).replace("\r\n", "\n");
    let all = lex(&text);
    let tokens = significant(&all);
    let mut cursor = Cursor { text: &text, signs: with_trivia(&text, &all), at: 0 };
    let (items, tail) = items(&mut cursor, &tokens);
    let mut writer = Writer::default();
    writer.items(&items, 0);
    writer.comments(&tail, 0);
    Ok(writer.finish())
}
