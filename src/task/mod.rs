//! What a model's outputs mean: which targets a head needs, its loss, and its predictions. One file
//! per task and a table of them. How hidden states become scores is the architecture's, in `model`;
//! training is in `train`.

/// Declares the `Request` of a head that can be asked for anew, and of nothing more.
macro_rules! head {
    ($(#[doc = $doc:expr])* $task:ident: $kind:expr) => {
        $crate::params! {
            $(#[doc = $doc])*
            pub struct Request {
                /// Leave a head that the checkpoint has, and draw a new one in `train`.
                new: bool = false;
            }
        }

        impl $crate::task::HeadRequest for Request {
            fn task(&self) -> &'static dyn $crate::task::Task {
                &$task
            }

            fn kind(&self) -> $crate::model::HeadKind {
                $kind
            }

            fn is_new(&self) -> bool {
                self.new
            }
        }
    };
}

pub mod assemble;
mod choose;
mod classify;
pub mod embed;
pub mod labels;
mod masked;
mod multilabel;
pub mod network;
mod regress;
mod span;
mod tag;

use candle_core::Tensor;

use crate::data::{Form, Labels, Targets};
use crate::entry;
use crate::model::{
    Backbone, Config, HeadKind, LabelNames, ModelError, Pass, Path, Pooling, Result,
};
use crate::nn::ops::loss;
use crate::schema::{Entry, Family};

pub use labels::{Reconciled, reconcile};
pub use network::Network;

/// What a task's outputs are; metrics fit one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// One class a row.
    Classes,
    /// Any number of labels a row.
    Labels,
    /// One number a row.
    Values,
    /// One class a word.
    Tags,
    /// A part of a text, or nothing.
    Answers,
    /// One of the row's own choices.
    Choices,
    /// The masked tokens of a row, of which only the losses are kept.
    Tokens,
    /// One vector for each text of a row.
    Vectors,
}

impl Outputs {
    /// Whether the outputs are named by the labels of the data.
    pub fn named(self) -> bool {
        matches!(self, Outputs::Classes | Outputs::Labels | Outputs::Tags)
    }
}

/// The logits of some rows.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    /// `[units, outputs]`
    pub values: &'a [f32],
    pub outputs: usize,
    /// Where the units of each row start, `[rows + 1]`.
    pub starts: &'a [usize],
}

impl<'a> Logits<'a> {
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// `[units of the row, outputs]`; empty for a row that is not there.
    pub fn row(&self, row: usize) -> &'a [f32] {
        let range = match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(start), Some(end)) => start * self.outputs..end * self.outputs,
            _ => 0..0,
        };
        self.values.get(range).unwrap_or_default()
    }

    fn each(&self) -> impl Iterator<Item = &'a [f32]> {
        (0..self.rows()).map(|row| self.row(row))
    }
}

/// Settings of the loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossOptions {
    /// `[classes]`; the weight of a row is that of its class.
    pub class_weights: Option<Vec<f32>>,
    pub label_smoothing: f64,
    /// What vectors learn from; none for what is usual for their targets.
    pub pairs: Option<embed::PairLoss>,
}

/// The predictions for some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prediction {
    /// `[units, outputs]`; empty where the task has none.
    pub probabilities: Vec<f32>,
    /// The class of each unit; empty where the task has no classes.
    pub classes: Vec<usize>,
}

