//! A table: a polars dataframe, what its labels mean, and where each row came from.
//! Reading tables from users' files is in `read`, writing them for users in `write`.

use super::column::{ColumnData, ColumnType};
use super::error::{DataError, Fault, Result};
use super::labels::{Labels, Targets};
use super::write::json;
use crate::base::{Digest, Hasher, suggest};
use indexmap::IndexMap;
use polars::prelude::*;
use polars_io::ipc::{IpcReader, IpcWriter};
use polars_io::{SerReader, SerWriter};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The columns whose names say what they are for.
pub const ROLES: &[&str] = &[
    "text",
    "text_pair",
    "negative",
    "label",
    "words",
    "tags",
    "question",
    "context",
    "answers",
    "answer_starts",
    "choices",
    "prompt",
    "completion",
    "messages",
    "chosen",
    "rejected",
    "source",
    "target",
    "image",
    "audio",
    "id",
    "group",
];

/// Tables in the order in which they were named.
pub type Tables = IndexMap<String, Table>;

/// Where the rows of a table came from, for messages. No part of a table's digest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The files, as the user named them.
    pub files: Vec<String>,
    /// For each row: its file, as a position in `files`, and its line there, counted from 1.
    pub places: Vec<(u32, u32)>,
}

/// Rows and columns. Columns go by role (`text`, `label`, `id`, …) or by their own names.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) frame: DataFrame,
    labels: Labels,
    /// Empty for a table that was computed.
    origin: Origin,
}

/// What is written beside the columns in an Arrow file, under the key `ftrun`.
#[derive(Serialize, Deserialize)]
struct Metadata {
    labels: Labels,
    files: Vec<String>,
    placed: bool,
}

/// Columns that hold the origin inside our own Arrow files only.
const FILE_COLUMN: &str = "\u{1}file";
const LINE_COLUMN: &str = "\u{1}line";
const METADATA_KEY: &str = "ftrun";

pub(super) fn polars_error(error: PolarsError) -> DataError {
    DataError::new(Fault::Operation, error.to_string().to_lowercase())
}

impl Table {
    /// A table of these columns, without labels.
    ///
    /// # Errors
    /// Two columns of one name, or columns of different lengths.
    pub fn from_columns(columns: Vec<(String, ColumnData)>) -> Result<Table> {
        let columns = columns.into_iter().map(|(name, data)| data.into_column(&name)).collect();
        let frame = DataFrame::new_infer_height(columns).map_err(polars_error)?;
        Ok(Table { frame, labels: Labels::Unknown, origin: Origin::default() })
    }

    pub(super) fn from_frame(frame: DataFrame, labels: Labels, origin: Origin) -> Table {
        let placed = origin.places.len() == frame.height();
        Table { frame, labels, origin: if placed { origin } else { Origin::default() } }
    }

    pub fn rows(&self) -> usize {
        self.frame.height()
    }

    /// Names and types, in order.
    pub fn columns(&self) -> Vec<(String, ColumnType)> {
        self.frame
            .columns()
            .iter()
            .map(|column| (column.name().to_string(), ColumnType::of(column.dtype())))
            .collect()
    }

    pub fn column_type(&self, name: &str) -> Option<ColumnType> {
        self.frame.column(name).ok().map(|column| ColumnType::of(column.dtype()))
    }

    pub fn has(&self, name: &str) -> bool {
        self.frame.get_column_index(name).is_some()
    }

    /// The values of a column.
    pub fn column(&self, name: &str) -> Result<ColumnData> {
        let column = self.frame.column(name).map_err(|_| self.no_column(name))?;
        ColumnData::from_column(column)
    }

    /// The error for a column that is not there.
    pub fn no_column(&self, name: &str) -> DataError {
        let names = self.frame.get_column_names();
        no_column(name, names.iter().map(|name| name.as_str()))
    }

