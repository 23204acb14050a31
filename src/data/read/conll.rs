//! One word a line with its columns, an empty line between sentences: the layout of the CoNLL
//! shared tasks, and CoNLL-U, which fixes ten columns. A sentence is a row, a column of the file a
//! list; only the columns that are asked for are read.

use super::encoding::{read_head, read_text};
use super::raw::{Raw, RawColumn};
use super::{Count, Format, ReadOptions};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use std::path::Path;

pub const CONLL: Format = Format {
    name: "conll",
    extensions: &["conll", "annotated", "iob", "bio"],
    about: "one word a line with its tag behind a tab or blanks, an empty line between sentences",
    text: true,
    read: |path, name, options, limit| read(path, name, options, limit, Dialect::Plain),
    peek: |path, name, options, limit| peek(path, name, options, limit, Dialect::Plain),
};

pub const CONLLU: Format = Format {
    name: "conllu",
    extensions: &["conllu"],
    about: "CoNLL-U: ten columns, comments, words that are parts of others",
    text: true,
    read: |path, name, options, limit| read(path, name, options, limit, Dialect::Universal),
    peek: |path, name, options, limit| peek(path, name, options, limit, Dialect::Universal),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Plain,
    Universal,
}

/// The columns of CoNLL-U; the first one counts the words.
const UNIVERSAL: [&str; 10] =
    ["number", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"];

/// A line that stands between documents of the shared task of 2003.
const DOCUMENT: &str = "-DOCSTART-";

fn read(
    path: &Path,
    name: &str,
    options: &ReadOptions,
    limit: Option<usize>,
    dialect: Dialect,
) -> Result<Raw> {
    let text = read_text(path, name, options.encoding)?;
    parse(&text, name, options, limit.unwrap_or(usize::MAX), dialect, true).map(|(raw, _)| raw)
}

fn peek(
    path: &Path,
    name: &str,
    options: &ReadOptions,
    limit: usize,
    dialect: Dialect,
) -> Result<(Raw, Count)> {
    let mut bytes = 256 << 10;
    loop {
        let (text, whole) = read_head(path, name, options.encoding, bytes)?;
        let (raw, used) = parse(&text, name, options, limit, dialect, whole)?;
        let rows = raw.rows() as u64;
        if whole && raw.rows() < limit {
            return Ok((raw, Count::Exactly(rows)));
        }
        if raw.rows() > 0 || whole {
            let size = std::fs::metadata(path).map(|found| found.len()).unwrap_or_default();
            return Ok((raw, Count::About((size * rows / (used as u64).max(1)).max(rows))));
        }
        bytes *= 8;
    }
}

/// What stands between the columns of a line.
#[derive(Clone, Copy)]
enum Separator {
    Byte(u8),
    /// Any number of blanks.
    Blanks,
}

impl Separator {
    fn split<'a>(self, line: &'a str, fields: &mut Vec<&'a str>) {
        fields.clear();
        match self {
            Separator::Byte(byte) => fields.extend(line.split(char::from(byte))),
            Separator::Blanks => {
                fields.extend(line.split([' ', '\t']).filter(|field| !field.is_empty()));
            }
        }
    }
}

