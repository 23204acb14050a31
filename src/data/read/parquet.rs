//! Parquet, through polars. Structs are carried along as JSON, as the objects of JSON lines are:
//! polars reads them with a feature alone that nothing else here needs.

use super::ipc::{guarded, is_read, typed_columns};
use super::narrow::{self, is_narrow};
use super::raw::RawColumn;
use super::{Count, Format};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use crate::data::write::json;
use polars::prelude::{ArrowDataType, ArrowField, PolarsError, PolarsResult, Series};
use polars_arrow::array::{Array, StructArray};
use polars_io::SerReader;
use polars_io::parquet::read::_internal::to_deserializer;
use polars_io::parquet::read::{FileMetadata, ParquetReader};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub const PARQUET: Format = Format {
    name: "parquet",
    extensions: &["parquet", "pq"],
    about: "Apache Parquet",
    text: false,
    read: |path, name, _, limit| Ok(read(path, name, limit)?.0),
    peek: |path, name, _, limit| {
        read(path, name, Some(limit)).map(|(raw, rows)| (raw, Count::Exactly(rows)))
    },
};

fn read(path: &Path, name: &str, limit: Option<usize>) -> Result<(super::Raw, u64)> {
    let fault = |error: std::io::Error| DataError {
        file: Some(name.into()),
        ..DataError::io(path, &error)
    };
    let file = File::open(path).map_err(fault)?;
    guarded("parquet", name, || {
        let mut reader = ParquetReader::new(file);
        let rows = reader.num_rows()?;
        let schema = reader.schema()?;
        let metadata = reader.get_metadata()?.clone();
        let fields: Vec<_> = schema.iter_values().cloned().collect();
        let wanted_rows = limit.unwrap_or(rows).min(rows);
        let mut raw = typed_columns(&fields, |wanted| {
            reader
                .with_columns(Some(wanted))
                .with_slice(Some((0, wanted_rows)))
                .set_rechunk(true)
                .finish()
        })?;
        for (column, field) in raw.columns.iter_mut().zip(&fields) {
            if let Some(data) = unusual(path, &metadata, field, wanted_rows)? {
                *column = RawColumn::Typed(data);
            }
        }
        raw.lines = (1..=wanted_rows as u32).collect();
        Ok((raw, rows as u64))
    })
    .and_then(|(raw, rows)| match raw.names.is_empty() {
        true => Err(DataError::new(Fault::Format, "the file has no columns").file(name)),
        false => Ok((raw, rows)),
    })
}

/// A column that polars does not read: narrow numbers, and structs as JSON. `None` for other columns,
/// and for structs whose fields are not read.
fn unusual(
    path: &Path,
    metadata: &FileMetadata,
    field: &ArrowField,
    rows: usize,
) -> PolarsResult<Option<ColumnData>> {
    match &field.dtype {
        dtype if is_narrow(dtype) => {
            Ok(narrow::widened(&arrays(path, metadata, field, rows)?, rows))
        }
        ArrowDataType::Struct(inner)
            if !inner.is_empty()
                && inner.iter().all(|field| is_read(&field.dtype) || is_narrow(&field.dtype)) =>
        {
            objects(&arrays(path, metadata, field, rows)?, inner, rows)
        }
        _ => Ok(None),
    }
}

/// The arrays of a column, a group of rows after the other, as many as hold so many rows.
fn arrays(
    path: &Path,
    metadata: &FileMetadata,
    field: &ArrowField,
    rows: usize,
) -> PolarsResult<Vec<Box<dyn Array>>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut all: Vec<Box<dyn Array>> = Vec::new();
    for group in metadata.row_groups.iter() {
        if all.iter().map(|array| array.len()).sum::<usize>() >= rows {
            break;
        }
        let mut columns = Vec::new();
        for column in group.columns_under_root_iter(&field.name).into_iter().flatten() {
            let range = column.byte_range();
            if range.start > range.end || range.end > size {
                return Err(PolarsError::ComputeError("a column lies outside the file".into()));
            }
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut bytes)?;
            columns.push((column, bytes.into()));
        }
        all.extend(to_deserializer(columns, field.clone(), None)?.0);
    }
    Ok(all)
}

/// The rows of structs as JSON.
fn objects(
    arrays: &[Box<dyn Array>],
    inner: &[ArrowField],
    rows: usize,
) -> PolarsResult<Option<ColumnData>> {
    let mut texts = Vec::with_capacity(rows);
    for array in arrays {
        let Some(array) = array.as_any().downcast_ref::<StructArray>() else { return Ok(None) };
        let mut fields = Vec::with_capacity(inner.len());
        for (field, values) in array.fields().iter().zip(array.values()) {
            let data = match is_narrow(&field.dtype) {
                true => narrow::widened(std::slice::from_ref(values), values.len()),
                false => {
                    let series = Series::try_from((field.name.clone(), values.clone()))?;
                    ColumnData::from_column(&series.into()).ok()
                }
            };
            let Some(data) = data else { return Ok(None) };
            fields.push((field.name.to_string(), data));
        }
        let object = |row: usize| -> Value {
            let entries = fields.iter().map(|(name, data)| (name.clone(), json(data, row)));
            Value::Object(entries.collect::<Map<String, Value>>())
        };
        texts.extend((0..array.len()).map(|row| {
            let there = array.validity().is_none_or(|bits| bits.get_bit(row));
            there.then(|| object(row).to_string())
        }));
    }
    texts.truncate(rows);
    Ok(Some(ColumnData::Text(texts)))
}
