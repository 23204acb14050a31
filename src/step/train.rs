//! `train`: fine-tuning. The loop is `train::trainer`; this file binds arguments to it, and keeps
//! its checkpoints in the step's scratch folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::CheckCx;
use super::eval::{check_length, check_tokenizer, model_labels};
use super::metric::{build, fitting, misfit};
use super::predictions::{Made, kind_of, known_names};
use super::run::{Event, RunCx, StepError, Stop};
use super::shape::{LabelShape, ModelShape, Shape, TokensShape};
use super::value::{Predictions, Report, Scores, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{BatchSize, ColumnData, Labels, Table, Tables, Targets, Tokens};
use crate::model::{Model, ModelError};
use crate::nn::Parameters;
use crate::schema::{Map, Or, Pick, Port, PortRef, PortType, Quantity, Unit};
use crate::task::assemble::{self, Assembled};
use crate::task::labels::{ModelLabels, Reconciled, align};
use crate::task::{LossOptions, Network, Outputs, task};
use crate::train::metrics::{Kind, PickMetric};
use crate::train::{
    Budget, Ending, Keep, Measure, Optimizers, Schedules, Settings, State, TokenExamples, Trained,
    ValidationSet, trainer, values,
};
use crate::{params, variants};

/// Epochs or updates.
type Length = Quantity<3>;

params! {
    /// The validation with the best value; the first of equals.
    pub struct Best {
        /// What is looked at: a metric, or `loss`.
        metric: Or<LossWord, PickMetric>, main;
    }
}

params! {
    /// After some validations without an improvement.
    pub struct Patience {
        /// How many validations in a row are waited for an improvement.
        validations: usize = 3, in (1, 1_000_000), main;
        /// What is looked at: a metric, or `loss`.
        metric: Or<LossWord, PickMetric> = Or::First(LossWord::Loss);
        /// How much counts as an improvement.
        min_delta: f64 = 0.0, in (0.0, 1e9);
    }
}

variants! {
    /// the loss
    pub enum LossWord {
        /// The mean loss of the validation rows; smaller is better.
        Loss = "loss",
    }
}

variants! {
    /// which parameters are kept
    pub enum KeepRule {
        /// Those after the last update.
        Last = "last",
        /// Those of the best validation.
        Best(Best) = "best",
    }
}

variants! {
    /// when a run ends early
    pub enum StopRule {
        /// When it has not got better for a while.
        Patience(Patience) = "patience",
    }
}

variants! {
    /// weights by frequency
    pub enum WeightRule {
        /// rows / (classes · rows of the class): every class weighs the same as a whole.
        Balanced = "balanced",
    }
}

variants! {
    /// what is trained
    pub enum Method {
        /// Every parameter that is not frozen.
        Full = "full",
        /// The head alone.
        HeadOnly = "head_only",
        /// Biases and the head.
        Bitfit = "bitfit",
    }
}

params! {
    /// Fine-tunes a model.
    ///
    /// The loss of an update is the mean over all its rows, however many batches it is accumulated
    /// from. Rows come in an order of their own in every epoch. The result depends on the arguments,
    /// the inputs and the seed alone, and a run that was interrupted continues where it was.
    pub struct Train {
        /// The model to start from; a head without values is drawn from `seed`.
        model: Port<port::AModel>;
        /// The rows to learn from.
        data: Port<port::SomeTokens>;
        /// The rows of every validation.
        validate: Option<Port<port::SomeTokens>>;
        /// What is trained.
        method: Method = Method::Full;
        /// How parameters change with their gradients.
        optimizer: Option<Pick<Optimizers>>;
        /// How the learning rate changes over the run.
        schedule: Option<Pick<Schedules>>;
        /// How long the run is.
        budget: Length = Length::new(3.0, Unit::Epochs), in (0.0, 1e12);
        /// Rows of a batch, or the tokens that it is filled up to. 32, as processors are busier
        /// with it than with the 8 that transformers takes, and results are about the same.
        batch: Quantity<12> = Quantity::new(32.0, Unit::Rows), in (1.0, 1e9);
        /// Batches whose gradients make one update.
        gradient_accumulation: usize = 1, in (1, 1_000_000);
        /// The largest norm that all gradients together may have; larger ones are scaled down to it.
        max_grad_norm: Option<f64> = Some(1.0), in (1e-9, 1e12);
        /// The share of the target that is spread over all classes.
        label_smoothing: f64 = 0.0, in (0.0, 0.999);
        /// The weight of each class in the loss: in the order of the labels, by name, or `balanced`.
        class_weights: Option<Or<WeightRule, Or<Vec<f64>, Map<f64>>>>;
        /// Metrics of every validation. Without it those usual for the head.
        metrics: Vec<PickMetric> = Vec::new(), free;
        /// How often it is validated; at the end in any case.
        validate_every: Length = Length::new(1.0, Unit::Epochs), in (1e-6, 1e12);
        /// Which parameters are the result.
        keep: KeepRule = KeepRule::Last;
        /// When a run ends before its budget.
        stop_early: Option<StopRule>;
        /// Parameters that stay as they are: patterns of names such as `"bert.embeddings.*"`.
        freeze: Vec<String> = Vec::new();
        /// The factor on the learning rate from each layer to the one below.
        layer_decay: f64 = 1.0, in (0.01, 1.0);
        /// How often the state is written, so that an interrupted run can continue.
        checkpoint_every: Length = Length::new(500.0, Unit::Updates), in (1e-6, 1e12), free;
        /// Of the order of rows, of dropout, and of the first values of new parameters.
        seed: Option<usize>;
    }
}

fn length(of: &Length) -> Budget {
    match of.unit {
        Unit::Epochs => Budget::Epochs(of.value),
        _ => Budget::Updates(of.value.ceil() as u64),
    }
}

impl Train {
    /// The metrics that `keep` and `stop_early` look at, with their places.
    fn watched(&self) -> Vec<(&'static str, &PickMetric)> {
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

    fn needs_validation(&self) -> Option<&'static str> {
        if matches!(self.keep, KeepRule::Best(_)) {
            Some("keep")
        } else if self.stop_early.is_some() {
            Some("stop_early")
        } else {
            None
        }
    }

    /// Names of parameters that stay as they are. A pattern that is none is `Err` with its place.
    fn frozen(&self, names: &[&str], head: &[&str]) -> Result<Vec<bool>, (usize, String)> {
        let mut frozen: Vec<bool> = names
            .iter()
            .map(|name| match self.method {
                Method::Full => false,
                Method::HeadOnly => !head.contains(name),
                Method::Bitfit => !head.contains(name) && !name.ends_with("bias"),
            })
            .collect();
        for (at, text) in self.freeze.iter().enumerate() {
            let pattern = glob::Pattern::new(text)
                .map_err(|error| (at, format!("`{text}` is no pattern: {}", error.msg)))?;
            let mut found = false;
            for (name, frozen) in names.iter().zip(&mut frozen) {
                if pattern.matches(name) {
                    *frozen = true;
                    found = true;
                }
            }
            if !found {
                return Err((at, format!("`{text}` matches no parameter of the model")));
            }
        }
        Ok(frozen)
    }

    fn check_arguments(&self, cx: &mut CheckCx) {
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
    fn other_field(&self, cx: &CheckCx, name: &str) -> Option<String> {
        let PortRef::One { step, output, field: Some(_) } = &self.data.source else { return None };
        let other = PortRef::One {
            step: step.clone(),
            output: output.clone(),
            field: Some(name.to_string()),
        };
        (cx.shapes)(&other).map(|_| format!("{step}.{name}"))
    }

    fn check_tokens(
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
        if tokens.labels == LabelShape::Absent {
            let diag = cx
                .diag(Code::E0406, argument, "these rows have no labels to learn from")
                .also(origin, "made here")
                .help("`columns = { label = … }` of `load-data` names a label column");
            cx.push(diag);
            return;
        }
        let Some(outputs) =
            model.head.as_deref().and_then(|head| task(head).ok()).map(|task| task.outputs())
        else {
            return;
        };
        let (fits, found, head) = match &tokens.labels {
            LabelShape::Classes(names) => {
                let numbers = names
                    .as_ref()
                    .is_none_or(|all| all.iter().all(|name| name.parse::<f64>().is_ok()));
                (
                    outputs != Outputs::Values || numbers,
                    "one class a row",
                    "sequence_classification",
                )
            }
            LabelShape::Values => {
                (outputs == Outputs::Values, "one number a row", "sequence_regression")
            }
            LabelShape::Multi(_) => {
                (outputs == Outputs::Labels, "several labels a row", "multi_label_classification")
            }
            LabelShape::Absent | LabelShape::Unknown => return,
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

    fn check_metrics(&self, cx: &mut CheckCx, head: &str, kind: Kind, labels: &LabelShape) {
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
            } else if !path.starts_with("metrics")
                && metric.direction() == crate::train::metrics::Direction::None
            {
                let message = format!("`{}` is no single number, so none is best", pick.name);
                let diag = cx.diag(Code::E0506, &path, message);
                cx.push(diag);
            }
        }
    }

    fn check_loss(&self, cx: &mut CheckCx, head: &str, kind: Kind, labels: &LabelShape) {
        if kind != Kind::Classes {
            for (argument, given) in [
                ("class_weights", self.class_weights.is_some()),
                ("label_smoothing", self.label_smoothing > 0.0),
            ] {
                if given {
                    let message = format!("`{argument}` belongs to classes, and `{head}` has none");
                    let diag = cx.diag(Code::E0209, argument, message);
                    cx.push(diag);
                }
            }
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

    fn check_freeze(&self, cx: &mut CheckCx, model: &ModelShape) {
        let names: Vec<&str> = model.parameters.iter().map(String::as_str).collect();
        if names.is_empty() {
            return;
        }
        match self.frozen(&names, &[]) {
            Err((at, message)) => {
                let text = self.freeze.get(at).map(String::as_str).unwrap_or_default();
                let path = format!("freeze.{at}");
                let mut diag = cx.diag(Code::E0205, &path, message);
                diag = match suggest::nearest(text, names.iter().copied()) {
                    Some(near) => diag.fix(cx.places.at(&path), format!("{near:?}")),
                    None => diag
                        .help(format!("names are such as `{}`; `*` stands for any part", names[0])),
                };
                cx.push(diag);
            }
            Ok(frozen)
                if matches!(self.method, Method::Full) && frozen.iter().all(|frozen| *frozen) =>
            {
                let diag = cx.diag(
                    Code::E0209,
                    "freeze",
                    "all parameters are frozen, so nothing is trained",
                );
                cx.push(diag);
            }
            Ok(_) => {}
        }
    }

    /// The weight of each class, in the model's order.
    fn class_weights(
        &self,
        labels: &[String],
        targets: &Targets,
    ) -> Result<Option<Vec<f32>>, StepError> {
        let wrong =
            |message: String| StepError::new(Code::E0502, message).argument("class_weights");
        Ok(match &self.class_weights {
            None => None,
            Some(Or::First(WeightRule::Balanced)) => {
                let Targets::Class(classes) = targets else { return Ok(None) };
                let mut counts = vec![0usize; labels.len()];
                for class in classes {
                    let place =
                        usize::try_from(*class).ok().and_then(|class| counts.get_mut(class));
                    place.into_iter().for_each(|count| *count += 1);
                }
                let rows: usize = counts.iter().sum();
                let weight = |count: &usize| match count {
                    0 => 0.0,
                    count => (rows as f64 / (labels.len() * count) as f64) as f32,
                };
                Some(counts.iter().map(weight).collect())
            }
            Some(Or::Second(Or::First(list))) => {
                Some(list.iter().map(|weight| *weight as f32).collect())
            }
            Some(Or::Second(Or::Second(map))) => {
                let weight = |name: &String| {
                    let found = map.get(name).map(|weight| *weight as f32);
                    found.ok_or_else(|| wrong(format!("the label `{name}` has no weight")))
                };
                if let Some((name, _)) = map.0.iter().find(|(name, _)| !labels.contains(name)) {
                    return Err(wrong(format!("no label is called `{name}`")));
                }
                Some(labels.iter().map(weight).collect::<Result<_, _>>()?)
            }
        })
    }

    fn measure(of: &Or<LossWord, PickMetric>) -> Result<Measure, StepError> {
        match of {
            Or::First(LossWord::Loss) => Ok(Measure::Loss),
            Or::Second(pick) => pick
                .build()
                .map(Measure::Metric)
                .ok_or_else(|| StepError::internal(format!("`{pick:?}` was not checked"))),
        }
    }

    fn settings(&self, loss: LossOptions, quick: Option<usize>) -> Result<Settings, StepError> {
        let unchecked = |what: &str| StepError::internal(format!("`{what}` was not checked"));
        let optimizer = self.optimizer.clone().or_else(|| Pick::default_of("adamw"));
        let schedule = self.schedule.clone().or_else(|| Pick::default_of("linear"));
        let keep = match &self.keep {
            KeepRule::Last => Keep::Last,
            KeepRule::Best(best) => Keep::Best(Self::measure(&best.metric)?),
        };
        let stop_early = match &self.stop_early {
            None => None,
            Some(StopRule::Patience(rule)) => Some(crate::train::StopEarly {
                measure: Self::measure(&rule.metric)?,
                patience: rule.validations,
                min_delta: rule.min_delta,
            }),
        };
        let size = self.batch.value as usize;
        Ok(Settings {
            optimizer: optimizer
                .and_then(|pick| pick.build())
                .ok_or_else(|| unchecked("optimizer"))?,
            schedule: schedule
                .and_then(|pick| pick.build())
                .ok_or_else(|| unchecked("schedule"))?,
            budget: match quick {
                Some(updates) => Budget::Updates(updates as u64),
                None => length(&self.budget),
            },
            batch: if self.batch.unit == Unit::Tokens {
                BatchSize::Tokens(size)
            } else {
                BatchSize::Rows(size)
            },
            gradient_accumulation: self.gradient_accumulation,
            max_grad_norm: self.max_grad_norm,
            loss,
            layer_decay: self.layer_decay,
            validate_every: length(&self.validate_every),
            keep,
            stop_early,
            checkpoint_every: Some(length(&self.checkpoint_every)),
            seed: self.seed(),
            path: crate::model::Path::Fused,
        })
    }

    /// The program's seed where the step has none of its own.
    fn seed(&self) -> u64 {
        self.seed.unwrap_or(42) as u64
    }

    fn freeze_parameters(
        &self,
        network: &Network,
        parameters: &Parameters,
    ) -> Result<(), StepError> {
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let head = network.head().declarations();
        let head: Vec<&str> = head.iter().map(|declaration| declaration.name.as_str()).collect();
        let frozen = self.frozen(&names, &head).map_err(|(at, message)| {
            StepError::new(Code::E0205, message).argument(format!("freeze.{at}"))
        })?;
        for (parameter, frozen) in parameters.iter().zip(frozen) {
            if frozen {
                parameter.weight.set_trainable(false);
            }
        }
        if parameters.trainable().next().is_none() {
            let message = "all parameters are frozen, so nothing is trained";
            return Err(StepError::new(Code::E0209, message).argument("freeze"));
        }
        Ok(())
    }
}

/// The validations of a run by the number of their update, as tables of predictions.
const VALIDATIONS: &str = "validations";

impl Step for Train {
    const NAME: &'static str = "train";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = &[
        Output {
            name: "model",
            ty: PortType::Model,
            doc: "The model that `keep` chose, else the last.",
        },
        Output { name: "last", ty: PortType::Model, doc: "The model after the last update." },
        Output {
            name: "validation",
            ty: PortType::Scores,
            doc: "The metrics of the model that `keep` chose, on the rows of `validate`.",
        },
        Output {
            name: "log",
            ty: PortType::Log,
            doc: "One row an update: `update`, `epoch`, `loss`, `learning_rate`, `grad_norm`; in the rows of validations `validation_loss` and the metrics.",
        },
        Output {
            name: VALIDATIONS,
            ty: PortType::Tables,
            doc: "The predictions of every validation, as `eval` makes them, under `update_N`.",
        },
    ];
    const REPORT: &'static [&'static str] =
        &["updates", "epochs", "loss", "kept_update", "trained_parameters"];
    const EXAMPLE: &'static str = "train tuned {\n  model     = encoder\n  data      = tokens.train\n  validate  = tokens.validation\n  optimizer = adamw(learning_rate = 5e-5, weight_decay = 0.01)\n  schedule  = linear(warmup = 6%)\n  budget    = 3 epochs\n}";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        self.check_arguments(cx);
        let model = cx.shape(&self.model);
        let tokens = cx.shape(&self.data);
        let validation = self.validate.as_ref().and_then(|port| cx.shape(port));
        let Some(mut model) = model else { return Vec::new() };
        let Some(head) = model.head.clone() else {
            let diag = cx
                .diag(
                    Code::E0503,
                    "model",
                    format!("the model `{}` has no head to train", model.name),
                )
                .also(cx.origin(&self.model), "read here")
                .help("`head = sequence_classification` in `load-model` gives it one");
            cx.push(diag);
            return Vec::new();
        };
        if let Some(tokens) = &tokens {
            self.check_tokens(cx, "data", &model, tokens);
            // A new head has the labels of the data.
            if known_names(&model.labels).is_none() && model.labels != LabelShape::Values {
                model.labels = tokens.labels.clone();
            }
        }
        if let Some(validation) = &validation {
            self.check_tokens(cx, "validate", &model, validation);
        }
        if let Some(kind) = kind_of(&head) {
            self.check_metrics(cx, &head, kind, &model.labels);
            self.check_loss(cx, &head, kind, &model.labels);
        }
        self.check_freeze(cx, &model);
        model.undrawn = false;
        let mut made = vec![("model", Shape::Model(model.clone())), ("last", Shape::Model(model))];
        if self.validate.is_some() {
            let names = kind_of(&head).and_then(|kind| build(&self.metrics, kind).ok());
            let names = names.unwrap_or_default().iter().map(|metric| metric.name()).collect();
            made.push(("validation", Shape::Scores(names)));
            made.push((VALIDATIONS, Shape::Tables(Vec::new())));
        }
        made.push(("log", Shape::Log));
        made
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (model, tokens) = (cx.input(&self.model)?, cx.input(&self.data)?);
        let validation = self.validate.as_ref().map(|port| cx.input(port)).transpose()?;
        for (argument, tokens) in [("data", Some(&tokens)), ("validate", validation.as_ref())] {
            if let Some(tokens) = tokens {
                fits_tokenizer(&model, tokens, argument)?;
            }
        }
        let seed = self.seed();
        let assembled =
            assemble::for_training(&model, &tokens.labels, seed).map_err(|error| StepError {
                help: error.help,
                ..StepError::new(Code::E0502, error.message).argument("data")
            })?;
        let Assembled { network, parameters, labels, .. } = &assembled;
        if let Some(note) = &labels.note {
            cx.control.event(Event::Note { message: note.clone() });
        }
        self.freeze_parameters(network, parameters)?;
        let names = output_names(network, labels);
        let targets = labels.apply(&network.task().targets(&tokens.targets, &tokens.labels)?);
        let loss = LossOptions {
            class_weights: self.class_weights(&names, &targets)?,
            label_smoothing: self.label_smoothing,
        };
        let examples = TokenExamples::new(&tokens, targets);
        let validated = match &validation {
            None => None,
            Some(tokens) => {
                let targets = network.task().targets(&tokens.targets, &tokens.labels)?;
                let known = known_labels(network, labels);
                let aligned = align(known, &tokens.labels, network.task().name())?;
                Some((tokens, aligned.apply(&targets)))
            }
        };
        let validation_examples =
            validated.as_ref().map(|(tokens, targets)| TokenExamples::new(tokens, targets.clone()));
        let set = validation_examples
            .as_ref()
            .map(|examples| ValidationSet { examples, labels: names.as_slice() });
        let settings = self.settings(loss, cx.quick.map(|quick| quick.updates))?;

        let path = cx.scratch.join("checkpoint");
        let resume = resume(&path, cx)?;
        let mut control = Bridge { cx, path: path.clone(), stop: None, phase: None, done: 0 };
        let ending = trainer::train(
            network,
            &network.declarations(),
            parameters,
            &examples,
            set,
            &settings,
            resume,
            &mut control,
        );
        let stop = control.stop;
        let trained = match ending? {
            Ending::Finished(trained) => trained,
            Ending::Stopped { .. } => {
                return Err(StepError::stopped(stop.unwrap_or(Stop::Checkpoint)));
            }
        };
        let finish = Finish { model: &model, tokens: &tokens, assembled: &assembled };
        finish.outputs(self, trained, validated, &names)
    }

    fn derive(
        &self,
        output: &str,
        stored: &dyn Fn(&str) -> Result<Value, StepError>,
    ) -> Result<Option<Value>, StepError> {
        if self.validate.is_none() || !["validation", "log"].contains(&output) {
            return Ok(None);
        }
        let Value::Tables(validations) = stored(VALIDATIONS)? else {
            return Err(StepError::internal("the stored validations are no tables"));
        };
        if output == "log" {
            let Value::Log(log) = stored("log")? else {
                return Err(StepError::internal("the stored log is no table"));
            };
            return Ok(Some(Value::Log(Arc::new(self.with_series(&log, &validations)?))));
        }
        let Value::Report(report) = stored("report")? else {
            return Err(StepError::internal("the stored report is no report"));
        };
        let kept = report.get("kept_update").copied().unwrap_or_default() as u64;
        let table = validations.get(&validation_name(kept)).or_else(|| validations.values().last());
        match table {
            Some(table) => Ok(Some(Value::Scores(Arc::new(self.scores(table)?)))),
            None => Ok(None),
        }
    }
}

impl Train {
    fn scores(&self, validation: &Table) -> Result<Scores, StepError> {
        let head = head_of(validation.labels());
        let scored = Predictions { table: validation.clone(), head: head.to_string() }.scored()?;
        Ok(Scores::plain(&build(&self.metrics, scored.kind())?, &scored))
    }

    /// The log with a column for each metric, filled where it was validated.
    fn with_series(&self, log: &Table, validations: &Tables) -> Result<Table, StepError> {
        let ColumnData::Int(updates) = log.column("update")? else {
            return Err(StepError::internal("the log's `update` is no number"));
        };
        let mut columns: Vec<(String, Vec<Option<f64>>)> = Vec::new();
        for (name, table) in validations {
            let row = updates.iter().position(|update| {
                update.and_then(|update| u64::try_from(update).ok()).map(validation_name).as_ref()
                    == Some(name)
            });
            let Some(row) = row else { continue };
            for score in self.scores(table)?.scores {
                let column = match columns.iter_mut().find(|(known, _)| *known == score.name) {
                    Some((_, column)) => column,
                    None => {
                        columns.push((score.name, vec![None; updates.len()]));
                        match columns.last_mut() {
                            Some((_, column)) => column,
                            None => continue,
                        }
                    }
                };
                if let Some(cell) = column.get_mut(row) {
                    *cell = score.value;
                }
            }
        }
        let mut log = log.clone();
        for (name, values) in columns {
            log.set_column(&name, ColumnData::Float(values))?;
        }
        Ok(log)
    }
}

fn validation_name(update: u64) -> String {
    format!("update_{update}")
}

/// The head whose predictions have these labels.
fn head_of(labels: &Labels) -> &'static str {
    let outputs = match labels {
        Labels::Values | Labels::Unknown => Outputs::Values,
        Labels::Classes { .. } => Outputs::Classes,
        Labels::Multi { .. } => Outputs::Labels,
    };
    let found = crate::task::tasks().iter().find(|task| task.outputs() == outputs);
    found.map_or("", |task| task.name())
}

