//! How values are kept: every payload as files in a folder of its own, read back exactly. What the
//! folders are called and when they are read is in `exec`.

mod data;
mod model;

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::run::StepError;
use super::value::{Predictions, Report, Scores, Stored, Value};
use crate::base::{Digest, Hasher};
use crate::schema::PortType;

/// The words by which records name what is stored.
const WORDS: &[(PortType, &str)] = &[
    (PortType::Table, "table"),
    (PortType::Tables, "tables"),
    (PortType::Tokens, "tokens"),
    (PortType::TokenSets, "token sets"),
    (PortType::Model, "model"),
    (PortType::Tokenizer, "tokenizer"),
    (PortType::Predictions, "predictions"),
    (PortType::Scores, "scores"),
    (PortType::Log, "log"),
    (PortType::Folder, "folder"),
    (PortType::Report, "report"),
];

/// The word for a type in records.
pub fn word(ty: PortType) -> &'static str {
    WORDS.iter().find(|(known, _)| *known == ty).map_or("", |(_, word)| word)
}

/// The type that a record's word stands for.
pub fn parse_word(word: &str) -> Option<PortType> {
    WORDS.iter().find(|(_, known)| *known == word).map(|(ty, _)| *ty)
}

/// The parts of a value that are stored apart: the tables of *tables* by name; the model below an
/// adapter, which is often there already, and the adapter; else the value itself, without a name.
pub fn parts(value: &Value) -> Vec<(Option<String>, Value)> {
    match value {
        Value::Tables(tables) => tables
            .iter()
            .map(|(name, table)| (Some(name.clone()), Value::Table(Arc::new(table.clone()))))
            .collect(),
        Value::TokenSets(sets) => sets
            .iter()
            .map(|(name, tokens)| (Some(name.clone()), Value::Tokens(Arc::clone(tokens))))
            .collect(),
        Value::Model(model) => match model.split() {
            Some((base, piece)) => vec![
                (Some(BASE.to_string()), Value::Model(base)),
                (Some(ADAPTER.to_string()), Value::Model(Arc::new(piece))),
            ],
            None => vec![(None, value.clone())],
        },
        whole => vec![(None, whole.clone())],
    }
}

/// Puts parts together again.
pub fn join(ty: PortType, parts: Vec<(Option<String>, Value)>) -> Result<Value, StepError> {
    let wrong = |what: &str| StepError::internal(format!("stored {} {what}", ty.describe()));
    let named = |name: Option<String>| name.ok_or_else(|| wrong("has a part without a name"));
    match ty {
        PortType::Tables => {
            let mut tables = crate::data::Tables::new();
            for (name, part) in parts {
                let Value::Table(table) = part else { return Err(wrong("holds no table")) };
                tables.insert(named(name)?, Arc::unwrap_or_clone(table));
            }
            Ok(Value::Tables(Arc::new(tables)))
        }
        PortType::TokenSets => {
            let mut sets = IndexMap::new();
            for (name, part) in parts {
                let Value::Tokens(tokens) = part else { return Err(wrong("holds no tokens")) };
                sets.insert(named(name)?, tokens);
            }
            Ok(Value::TokenSets(Arc::new(sets)))
        }
        PortType::Model if parts.len() == 2 => {
            let mut models = parts.into_iter().filter_map(|(_, part)| match part {
                Value::Model(model) => Some(model),
                _ => None,
            });
            let (Some(base), Some(piece)) = (models.next(), models.next()) else {
                return Err(wrong("holds no model"));
            };
            let joined = crate::model::Model::join(base, Arc::unwrap_or_clone(piece))?;
            Ok(Value::Model(Arc::new(joined)))
        }
        _ => match <[_; 1]>::try_from(parts) {
            Ok([(_, value)]) => Ok(value),
            Err(_) => Err(wrong("has another number of parts")),
        },
    }
}

