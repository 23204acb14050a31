//! `eval`: a model's predictions for rows whose labels are known. Scoring rows is in
//! `train::evaluate`, the table of predictions in `predictions`.

use super::check::CheckCx;
use super::precision::{Memory, Precision};
use super::predictions::{AnswerRule, Made};
use super::run::{Event, RunCx, StepError, Work};
use super::shape::{LabelShape, ModelShape, PredictionsShape, Shape, TokenizerShape};
use super::value::{Predictions, Report, Value, port};
use super::{Output, Step};
use crate::base::Code;
use crate::data::{Form, Labels, Targets, Tokens};
use crate::model::Model;
use crate::params;
use crate::schema::{Port, PortType};
use crate::task::{self, Logits, Outputs, assemble};
use crate::train::masking::Masking;
use crate::train::{TokenExamples, evaluate};

/// What `eval` and `predict` make.
pub(super) const PREDICTIONS: Output = Output {
    name: "predictions",
    ty: PortType::Predictions,
    doc: "One row each: `id`, `label` where it is known, `predicted`, `logits`, `probabilities`, `loss`. Of questions: `id`, `answers` where they are known, `predicted` (empty for no answer), `null_score`, `candidates` with their `scores` and `probabilities`, `loss`.",
};

params! {
    /// Lets a model predict tokenized rows and keeps their labels beside the predictions.
    ///
    /// Without dropout. The predictions are in the order of the rows. For `embedding` they are the
    /// cosines of pairs, and without labels the rank of each text's partner among those of all rows:
    /// equal partners count once, and other right ones of the same text are left aside. For
    /// `masked_language_model` 15 % of the tokens are masked, the same ones in every run, whatever
    /// `loss` of `train` says. Rows that the model learned from, as far as ftrun trained it, are counted
    /// as `learned` and warned of.
    pub struct Eval {
        /// A model whose every tensor has values: what `train` made, or a fine-tuned checkpoint.
        model: Port<port::AModel>;
        /// The rows.
        data: Port<port::SomeTokens>;
        /// How answers are found, where the rows are questions; `spans` without it.
        answers: Option<AnswerRule>;
        /// What matrix products are computed in.
        precision: Precision = Precision::F32, free;
    }
}

impl Step for Eval {
    const NAME: &'static str = "eval";
    const VERSION: u32 = 4;
    const OUTPUTS: &'static [Output] = &[PREDICTIONS];
    const REPORT: &'static [&'static str] = &["rows", "unsupervised", "learned", "loss"];
    const EXAMPLE: &'static str = "eval predicted { model = tuned, data = tokens.test }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let model = cx.shape(&self.model);
        let tokens = cx.shape(&self.data);
        if let (Some(model), Some(tokens)) = (&model, &tokens) {
            check_tokenizer(cx, "data", model, &tokens.tokenizer);
            check_length(cx, "data", model, tokens.max_length);
            let own = model.head.as_deref().and_then(outputs_of);
            let needs = !matches!(own, Some(Outputs::Tokens | Outputs::Vectors));
            if tokens.labels == LabelShape::Absent && needs {
                let target = tokens.form.map_or("label", Form::target);
                let diag = cx
                    .diag(Code::E0406, "data", "these rows have no labels to compare with")
                    .also(cx.origin(&self.data), "made here")
                    .help(format!("`predict` takes rows without labels; `columns = {{ {target} = … }}` of `load-data` names the column that holds them"));
                cx.push(diag);
            }
            let head = model.head.as_deref().unwrap_or_default();
            if let Some(form) = tokens.form {
                check_form(cx, "data", head, form);
            }
            AnswerRule::check(self.answers.as_ref(), head, cx);
        }
        self.precision.check(cx);
        let Some(model) = model else { return Vec::new() };
        let Some(mut shape) = check_model(cx, &model, true) else { return Vec::new() };
        if let Some(tokens) = &tokens
            && outputs_of(&shape.head) == Some(Outputs::Vectors)
        {
            shape.labels = tokens.labels.clone();
        }
        vec![("predictions", Shape::Predictions(shape))]
    }

    fn identity(&self) -> Option<(&'static str, String)> {
        Some(self.precision.identity())
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (model, tokens) = (cx.input(&self.model)?, cx.input(&self.data)?);
        let asked = Asked { scored: true, answers: self.answers.as_ref() };
        let (made, loss) = predict_tokens(&model, &tokens, asked, &self.precision, cx)?;
        let rows = tokens.examples();
        let unsupervised = tokens.examples_where(|row| !tokens.targets.is_supervised(row));
        if rows == 0 {
            let message = "there are no rows to measure on".to_string();
            cx.control.event(Event::Warning { message });
        }
        let mut report = Report::from([("rows".to_string(), rows as f64)]);
        report.insert("unsupervised".to_string(), unsupervised as f64);
        let learned = model.learned.count(&tokens);
        report.insert("learned".to_string(), learned as f64);
        if learned > 0 {
            let verb = if learned == 1 { "is" } else { "are" };
            let message = format!(
                "{learned} of {rows} rows {verb} among those that the model learned from, token by token"
            );
            cx.control.event(Event::Warning { message });
        }
        report.insert("loss".to_string(), loss.unwrap_or(f64::NAN));
        Ok(vec![
            ("predictions", Value::Predictions(made.into())),
            ("report", Value::Report(report.into())),
        ])
    }
}