/// How the lines of a file are laid out.
struct Layout {
    separator: Separator,
    names: Vec<String>,
    /// Which columns play a role unless others are given for it.
    roles: Vec<(&'static str, usize)>,
}

impl Layout {
    /// Plain columns are counted in the first line with a word.
    fn of(text: &str, options: &ReadOptions, dialect: Dialect) -> Option<Layout> {
        if dialect == Dialect::Universal {
            return Some(Layout {
                separator: Separator::Byte(b'\t'),
                names: UNIVERSAL.map(str::to_string).to_vec(),
                roles: vec![("words", 1), ("tags", 3)],
            });
        }
        let words = || {
            let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
            lines.filter(|line| !is_empty(line) && !line.starts_with(DOCUMENT))
        };
        let first = words().find(|line| !line.starts_with('#')).or_else(|| words().next())?;
        let separator = match options.delimiter {
            Some(byte) => Separator::Byte(byte),
            None if first.contains('\t') => Separator::Byte(b'\t'),
            None => Separator::Blanks,
        };
        let mut fields = Vec::new();
        separator.split(first, &mut fields);
        let mut roles = vec![("words", 0)];
        if fields.len() > 1 {
            roles.push(("tags", fields.len() - 1));
        }
        let names = (0..fields.len()).map(|number| number.to_string()).collect();
        Some(Layout { separator, names, roles })
    }
}

fn is_empty(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Reads at most `limit` sentences, and says how many bytes they take. `whole`: whether the text is
/// the whole file, so that its end ends a sentence.
fn parse(
    text: &str,
    file: &str,
    options: &ReadOptions,
    limit: usize,
    dialect: Dialect,
    whole: bool,
) -> Result<(Raw, usize)> {
    let layout = Layout::of(text, options, dialect)
        .ok_or_else(|| DataError::new(Fault::Format, "the file holds no word").file(file))?;
    let width = layout.names.len();
    let asked: Vec<bool> =
        (0..width).map(|at| options.asks_for(at, &layout.names[at], &layout.roles)).collect();
    let mut sentences = Sentences::new(width);
    let mut fields = Vec::new();
    let mut used = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if sentences.lines.len() >= limit {
            break;
        }
        used += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        if is_empty(line) || line.starts_with(DOCUMENT) {
            sentences.end();
            continue;
        }
        layout.separator.split(line, &mut fields);
        let comment = match dialect {
            Dialect::Universal => line.starts_with('#'),
            // A word may be `#`: a comment stands before a sentence, and has not its columns or
            // names it.
            Dialect::Plain => {
                let blanks = matches!(layout.separator, Separator::Blanks);
                line.starts_with('#')
                    && sentences.begun.is_none()
                    && (fields.len() != width || (blanks && identifier(line).is_some()))
            }
        };
        if comment {
            sentences.id = identifier(line).or(sentences.id.take());
            continue;
        }
        let place = |error: DataError| error.file(file).line(number as u64 + 1);
        if fields.len() != width {
            return Err(place(wrong_width(fields.len(), width, &layout, dialect)));
        }
        if dialect == Dialect::Universal && !is_word(fields[0]).map_err(place)? {
            continue;
        }
        sentences.word(number as u32 + 1, &fields, &asked);
    }
    if whole && sentences.lines.len() < limit {
        sentences.end();
    }
    Ok((sentences.into_raw(layout, &asked), used))
}

/// Whether the first column of a CoNLL-U line counts a word; ranges (`3-4`) and empty nodes (`8.1`)
/// are beside the words.
fn is_word(number: &str) -> Result<bool> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(number) {
        return Ok(true);
    }
    match number.split_once(['-', '.']) {
        Some((one, two)) if digits(one) && digits(two) => Ok(false),
        _ => Err(DataError::new(
            Fault::Row,
            format!("the line begins with `{number}`, not with the number of a word"),
        )
        .help("`format = conll` reads columns that do not begin with a number")),
    }
}

/// The name that a comment gives to its sentence: `# sent_id = x`, `# id x`.
fn identifier(comment: &str) -> Option<String> {
    let blank = [' ', '\t', '='];
    let (key, rest) = comment.trim_start_matches(['#', ' ']).split_once(blank)?;
    let name = rest.trim_start_matches(blank).split([' ', '\t']).next()?;
    (matches!(key, "sent_id" | "id") && !name.is_empty()).then(|| name.to_string())
}

