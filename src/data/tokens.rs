//! Tokenized rows: ids without padding, one row behind the other, with the rows' targets.

use super::error::{DataError, Fault, Result};
use super::labels::{Labels, Targets};
use super::table::Table;
use super::tokenizer::Tokenizer;
use crate::base::{Digest, Hasher};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What happens to a row that is longer than `max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is cut at its end; of a pair, the longer text first.
    Truncate,
    /// It is left out.
    Drop,
    /// It is an error that names the row.
    Error,
}

/// How a table was tokenized: rows to predict on are tokenized in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenization {
    /// In tokens, special ones included.
    pub max_length: usize,
    pub overflow: Overflow,
}

/// What tokenizing counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenReport {
    /// Rows that went in.
    pub rows: usize,
    /// Tokens that came out.
    pub tokens: usize,
    /// Rows that were cut.
    pub truncated: usize,
    /// Rows that were left out.
    pub dropped: usize,
    /// The longest row before it was cut, in tokens.
    pub longest: usize,
}

/// Tokenized rows. Row r holds the ids `offsets[r]..offsets[r + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    input_ids: Arc<[u32]>,
    token_type_ids: Arc<[u32]>,
    offsets: Arc<[usize]>,
    pub targets: Targets,
    pub labels: Labels,
    /// The id of each row.
    pub ids: Vec<String>,
    pub tokenization: Tokenization,
    /// The tokenizer's digest: a model with another one cannot read these ids.
    pub tokenizer: Digest,
    /// Whether the rows are pairs of texts.
    pub pair: bool,
    pub report: TokenReport,
}

impl Tokens {
    /// Tokenizes the column `text`, or the pair `text` and `text_pair`.
    ///
    /// # Errors
    /// A column is missing, `max_length` leaves no room for the text, or a row is too long and
    /// `overflow` is `Error`.
    pub fn of(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
        let texts = table.texts("text")?;
        let pair = table.has("text_pair");
        let pairs = if pair { Some(table.texts("text_pair")?) } else { None };
        let special = tokenizer.special_tokens(pair);
        let least = special + if pair { 2 } else { 1 };
        if how.max_length < least {
            return Err(DataError::new(
                Fault::Tokenizer,
                format!(
                    "max_length = {} leaves no room for the text: {special} of the tokens are special",
                    how.max_length
                ),
            )
            .help(format!("at least {least} are needed")));
        }
        let cutter = tokenizer.cutting(how.max_length)?;

        struct Row {
            ids: Vec<u32>,
            type_ids: Vec<u32>,
            whole: usize,
        }
        // Rows are encoded in parallel and collected in their order.
        let encoded: Vec<Row> = (0..texts.len())
            .into_par_iter()
            .map(|row| -> Result<Row> {
                let text = texts.get(row).map(String::as_str).unwrap_or_default();
                let second = pairs.as_ref().and_then(|pairs| pairs.get(row)).map(String::as_str);
                let full = tokenizer.encode(text, second).map_err(|error| table.at(row, error))?;
                let whole = full.ids.len();
                let kept = match how.overflow {
                    Overflow::Truncate if whole > how.max_length => {
                        cutter.encode(text, second).map_err(|error| table.at(row, error))?
                    }
                    _ => full,
                };
                Ok(Row { ids: kept.ids, type_ids: kept.type_ids, whole })
            })
            .collect::<Result<_>>()?;

        let mut report = TokenReport { rows: encoded.len(), ..TokenReport::default() };
        let mut input_ids = Vec::with_capacity(encoded.iter().map(|row| row.ids.len()).sum());
        let mut token_type_ids = Vec::with_capacity(input_ids.capacity());
        let mut offsets = vec![0];
        let mut kept = Vec::with_capacity(encoded.len());
        for (number, row) in encoded.iter().enumerate() {
            report.longest = report.longest.max(row.whole);
            if row.whole > how.max_length {
                match how.overflow {
                    Overflow::Truncate => report.truncated += 1,
                    Overflow::Drop => {
                        report.dropped += 1;
                        continue;
                    }
                    Overflow::Error => {
                        let error = DataError::new(
                            Fault::Row,
                            format!(
                                "the row has {} tokens, max_length is {}",
                                row.whole, how.max_length
                            ),
                        );
                        return Err(table
                            .at(number, error)
                            .help("`overflow = truncate` cuts such rows, `overflow = drop` leaves them out"));
                    }
                }
            }
            kept.push(number);
            input_ids.extend_from_slice(&row.ids);
            token_type_ids.extend_from_slice(&row.type_ids);
            offsets.push(input_ids.len());
        }
        report.tokens = input_ids.len();
        let all_ids = table.ids();
        let ids = kept.iter().filter_map(|row| all_ids.get(*row).cloned()).collect();
        Ok(Tokens {
            input_ids: input_ids.into(),
            token_type_ids: token_type_ids.into(),
            offsets: offsets.into(),
            targets: table.targets()?.take(&kept),
            labels: table.labels().clone(),
            ids,
            tokenization: how,
            tokenizer: tokenizer.digest(),
            pair,
            report,
        })
    }

    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The tokens of a row; none for a row that is not there.
    pub fn row_length(&self, row: usize) -> usize {
        self.row_range(row).len()
    }

