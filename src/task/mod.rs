//! What a model's outputs mean: which targets a head needs, its loss, and its predictions. One file
//! per task and a table of them. How hidden states become scores is the architecture's, in `model`;
//! training is in `train`.

pub mod assemble;
mod classify;
pub mod labels;
mod multilabel;
pub mod network;
mod regress;

use candle_core::Tensor;

use crate::data::{Labels, Targets};
use crate::entry;
use crate::model::{ModelError, Pass, Result};
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
}

/// Settings of the loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossOptions {
    /// `[classes]`; the weight of a row is that of its class.
    pub class_weights: Option<Vec<f32>>,
    pub label_smoothing: f64,
}

/// The predictions for some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// `[rows, outputs]`; for values empty.
    pub probabilities: Vec<f32>,
    /// The class of each row; for several labels and for values empty.
    pub classes: Vec<usize>,
}

/// A task: the meaning of `[rows, outputs]` logits.
pub trait Task: Send + Sync {
    /// As the language names the head.
    fn name(&self) -> &'static str;
    /// What `config.json` calls it.
    fn problem_type(&self) -> &'static str;
    fn outputs(&self) -> Outputs;
    /// The number of outputs for data with these labels; fails where they do not fit.
    fn output_count(&self, labels: &Labels) -> Result<usize>;
    /// The targets in the form that the loss takes; fails where they are of another kind.
    fn targets(&self, targets: &Targets, labels: &Labels) -> Result<Targets>;
    /// Fails where an option makes no sense for the task or does not fit the number of outputs.
    fn check_options(&self, options: &LossOptions, outputs: usize) -> Result<()>;
    /// What the loss of an update is divided by: supervised elements, or the sum of their weights.
    fn denominator(&self, targets: &Targets, options: &LossOptions) -> f64;
    /// The loss of `logits` f32 `[rows, outputs]`: a scalar, already divided by `denominator`.
    fn loss(
        &self,
        logits: &Tensor,
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor>;
    /// The plain loss of every row, without weights or smoothing, and its supervised elements.
    /// `logits`: `[rows, outputs]`.
    fn row_losses(&self, logits: &[f32], outputs: usize, targets: &Targets) -> Vec<RowLoss>;
    fn predict(&self, logits: &[f32], outputs: usize) -> Prediction;
}

/// The sum of a row's losses over its supervised elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss {
    pub sum: f64,
    pub elements: usize,
}

/// The table of tasks.
pub fn tasks() -> &'static [&'static dyn Task] {
    &[&classify::Classify, &regress::Regress, &multilabel::MultiLabel]
}

/// A head as a program asks for it.
pub trait HeadRequest {
    fn task(&self) -> &'static dyn Task;
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
        ]
    }
}

/// The task of a head's name.
pub fn task(name: &str) -> Result<&'static dyn Task> {
    tasks().iter().find(|task| task.name() == name).copied().ok_or_else(|| {
        let names = tasks().iter().map(|task| task.name());
        ModelError::new(format!("the head `{name}` is not known"))
            .help(format!("known are {}", crate::base::suggest::list(names)))
    })
}

/// The task that a config's `problem_type` names.
pub fn task_of_problem(problem_type: &str) -> Option<&'static dyn Task> {
    tasks().iter().find(|task| task.problem_type() == problem_type).copied()
}

/// An error for targets that a task cannot learn from.
fn misfit(task: &dyn Task, targets: &Targets) -> ModelError {
    let found = match targets {
        Targets::None => "no labels",
        Targets::Class(_) => "one class a row",
        Targets::Value(_) => "values",
        Targets::Multi { .. } => "several labels a row",
    };
    let fitting = match targets {
        Targets::None => None,
        Targets::Class(_) => Some("sequence_classification"),
        Targets::Value(_) => Some("sequence_regression"),
        Targets::Multi { .. } => Some("multi_label_classification"),
    };
    let error =
        ModelError::new(format!("the data has {found}, which `{}` cannot use", task.name()));
    match fitting {
        Some(name) => error.help(format!("`head = {name}` fits this data")),
        None => error.help("give the table a column with the role `label`"),
    }
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
