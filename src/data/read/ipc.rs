//! Arrow IPC files (also called Feather), through polars; and what parquet shares with it: which
//! column types are read.

use super::raw::{Raw, RawColumn};
use super::{Count, Format};
use crate::data::column::{ColumnData, ColumnType};
use crate::data::error::{DataError, Fault, Result};
use polars::prelude::{ArrowDataType, ArrowField, DataFrame, PolarsResult};
use polars_io::SerReader;
use polars_io::ipc::IpcReader;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub const ARROW: Format = Format {
    name: "arrow",
    extensions: &["arrow", "ipc", "feather"],
    about: "Apache Arrow IPC files",
    text: false,
    read: |path, name, _, limit| read(path, name, limit),
    // The file does not say how many rows it has before its batches are read.
    peek: |path, name, _, limit| {
        let raw = read(path, name, Some(limit))?;
        let rows = raw.rows() as u64;
        Ok((raw, if rows < limit as u64 { Count::Exactly(rows) } else { Count::About(rows) }))
    },
};

fn read(path: &Path, name: &str, limit: Option<usize>) -> Result<Raw> {
    let fault = |error: std::io::Error| DataError {
        file: Some(name.into()),
        ..DataError::io(path, &error)
    };
    let file = File::open(path).map_err(fault)?;
    guarded("arrow", name, || {
        let mut reader = IpcReader::new(file);
        let schema = reader.schema()?;
        let fields: Vec<_> = schema.iter_values().cloned().collect();
        typed_columns(&fields, |wanted| {
            reader.with_columns(Some(wanted)).with_n_rows(limit).finish()
        })
    })
}

/// Runs a reader of polars. What it refuses, and what makes it panic, is a damaged file.
pub(in crate::data) fn guarded<T>(
    format: &str,
    name: &str,
    read: impl FnOnce() -> PolarsResult<T>,
) -> Result<T> {
    let damaged = |what: String| {
        DataError::new(Fault::Format, format!("the file cannot be read as {format}: {what}"))
            .file(name)
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| damaged(error.to_string().to_lowercase())),
        Err(_) => Err(damaged("it is damaged".to_string())),
    }
}

/// Reads the columns whose types are understood and lists the others as unread. `read` gets the
/// names of the former.
pub(super) fn typed_columns(
    fields: &[ArrowField],
    read: impl FnOnce(Vec<String>) -> PolarsResult<DataFrame>,
) -> PolarsResult<Raw> {
    let known: Vec<String> = fields
        .iter()
        .filter(|field| is_read(&field.dtype))
        .map(|field| field.name.to_string())
        .collect();
    let frame = if known.is_empty() { DataFrame::empty() } else { read(known)? };
    let mut raw = Raw { lines: (1..=frame.height() as u32).collect(), ..Raw::default() };
    for field in fields {
        raw.names.push(field.name.to_string());
        raw.columns.push(match frame.column(&field.name) {
            Ok(column) => match ColumnData::from_column(column) {
                Ok(data) => RawColumn::Typed(widened(data)),
                Err(_) => RawColumn::Unread(ColumnType::of(column.dtype()).to_string()),
            },
            Err(_) => RawColumn::Unread(format!("{:?}", field.dtype).to_lowercase()),
        });
    }
    Ok(raw)
}

/// Users' numbers are read in double precision whatever the file's width.
fn widened(data: ColumnData) -> ColumnData {
    match data {
        ColumnData::Float32(values) => {
            ColumnData::Float(values.into_iter().map(|value| value.map(f64::from)).collect())
        }
        ColumnData::Floats32(values) => ColumnData::Floats(
            values
                .into_iter()
                .map(|list| list.map(|list| list.into_iter().map(f64::from).collect()))
                .collect(),
        ),
        other => other,
    }
}

/// Whether values of a type are read.
pub(super) fn is_read(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as Arrow;
    match dtype {
        Arrow::Boolean
        | Arrow::Int32
        | Arrow::Int64
        | Arrow::UInt32
        | Arrow::UInt64
        | Arrow::Float32
        | Arrow::Float64
        | Arrow::Utf8
        | Arrow::LargeUtf8
        | Arrow::Utf8View => true,
        Arrow::List(inner) | Arrow::LargeList(inner) => {
            is_read(&inner.dtype) && !matches!(inner.dtype, Arrow::List(_) | Arrow::LargeList(_))
        }
        _ => false,
    }
}