fn wrong_width(found: usize, wanted: usize, layout: &Layout, dialect: Dialect) -> DataError {
    let columns = |count: usize| format!("{count} column{}", if count == 1 { "" } else { "s" });
    let whose = match dialect {
        Dialect::Universal => "CoNLL-U has".to_string(),
        Dialect::Plain => "the first one has".to_string(),
    };
    let error =
        DataError::new(Fault::Row, format!("the line has {}, {whose} {wanted}", columns(found)));
    match (dialect, layout.separator) {
        (Dialect::Universal, _) => {
            error.help("columns stand between tabs; `format = conll` reads any number of them")
        }
        (Dialect::Plain, Separator::Byte(b'\t')) => error
            .help("columns stand between tabs here; `delimiter = \" \"` reads them between blanks"),
        (Dialect::Plain, _) => error.help("`delimiter = …` says what stands between the columns"),
    }
}

/// The sentences that were read, column by column, and the one that is being read.
struct Sentences {
    columns: Vec<Vec<Option<Vec<String>>>>,
    lines: Vec<u32>,
    ids: Vec<Option<String>>,
    current: Vec<Vec<String>>,
    /// The line of its first word.
    begun: Option<u32>,
    id: Option<String>,
}

impl Sentences {
    fn new(width: usize) -> Self {
        Self {
            columns: vec![Vec::new(); width],
            lines: Vec::new(),
            ids: Vec::new(),
            current: vec![Vec::new(); width],
            begun: None,
            id: None,
        }
    }

    fn word(&mut self, line: u32, fields: &[&str], asked: &[bool]) {
        self.begun.get_or_insert(line);
        for ((column, field), _) in
            self.current.iter_mut().zip(fields).zip(asked).filter(|(_, asked)| **asked)
        {
            column.push((*field).to_string());
        }
    }

    fn end(&mut self) {
        let Some(line) = self.begun.take() else { return };
        self.lines.push(line);
        self.ids.push(self.id.take());
        for (column, current) in self.columns.iter_mut().zip(&mut self.current) {
            column.push(Some(std::mem::take(current)));
        }
    }

