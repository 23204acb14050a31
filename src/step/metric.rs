//! `metric`: what predictions are worth. The metrics themselves are in `train::metrics`.

use super::check::CheckCx;
use super::predictions::{kind_of, known_names};
use super::run::{Event, RunCx, StepError};
use super::shape::Shape;
use super::value::{Score, ScoreTable, Scores, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::params;
use crate::schema::{Family, Pick, Port, PortType};
use crate::train::metrics::{
    Bootstrap, IntervalMethod, Kind, Measured, Metric as Measure, Metrics, Outcome, PickMetric,
    Scored, defaults, measure,
};

params! {
    /// Compares predictions with the labels.
    ///
    /// Every value is computed over all rows at once, so it does not depend on batches. Values come
    /// with an interval: rows are drawn with replacement, and the middle 95 % of the values are
    /// shown. Where a metric is not defined it has no value, and the reason is given.
    pub struct Metric {
        /// What `eval` made.
        predictions: Port<port::SomePredictions>;
        /// The metrics, in the order of the table. Without it those usual for the head.
        compute: Vec<PickMetric> = Vec::new();
        /// How intervals are found.
        interval: IntervalMethod = IntervalMethod::Bootstrap(Bootstrap::usual());
    }
}

impl Step for Metric {
    const NAME: &'static str = "metric";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "scores",
        ty: PortType::Scores,
        doc: "The values by name, with intervals; tables per class.",
    }];
    const REPORT: &'static [&'static str] = &["rows"];
    const EXAMPLE: &'static str =
        "metric quality { predictions = predicted, compute = [accuracy, f1(average = macro)] }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let shape = cx.shape(&self.predictions);
        let origin = cx.origin(&self.predictions);
        let kind = shape.as_ref().and_then(|shape| kind_of(&shape.head, &shape.labels));
        if shape.as_ref().is_some_and(|shape| !shape.scored) {
            let diag = cx
                .diag(
                    Code::E0506,
                    "predictions",
                    "these predictions have no labels to compare with",
                )
                .also(origin, "made here")
                .help("`eval` keeps the labels of its tokens; `predict` reads rows without labels");
            cx.push(diag);
        }
        let mut names: Vec<String> = Vec::new();
        for (index, pick) in self.compute.iter().enumerate() {
            let path = format!("compute.{index}");
            let Some(metric) = pick.build() else { continue };
            if names.contains(&metric.name()) {
                let message = format!("`{}` is computed twice", metric.name());
                let diag = cx.diag(Code::E0209, &path, message).help("one of them can be removed");
                cx.push(diag);
            }
            names.push(metric.name());
            let (Some(kind), Some(shape)) = (kind, &shape) else { continue };
            if let Some(message) = misfit(metric.as_ref(), &pick.name, kind) {
                let diag = cx
                    .diag(Code::E0506, &path, message)
                    .also(origin, format!("made with the head `{}`", shape.head))
                    .help(format!("metrics that fit: {}", suggest::list(fitting(kind))));
                cx.push(diag);
            } else if let Some(labels) = known_names(&shape.labels)
                && let Err(message) = metric.check(labels)
            {
                let diag = cx.diag(Code::E0506, &path, message);
                cx.push(diag);
            }
        }
        if self.compute.is_empty()
            && let Some(kind) = kind
        {
            names.extend(defaults(kind).iter().map(|metric| metric.name()));
        }
        vec![("scores", Shape::Scores(names))]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let scored = cx.input(&self.predictions)?.scored()?;
        let metrics = build(&self.compute, scored.kind())?;
        let bootstrap = match &self.interval {
            IntervalMethod::Bootstrap(bootstrap) => Some(bootstrap),
            IntervalMethod::None => None,
        };
        let measured = measure(&metrics, &scored, bootstrap);
        for warning in measured.iter().flat_map(|one| &one.warnings) {
            cx.control.event(Event::Warning { message: warning.clone() });
        }
        let rows = scored.rows();
        Ok(vec![
            ("scores", Value::Scores(Scores::of(measured, rows).into())),
            (
                "report",
                Value::Report(super::value::Report::from([("rows".into(), rows as f64)]).into()),
            ),
        ])
    }
}

/// The picked metrics, or the usual ones for this kind of predictions.
pub fn build(picked: &[PickMetric], kind: Kind) -> Result<Vec<Box<dyn Measure>>, StepError> {
    if picked.is_empty() {
        return Ok(defaults(kind));
    }
    let build = |pick: &PickMetric| {
        pick.build().ok_or_else(|| StepError::internal(format!("`{pick:?}` was not checked")))
    };
    picked.iter().map(build).collect()
}

/// Why a metric cannot score this kind of predictions.
pub fn misfit(metric: &dyn Measure, name: &str, kind: Kind) -> Option<String> {
    let fits = metric.fits();
    if fits.contains(&kind) {
        return None;
    }
    let scores: Vec<&str> = fits.iter().map(|kind| kind.describe()).collect();
    let scores = scores.join(" or ");
    Some(format!("`{name}` scores {scores}, and these predictions are {}", kind.describe()))
}

/// The names of the metrics that score this kind of predictions.
pub fn fitting(kind: Kind) -> impl Iterator<Item = &'static str> {
    Metrics::table().iter().map(|entry| entry.name).filter(move |name| {
        let metric = Pick::<Metrics>::default_of(name).and_then(|pick| pick.build());
        metric.is_some_and(|metric| metric.fits().contains(&kind))
    })
}

impl Scores {
    pub fn of(measured: Vec<Measured>, rows: usize) -> Self {
        let mut scores = Scores { rows, ..Scores::default() };
        for one in measured {
            let score = |value, reason| Score {
                name: one.name.clone(),
                value,
                low: one.interval.map(|interval| interval.low),
                high: one.interval.map(|interval| interval.high),
                reason,
            };
            match one.outcome {
                Outcome::Value(value) => scores.scores.push(score(Some(value), None)),
                Outcome::Undefined(reason) => scores.scores.push(score(None, Some(reason))),
                Outcome::Table(table) => scores.tables.push(ScoreTable {
                    name: one.name,
                    columns: table.columns,
                    rows: table.rows,
                }),
            }
        }
        scores
    }

    /// The metrics on all rows, without intervals: a validation.
    pub fn plain(metrics: &[Box<dyn Measure>], scored: &Scored) -> Self {
        Self::of(measure(metrics, scored, None), scored.rows())
    }
}
