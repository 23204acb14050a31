//! What was lost on the way of rows, step by step: the table at the end of a run.

use std::sync::Arc;

use super::text::grid;
use crate::step::ledger;
use crate::step::value::Report;

/// One row for each number of rows that a step left out, cut or could not use. `None` if nothing was
/// lost.
pub fn losses(reports: &[(String, Arc<Report>)]) -> Option<String> {
    let mut rows = Vec::new();
    for (step, report) in reports {
        let of = report.get(ledger::ROWS).copied().unwrap_or(f64::NAN);
        for (at, (name, count)) in ledger::lost(report).enumerate() {
            // A step is named once, before its first loss.
            let (step, all) =
                if at == 0 { (step.clone(), of.to_string()) } else { Default::default() };
            let share = Some(100.0 * count / of).filter(|share| share.is_finite());
            let share = share.map(|share| format!("{share:.1} %")).unwrap_or_default();
            rows.push(vec![step, all, name.to_string(), count.to_string(), share]);
        }
    }
    let right = ["rows", "count", "share"];
    (!rows.is_empty()).then(|| grid(&["step", "rows", "lost", "count", "share"], &right, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(numbers: &[(&str, f64)]) -> Arc<Report> {
        Arc::new(numbers.iter().map(|(name, number)| (name.to_string(), *number)).collect())
    }

    #[test]
    fn only_what_was_lost_is_shown() {
        let whole = report(&[("rows", 7.0), ("dropped", 0.0), ("classes", 2.0)]);
        assert!(losses(&[("reviews".into(), whole.clone())]).is_none());
        let cut = report(&[("rows", 200.0), ("truncated", 3.0), ("dropped", 50.0)]);
        let text = losses(&[("reviews".into(), whole), ("tokens".into(), cut)]).unwrap();
        assert!(text.contains("1.5 %") && text.contains("25.0 %"), "{text}");
        assert!(!text.contains("reviews") && text.matches("tokens").count() == 1, "{text}");
    }
}
