//! Predictions as a table, and back as what metrics score. The columns: `id`, `label` (the truth,
//! where it is known), `predicted`, `logits`, `probabilities` (not for values), `loss`. What is not
//! about rows has its own columns, in a file of its own: `tags`, `answers`, `losses`, `vectors`.

pub mod answers;
mod losses;
mod tags;
mod vectors;

use super::run::StepError;
use super::shape::LabelShape;
use super::value::Predictions;
use crate::base::Code;
use crate::data::{ColumnData, Labels, Parts, Table, Targets};
use crate::task::{self, Logits, Outputs, RowLoss, Task};
use crate::train::metrics::{Classes, Kind, MultiLabel, Scored, Values};

pub use answers::AnswerRule;

/// The logits of some rows and what is known of these rows.
pub struct Made<'a> {
    /// The head's name.
    pub head: &'a str,
    /// The model's labels: class k is output k.
    pub labels: &'a Labels,
    pub ids: Vec<String>,
    /// What the rows are parts of.
    pub parts: &'a Parts,
    /// `Targets::None` where the truth is not known.
    pub targets: &'a Targets,
    pub logits: Logits<'a>,
    /// Of every row, or empty.
    pub losses: &'a [RowLoss],
    /// How answers are found, where the head answers questions.
    pub answers: &'a AnswerRule,
}

impl Predictions {
    pub fn new(made: &Made) -> Result<Self, StepError> {
        let task = task::task(made.head).map_err(|error| StepError::internal(error.to_string()))?;
        let mut table = match (task.outputs(), made.parts) {
            (Outputs::Tags, Parts::Words(words)) => tags::table(made, words)?,
            (Outputs::Answers, Parts::Contexts(contexts)) => answers::table(made, contexts)?,
            (Outputs::Tokens, _) => losses::table(made)?,
            (Outputs::Vectors, _) => vectors::table(made)?,
            _ => rows(task, made)?,
        };
        table.set_labels(match task.outputs() {
            // Their places are the classes; rows may have fewer than the longest.
            Outputs::Choices => places(&made.logits),
            _ => declared(made.labels),
        });
        Ok(Self { table, head: made.head.to_string() })
    }

    /// What metrics read: rows whose truth is known. Fails where there are none.
    pub fn scored(&self) -> Result<Scored, StepError> {
        let task =
            task::task(&self.head).map_err(|error| StepError::internal(error.to_string()))?;
        match task.outputs() {
            Outputs::Tags => tags::scored(&self.table),
            Outputs::Answers => answers::scored(&self.table),
            Outputs::Tokens => losses::scored(&self.table),
            Outputs::Vectors => vectors::scored(&self.table),
            outputs => scored_rows(outputs, &self.table),
        }
    }
}

/// One row for each row.
fn rows(task: &dyn Task, made: &Made) -> Result<Table, StepError> {
    let predicted = task.predict(&made.logits);
    let mut columns = vec![("id".to_string(), ColumnData::Text(some(made.ids.clone())))];
    if let Some(truth) = truth(made.targets, made.labels) {
        columns.push(("label".to_string(), truth));
    }
    columns.push(("predicted".to_string(), predictions(task, made, &predicted)));
    columns.push(("logits".to_string(), by_row(&made.logits)));
    if !predicted.probabilities.is_empty() {
        let probabilities = Logits { values: &predicted.probabilities, ..made.logits };
        columns.push(("probabilities".to_string(), by_row(&probabilities)));
    }
    columns.extend(means(made.losses).map(|losses| ("loss".to_string(), losses)));
    Ok(Table::from_columns(columns)?)
}

/// The column of losses, for rows that belong to `groups`, of each group the mean.
fn loss_column(made: &Made, group_of: &[usize], groups: usize) -> Option<(String, ColumnData)> {
    if made.losses.is_empty() {
        return None;
    }
    let mut sums = vec![RowLoss { sum: 0.0, elements: 0 }; groups];
    for (loss, group) in made.losses.iter().zip(group_of) {
        if let Some(sum) = sums.get_mut(*group) {
            sum.sum += loss.sum;
            sum.elements += loss.elements;
        }
    }
    means(&sums).map(|losses| ("loss".to_string(), losses))
}

