//! Delimited text: csv and tsv. A reader of our own, because it must name the line of every fault
//! (also of a quote that is never closed) and read tab-separated files in which quotes are ordinary.

use super::encoding::{read_head, read_text};
use super::raw::{Raw, RawColumn};
use super::{ColumnRef, Count, Format, Quote, ReadOptions};
use crate::data::error::{DataError, Fault, Result};
use std::path::Path;

pub const CSV: Format = Format {
    name: "csv",
    extensions: &["csv"],
    about: "fields between commas, quoted with `\"` where needed",
    text: true,
    read: |path, name, options, limit| read(path, name, options, limit, COMMA),
    peek: |path, name, options, limit| peek(path, name, options, limit, COMMA),
};

pub const TSV: Format = Format {
    name: "tsv",
    extensions: &["tsv", "tab"],
    about: "fields between tabs, without quotes",
    text: true,
    read: |path, name, options, limit| read(path, name, options, limit, TAB),
    peek: |path, name, options, limit| peek(path, name, options, limit, TAB),
};

const COMMA: (u8, Quote) = (b',', Quote::Char(b'"'));
const TAB: (u8, Quote) = (b'\t', Quote::None);

fn read(
    path: &Path,
    name: &str,
    options: &ReadOptions,
    limit: Option<usize>,
    dialect: (u8, Quote),
) -> Result<Raw> {
    let text = read_text(path, name, options.encoding)?;
    parse(&text, name, options, limit, dialect, true)
}

/// Reads as much of the head as holds the first rows. A megabyte is enough for any sane header.
fn peek(
    path: &Path,
    name: &str,
    options: &ReadOptions,
    limit: usize,
    dialect: (u8, Quote),
) -> Result<(Raw, Count)> {
    let mut bytes = 128 << 10;
    loop {
        let (text, whole) = read_head(path, name, options.encoding, bytes)?;
        let raw = parse(&text, name, options, Some(limit), dialect, whole)?;
        if raw.rows() == 0 && !whole && bytes < 8 << 20 {
            bytes *= 8;
            continue;
        }
        if whole && raw.rows() < limit {
            let rows = raw.rows() as u64;
            return Ok((raw, Count::Exactly(rows)));
        }
        let lines = text.bytes().filter(|byte| *byte == b'\n').count().max(1) as u64;
        let size = std::fs::metadata(path).map(|found| found.len()).unwrap_or_default();
        // Text packs to about a third.
        let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let size = if packed { size * 3 } else { size };
        let rows = (size * lines / (text.len() as u64).max(1)).max(raw.rows() as u64);
        return Ok((raw, Count::About(rows)));
    }
}

/// `whole`: whether the text is the whole file, so that an open quote at its end is a fault.
fn parse(
    text: &str,
    name: &str,
    options: &ReadOptions,
    limit: Option<usize>,
    dialect: (u8, Quote),
    whole: bool,
) -> Result<Raw> {
    let delimiter = options.delimiter.unwrap_or(dialect.0);
    let quote = options.quote.unwrap_or(dialect.1);
    let mut reader = Reader { text, at: 0, line: 1, delimiter, quote };
    let mut fields: Vec<Option<String>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    if options.has_header() {
        if reader.row(&mut fields).map_err(|line| open_quote(name, line))?.is_none() {
            return Err(DataError::new(Fault::Format, "the file is empty, without even a header")
                .file(name));
        }
        names = fields.drain(..).map(Option::unwrap_or_default).collect();
        check_names(&names, name)?;
    }
    let mut columns: Vec<Vec<Option<String>>> = names.iter().map(|_| Vec::new()).collect();
    let mut lines = Vec::new();
    while limit.is_none_or(|limit| lines.len() < limit) {
        let line = match reader.row(&mut fields) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(_) if !whole => break,
            Err(line) => return Err(open_quote(name, line)),
        };
        if columns.is_empty() {
            names = (0..fields.len()).map(|number| number.to_string()).collect();
            columns = names.iter().map(|_| Vec::new()).collect();
        }
        if fields.len() != columns.len() {
            return Err(wrong_width(&fields, &columns, options, name, line, delimiter, quote));
        }
        for (column, field) in columns.iter_mut().zip(fields.drain(..)) {
            column.push(field);
        }
        lines.push(line);
    }
    if names.is_empty() {
        // An empty file without a header has the columns that were asked for, and no rows.
        let given = options.columns.iter().flat_map(|(_, column)| column.each());
        let numbers = given.filter_map(|column| match column {
            ColumnRef::Number(number) => Some(*number + 1),
            _ => None,
        });
        names = (0..numbers.max().unwrap_or(0)).map(|number| number.to_string()).collect();
        columns = names.iter().map(|_| Vec::new()).collect();
    }
    Ok(Raw {
        names,
        columns: columns.into_iter().map(RawColumn::Cells).collect(),
        lines,
        ..Raw::default()
    })
}