    pub fn input_ids(&self, row: usize) -> &[u32] {
        self.input_ids.get(self.row_range(row)).unwrap_or_default()
    }

    pub fn token_type_ids(&self, row: usize) -> &[u32] {
        self.token_type_ids.get(self.row_range(row)).unwrap_or_default()
    }

    fn row_range(&self, row: usize) -> std::ops::Range<usize> {
        match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(start), Some(end)) => *start..*end,
            _ => 0..0,
        }
    }

    /// The highest id, by which a model checks that its vocabulary is large enough.
    pub fn highest_id(&self) -> Option<u32> {
        self.input_ids.iter().copied().max()
    }

    /// The first rows only.
    pub fn head(&self, rows: usize) -> Tokens {
        let rows = rows.min(self.rows());
        let kept: Vec<usize> = (0..rows).collect();
        let end = self.offsets.get(rows).copied().unwrap_or(0);
        Tokens {
            input_ids: self.input_ids.get(..end).unwrap_or_default().into(),
            token_type_ids: self.token_type_ids.get(..end).unwrap_or_default().into(),
            offsets: self.offsets.get(..=rows).unwrap_or(&[0]).into(),
            targets: self.targets.take(&kept),
            ids: self.ids.iter().take(rows).cloned().collect(),
            ..self.clone()
        }
    }

    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("tokens 1");
        hasher.text(&self.header());
        for (_, _, bytes) in self.tensors() {
            hasher.bytes(&bytes);
        }
        hasher.finish()
    }

    fn header(&self) -> String {
        let multi = match &self.targets {
            Targets::Multi { classes, .. } => Some(*classes),
            _ => None,
        };
        let header = FileHeader {
            labels: self.labels.clone(),
            ids: self.ids.clone(),
            tokenization: self.tokenization,
            tokenizer: self.tokenizer.to_string(),
            pair: self.pair,
            report: self.report,
            classes: multi,
        };
        serde_json::to_string(&header).unwrap_or_default()
    }

    fn tensors(&self) -> Vec<Part> {
        fn bytes<T: Copy, const N: usize>(values: &[T], of: fn(T) -> [u8; N]) -> Vec<u8> {
            values.iter().flat_map(|value| of(*value)).collect()
        }
        let offsets: Vec<u64> = self.offsets.iter().map(|offset| *offset as u64).collect();
        let tokens = vec![self.input_ids.len()];
        let mut all = vec![
            ("input_ids", (Dtype::U32, tokens.clone()), bytes(&self.input_ids, u32::to_le_bytes)),
            ("offsets", (Dtype::U64, vec![offsets.len()]), bytes(&offsets, u64::to_le_bytes)),
            ("token_type_ids", (Dtype::U32, tokens), bytes(&self.token_type_ids, u32::to_le_bytes)),
        ];
        match &self.targets {
            Targets::None => {}
            Targets::Class(classes) => all.push((
                "targets",
                (Dtype::I64, vec![classes.len()]),
                bytes(classes, i64::to_le_bytes),
            )),
            Targets::Value(values) => all.push((
                "targets",
                (Dtype::F32, vec![values.len()]),
                bytes(values, f32::to_le_bytes),
            )),
            Targets::Multi { classes, values } => all.push((
                "targets",
                (Dtype::F32, vec![values.len() / (*classes).max(1), *classes]),
                bytes(values, f32::to_le_bytes),
            )),
        }
        all
    }

    /// Writes the tokens exactly, as safetensors.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fault = |error: safetensors::SafeTensorError| {
            DataError::new(Fault::Unreadable, error.to_string()).file(path)
        };
        let tensors = self.tensors();
        let views = tensors
            .iter()
            .map(|(name, (dtype, shape), bytes)| {
                TensorView::new(*dtype, shape.clone(), bytes).map(|view| (*name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        // One entry, so that the order of a hash map shows nowhere.
        let metadata = HashMap::from([("ftrun".to_string(), self.header())]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(fault)?;
        std::fs::write(path, bytes).map_err(|error| DataError::io(path, &error))
    }

    /// Reads what [`Tokens::write`] wrote.
    pub fn read(path: &Path) -> Result<Tokens> {
        let damaged = |what: &str| {
            DataError::new(Fault::Format, format!("the tokens cannot be read: {what}")).file(path)
        };
        let bytes = std::fs::read(path).map_err(|error| DataError::io(path, &error))?;
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let header: FileHeader = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("ftrun"))
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| damaged("they were not written by ftrun"))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let tensor = |name: &str, dtype: Dtype| -> Result<Vec<u8>> {
            let view = tensors.tensor(name).map_err(|error| damaged(&error.to_string()))?;
            match view.dtype() == dtype {
                true => Ok(view.data().to_vec()),
                false => Err(damaged(&format!("`{name}` has another type"))),
            }
        };
        fn read<T, const N: usize>(bytes: &[u8], of: fn([u8; N]) -> T) -> Vec<T> {
            bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok().map(of)).collect()
        }
        let input_ids = read(&tensor("input_ids", Dtype::U32)?, u32::from_le_bytes);
        let token_type_ids = read(&tensor("token_type_ids", Dtype::U32)?, u32::from_le_bytes);
        let offsets: Vec<usize> = read(&tensor("offsets", Dtype::U64)?, u64::from_le_bytes)
            .into_iter()
            .map(|offset| usize::try_from(offset).unwrap_or(usize::MAX))
            .collect();
        let targets = match (&header.labels, header.classes) {
            _ if tensors.tensor("targets").is_err() => Targets::None,
            (_, Some(classes)) => Targets::Multi {
                classes,
                values: read(&tensor("targets", Dtype::F32)?, f32::from_le_bytes),
            },
            (Labels::Values, None) => {
                Targets::Value(read(&tensor("targets", Dtype::F32)?, f32::from_le_bytes))
            }
            _ => Targets::Class(read(&tensor("targets", Dtype::I64)?, i64::from_le_bytes)),
        };
        let rows = offsets.len().saturating_sub(1);
        let sound = offsets.first() == Some(&0)
            && offsets.last() == Some(&input_ids.len())
            && offsets.is_sorted()
            && token_type_ids.len() == input_ids.len()
            && header.ids.len() == rows
            && targets.rows().is_none_or(|found| found == rows);
        if !sound {
            return Err(damaged("its parts do not fit together"));
        }
        Ok(Tokens {
            input_ids: input_ids.into(),
            token_type_ids: token_type_ids.into(),
            offsets: offsets.into(),
            targets,
            labels: header.labels,
            ids: header.ids,
            tokenization: header.tokenization,
            tokenizer: Digest::parse(&header.tokenizer).ok_or_else(|| damaged("no tokenizer"))?,
            pair: header.pair,
            report: header.report,
        })
    }
}

