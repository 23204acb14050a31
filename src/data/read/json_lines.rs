//! JSON lines: one object a line, its keys are the columns. A file that is one array of objects is
//! read too, and one that is laid out as SQuAD is read as such, unless the format is named.

use super::encoding::{read_head, read_text};
use super::raw::{Raw, RawColumn};
use super::{Count, Format, ReadOptions, squad};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::path::Path;

pub const JSON_LINES: Format = Format {
    name: "jsonl",
    extensions: &["jsonl", "ndjson", "json"],
    about: "one JSON object a line, or one array of objects",
    text: true,
    read: |path, name, options, limit| {
        let text = read_text(path, name, options.encoding)?;
        match options.format.is_none() && squad::is_squad(&text) {
            true => squad::parse(&text, name, limit),
            false => parse(&text, name, limit),
        }
    },
    peek,
};

fn peek(path: &Path, name: &str, options: &ReadOptions, limit: usize) -> Result<(Raw, Count)> {
    let mut bytes = 256 << 10;
    loop {
        let (text, whole) = read_head(path, name, options.encoding, bytes)?;
        if options.format.is_none() && squad::is_squad(&text) {
            return squad::peek(path, name, options, limit);
        }
        // An array can only be read whole, and a first line may be longer than the head.
        let cut = text.trim_start().starts_with('[') || !text.ends_with('\n');
        if !whole && cut {
            bytes *= 16;
            continue;
        }
        let raw = parse(&text, name, Some(limit))?;
        if whole && raw.rows() < limit {
            let rows = raw.rows() as u64;
            return Ok((raw, Count::Exactly(rows)));
        }
        let lines = text.matches('\n').count().max(1) as u64;
        let size = std::fs::metadata(path).map(|found| found.len()).unwrap_or_default();
        return Ok((raw, Count::About(size * lines / (text.len() as u64).max(1))));
    }
}

fn parse(text: &str, name: &str, limit: Option<usize>) -> Result<Raw> {
    let mut rows: Vec<(u32, Map<String, Value>)> = Vec::new();
    let full = |rows: &Vec<_>| limit.is_some_and(|limit| rows.len() >= limit);
    if text.trim_start().starts_with('[') {
        let all: Vec<Value> =
            serde_json::from_str(text).map_err(|error| bad_json(name, 1, &error))?;
        for (at, value) in all.into_iter().enumerate() {
            if full(&rows) {
                break;
            }
            rows.push((at as u32 + 1, object(value, name, at as u32 + 1)?));
        }
    } else {
        for (at, line) in text.split('\n').enumerate() {
            if full(&rows) {
                break;
            }
            if line.trim().is_empty() {
                continue;
            }
            let number = at as u32 + 1;
            let value =
                serde_json::from_str(line).map_err(|error| bad_json(name, number, &error))?;
            rows.push((number, object(value, name, number)?));
        }
    }
    columns(rows, name)
}

fn bad_json(file: &str, line: u32, error: &serde_json::Error) -> DataError {
    // Inside an array the parser counts the lines itself.
    let line = u64::from(line) + (error.line() as u64).saturating_sub(1);
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default().to_lowercase();
    DataError::new(Fault::Row, format!("not JSON: {text}, column {}", error.column()))
        .file(file)
        .line(line)
}

fn object(value: Value, file: &str, line: u32) -> Result<Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(DataError::new(
            Fault::Row,
            format!("the line holds {}, not an object", kind(&other)),
        )
        .file(file)
        .line(u64::from(line))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a column holds, found over all its values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
    EmptyList,
    Ints,
    Floats,
    Texts,
    /// Objects and nested lists: carried along as JSON text.
    Json,
}

fn kind_of(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_i64() => Kind::Int,
        Value::Number(_) => Kind::Float,
        Value::String(_) => Kind::Text,
        Value::Object(_) => Kind::Json,
        Value::Array(items) => {
            let mut kind = Kind::EmptyList;
            for item in items {
                let next = match kind_of(item) {
                    Some(Kind::Int) => Kind::Ints,
                    Some(Kind::Float) => Kind::Floats,
                    Some(Kind::Text) => Kind::Texts,
                    _ => Kind::Json,
                };
                kind = join(kind, next).unwrap_or(Kind::Json);
            }
            kind
        }
    })
}

/// The kind that holds both, if there is one.
fn join(one: Kind, two: Kind) -> Option<Kind> {
    use Kind::*;
    match (one, two) {
        (one, two) if one == two => Some(one),
        (Int, Float) | (Float, Int) => Some(Float),
        (Ints, Floats) | (Floats, Ints) => Some(Floats),
        (EmptyList, list @ (Ints | Floats | Texts | Json))
        | (list @ (Ints | Floats | Texts | Json), EmptyList) => Some(list),
        (Ints | Floats | Texts, Json) | (Json, Ints | Floats | Texts) => Some(Json),
        _ => None,
    }
}

