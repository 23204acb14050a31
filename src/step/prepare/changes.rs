//! The operations of `prepare` as they are declared, and what each means to `data::prepare`.

use std::sync::Arc;

use super::super::check::CheckCx;
use super::super::value::port;
use crate::base::Span;
use crate::data::expression::{Expression, Operation as Sign};
use crate::data::prepare::{Balancing, Operation};
use crate::data::{Augment, Augmentation, DataError, Fault, Synonyms};
use crate::schema::{Column, ColumnExpr, Map, Operator, Port, Share};
use crate::{params, variants};

params! {
    /// Keeps the rows for which a condition is true.
    pub struct Filter {
        /// Such as `words(.text) > 2 and .label != "x"`. A row with a missing value in it goes.
        condition: ColumnExpr, main;
    }
}

params! {
    /// New columns, or new values for columns that are there.
    pub struct Derive {
        /// Name → expression; a later one may use an earlier one.
        columns: Map<ColumnExpr>, main;
    }
}

params! {
    /// Keeps these columns and the rows' ids.
    pub struct Select {
        /// In their new order.
        columns: Vec<Column>, main;
    }
}

params! {
    /// Gives columns other names.
    pub struct Rename {
        /// New name → column.
        columns: Map<Column>, main;
    }
}

params! {
    /// Keeps the first of rows that agree.
    pub struct Dedupe {
        /// In these columns; in all but `id` if it is left out.
        by: Vec<Column> = Vec::new(), main;
    }
}

params! {
    /// Draws rows without replacement; they keep their order.
    pub struct Sample {
        /// How many; all if there are fewer. Under one seed `sample(100)` is part of `sample(200)`, as
        /// a learning curve needs it.
        rows: usize, in (1, u32::MAX), main;
        /// Every value of this column keeps its share of the rows; usually `.label`.
        stratify: Option<Column>;
        /// Which rows are drawn.
        seed: usize = 0;
    }
}

variants! {
    /// how many rows of every value there are
    pub enum HowMany {
        /// As many as of the rarest: some rows of the others are drawn.
        Undersample = "undersample",
        /// As many as of the commonest: rows of the others are there several times, behind each other.
        Oversample = "oversample",
    }
}

params! {
    /// Makes the values of a column equally frequent.
    pub struct Balance {
        /// Usually `.label`.
        by: Column, main;
        /// By leaving rows out, or by repeating them.
        how: HowMany = HowMany::Undersample;
        /// Which rows are drawn.
        seed: usize = 0;
    }
}

params! {
    /// Leaves words out.
    pub struct WordDropout {
        /// The probability with which each word goes; one word always stays.
        share: Share, in (0.0, 1.0), main;
    }
}

params! {
    /// Exchanges words.
    pub struct Swap {
        /// Two words change places, as often as this share of the text's words, at least once.
        share: Share, in (0.0, 1.0), main;
    }
}

params! {
    /// Puts other words in the place of words.
    pub struct SynonymsOf {
        /// A text file: on each line a word and, behind tabs, what may stand for it. Sought as the
        /// files of `load-data` are.
        path: String, free, main;
        /// The probability with which each word that has synonyms becomes one of them.
        share: Share = Share(0.1), in (0.0, 1.0);
    }
}

variants! {
    /// a way to change a text
    pub enum Way {
        /// Leaves words out.
        WordDropout(WordDropout) = "word_dropout",
        /// Exchanges words.
        Swap(Swap) = "swap",
        /// Puts synonyms in the place of words.
        Synonyms(SynonymsOf) = "synonyms",
    }
}

params! {
    /// Adds copies of every row with a changed text.
    pub struct Augmented {
        /// What is changed. Words are what stands between blanks.
        way: Way, main;
        /// Of every row, behind it and under its `id`; a copy in which nothing happened to change is one
        /// too.
        copies: usize = 1, in (1, 1000);
        /// The texts.
        columns: Vec<Column> = vec![Column("text".to_string())];
        /// Whether the rows themselves stay.
        originals: bool = true;
        /// Which words are changed; beside it only the row's place in the table decides.
        seed: usize = 0;
    }
}

params! {
    /// Adds the columns of another table where a column agrees. Rows without a counterpart go.
    pub struct Join {
        /// The other table.
        other: Port<port::ATable>, main;
        /// In both tables.
        on: Column;
    }
}

