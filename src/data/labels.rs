//! What the `label` column of a table means: nothing, values to regress on, one class a row, or
//! several. The column keeps what the file says; the order of the names is decided here.

use super::column::{ColumnData, ColumnType};
use super::error::{DataError, Fault, Result};
use crate::base::suggest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// What the `label` column means.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// There is no label column.
    #[default]
    Unknown,
    /// Floats: regression.
    Values,
    /// One class a row. `names[k]` is class k; `declared`: the user gave the names and their order.
    Classes { names: Vec<String>, declared: bool },
    /// Any number of classes a row.
    Multi { names: Vec<String>, declared: bool },
    /// One class a word; they are in the column `tags`.
    Tags { names: Vec<String>, declared: bool },
    /// A part of the row's context; they are in the column `answers`.
    Answers,
}

/// The labels of some rows, as the engine reads them.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Targets {
    #[default]
    None,
    /// The class of each row, -100 where it is missing.
    Class(Vec<i64>),
    /// The value of each row, NaN where it is missing.
    Value(Vec<f32>),
    /// Rows × classes, row-major, 0 or 1.
    Multi { classes: usize, values: Vec<f32> },
    /// A class for each of a row's units, -100 where none is supervised. Row r has the units
    /// `starts[r]..starts[r + 1]`: its tokens, or those of them that are masked.
    Each { starts: Vec<usize>, classes: Vec<i64> },
    /// The first and the last token of a row's answer, counted within the row; -100 where it is not
    /// supervised.
    Spans(Vec<[i64; 2]>),
}

/// The class of a row without a label: the losses skip it.
pub const IGNORED: i64 = -100;

impl Labels {
    /// The names of the classes, in order; none for values.
    pub fn names(&self) -> &[String] {
        match self {
            Labels::Classes { names, .. }
            | Labels::Multi { names, .. }
            | Labels::Tags { names, .. } => names,
            Labels::Unknown | Labels::Values | Labels::Answers => &[],
        }
    }

    /// Works out what the label columns of tables that belong together mean, over all of them at
    /// once: a class that occurs in one of them is a class of all. Text, integers and booleans are
    /// classes, floats are values, lists are several classes a row.
    ///
    /// `columns`: the label column of each table that has one. `declared`: names given by the user.
    pub fn of(columns: &[&ColumnData], declared: Option<&[String]>) -> Result<Labels> {
        let Some(first) = columns.first() else { return Ok(Labels::Unknown) };
        // A column without a single value says nothing of its type.
        let telling: Vec<&ColumnData> =
            columns.iter().copied().filter(|column| !all_missing(column)).collect();
        let types: BTreeSet<String> =
            telling.iter().map(|column| column.column_type().to_string()).collect();
        let numbers = telling.iter().all(|column| column.column_type().is_number());
        if types.len() > 1 && !numbers {
            let found: Vec<&str> = types.iter().map(String::as_str).collect();
            return Err(DataError::new(
                Fault::Label,
                format!("the label columns are of different types: {}", suggest::list(found)),
            ));
        }
        // Whole numbers in one file and fractions in another are values in both.
        let telling_type = telling
            .iter()
            .map(|column| column.column_type())
            .max_by_key(|found| *found == ColumnType::Float)
            .unwrap_or_else(|| first.column_type());
        match telling_type {
            ColumnType::Float if declared.is_none() => Ok(Labels::Values),
            ColumnType::Float => Err(DataError::new(
                Fault::Label,
                "`labels` names classes, but the label column holds floats, which are values",
            )
            .help("leave `labels` out, or store the classes as names or integers")),
            ColumnType::List(inner) if *inner == ColumnType::Float => Err(DataError::new(
                Fault::Label,
                "the label column holds lists of floats, which no head can be trained on",
            )
            .help("several classes a row are lists of names or of integers")),
            ColumnType::List(_) => Ok(Labels::Multi {
                names: class_names(&telling, declared),
                declared: declared.is_some(),
            }),
            _ => Ok(Labels::Classes {
                names: class_names(&telling, declared),
                declared: declared.is_some(),
            }),
        }
    }

    /// What the columns `tags` of tables that belong together mean: the names that occur in any.
    pub fn of_tags(columns: &[&ColumnData]) -> Labels {
        match class_names(columns, None) {
            names if names.is_empty() => Labels::Unknown,
            names => Labels::Tags { names, declared: false },
        }
    }

