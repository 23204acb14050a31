//! What a format gives: named columns, either as untyped cells of text or as typed values, and the
//! line of each row.

use super::cells::shown;
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::is_missing;

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
        let other = self.settle(other);
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

    /// Where one of both shows no value of its type, it takes the other's: this one here, the other
    /// one in what is given back.
    fn settle(&mut self, other: RawColumn) -> RawColumn {
        if let Some(as_other) = self.like(&other) {
            *self = as_other;
            return other;
        }
        other.like(self).unwrap_or(other)
    }

    /// These values as a column of another's type, where the types differ and none of the values
    /// speaks against it.
    fn like(&self, other: &RawColumn) -> Option<RawColumn> {
        let (rows, lists) = match self {
            RawColumn::Cells(cells) => (cells.len(), None),
            RawColumn::Typed(ColumnData::Texts(lists)) => (lists.len(), Some(lists)),
            RawColumn::Typed(data) => (data.len(), None),
            RawColumn::Unread(_) | RawColumn::Spare => return None,
        };
        if self.is_absent() {
            return match other {
                RawColumn::Cells(_) => Some(RawColumn::Cells(vec![None; rows])),
                RawColumn::Typed(data) => Some(RawColumn::Typed(absent(data, rows))),
                RawColumn::Unread(_) | RawColumn::Spare => None,
            };
        }
        let lists = lists.filter(|lists| lists.iter().flatten().all(Vec::is_empty))?;
        let RawColumn::Typed(data) = other else { return None };
        empty_lists(data, lists).map(RawColumn::Typed)
    }

    /// Whether there is no value at all.
    fn is_absent(&self) -> bool {
        match self {
            RawColumn::Cells(cells) => cells.iter().all(Option::is_none),
            RawColumn::Typed(data) => (0..data.len()).all(|row| is_missing(data, row)),
            RawColumn::Unread(_) | RawColumn::Spare => false,
        }
    }
}

/// Rows without a value, of the type that a column has.
fn absent(like: &ColumnData, rows: usize) -> ColumnData {
    use ColumnData as Data;
    match like {
        Data::Bool(_) => Data::Bool(vec![None; rows]),
        Data::Int(_) => Data::Int(vec![None; rows]),
        Data::Float(_) => Data::Float(vec![None; rows]),
        Data::Float32(_) => Data::Float32(vec![None; rows]),
        Data::Text(_) => Data::Text(vec![None; rows]),
        Data::Ints(_) => Data::Ints(vec![None; rows]),
        Data::Floats(_) => Data::Floats(vec![None; rows]),
        Data::Floats32(_) => Data::Floats32(vec![None; rows]),
        Data::Texts(_) => Data::Texts(vec![None; rows]),
    }
}

/// Lists without an element, of the type that a column of lists has. Lists of objects are JSON.
fn empty_lists(like: &ColumnData, lists: &[Option<Vec<String>>]) -> Option<ColumnData> {
    fn each<T: Clone>(lists: &[Option<Vec<String>>], value: T) -> Vec<Option<T>> {
        lists.iter().map(|list| list.as_ref().map(|_| value.clone())).collect()
    }
    match like {
        ColumnData::Ints(_) => Some(ColumnData::Ints(each(lists, Vec::new()))),
        ColumnData::Floats(_) => Some(ColumnData::Floats(each(lists, Vec::new()))),
        ColumnData::Floats32(_) => Some(ColumnData::Floats32(each(lists, Vec::new()))),
        ColumnData::Text(texts) if texts.iter().flatten().all(|text| text.starts_with('[')) => {
            Some(ColumnData::Text(each(lists, "[]".to_string())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnData as Data;

    fn appended(one: Data, two: Data) -> Result<Data> {
        let mut all = RawColumn::Typed(one);
        all.append(RawColumn::Typed(two), "x", "f")?;
        match all {
            RawColumn::Typed(data) => Ok(data),
            other => panic!("{other:?}"),
        }
    }

    fn texts(values: &[Option<&str>]) -> Data {
        Data::Text(values.iter().map(|value| value.map(str::to_string)).collect())
    }

    #[test]
    fn a_column_without_a_value_takes_the_type_of_the_other_file() {
        let typed = [
            Data::Bool(vec![Some(true)]),
            Data::Int(vec![Some(1)]),
            Data::Float(vec![Some(0.5)]),
            Data::Ints(vec![Some(vec![1])]),
            Data::Texts(vec![Some(vec!["a".into()])]),
        ];
        for data in typed {
            let kind = data.column_type();
            let behind = appended(texts(&[None, None]), data.clone()).unwrap();
            assert_eq!((behind.column_type(), behind.len()), (kind.clone(), 3));
            assert!(is_missing(&behind, 1) && !is_missing(&behind, 2));
            let before = appended(data.clone(), texts(&[None])).unwrap();
            assert_eq!((before.column_type(), before.len()), (kind, 2));
            assert!(appended(data.clone(), texts(&[Some("a")])).is_err());
            let mut cells = RawColumn::Cells(vec![None]);
            cells.append(RawColumn::Typed(data), "x", "f").unwrap();
            assert!(matches!(cells, RawColumn::Typed(data) if data.len() == 2));
        }
    }

    #[test]
    fn lists_without_an_element_take_the_type_of_the_other_file() {
        let empty = || Data::Texts(vec![Some(vec![]), None]);
        let numbers = || Data::Ints(vec![Some(vec![7])]);
        let behind = Data::Ints(vec![Some(vec![]), None, Some(vec![7])]);
        assert_eq!(appended(empty(), numbers()).unwrap(), behind);
        let before = Data::Ints(vec![Some(vec![7]), Some(vec![]), None]);
        assert_eq!(appended(numbers(), empty()).unwrap(), before);
        let objects = texts(&[Some("[{\"a\":1}]")]);
        let all = texts(&[Some("[]"), None, Some("[{\"a\":1}]")]);
        assert_eq!(appended(empty(), objects).unwrap(), all);
        assert!(appended(empty(), texts(&[Some("word")])).is_err());
        assert!(appended(Data::Texts(vec![Some(vec!["a".into()])]), numbers()).is_err());
    }
}
