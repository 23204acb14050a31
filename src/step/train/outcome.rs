//! From a finished run to the outputs of the step, and what is computed from stored ones.

use std::sync::Arc;

use super::{Train, VALIDATIONS};
use crate::data::{ColumnData, Fingerprints, Table, Tables, Targets, Tokens};
use crate::model::{self, Model, ModelError, Per};
use crate::step::eval::output_labels;
use crate::step::metric::build;
use crate::step::predictions::{AnswerRule, Made, head_of};
use crate::step::run::StepError;
use crate::step::value::{Predictions, Report, Scores, Value};
use crate::task::Logits;
use crate::task::assemble::{self, Assembled};
use crate::train::evaluate::Scored;
use crate::train::{LogRow, Trained, metrics};

impl Train {
    pub(super) fn scores(&self, validation: &Table) -> Result<Scores, StepError> {
        let head = head_of(validation);
        let scored = Predictions { table: validation.clone(), head: head.to_string() }.scored()?;
        Ok(Scores::plain(&build(&self.metrics, scored.kind())?, &scored))
    }

    /// The log with a column for each metric, filled where it was validated.
    pub(super) fn with_series(
        &self,
        log: &Table,
        validations: &Tables,
    ) -> Result<Table, StepError> {
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

pub(super) fn validation_name(update: u64) -> String {
    format!("update_{update}")
}

/// From a finished run to the step's outputs.
pub(super) struct Finish<'a> {
    pub model: &'a Arc<Model>,
    pub tokens: &'a Tokens,
    /// Rows without a label to learn from.
    pub unsupervised: usize,
    pub assembled: &'a Assembled,
}

impl Finish<'_> {
    pub(super) fn outputs(
        &self,
        step: &Train,
        trained: Trained,
        validated: Option<(&Arc<Tokens>, &Targets)>,
    ) -> Result<Vec<(&'static str, Value)>, StepError> {
        let log = log(&trained)?;
        let last = Arc::new(self.model_of(None)?);
        let kept = match trained.kept {
            Some(values) => Arc::new(self.model_of(Some(values))?),
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
            ("rows", self.tokens.rows() as f64),
            ("unsupervised", self.unsupervised as f64),
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
            let mut tables = Tables::new();
            for validation in &trained.validations {
                let scored = Scored {
                    logits: validation.logits.clone(),
                    starts: self.starts(tokens),
                    losses: validation.losses.clone(),
                    targets: targets.clone(),
                };
                let predictions = self.predictions(tokens, &scored)?;
                tables.insert(validation_name(validation.update), predictions.table);
            }
            let kept = tables
                .get(&validation_name(trained.kept_update))
                .or_else(|| tables.values().last());
            let scores = kept.map(|table| step.scores(table)).transpose()?.unwrap_or_default();
            made.push(("validation", Value::Scores(Arc::new(scores))));
            made.push((VALIDATIONS, Value::Tables(Arc::new(tables))));
        }
        made.push(("report", Value::Report(Arc::new(report))));
        Ok(made)
    }

    /// Where the units of each row start.
    fn starts(&self, tokens: &Tokens) -> Vec<usize> {
        let units = |row: usize| match self.assembled.network.per() {
            Per::Sequence => tokens.sequence_lengths(row).count(),
            Per::Token => tokens.row_length(row),
            // Only losses are kept of these.
            Per::Selected => 0,
        };
        let mut starts = vec![0];
        let mut end = 0;
        starts.extend((0..tokens.rows()).map(|row| {
            end += units(row);
            end
        }));
        starts
    }

    fn predictions(&self, tokens: &Tokens, scored: &Scored) -> Result<Predictions, StepError> {
        let Assembled { network, labels, .. } = self.assembled;
        let (task, outputs) = (network.task(), network.outputs());
        Predictions::new(&Made {
            head: task.name(),
            labels: &output_labels(&labels.names, task.outputs(), outputs),
            ids: tokens.ids.clone(),
            parts: &tokens.parts,
            targets: &scored.targets,
            logits: Logits { values: &scored.logits, outputs, starts: &scored.starts },
            losses: &scored.losses,
            answers: &AnswerRule::USUAL,
        })
    }

    /// A validation as metrics read it.
    pub(super) fn read(&self, tokens: &Tokens, scored: &Scored) -> model::Result<metrics::Scored> {
        let read = self.predictions(tokens, scored).and_then(|made| made.scored());
        read.map_err(|error| ModelError::new(error.message))
    }

    /// The model of these values, or of the parameters as they are.
    fn model_of(&self, values: Option<Vec<Vec<f32>>>) -> Result<Model, StepError> {
        let mut model = assemble::trained(self.model, self.assembled, values)?;
        model.tokenization = Some(self.tokens.tokenization);
        model.learned = self.model.learned.and(&Fingerprints::of(self.tokens));
        Ok(model)
    }
}

/// One row an update; the loss of a validation in the row of its update.
pub(super) fn log(trained: &Trained) -> Result<Table, StepError> {
    let rows = &trained.log;
    let numbers =
        |of: fn(&LogRow) -> f64| ColumnData::Float(rows.iter().map(|row| Some(of(row))).collect());
    let update = rows.iter().map(|row| i64::try_from(row.update).ok()).collect();
    let mut columns = vec![
        ("update".to_string(), ColumnData::Int(update)),
        ("epoch".to_string(), numbers(|row| row.epoch)),
        ("loss".to_string(), numbers(|row| row.loss)),
        ("learning_rate".to_string(), numbers(|row| row.learning_rate)),
        ("grad_norm".to_string(), numbers(|row| row.grad_norm)),
    ];
    if !trained.validations.is_empty() {
        let loss = |row: &LogRow| {
            trained.validations.iter().find(|one| one.update == row.update).map(|one| one.loss)
        };
        columns.push((
            "validation_loss".to_string(),
            ColumnData::Float(rows.iter().map(loss).collect()),
        ));
    }
    Ok(Table::from_columns(columns)?)
}
