//! Tokens as a safetensors file, and their digest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Parts, TokenReport, Tokenization, Tokens};
use crate::base::{Digest, Hasher};
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::{Labels, Targets};

impl Tokens {
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("tokens 3");
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
            tokenization: self.tokenization,
            tokenizer: self.tokenizer.to_string(),
            pair: self.pair,
            report: self.report,
            classes: multi,
        };
        serde_json::to_string(&header).unwrap_or_default()
    }

    /// What is said of each row. A tensor, as a header may not be longer than 100 MB.
    fn rows_part(&self) -> Part {
        let rows = OfRows { ids: Cow::Borrowed(&self.ids[..]), parts: Cow::Borrowed(&self.parts) };
        let bytes = serde_json::to_vec(&rows).unwrap_or_default();
        ("rows", (Dtype::U8, vec![bytes.len()]), bytes)
    }

    fn tensors(&self) -> Vec<Part> {
        fn bytes<T: Copy, const N: usize>(values: &[T], of: fn(T) -> [u8; N]) -> Vec<u8> {
            values.iter().flat_map(|value| of(*value)).collect()
        }
        let places = |places: &[usize]| -> ((Dtype, Vec<usize>), Vec<u8>) {
            let wide: Vec<u64> = places.iter().map(|place| *place as u64).collect();
            ((Dtype::U64, vec![wide.len()]), bytes(&wide, u64::to_le_bytes))
        };
        let of_places = |name, list: &[usize]| -> Part {
            let (form, bytes) = places(list);
            (name, form, bytes)
        };
        let tokens = vec![self.input_ids.len()];
        let mut tensors = vec![
            ("input_ids", (Dtype::U32, tokens.clone()), bytes(&self.input_ids, u32::to_le_bytes)),
            of_places("offsets", &self.offsets),
            ("token_type_ids", (Dtype::U32, tokens), bytes(&self.token_type_ids, u32::to_le_bytes)),
            self.rows_part(),
        ];
        tensors.extend(self.sequences.as_ref().map(|sequences| of_places("sequences", sequences)));
        if let Parts::Contexts(all) = &self.parts {
            let flat: Vec<u32> = all
                .spans
                .iter()
                .flat_map(|span| span.map_or([u32::MAX; 2], <[u32; 2]>::from))
                .collect();
            let form = (Dtype::U32, vec![all.spans.len(), 2]);
            tensors.push(("context_spans", form, bytes(&flat, u32::to_le_bytes)));
        }
        match &self.targets {
            Targets::None => {}
            Targets::Each { starts, classes } => {
                tensors.push(of_places("target_starts", starts));
                tensors.push((
                    "targets",
                    (Dtype::I64, vec![classes.len()]),
                    bytes(classes, i64::to_le_bytes),
                ));
            }
            Targets::Spans(spans) => tensors.push((
                "target_spans",
                (Dtype::I64, vec![spans.len(), 2]),
                bytes(spans.as_flattened(), i64::to_le_bytes),
            )),
            Targets::Class(classes) => tensors.push((
                "targets",
                (Dtype::I64, vec![classes.len()]),
                bytes(classes, i64::to_le_bytes),
            )),
            Targets::Value(values) => tensors.push((
                "targets",
                (Dtype::F32, vec![values.len()]),
                bytes(values, f32::to_le_bytes),
            )),
            Targets::Multi { classes, values } => tensors.push((
                "targets",
                (Dtype::F32, vec![values.len() / (*classes).max(1), *classes]),
                bytes(values, f32::to_le_bytes),
            )),
        }
        tensors
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
        let has = |name: &str| tensors.tensor(name).is_ok();
        let places = |name: &str| -> Result<Vec<usize>> {
            let wide = read(&tensor(name, Dtype::U64)?, u64::from_le_bytes).into_iter();
            Ok(wide.map(|place| usize::try_from(place).unwrap_or(usize::MAX)).collect())
        };
        let offsets = places("offsets")?;
        let sequences = has("sequences").then(|| places("sequences")).transpose()?;
        let wholes = |name: &str| -> Result<Vec<i64>> {
            Ok(read(&tensor(name, Dtype::I64)?, i64::from_le_bytes))
        };
        let targets = match (&header.labels, header.classes) {
            _ if has("target_spans") => {
                let flat = wholes("target_spans")?;
                Targets::Spans(flat.as_chunks::<2>().0.to_vec())
            }
            _ if has("target_starts") => {
                Targets::Each { starts: places("target_starts")?, classes: wholes("targets")? }
            }
            _ if !has("targets") => Targets::None,
            (_, Some(classes)) => Targets::Multi {
                classes,
                values: read(&tensor("targets", Dtype::F32)?, f32::from_le_bytes),
            },
            (Labels::Values, None) => {
                Targets::Value(read(&tensor("targets", Dtype::F32)?, f32::from_le_bytes))
            }
            _ => Targets::Class(read(&tensor("targets", Dtype::I64)?, i64::from_le_bytes)),
        };
        let of_rows: OfRows = serde_json::from_slice(&tensor("rows", Dtype::U8)?)
            .map_err(|error| damaged(&error.to_string()))?;
        let (ids, mut parts) = (of_rows.ids.into_owned(), of_rows.parts.into_owned());
        if let Parts::Contexts(all) = &mut parts {
            let flat: Vec<u32> = read(&tensor("context_spans", Dtype::U32)?, u32::from_le_bytes);
            let span = |[from, to]: &[u32; 2]| (*from != u32::MAX).then_some((*from, *to));
            all.spans = flat.as_chunks::<2>().0.iter().map(span).collect();
        }
        let covers = |starts: &[usize], count: usize| {
            starts.first() == Some(&0) && starts.last() == Some(&count) && starts.is_sorted()
        };
        let all_sequences = offsets.len().saturating_sub(1);
        let rows = sequences.as_ref().map_or(all_sequences, |rows| rows.len().saturating_sub(1));
        let each = match &targets {
            Targets::Each { starts, classes } => covers(starts, classes.len()),
            _ => true,
        };
        let sound = covers(&offsets, input_ids.len())
            && sequences.as_ref().is_none_or(|rows| covers(rows, all_sequences))
            && each
            && parts.fits(rows, all_sequences, input_ids.len())
            && token_type_ids.len() == input_ids.len()
            && ids.len() == rows
            && targets.rows().is_none_or(|found| found == rows);
        if !sound {
            return Err(damaged("its parts do not fit together"));
        }
        Ok(Tokens {
            input_ids: input_ids.into(),
            token_type_ids: token_type_ids.into(),
            offsets: offsets.into(),
            sequences: sequences.map(Into::into),
            targets,
            labels: header.labels,
            ids,
            tokenization: header.tokenization,
            tokenizer: Digest::parse(&header.tokenizer).ok_or_else(|| damaged("no tokenizer"))?,
            pair: header.pair,
            report: header.report,
            parts,
        })
    }
}