fn columns(rows: Vec<(u32, Map<String, Value>)>, file: &str) -> Result<Raw> {
    let mut kinds: IndexMap<String, Option<(Kind, u32, &'static str)>> = IndexMap::new();
    for (line, row) in &rows {
        for (name, value) in row {
            let known = match kinds.get_mut(name.as_str()) {
                Some(known) => known,
                None => kinds.entry(name.clone()).or_insert(None),
            };
            let Some(found) = kind_of(value) else { continue };
            *known = Some(match *known {
                None => (found, *line, kind(value)),
                Some((before, since, shown)) => match join(before, found) {
                    Some(joined) => (joined, since, shown),
                    None => {
                        return Err(DataError::new(
                            Fault::Row,
                            format!("`{name}` is {} here and {shown} in line {since}", kind(value)),
                        )
                        .file(file)
                        .line(u64::from(*line))
                        .subject(name));
                    }
                },
            });
        }
    }
    let mut values: Vec<Vec<Value>> =
        kinds.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    let mut lines = Vec::with_capacity(rows.len());
    for (line, mut row) in rows {
        lines.push(line);
        for (name, column) in kinds.keys().zip(values.iter_mut()) {
            column.push(row.get_mut(name.as_str()).map(Value::take).unwrap_or_default());
        }
    }
    let columns = kinds
        .values()
        .zip(values)
        .map(|(known, values)| RawColumn::Typed(typed(known.map(|(kind, ..)| kind), values)))
        .collect();
    Ok(Raw { names: kinds.into_keys().collect(), columns, lines, ..Raw::default() })
}

fn typed(kind: Option<Kind>, values: Vec<Value>) -> ColumnData {
    fn list<T>(value: Value, each: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
        match value {
            Value::Array(items) => items.into_iter().map(each).collect(),
            _ => None,
        }
    }
    fn text(value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
    let values = values.into_iter();
    match kind {
        Some(Kind::Bool) => ColumnData::Bool(values.map(|value| value.as_bool()).collect()),
        Some(Kind::Int) => ColumnData::Int(values.map(|value| value.as_i64()).collect()),
        Some(Kind::Float) => ColumnData::Float(values.map(|value| value.as_f64()).collect()),
        // A column without a single value could be anything; text is what can be shown.
        Some(Kind::Text) | None => ColumnData::Text(values.map(text).collect()),
        Some(Kind::Ints) => {
            ColumnData::Ints(values.map(|value| list(value, |item| item.as_i64())).collect())
        }
        Some(Kind::Floats) => {
            ColumnData::Floats(values.map(|value| list(value, |item| item.as_f64())).collect())
        }
        Some(Kind::Texts | Kind::EmptyList) => {
            ColumnData::Texts(values.map(|value| list(value, text)).collect())
        }
        Some(Kind::Json) => ColumnData::Text(
            values.map(|value| (!value.is_null()).then(|| value.to_string())).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(raw: &Raw, name: &str) -> ColumnData {
        let at = raw.names.iter().position(|found| found == name).unwrap();
        match &raw.columns[at] {
            RawColumn::Typed(data) => data.clone(),
            _ => panic!("typed"),
        }
    }

    #[test]
    fn keys_are_columns_and_may_be_absent() {
        let raw = parse(
            "{\"a\": 1, \"b\": [\"x\"]}\n\n{\"a\": 2.5, \"b\": []}\n{\"c\": null}\n",
            "f",
            None,
        )
        .unwrap();
        assert_eq!(raw.names, ["a", "b", "c"]);
        assert_eq!(raw.lines, [1, 3, 4]);
        assert_eq!(column(&raw, "a"), ColumnData::Float(vec![Some(1.0), Some(2.5), None]));
        assert_eq!(
            column(&raw, "b"),
            ColumnData::Texts(vec![Some(vec!["x".into()]), Some(vec![]), None])
        );
        assert_eq!(column(&raw, "c"), ColumnData::Text(vec![None, None, None]));
    }

    #[test]
    fn an_array_of_objects_is_read_too() {
        let raw = parse("[{\"a\": 1}, {\"a\": 2}]", "f", Some(1)).unwrap();
        assert_eq!(column(&raw, "a"), ColumnData::Int(vec![Some(1)]));
    }

    #[test]
    fn faults_name_the_line() {
        let line = |text: &str| parse(text, "f", None).unwrap_err().line;
        assert_eq!(line("{}\n{\"a\": }\n"), Some(2));
        assert_eq!(line("{}\n[1]\n"), Some(2));
        assert_eq!(line("{\"a\": 1}\n{}\n{\"a\": \"x\"}\n"), Some(3));
        assert_eq!(line("[{\"a\": 1},\n{]"), Some(2));
    }
}
