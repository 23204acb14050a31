//! `baseline`: predictions that need no transformer, for what a model has to beat. The methods are
//! in `train::baseline`.

use super::check::CheckCx;
use super::predictions::{AnswerRule, Made};
use super::run::{RunCx, StepError};
use super::shape::{LabelShape, PredictionsShape, Shape, TableShape};
use super::value::{Predictions, Report, Value, port};
use super::{Output, Step};
use crate::base::Code;
use crate::data::{ColumnData, Labels, Parts, Table, Targets};
use crate::params;
use crate::schema::{Port, PortType};
use crate::task::Logits;
use crate::train::baseline::{Examples, OfTexts, OfWords, PickBaseline, Tagged, Way};

/// The heads whose predictions a baseline imitates.
const CLASSES: &str = "sequence_classification";
const TAGS: &str = "token_classification";

params! {
    /// Predicts classes or tags without a transformer, as a yardstick.
    ///
    /// `majority` always answers the most frequent class of the training rows; `bag_of_words` is a
    /// logistic regression on the words of a text; `most_frequent_tag` gives each word the tag that
    /// it has most often. A fine-tuned model that does not beat them was not worth its training.
    pub struct Baseline {
        /// The rows it learns from: columns `text` and `label`, or `words` and `tags`.
        train: Port<port::ATable>;
        /// The rows it predicts.
        data: Port<port::ATable>;
        /// What predicts.
        method: PickBaseline;
    }
}

impl Step for Baseline {
    const NAME: &'static str = "baseline";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] =
        &[Output { name: "predictions", ty: PortType::Predictions, doc: "As `eval` makes them." }];
    const REPORT: &'static [&'static str] = &["train_rows", "rows"];
    const EXAMPLE: &'static str = "baseline words { train = messages.train, data = messages.test, \
                                   method = bag_of_words }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let of_words = self.method.build().is_some_and(|it| matches!(it.way(), Way::Tags(_)));
        let (head, input, target) = match of_words {
            true => (TAGS, "words", "tags"),
            false => (CLASSES, "text", "label"),
        };
        let mut labels = if of_words { LabelShape::Tags(None) } else { LabelShape::Classes(None) };
        let mut scored = true;
        for (path, port) in [("train", &self.train), ("data", &self.data)] {
            let Some(table) = cx.shape(port) else { continue };
            if !table.has(input) {
                let diag = cx
                    .diag(Code::E0404, path, format!("the table has no column `{input}`"))
                    .also(cx.origin(port), "read here")
                    .help(format!(
                        "`columns = {{ {input} = \"…\" }}` says which column holds the {input}"
                    ));
                cx.push(diag);
            }
            if path == "train" {
                check_labels(self, &table, of_words, cx);
                labels = table.labels;
            } else {
                scored = table.has(target);
            }
        }
        let made = PredictionsShape { head: head.to_string(), labels, scored };
        vec![("predictions", Shape::Predictions(made))]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (train, data) = (cx.input(&self.train)?, cx.input(&self.data)?);
        let method = self
            .method
            .build()
            .ok_or_else(|| StepError::internal(format!("`{:?}` was not checked", self.method)))?;
        let (made, train_rows) = match method.way() {
            Way::Classes(method) => classes(method, &train, &data)?,
            Way::Tags(method) => tags(method, &train, &data)?,
        };
        let rows = Report::from([
            ("train_rows".to_string(), train_rows as f64),
            ("rows".to_string(), data.rows() as f64),
        ]);
        Ok(vec![
            ("predictions", Value::Predictions(made.into())),
            ("report", Value::Report(rows.into())),
        ])
    }
}