    /// The targets of a label column. An unknown class is an error that names the row by its
    /// position in the column (the caller adds the file and the line).
    pub fn targets(&self, column: Option<&ColumnData>) -> Result<Targets, (usize, DataError)> {
        let Some(column) = column else { return Ok(Targets::None) };
        match self {
            Labels::Unknown | Labels::Tags { .. } | Labels::Answers => Ok(Targets::None),
            Labels::Values => Ok(Targets::Value(match column {
                ColumnData::Float(values) => values
                    .iter()
                    .map(|value| value.map_or(f32::NAN, |value| value as f32))
                    .collect(),
                ColumnData::Float32(values) => {
                    values.iter().map(|value| value.unwrap_or(f32::NAN)).collect()
                }
                ColumnData::Int(values) => values
                    .iter()
                    .map(|value| value.map_or(f32::NAN, |value| value as f32))
                    .collect(),
                other => return Err((0, wrong_type(other))),
            })),
            Labels::Classes { names, .. } => {
                let index = Index::new(names);
                let mut classes = Vec::with_capacity(column.len());
                for row in 0..column.len() {
                    classes.push(match single_name(column, row) {
                        None => IGNORED,
                        Some(name) => index.of(&name).map_err(|error| (row, error))? as i64,
                    });
                }
                Ok(Targets::Class(classes))
            }
            Labels::Multi { names, .. } => {
                let index = Index::new(names);
                let mut values = vec![0.0; column.len() * names.len()];
                for row in 0..column.len() {
                    if is_missing(column, row) {
                        // Not the same as no label at all, which can be learned.
                        let place = row * names.len();
                        values[place..place + names.len()].fill(f32::NAN);
                    }
                    for name in several_names(column, row) {
                        let class = index.of(&name).map_err(|error| (row, error))?;
                        if let Some(value) = values.get_mut(row * names.len() + class) {
                            *value = 1.0;
                        }
                    }
                }
                Ok(Targets::Multi { classes: names.len(), values })
            }
        }
    }
}

impl Targets {
    /// Rows from which nothing can be learned: their label is missing.
    pub fn unsupervised(&self) -> usize {
        (0..self.rows().unwrap_or(0)).filter(|row| !self.is_supervised(*row)).count()
    }

    /// Whether the label of a row is known; of one of several units, that of any. So it is where there
    /// are no labels at all.
    pub fn is_supervised(&self, row: usize) -> bool {
        match self {
            Targets::Class(classes) => classes.get(row).is_some_and(|class| *class != IGNORED),
            Targets::Value(values) => values.get(row).is_some_and(|value| !value.is_nan()),
            Targets::Each { starts, classes } => match (starts.get(row), starts.get(row + 1)) {
                (Some(start), Some(end)) => {
                    let units = classes.get(*start..*end).unwrap_or_default();
                    units.iter().any(|class| *class != IGNORED)
                }
                _ => false,
            },
            Targets::Spans(spans) => spans.get(row).is_some_and(|span| !span.contains(&IGNORED)),
            Targets::Multi { classes, values } => {
                let start = row * classes;
                let row = values.get(start..start + classes);
                row.is_some_and(|row| row.iter().all(|value| !value.is_nan()))
            }
            Targets::None => true,
        }
    }

    /// Rows, or `None` where there are no targets.
    pub fn rows(&self) -> Option<usize> {
        match self {
            Targets::None => None,
            Targets::Class(classes) => Some(classes.len()),
            Targets::Value(values) => Some(values.len()),
            Targets::Multi { classes, values } => Some(values.len() / (*classes).max(1)),
            Targets::Each { starts, .. } => Some(starts.len().saturating_sub(1)),
            Targets::Spans(spans) => Some(spans.len()),
        }
    }

    /// The targets of these rows, in this order. A row out of range is left out.
    pub fn take(&self, rows: &[usize]) -> Targets {
        match self {
            Targets::None => Targets::None,
            Targets::Class(all) => {
                Targets::Class(rows.iter().filter_map(|row| all.get(*row).copied()).collect())
            }
            Targets::Value(all) => {
                Targets::Value(rows.iter().filter_map(|row| all.get(*row).copied()).collect())
            }
            Targets::Multi { classes, values } => Targets::Multi {
                classes: *classes,
                values: rows
                    .iter()
                    .filter_map(|row| values.get(row * classes..(row + 1) * classes))
                    .flatten()
                    .copied()
                    .collect(),
            },
            Targets::Each { starts, classes } => {
                let mut taken = (vec![0], Vec::new());
                for row in rows {
                    let (Some(start), Some(end)) = (starts.get(*row), starts.get(row + 1)) else {
                        continue;
                    };
                    taken.1.extend_from_slice(classes.get(*start..*end).unwrap_or_default());
                    taken.0.push(taken.1.len());
                }
                Targets::Each { starts: taken.0, classes: taken.1 }
            }
            Targets::Spans(all) => {
                Targets::Spans(rows.iter().filter_map(|row| all.get(*row).copied()).collect())
            }
        }
    }

