//! What can be wrong with a `train` step before it runs.

use super::{Best, KeepRule, LossRule, Patience, StopRule, Train};
use crate::base::{Code, suggest};
use crate::data::Form;
use crate::schema::{Or, PortRef, Unit};
use crate::step::check::CheckCx;
use crate::step::eval::{check_length, check_tokenizer};
use crate::step::metric::{fitting, misfit};
use crate::step::predictions::known_names;
use crate::step::shape::{LabelShape, ModelShape, TokensShape};
use crate::task::{LossOptions, Outputs, task, usual_task};
use crate::train::metrics::{Direction, Kind, PickMetric};

impl Train {
    /// The metrics that `keep` and `stop_early` look at, with their places.
    pub(super) fn watched(&self) -> Vec<(&'static str, &PickMetric)> {
        let mut all = Vec::new();
        if let KeepRule::Best(Best { metric: Or::Second(pick) }) = &self.keep {
            all.push(("keep.metric", pick));
        }
        if let Some(StopRule::Patience(Patience { metric: Or::Second(pick), .. })) =
            &self.stop_early
        {
            all.push(("stop_early.metric", pick));
        }
        all
    }

    pub(super) fn needs_validation(&self) -> Option<&'static str> {
        if matches!(self.keep, KeepRule::Best(_)) {
            Some("keep")
        } else if self.stop_early.is_some() {
            Some("stop_early")
        } else {
            None
        }
    }

    pub(super) fn check_arguments(&self, cx: &mut CheckCx) {
        if self.batch.value.fract() != 0.0 {
            let message = format!("a batch of {} {}", self.batch.value, self.batch.unit.word());
            let diag = cx.diag(Code::E0205, "batch", message).help("a batch is a whole number");
            let fix = cx.places.at("batch");
            let whole = self.batch.value.ceil();
            let unit = if self.batch.unit == Unit::Tokens { " tokens" } else { "" };
            cx.push(diag.fix(fix, format!("{whole}{unit}")));
        }
        if self.budget.value == 0.0 {
            let diag = cx
                .diag(Code::E0205, "budget", "a budget of nothing trains nothing")
                .help("`budget = 3 epochs` is usual");
            cx.push(diag.fix(cx.places.at("budget"), "3 epochs"));
        }
        if let (Some(argument), None) = (self.needs_validation(), &self.validate) {
            let message =
                format!("`{argument}` looks at validations, and there are no rows to validate on");
            let diag = match self.other_field(cx, "validation") {
                Some(port) => cx.diag_with_argument(
                    Code::E0209,
                    argument,
                    message,
                    &format!("validate = {port}"),
                ),
                None => cx.diag(Code::E0209, argument, message),
            };
            cx.push(diag.help("`validate = …` names tokens with labels"));
        }
        for (argument, given) in [
            ("optimizer", self.optimizer.as_ref().map(|pick| pick.build().is_some())),
            ("schedule", self.schedule.as_ref().map(|pick| pick.build().is_some())),
        ] {
            if given == Some(false) {
                let message = format!("the arguments of `{argument}` do not fit it");
                let diag = cx.diag(Code::E0204, argument, message);
                cx.push(diag);
            }
        }
    }

    /// `tokens.validation` beside `data = tokens.train`, if there is such a thing.
    pub(super) fn other_field(&self, cx: &CheckCx, name: &str) -> Option<String> {
        let PortRef::One { step, output, field: Some(_) } = &self.data.source else { return None };
        let other = PortRef::One {
            step: step.clone(),
            output: output.clone(),
            field: Some(name.to_string()),
        };
        (cx.shapes)(&other).map(|_| format!("{step}.{name}"))
    }

    pub(super) fn check_tokens(
        &self,
        cx: &mut CheckCx,
        argument: &str,
        model: &ModelShape,
        tokens: &TokensShape,
    ) {
        check_tokenizer(cx, argument, model, &tokens.tokenizer);
        check_length(cx, argument, model, tokens.max_length);
        let port = if argument == "data" { Some(&self.data) } else { self.validate.as_ref() };
        let origin = port.map(|port| cx.origin(port)).unwrap_or_default();
        let Some(learner) = model.head.as_deref().and_then(|head| task(head).ok()) else { return };
        let outputs = learner.outputs();
        if let Some(form) = tokens.form
            && !learner.forms().contains(&form)
        {
            let own = model.head.as_deref().unwrap_or_default();
            let message =
                format!("these rows are {}, which `{own}` cannot learn from", form.describe());
            let mut diag = cx
                .diag(Code::E0503, argument, message)
                .also(origin, "made here")
                .also(cx.origin(&self.model), format!("`head = {own}`"));
            if let Some(usual) = usual_task(form) {
                diag = diag.help(format!("`head = {}` of `load-model` fits them", usual.name()));
            }
            cx.push(diag);
            return;
        }
        if matches!(outputs, Outputs::Tokens | Outputs::Vectors) {
            return;
        }
        let (fits, found, head) = match &tokens.labels {
            LabelShape::Absent => {
                let target = tokens.form.map_or("label", Form::target);
                let diag = cx
                    .diag(Code::E0406, argument, "these rows have no labels to learn from")
                    .also(origin, "made here")
                    .help(format!(
                        "`columns = {{ {target} = … }}` of `load-data` names the column that holds them"
                    ));
                cx.push(diag);
                return;
            }
            LabelShape::Classes(names) => {
                let numbers = names
                    .as_ref()
                    .is_none_or(|all| all.iter().all(|name| name.parse::<f64>().is_ok()));
                let fits = match outputs {
                    Outputs::Classes | Outputs::Labels | Outputs::Choices => true,
                    Outputs::Values => numbers,
                    _ => false,
                };
                (fits, "one class a row", "sequence_classification")
            }
            LabelShape::Values => {
                (outputs == Outputs::Values, "one number a row", "sequence_regression")
            }
            LabelShape::Multi(_) => {
                (outputs == Outputs::Labels, "several labels a row", "multi_label_classification")
            }
            LabelShape::Tags(_) => {
                (outputs == Outputs::Tags, "one class a word", "token_classification")
            }
            LabelShape::Answers => (outputs == Outputs::Answers, "answers", "question_answering"),
            LabelShape::Unknown => return,
        };
        let own = model.head.as_deref().unwrap_or_default();
        if !fits {
            let diag = cx
                .diag(
                    Code::E0503,
                    argument,
                    format!("this data has {found}, which `{own}` cannot learn"),
                )
                .also(origin, "made here")
                .also(cx.origin(&self.model), format!("`head = {own}`"))
                .help(format!("`head = {head}` of `load-model` fits this data"));
            cx.push(diag);
            return;
        }
        if !outputs.named() {
            return;
        }
        let (Some(known), Some(names)) = (known_names(&model.labels), known_names(&tokens.labels))
        else {
            return;
        };
        let mut sorted = [known.to_vec(), names.to_vec()];
        sorted.iter_mut().for_each(|names| names.sort());
        let unknown = names.iter().any(|name| !known.contains(name));
        if (argument == "data" && sorted[0] != sorted[1]) || unknown {
            let show = |names: &[String]| suggest::list(names.iter().take(6).map(String::as_str));
            let message =
                format!("the labels of this data are {}, the model's {}", show(names), show(known));
            let diag = cx
                .diag(Code::E0502, argument, message)
                .also(cx.origin(&self.model), "the model")
                .help(format!(
                    "a new head for these labels: `head = {own}(new = true)` in `load-model`"
                ));
            cx.push(diag);
        }
    }

    pub(super) fn check_metrics(
        &self,
        cx: &mut CheckCx,
        head: &str,
        kind: Kind,
        labels: &LabelShape,
    ) {
        let of_list = self.metrics.iter().enumerate();
        let mut all: Vec<(String, &PickMetric)> =
            of_list.map(|(at, pick)| (format!("metrics.{at}"), pick)).collect();
        all.extend(self.watched().into_iter().map(|(path, pick)| (path.to_string(), pick)));
        for (path, pick) in all {
            let Some(metric) = pick.build() else { continue };
            if let Some(message) = misfit(metric.as_ref(), &pick.name, kind) {
                let diag = cx
                    .diag(Code::E0506, &path, message)
                    .also(cx.origin(&self.model), format!("`head = {head}`"))
                    .help(format!("metrics that fit: {}", suggest::list(fitting(kind))));
                cx.push(diag);
            } else if let Some(names) = known_names(labels)
                && let Err(message) = metric.check(names)
            {
                let diag = cx.diag(Code::E0506, &path, message);
                cx.push(diag);
            } else if !path.starts_with("metrics") && metric.direction() == Direction::None {
                let message = format!("`{}` is no single number, so none is best", pick.name);
                let diag = cx.diag(Code::E0506, &path, message);
                cx.push(diag);
            }
        }
    }

    /// Whether the head can learn by the loss, and the rows have what it needs.
    pub(super) fn check_loss_rule(&self, cx: &mut CheckCx, head: &str, labels: &LabelShape) {
        let Some(outputs) = task(head).ok().map(|task| task.outputs()) else { return };
        let (fits, own) = match &self.loss {
            None => (true, ""),
            Some(LossRule::Masked(_)) => (outputs == Outputs::Tokens, "masked_language_model"),
            Some(_) => (outputs == Outputs::Vectors, "embedding"),
        };
        let origin = cx.origin(&self.model);
        if !fits {
            let diag = cx
                .diag(Code::E0209, "loss", format!("`{head}` does not learn by this loss"))
                .also(origin, format!("`head = {head}`"))
                .help(format!(
                    "it belongs to `head = {own}` of `load-model`; `loss` can be left out"
                ));
            cx.push(diag);
        }
        let by_scores = matches!(&self.loss, Some(LossRule::Cosine(_) | LossRule::Cosent(_)));
        let names = known_names(labels).unwrap_or_default();
        let words = names.iter().any(|name| name.parse::<f64>().is_err());
        if by_scores && (words || *labels == LabelShape::Absent) {
            let found = if words { "labels that are no numbers" } else { "no labels" };
            let diag = cx
                .diag(
                    Code::E0406,
                    "loss",
                    format!("these rows have {found}, and this loss learns scores"),
                )
                .also(cx.origin(&self.data), "made here")
                .help("`loss = in_batch_negatives` learns from pairs alone");
            cx.push(diag);
        }
        if outputs == Outputs::Vectors && self.loss.is_none() && words {
            let diag = cx
                .diag(Code::E0406, "data", "the labels of these rows are no scores of pairs")
                .also(cx.origin(&self.data), "made here")
                .help(
                    "`loss = in_batch_negatives` learns from pairs alone, and does not read labels",
                );
            cx.push(diag);
        }
    }

    pub(super) fn check_loss(&self, cx: &mut CheckCx, head: &str, labels: &LabelShape) {
        let Ok(task) = task(head) else { return };
        let weighted = LossOptions {
            class_weights: self.class_weights.as_ref().map(|_| Vec::new()),
            ..LossOptions::default()
        };
        let smoothed =
            LossOptions { label_smoothing: self.label_smoothing, ..LossOptions::default() };
        let mut known = true;
        for (argument, options) in [("class_weights", weighted), ("label_smoothing", smoothed)] {
            if let Err(error) = task.check_options(&options, 0) {
                let diag = cx.diag(Code::E0209, argument, error.message).help("it can be left out");
                cx.push(diag);
                known = false;
            }
        }
        if !known {
            return;
        }
        let Some(Or::Second(weights)) = &self.class_weights else { return };
        let values: Vec<f64> = match weights {
            Or::First(list) => list.clone(),
            Or::Second(map) => map.0.iter().map(|(_, weight)| *weight).collect(),
        };
        if values.iter().any(|weight| *weight < 0.0) || values.iter().all(|weight| *weight == 0.0) {
            let diag = cx
                .diag(
                    Code::E0205,
                    "class_weights",
                    "weights are not negative, and not all of them 0",
                )
                .help("`class_weights = balanced` finds them from the rows");
            cx.push(diag);
        }
        let Some(names) = known_names(labels) else { return };
        match weights {
            Or::First(list) if list.len() != names.len() => {
                let message = format!("{} weights for {} classes", list.len(), names.len());
                let classes = suggest::list(names.iter().map(String::as_str));
                let diag = cx
                    .diag(Code::E0205, "class_weights", message)
                    .help(format!("the classes are {classes}"));
                cx.push(diag);
            }
            Or::First(_) => {}
            Or::Second(map) => {
                for (name, _) in &map.0 {
                    if !names.contains(name) {
                        let all = || names.iter().map(String::as_str);
                        let near = suggest::nearest(name, all());
                        let help = match near {
                            Some(near) => format!("the nearest label is `{near}`"),
                            None => format!("the labels are {}", suggest::list(all())),
                        };
                        let path = format!("class_weights.{name}");
                        let diag = cx
                            .diag(Code::E0502, &path, format!("no label is called `{name}`"))
                            .help(help);
                        cx.push(diag);
                    }
                }
            }
        }
    }
}