/// The mean loss over each row's supervised elements, none where nothing is supervised; no column
/// where no losses are known.
fn means(losses: &[RowLoss]) -> Option<ColumnData> {
    let mean =
        |loss: &RowLoss| (loss.elements > 0).then(|| (loss.sum / loss.elements as f64) as f32);
    (!losses.is_empty()).then(|| ColumnData::Float32(losses.iter().map(mean).collect()))
}

fn scored_rows(outputs: Outputs, table: &Table) -> Result<Scored, StepError> {
    let targets = table.targets().map_err(StepError::from)?;
    let logits: Vec<Vec<f64>> = match table.column("logits").map_err(StepError::from)? {
        ColumnData::Floats32(rows) => {
            rows.into_iter().map(|row| wide(row.unwrap_or_default())).collect()
        }
        ColumnData::Floats(rows) => rows.into_iter().map(Option::unwrap_or_default).collect(),
        _ => return Err(StepError::internal("the column `logits` holds no lists of numbers")),
    };
    let names = table.labels().names().to_vec();
    let scored = match (outputs, targets) {
        (Outputs::Classes | Outputs::Choices, Targets::Class(truth)) => {
            let mut logits = logits;
            for row in logits.iter_mut().filter(|row| row.len() < names.len()) {
                row.resize(names.len(), NO_CHOICE);
            }
            let known = |(truth, logits): (i64, Vec<f64>)| {
                usize::try_from(truth).ok().map(|truth| (truth, logits))
            };
            let (truth, logits): (Vec<_>, Vec<_>) =
                truth.into_iter().zip(logits).filter_map(known).unzip();
            Classes::new(names, truth, logits.concat()).map(Scored::Classes)
        }
        (Outputs::Labels, Targets::Multi { classes, values }) => {
            let known = values
                .chunks_exact(classes.max(1))
                .zip(logits)
                .filter(|(truth, _)| !truth.iter().any(|value| value.is_nan()));
            let (truth, logits): (Vec<_>, Vec<_>) = known.unzip();
            let truth = truth.concat().iter().map(|value| *value > 0.5).collect();
            MultiLabel::new(names, truth, logits.concat(), THRESHOLD).map(Scored::MultiLabel)
        }
        (Outputs::Values, Targets::Value(truth)) => {
            let (truth, predicted): (Vec<f64>, Vec<f64>) = truth
                .into_iter()
                .map(f64::from)
                .zip(logits.into_iter().flatten())
                .filter(|(truth, _)| !truth.is_nan())
                .unzip();
            Values::new(truth, predicted).map(Scored::Values)
        }
        _ => {
            return Err(unlabelled());
        }
    };
    scored.map_err(|error| StepError::new(Code::E0701, error.to_string()))
}

/// The error for predictions whose truth is not known.
fn unlabelled() -> StepError {
    StepError::new(Code::E0701, "the predictions hold no labels to compare with")
        .help("`eval` keeps the labels of its tokens; `predict` knows none")
}

/// The logit of a choice that a row does not have: finite, and of no weight in a softmax.
const NO_CHOICE: f64 = -1e30;

/// Several labels: those with at least this probability are predicted.
const THRESHOLD: f64 = 0.5;

/// The head that made predictions, told by their labels and columns.
pub fn head_of(table: &Table) -> &'static str {
    let outputs = match table.labels() {
        _ if losses::made(table) => Outputs::Tokens,
        _ if vectors::made(table) => Outputs::Vectors,
        Labels::Values | Labels::Unknown => Outputs::Values,
        Labels::Classes { .. } => Outputs::Classes,
        Labels::Multi { .. } => Outputs::Labels,
        Labels::Tags { .. } => Outputs::Tags,
        Labels::Answers => Outputs::Answers,
    };
    let found = task::tasks().iter().find(|task| task.outputs() == outputs);
    found.map_or("", |task| task.name())
}

