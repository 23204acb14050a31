//! Types of columns, and columns as plain Rust values: how the rest of the program hands columns
//! to a table and takes them out again without naming polars.

use super::error::{DataError, Fault, Result};
use polars::prelude::*;
use std::fmt;

/// What a column holds. Every value may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Bool,
    Int,
    Float,
    Text,
    List(Box<ColumnType>),
    /// A type that is carried along and that no operation understands, by its polars name.
    Other(String),
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Bool => f.write_str("bool"),
            ColumnType::Int => f.write_str("int"),
            ColumnType::Float => f.write_str("float"),
            ColumnType::Text => f.write_str("text"),
            ColumnType::List(inner) => write!(f, "list of {inner}"),
            ColumnType::Other(name) => f.write_str(name),
        }
    }
}

impl ColumnType {
    pub fn is_number(&self) -> bool {
        matches!(self, ColumnType::Int | ColumnType::Float)
    }

    pub(super) fn of(dtype: &DataType) -> ColumnType {
        match dtype {
            DataType::Boolean => ColumnType::Bool,
            DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {
                ColumnType::Int
            }
            DataType::Float32 | DataType::Float64 => ColumnType::Float,
            DataType::String => ColumnType::Text,
            DataType::List(inner) => ColumnType::List(Box::new(ColumnType::of(inner))),
            other => ColumnType::Other(other.to_string()),
        }
    }
}

/// One column's values. `None` is a missing value.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnData {
    Bool(Vec<Option<bool>>),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Stored in single precision: losses, probabilities.
    Float32(Vec<Option<f32>>),
    Text(Vec<Option<String>>),
    Ints(Vec<Option<Vec<i64>>>),
    Floats(Vec<Option<Vec<f64>>>),
    /// Stored in single precision: logits of a row.
    Floats32(Vec<Option<Vec<f32>>>),
    Texts(Vec<Option<Vec<String>>>),
}