    /// A text column. A missing text is an error with its file and line.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        match self.column(name)? {
            ColumnData::Text(values) => values
                .into_iter()
                .enumerate()
                .map(|(row, value)| {
                    value.ok_or_else(|| {
                        self.at(row, DataError::new(Fault::Row, format!("the row has no `{name}`")))
                            .help("`load-data` with `missing = drop` leaves such rows out")
                    })
                })
                .collect(),
            other => Err(DataError::new(
                Fault::Column,
                format!("column `{name}` holds {}, not text", other.column_type()),
            )
            .subject(name)),
        }
    }

    /// The id of every row, as text: the column `id`, else the row's number.
    pub fn ids(&self) -> Vec<String> {
        match self.column("id") {
            Ok(data) => shown(&data).into_iter().map(Option::unwrap_or_default).collect(),
            Err(_) => (0..self.rows()).map(|row| row.to_string()).collect(),
        }
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    pub fn set_labels(&mut self, labels: Labels) {
        self.labels = labels;
    }

    /// The label column as the engine reads it.
    pub fn targets(&self) -> Result<Targets> {
        if !self.has("label") {
            return Ok(Targets::None);
        }
        let column = self.column("label")?;
        self.labels.targets(Some(&column)).map_err(|(row, error)| self.at(row, error))
    }

    /// Adds or replaces a column.
    ///
    /// # Errors
    /// The column has another number of rows.
    pub fn set_column(&mut self, name: &str, data: ColumnData) -> Result<()> {
        if data.len() != self.rows() {
            return Err(DataError::new(
                Fault::Column,
                format!("column `{name}` has {} rows, the table has {}", data.len(), self.rows()),
            ));
        }
        self.frame.with_column(data.into_column(name)).map_err(polars_error)?;
        Ok(())
    }

    /// File and line of a row, where they are known.
    pub fn place(&self, row: usize) -> Option<(&str, u32)> {
        let (file, line) = self.origin.places.get(row)?;
        Some((self.origin.files.get(*file as usize)?, *line))
    }

    /// Puts the file and line of a row into an error.
    pub fn at(&self, row: usize, error: DataError) -> DataError {
        match self.place(row) {
            Some((file, line)) => error.file(file).line(u64::from(line)),
            None => DataError { message: format!("row {row}: {}", error.message), ..error },
        }
    }

    /// These rows, in this order.
    pub fn take(&self, rows: &[u32]) -> Result<Table> {
        let indices = IdxCa::from_vec(PlSmallStr::from_static("rows"), rows.to_vec());
        let frame = self.frame.take(&indices).map_err(polars_error)?;
        let places = rows.iter().filter_map(|row| self.origin.places.get(*row as usize).copied());
        let origin = Origin { files: self.origin.files.clone(), places: places.collect() };
        Ok(Table::from_frame(frame, self.labels.clone(), origin))
    }

    /// These columns, in this order.
    pub fn select(&self, names: &[String]) -> Result<Table> {
        if let Some(missing) = names.iter().find(|name| !self.has(name)) {
            return Err(self.no_column(missing));
        }
        let frame = self.frame.select(names.iter().map(String::as_str)).map_err(polars_error)?;
        let mut table = Table { frame, labels: Labels::Unknown, origin: self.origin.clone() };
        if table.target_column() == self.target_column() {
            table.labels = self.labels.clone();
        }
        Ok(table)
    }

    /// The same table with other names of columns.
    pub(super) fn renamed(&self, name: impl Fn(&str) -> String) -> Result<Table> {
        let mut frame = self.frame.clone();
        let names: Vec<String> =
            frame.get_column_names().iter().map(|old| name(old.as_str())).collect();
        frame.set_column_names(&names).map_err(polars_error)?;
        Ok(Table { frame, labels: self.labels.clone(), origin: self.origin.clone() })
    }

    /// The rows of several tables, one after the other. A column must be in all of them and hold
    /// the same type; whole numbers beside fractions become fractions.
    pub fn concat(tables: &[&Table]) -> Result<Table> {
        let Some((first, rest)) = tables.split_first() else {
            return Err(DataError::new(Fault::Operation, "there is no table to put together"));
        };
        let mut frame = first.frame.clone();
        let mut origin = first.origin.clone();
        let mut placed = origin.places.len() == first.rows();
        for other in rest {
            for (name, _) in other.columns() {
                if !first.has(&name) {
                    return Err(first.no_column(&name));
                }
            }
            let names: Vec<String> =
                frame.get_column_names().iter().map(|name| name.to_string()).collect();
            let mut right = other.select(&names)?.frame;
            unify(&mut frame, &mut right)?;
            frame.vstack_mut(&right).map_err(polars_error)?;
            placed &= other.origin.places.len() == other.rows();
            let base = origin.files.len() as u32;
            origin.files.extend(other.origin.files.iter().cloned());
            origin
                .places
                .extend(other.origin.places.iter().map(|(file, line)| (base + file, *line)));
        }
        frame.align_chunks();
        frame.rechunk_mut();
        if !placed {
            origin = Origin::default();
        }
        let mut table = Table::from_frame(frame, first.labels.clone(), origin);
        if tables.iter().any(|other| other.labels != first.labels) {
            table.labels = table.inferred_labels()?;
        }
        Ok(table)
    }

    /// The column whose values the labels are: `label`, else `tags`.
    pub(super) fn target_column(&self) -> Option<&'static str> {
        ["label", "tags"].into_iter().find(|name| self.has(name))
    }

    /// What the column of the labels means when it is looked at alone.
    pub fn inferred_labels(&self) -> Result<Labels> {
        match self.target_column() {
            Some("label") => Labels::of(&[&self.column("label")?], None),
            Some(tags) => Ok(Labels::of_tags(&[&self.column(tags)?])),
            None => Ok(Labels::Unknown),
        }
    }

    /// The content: names, types and values in row order, and what the labels mean. Independent of
    /// file formats, of how polars keeps the values, and of where the rows came from.
    pub fn digest(&self) -> Result<Digest> {
        let mut hasher = Hasher::new("table 1");
        hasher.number(self.rows() as u64);
        hasher.text(&serde_json::to_string(&self.labels).unwrap_or_default());
        for column in self.frame.columns() {
            hasher.text(column.name());
            let data = ColumnData::from_column(column)?;
            hasher.bytes(&canonical(&data));
        }
        Ok(hasher.finish())
    }

    /// Writes the table exactly, with labels and origins, as Arrow IPC.
    pub fn write_ipc(&self, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(|error| DataError::io(path, &error))?;
        let mut writer = BufWriter::new(file);
        self.to_ipc(&mut writer, true).map_err(|error| error.file(path))?;
        writer.flush().map_err(|error| DataError::io(path, &error))
    }

    /// `with_origin`: also where each row came from, which is ours alone to read.
    pub(super) fn to_ipc(&self, to: &mut impl Write, with_origin: bool) -> Result<()> {
        let mut frame = self.frame.clone();
        let placed = with_origin && !self.origin.places.is_empty();
        if placed {
            let part = |name: &'static str, of: fn(&(u32, u32)) -> u32| -> Column {
                let values: Vec<u32> = self.origin.places.iter().map(of).collect();
                Series::from_vec(PlSmallStr::from_static(name), values).into()
            };
            frame.with_column(part(FILE_COLUMN, |place| place.0)).map_err(polars_error)?;
            frame.with_column(part(LINE_COLUMN, |place| place.1)).map_err(polars_error)?;
        }
        frame.rechunk_mut();
        let metadata = Metadata {
            labels: self.labels.clone(),
            files: if placed { self.origin.files.clone() } else { Vec::new() },
            placed,
        };
        let text = serde_json::to_string(&metadata)
            .map_err(|error| DataError::new(Fault::Operation, error.to_string()))?;
        // The oldest layout is the one that every Arrow reader knows, and its bytes depend on the
        // values alone.
        let mut writer =
            IpcWriter::new(to).with_compat_level(CompatLevel::oldest()).with_parallel(false);
        let entry = (PlSmallStr::from_static(METADATA_KEY), PlSmallStr::from_str(&text));
        writer.set_custom_schema_metadata(std::sync::Arc::new(std::iter::once(entry).collect()));
        writer.finish(&mut frame).map_err(polars_error)
    }

    /// Reads what [`Table::write_ipc`] wrote.
    pub fn read_ipc(path: &Path) -> Result<Table> {
        let file = File::open(path).map_err(|error| DataError::io(path, &error))?;
        let damaged = |error: PolarsError| {
            DataError::new(Fault::Format, format!("the table cannot be read: {error}")).file(path)
        };
        let (text, mut frame) = super::read::guarded("arrow", &path.display().to_string(), || {
            let mut reader = IpcReader::new(file);
            let metadata = reader.custom_metadata()?;
            let text = metadata
                .and_then(|metadata| metadata.get(METADATA_KEY).map(|text| text.to_string()));
            Ok((text, reader.finish()?))
        })?;
        let metadata: Metadata =
            text.as_deref().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
                DataError::new(Fault::Format, "the arrow file was not written by ftrun").file(path)
            })?;
        let mut origin = Origin { files: metadata.files, places: Vec::new() };
        if metadata.placed {
            let mut part = |name: &str| -> Result<Vec<u32>> {
                let column = frame.drop_in_place(name).map_err(damaged)?;
                Ok(column.u32().map_err(damaged)?.iter().map(Option::unwrap_or_default).collect())
            };
            let files = part(FILE_COLUMN)?;
            let lines = part(LINE_COLUMN)?;
            origin.places = files.into_iter().zip(lines).collect();
        }
        Ok(Table::from_frame(frame, metadata.labels, origin))
    }
}

