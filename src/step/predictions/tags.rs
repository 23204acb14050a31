//! Tags of words: a row for each sentence, whatever rows it was tokenized into. The columns: `id`,
//! `words`, `label` (where the tags are known), `predicted`, `probabilities` (of the tags that were
//! predicted), `loss`. A word that was cut away has an empty prediction.

use super::{Made, loss_column, name, some, unlabelled};
use crate::base::Code;
use crate::data::{ColumnData, Table, Targets, Words};
use crate::step::run::StepError;
use crate::task;
use crate::train::metrics::{Scored, Tags};

pub(super) fn table(made: &Made, parts: &Words) -> Result<Table, StepError> {
    let task = task::task(made.head).map_err(|error| StepError::internal(error.to_string()))?;
    let predicted = task.predict(&made.logits);
    let outputs = made.logits.outputs;
    let mut tags: Vec<Vec<String>> =
        parts.words.iter().map(|words| vec![String::new(); words.len()]).collect();
    let mut sure: Vec<Vec<f32>> = parts.words.iter().map(|words| vec![0.0; words.len()]).collect();
    for (row, sentence) in parts.sentences.iter().enumerate() {
        let (Some(start), Some(end)) =
            (made.logits.starts.get(row), made.logits.starts.get(row + 1))
        else {
            continue;
        };
        for token in *start..*end {
            let Some(word) = parts.word_of.get(token).copied().flatten() else { continue };
            let (word, class) = (word as usize, predicted.classes[token]);
            if let (Some(tag), Some(sure)) =
                (tags[*sentence].get_mut(word), sure[*sentence].get_mut(word))
            {
                *tag = name(made.labels, class);
                *sure = predicted.probabilities[token * outputs + class];
            }
        }
    }
    let texts = |rows: Vec<Vec<String>>| ColumnData::Texts(some(rows));
    let mut columns = vec![
        ("id".to_string(), ColumnData::Text(some(parts.sentence_ids.clone()))),
        ("words".to_string(), texts(parts.words.clone())),
    ];
    if !parts.truth.is_empty() && *made.targets != Targets::None {
        columns.push(("label".to_string(), texts(parts.truth.clone())));
    }
    columns.push(("predicted".to_string(), texts(tags)));
    columns.push(("probabilities".to_string(), ColumnData::Floats32(some(sure))));
    columns.extend(loss_column(made, &parts.sentences, parts.words.len()));
    Ok(Table::from_columns(columns)?)
}

pub(super) fn scored(table: &Table) -> Result<Scored, StepError> {
    if !table.has("label") {
        return Err(unlabelled());
    }
    let lists = |column: &str| match table.column(column)? {
        ColumnData::Texts(rows) => {
            Ok(rows.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>())
        }
        _ => Err(StepError::internal(format!("the column `{column}` holds no lists of tags"))),
    };
    let tags = Tags::new(lists("label")?, lists("predicted")?);
    tags.map(Scored::Tags).map_err(|error| StepError::new(Code::E0701, error.to_string()))
}
