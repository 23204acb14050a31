//! Tokenized rows: ids without padding, one row behind the other, with the rows' targets.
//! How a table's rows become such rows is in a file for each form of them, which all collect with
//! `collect`; the file that tokens are kept in is in `file`.

mod choices;
mod collect;
mod file;
mod form;
mod questions;
mod separate;
mod texts;
mod words;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::{DataError, Fault, Result};
use super::labels::{Labels, Targets};
use super::{Table, Tokenizer};
use crate::base::Digest;

pub use form::Form;

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
    /// It becomes several rows, each of which repeats so many tokens of the one before.
    Stride(usize),
}

/// How a table was tokenized: rows to predict on are tokenized in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenization {
    /// In tokens, special ones included.
    pub max_length: usize,
    pub overflow: Overflow,
    /// Whether the texts of a row are sequences of their own, for embeddings; else they are joined.
    #[serde(default)]
    pub separate: bool,
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
    /// Answers of which no row holds the whole; none where rows are no questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_answers: Option<usize>,
}

/// Tokenized rows. A row is one sequence, or several that are read together: choices, or texts to
/// compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    input_ids: Arc<[u32]>,
    token_type_ids: Arc<[u32]>,
    /// Sequence s holds the ids `offsets[s]..offsets[s + 1]`.
    offsets: Arc<[usize]>,
    /// Row r has the sequences `sequences[r]..sequences[r + 1]`; none means one each.
    sequences: Option<Arc<[usize]>>,
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
    pub parts: Parts,
}

/// What rows are parts of, where answers are not about rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// A row is a row of the table.
    #[default]
    Rows,
    /// Rows are sentences of words, or parts of them.
    Words(Words),
    /// Rows are a question with a context, or a part of it.
    Contexts(Contexts),
    /// A row is several texts, each a sequence of its own.
    Texts(SeparateTexts),
}

/// Sentences whose words have a tag each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Words {
    /// The sentence of each row, in order.
    pub sentences: Vec<usize>,
    /// For each token of all rows: the word that it is the first token of, as its place in the
    /// sentence.
    pub word_of: Vec<Option<u32>>,
    pub sentence_ids: Vec<String>,
    /// Of each sentence.
    pub words: Vec<Vec<String>>,
    /// The tag of each word of each sentence, also of those that were cut away. Empty where the rows
    /// have no tags.
    pub truth: Vec<Vec<String>>,
}

/// Questions with the contexts that hold their answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Contexts {
    /// The question of each row, in order.
    pub questions: Vec<usize>,
    /// For each token of all rows: the characters of the context that it stands for, as bytes from and
    /// to; none for tokens that are not of the context. A tensor of the file.
    #[serde(skip)]
    pub spans: Vec<Option<(u32, u32)>>,
    /// The token of each row that stands for no answer.
    pub no_answer: Vec<usize>,
    pub question_ids: Vec<String>,
    /// Of each question: its context, as a place in `texts`.
    pub contexts: Vec<usize>,
    pub texts: Vec<String>,
    /// The right answers of each question; none where it cannot be answered.
    pub answers: Vec<Vec<String>>,
    /// Whether the answers are known.
    pub answered: bool,
}

/// Texts that are sequences of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SeparateTexts {
    /// For each sequence of all rows: the number of its text among the different ones.
    pub texts: Vec<usize>,
}

impl Tokens {
    /// Tokenizes the rows of a table, in the form that its columns have.
    ///
    /// # Errors
    /// A column is missing, `max_length` leaves no room for the text, or a row is too long and
    /// `overflow` is `Error`.
    pub fn of(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
        let form = Form::of(|column| table.has(column), how.separate);
        let pair = match form {
            Form::Pairs | Form::Questions => true,
            Form::Choices => ["text", "context", "question"].iter().any(|name| table.has(name)),
            Form::Texts | Form::Words | Form::Separate => false,
        };
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
        if matches!(how.overflow, Overflow::Stride(_)) && !form.has_parts(table.has(form.target()))
        {
            let what = if form == Form::Texts { "texts with labels" } else { form.describe() };
            let message = format!("{what} cannot become several rows that overlap");
            return Err(
                DataError::new(Fault::Tokenizer, message).help("`overflow = truncate` cuts them")
            );
        }
        match form {
            Form::Texts | Form::Pairs => texts::collect(table, tokenizer, how),
            Form::Words => words::collect(table, tokenizer, how),
            Form::Separate => separate::collect(table, tokenizer, how),
            Form::Questions => questions::collect(table, tokenizer, how),
            Form::Choices => choices::collect(table, tokenizer, how),
        }
    }