    fn into_raw(self, layout: Layout, asked: &[bool]) -> Raw {
        let mut names = layout.names;
        let mut columns: Vec<RawColumn> = self
            .columns
            .into_iter()
            .zip(asked)
            .map(|(lists, asked)| match asked {
                true => RawColumn::Typed(ColumnData::Texts(lists)),
                false => RawColumn::Spare,
            })
            .collect();
        let named = self.ids.iter().all(Option::is_some) && !self.ids.is_empty();
        if named {
            names.push("id".to_string());
            columns.push(RawColumn::Typed(ColumnData::Text(self.ids)));
        }
        Raw { names, columns, lines: self.lines, roles: layout.roles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::read::ColumnRef;

    fn lists(raw: &Raw, name: &str) -> Vec<String> {
        let at = raw.names.iter().position(|found| found == name).unwrap();
        match &raw.columns[at] {
            RawColumn::Typed(ColumnData::Texts(lists)) => {
                lists.iter().flatten().map(|list| list.join(" ")).collect()
            }
            RawColumn::Typed(ColumnData::Text(texts)) => texts.iter().flatten().cloned().collect(),
            other => panic!("{other:?}"),
        }
    }

    fn plain(text: &str) -> Result<Raw> {
        let options = ReadOptions::default();
        parse(text, "f", &options, usize::MAX, Dialect::Plain, true).map(|(raw, _)| raw)
    }

    fn universal(text: &str, options: &ReadOptions) -> Result<Raw> {
        parse(text, "f", options, usize::MAX, Dialect::Universal, true).map(|(raw, _)| raw)
    }

    #[test]
    fn empty_lines_of_any_kind_end_sentences() {
        let raw = plain("a\tO\nb\tB-X\n\t\nc\tO\r\n \n\n#\tO\n#d\tO").unwrap();
        assert_eq!(lists(&raw, "0"), ["a b", "c", "# #d"]);
        assert_eq!(lists(&raw, "1"), ["O B-X", "O", "O O"]);
        assert_eq!(raw.lines, [1, 4, 7]);
        assert_eq!(raw.roles, [("words", 0), ("tags", 1)]);
    }

    #[test]
    fn documents_comments_and_columns_between_blanks() {
        let text = "-DOCSTART- -X- -X- O\n\n# id a1\tdomain=x\nEU NNP B-NP B-ORG\n. . O O\n\n# id b\nU.N. NNP I-NP I-ORG\n";
        let raw = plain(text).unwrap();
        assert_eq!(lists(&raw, "0"), ["EU .", "U.N."]);
        assert_eq!(lists(&raw, "3"), ["B-ORG O", "I-ORG"]);
        assert_eq!(lists(&raw, "id"), ["a1", "b"]);
        assert!(matches!(raw.columns[1], RawColumn::Spare));
        assert_eq!(raw.lines, [4, 8]);
    }

    #[test]
    fn words_alone_have_no_tags() {
        let raw = plain("a\nb\n\nc\n").unwrap();
        assert_eq!(raw.roles, [("words", 0)]);
        assert_eq!(lists(&raw, "0"), ["a b", "c"]);
    }

    #[test]
    fn universal_dependencies_have_words_beside_ranges_and_empty_nodes() {
        let row = |number: &str, form: &str, upos: &str| {
            format!("{number}\t{form}\t_\t{upos}\tX{upos}\t_\t_\t_\t_\t_\n")
        };
        let text = format!(
            "# sent_id = s-1\n# text = # don't\n{}{}{}{}{}\n# sent_id = s-2\n{}",
            row("1", "#", "SYM"),
            row("2-3", "don't", "_"),
            row("2", "do", "AUX"),
            row("3", "n't", "PART"),
            row("3.1", "go", "VERB"),
            row("1", "Yes", "INTJ"),
        );
        let raw = universal(&text, &ReadOptions::default()).unwrap();
        assert_eq!(lists(&raw, "form"), ["# do n't", "Yes"]);
        assert_eq!(lists(&raw, "upos"), ["SYM AUX PART", "INTJ"]);
        assert_eq!(lists(&raw, "id"), ["s-1", "s-2"]);
        assert!(matches!(raw.columns[4], RawColumn::Spare));
        let options = ReadOptions {
            columns: vec![("tags".into(), ColumnRef::Name("xpos".into()))],
            ..Default::default()
        };
        let raw = universal(&text, &options).unwrap();
        assert_eq!(lists(&raw, "xpos"), ["XSYM XAUX XPART", "XINTJ"]);
        assert!(matches!(raw.columns[3], RawColumn::Spare));
    }

    #[test]
    fn faults_name_the_line() {
        let line = |result: Result<Raw>| {
            let error = result.unwrap_err();
            (error.line, error.message)
        };
        let (at, message) = line(plain("a\tO\n\nb\tO\nc\n"));
        assert_eq!((at, message.as_str()), (Some(4), "the line has 1 column, the first one has 2"));
        assert_eq!(line(plain("a O\nb O O\n")).0, Some(2));
        assert!(plain("\n\n").is_err());
        let usual = ReadOptions::default();
        let (at, message) = line(universal("# x\n1\ta\tb\n", &usual));
        assert_eq!((at, message.as_str()), (Some(2), "the line has 3 columns, CoNLL-U has 10"));
        let words = "The\t_\t_\t_\t_\t_\t_\t_\t_\t_\n";
        assert_eq!(line(universal(words, &usual)).0, Some(1));
    }

    #[test]
    fn a_head_that_is_cut_gives_whole_sentences() {
        let options = ReadOptions::default();
        let read = |limit, whole| {
            let text = "a\tO\n\nb\tO\n\nc\tO\n";
            let (raw, used) = parse(text, "f", &options, limit, Dialect::Plain, whole).unwrap();
            (raw.rows(), used)
        };
        assert_eq!(read(9, true), (3, 14));
        assert_eq!(read(9, false), (2, 14));
        assert_eq!(read(1, true), (1, 5));
    }
}