/// The kind of predictions that a head makes for rows with these labels, for the metrics that fit it.
/// `None` where only the data will tell.
pub fn kind_of(head: &str, labels: &LabelShape) -> Option<Kind> {
    Some(match task::task(head).ok()?.outputs() {
        Outputs::Classes => Kind::Classes,
        Outputs::Labels => Kind::MultiLabel,
        Outputs::Values => Kind::Values,
        Outputs::Choices => Kind::Classes,
        Outputs::Tags => Kind::Tags,
        Outputs::Answers => Kind::Answers,
        Outputs::Tokens => Kind::Losses,
        Outputs::Vectors => match labels {
            LabelShape::Values => Kind::Values,
            LabelShape::Classes(Some(names))
                if names.iter().all(|name| name.parse::<f64>().is_ok()) =>
            {
                Kind::Values
            }
            LabelShape::Classes(None) | LabelShape::Unknown => return None,
            _ => Kind::Ranking,
        },
    })
}

/// The names of the classes where the checker knows them.
pub fn known_names(labels: &LabelShape) -> Option<&[String]> {
    match labels {
        LabelShape::Classes(names) | LabelShape::Multi(names) | LabelShape::Tags(names) => {
            names.as_deref()
        }
        _ => None,
    }
}

/// The places of the choices of the row that has most.
fn places(logits: &Logits) -> Labels {
    let most = (0..logits.rows()).map(|row| logits.row(row).len()).max().unwrap_or(0);
    Labels::Classes { names: (0..most).map(|place| place.to_string()).collect(), declared: true }
}

fn some<T>(values: Vec<T>) -> Vec<Option<T>> {
    values.into_iter().map(Some).collect()
}

fn wide(row: Vec<f32>) -> Vec<f64> {
    row.into_iter().map(f64::from).collect()
}

fn by_row(logits: &Logits) -> ColumnData {
    let rows = (0..logits.rows()).map(|row| Some(logits.row(row).to_vec()));
    ColumnData::Floats32(rows.collect())
}

/// The order of the classes is the model's from here on, whatever occurs in these rows.
fn declared(labels: &Labels) -> Labels {
    match labels.clone() {
        Labels::Classes { names, .. } => Labels::Classes { names, declared: true },
        Labels::Multi { names, .. } => Labels::Multi { names, declared: true },
        Labels::Tags { names, .. } => Labels::Tags { names, declared: true },
        other => other,
    }
}

