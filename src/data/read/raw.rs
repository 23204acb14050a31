//! What a format gives: named columns, either as untyped cells of text or as typed values, and the
//! line of each row.

use super::cells::shown;
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};

/// Rows of one or several files, before roles and labels.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    pub names: Vec<String>,
    pub columns: Vec<RawColumn>,
    /// The line of each row, counted from 1; for formats without lines the row, counted from 1.
    pub lines: Vec<u32>,
    /// Columns that play a role of their own accord: (role, place in `columns`).
    pub roles: Vec<(&'static str, usize)>,
}

#[derive(Debug, Clone)]
pub enum RawColumn {
    /// Delimited text: the type is found later. An empty field without quotes is missing.
    Cells(Vec<Option<String>>),
    /// The file says what it holds.
    Typed(ColumnData),
    /// The file holds something here that is not read: what it is.
    Unread(String),
    /// The file holds it and nothing asks for it: named in messages, no part of the table.
    Spare,
}

impl Raw {
    pub fn rows(&self) -> usize {
        self.lines.len()
    }
}

impl RawColumn {
    fn kind(&self) -> String {
        match self {
            RawColumn::Cells(_) => "text".to_string(),
            RawColumn::Typed(data) => data.column_type().to_string(),
            RawColumn::Unread(what) => what.clone(),
            RawColumn::Spare => "something unread".to_string(),
        }
    }

    /// The values as texts, where they are single ones.
    pub fn cells(&self) -> Option<Vec<Option<String>>> {
        Some(match self {
            RawColumn::Cells(cells) | RawColumn::Typed(ColumnData::Text(cells)) => cells.clone(),
            RawColumn::Typed(ColumnData::Int(values)) => shown(values.clone()),
            RawColumn::Typed(ColumnData::Float(values)) => shown(values.clone()),
            _ => return None,
        })
    }

    /// Puts the rows of another file behind these. `file` is the other file's name.
    pub fn append(&mut self, other: RawColumn, name: &str, file: &str) -> Result<()> {
        use ColumnData as Data;
        let fault = |one: &str, two: &str| {
            DataError::new(
                Fault::Column,
                format!("column `{name}` holds {two} here and {one} in the files before"),
            )
            .file(file)
            .subject(name)
        };
        match (self, other) {
            (RawColumn::Cells(all), RawColumn::Cells(more)) => all.extend(more),
            (RawColumn::Unread(_), RawColumn::Unread(_)) | (RawColumn::Spare, RawColumn::Spare) => {
            }
            (RawColumn::Typed(all), RawColumn::Typed(more)) => match (all, more) {
                (Data::Bool(all), Data::Bool(more)) => all.extend(more),
                (Data::Int(all), Data::Int(more)) => all.extend(more),
                (Data::Float(all), Data::Float(more)) => all.extend(more),
                (Data::Float32(all), Data::Float32(more)) => all.extend(more),
                (Data::Text(all), Data::Text(more)) => all.extend(more),
                (Data::Ints(all), Data::Ints(more)) => all.extend(more),
                (Data::Floats(all), Data::Floats(more)) => all.extend(more),
                (Data::Floats32(all), Data::Floats32(more)) => all.extend(more),
                (Data::Texts(all), Data::Texts(more)) => all.extend(more),
                (all, more) => {
                    // Whole numbers in one file and fractions in another are fractions.
                    let joined = match (all.clone(), more) {
                        (Data::Int(one), Data::Float(two)) => one
                            .into_iter()
                            .map(|value| value.map(|value| value as f64))
                            .chain(two)
                            .collect(),
                        (Data::Float(mut one), Data::Int(two)) => {
                            one.extend(
                                two.into_iter().map(|value| value.map(|value| value as f64)),
                            );
                            one
                        }
                        (one, two) => {
                            return Err(fault(
                                &one.column_type().to_string(),
                                &two.column_type().to_string(),
                            ));
                        }
                    };
                    *all = Data::Float(joined);
                }
            },
            (one, two) => return Err(fault(&one.kind(), &two.kind())),
        }
        Ok(())
    }
}