/// What a head's outputs are.
fn outputs_of(head: &str) -> Option<Outputs> {
    task::task(head).ok().map(|task| task.outputs())
}

/// Refuses a model that cannot predict yet; gives the shape of its predictions.
pub(super) fn check_model(
    cx: &mut CheckCx,
    model: &ModelShape,
    scored: bool,
) -> Option<PredictionsShape> {
    let Some(head) = &model.head else {
        let diag = cx
            .diag(Code::E0503, "model", format!("the model `{}` has no head", model.name))
            .help("`load-model` gives it one: `head = sequence_classification`");
        cx.push(diag);
        return None;
    };
    if model.undrawn {
        let message = format!("tensors of the model `{}` have no values yet", model.name);
        let diag = cx.diag(Code::E0504, "model", message).help(
            "the head is drawn by the first `train`; the trained model can be named here instead",
        );
        cx.push(diag);
        return None;
    }
    if !scored && outputs_of(head) == Some(Outputs::Tokens) {
        let diag = cx
            .diag(
                Code::E0503,
                "model",
                format!("`{head}` guesses masked tokens, and here are none"),
            )
            .help("`eval` masks tokens, and tells how well they are guessed");
        cx.push(diag);
        return None;
    }
    Some(PredictionsShape { head: head.clone(), labels: model.labels.clone(), scored })
}

/// Refuses tokens of another tokenizer than the model's.
pub(super) fn check_tokenizer(
    cx: &mut CheckCx,
    argument: &str,
    model: &ModelShape,
    tokenizer: &TokenizerShape,
) {
    let Some(own) = &model.tokenizer else { return };
    if let (Some(wanted), Some(found)) = (own.digest, tokenizer.digest)
        && wanted != found
    {
        let message = format!(
            "the tokens were made with the tokenizer of `{}`, the model reads those of `{}`",
            tokenizer.name, own.name
        );
        let diag = cx
            .diag(Code::E0505, argument, message)
            .help("`tokenizer` of `tokenize` names the step that loads the model");
        cx.push(diag);
    }
}

/// Refuses rows that may be longer than the model's positions.
pub(super) fn check_length(cx: &mut CheckCx, argument: &str, model: &ModelShape, length: usize) {
    let Some(limit) = model.max_positions.filter(|limit| length > *limit) else { return };
    let message = format!(
        "rows of up to {length} tokens, but the model `{}` has {limit} positions",
        model.name
    );
    let diag = cx
        .diag(Code::E0505, argument, message)
        .help(format!("`max_length = {limit}` in `tokenize` is the longest it can read"));
    cx.push(diag);
}

/// Refuses rows of a form that the head cannot read.
pub(super) fn check_form(cx: &mut CheckCx, argument: &str, head: &str, form: Form) {
    let Ok(task) = task::task(head) else { return };
    if !task.forms().contains(&form) {
        let message = format!("these rows are {}, which `{head}` cannot read", form.describe());
        let mut diag = cx.diag(Code::E0503, argument, message);
        if form == Form::Pairs && task.forms().contains(&Form::Separate) {
            diag = diag.help("`separate = true` of `tokenize` leaves the texts of a pair apart");
        } else if let Some(usual) = task::usual_task(form) {
            diag = diag.help(format!("models with `head = {}` read them", usual.name()));
        }
        cx.push(diag);
    }
}

/// What is asked of a model.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Whether the rows' labels are to be kept, and their losses found.
    pub scored: bool,
    pub answers: Option<&'a AnswerRule>,
}

