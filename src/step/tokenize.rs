//! `tokenize`: tables to tokens. Encoding is in `data::tokens`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::check::CheckCx;
use super::run::{Event, RunCx, StepError};
use super::shape::{ColumnType, LabelShape, Shape, TableShape, TokensShape};
use super::value::{OneOrNamed, Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{Form, Overflow, Tokenization, Tokens, shared};
use crate::schema::{Port, PortRef, PortType};
use crate::{params, variants};

variants! {
    /// what happens to rows that are longer than `max_length`
    pub enum TooLong {
        /// They are cut at the end, of a pair the longer text first. They are counted.
        Truncate = "truncate",
        /// They are left out, and counted.
        Drop = "drop",
        /// They are an error that names the row.
        Error = "error",
        /// Words, contexts of questions, and texts without labels: they become several rows that overlap,
        /// so that nothing is lost. Every word is answered once, by the row with more around it.
        Stride(Stride) = "stride",
    }
}

params! {
    /// Several rows that overlap.
    pub struct Stride {
        /// The tokens that a row has in common with the one before.
        overlap: usize, in (0, 1_048_576), main;
    }
}

params! {
    /// Turns texts into the token ids of a model.
    ///
    /// A table with the column `text` gives single texts, with `text_pair` as well pairs. With `words`
    /// it gives sentences: the first token of a word has its tag, the others have none. With `question`
    /// and `context` it gives pairs of which only the context is cut: the targets are the first and
    /// the last token of the first of the `answers`, or the class token twice where a row does not hold
    /// the answer. With `choices` every choice is a pair of its own with the `context` or `text` before
    /// it; a `question` beside one of these stands in front of each choice. With
    /// `separate = true` the texts of a row stay apart, for embeddings. Rows are kept in their order and
    /// are not padded.
    pub struct Tokenize {
        /// Rows with the columns of one form: `text`; `text` and `text_pair`; `words` and `tags`;
        /// `question`, `context` and `answers`; `choices`.
        data: Port<port::SomeTables>;
        /// The tokenizer of the model that reads the tokens.
        tokenizer: Port<port::ATokenizer>;
        /// The longest row in tokens, special ones included.
        max_length: usize = 128, in (1, 1_048_576);
        /// Rows that are longer.
        overflow: TooLong = TooLong::Truncate;
        /// Whether the texts of a row, `text`, `text_pair` and `negative`, are each read by themselves, for
        /// embeddings; else a pair is one sequence. `max_length` and `overflow` are then about each text.
        separate: bool = false;
    }
}

impl Tokenize {
    fn how(&self) -> Tokenization {
        Tokenization {
            max_length: self.max_length,
            overflow: match &self.overflow {
                TooLong::Stride(stride) => Overflow::Stride(stride.overlap),
                TooLong::Truncate => Overflow::Truncate,
                TooLong::Drop => Overflow::Drop,
                TooLong::Error => Overflow::Error,
            },
            separate: self.separate,
        }
    }

    fn form(&self, shape: &TableShape) -> Option<Form> {
        shape.columns.as_ref()?;
        Some(Form::of(|column| shape.has(column), self.how().separate))
    }

    fn check_table(&self, cx: &mut CheckCx, name: &str, shape: &TableShape) {
        let of =
            if name.is_empty() { "the table".to_string() } else { format!("the table `{name}`") };
        let (Some(columns), Some(form)) = (&shape.columns, self.form(shape)) else { return };
        let origin = cx.origin(&self.data);
        for missing in form.columns().iter().filter(|column| !shape.has(column)) {
            let mut diag = cx
                .diag(
                    Code::E0404,
                    "data",
                    format!(
                        "{of} has no column `{missing}`; it has {}",
                        suggest::list(shape.names())
                    ),
                )
                .also(origin, "made here");
            let texts: Vec<&str> = columns
                .iter()
                .filter(|column| column.ty == ColumnType::Text && column.name != "label")
                .map(|column| column.name.as_str())
                .collect();
            diag = match texts.first() {
                Some(first) => diag.help(format!(
                    "a column gets the role in `load-data`: `columns = {{ {missing} = {first:?} }}`"
                )),
                None => diag.help(format!(
                    "`columns = {{ {missing} = … }}` of `load-data` gives a column this role"
                )),
            };
            cx.push(diag);
        }
        for role in ["text", "text_pair", "negative", "question", "context"] {
            let Some(column) = columns.iter().find(|column| column.name == role) else { continue };
            if !matches!(column.ty, ColumnType::Text | ColumnType::Unknown) {
                let diag = cx
                    .diag(
                        Code::E0404,
                        "data",
                        format!("the column `{role}` of {of} does not hold text"),
                    )
                    .also(origin, "made here");
                cx.push(diag);
            }
        }
        let can_be_parts = match form {
            Form::Words | Form::Questions => true,
            Form::Texts => shape.labels == LabelShape::Absent,
            Form::Pairs | Form::Choices | Form::Separate => false,
        };
        if matches!(self.overflow, TooLong::Stride(_)) && !can_be_parts {
            let what = match form {
                Form::Texts => "texts with labels",
                other => other.describe(),
            };
            let diag = cx
                .diag(
                    Code::E0209,
                    "overflow",
                    format!("{what} cannot become several rows that overlap"),
                )
                .also(origin, "made here")
                .help("`overflow = truncate` cuts them; `stride` is for words, for questions, and for texts without labels");
            cx.push(diag);
        }
    }
}

impl Step for Tokenize {
    const NAME: &'static str = "tokenize";
    const VERSION: u32 = 3;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "tokens",
        ty: PortType::TokenSets,
        doc: "The tokens, under the names of the tables.",
    }];
    const REPORT: &'static [&'static str] =
        &["rows", "tokens", "truncated", "dropped", "longest", "lost_answers"];
    const EXAMPLE: &'static str = "tokenize tokens { data = reviews, tokenizer = encoder, max_length = 128, overflow = truncate }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let tables = cx.shape(&self.data);
        let tokenizer = cx.shape(&self.tokenizer);
        let (Some(tables), Some(tokenizer)) = (tables, tokenizer) else { return Vec::new() };
        for (name, shape) in tables.items() {
            self.check_table(cx, name, shape);
        }
        let pairs = tables
            .items()
            .iter()
            .any(|(_, shape)| matches!(self.form(shape), Some(Form::Pairs | Form::Questions)));
        let least = if pairs { 5 } else { 3 };
        if self.max_length < least {
            let diag = cx
                .diag(
                    Code::E0507,
                    "max_length",
                    format!(
                        "{} tokens leave no room for the text beside the special tokens",
                        self.max_length
                    ),
                )
                .help("most sentences have 10 to 60 tokens: `max_length = 128`");
            cx.push(diag);
        }
        if let TooLong::Stride(Stride { overlap }) = &self.overflow
            && *overlap >= self.max_length
        {
            let message = format!("rows of {} tokens cannot overlap by {overlap}", self.max_length);
            let diag = cx
                .diag(Code::E0209, "overflow", message)
                .also(cx.places.at("max_length"), "the longest row");
            cx.push(diag.help("a third of `max_length` is usual"));
        }
        let tokens = |shape: &TableShape| TokensShape {
            labels: match self.form(shape) {
                Some(Form::Questions) if shape.has("answers") => LabelShape::Answers,
                Some(Form::Questions) => LabelShape::Absent,
                _ => shape.labels.clone(),
            },
            form: self.form(shape),
            max_length: self.max_length,
            tokenizer: tokenizer.clone(),
        };
        let shape = match &tables {
            OneOrNamed::One(shape) => Shape::Tokens(tokens(shape)),
            OneOrNamed::Named(all) => Shape::TokenSets(
                all.iter().map(|(name, shape)| (name.clone(), tokens(shape))).collect(),
            ),
        };
        vec![("tokens", shape)]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let tables = cx.input(&self.data)?;
        // Tables of several steps meet here for the first time.
        if let PortRef::Named(_) = self.data.source {
            for shared in shared(&tables.tables())? {
                cx.control.event(Event::Warning { message: shared.to_string() });
            }
        }
        let tokenizer = cx.input(&self.tokenizer)?;
        let rows: usize = tables.items().iter().map(|(_, table)| table.rows()).sum();
        cx.control.event(Event::Phase { name: "tokenizing", total: Some(rows as u64) });
        let mut totals = crate::data::TokenReport::default();
        let (mut done, mut lost) = (0, 0);
        let made = tables.try_map(|_, table| -> Result<Arc<Tokens>, StepError> {
            let tokens = Tokens::of(&table, &tokenizer, self.how())?;
            let report = tokens.report;
            totals.rows += report.rows;
            totals.tokens += report.tokens;
            totals.truncated += report.truncated;
            totals.dropped += report.dropped;
            totals.longest = totals.longest.max(report.longest);
            lost += report.lost_answers.unwrap_or(0);
            done += report.rows as u64;
            cx.control.event(Event::Progress { done, detail: String::new(), work: None });
            Ok(Arc::new(tokens))
        })?;
        if totals.truncated + totals.dropped > 0 {
            let (count, what) = match totals.dropped {
                0 => (totals.truncated, "cut"),
                dropped => (dropped, "left out"),
            };
            let message = format!(
                "{count} of {} rows were {what} at max_length = {}; the longest has {} tokens",
                totals.rows, self.max_length, totals.longest
            );
            cx.control.event(Event::Note { message });
        }
        let report: Report = [
            ("rows", totals.rows),
            ("tokens", totals.tokens),
            ("truncated", totals.truncated),
            ("dropped", totals.dropped),
            ("longest", totals.longest),
            ("lost_answers", lost),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_string(), count as f64))
        .collect();
        let value = match made {
            OneOrNamed::One(tokens) => Value::Tokens(tokens),
            OneOrNamed::Named(all) => {
                Value::TokenSets(Arc::new(all.into_iter().collect::<IndexMap<_, _>>()))
            }
        };
        Ok(vec![("tokens", value), ("report", Value::Report(Arc::new(report)))])
    }
}