fn name(labels: &Labels, class: usize) -> String {
    labels.names().get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// Names of the classes of each row of `values` that are set, `[rows, classes]`.
fn set_names(labels: &Labels, values: &[f32], classes: usize) -> ColumnData {
    let names = |row: &[f32]| {
        if row.iter().any(|value| value.is_nan()) {
            return None;
        }
        let set = row.iter().enumerate().filter(|(_, value)| f64::from(**value) >= THRESHOLD);
        Some(set.map(|(class, _)| name(labels, class)).collect())
    };
    ColumnData::Texts(values.chunks(classes.max(1)).map(names).collect())
}

fn truth(targets: &Targets, labels: &Labels) -> Option<ColumnData> {
    Some(match targets {
        Targets::None => return None,
        Targets::Class(classes) => ColumnData::Text(
            classes
                .iter()
                .map(|class| usize::try_from(*class).ok().map(|class| name(labels, class)))
                .collect(),
        ),
        Targets::Value(values) => ColumnData::Float32(
            values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect(),
        ),
        Targets::Multi { classes, values } => set_names(labels, values, *classes),
        Targets::Each { .. } | Targets::Spans(_) => return None,
    })
}

fn predictions(task: &dyn Task, made: &Made, predicted: &task::Prediction) -> ColumnData {
    let outputs = made.logits.outputs;
    match task.outputs() {
        Outputs::Classes | Outputs::Choices => ColumnData::Text(
            predicted.classes.iter().map(|class| Some(name(made.labels, *class))).collect(),
        ),
        Outputs::Labels => set_names(made.labels, &predicted.probabilities, outputs),
        _ => ColumnData::Float32(made.logits.values.iter().copied().map(Some).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made<'a>(
        head: &'a str,
        labels: &'a Labels,
        targets: &'a Targets,
        logits: &'a [f32],
    ) -> Made<'a> {
        let ids = vec!["a".to_string(), "b".to_string()];
        let logits = Logits { values: logits, outputs: logits.len() / 2, starts: &[0, 1, 2] };
        Made {
            head,
            labels,
            ids,
            parts: &Parts::Rows,
            targets,
            logits,
            losses: &[],
            answers: &AnswerRule::USUAL,
        }
    }

    #[test]
    fn classes_keep_the_order_of_the_model_and_skip_rows_without_truth() {
        // `yes` is class 0 although it sorts last; the second row has no label.
        let names = vec!["yes".to_string(), "no".to_string()];
        let labels = Labels::Classes { names: names.clone(), declared: true };
        let targets = Targets::Class(vec![0, -100]);
        let logits = [2.0, 1.0, 0.0, 3.0];
        let made = made("sequence_classification", &labels, &targets, &logits);
        let predictions = Predictions::new(&made).expect("predictions");
        let ColumnData::Text(predicted) = predictions.table.column("predicted").expect("a column")
        else {
            panic!("names")
        };
        assert_eq!(predicted, [Some("yes".to_string()), Some("no".to_string())]);
        let Scored::Classes(scored) = predictions.scored().expect("scored") else {
            panic!("classes")
        };
        assert_eq!(scored.labels(), names);
        assert_eq!((scored.truth(), scored.predicted()), (&[0][..], &[0][..]));
    }

    #[test]
    fn rows_may_have_fewer_choices_than_others() {
        let targets = Targets::Class(vec![2, 0, -100]);
        let (values, starts) = ([0.5, 0.25, 0.0, -1.0, -2.0, 1.0, 2.0], [0, 3, 5, 7]);
        let made = Made {
            ids: ["a", "b", "c"].map(String::from).to_vec(),
            logits: Logits { values: &values, outputs: 1, starts: &starts },
            ..made("multiple_choice", &Labels::Unknown, &targets, &[])
        };
        let predictions = Predictions::new(&made).expect("predictions");
        let ColumnData::Text(predicted) = predictions.table.column("predicted").expect("a column")
        else {
            panic!("places")
        };
        assert_eq!(predicted, ["0", "0", "1"].map(|place| Some(place.to_string())));
        let Scored::Classes(scored) = predictions.scored().expect("scored") else {
            panic!("classes")
        };
        assert_eq!(scored.labels(), ["0", "1", "2"]);
        assert_eq!((scored.truth(), scored.predicted()), (&[2, 0][..], &[0, 0][..]));
    }

    #[test]
    fn several_labels_and_values_survive_the_way_through_the_table() {
        let names = vec!["x".to_string(), "y".to_string()];
        let labels = Labels::Multi { names, declared: false };
        let targets = Targets::Multi { classes: 2, values: vec![1.0, 0.0, 0.0, 0.0] };
        let logits = [1.0, -1.0, -1.0, 0.5];
        let made_multi = made("multi_label_classification", &labels, &targets, &logits);
        let Scored::MultiLabel(scored) =
            Predictions::new(&made_multi).and_then(|made| made.scored()).expect("scored")
        else {
            panic!("several labels")
        };
        assert_eq!(scored.truth(), [true, false, false, false]);
        assert_eq!(scored.predicted(), [true, false, false, true]);

        let targets = Targets::Value(vec![1.5, f32::NAN]);
        let made_values = made("sequence_regression", &Labels::Values, &targets, &[1.25, 9.0]);
        let Scored::Values(scored) =
            Predictions::new(&made_values).and_then(|made| made.scored()).expect("scored")
        else {
            panic!("values")
        };
        assert_eq!((scored.truth(), scored.predicted()), (&[1.5][..], &[1.25][..]));
    }
}
