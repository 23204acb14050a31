//! Arrow IPC files (also called Feather), through polars; and what parquet shares with it: which
//! column types are read.

use super::narrow::{self, is_narrow};
use super::raw::{Raw, RawColumn};
use super::{Count, Format};
use crate::data::column::{ColumnData, ColumnType};
use crate::data::error::{DataError, Fault, Result};
use polars::prelude::{
    ArrowDataType, ArrowField, Column, DataFrame, DataType, PolarsResult, Series,
};
use polars_arrow::array::Array;
use polars_arrow::io::ipc::read::{FileReader, read_file_metadata};
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
        let mut raw = typed_columns(&fields, |wanted| {
            reader.with_columns(Some(wanted)).with_n_rows(limit).finish()
        })?;
        for (at, (column, field)) in raw.columns.iter_mut().zip(&fields).enumerate() {
            if !is_narrow(&field.dtype) {
                continue;
            }
            let rows = limit.unwrap_or(usize::MAX);
            if let Some(data) = narrow::widened(&arrays(path, at, rows)?, rows) {
                if raw.lines.is_empty() {
                    raw.lines = (1..=data.len() as u32).collect();
                }
                *column = RawColumn::Typed(data);
            }
        }
        Ok(raw)
    })
}

/// The arrays of the column at this place, as many as hold so many rows.
fn arrays(path: &Path, at: usize, rows: usize) -> PolarsResult<Vec<Box<dyn Array>>> {
    let mut file = File::open(path)?;
    let metadata = read_file_metadata(&mut file)?;
    let mut arrays = Vec::new();
    let mut found = 0;
    for batch in FileReader::new(file, metadata, Some(vec![at]), Some(rows)) {
        let batch = batch?;
        found += batch.len();
        arrays.extend(batch.into_arrays());
        if found >= rows {
            break;
        }
    }
    Ok(arrays)
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
        .filter(|field| is_read(&field.dtype) || is_nothing(&field.dtype))
        .map(|field| field.name.to_string())
        .collect();
    let frame = if known.is_empty() { DataFrame::empty() } else { read(known)? };
    let mut raw = Raw { lines: (1..=frame.height() as u32).collect(), ..Raw::default() };
    for field in fields {
        raw.names.push(field.name.to_string());
        raw.columns.push(match frame.column(&field.name) {
            Ok(column) => match nothing(column).map_or_else(|| ColumnData::from_column(column), Ok)
            {
                Ok(data) => RawColumn::Typed(widened(data)),
                Err(_) => RawColumn::Unread(ColumnType::of(column.dtype()).to_string()),
            },
            Err(_) => RawColumn::Unread(format!("{:?}", field.dtype).to_lowercase()),
        });
    }
    Ok(raw)
}

/// Whether a column can hold no value, or lists without an element only: pandas writes such columns
/// where it finds nothing else in them.
fn is_nothing(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as Arrow;
    match dtype {
        Arrow::Null => true,
        Arrow::List(inner) | Arrow::LargeList(inner) => inner.dtype == Arrow::Null,
        _ => false,
    }
}

/// The values of such a column, as JSON's are: texts, or lists of texts. `None` for other columns,
/// and for lists with missing elements.
fn nothing(column: &Column) -> Option<ColumnData> {
    match column.dtype() {
        DataType::Null => Some(ColumnData::Text(vec![None; column.len()])),
        DataType::List(inner) if **inner == DataType::Null => {
            let lists = column.as_materialized_series().list().ok()?;
            let empty = |list: Option<Series>| match list {
                None => Some(None),
                Some(list) => list.is_empty().then(|| Some(Vec::new())),
            };
            let rows = (0..lists.len()).map(|row| empty(lists.get_as_series(row)));
            rows.collect::<Option<_>>().map(ColumnData::Texts)
        }
        _ => None,
    }
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

/// Whether polars reads values of a type; `narrow` reads some more.
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