/// The error for a column that is not among `names`.
pub fn no_column<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> DataError {
    let nearest = suggest::nearest(name, names.clone());
    let error = DataError::new(
        Fault::Column,
        format!("there is no column `{name}`; the columns are {}", suggest::list(names)),
    )
    .subject(name)
    .nearest(nearest);
    match nearest {
        Some(nearest) => error.help(format!("did this mean `{nearest}`?")),
        None => error,
    }
}

/// Makes the number columns of two frames agree, so that one can follow the other.
fn unify(left: &mut DataFrame, right: &mut DataFrame) -> Result<()> {
    for at in 0..left.width() {
        let (Some(one), Some(two)) = (left.select_at_idx(at), right.select_at_idx(at)) else {
            continue;
        };
        let (found, other) = (one.dtype().clone(), two.dtype().clone());
        if found == other {
            continue;
        }
        let one_empty = one.null_count() == one.len();
        let two_empty = two.null_count() == two.len();
        let both_numbers = ColumnType::of(&found).is_number() && ColumnType::of(&other).is_number();
        let common = if both_numbers {
            DataType::Float64
        } else if one_empty {
            other
        } else if two_empty {
            found
        } else {
            return Err(DataError::new(
                Fault::Column,
                format!(
                    "column `{}` holds {} in one table and {} in another",
                    one.name(),
                    ColumnType::of(&found),
                    ColumnType::of(&other)
                ),
            )
            .subject(one.name().as_str()));
        };
        let (one, two) = (one.cast(&common), two.cast(&common));
        left.replace_column(at, one.map_err(polars_error)?).map_err(polars_error)?;
        right.replace_column(at, two.map_err(polars_error)?).map_err(polars_error)?;
    }
    Ok(())
}

