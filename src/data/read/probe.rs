//! What a checker wants to know of files without reading them whole: columns, types, the labels of
//! the first rows, about how many rows.

use super::finish::{Gathered, SourceFile, finish};
use super::{Count, ReadOptions, format_of};
use crate::data::column::ColumnType;
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::Labels;
use indexmap::IndexMap;

/// How many rows of each file are looked at.
const ROWS: usize = 1000;

/// The labels of the first rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSample {
    pub labels: Labels,
    /// Whether all rows were seen, so that there are no other labels.
    pub complete: bool,
}

/// What the head of a table's files shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Names (roles where they are given) and the types of the first rows.
    pub columns: Vec<(String, ColumnType)>,
    pub labels: LabelSample,
    /// Over all files of the table.
    pub rows: Count,
}

/// Looks at the first 1 000 rows of every file.
///
/// # Errors
/// What reading would find wrong in these rows.
pub fn probe(
    sources: &[(String, Vec<SourceFile>)],
    options: &ReadOptions,
) -> Result<IndexMap<String, Header>> {
    let mut parts = Vec::new();
    let mut counts: Vec<Count> = Vec::new();
    let limit = options.limit.unwrap_or(usize::MAX).min(ROWS);
    for (name, files) in sources {
        let mut gathered = Gathered::default();
        let mut total = Count::Exactly(0);
        for file in files {
            let options = options.of_column(file.column.as_deref());
            let format = format_of(&file.path, &options)
                .map_err(|error| DataError { file: Some(file.name.clone()), ..error })?;
            let (raw, count) = (format.peek)(&file.path, &file.name, &options, limit)?;
            gathered.add(raw, file)?;
            total = match (total, count) {
                _ if file.column.is_some() => count,
                (Count::Exactly(one), Count::Exactly(two)) => Count::Exactly(one + two),
                (
                    Count::Exactly(one) | Count::About(one),
                    Count::Exactly(two) | Count::About(two),
                ) => Count::About(one + two),
            };
        }
        if let Some(limit) = options.limit {
            let limit = limit as u64;
            total = match total {
                Count::Exactly(rows) => Count::Exactly(rows.min(limit)),
                Count::About(rows) if rows > limit * 2 => Count::Exactly(limit),
                Count::About(rows) => Count::About(rows.min(limit)),
            };
        }
        counts.push(total);
        parts.push((name.clone(), gathered));
    }
    let complete =
        counts.iter().all(|count| matches!(count, Count::Exactly(rows) if *rows <= limit as u64));
    let (tables, _) = finish(parts, options)?;
    Ok(tables
        .into_iter()
        .zip(counts)
        .map(|((name, table), rows)| {
            let labels = LabelSample { labels: table.labels().clone(), complete };
            (name, Header { columns: table.columns(), labels, rows })
        })
        .collect())
}

/// Looks at the first 1 000 rows of one file.
pub fn header(file: &SourceFile, options: &ReadOptions) -> Result<Header> {
    let sources = [(String::new(), vec![file.clone()])];
    let mut headers = probe(&sources, options)?;
    headers
        .swap_remove("")
        .ok_or_else(|| DataError::new(Fault::NotFound, "there is no file to read"))
}