/// What the outputs are called; none for values.
fn output_names(network: &Network, labels: &Reconciled) -> Vec<String> {
    match network.task().outputs() {
        Outputs::Values => Vec::new(),
        _ if labels.names.is_empty() => {
            (0..network.outputs()).map(|output| format!("LABEL_{output}")).collect()
        }
        _ => labels.names.clone(),
    }
}

fn known_labels<'a>(network: &Network, labels: &'a Reconciled) -> ModelLabels<'a> {
    match network.task().outputs() {
        Outputs::Values => ModelLabels::New,
        _ => ModelLabels::Named(&labels.names),
    }
}

fn fits_tokenizer(model: &Model, tokens: &Tokens, argument: &str) -> Result<(), StepError> {
    match &model.tokenizer {
        Some(own) if own.digest() != tokens.tokenizer => {
            let message = "the tokens were made with another tokenizer than the model's";
            Err(StepError::new(Code::E0507, message)
                .argument(argument)
                .help("`tokenizer` of `tokenize` names the step that loads the model"))
        }
        _ => Ok(()),
    }
}

/// The state of an earlier attempt at the same key, if it is whole.
fn resume(path: &Path, cx: &mut RunCx) -> Result<Option<State>, StepError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io(path, &error).into()),
    };
    match State::from_bytes(&bytes) {
        Ok(state) => {
            let message = format!("continues after update {}", state.update);
            cx.control.event(Event::Note { message });
            Ok(Some(state))
        }
        Err(error) => {
            let message = format!("{}; training starts from its beginning", error.message);
            cx.control.event(Event::Warning { message });
            Ok(None)
        }
    }
}