/// The digest of a value with parts, from those of its parts.
pub fn join_digests<'a>(
    ty: PortType,
    parts: impl IntoIterator<Item = (&'a str, Digest)>,
) -> Digest {
    let mut hasher = Hasher::new("parts 1");
    hasher.text(word(ty));
    for (name, digest) in parts {
        hasher.text(name).digest(&digest);
    }
    hasher.finish()
}

/// The content digest of a part. A folder's is over its files, which the store computes.
pub fn digest(value: &Value) -> Result<Option<Digest>, StepError> {
    Ok(Some(match value {
        Value::Table(table) | Value::Log(table) => Stored::digest(table.as_ref())?,
        Value::Tokens(tokens) => Stored::digest(tokens.as_ref())?,
        Value::Model(model) => Stored::digest(model.as_ref())?,
        Value::Tokenizer(tokenizer) => Stored::digest(tokenizer.as_ref())?,
        Value::Predictions(predictions) => predictions.digest()?,
        Value::Scores(scores) => scores.digest()?,
        Value::Report(report) => Stored::digest(report.as_ref())?,
        Value::Folder(_) => return Ok(None),
        Value::Tables(_) | Value::TokenSets(_) => {
            return Err(StepError::internal("a value of several parts is stored by its parts"));
        }
    }))
}

/// Writes a part into an empty folder. A folder's files are the store's to copy.
pub fn write(value: &Value, folder: &Path) -> Result<(), StepError> {
    match value {
        Value::Table(table) | Value::Log(table) => table.write(folder),
        Value::Tokens(tokens) => Stored::write(tokens.as_ref(), folder),
        Value::Model(model) => Stored::write(model.as_ref(), folder),
        Value::Tokenizer(tokenizer) => Stored::write(tokenizer.as_ref(), folder),
        Value::Predictions(predictions) => predictions.write(folder),
        Value::Scores(scores) => scores.write(folder),
        Value::Report(report) => report.write(folder),
        Value::Folder(_) | Value::Tables(_) | Value::TokenSets(_) => {
            Err(StepError::internal("a value of several parts is stored by its parts"))
        }
    }
}

/// Reads what `write` wrote.
pub fn read(ty: PortType, folder: &Path) -> Result<Value, StepError> {
    Ok(match ty {
        PortType::Table | PortType::Tables => Value::Table(Arc::new(Stored::read(folder)?)),
        PortType::Log => Value::Log(Arc::new(Stored::read(folder)?)),
        PortType::Tokens | PortType::TokenSets => Value::Tokens(Arc::new(Stored::read(folder)?)),
        PortType::Model => Value::Model(Arc::new(Stored::read(folder)?)),
        PortType::Tokenizer => Value::Tokenizer(Arc::new(Stored::read(folder)?)),
        PortType::Predictions => Value::Predictions(Arc::new(Stored::read(folder)?)),
        PortType::Scores => Value::Scores(Arc::new(Stored::read(folder)?)),
        PortType::Report => Value::Report(Arc::new(Stored::read(folder)?)),
        PortType::Folder => Value::Folder(folder.to_path_buf()),
    })
}

/// The parts of a model with an adapter.
const BASE: &str = "base";
const ADAPTER: &str = "adapter";

const SCORES: &str = "scores.json";
const REPORT: &str = "report.json";

impl Stored for Scores {
    fn digest(&self) -> Result<Digest, StepError> {
        let mut hasher = Hasher::new("scores 1");
        hasher.bytes(&json_bytes(self)?);
        Ok(hasher.finish())
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        write_file(&folder.join(SCORES), &json_bytes(self)?)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        read_json(&folder.join(SCORES))
    }
}