/// A task: the meaning of `[units, outputs]` logits. A unit is what its head scores: a row, a word's
/// token, a choice.
pub trait Task: Send + Sync {
    /// As the language names the head.
    fn name(&self) -> &'static str;
    /// What `config.json` calls it, for heads on whole sequences.
    fn problem_type(&self) -> Option<&'static str> {
        None
    }
    /// How transformers' names of models with such a head end: `ForSequenceClassification`.
    fn class_suffix(&self) -> &'static str;
    fn outputs(&self) -> Outputs;
    /// The forms of rows that it learns from, the usual one first.
    fn forms(&self) -> &'static [Form];
    fn usual_form(&self) -> Form {
        self.forms()[0]
    }
    /// The number of outputs for data with these labels on this backbone; fails where they do not fit.
    fn output_count(&self, labels: &Labels, backbone: &dyn Backbone) -> Result<usize>;
    /// The number of outputs where data have no say in it.
    fn fixed_outputs(&self, _backbone: &dyn Backbone) -> Option<usize> {
        None
    }
    /// The targets in the form that the loss takes; fails where they are of another kind.
    fn targets(&self, targets: &Targets, labels: &Labels) -> Result<Targets>;
    /// Fails where an option makes no sense for the task or does not fit the number of outputs.
    fn check_options(&self, options: &LossOptions, outputs: usize) -> Result<()>;
    /// What the loss of an update is divided by: supervised elements, or the sum of their weights.
    fn denominator(&self, targets: &Targets, options: &LossOptions) -> f64;
    /// The loss of `logits` f32 `[units, outputs]`, where row r has the units
    /// `starts[r]..starts[r + 1]`: a scalar, already divided by `denominator`.
    fn loss(
        &self,
        logits: &Tensor,
        starts: &[usize],
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor>;
    /// The plain loss of every row, without weights or smoothing, and its supervised elements.
    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss>;
    /// The losses of rows where options decide which loss it is.
    fn losses_under(
        &self,
        logits: &Logits,
        targets: &Targets,
        _options: &LossOptions,
    ) -> Vec<RowLoss> {
        self.row_losses(logits, targets)
    }
    /// Whether an evaluation keeps the logits; else it keeps the losses alone.
    fn keeps_logits(&self) -> bool {
        true
    }
    fn predict(&self, logits: &Logits) -> Prediction;
}

/// The sum of a row's losses over its supervised elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss {
    pub sum: f64,
    pub elements: usize,
}

/// The table of tasks.
pub fn tasks() -> &'static [&'static dyn Task] {
    &[
        &classify::Classify,
        &regress::Regress,
        &multilabel::MultiLabel,
        &tag::Tag,
        &span::Answer,
        &choose::Choose,
        &masked::Masked,
        &embed::Embed,
    ]
}

/// A head as a program asks for it.
pub trait HeadRequest {
    fn task(&self) -> &'static dyn Task;
    /// What of a model it needs.
    fn kind(&self) -> HeadKind;
    /// The same, where a folder says how its vectors are pooled.
    fn kind_beside(&self, _stored: Option<Pooling>) -> HeadKind {
        self.kind()
    }
    /// Whether it is to be drawn anew even if the checkpoint has one.
    fn is_new(&self) -> bool;
}

/// The heads that a program can ask for: one for each task.
pub struct Heads;

impl Family for Heads {
    type Item = dyn HeadRequest;
    const WHAT: &'static str = "a head";

    fn table() -> &'static [Entry<dyn HeadRequest>] {
        &[
            entry!("sequence_classification", classify::Request => dyn HeadRequest),
            entry!("sequence_regression", regress::Request => dyn HeadRequest),
            entry!("multi_label_classification", multilabel::Request => dyn HeadRequest),
            entry!("token_classification", tag::Request => dyn HeadRequest),
            entry!("question_answering", span::Request => dyn HeadRequest),
            entry!("multiple_choice", choose::Request => dyn HeadRequest),
            entry!("masked_language_model", masked::Request => dyn HeadRequest),
            entry!("embedding", embed::Request => dyn HeadRequest),
        ]
    }
}

/// The task that is usual for rows of a form: the first that learns from them.
pub fn usual_task(form: Form) -> Option<&'static dyn Task> {
    tasks().iter().find(|task| task.forms().contains(&form)).copied()
}

/// The task of a head's name.
pub fn task(name: &str) -> Result<&'static dyn Task> {
    tasks().iter().find(|task| task.name() == name).copied().ok_or_else(|| {
        let names = tasks().iter().map(|task| task.name());
        ModelError::new(format!("the head `{name}` is not known"))
            .help(format!("known are {}", crate::base::suggest::list(names)))
    })
}

/// The task of the model that a config describes, as transformers tells it from the class, the
/// `problem_type` and the number of labels.
pub fn task_of_config(config: &Config) -> Result<Option<&'static dyn Task>> {
    let class = config.get("architectures").and_then(|classes| classes.get(0)?.as_str());
    if let Some(task) = config.text("problem_type")?.and_then(task_of_problem)
        && class.is_none_or(|class| class.ends_with(task.class_suffix()) || !class.contains("For"))
    {
        return Ok(Some(task));
    }
    let mut fitting = tasks()
        .iter()
        .filter(|task| class.is_some_and(|class| class.ends_with(task.class_suffix())));
    let found = fitting.next().copied();
    let labels = match config.label_names()? {
        LabelNames::Unknown => None,
        LabelNames::Count(count) => Some(count),
        LabelNames::Named(names) => Some(names.len()),
    };
    Ok(match (found, labels) {
        (Some(task), Some(1)) if task.outputs() == Outputs::Classes => Some(&regress::Regress),
        (Some(task), _) => Some(task),
        (None, Some(1)) => Some(&regress::Regress),
        (None, Some(_)) => Some(&classify::Classify),
        (None, None) => None,
    })
}