/// Written beside its place, synced and renamed: the one before stays until then.
fn write_checkpoint(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Hands the trainer's events on.
struct Bridge<'a, 'b> {
    cx: &'a mut RunCx<'b>,
    path: PathBuf,
    stop: Option<Stop>,
    phase: Option<u64>,
    done: u64,
}

impl trainer::Control for Bridge<'_, '_> {
    fn event(&mut self, event: &trainer::Event) {
        use trainer::Event as Inner;
        let event = match event {
            Inner::Started { updates, first, .. } => {
                self.phase = Some(*updates);
                self.done = *first;
                Event::Phase { name: "training", total: self.phase }
            }
            Inner::Updated { row, .. } => {
                self.done = row.update;
                let detail = format!(
                    "loss {:.4}, epoch {:.2}, rate {:.2e}",
                    row.loss, row.epoch, row.learning_rate
                );
                Event::Progress { done: row.update, detail }
            }
            Inner::Validating { .. } => return,
            Inner::Validated { update, epoch, loss, score } => {
                let score = score.map(|score| format!(", {score:.4}")).unwrap_or_default();
                Event::Note {
                    message: format!(
                        "update {update} (epoch {epoch:.2}): validation loss {loss:.4}{score}"
                    ),
                }
            }
            Inner::StoppedEarly { update } => Event::Note {
                message: format!("no improvement any more: ends after update {update}"),
            },
        };
        self.cx.control.event(event);
    }

    fn stop_requested(&mut self) -> bool {
        self.stop = self.cx.control.stop_requested();
        self.stop.is_some()
    }

    fn checkpoint(&mut self, state: &[u8]) -> Result<(), ModelError> {
        write_checkpoint(&self.path, state).map_err(|error| ModelError::io(&self.path, &error))
    }
}

/// From a finished run to the step's outputs.
struct Finish<'a> {
    model: &'a Model,
    tokens: &'a Tokens,
    assembled: &'a Assembled,
}

