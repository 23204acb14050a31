//! The types of untyped cells, and columns that fit their roles.

use super::ReadOptions;
use super::records::LIST_ROLES;
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::unknown_label;

/// Roles whose values are text.
pub(super) const TEXT_ROLES: &[&str] = &[
    "text",
    "text_pair",
    "negative",
    "question",
    "context",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "source",
    "target",
];

/// A number that is written as a number and nothing else: `1`, `-2`; not `007`, which is a name.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0"
        || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

fn float(text: &str) -> Option<f64> {
    let first = text.bytes().find(|byte| !matches!(byte, b'-' | b'+' | b'.'))?;
    if !first.is_ascii_digit() {
        return None; // `nan` and `infinity` are words here
    }
    let digits = text.trim_start_matches(['-', '+']);
    if digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

pub(super) fn type_cells(
    name: &str,
    cells: &[Option<String>],
    options: &ReadOptions,
) -> Result<ColumnData, (usize, DataError)> {
    if TEXT_ROLES.contains(&name) || (LIST_ROLES.contains(&name) && name != "answer_starts") {
        return Ok(ColumnData::Text(cells.to_vec()));
    }
    if name == "label"
        && let Some(separator) = &options.label_separator
    {
        return Ok(split_labels(cells.iter().map(Option::as_deref), separator));
    }
    let every = |test: fn(&str) -> bool| cells.iter().flatten().all(|cell| test(cell.trim()));
    let any = cells.iter().any(Option::is_some);
    if !any {
        return Ok(ColumnData::Text(cells.to_vec()));
    }
    if every(|cell| integer(cell).is_some()) {
        return Ok(ColumnData::Int(each(cells, integer)));
    }
    if name == "id" {
        return Ok(ColumnData::Text(cells.to_vec())); // `1706.03760` is not the number 1706.0376
    }
    if every(|cell| float(cell).is_some()) {
        return Ok(ColumnData::Float(each(cells, float)));
    }
    if name == "label" {
        // Among fractions a word is a fault, not a class.
        let filled = cells.iter().flatten().count();
        let numbers = cells.iter().flatten().filter(|cell| float(cell.trim()).is_some()).count();
        let fractions =
            cells.iter().flatten().any(|cell| float(cell.trim()).is_some() && cell.contains('.'));
        if fractions && numbers * 10 >= filled * 9 {
            let bad = cells
                .iter()
                .position(|cell| cell.as_deref().is_some_and(|cell| float(cell.trim()).is_none()));
            if let Some(row) = bad {
                let found = cells.get(row).cloned().flatten().unwrap_or_default();
                return Err((
                    row,
                    DataError::new(
                        Fault::Label,
                        format!("the label `{found}` is not a number, as the other labels are"),
                    ),
                ));
            }
        }
        return Ok(ColumnData::Text(
            cells.iter().map(|cell| cell.as_ref().map(|cell| cell.trim().to_string())).collect(),
        ));
    }
    if every(|cell| cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false")) {
        return Ok(ColumnData::Bool(each(cells, |cell| Some(cell.eq_ignore_ascii_case("true")))));
    }
    Ok(ColumnData::Text(cells.to_vec()))
}

fn each<T>(cells: &[Option<String>], read: fn(&str) -> Option<T>) -> Vec<Option<T>> {
    cells.iter().map(|cell| cell.as_deref().and_then(|cell| read(cell.trim()))).collect()
}

/// Several labels in one cell. An empty cell has none.
fn split_labels<'a>(cells: impl Iterator<Item = Option<&'a str>>, separator: &str) -> ColumnData {
    let lists: Vec<Vec<String>> = cells
        .map(|cell| {
            cell.unwrap_or_default()
                .split(separator)
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_string)
                .collect()
        })
        .collect();
    let numbers: Option<Vec<Option<Vec<i64>>>> = lists
        .iter()
        .map(|list| list.iter().map(|part| integer(part)).collect::<Option<Vec<i64>>>().map(Some))
        .collect();
    match numbers {
        Some(numbers) => ColumnData::Ints(numbers),
        None => ColumnData::Texts(lists.into_iter().map(Some).collect()),
    }
}