    pub fn rows(&self) -> usize {
        match &self.sequences {
            Some(sequences) => sequences.len().saturating_sub(1),
            None => self.offsets.len().saturating_sub(1),
        }
    }

    /// How many examples the rows are of: a sentence or a question in several rows is one.
    pub fn examples(&self) -> usize {
        match &self.parts {
            Parts::Rows | Parts::Texts(_) => self.rows(),
            Parts::Words(words) => words.sentence_ids.len(),
            Parts::Contexts(contexts) => contexts.question_ids.len(),
        }
    }

    /// Of how many examples this holds for every row.
    pub fn examples_where(&self, holds: impl Fn(usize) -> bool) -> usize {
        let examples = match &self.parts {
            Parts::Rows | Parts::Texts(_) => {
                return (0..self.rows()).filter(|row| holds(*row)).count();
            }
            Parts::Words(words) => &words.sentences,
            Parts::Contexts(contexts) => &contexts.questions,
        };
        let rows = examples.iter().enumerate();
        let others: BTreeSet<usize> =
            rows.filter(|(row, _)| !holds(*row)).map(|(_, example)| *example).collect();
        self.examples().saturating_sub(others.len())
    }

    /// The tokens of a row; none for a row that is not there.
    pub fn row_length(&self, row: usize) -> usize {
        self.row_range(row).len()
    }