impl Finish<'_> {
    fn outputs(
        &self,
        step: &Train,
        trained: Trained,
        validated: Option<(&Arc<Tokens>, Targets)>,
        names: &[String],
    ) -> Result<Vec<(&'static str, Value)>, StepError> {
        let network = &self.assembled.network;
        let log = log(&trained)?;
        let last = Arc::new(
            self.model_of(values::copy(&self.assembled.parameters).map_err(ModelError::from)?)?,
        );
        let kept = match trained.kept {
            Some(values) => Arc::new(self.model_of(values)?),
            None => Arc::clone(&last),
        };
        let trained_parameters: usize = self
            .assembled
            .parameters
            .trainable()
            .map(|(_, parameter)| parameter.weight.elem_count())
            .sum();
        let end = trained.log.last();
        let report: Report = [
            ("updates", end.map_or(0.0, |row| row.update as f64)),
            ("epochs", end.map_or(0.0, |row| row.epoch)),
            ("loss", end.map_or(f64::NAN, |row| row.loss)),
            ("kept_update", trained.kept_update as f64),
            ("trained_parameters", trained_parameters as f64),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
        let mut made = vec![
            ("model", Value::Model(Arc::clone(&kept))),
            ("last", Value::Model(last)),
            ("log", Value::Log(Arc::new(log))),
        ];
        if let Some((tokens, targets)) = validated {
            let labels = model_labels(&kept, network.task().outputs(), network.outputs());
            let mut tables = Tables::new();
            for validation in &trained.validations {
                let losses =
                    network.task().row_losses(&validation.logits, network.outputs(), &targets);
                let predictions = Predictions::new(&Made {
                    head: network.task().name(),
                    labels: &labels,
                    ids: tokens.ids.clone(),
                    targets: &targets,
                    logits: &validation.logits,
                    losses: &losses,
                })?;
                tables.insert(validation_name(validation.update), predictions.table);
            }
            let kept = tables
                .get(&validation_name(trained.kept_update))
                .or_else(|| tables.values().last());
            let scores = kept.map(|table| step.scores(table)).transpose()?.unwrap_or_default();
            made.push(("validation", Value::Scores(Arc::new(scores))));
            made.push((VALIDATIONS, Value::Tables(Arc::new(tables))));
        }
        debug_assert!(names.is_empty() || names.len() == network.outputs());
        made.push(("report", Value::Report(Arc::new(report))));
        Ok(made)
    }

    fn model_of(&self, values: Vec<Vec<f32>>) -> Result<Model, StepError> {
        let Assembled { network, labels, .. } = self.assembled;
        let mut model = assemble::trained(self.model, network, labels, values)?;
        model.tokenization = Some(self.tokens.tokenization);
        Ok(model)
    }
}

/// One row an update; the loss of a validation in the row of its update.
fn log(trained: &Trained) -> Result<Table, StepError> {
    let rows = &trained.log;
    let numbers = |of: fn(&crate::train::LogRow) -> f64| {
        ColumnData::Float(rows.iter().map(|row| Some(of(row))).collect())
    };
    let update = rows.iter().map(|row| i64::try_from(row.update).ok()).collect();
    let mut columns = vec![
        ("update".to_string(), ColumnData::Int(update)),
        ("epoch".to_string(), numbers(|row| row.epoch)),
        ("loss".to_string(), numbers(|row| row.loss)),
        ("learning_rate".to_string(), numbers(|row| row.learning_rate)),
        ("grad_norm".to_string(), numbers(|row| row.grad_norm)),
    ];
    if !trained.validations.is_empty() {
        let loss = |row: &crate::train::LogRow| {
            trained.validations.iter().find(|one| one.update == row.update).map(|one| one.loss)
        };
        columns.push((
            "validation_loss".to_string(),
            ColumnData::Float(rows.iter().map(loss).collect()),
        ));
    }
    Ok(Table::from_columns(columns)?)
}