/// Makes a typed column fit its role.
pub(super) fn as_role(name: &str, data: ColumnData, options: &ReadOptions) -> Result<ColumnData> {
    if TEXT_ROLES.contains(&name) {
        return match data {
            ColumnData::Text(_) => Ok(data),
            ColumnData::Int(values) => Ok(ColumnData::Text(shown(values))),
            ColumnData::Float(values) => Ok(ColumnData::Text(shown(values))),
            // Summaries have several sources and targets: the task that reads them says which.
            ColumnData::Texts(_) if matches!(name, "source" | "target") => Ok(data),
            other => Err(DataError::new(
                Fault::Column,
                format!("column `{name}` holds {}, not text", other.column_type()),
            )
            .subject(name)),
        };
    }
    if name == "label" {
        return Ok(match (data, &options.label_separator) {
            (ColumnData::Text(values), Some(separator)) => {
                split_labels(values.iter().map(Option::as_deref), separator)
            }
            (ColumnData::Int(values), Some(_)) => ColumnData::Ints(
                values.into_iter().map(|value| Some(value.into_iter().collect())).collect(),
            ),
            (ColumnData::Bool(values), _) => ColumnData::Text(shown(values)),
            (data, _) => data,
        });
    }
    Ok(data)
}

pub(super) fn shown<T: ToString>(values: Vec<Option<T>>) -> Vec<Option<String>> {
    values.into_iter().map(|value| value.map(|value| value.to_string())).collect()
}

/// Whether the numbers of label columns are names themselves (`"1"` … `"5"`), not the places of
/// names. `columns`: those of all tables, since one of them alone may show a part of the numbers.
pub(super) fn numbers_are_names<'a>(
    columns: impl Iterator<Item = &'a ColumnData>,
    names: &[String],
) -> bool {
    let mut all = true;
    for data in columns {
        let is_name = |number: &i64| names.contains(&number.to_string());
        match data {
            ColumnData::Int(values) => all &= values.iter().flatten().all(is_name),
            ColumnData::Ints(values) => all &= values.iter().flatten().flatten().all(is_name),
            // A number beside words is a name, and then so it is in the other tables.
            ColumnData::Text(values)
                if values.iter().flatten().any(|value| integer(value).is_some()) =>
            {
                return true;
            }
            ColumnData::Texts(values)
                if values.iter().flatten().flatten().any(|value| integer(value).is_some()) =>
            {
                return true;
            }
            _ => {}
        }
    }
    all
}

/// Replaces labels by their declared names: a value that is a name stays, an integer k is name k,
/// unless the numbers are names.
pub(super) fn named(
    data: &ColumnData,
    names: &[String],
    numbers_are_names: bool,
) -> Result<ColumnData, (usize, DataError)> {
    let check = |row: usize, name: &String| -> Result<(), (usize, DataError)> {
        match names.contains(name) {
            true => Ok(()),
            false => Err((row, unknown_label(name, names))),
        }
    };
    let of_number = |row: usize, number: i64| -> Result<String, (usize, DataError)> {
        if numbers_are_names {
            let name = number.to_string();
            return check(row, &name).map(|()| name);
        }
        usize::try_from(number).ok().and_then(|at| names.get(at)).cloned().ok_or_else(|| {
            let error = DataError::new(
                Fault::Label,
                format!(
                    "the label {number} has no name: `labels` names {}, counted from 0",
                    names.len()
                ),
            );
            (row, error)
        })
    };
    match data {
        ColumnData::Text(values) => {
            for (row, value) in values.iter().enumerate() {
                if let Some(name) = value {
                    check(row, name)?;
                }
            }
            Ok(data.clone())
        }
        ColumnData::Texts(values) => {
            for (row, list) in values.iter().enumerate() {
                for name in list.iter().flatten() {
                    check(row, name)?;
                }
            }
            Ok(data.clone())
        }
        ColumnData::Int(values) => {
            let mut out = Vec::with_capacity(values.len());
            for (row, value) in values.iter().enumerate() {
                out.push(value.map(|number| of_number(row, number)).transpose()?);
            }
            Ok(ColumnData::Text(out))
        }
        ColumnData::Ints(values) => {
            let mut out = Vec::with_capacity(values.len());
            for (row, list) in values.iter().enumerate() {
                let list = list.as_ref().map(|list| {
                    list.iter()
                        .map(|number| of_number(row, *number))
                        .collect::<Result<Vec<String>, _>>()
                });
                out.push(list.transpose()?);
            }
            Ok(ColumnData::Texts(out))
        }
        other => Ok(other.clone()),
    }
}