    /// The length of each sequence of a row, in tokens.
    pub fn sequence_lengths(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let range = self.sequence_range(row);
        let offsets = self.offsets.get(range.start..=range.end).unwrap_or_default();
        offsets.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// Whether rows may have several sequences.
    pub fn has_several_sequences(&self) -> bool {
        self.sequences.is_some()
    }

    pub fn input_ids(&self, row: usize) -> &[u32] {
        self.input_ids.get(self.row_range(row)).unwrap_or_default()
    }

    pub fn token_type_ids(&self, row: usize) -> &[u32] {
        self.token_type_ids.get(self.row_range(row)).unwrap_or_default()
    }

    fn sequence_range(&self, row: usize) -> Range<usize> {
        match &self.sequences {
            None => row..row + 1,
            Some(sequences) => match (sequences.get(row), sequences.get(row + 1)) {
                (Some(start), Some(end)) => *start..*end,
                _ => usize::MAX - 1..usize::MAX,
            },
        }
    }

    /// The places of a row's tokens among those of all rows; empty for a row that is not there.
    pub fn row_range(&self, row: usize) -> Range<usize> {
        let range = self.sequence_range(row);
        match (self.offsets.get(range.start), self.offsets.get(range.end)) {
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
        let sequences = match &self.sequences {
            None => rows,
            Some(sequences) => sequences.get(rows).copied().unwrap_or(0),
        };
        let end = self.offsets.get(sequences).copied().unwrap_or(0);
        Tokens {
            input_ids: self.input_ids.get(..end).unwrap_or_default().into(),
            token_type_ids: self.token_type_ids.get(..end).unwrap_or_default().into(),
            offsets: self.offsets.get(..=sequences).unwrap_or(&[0]).into(),
            sequences: self.sequences.as_ref().map(|all| all.get(..=rows).unwrap_or(&[0]).into()),
            targets: self.targets.take(&kept),
            ids: self.ids.iter().take(rows).cloned().collect(),
            parts: self.parts.head(rows, sequences, end),
            ..self.clone()
        }
    }
}

impl Parts {
    /// The parts of the first rows, which have so many sequences and tokens. What was cut in the middle counts as
    /// it is: its last rows are missing.
    fn head(&self, rows: usize, sequences: usize, tokens: usize) -> Parts {
        match self {
            Parts::Rows => Parts::Rows,
            Parts::Texts(all) => Parts::Texts(SeparateTexts {
                texts: all.texts.iter().take(sequences).copied().collect(),
            }),
            Parts::Words(all) => {
                let sentences: Vec<usize> = all.sentences.iter().take(rows).copied().collect();
                let count = sentences.last().map_or(0, |last| last + 1);
                Parts::Words(Words {
                    sentences,
                    word_of: all.word_of.iter().take(tokens).copied().collect(),
                    sentence_ids: all.sentence_ids.iter().take(count).cloned().collect(),
                    words: all.words.iter().take(count).cloned().collect(),
                    truth: all.truth.iter().take(count).cloned().collect(),
                })
            }
            Parts::Contexts(all) => {
                let questions: Vec<usize> = all.questions.iter().take(rows).copied().collect();
                let count = questions.last().map_or(0, |last| last + 1);
                Parts::Contexts(Contexts {
                    questions,
                    spans: all.spans.iter().take(tokens).copied().collect(),
                    no_answer: all.no_answer.iter().take(rows).copied().collect(),
                    question_ids: all.question_ids.iter().take(count).cloned().collect(),
                    contexts: all.contexts.iter().take(count).copied().collect(),
                    texts: all.texts.clone(),
                    answers: all.answers.iter().take(count).cloned().collect(),
                    answered: all.answered,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::column::ColumnData;
    use crate::data::{Table, Tokenizer};

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
        Tokenization { max_length, overflow, separate: false }
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
        let report =
            TokenReport { rows: 3, tokens: 10, truncated: 1, longest: 6, ..TokenReport::default() };
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
    fn a_long_text_becomes_several_rows_and_nothing_is_lost() {
        let texts = [("text", text(&["a b c d a", "b"]))];
        let made = Tokens::of(&table(&texts), &tokenizer(), how(4, Overflow::Stride(0))).unwrap();
        let rows: Vec<&[u32]> = (0..made.rows()).map(|row| made.input_ids(row)).collect();
        assert_eq!(rows, [&[2, 4, 5, 3][..], &[2, 6, 7, 3], &[2, 4, 3], &[2, 5, 3]]);
        assert_eq!(made.ids, ["0", "0", "0", "1"]);
        assert_eq!((made.report.truncated, made.report.rows), (0, 2));
        let error = Tokens::of(&table(&texts), &tokenizer(), how(4, Overflow::Stride(2)));
        assert!(error.unwrap_err().message.contains("overlap by 2"));
        let labelled = table(&[("text", text(&["a b c d"])), ("label", text(&["x"]))]);
        let error = Tokens::of(&labelled, &tokenizer(), how(4, Overflow::Stride(0))).unwrap_err();
        assert!(error.message.contains("with labels"), "{error}");
    }

    #[test]
    fn texts_to_compare_are_sequences_of_their_own() {
        let table = table(&[
            ("text", text(&["a b", "c"])),
            ("text_pair", text(&["b", "a b c d"])),
            ("negative", text(&["c", "d"])),
        ]);
        let apart = |overflow| Tokenization { separate: true, ..how(4, overflow) };
        let made = Tokens::of(&table, &tokenizer(), apart(Overflow::Truncate)).unwrap();
        assert_eq!(made.input_ids(0), [2, 4, 5, 3, 2, 5, 3, 2, 6, 3]);
        assert_eq!(made.sequence_lengths(1).collect::<Vec<_>>(), [3, 4, 3]);
        assert_eq!((made.report.truncated, made.rows()), (1, 2));
        let parts = Parts::Texts(SeparateTexts { texts: vec![0, 1, 2, 2, 3, 4] });
        assert_eq!(made.parts, parts);
        let first = made.head(1);
        assert_eq!(first.parts, Parts::Texts(SeparateTexts { texts: vec![0, 1, 2] }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.safetensors");
        made.write(&path).unwrap();
        assert_eq!(Tokens::read(&path).unwrap(), made);
        let dropped = Tokens::of(&table, &tokenizer(), apart(Overflow::Drop)).unwrap();
        assert_eq!(dropped.ids, ["0"]);
        assert!(Tokens::of(&table, &tokenizer(), apart(Overflow::Stride(0))).is_err());
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