/// The model's predictions for all rows, with their loss if they are scored; also the mean loss.
pub(super) fn predict_tokens(
    model: &Model,
    tokens: &Tokens,
    asked: Asked,
    precision: &Precision,
    cx: &mut RunCx,
) -> Result<(Predictions, Option<f64>), StepError> {
    if let Some(own) = &model.tokenizer
        && own.digest() != tokens.tokenizer
    {
        return Err(StepError::new(
            Code::E0701,
            "the tokens were made with another tokenizer than the model's",
        )
        .argument("data")
        .help("`tokenizer` of `tokenize` names the step that loads the model"));
    }
    let labels = (asked.scored && tokens.targets != Targets::None).then_some(&tokens.labels);
    let assembled = assemble::for_evaluation(model, labels)?;
    let task = assembled.network.task();
    let targets = match labels {
        Some(labels) => assembled.labels.apply(&task.targets(&tokens.targets, labels)?),
        None => Targets::None,
    };
    let targets = match targets {
        Targets::None if asked.scored && task.outputs() == Outputs::Vectors => {
            partners(tokens.rows())
        }
        targets => targets,
    };
    let is_masked = asked.scored && task.outputs() == Outputs::Tokens;
    let examples = match is_masked {
        true => {
            let (share, whole_words) = Masking::USUAL;
            TokenExamples::masked(tokens, masking(model, share, whole_words)?)
        }
        false => TokenExamples::new(tokens, targets.clone()),
    };
    let compute = precision.start(cx, &Memory::Normal)?;
    let total = tokens.rows() as u64;
    cx.control.event(Event::Phase { name: "predicting", total: Some(total) });
    let control = &mut cx.control;
    let mut stop = None;
    let outcome = evaluate::score(
        &assembled.network,
        &assembled.parameters,
        &examples,
        compute,
        &mut |done| {
            let work =
                Work { rows: done.rows, tokens: done.tokens, loss: None, optimizer_seconds: None };
            control.event(Event::Progress {
                done: done.finished as u64,
                detail: String::new(),
                work: Some(work),
            });
            stop = control.stop_requested();
            stop.is_none()
        },
    )?;
    let Some(outcome) = outcome else {
        return Err(stop.map_or_else(|| StepError::internal("stopped unasked"), StepError::stopped));
    };
    let outputs = assembled.network.outputs();
    let logits = Logits { values: &outcome.logits, outputs, starts: &outcome.starts };
    if let Some(row) =
        (0..logits.rows()).find(|row| logits.row(*row).iter().any(|logit| !logit.is_finite()))
    {
        let id = tokens.ids.get(row).cloned().unwrap_or_default();
        return Err(StepError::new(Code::E0701, format!("the logits of row {id} are not finite"))
            .help("the model's tensors hold values that are not numbers"));
    }
    let known = labels.is_some() || is_masked || targets != Targets::None;
    let losses: &[task::RowLoss] = if known { &outcome.losses } else { &[] };
    let names = model.head.as_ref().map_or(&[][..], |head| &head.labels);
    let made = Predictions::new(&Made {
        head: task.name(),
        labels: &output_labels(names, task.outputs(), outputs),
        ids: tokens.ids.clone(),
        parts: &tokens.parts,
        targets: &targets,
        logits,
        losses,
        answers: asked.answers.unwrap_or(&AnswerRule::USUAL),
    })?;
    let loss = (!losses.is_empty()).then(|| outcome.mean_loss()).filter(|loss| !loss.is_nan());
    Ok((made, loss))
}

/// Every row's second text is the partner of its first.
pub(super) fn partners(rows: usize) -> Targets {
    Targets::Class(vec![0; rows])
}

/// How the tokens of a model are masked. Fails where it has no tokenizer, or this no mask.
pub(super) fn masking(model: &Model, share: f64, whole_words: bool) -> Result<Masking, StepError> {
    let tokenizer = model.tokenizer.as_ref().ok_or_else(|| {
        StepError::new(
            Code::E0507,
            "the model has no tokenizer that tells which tokens can be masked",
        )
        .argument("model")
        .help("`tokenizer = …` of `load-model` gives it one")
    })?;
    Masking::of(tokenizer, share, whole_words).map_err(|error| StepError {
        help: error.help,
        ..StepError::new(Code::E0507, error.message).argument("model")
    })
}

/// The labels of outputs with these names; `LABEL_0`, … where they have none.
pub(super) fn output_labels(names: &[String], kind: Outputs, outputs: usize) -> Labels {
    let names = match names.is_empty() {
        true => (0..outputs).map(|output| format!("LABEL_{output}")).collect(),
        false => names.to_vec(),
    };
    match kind {
        Outputs::Classes => Labels::Classes { names, declared: true },
        Outputs::Labels => Labels::Multi { names, declared: true },
        Outputs::Tags => Labels::Tags { names, declared: true },
        Outputs::Answers => Labels::Answers,
        Outputs::Values | Outputs::Tokens | Outputs::Vectors => Labels::Values,
        Outputs::Choices => Labels::Unknown,
    }
}
