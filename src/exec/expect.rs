//! Whether what a step reports is as its program expects.

use super::done::Done;
use super::session::Session;
use crate::base::Span;
use crate::plan::{Expectation, Limit};
use crate::schema::PortRef;
use crate::step::{Inputs, StepError, Value, ledger};

/// An expectation that is not met.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    /// Where it stands in the program.
    pub span: Span,
    /// What was expected, and what was found.
    pub message: String,
}

/// The expectations of a step that is done that are not met.
pub(super) fn unmet(session: &Session, step: &str, done: &Done) -> Result<Vec<Unmet>, StepError> {
    let mut found = Vec::new();
    for expected in session.graph.expectations.iter().filter(|expected| expected.step == step) {
        let port =
            PortRef::One { step: step.to_string(), output: expected.output.clone(), field: None };
        if let Some(what) = found_instead(expected, &done.load(&port)?) {
            let message = format!("`{}` is not met: {what}", expected.text);
            found.push(Unmet { span: expected.span, message });
        }
    }
    Ok(found)
}

/// What was found; `None` if it is as expected.
fn found_instead(expected: &Expectation, value: &Value) -> Option<String> {
    match value {
        Value::Report(report) => {
            let Some(number) = report.get(&expected.number).copied() else {
                return Some(format!("there is no `{}`", expected.number));
            };
            let rows = report.get(ledger::ROWS).copied().unwrap_or(f64::NAN);
            if expected.holds(number, rows) {
                return None;
            }
            Some(match expected.limit {
                Limit::Number(_) => format!("it is {}", shown(number)),
                Limit::Share(_) => {
                    let share = Some(100.0 * number / rows).filter(|share| share.is_finite());
                    let share = share.map(|share| format!(", which is {}%", shown(share)));
                    format!("it is {number} of {rows} rows{}", share.unwrap_or_default())
                }
            })
        }
        Value::Scores(scores) => {
            let Some(score) = scores.scores.iter().find(|score| score.name == expected.number)
            else {
                return Some(format!("there is no `{}`", expected.number));
            };
            match (score.value, &score.reason) {
                (Some(value), _) if expected.holds(value, f64::NAN) => None,
                (Some(value), _) => Some(format!("it is {}", shown(value))),
                (None, Some(reason)) => Some(format!("it has no value: {reason}")),
                (None, None) => Some("it has no value".to_string()),
            }
        }
        _ => Some("it is no number".to_string()),
    }
}

/// Five significant digits, or all of a whole number.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return value.to_string();
    }
    match value.abs() {
        size if !(1e-4..1e6).contains(&size) => format!("{value:.4e}"),
        size => {
            let digits = 4 - size.log10().floor() as i32;
            let text = format!("{value:.*}", digits.max(0) as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::value::{Report, Score, Scores};
    use crate::syntax::ast::BinaryOperator;

    fn check(comparison: BinaryOperator, limit: Limit, value: &Value) -> Option<String> {
        let expected = Expectation {
            step: "tokens".into(),
            output: "report".into(),
            number: "truncated".into(),
            comparison,
            limit,
            text: String::new(),
            span: Span::default(),
        };
        found_instead(&expected, value)
    }

    #[test]
    fn numbers_and_shares_of_rows_are_compared() {
        use BinaryOperator::*;
        let numbers = [("rows", 200.0), ("truncated", 3.0)];
        let report: Report =
            numbers.into_iter().map(|(name, number)| (name.to_string(), number)).collect();
        let report = Value::Report(report.into());
        let met = |comparison, limit| check(comparison, limit, &report).is_none();
        assert!(met(Less, Limit::Share(0.02)) && !met(Less, Limit::Share(0.015)));
        assert!(met(LessEqual, Limit::Share(0.015)) && met(Equal, Limit::Share(0.015)));
        assert!(met(Greater, Limit::Number(2.0)) && !met(Greater, Limit::Number(3.0)));
        assert!(met(GreaterEqual, Limit::Number(3.0)) && !met(Equal, Limit::Number(2.0)));
        let found = check(Less, Limit::Share(0.01), &report).unwrap();
        assert_eq!(found, "it is 3 of 200 rows, which is 1.5%");
        assert_eq!(check(Less, Limit::Number(3.0), &report).unwrap(), "it is 3");
    }

    #[test]
    fn a_number_that_is_none_is_never_as_expected() {
        use BinaryOperator::*;
        let report = |rows| {
            let numbers = [("rows".to_string(), rows), ("truncated".to_string(), f64::NAN)];
            Value::Report(Report::from(numbers).into())
        };
        for comparison in [Less, LessEqual, Greater, GreaterEqual, Equal] {
            assert!(check(comparison, Limit::Number(0.0), &report(1.0)).is_some());
            assert!(check(comparison, Limit::Share(0.5), &report(0.0)).is_some());
        }
        let score = Score {
            name: "truncated".into(),
            value: None,
            low: None,
            high: None,
            reason: Some("one class alone".into()),
        };
        let scores = Value::Scores(Scores { scores: vec![score], ..Scores::default() }.into());
        let found = check(Less, Limit::Number(1.0), &scores).unwrap();
        assert!(found.contains("one class alone"), "{found}");
    }

    #[test]
    fn numbers_are_shown_short() {
        for (value, text) in [(3.0, "3"), (0.76123, "0.76123"), (12.5, "12.5"), (1e-7, "1.0000e-7")]
        {
            assert_eq!(shown(value), text);
        }
    }
}