/// Bytes in which no two different columns agree: the type, then every value.
fn canonical(data: &ColumnData) -> Vec<u8> {
    let tag = match data {
        ColumnData::Bool(_) => 1,
        ColumnData::Int(_) => 2,
        ColumnData::Float(_) => 3,
        ColumnData::Float32(_) => 4,
        ColumnData::Text(_) => 5,
        ColumnData::Ints(_) => 6,
        ColumnData::Floats(_) => 7,
        ColumnData::Floats32(_) => 8,
        ColumnData::Texts(_) => 9,
    };
    let mut bytes = Vec::with_capacity(1 + data.len() * 9);
    bytes.push(tag);
    for row in 0..data.len() {
        cell_bytes(data, row, &mut bytes);
    }
    bytes
}

/// The values as texts: a text as itself, a number in decimal digits, a list as JSON.
pub(super) fn shown(data: &ColumnData) -> Vec<Option<String>> {
    fn each<T: ToString>(values: &[Option<T>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.as_ref().map(T::to_string)).collect()
    }
    match data {
        ColumnData::Text(values) => values.clone(),
        ColumnData::Bool(values) => each(values),
        ColumnData::Int(values) => each(values),
        ColumnData::Float(values) => each(values),
        ColumnData::Float32(values) => each(values),
        lists => (0..lists.len())
            .map(|row| match json(lists, row) {
                serde_json::Value::Null => None,
                list => Some(list.to_string()),
            })
            .collect(),
    }
}

/// Appends a value: whether it is there, its length where it has one, its little-endian bytes.
pub(super) fn cell_bytes(data: &ColumnData, row: usize, to: &mut Vec<u8>) {
    fn value<T>(
        values: &[Option<T>],
        row: usize,
        to: &mut Vec<u8>,
        write: impl Fn(&T, &mut Vec<u8>),
    ) {
        match values.get(row).and_then(Option::as_ref) {
            None => to.push(0),
            Some(value) => {
                to.push(1);
                write(value, to);
            }
        }
    }
    fn list<T>(
        values: &[Option<Vec<T>>],
        row: usize,
        to: &mut Vec<u8>,
        write: impl Fn(&T, &mut Vec<u8>),
    ) {
        value(values, row, to, |list, to| {
            to.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|item| write(item, to));
        });
    }
    fn text(text: &String, to: &mut Vec<u8>) {
        to.extend((text.len() as u64).to_le_bytes());
        to.extend(text.as_bytes());
    }
    fn double(number: &f64, to: &mut Vec<u8>) {
        to.extend(number.to_bits().to_le_bytes());
    }
    fn single(number: &f32, to: &mut Vec<u8>) {
        to.extend(number.to_bits().to_le_bytes());
    }
    fn whole(number: &i64, to: &mut Vec<u8>) {
        to.extend(number.to_le_bytes());
    }
    match data {
        ColumnData::Bool(values) => value(values, row, to, |flag, to| to.push(u8::from(*flag))),
        ColumnData::Int(values) => value(values, row, to, whole),
        ColumnData::Float(values) => value(values, row, to, double),
        ColumnData::Float32(values) => value(values, row, to, single),
        ColumnData::Text(values) => value(values, row, to, text),
        ColumnData::Ints(values) => list(values, row, to, whole),
        ColumnData::Floats(values) => list(values, row, to, double),
        ColumnData::Floats32(values) => list(values, row, to, single),
        ColumnData::Texts(values) => list(values, row, to, text),
    }
}