/// The task that a config's `problem_type` names.
pub fn task_of_problem(problem_type: &str) -> Option<&'static dyn Task> {
    tasks().iter().find(|task| task.problem_type() == Some(problem_type)).copied()
}

/// An error for targets that a task cannot learn from.
fn misfit(task: &dyn Task, targets: &Targets) -> ModelError {
    let (found, fitting) = match targets {
        Targets::None => ("no labels", None),
        Targets::Class(_) => ("one class a row", Some("sequence_classification")),
        Targets::Value(_) => ("values", Some("sequence_regression")),
        Targets::Multi { .. } => ("several labels a row", Some("multi_label_classification")),
        Targets::Each { .. } => ("one class a word", Some("token_classification")),
        Targets::Spans(_) => ("answers", Some("question_answering")),
    };
    let error =
        ModelError::new(format!("the data has {found}, which `{}` cannot use", task.name()));
    match fitting {
        Some(name) => error.help(format!("`head = {name}` fits this data")),
        None => error.help("give the table a column with the role `label`"),
    }
}

/// Fails for labels that a task cannot learn from.
fn misfit_labels(task: &dyn Task, labels: &Labels) -> ModelError {
    let like = match labels {
        Labels::Unknown => Targets::None,
        Labels::Values => Targets::Value(Vec::new()),
        Labels::Classes { .. } => Targets::Class(Vec::new()),
        Labels::Multi { .. } => Targets::Multi { classes: 0, values: Vec::new() },
        Labels::Tags { .. } => Targets::Each { starts: Vec::new(), classes: Vec::new() },
        Labels::Answers => Targets::Spans(Vec::new()),
    };
    misfit(task, &like)
}

/// The plain cross entropy of a unit, if it is supervised.
fn unit_loss(logits: &[f32], class: i64) -> Option<f64> {
    let logit = usize::try_from(class).ok().and_then(|class| logits.get(class))?;
    Some(log_sum_exp(logits.iter()) - f64::from(*logit))
}

/// The supervised units of a row, and the sum of their losses.
fn sum_of_units(losses: impl Iterator<Item = Option<f64>>) -> RowLoss {
    losses.flatten().fold(RowLoss { sum: 0.0, elements: 0 }, |all, loss| RowLoss {
        sum: all.sum + loss,
        elements: all.elements + 1,
    })
}

fn log_sum_exp<'a>(logits: impl Iterator<Item = &'a f32> + Clone) -> f64 {
    let wide = logits.map(|logit| f64::from(*logit));
    let top = wide.clone().fold(f64::NEG_INFINITY, f64::max);
    top + wide.map(|logit| (logit - top).exp()).sum::<f64>().ln()
}

/// Softmax of every unit, and its largest class, the first of equals.
fn softmax(logits: &Logits) -> Prediction {
    let mut made = Prediction::default();
    for unit in logits.values.chunks_exact(logits.outputs.max(1)) {
        let total = log_sum_exp(unit.iter());
        made.probabilities.extend(unit.iter().map(|x| (f64::from(*x) - total).exp() as f32));
        made.classes.push(largest(unit));
    }
    made
}

/// The first of the largest.
fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[best] {
            best = class;
        }
    }
    best
}

/// The cross entropy of one choice for each row among its units, by column of the logits.
fn choice_loss(
    logits: &Tensor,
    starts: &[usize],
    places: &[i64],
    denominator: f64,
    pass: &Pass,
) -> Result<Tensor> {
    Ok(match pass.path() {
        Path::Fused => {
            loss::segment_cross_entropy(pass.tape(), logits, starts, places, denominator)?
        }
        Path::Reference => {
            loss::segment_cross_entropy_reference(logits, starts, places, denominator)?
        }
    })
}

/// Refuses options that a task does not know.
fn no_options(task: &dyn Task, options: &LossOptions) -> Result<()> {
    let refused = |what: &str| {
        Err(ModelError::new(format!("`{what}` belongs to classes, and `{}` has none", task.name())))
    };
    if options.class_weights.is_some() {
        return refused("class_weights");
    }
    if options.label_smoothing != 0.0 {
        return refused("label_smoothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
