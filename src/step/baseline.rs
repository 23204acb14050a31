//! `baseline`: predictions that need no transformer, for what a model has to beat. The methods are
//! in `train::baseline`.

use super::check::CheckCx;
use super::predictions::{AnswerRule, Made};
use super::run::{RunCx, StepError};
use super::shape::{LabelShape, PredictionsShape, Shape, TableShape};
use super::value::{Predictions, Report, Value, port};
use super::{Output, Step};
use crate::base::Code;
use crate::data::{Labels, Parts, Table, Targets};
use crate::params;
use crate::schema::{Port, PortType};
use crate::task::Logits;
use crate::train::baseline::{Examples, PickBaseline};

/// The head whose predictions a baseline imitates.
const HEAD: &str = "sequence_classification";

params! {
    /// Predicts classes without a transformer, as a yardstick.
    ///
    /// `majority` always answers the most frequent class of the training rows; `bag_of_words` is a
    /// logistic regression on the words of a text. A fine-tuned model that does not beat them was
    /// not worth its training.
    pub struct Baseline {
        /// The rows it learns from: columns `text` and `label`.
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
        let mut labels = LabelShape::Classes(None);
        let mut scored = true;
        for (path, port) in [("train", &self.train), ("data", &self.data)] {
            let Some(table) = cx.shape(port) else { continue };
            if !table.has("text") {
                let diag = cx
                    .diag(Code::E0404, path, "the table has no column `text`")
                    .also(cx.origin(port), "read here")
                    .help("`columns = { text = \"…\" }` says which column holds the text");
                cx.push(diag);
            }
            if path == "train" {
                check_classes(self, &table, cx);
                labels = table.labels;
            } else {
                scored = table.has("label");
            }
        }
        let made = PredictionsShape { head: HEAD.to_string(), labels, scored };
        vec![("predictions", Shape::Predictions(made))]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (train, data) = (cx.input(&self.train)?, cx.input(&self.data)?);
        let method = self
            .method
            .build()
            .ok_or_else(|| StepError::internal(format!("`{:?}` was not checked", self.method)))?;
        let Labels::Classes { names, .. } = train.labels().clone() else {
            return Err(StepError::new(Code::E0701, "a baseline predicts one class a row")
                .argument("train")
                .help("the labels of its training rows are of another kind"));
        };
        let Targets::Class(classes) = train.targets()? else {
            return Err(StepError::internal("labels and targets of a table differ in kind"));
        };
        let texts = joined(&train)?;
        let (known, classes): (Vec<&str>, Vec<usize>) = texts
            .iter()
            .zip(classes)
            .filter_map(|(text, class)| Some((text.as_str(), usize::try_from(class).ok()?)))
            .unzip();
        let examples = Examples { texts: &known, labels: &classes, classes: names.len() };
        let asked = joined(&data)?;
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let logits: Vec<f32> =
            method.logits(&examples, &asked).into_iter().map(|logit| logit as f32).collect();
        let starts: Vec<usize> = (0..=asked.len()).collect();
        let logits = Logits { values: &logits, outputs: names.len(), starts: &starts };

        let labels = Labels::Classes { names, declared: true };
        let mut held_out = data.as_ref().clone();
        held_out.set_labels(labels.clone());
        let targets = if data.has("label") { held_out.targets()? } else { Targets::None };
        let rows = Report::from([
            ("train_rows".to_string(), known.len() as f64),
            ("rows".to_string(), asked.len() as f64),
        ]);
        let made = Predictions::new(&Made {
            head: HEAD,
            labels: &labels,
            ids: data.ids(),
            parts: &Parts::Rows,
            targets: &targets,
            logits,
            losses: &[],
            answers: &AnswerRule::USUAL,
        })?;
        Ok(vec![
            ("predictions", Value::Predictions(made.into())),
            ("report", Value::Report(rows.into())),
        ])
    }
}

fn check_classes(step: &Baseline, table: &TableShape, cx: &mut CheckCx) {
    let found = match &table.labels {
        LabelShape::Absent => "no labels",
        LabelShape::Values => "numbers as labels",
        LabelShape::Multi(_) => "several labels a row",
        LabelShape::Tags(_) => "one class a word",
        LabelShape::Answers => "answers",
        LabelShape::Unknown | LabelShape::Classes(_) => return,
    };
    let diag = cx
        .diag(
            Code::E0406,
            "train",
            format!("a baseline needs one class a row, the table has {found}"),
        )
        .also(cx.origin(&step.train), "read here")
        .help("labels are one class a row where they are names or whole numbers");
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
