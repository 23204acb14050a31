//! How well masked tokens were guessed, a row each: `id`, `loss` (the mean over the row's masked
//! tokens; none where it has none) and `tokens` (how many these are).

use super::{Made, some, unlabelled};
use crate::base::Code;
use crate::data::{ColumnData, Table};
use crate::step::run::StepError;
use crate::task::RowLoss;
use crate::train::metrics::{Losses, Scored};

pub(super) fn table(made: &Made) -> Result<Table, StepError> {
    let mut columns = vec![("id".to_string(), ColumnData::Text(some(made.ids.clone())))];
    if !made.losses.is_empty() {
        let mean = |loss: &RowLoss| (loss.elements > 0).then(|| loss.sum / loss.elements as f64);
        let count = |loss: &RowLoss| i64::try_from(loss.elements).ok();
        let losses = made.losses;
        columns.push(("loss".into(), ColumnData::Float(losses.iter().map(mean).collect())));
        columns.push(("tokens".into(), ColumnData::Int(losses.iter().map(count).collect())));
    }
    Ok(Table::from_columns(columns)?)
}

/// Whether a table was made here.
pub(super) fn made(table: &Table) -> bool {
    table.has("loss") && table.has("tokens") && !table.has("logits")
}

pub(super) fn scored(table: &Table) -> Result<Scored, StepError> {
    if !made(table) {
        return Err(unlabelled());
    }
    let (ColumnData::Float(means), ColumnData::Int(counts)) =
        (table.column("loss")?, table.column("tokens")?)
    else {
        return Err(StepError::internal("the columns `loss` and `tokens` hold no numbers"));
    };
    let count = |count: Option<i64>| count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let elements: Vec<u32> = counts.into_iter().map(count).collect();
    let sum = |(mean, count): (Option<f64>, &u32)| mean.unwrap_or(0.0) * f64::from(*count);
    let sums = means.into_iter().zip(&elements).map(sum).collect();
    let losses = Losses::new(sums, elements).map(Scored::Losses);
    losses.map_err(|error| StepError::new(Code::E0701, error.to_string()))
}