/// A tensor of the file: its name, type and shape, and bytes.
type Part = (&'static str, (Dtype, Vec<usize>), Vec<u8>);

#[derive(Serialize, Deserialize)]
struct FileHeader {
    labels: Labels,
    tokenization: Tokenization,
    tokenizer: String,
    pair: bool,
    report: TokenReport,
    classes: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct OfRows<'a> {
    ids: Cow<'a, [String]>,
    parts: Cow<'a, Parts>,
}

impl Parts {
    /// Whether what is said of rows, sequences and tokens is said of all of them, and of what is there.
    fn fits(&self, rows: usize, sequences: usize, tokens: usize) -> bool {
        match self {
            Parts::Rows => true,
            Parts::Texts(all) => all.texts.len() == sequences,
            Parts::Words(all) => {
                let count = all.words.len();
                all.sentences.len() == rows
                    && all.word_of.len() == tokens
                    && all.sentences.iter().all(|sentence| *sentence < count)
                    && all.sentence_ids.len() == count
                    && (all.truth.is_empty() || all.truth.len() == count)
            }
            Parts::Contexts(all) => {
                let count = all.contexts.len();
                all.questions.len() == rows
                    && all.spans.len() == tokens
                    && all.no_answer.len() == rows
                    && all.questions.iter().all(|question| *question < count)
                    && all.contexts.iter().all(|context| *context < all.texts.len())
                    && all.questions.is_sorted()
                    && all.question_ids.len() == count
                    && all.answers.len() == count
            }
        }
    }
}
