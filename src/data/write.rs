//! Writing tables for users, in the format that the extension names.

use super::column::ColumnData;
use super::error::{DataError, Fault, Result};
use super::table::{Table, polars_error};
use crate::base::suggest;
use polars_io::parquet::write::ParquetWriter;
use serde_json::{Map, Value};
use std::io::Write;
use std::path::Path;

type WriteFormat = fn(&Table, &mut Vec<u8>) -> Result<()>;

/// Extension → how a table is written. The bytes depend on the table alone.
const WRITERS: &[(&str, WriteFormat)] = &[
    ("csv", |table, to| delimited(table, to, b',')),
    ("tsv", |table, to| delimited(table, to, b'\t')),
    ("jsonl", json_lines),
    ("parquet", parquet),
    ("arrow", |table, to| table.to_ipc(to, false)),
];

/// The extensions that [`write`] knows.
pub fn written_formats() -> impl Iterator<Item = &'static str> + Clone {
    WRITERS.iter().map(|(extension, _)| *extension)
}

/// Writes a table; the extension of `path` names the format.
///
/// # Errors
/// An unknown extension, values that the format cannot hold, or the operating system's.
pub fn write(table: &Table, path: &Path) -> Result<()> {
    let bytes = to_bytes(table, path)?;
    let mut file = std::fs::File::create(path).map_err(|error| DataError::io(path, &error))?;
    file.write_all(&bytes).map_err(|error| DataError::io(path, &error))
}

/// The bytes that [`write`] would write to `path`.
pub fn to_bytes(table: &Table, path: &Path) -> Result<Vec<u8>> {
    let extension = path.extension().map(|found| found.to_string_lossy().to_lowercase());
    let writer = WRITERS.iter().find(|(name, _)| Some(*name) == extension.as_deref());
    let Some((_, writer)) = writer else {
        return Err(DataError::new(
            Fault::Format,
            format!("a table is written as one of {}", suggest::list(written_formats())),
        )
        .file(path)
        .nearest(suggest::nearest(extension.as_deref().unwrap_or(""), written_formats())));
    };
    let mut bytes = Vec::new();
    writer(table, &mut bytes).map_err(|error| error.file(path))?;
    Ok(bytes)
}

fn values(table: &Table) -> Result<Vec<(String, ColumnData)>> {
    table.columns().into_iter().map(|(name, _)| Ok((name.clone(), table.column(&name)?))).collect()
}

/// One cell as text; `None` where it is missing. Lists are written as JSON.
fn cell(data: &ColumnData, row: usize) -> Option<String> {
    match data {
        ColumnData::Text(values) => values.get(row)?.clone(),
        _ => match json(data, row) {
            Value::Null => None,
            value => Some(value.to_string()),
        },
    }
}

/// One cell as JSON; null where it is missing.
pub(super) fn json(data: &ColumnData, row: usize) -> Value {
    fn of<T: Clone + Into<Value>>(values: &[Option<T>], row: usize) -> Value {
        values.get(row).cloned().flatten().map_or(Value::Null, Into::into)
    }
    // A single-precision number is shown with as many digits as it has.
    fn single(number: f32) -> Value {
        number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
    }
    match data {
        ColumnData::Bool(values) => of(values, row),
        ColumnData::Int(values) => of(values, row),
        ColumnData::Float(values) => of(values, row),
        ColumnData::Float32(values) => {
            values.get(row).copied().flatten().map_or(Value::Null, single)
        }
        ColumnData::Text(values) => of(values, row),
        ColumnData::Ints(values) => of(values, row),
        ColumnData::Floats(values) => of(values, row),
        ColumnData::Floats32(values) => match values.get(row) {
            Some(Some(list)) => list.iter().copied().map(single).collect(),
            _ => Value::Null,
        },
        ColumnData::Texts(values) => of(values, row),
    }
}

fn json_lines(table: &Table, to: &mut Vec<u8>) -> Result<()> {
    let columns = values(table)?;
    for row in 0..table.rows() {
        let object: Map<String, Value> =
            columns.iter().map(|(name, data)| (name.clone(), json(data, row))).collect();
        to.extend(Value::Object(object).to_string().into_bytes());
        to.push(b'\n');
    }
    Ok(())
}

/// csv quotes where it must; tsv has no quotes, as it is read, and refuses what would need them.
fn delimited(table: &Table, to: &mut Vec<u8>, delimiter: u8) -> Result<()> {
    let columns = values(table)?;
    let quoted = delimiter == b',';
    let fault = |error: csv::Error| DataError::new(Fault::Operation, error.to_string());
    let style = if quoted { csv::QuoteStyle::Necessary } else { csv::QuoteStyle::Never };
    let mut writer =
        csv::WriterBuilder::new().delimiter(delimiter).quote_style(style).from_writer(to);
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    writer.write_record(&names).map_err(fault)?;
    for row in 0..table.rows() {
        let mut record = csv::ByteRecord::new();
        for (name, data) in &columns {
            let text = cell(data, row).unwrap_or_default();
            if !quoted && text.contains(['\t', '\n', '\r']) {
                return Err(DataError::new(
                    Fault::Row,
                    format!("row {row}: `{name}` holds a tab or a line break, which tsv cannot"),
                )
                .help("write csv, jsonl or parquet"));
            }
            record.push_field(text.as_bytes());
        }
        writer.write_byte_record(&record).map_err(fault)?;
    }
    writer.flush().map_err(|error| DataError::new(Fault::Unreadable, error.to_string()))
}

fn parquet(table: &Table, to: &mut Vec<u8>) -> Result<()> {
    let mut frame = table.frame.clone();
    frame.rechunk_mut();
    ParquetWriter::new(to).set_parallel(false).finish(&mut frame).map_err(polars_error)?;
    Ok(())
}
