//! `predict`: a model's answers for rows without labels, tokenized as its training data was.

use super::check::CheckCx;
use super::eval::{Asked, PREDICTIONS, check_form, check_model, predict_tokens};
use super::precision::Precision;
use super::predictions::AnswerRule;
use super::run::{Event, RunCx, StepError};
use super::shape::{ModelShape, Shape, TableShape};
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{Form, Overflow, Tokenization, Tokens};
use crate::model::{HeadKind, Model};
use crate::params;
use crate::schema::Port;
use crate::task::task;

params! {
    /// Lets a model predict rows whose labels are not known.
    ///
    /// The rows are tokenized as the training data of the model was. The predictions keep what was
    /// asked: the column `text`, `words`, `question` or `choices`.
    pub struct Predict {
        /// A model whose every tensor has values.
        model: Port<port::AModel>;
        /// Rows with the columns that the head reads: `text`; `text` and `text_pair`; `words`;
        /// `question` and `context`; `choices`.
        data: Port<port::ATable>;
        /// How answers are found, where the rows are questions; `spans` without it.
        answers: Option<AnswerRule>;
        /// What matrix products are computed in.
        precision: Precision = Precision::F32, free;
    }
}

impl Step for Predict {
    const NAME: &'static str = "predict";
    const VERSION: u32 = 3;
    const OUTPUTS: &'static [Output] = &[PREDICTIONS];
    const REPORT: &'static [&'static str] = &["rows", "truncated"];
    const EXAMPLE: &'static str = "predict answers { model = tuned, data = questions }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        self.precision.check(cx);
        let (table, model) = (cx.shape(&self.data), cx.shape(&self.model));
        let Some(model) = model else { return Vec::new() };
        if let Some(table) = table {
            self.check_table(cx, &model, &table);
        }
        AnswerRule::check(self.answers.as_ref(), model.head.as_deref().unwrap_or_default(), cx);
        let Some(shape) = check_model(cx, &model, false) else { return Vec::new() };
        vec![("predictions", Shape::Predictions(shape))]
    }

    fn identity(&self) -> Option<(&'static str, String)> {
        Some(self.precision.identity())
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (model, table) = (cx.input(&self.model)?, cx.input(&self.data)?);
        let tokenizer = model.tokenizer.as_ref().ok_or_else(|| {
            StepError::new(Code::E0701, "the model has no tokenizer to read the text with")
                .argument("model")
                .help("`tokenizer = …` of `load-model` gives it one")
        })?;
        let how = tokenization(&model)?;
        let tokens = Tokens::of(&table, tokenizer, how)?;
        if tokens.report.truncated > 0 {
            let message =
                format!("{} of {} rows were cut", tokens.report.truncated, tokens.report.rows);
            cx.control.event(Event::Note { message });
        }
        let asked = Asked { scored: false, answers: self.answers.as_ref() };
        let (mut made, _) = predict_tokens(&model, &tokens, asked, &self.precision, cx)?;
        // Rows that were dropped as too long have no prediction.
        let form = Form::of(|column| table.has(column), how.separate);
        if let Some(column) = form.columns().first()
            && made.table.rows() == table.rows()
        {
            made.table.set_column(column, table.column(column)?)?;
        }
        let report = Report::from([
            ("rows".to_string(), made.table.rows() as f64),
            ("truncated".to_string(), tokens.report.truncated as f64),
        ]);
        Ok(vec![
            ("predictions", Value::Predictions(made.into())),
            ("report", Value::Report(report.into())),
        ])
    }
}

impl Predict {
    /// Refuses a table without the columns that the model's head reads.
    fn check_table(&self, cx: &mut CheckCx, model: &ModelShape, table: &TableShape) {
        let head = model.head.as_deref().unwrap_or_default();
        let (Some(_), Ok(task)) = (&table.columns, task(head)) else { return };
        let usual = task.usual_form();
        let found = Form::of(|column| table.has(column), usual == Form::Separate);
        let fits = task.forms().contains(&found);
        let wanted = if fits { found } else { usual };
        let mut complete = true;
        for missing in wanted.columns().iter().filter(|column| !table.has(column)) {
            complete = false;
            let names = suggest::list(table.names());
            let message = format!("the table has no column `{missing}`; it has {names}");
            let help =
                format!("`columns = {{ {missing} = … }}` of `load-data` gives a column this role");
            let diag = cx.diag(Code::E0404, "data", message);
            cx.push(diag.also(cx.origin(&self.data), "made here").help(help));
        }
        if complete && !fits {
            check_form(cx, "data", head, found);
        }
    }
}

/// As in training, but that each row gets an answer, also one that would have been left out; else cut at
/// what the model's positions admit.
fn tokenization(model: &Model) -> Result<Tokenization, StepError> {
    if let Some(known) = model.tokenization {
        let overflow = match known.overflow {
            Overflow::Drop => Overflow::Truncate,
            other => other,
        };
        return Ok(Tokenization { overflow, ..known });
    }
    /// Long enough for what most models were trained on where there is no limit.
    const LONGEST: usize = 512;
    let max_length = model.backbone()?.max_length().unwrap_or(LONGEST).min(LONGEST);
    let kind = model.head.as_ref().map(|head| head.kind);
    let separate = matches!(kind, Some(HeadKind::Embedding(_)));
    Ok(Tokenization { max_length, overflow: Overflow::Truncate, separate })
}
