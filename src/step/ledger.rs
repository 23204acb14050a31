//! What is lost on the way of rows. In every report a number of one of these names counts rows, of
//! the `rows` that went in, that the step left out, changed or could not use: so that the table at
//! the end of a run can show them, and an `expect` can take a share of them.

use super::value::Report;

/// One way in which rows are lost.
pub struct Loss {
    /// The number's name in reports.
    pub name: &'static str,
    pub doc: &'static str,
}

/// The number of rows that went in: what shares are of.
pub const ROWS: &str = "rows";

pub const LOSSES: &[Loss] = &[
    Loss { name: "dropped", doc: "left out: a value was missing, or the row was too long" },
    Loss { name: "filtered", doc: "left out by `filter`" },
    Loss { name: "deduplicated", doc: "left out by `dedupe`" },
    Loss { name: "undrawn", doc: "left out by `sample` or `balance`" },
    Loss { name: "unmatched", doc: "left out by `join`: no row of the other table fits" },
    Loss { name: "truncated", doc: "cut at `max_length`" },
    Loss { name: "lost_answers", doc: "whose answer is in no row of tokens as a whole" },
    Loss { name: "unsupervised", doc: "without a label to learn from or to compare with" },
    Loss { name: "shared", doc: "held out, and also in the rows to learn from" },
    Loss { name: "learned", doc: "measured on, and also among those that the model learned from" },
];

/// Whether a number of this name counts rows.
pub fn counts_rows(name: &str) -> bool {
    LOSSES.iter().any(|loss| loss.name == name)
}

/// What a report says was lost: name and number of rows, without those of which there are none.
pub fn lost(report: &Report) -> impl Iterator<Item = (&'static str, f64)> + '_ {
    LOSSES.iter().filter_map(|loss| {
        report.get(loss.name).filter(|count| **count > 0.0).map(|count| (loss.name, *count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::kinds;

    /// A share is taken of `rows`, so whoever counts losses counts rows.
    #[test]
    fn every_kind_that_reports_a_loss_reports_its_rows() {
        for kind in kinds() {
            if kind.report.iter().any(|name| counts_rows(name)) {
                assert!(kind.report.contains(&ROWS), "{}", kind.name);
            }
        }
        let reported = |loss: &&Loss| kinds().iter().any(|kind| kind.report.contains(&loss.name));
        assert!(LOSSES.iter().all(|loss| reported(&loss)), "a loss that no step reports");
    }
}
