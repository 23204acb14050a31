//! `train-tokenizer`: a tokenizer of one's own, for models from scratch. How pieces are found is in
//! `data::learn`.

use std::sync::Arc;

use super::check::CheckCx;
use super::run::{Event, RunCx, StepError};
use super::shape::{Shape, TokenizerShape};
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::learn::{Algorithm, Learning};
use crate::data::{ColumnData, Table};
use crate::schema::{Port, PortType};
use crate::{params, variants};

params! {
    /// Words apart at spaces and signs, as BERT has them; pieces that go on with a word begin with `##`.
    pub struct WordPiece {
        /// How often two pieces are neighbours before they are joined, and a character occurs before it
        /// is known.
        min_frequency: usize = 2, in (1, 1_000_000);
        /// The most different characters that are known, the most frequent ones first.
        alphabet: usize = 1_000, in (1, 1_000_000);
    }
}

params! {
    /// Bytes of words that keep the space before them, as RoBERTa has them: no text is unknown.
    pub struct Bpe {
        /// How often two pieces are neighbours before they are joined.
        min_frequency: usize = 2, in (1, 1_000_000);
    }
}

params! {
    /// The pieces that make the text most likely, as ALBERT and XLM-RoBERTa have them.
    pub struct Unigram {
        /// The most different characters that are known, the most frequent ones first.
        alphabet: usize = 1_000, in (1, 1_000_000);
    }
}

variants! {
    /// a way to find pieces of words
    pub enum Pieces {
        /// Words apart at spaces and signs; pieces that go on with a word begin with `##`.
        WordPiece(WordPiece) = "wordpiece",
        /// Bytes of words that keep the space before them.
        Bpe(Bpe) = "bpe",
        /// The pieces that make the text most likely.
        Unigram(Unigram) = "unigram",
    }
}

params! {
    /// Learns a tokenizer from text, for a model that is trained from scratch.
    ///
    /// It has the special tokens of BERT, `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]` with the ids 0 to
    /// 4, and puts `[CLS]` before a text and `[SEP]` behind it. The same text gives the same tokenizer.
    pub struct TrainTokenizer {
        /// Rows with text: all of the columns `text`, `text_pair`, `negative`, `question`, `context` and
        /// `words` that are there.
        data: Port<port::SomeTables>;
        /// How pieces are found.
        algorithm: Pieces = Pieces::WordPiece(WordPiece { min_frequency: 2, alphabet: 1_000 });
        /// The most tokens that it has, special ones included; fewer where the text holds no more.
        vocab_size: usize = 8_000, in (6, 1_000_000);
        /// Whether upper and lower case are the same.
        lowercase: bool = true;
    }
}

/// The columns whose text is read.
const COLUMNS: [&str; 6] = ["text", "text_pair", "negative", "question", "context", "words"];

impl Step for TrainTokenizer {
    const NAME: &'static str = "train-tokenizer";
    const VERSION: u32 = 2;
    const OUTPUTS: &'static [Output] =
        &[Output { name: "tokenizer", ty: PortType::Tokenizer, doc: "The tokenizer." }];
    const REPORT: &'static [&'static str] = &["texts", "tokens"];
    const EXAMPLE: &'static str = "train-tokenizer pieces { data = texts, vocab_size = 4_000 }\n\nload-model fresh {\n  source    = config(\"bert-small.json\")\n  tokenizer = pieces\n  override  = { vocab_size = 4_000 }\n  head      = masked_language_model\n}";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let Some(tables) = cx.shape(&self.data) else { return Vec::new() };
        for (name, shape) in tables.items() {
            if COLUMNS.iter().any(|column| shape.has(column)) {
                continue;
            }
            let of = if name.is_empty() { String::new() } else { format!(" `{name}`") };
            let message = format!(
                "the table{of} has no column of text; it has {}",
                suggest::list(shape.names())
            );
            let diag = cx
                .diag(Code::E0404, "data", message)
                .also(cx.origin(&self.data), "made here")
                .help("`columns = { text = … }` of `load-data` gives a column this role");
            cx.push(diag);
        }
        let shape = TokenizerShape {
            vocab_size: Some(self.vocab_size),
            digest: None,
            name: "the trained tokenizer".to_string(),
        };
        vec![("tokenizer", Shape::Tokenizer(shape))]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let tables = cx.input(&self.data)?;
        let mut texts = Vec::new();
        for (_, table) in tables.items() {
            for column in COLUMNS.iter().filter(|column| table.has(column)) {
                texts.extend(texts_of(table, column)?);
            }
        }
        cx.control.event(Event::Phase { name: "learning pieces", total: None });
        let learning = Learning {
            algorithm: match &self.algorithm {
                Pieces::WordPiece(WordPiece { min_frequency, alphabet }) => {
                    let (min_frequency, alphabet) = (*min_frequency, *alphabet);
                    Algorithm::WordPiece { min_frequency, alphabet }
                }
                Pieces::Bpe(Bpe { min_frequency }) => {
                    Algorithm::Bpe { min_frequency: *min_frequency }
                }
                Pieces::Unigram(Unigram { alphabet }) => Algorithm::Unigram { alphabet: *alphabet },
            },
            vocab_size: self.vocab_size,
            lowercase: self.lowercase,
        };
        let tokenizer = learning.learn(&texts)?;
        let tokens = tokenizer.vocab_size();
        if tokens < self.vocab_size {
            let message = format!("the text holds no more than {tokens} tokens");
            cx.control.event(Event::Note { message });
        }
        let report = Report::from([
            ("texts".to_string(), texts.len() as f64),
            ("tokens".to_string(), tokens as f64),
        ]);
        Ok(vec![
            ("tokenizer", Value::Tokenizer(Arc::new(tokenizer))),
            ("report", Value::Report(Arc::new(report))),
        ])
    }
}

/// The texts of a column; words are texts of their own.
fn texts_of(table: &Table, column: &str) -> Result<Vec<String>, StepError> {
    match table.column(column)? {
        ColumnData::Texts(rows) => Ok(rows.into_iter().flatten().flatten().collect()),
        ColumnData::Text(rows) => Ok(rows.into_iter().flatten().collect()),
        _ => {
            let message = format!("the column `{column}` does not hold text");
            Err(StepError::new(Code::E0404, message).argument("data"))
        }
    }
}
