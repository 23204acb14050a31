//! `predict`: a model's answers for rows without labels, tokenized as its training data was.

use super::check::CheckCx;
use super::eval::{PREDICTIONS, check_model, predict_tokens};
use super::precision::Precision;
use super::run::{Event, RunCx, StepError};
use super::shape::Shape;
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{ColumnData, Overflow, Tokenization, Tokens};
use crate::model::{HeadKind, Model};
use crate::params;
use crate::schema::Port;

params! {
    /// Lets a model predict rows of which only the text is known.
    ///
    /// The text is tokenized as the training data of the model was. The predictions keep the
    /// column `text`.
    pub struct Predict {
        /// A model whose every tensor has values.
        model: Port<port::AModel>;
        /// Rows with the column `text`, and `text_pair` for pairs.
        data: Port<port::ATable>;
        /// What matrix products are computed in.
        precision: Precision = Precision::F32, free;
    }
}

impl Step for Predict {
    const NAME: &'static str = "predict";
    const VERSION: u32 = 2;
    const OUTPUTS: &'static [Output] = &[PREDICTIONS];
    const REPORT: &'static [&'static str] = &["rows", "truncated"];
    const EXAMPLE: &'static str = "predict answers { model = tuned, data = questions }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let table = cx.shape(&self.data);
        if let Some(table) = table.filter(|table| !table.has("text")) {
            let message =
                format!("the table has no column `text`; it has {}", suggest::list(table.names()));
            let diag = cx
                .diag(Code::E0404, "data", message)
                .also(cx.origin(&self.data), "made here")
                .help("`columns = { text = … }` of `load-data` gives a column this role");
            cx.push(diag);
        }
        self.precision.check(cx);
        let Some(model) = cx.shape(&self.model) else { return Vec::new() };
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
        let tokens = Tokens::of(&table, tokenizer, tokenization(&model)?)?;
        if tokens.report.truncated > 0 {
            let message =
                format!("{} of {} rows were cut", tokens.report.truncated, tokens.report.rows);
            cx.control.event(Event::Note { message });
        }
        let (mut made, _) = predict_tokens(&model, &tokens, false, &self.precision, cx)?;
        // Rows that were dropped as too long have no prediction.
        if tokens.rows() == table.rows() {
            let texts = table.texts("text")?.into_iter().map(Some).collect();
            made.table.set_column("text", ColumnData::Text(texts))?;
        }
        let report = Report::from([
            ("rows".to_string(), tokens.rows() as f64),
            ("truncated".to_string(), tokens.report.truncated as f64),
        ]);
        Ok(vec![
            ("predictions", Value::Predictions(made.into())),
            ("report", Value::Report(report.into())),
        ])
    }
}

/// As in training, else cut at what the model's positions admit.
fn tokenization(model: &Model) -> Result<Tokenization, StepError> {
    if let Some(known) = model.tokenization {
        return Ok(known);
    }
    /// Long enough for what most models were trained on where there is no limit.
    const LONGEST: usize = 512;
    let max_length = model.backbone()?.max_length().unwrap_or(LONGEST).min(LONGEST);
    let kind = model.head.as_ref().map(|head| head.kind);
    let separate = matches!(kind, Some(HeadKind::Embedding(_)));
    Ok(Tokenization { max_length, overflow: Overflow::Truncate, separate })
}
