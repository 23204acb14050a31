//! The labels of a model and the labels of data: when they are the same, in another order, or
//! others. Never a silent permutation.

use crate::base::suggest;
use crate::data::{Labels, Targets};
use crate::model::{ModelError, Result};

/// How the data's classes become the model's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// The names in the model's order; empty for values.
    pub names: Vec<String>,
    /// For each class of the data, the model's class; `None` where they are the same.
    pub renumbered: Option<Vec<usize>>,
    /// What is worth saying of it.
    pub note: Option<String>,
}

/// What a model says of its labels.
#[derive(Debug, Clone, Copy)]
pub enum ModelLabels<'a> {
    /// The head is new: it takes the data's labels.
    New,
    /// That many outputs without names: `LABEL_0`, `LABEL_1`, …
    Count(usize),
    Named(&'a [String]),
}

/// The way out where labels do not fit.
const NEW_HEAD: &str = "head = sequence_classification(new = true)";

/// Brings the labels of training data to a model's: equal names in another order adopt the model's
/// order, other names are an error.
pub fn reconcile(model: ModelLabels<'_>, data: &Labels, head: &str) -> Result<Reconciled> {
    let names = data.names();
    if names.is_empty() {
        return Ok(Reconciled::default());
    }
    let same = |note| Ok(Reconciled { names: names.to_vec(), renumbered: None, note });
    match model {
        ModelLabels::New => same(None),
        ModelLabels::Count(count) if count == names.len() => same(None),
        ModelLabels::Count(count) => {
            let message =
                format!("the model's head has {count} outputs, the data {} labels", names.len());
            Err(ModelError::new(message).help(way_out(head)))
        }
        ModelLabels::Named(known) if known == names => same(None),
        ModelLabels::Named(known) => {
            let renumbered = renumber(known, names).filter(|_| known.len() == names.len());
            let Some(renumbered) = renumbered else { return Err(others(known, names, head)) };
            Ok(Reconciled {
                names: known.to_vec(),
                renumbered: Some(renumbered),
                note: Some(format!(
                    "the labels keep the model's order: {}",
                    suggest::list(known.iter().map(String::as_str))
                )),
            })
        }
    }
}

/// Brings the labels of data that a model is scored on to the model's: every name must be known.
pub fn align(model: ModelLabels<'_>, data: &Labels, head: &str) -> Result<Reconciled> {
    match model {
        ModelLabels::Named(known) if !data.names().is_empty() && known != data.names() => {
            match renumber(known, data.names()) {
                Some(renumbered) => Ok(Reconciled {
                    names: known.to_vec(),
                    renumbered: Some(renumbered),
                    note: None,
                }),
                None => Err(others(known, data.names(), head)),
            }
        }
        _ => reconcile(model, data, head),
    }
}

fn renumber(known: &[String], names: &[String]) -> Option<Vec<usize>> {
    names.iter().map(|name| known.iter().position(|other| other == name)).collect()
}

fn others(known: &[String], names: &[String], head: &str) -> ModelError {
    let show = |names: &[String]| {
        let shown = suggest::list(names.iter().take(6).map(String::as_str));
        if names.len() > 6 { format!("{shown}, … ({} in all)", names.len()) } else { shown }
    };
    ModelError::new(format!("the data's labels are {}, the model's {}", show(names), show(known)))
        .help(way_out(head))
}

fn way_out(head: &str) -> String {
    let line = NEW_HEAD.replace("sequence_classification", head);
    format!("a new head for these labels: `{line}`")
}

impl Reconciled {
    /// The targets in the model's classes.
    pub fn apply(&self, targets: &Targets) -> Targets {
        let Some(renumbered) = &self.renumbered else { return targets.clone() };
        let moved = |classes: &[i64]| {
            let to = |class: &i64| {
                let to = usize::try_from(*class).ok().and_then(|class| renumbered.get(class));
                to.map_or(*class, |to| *to as i64)
            };
            classes.iter().map(to).collect()
        };
        match targets {
            Targets::Class(rows) => Targets::Class(moved(rows)),
            Targets::Each { starts, classes } => {
                Targets::Each { starts: starts.clone(), classes: moved(classes) }
            }
            Targets::Multi { classes, values } => {
                let outputs = self.names.len();
                let rows = values.len() / (*classes).max(1);
                let mut moved = vec![0.0; rows * outputs];
                for row in 0..rows {
                    for (class, to) in renumbered.iter().enumerate() {
                        moved[row * outputs + to] = values[row * classes + class];
                    }
                }
                Targets::Multi { classes: outputs, values: moved }
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn classes(list: &[&str]) -> Labels {
        Labels::Classes { names: names(list), declared: false }
    }

    const HEAD: &str = "sequence_classification";

    #[test]
    fn equal_names_adopt_the_models_order_and_say_so() {
        let known = names(&["pos", "neg"]);
        let found = reconcile(ModelLabels::Named(&known), &classes(&["neg", "pos"]), HEAD).unwrap();
        assert_eq!(found.names, known);
        assert!(found.note.is_some());
        assert_eq!(
            found.apply(&Targets::Class(vec![0, 1, -100])),
            Targets::Class(vec![1, 0, -100])
        );
        let several = Targets::Multi { classes: 2, values: vec![1.0, 0.0, 1.0, 1.0] };
        let moved = Targets::Multi { classes: 2, values: vec![0.0, 1.0, 1.0, 1.0] };
        assert_eq!(found.apply(&several), moved);
    }

    #[test]
    fn other_names_are_an_error_with_the_line_that_helps() {
        let known = names(&["pos", "neg"]);
        for list in [&["a", "b"][..], &["neg", "neutral", "pos"], &["neg"]] {
            let error = reconcile(ModelLabels::Named(&known), &classes(list), HEAD).unwrap_err();
            assert!(error.help.unwrap().contains(NEW_HEAD));
        }
        assert!(reconcile(ModelLabels::Count(3), &classes(&["a", "b"]), HEAD).is_err());
        assert!(reconcile(ModelLabels::Count(2), &classes(&["a", "b"]), HEAD).is_ok());
    }

    #[test]
    fn data_to_score_may_lack_a_label() {
        let known = names(&["a", "b", "c"]);
        let found = align(ModelLabels::Named(&known), &classes(&["a", "c"]), HEAD).unwrap();
        assert_eq!(found.apply(&Targets::Class(vec![0, 1])), Targets::Class(vec![0, 2]));
        assert!(align(ModelLabels::Named(&known), &classes(&["a", "d"]), HEAD).is_err());
    }
}