    /// The targets as values to regress on: classes whose names are numbers are these numbers
    /// (a score column of whole numbers reads as classes).
    pub fn as_values(&self, labels: &Labels) -> Result<Vec<f32>> {
        match self {
            Targets::Value(values) => Ok(values.clone()),
            Targets::Class(classes) => {
                let names: Option<Vec<f32>> =
                    labels.names().iter().map(|name| name.parse().ok()).collect();
                let names = names.ok_or_else(|| {
                    DataError::new(
                        Fault::Label,
                        format!(
                            "the labels are names ({}), not numbers",
                            suggest::list(labels.names().iter().take(4).map(String::as_str))
                        ),
                    )
                    .help("a regression needs a column of numbers")
                })?;
                Ok(classes
                    .iter()
                    .map(|class| {
                        usize::try_from(*class)
                            .ok()
                            .and_then(|at| names.get(at).copied())
                            .unwrap_or(f32::NAN)
                    })
                    .collect())
            }
            _ => Err(DataError::new(Fault::Label, "the rows carry no values to regress on")),
        }
    }
}

fn all_missing(column: &ColumnData) -> bool {
    (0..column.len()).all(|row| is_missing(column, row))
}

pub(super) fn is_missing(column: &ColumnData, row: usize) -> bool {
    fn none<T>(values: &[Option<T>], row: usize) -> bool {
        values.get(row).is_none_or(|value| value.is_none())
    }
    match column {
        ColumnData::Bool(values) => none(values, row),
        ColumnData::Int(values) => none(values, row),
        ColumnData::Float(values) => none(values, row),
        ColumnData::Float32(values) => none(values, row),
        ColumnData::Text(values) => none(values, row),
        ColumnData::Ints(values) => none(values, row),
        ColumnData::Floats(values) => none(values, row),
        ColumnData::Floats32(values) => none(values, row),
        ColumnData::Texts(values) => none(values, row),
    }
}

/// The class name in a cell. Floats are whole numbers by the time they are asked for names.
fn single_name(column: &ColumnData, row: usize) -> Option<String> {
    match column {
        ColumnData::Bool(values) => values.get(row)?.map(|value| value.to_string()),
        ColumnData::Int(values) => values.get(row)?.map(|value| value.to_string()),
        ColumnData::Float(values) => values.get(row)?.map(|value| value.to_string()),
        ColumnData::Float32(values) => values.get(row)?.map(|value| value.to_string()),
        ColumnData::Text(values) => values.get(row)?.clone(),
        _ => None,
    }
}

fn several_names(column: &ColumnData, row: usize) -> Vec<String> {
    match column {
        ColumnData::Ints(values) => values
            .get(row)
            .and_then(Option::as_ref)
            .map(|list| list.iter().map(i64::to_string).collect())
            .unwrap_or_default(),
        ColumnData::Texts(values) => values.get(row).and_then(Clone::clone).unwrap_or_default(),
        other => single_name(other, row).into_iter().collect(),
    }
}

fn class_names(columns: &[&ColumnData], declared: Option<&[String]>) -> Vec<String> {
    if let Some(names) = declared {
        return names.to_vec();
    }
    let mut found: BTreeSet<String> = BTreeSet::new();
    for column in columns {
        for row in 0..column.len() {
            found.extend(several_names(column, row));
        }
    }
    sort_names(found.into_iter().collect())
}

/// Names sort by code point; names that are all integers sort by their value.
pub fn sort_names(mut names: Vec<String>) -> Vec<String> {
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    match numbers {
        Some(numbers) => {
            let mut paired: Vec<(i64, String)> = numbers.into_iter().zip(names).collect();
            paired.sort();
            paired.into_iter().map(|(_, name)| name).collect()
        }
        None => {
            names.sort();
            names
        }
    }
}

fn wrong_type(column: &ColumnData) -> DataError {
    DataError::new(
        Fault::Label,
        format!("the label column holds {}, not values", column.column_type()),
    )
}

/// Finds classes by name.
struct Index<'a> {
    names: &'a [String],
    places: HashMap<&'a str, usize>,
}

impl<'a> Index<'a> {
    fn new(names: &'a [String]) -> Self {
        let places = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        Self { names, places }
    }

    fn of(&self, name: &str) -> Result<usize> {
        self.places.get(name).copied().ok_or_else(|| unknown_label(name, self.names))
    }
}