fn check_names(names: &[String], file: &str) -> Result<()> {
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|earlier| earlier == name) {
            return Err(DataError::new(Fault::Format, format!("the header names `{name}` twice"))
                .file(file)
                .line(1)
                .help(
                    "if the file has no header, say `header = false` and give columns by number",
                ));
        }
    }
    Ok(())
}

fn open_quote(file: &str, line: u32) -> DataError {
    DataError::new(Fault::Row, "a quote is opened and never closed")
        .file(file)
        .line(u64::from(line))
        .help("if quotes are ordinary characters in this file, say `quote = none`")
}

fn wrong_width(
    fields: &[Option<String>],
    columns: &[Vec<Option<String>>],
    options: &ReadOptions,
    file: &str,
    line: u32,
    delimiter: u8,
    quote: Quote,
) -> DataError {
    let (found, wanted) = (fields.len(), columns.len());
    let whose = if options.has_header() { "the header" } else { "the first row" };
    let error = DataError::new(
        Fault::Row,
        format!(
            "the row has {found} field{}, {whose} has {wanted}",
            if found == 1 { "" } else { "s" }
        ),
    )
    .file(file)
    .line(u64::from(line));
    if columns.len() == 1 && delimiter == b',' {
        error.help("if another character stands between the fields, say `delimiter = …`")
    } else if quote == Quote::None && fields.iter().flatten().any(|field| field.starts_with('"')) {
        error.help("if fields are quoted in this file, say `quote = \"\\\"\"`")
    } else if found > wanted && quote != Quote::None {
        error.help("a field that contains the delimiter must be quoted")
    } else {
        error
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    delimiter: u8,
    quote: Quote,
}

impl Reader<'_> {
    /// Reads one row and gives its first line; `None` at the end, the line of the opening quote as
    /// the error if a quote stays open. Empty lines are no rows. The order of what counts is
    /// RFC 4180's, lenient as Python's reader: a quote inside an unquoted field is a character, and
    /// what follows a closing quote belongs to the field.
    fn row(&mut self, fields: &mut Vec<Option<String>>) -> Result<Option<u32>, u32> {
        fields.clear();
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return Ok(None);
            }
            let empty = if rest.starts_with('\n') {
                1
            } else if rest.starts_with("\r\n") {
                2
            } else {
                break;
            };
            self.at += empty;
            self.line += 1;
        }
        let first = self.line;
        match self.quote {
            Quote::None => self.plain_row(fields),
            Quote::Char(quote) => self.quoted_row(quote, fields)?,
        }
        Ok(Some(first))
    }

    fn plain_row(&mut self, fields: &mut Vec<Option<String>>) {
        let rest = &self.text[self.at..];
        let end = rest.find('\n');
        let row = &rest[..end.unwrap_or(rest.len())];
        self.at += end.map_or(rest.len(), |end| end + 1);
        self.line += 1;
        let row = row.strip_suffix('\r').unwrap_or(row);
        fields.extend(
            row.split(char::from(self.delimiter))
                .map(|field| (!field.is_empty()).then(|| field.to_string())),
        );
    }

    fn quoted_row(&mut self, quote: u8, fields: &mut Vec<Option<String>>) -> Result<(), u32> {
        let bytes = self.text.as_bytes();
        loop {
            let mut field = String::new();
            let mut quoted = false;
            if bytes.get(self.at) == Some(&quote) {
                quoted = true;
                let opened = self.line;
                self.at += 1;
                loop {
                    let rest = &self.text[self.at..];
                    let Some(close) = rest.bytes().position(|byte| byte == quote) else {
                        return Err(opened);
                    };
                    field.push_str(&rest[..close]);
                    self.line += rest[..close].matches('\n').count() as u32;
                    self.at += close + 1;
                    if bytes.get(self.at) != Some(&quote) {
                        break;
                    }
                    field.push(char::from(quote));
                    self.at += 1;
                }
            }
            let rest = &self.text[self.at..];
            let end = rest.bytes().position(|byte| byte == self.delimiter || byte == b'\n');
            let tail = &rest[..end.unwrap_or(rest.len())];
            let last = end.is_none_or(|end| rest.as_bytes()[end] == b'\n');
            self.at += end.map_or(rest.len(), |end| end + 1);
            let tail = if last { tail.strip_suffix('\r').unwrap_or(tail) } else { tail };
            field.push_str(tail);
            fields.push((quoted || !field.is_empty()).then_some(field));
            if last {
                self.line += 1;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Vec<Vec<Option<String>>>> {
        cells(parse(
            text,
            "f.csv",
            &ReadOptions { header: Some(false), ..Default::default() },
            None,
            COMMA,
            true,
        )?)
    }

    fn cells(raw: Raw) -> Result<Vec<Vec<Option<String>>>> {
        Ok((0..raw.rows())
            .map(|row| {
                raw.columns
                    .iter()
                    .map(|column| match column {
                        RawColumn::Cells(cells) => cells[row].clone(),
                        _ => panic!("cells"),
                    })
                    .collect()
            })
            .collect())
    }

    fn row(fields: &[&str]) -> Vec<Option<String>> {
        fields.iter().map(|field| (*field != "-").then(|| field.to_string())).collect()
    }

    #[test]
    fn quotes_newlines_and_missing_fields() {
        let rows = csv("a,\"b \"\"c\"\", d\"\r\n\"two\nlines\",\"\"\nx\"y,\n").unwrap();
        assert_eq!(
            rows,
            [row(&["a", "b \"c\", d"]), row(&["two\nlines", ""]), row(&["x\"y", "-"])]
        );
    }

    #[test]
    fn the_last_line_needs_no_end_and_empty_lines_are_no_rows() {
        assert_eq!(csv("a,b\n\nc,d").unwrap(), [row(&["a", "b"]), row(&["c", "d"])]);
        assert_eq!(csv("a,").unwrap(), [row(&["a", "-"])]);
    }

    #[test]
    fn faults_name_the_line() {
        let error = csv("a,b\n\"x\ny\",z\nc\n").unwrap_err();
        assert_eq!((error.fault, error.line), (Fault::Row, Some(4)));
        let error = csv("a,b\nc,\"d\ne\n").unwrap_err();
        assert_eq!((error.fault, error.line), (Fault::Row, Some(2)));
        assert!(error.help.unwrap().contains("quote = none"));
    }

    #[test]
    fn tabs_know_no_quotes() {
        let text = "a\tb\n\"open\t1\nx\ty\r\n";
        let raw = parse(text, "f.tsv", &ReadOptions::default(), None, TAB, true).unwrap();
        assert_eq!(raw.names, ["a", "b"]);
        assert_eq!(raw.lines, [2, 3]);
        assert_eq!(cells(raw).unwrap(), [row(&["\"open", "1"]), row(&["x", "y"])]);
    }

    #[test]
    fn a_header_may_not_name_a_column_twice() {
        let error = parse("a,a\n", "f", &ReadOptions::default(), None, COMMA, true).unwrap_err();
        assert!(error.message.contains("twice"));
        assert!(parse("", "f", &ReadOptions::default(), None, COMMA, true).is_err());
    }
}