impl Stored for Report {
    fn digest(&self) -> Result<Digest, StepError> {
        let mut hasher = Hasher::new("report 1");
        for (name, value) in self {
            hasher.text(name).number(value.to_bits());
        }
        Ok(hasher.finish())
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        // JSON has no NaN and no infinity: they are kept as text.
        let fields = self.iter().map(|(name, value)| {
            let value = match value.is_finite() {
                true => serde_json::json!(value),
                false => serde_json::json!(value.to_string()),
            };
            (name.clone(), value)
        });
        write_file(&folder.join(REPORT), &json_bytes(&fields.collect::<serde_json::Map<_, _>>())?)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        let path = folder.join(REPORT);
        let fields: serde_json::Map<String, serde_json::Value> = read_json(&path)?;
        fields
            .into_iter()
            .map(|(name, value)| {
                let number = match &value {
                    serde_json::Value::String(text) => text.parse().ok(),
                    other => other.as_f64(),
                };
                let number = number.ok_or_else(|| unreadable(&path, "a value is no number"))?;
                Ok((name, number))
            })
            .collect()
    }
}

impl Stored for Predictions {
    fn digest(&self) -> Result<Digest, StepError> {
        let mut hasher = Hasher::new("predictions 1");
        hasher.text(&self.head).digest(&Stored::digest(&self.table)?);
        Ok(hasher.finish())
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        write_file(&folder.join("head.json"), &json_bytes(&self.head)?)?;
        Stored::write(&self.table, folder)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        Ok(Self { head: read_json(&folder.join("head.json"))?, table: Stored::read(folder)? })
    }
}

fn json_bytes<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, StepError> {
    serde_json::to_vec_pretty(value).map_err(|error| StepError::internal(error.to_string()))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    std::fs::write(path, bytes).map_err(|error| unreadable(path, &error.to_string()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StepError> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, what: &str) -> StepError {
    StepError::new(crate::base::Code::E0701, what.to_lowercase()).at(path, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ColumnData, Table};

    fn table(values: &[i64]) -> Table {
        let values = values.iter().map(|value| Some(*value)).collect();
        Table::from_columns(vec![("n".into(), ColumnData::Int(values))]).unwrap()
    }

    /// What comes back has the same content digest, and the same bytes when it is written again.
    fn check(value: Value) {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&value, first.path()).unwrap();
        let back = read(value.ty(), first.path()).unwrap();
        assert_eq!(digest(&value).unwrap(), digest(&back).unwrap());
        write(&back, second.path()).unwrap();
        for entry in std::fs::read_dir(first.path()).unwrap() {
            let entry = entry.unwrap();
            let again = std::fs::read(second.path().join(entry.file_name())).unwrap();
            assert_eq!(std::fs::read(entry.path()).unwrap(), again, "{:?}", entry.file_name());
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        check(Value::Table(Arc::new(table(&[1, 2, 3]))));
        check(Value::Log(Arc::new(table(&[]))));
        check(Value::Predictions(Arc::new(Predictions {
            table: table(&[7]),
            head: "sequence_classification".into(),
        })));
        check(Value::Report(Arc::new(
            [("rows".to_string(), 0.1 + 0.2), ("loss".to_string(), f64::INFINITY)]
                .into_iter()
                .collect(),
        )));
        check(Value::Scores(Arc::new(Scores { rows: 3, ..Scores::default() })));
    }

    #[test]
    fn several_tables_are_stored_apart_and_put_together_in_order() {
        let tables = [("train", &[1, 2][..]), ("dev", &[3][..])]
            .map(|(name, values)| (name.to_string(), table(values)));
        let value = Value::Tables(Arc::new(tables.into_iter().collect()));
        let pieces = parts(&value);
        let names: Vec<_> = pieces.iter().map(|(name, _)| name.as_deref().unwrap_or("")).collect();
        assert_eq!(names, ["train", "dev"]);
        let Ok(Value::Tables(back)) = join(PortType::Tables, pieces) else { panic!("tables") };
        assert_eq!(back.keys().collect::<Vec<_>>(), ["train", "dev"]);
    }

    #[test]
    fn every_type_has_a_word_of_its_own() {
        for (ty, word) in WORDS {
            assert_eq!(parse_word(word), Some(*ty));
        }
    }
}
