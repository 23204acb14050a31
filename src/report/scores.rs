//! Metrics: the table at the end of a run, and the same values for machines.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::text::grid;
use crate::step::value::Scores;

/// Scores and the step that made them.
pub type Named = (String, Arc<Scores>);

/// A metric's value and its interval; `None` where it is not defined.
pub type Triple = (Option<f64>, Option<f64>, Option<f64>);

/// By step, then by metric, in order.
pub fn metrics(all: &[Named]) -> IndexMap<String, IndexMap<String, Triple>> {
    all.iter()
        .map(|(step, scores)| {
            let values = scores.scores.iter();
            (
                step.clone(),
                values.map(|one| (one.name.clone(), (one.value, one.low, one.high))).collect(),
            )
        })
        .collect()
}

/// `{STEP: {METRIC: {"value", "low", "high"}}}`
pub fn json(all: &[Named]) -> Value {
    let steps = metrics(all).into_iter().map(|(step, values)| {
        let values = values.into_iter().map(|(name, (value, low, high))| {
            (name, json!({ "value": value, "low": low, "high": high }))
        });
        (step, Value::Object(values.collect::<Map<_, _>>()))
    });
    Value::Object(steps.collect())
}

/// One row a metric: value, and the interval where there is one. `None` if there is no metric.
pub fn table(all: &[Named]) -> Option<String> {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|(step, scores)| scores.scores.iter().map(move |one| (step, one)))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let intervals = rows.iter().any(|(_, one)| one.low.is_some());
    let mut head = vec!["step", "metric", "value"];
    if intervals {
        head.push("95 % interval");
    }
    let mut last = "";
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(step, one)| {
            // A step is named once, before its first metric.
            let shown = if last == step.as_str() { "" } else { step.as_str() };
            last = step;
            let value = match (one.value, &one.reason) {
                (Some(value), _) => number(value),
                (None, Some(reason)) => format!("none: {reason}"),
                (None, None) => "none".to_string(),
            };
            let mut row = vec![shown.to_string(), one.name.clone(), value];
            if intervals {
                row.push(match (one.low, one.high) {
                    (Some(low), Some(high)) => format!("{} … {}", number(low), number(high)),
                    _ => String::new(),
                });
            }
            row
        })
        .collect();
    Some(grid(&head, &["value"], &cells))
}

/// Tables per class and confusion matrices, as far as they fit a page.
pub fn details(all: &[Named]) -> Vec<String> {
    /// Beyond these a table is for a file, not for a terminal.
    const COLUMNS: usize = 12;
    const ROWS: usize = 40;
    let tables =
        all.iter().flat_map(|(step, scores)| scores.tables.iter().map(move |table| (step, table)));
    tables
        .filter(|(_, table)| table.columns.len() <= COLUMNS && table.rows.len() <= ROWS)
        .map(|(step, table)| {
            let title = format!("{step}.{}", table.name);
            let mut head = vec![title.as_str()];
            head.extend(table.columns.iter().map(String::as_str));
            let whole =
                table.rows.iter().flat_map(|(_, values)| values).all(|value| value.fract() == 0.0);
            let shown = |value: &f64| if whole { value.to_string() } else { number(*value) };
            let rows: Vec<Vec<String>> = table
                .rows
                .iter()
                .map(|(name, values)| {
                    std::iter::once(name.clone()).chain(values.iter().map(shown)).collect()
                })
                .collect();
            let right: Vec<&str> = table.columns.iter().map(String::as_str).collect();
            grid(&head, &right, &rows)
        })
        .collect()
}

/// Four digits behind the point; large and tiny values by their exponent.
fn number(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-4..1e6).contains(&size) => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::value::Score;

    fn scores() -> Vec<Named> {
        let score = |name: &str, value, low, high, reason: Option<&str>| Score {
            name: name.into(),
            value,
            low,
            high,
            reason: reason.map(str::to_string),
        };
        let all = vec![
            score("accuracy", Some(0.9127), Some(0.893), Some(0.931), None),
            score("roc_auc", None, None, None, Some("one class alone")),
        ];
        vec![("quality".into(), Arc::new(Scores { scores: all, ..Scores::default() }))]
    }

    #[test]
    fn a_metric_has_its_interval_and_an_undefined_one_its_reason() {
        let text = table(&scores()).unwrap();
        assert!(text.contains("0.8930 … 0.9310"), "{text}");
        assert!(text.contains("none: one class alone"), "{text}");
        assert!(table(&[]).is_none());
    }

    #[test]
    fn counts_are_whole_and_rates_have_digits() {
        let table = |name: &str, value| crate::step::value::ScoreTable {
            name: name.into(),
            columns: vec!["yes".into()],
            rows: vec![("no".into(), vec![value])],
        };
        let tables = vec![table("confusion_matrix", 12.0), table("recall", 0.25)];
        let all = [("quality".to_string(), Arc::new(Scores { tables, ..Scores::default() }))];
        let shown = details(&all);
        assert!(
            shown[0].contains("quality.confusion_matrix") && shown[0].contains(" 12"),
            "{}",
            shown[0]
        );
        assert!(!shown[0].contains("12.0") && shown[1].contains("0.2500"), "{shown:?}");
    }

    #[test]
    fn machines_read_values_and_limits() {
        let object = json(&scores());
        assert_eq!(
            object["quality"]["accuracy"],
            json!({ "value": 0.9127, "low": 0.893, "high": 0.931 })
        );
        assert_eq!(object["quality"]["roc_auc"]["value"], Value::Null);
    }
}