/// A tensor of the file: its name, type and shape, and bytes.
type Part = (&'static str, (Dtype, Vec<usize>), Vec<u8>);

#[derive(Serialize, Deserialize)]
struct FileHeader {
    labels: Labels,
    ids: Vec<String>,
    tokenization: Tokenization,
    tokenizer: String,
    pair: bool,
    report: TokenReport,
    classes: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::column::ColumnData;
    use std::collections::BTreeMap;

    fn tokenizer() -> Tokenizer {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"];
        Tokenizer::from_files(BTreeMap::from([("vocab.txt".into(), words.join("\n").into_bytes())]))
            .unwrap()
    }

    fn text(values: &[&str]) -> ColumnData {
        ColumnData::Text(values.iter().map(|value| Some(value.to_string())).collect())
    }

    fn table(columns: &[(&str, ColumnData)]) -> Table {
        let columns = columns.iter().map(|(name, data)| (name.to_string(), data.clone())).collect();
        let mut table = Table::from_columns(columns).unwrap();
        table.set_labels(table.inferred_labels().unwrap());
        table
    }

    fn how(max_length: usize, overflow: Overflow) -> Tokenization {
        Tokenization { max_length, overflow }
    }

    #[test]
    fn long_rows_are_cut_dropped_or_refused_and_counted() {
        let table = table(&[
            ("text", text(&["a b", "a b c d", ""])),
            ("label", text(&["x", "y", "x"])),
            ("id", text(&["r0", "r1", "r2"])),
        ]);
        let tokenizer = tokenizer();
        let cut = Tokens::of(&table, &tokenizer, how(4, Overflow::Truncate)).unwrap();
        assert_eq!(cut.input_ids(1), [2, 4, 5, 3]);
        assert_eq!(cut.input_ids(2), [2, 3]);
        assert_eq!(cut.input_ids(3), [0u32; 0]);
        let report = TokenReport { rows: 3, tokens: 10, truncated: 1, dropped: 0, longest: 6 };
        assert_eq!(cut.report, report);
        assert_eq!(cut.targets, Targets::Class(vec![0, 1, 0]));
        let dropped = Tokens::of(&table, &tokenizer, how(4, Overflow::Drop)).unwrap();
        assert_eq!(dropped.ids, ["r0", "r2"]);
        assert_eq!(dropped.targets, Targets::Class(vec![0, 0]));
        assert_eq!((dropped.report.dropped, dropped.rows()), (1, 2));
        let error = Tokens::of(&table, &tokenizer, how(4, Overflow::Error)).unwrap_err();
        assert!(error.message.contains("6 tokens"), "{error}");
        assert!(Tokens::of(&table, &tokenizer, how(2, Overflow::Truncate)).is_err());
    }

    #[test]
    fn of_a_pair_the_longer_text_is_cut_first() {
        let table =
            table(&[("text", text(&["a a a a", "a"])), ("text_pair", text(&["b", "b b b b"]))]);
        let cut = Tokens::of(&table, &tokenizer(), how(6, Overflow::Truncate)).unwrap();
        assert_eq!(cut.input_ids(0), [2, 4, 4, 3, 5, 3]);
        assert_eq!(cut.input_ids(1), [2, 4, 3, 5, 5, 3]);
        assert_eq!(cut.token_type_ids(1), [0, 0, 0, 1, 1, 1]);
        assert!(cut.pair);
    }

    #[test]
    fn what_is_written_reads_back_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.safetensors");
        let labels: Vec<ColumnData> = vec![
            text(&["x", "y"]),
            ColumnData::Float(vec![Some(0.5), Some(2.0)]),
            ColumnData::Texts(vec![Some(vec!["p".into(), "q".into()]), Some(vec![])]),
        ];
        for label in labels {
            let table = table(&[("text", text(&["a b", "c"])), ("label", label)]);
            let tokens = Tokens::of(&table, &tokenizer(), how(8, Overflow::Error)).unwrap();
            tokens.write(&path).unwrap();
            let again = Tokens::read(&path).unwrap();
            assert_eq!(again, tokens);
            assert_eq!(again.digest(), tokens.digest());
            let bytes = std::fs::read(&path).unwrap();
            again.write(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            for cut in [0, 7, bytes.len() / 2, bytes.len() - 1] {
                std::fs::write(&path, &bytes[..cut]).unwrap();
                assert!(Tokens::read(&path).is_err(), "{cut}");
            }
            let head = tokens.head(1);
            assert_eq!((head.rows(), head.input_ids(0)), (1, tokens.input_ids(0)));
            assert_ne!(head.digest(), tokens.digest());
        }
    }
}