params! {
    /// Puts the rows of other tables behind these.
    pub struct Concat {
        /// They have the same columns.
        tables: Vec<Port<port::ATable>>, main;
    }
}

variants! {
    /// an operation on a table
    pub enum Change {
        /// Keeps rows for which a condition is true.
        Filter(Filter) = "filter",
        /// Computes columns.
        Derive(Derive) = "derive",
        /// Keeps columns.
        Select(Select) = "select",
        /// Renames columns.
        Rename(Rename) = "rename",
        /// Drops repeated rows.
        Dedupe(Dedupe) = "dedupe",
        /// Draws some rows.
        Sample(Sample) = "sample",
        /// Makes classes equally frequent.
        Balance(Balance) = "balance",
        /// Adds changed copies of rows.
        Augment(Augmented) = "augment",
        /// Adds columns of another table.
        Join(Join) = "join",
        /// Adds rows of other tables.
        Concat(Concat) = "concat",
    }
}

/// How a name stands in an operation.
pub(super) enum Written {
    Column,
    Function,
}

/// What a sign of the language means.
fn sign(operator: Operator) -> Sign {
    match operator {
        Operator::Or => Sign::Or,
        Operator::And => Sign::And,
        Operator::Equal => Sign::Equal,
        Operator::NotEqual => Sign::NotEqual,
        Operator::Less => Sign::Less,
        Operator::LessOrEqual => Sign::LessOrEqual,
        Operator::Greater => Sign::Greater,
        Operator::GreaterOrEqual => Sign::GreaterOrEqual,
        Operator::Add => Sign::Add,
        Operator::Subtract => Sign::Subtract,
        Operator::Multiply => Sign::Multiply,
        Operator::Divide => Sign::Divide,
    }
}

fn expression(written: &ColumnExpr) -> Expression {
    let boxed = |inner: &ColumnExpr| Box::new(expression(inner));
    match written {
        ColumnExpr::Column(name) => Expression::Column(name.clone()),
        ColumnExpr::Bool(value) => Expression::Bool(*value),
        ColumnExpr::Int(value) => Expression::Int(*value),
        ColumnExpr::Float(value) => Expression::Float(*value),
        ColumnExpr::Text(value) => Expression::Text(value.clone()),
        ColumnExpr::Call(name, arguments) => {
            Expression::Call(name.clone(), arguments.iter().map(expression).collect())
        }
        ColumnExpr::Not(inner) => Expression::Not(boxed(inner)),
        ColumnExpr::Negate(inner) => Expression::Negate(boxed(inner)),
        ColumnExpr::Binary(operator, left, right) => {
            Expression::Binary(sign(*operator), boxed(left), boxed(right))
        }
    }
}

impl Way {
    /// What happens to texts; `synonyms` finds what a file of them holds.
    fn augmentation<E>(
        &self,
        synonyms: impl FnOnce(&str) -> Result<Arc<Synonyms>, E>,
    ) -> Result<Augmentation, E> {
        Ok(match self {
            Way::WordDropout(dropout) => Augmentation::WordDropout(dropout.share.0),
            Way::Swap(swap) => Augmentation::Swap(swap.share.0),
            Way::Synonyms(file) => Augmentation::Synonyms(synonyms(&file.path)?, file.share.0),
        })
    }
}