/// Predictions of classes, and how many rows were learned from.
fn classes(
    method: &dyn OfTexts,
    train: &Table,
    data: &Table,
) -> Result<(Predictions, usize), StepError> {
    let Labels::Classes { names, .. } = train.labels().clone() else {
        return Err(StepError::new(Code::E0701, "a baseline predicts one class a row")
            .argument("train")
            .help("the labels of its training rows are of another kind"));
    };
    let Targets::Class(classes) = train.targets()? else {
        return Err(StepError::internal("labels and targets of a table differ in kind"));
    };
    let texts = joined(train)?;
    let (known, classes): (Vec<&str>, Vec<usize>) = texts
        .iter()
        .zip(classes)
        .filter_map(|(text, class)| Some((text.as_str(), usize::try_from(class).ok()?)))
        .unzip();
    let examples = Examples { texts: &known, labels: &classes, classes: names.len() };
    let asked = joined(data)?;
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let logits: Vec<f32> =
        method.logits(&examples, &asked).into_iter().map(|logit| logit as f32).collect();
    let starts: Vec<usize> = (0..=asked.len()).collect();
    let logits = Logits { values: &logits, outputs: names.len(), starts: &starts };

    let labels = Labels::Classes { names, declared: true };
    let mut held_out = data.clone();
    held_out.set_labels(labels.clone());
    let targets = if data.has("label") { held_out.targets()? } else { Targets::None };
    let made = Predictions::new(&Made {
        head: CLASSES,
        labels: &labels,
        ids: data.ids(),
        parts: &Parts::Rows,
        targets: &targets,
        logits,
        losses: &[],
        answers: &AnswerRule::USUAL,
    })?;
    Ok((made, known.len()))
}

/// Predictions of tags, in the columns that `predictions` has for them, and how many rows were
/// learned from.
fn tags(
    method: &dyn OfWords,
    train: &Table,
    data: &Table,
) -> Result<(Predictions, usize), StepError> {
    let (words, tags) = (lists(train, "words")?, lists(train, "tags")?);
    let asked = lists(data, "words")?;
    let predicted = method.tags(&Tagged { words: &words, tags: &tags }, &asked);
    let texts = |rows: Vec<Vec<String>>| ColumnData::Texts(rows.into_iter().map(Some).collect());
    let ids = data.ids().into_iter().map(Some).collect();
    let mut columns =
        vec![("id".to_string(), ColumnData::Text(ids)), ("words".to_string(), texts(asked))];
    if data.has("tags") {
        columns.push(("label".to_string(), texts(lists(data, "tags")?)));
    }
    columns.push(("predicted".to_string(), texts(predicted)));
    let table = Table::from_columns(columns)?;
    Ok((Predictions { table, head: TAGS.to_string() }, words.len()))
}

/// A column of lists of texts; a missing list is empty.
fn lists(table: &Table, name: &str) -> Result<Vec<Vec<String>>, StepError> {
    match table.column(name)? {
        ColumnData::Texts(rows) => Ok(rows.into_iter().map(Option::unwrap_or_default).collect()),
        other => Err(StepError::new(
            Code::E0404,
            format!("column `{name}` holds {}, not lists of texts", other.column_type()),
        )),
    }
}

fn check_labels(step: &Baseline, table: &TableShape, of_words: bool, cx: &mut CheckCx) {
    let found = match (&table.labels, of_words) {
        (LabelShape::Unknown, _)
        | (LabelShape::Classes(_), false)
        | (LabelShape::Tags(_), true) => return,
        (LabelShape::Absent, _) => "no labels",
        (LabelShape::Values, _) => "numbers as labels",
        (LabelShape::Classes(_), _) => "one class a row",
        (LabelShape::Multi(_), _) => "several labels a row",
        (LabelShape::Tags(_), _) => "one tag a word",
        (LabelShape::Answers, _) => "answers",
    };
    let (needed, help) = match of_words {
        true => {
            ("one tag a word", "`most_frequent_tag` learns from the columns `words` and `tags`")
        }
        false => {
            ("one class a row", "labels are one class a row where they are names or whole numbers")
        }
    };
    let diag = cx
        .diag(Code::E0406, "train", format!("this baseline needs {needed}, the table has {found}"))
        .also(cx.origin(&step.train), "read here")
        .help(help);
    cx.push(diag);
}

/// The text of every row, both texts of a pair.
fn joined(table: &Table) -> Result<Vec<String>, StepError> {
    let mut texts = table.texts("text")?;
    if table.has("text_pair") {
        for (text, pair) in texts.iter_mut().zip(table.texts("text_pair")?) {
            text.push('\n');
            text.push_str(&pair);
        }
    }
    Ok(texts)
}
