//! Parquet, through polars.

use super::ipc::{guarded, typed_columns};
use super::{Count, Format};
use crate::data::error::{DataError, Fault, Result};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use std::fs::File;
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
        let fields: Vec<_> = schema.iter_values().cloned().collect();
        typed_columns(&fields, |wanted| {
            let wanted_rows = limit.unwrap_or(rows).min(rows);
            reader
                .with_columns(Some(wanted))
                .with_slice(Some((0, wanted_rows)))
                .set_rechunk(true)
                .finish()
        })
        .map(|raw| (raw, rows as u64))
    })
    .and_then(|(raw, rows)| match raw.names.is_empty() {
        true => Err(DataError::new(Fault::Format, "the file has no columns").file(name)),
        false => Ok((raw, rows)),
    })
}