impl ColumnData {
    pub fn len(&self) -> usize {
        match self {
            ColumnData::Bool(values) => values.len(),
            ColumnData::Int(values) => values.len(),
            ColumnData::Float(values) => values.len(),
            ColumnData::Float32(values) => values.len(),
            ColumnData::Text(values) => values.len(),
            ColumnData::Ints(values) => values.len(),
            ColumnData::Floats(values) => values.len(),
            ColumnData::Floats32(values) => values.len(),
            ColumnData::Texts(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn column_type(&self) -> ColumnType {
        let list = |inner| ColumnType::List(Box::new(inner));
        match self {
            ColumnData::Bool(_) => ColumnType::Bool,
            ColumnData::Int(_) => ColumnType::Int,
            ColumnData::Float(_) | ColumnData::Float32(_) => ColumnType::Float,
            ColumnData::Text(_) => ColumnType::Text,
            ColumnData::Ints(_) => list(ColumnType::Int),
            ColumnData::Floats(_) | ColumnData::Floats32(_) => list(ColumnType::Float),
            ColumnData::Texts(_) => list(ColumnType::Text),
        }
    }

    pub(super) fn into_column(self, name: &str) -> Column {
        let named = PlSmallStr::from_str(name);
        let series = match self {
            ColumnData::Bool(values) => Series::new(named, values),
            ColumnData::Int(values) => Series::new(named, values),
            ColumnData::Float(values) => Series::new(named, values),
            ColumnData::Float32(values) => Series::new(named, values),
            ColumnData::Text(values) => Series::new(named, values),
            ColumnData::Ints(values) => {
                primitive_lists::<Int64Type>(named, values, DataType::Int64)
            }
            ColumnData::Floats(values) => {
                primitive_lists::<Float64Type>(named, values, DataType::Float64)
            }
            ColumnData::Floats32(values) => {
                primitive_lists::<Float32Type>(named, values, DataType::Float32)
            }
            ColumnData::Texts(values) => {
                let total = values.iter().flatten().map(Vec::len).sum();
                let mut builder = ListStringChunkedBuilder::new(named, values.len(), total);
                for value in &values {
                    match value {
                        Some(texts) => builder.append_values_iter(texts.iter().map(String::as_str)),
                        None => builder.append_null(),
                    }
                }
                builder.finish().into_series()
            }
        };
        series.into()
    }

    /// Reads a column. Integers of other widths become `i64`; single precision stays single.
    pub(super) fn from_column(column: &Column) -> Result<ColumnData> {
        let broken = |error: PolarsError| {
            DataError::new(Fault::Column, format!("column `{}`: {error}", column.name()))
        };
        let series = column.as_materialized_series();
        Ok(match series.dtype() {
            DataType::Boolean => ColumnData::Bool(series.bool().map_err(broken)?.iter().collect()),
            DataType::Int64 => ColumnData::Int(series.i64().map_err(broken)?.iter().collect()),
            DataType::Int32 | DataType::UInt32 | DataType::UInt64 => {
                let wide = series.strict_cast(&DataType::Int64).map_err(broken)?;
                ColumnData::Int(wide.i64().map_err(broken)?.iter().collect())
            }
            DataType::Float64 => ColumnData::Float(series.f64().map_err(broken)?.iter().collect()),
            DataType::Float32 => {
                ColumnData::Float32(series.f32().map_err(broken)?.iter().collect())
            }
            DataType::String => ColumnData::Text(
                series.str().map_err(broken)?.iter().map(|text| text.map(str::to_string)).collect(),
            ),
            DataType::List(_) => {
                return lists(series).map_err(broken)?.ok_or_else(|| unsupported(column));
            }
            _ => return Err(unsupported(column)),
        })
    }
}

fn unsupported(column: &Column) -> DataError {
    DataError::new(
        Fault::Column,
        format!("column `{}` holds {}, which is not read", column.name(), column.dtype()),
    )
    .subject(column.name().as_str())
    .help("store it as text, integers, floats, booleans, or lists of these")
}

fn primitive_lists<T>(
    name: PlSmallStr,
    values: Vec<Option<Vec<T::Native>>>,
    inner: DataType,
) -> Series
where
    T: PolarsNumericType,
{
    let total = values.iter().flatten().map(Vec::len).sum();
    let mut builder = ListPrimitiveChunkedBuilder::<T>::new(name, values.len(), total, inner);
    for value in &values {
        match value {
            Some(numbers) => builder.append_slice(numbers),
            None => builder.append_null(),
        }
    }
    builder.finish().into_series()
}

/// Lists of text and of numbers; `None` for lists of anything else or with missing elements.
fn lists(series: &Series) -> PolarsResult<Option<ColumnData>> {
    let list = series.list()?;
    let rows: Vec<Option<Series>> = (0..list.len()).map(|row| list.get_as_series(row)).collect();
    fn every<T>(
        rows: &[Option<Series>],
        read: impl Fn(&Series) -> PolarsResult<Option<Vec<T>>>,
    ) -> PolarsResult<Option<Vec<Option<Vec<T>>>>> {
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                None => all.push(None),
                Some(row) => match read(row)? {
                    Some(values) => all.push(Some(values)),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(all))
    }
    Ok(match list.inner_dtype() {
        DataType::String => every(&rows, |row| {
            Ok(row.str()?.iter().map(|text| text.map(str::to_string)).collect())
        })?
        .map(ColumnData::Texts),
        DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {
            every(&rows, |row| Ok(row.strict_cast(&DataType::Int64)?.i64()?.iter().collect()))?
                .map(ColumnData::Ints)
        }
        DataType::Float64 => {
            every(&rows, |row| Ok(row.f64()?.iter().collect()))?.map(ColumnData::Floats)
        }
        DataType::Float32 => {
            every(&rows, |row| Ok(row.f32()?.iter().collect()))?.map(ColumnData::Floats32)
        }
        _ => None,
    })
}