impl Change {
    /// The operation on data; `other` finds what stands for another table, `synonyms` what a file of
    /// them holds.
    pub(super) fn operation<T, E>(
        &self,
        mut other: impl FnMut(&Port<port::ATable>) -> Result<T, E>,
        synonyms: impl FnOnce(&str) -> Result<Arc<Synonyms>, E>,
    ) -> Result<Operation<T>, E> {
        let names = |columns: &[Column]| columns.iter().map(|column| column.0.clone()).collect();
        Ok(match self {
            Change::Filter(filter) => Operation::Filter(expression(&filter.condition)),
            Change::Derive(derive) => Operation::Derive(
                derive
                    .columns
                    .0
                    .iter()
                    .map(|(name, made)| (name.clone(), expression(made)))
                    .collect(),
            ),
            Change::Select(select) => Operation::Select(names(&select.columns)),
            Change::Rename(rename) => Operation::Rename(
                rename.columns.0.iter().map(|(name, old)| (name.clone(), old.0.clone())).collect(),
            ),
            Change::Dedupe(dedupe) => Operation::Dedupe(names(&dedupe.by)),
            Change::Sample(sample) => Operation::Sample {
                rows: sample.rows,
                stratify: sample.stratify.as_ref().map(|column| column.0.clone()),
                seed: sample.seed as u64,
            },
            Change::Balance(balance) => Operation::Balance {
                by: balance.by.0.clone(),
                how: match balance.how {
                    HowMany::Undersample => Balancing::Undersample,
                    HowMany::Oversample => Balancing::Oversample,
                },
                seed: balance.seed as u64,
            },
            Change::Augment(augment) => Operation::Augment(Augment {
                how: augment.way.augmentation(synonyms)?,
                columns: names(&augment.columns),
                copies: augment.copies,
                originals: augment.originals,
                seed: augment.seed as u64,
            }),
            Change::Join(join) => {
                Operation::Join { other: other(&join.other)?, on: join.on.0.clone() }
            }
            Change::Concat(concat) => {
                Operation::Concat(concat.tables.iter().map(other).collect::<Result<_, E>>()?)
            }
        })
    }

    /// Where the name stands that an error is about; else the operation.
    pub(super) fn place(
        &self,
        cx: &CheckCx,
        path: &str,
        error: &DataError,
    ) -> (Span, Option<Written>) {
        let operation = cx.places.at(path);
        let Some(subject) = &error.subject else { return (operation, None) };
        // Paths of arguments that hold columns: expressions, and columns by themselves.
        let names = |all: &[Column], argument: &str| -> Vec<String> {
            let found = all.iter().enumerate().filter(|(_, column)| column.0 == *subject);
            found.map(|(at, _)| format!("{argument}.{at}")).collect()
        };
        let (expressions, columns): (Vec<String>, Vec<String>) = match self {
            Change::Filter(_) => (vec!["condition".to_string()], Vec::new()),
            Change::Derive(derive) => {
                let keys = derive.columns.0.iter().map(|(key, _)| format!("columns.{key}"));
                (keys.collect(), Vec::new())
            }
            Change::Select(select) => (Vec::new(), names(&select.columns, "columns")),
            Change::Rename(rename) => {
                let found = rename.columns.0.iter().filter(|(_, old)| old.0 == *subject);
                (Vec::new(), found.map(|(key, _)| format!("columns.{key}")).collect())
            }
            Change::Dedupe(dedupe) => (Vec::new(), names(&dedupe.by, "by")),
            Change::Balance(balance) if balance.by.0 == *subject => {
                (Vec::new(), vec!["by".to_string()])
            }
            Change::Sample(_) => (Vec::new(), vec!["stratify".to_string()]),
            Change::Augment(augment) => (Vec::new(), names(&augment.columns, "columns")),
            _ => (Vec::new(), Vec::new()),
        };
        for argument in expressions {
            let whole = cx.places.at(&format!("{path}.{argument}"));
            for (word, written) in
                [(subject.clone(), Written::Column), (format!("{subject}()"), Written::Function)]
            {
                let place = cx.places.at(&format!("{path}.{argument}.{word}"));
                if place != whole {
                    return (place, Some(written));
                }
            }
            // The expression is that column and nothing else.
            if error.nearest.is_some() && whole != operation && error.fault == Fault::Column {
                return (whole, Some(Written::Column));
            }
        }
        match columns.first() {
            Some(column) => (cx.places.at(&format!("{path}.{column}")), Some(Written::Column)),
            None => (operation, None),
        }
    }

    /// What the operation would do, if it is one for rows to learn from: then it must be said of
    /// which tables.
    pub(super) fn draws(&self) -> Option<&'static str> {
        match self {
            Change::Sample(_) => Some("`sample` would draw rows from"),
            Change::Balance(_) => Some("`balance` would draw rows from"),
            Change::Augment(_) => Some("`augment` would add rows to"),
            _ => None,
        }
    }

    /// Under which name of a report the rows are counted that the operation leaves out.
    pub(super) fn loss(&self) -> Option<&'static str> {
        match self {
            Change::Filter(_) => Some("filtered"),
            Change::Dedupe(_) => Some("deduplicated"),
            Change::Sample(_) | Change::Balance(_) => Some("undrawn"),
            Change::Join(_) => Some("unmatched"),
            _ => None,
        }
    }
}
