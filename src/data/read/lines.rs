//! Plain text: every line is a row with the one column `text`, or one that is asked for.

use super::encoding::{read_head, read_text};
use super::raw::{Raw, RawColumn};
use super::{Count, Format, ReadOptions};

pub const TEXT: Format = Format {
    name: "text",
    extensions: &["txt", "text"],
    about: "every line is a row with the one column `text`",
    text: true,
    read: |path, name, options, limit| {
        Ok(parse(&read_text(path, name, options.encoding)?, options, limit))
    },
    peek: |path, name, options, limit| {
        let (text, whole) = read_head(path, name, options.encoding, 256 << 10)?;
        let raw = parse(&text, options, Some(limit));
        let size = std::fs::metadata(path).map(|found| found.len()).unwrap_or_default();
        let lines = text.matches('\n').count().max(1) as u64;
        let count = match whole && raw.rows() < limit {
            true => Count::Exactly(raw.rows() as u64),
            false => Count::About(size * lines / (text.len() as u64).max(1)),
        };
        Ok((raw, count))
    },
};

fn parse(text: &str, options: &ReadOptions, limit: Option<usize>) -> Raw {
    let rows: Vec<Option<String>> = text
        .lines()
        .take(limit.unwrap_or(usize::MAX))
        .map(|line| (!line.is_empty()).then(|| line.to_string()))
        .collect();
    let lines = (1..=rows.len() as u32).collect();
    Raw {
        names: vec![options.line_column.clone().unwrap_or_else(|| "text".to_string())],
        columns: vec![RawColumn::Cells(rows)],
        lines,
        ..Raw::default()
    }
}