/// The error for a label that is not among the names.
pub(super) fn unknown_label(name: &str, names: &[String]) -> DataError {
    let all = names.iter().map(String::as_str);
    let shown: Vec<&str> = all.clone().take(12).collect();
    let more = names.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    DataError::new(
        Fault::Label,
        format!("the label `{name}` is none of {}{tail}", suggest::list(shown)),
    )
    .subject(name)
    .nearest(suggest::nearest(name, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> ColumnData {
        ColumnData::Text(values.iter().map(|value| Some(value.to_string())).collect())
    }

    #[test]
    fn names_sort_by_code_point_and_digits_by_value() {
        let labels = Labels::of(&[&texts(&["b", "a", "B"])], None).unwrap();
        assert_eq!(labels.names(), ["B", "a", "b"]);
        let labels = Labels::of(&[&texts(&["10", "9", "2"])], None).unwrap();
        assert_eq!(labels.names(), ["2", "9", "10"]);
        let labels = Labels::of(&[&ColumnData::Int(vec![Some(10), Some(-1), None])], None).unwrap();
        assert_eq!(labels.names(), ["-1", "10"]);
    }

    #[test]
    fn rows_without_supervision_are_counted() {
        let check = |targets: Targets, count| assert_eq!(targets.unsupervised(), count);
        check(Targets::None, 0);
        check(Targets::Class(vec![0, IGNORED, 2]), 1);
        check(Targets::Value(vec![f32::NAN, 0.0]), 1);
        check(Targets::Multi { classes: 2, values: vec![0.0; 4] }, 0);
        // The first row has a unit to learn from, the second none that counts, the third none.
        let classes = vec![IGNORED, 3, IGNORED, IGNORED];
        check(Targets::Each { starts: vec![0, 2, 4, 4], classes }, 2);
        check(Targets::Spans(vec![[0, 3], [IGNORED, IGNORED]]), 1);
    }

    #[test]
    fn classes_of_all_tables_are_known_to_each() {
        let train = texts(&["a", "c"]);
        let test = texts(&["b"]);
        let labels = Labels::of(&[&train, &test], None).unwrap();
        assert_eq!(labels.targets(Some(&train)).unwrap(), Targets::Class(vec![0, 2]));
        assert_eq!(labels.targets(Some(&test)).unwrap(), Targets::Class(vec![1]));
    }

    #[test]
    fn floats_are_values_and_whole_numbers_beside_them_too() {
        let fractions = ColumnData::Float(vec![Some(0.5), None]);
        let whole = ColumnData::Int(vec![Some(3)]);
        let labels = Labels::of(&[&whole, &fractions], None).unwrap();
        assert_eq!(labels, Labels::Values);
        assert_eq!(labels.targets(Some(&whole)).unwrap(), Targets::Value(vec![3.0]));
        let Targets::Value(values) = labels.targets(Some(&fractions)).unwrap() else { panic!() };
        assert_eq!(values[0], 0.5);
        assert!(values[1].is_nan());
    }

    #[test]
    fn several_labels_a_row_make_a_matrix() {
        let column = ColumnData::Ints(vec![Some(vec![4, 27]), Some(vec![]), None]);
        let labels = Labels::of(&[&column], None).unwrap();
        assert_eq!(labels.names(), ["4", "27"]);
        let targets = labels.targets(Some(&column)).unwrap();
        // The third row's labels are not known.
        let Targets::Multi { classes: 2, values } = &targets else { panic!("{targets:?}") };
        assert_eq!(values[..4], [1.0, 1.0, 0.0, 0.0]);
        assert!(values[4..].iter().all(|value| value.is_nan()));
        assert_eq!(targets.take(&[0]), Targets::Multi { classes: 2, values: vec![1.0, 1.0] });
        assert_eq!(targets.rows(), Some(3));
    }

    #[test]
    fn an_unknown_label_names_the_row_and_the_nearest_name() {
        let declared = ["positive".to_string(), "negative".to_string()];
        let column = texts(&["positive", "negativ"]);
        let labels = Labels::of(&[&column], Some(&declared)).unwrap();
        let (row, error) = labels.targets(Some(&column)).unwrap_err();
        assert_eq!(row, 1);
        assert_eq!(error.nearest.as_deref(), Some("negative"));
    }

    #[test]
    fn scores_of_whole_numbers_can_be_regressed_on() {
        let column = ColumnData::Int(vec![Some(5), Some(1), None]);
        let labels = Labels::of(&[&column], None).unwrap();
        let values = labels.targets(Some(&column)).unwrap().as_values(&labels).unwrap();
        assert_eq!(values[..2], [5.0, 1.0]);
        assert!(values[2].is_nan());
        let labels = Labels::of(&[&texts(&["a"])], None).unwrap();
        let targets = labels.targets(Some(&texts(&["a"]))).unwrap();
        assert!(targets.as_values(&labels).unwrap_err().to_string().contains("not numbers"));
    }
}
