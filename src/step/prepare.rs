//! `prepare`: operations on the rows and columns of tables. They are done by `data::prepare`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::CheckCx;
use super::columns::{column_shapes, table_columns};
use super::run::{Event, RunCx, StepError};
use super::shape::{LabelShape, Shape, TableShape};
use super::value::{OneOrNamed, Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, Diag, Span, suggest};
use crate::data::expression::{Expression, Operation as Sign};
use crate::data::prepare::{Columns, Operation, agree_on_labels, changes_labels};
use crate::data::{DataError, Fault, Table, Tables};
use crate::schema::{Bound, Column, ColumnExpr, Map, Operator, Or, Port, PortType};
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
        /// How many; all if there are fewer.
        rows: usize, in (1, u32::MAX), main;
        /// Which rows are drawn.
        seed: usize = 0;
    }
}

params! {
    /// Draws as many rows of every value of a column as its rarest value has.
    pub struct Balance {
        /// Usually `.label`.
        by: Column, main;
        /// Which rows are drawn.
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
        /// Draws the same number of rows of every class.
        Balance(Balance) = "balance",
        /// Adds columns of another table.
        Join(Join) = "join",
        /// Adds rows of other tables.
        Concat(Concat) = "concat",
    }
}

variants! {
    /// a usual name of a table
    pub enum UsualName {
        /// To learn from.
        Train = "train",
        /// To choose by.
        Validation = "validation",
        /// To report on.
        Test = "test",
    }
}

params! {
    /// Changes tables by a list of operations, done in order.
    ///
    /// Every operation keeps the order of the rows. Expressions name columns as `.text` or
    /// `."#1 String"`; they know `or`, `and`, `not`, comparisons, `+ - * /`, and the functions
    /// `lower`, `words`, `length`, `matches`, `replace`, `joined` and `is_missing`. What is computed
    /// from a missing value is missing.
    pub struct Prepare {
        /// One table, or several that are all treated alike.
        data: Port<port::SomeTables>;
        /// The operations.
        r#do: Vec<Change>;
        /// Only these of several tables, as `[train]`; the others stay as they are.
        only: Option<Vec<Or<UsualName, String>>>;
    }
}

/// How a name stands in an operation.
enum Written {
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

impl Change {
    /// The operation on data; `other` finds what stands for another table.
    fn operation<T, E>(
        &self,
        mut other: impl FnMut(&Port<port::ATable>) -> Result<T, E>,
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
            Change::Sample(sample) => {
                Operation::Sample { rows: sample.rows, seed: sample.seed as u64 }
            }
            Change::Balance(balance) => {
                Operation::Balance { by: balance.by.0.clone(), seed: balance.seed as u64 }
            }
            Change::Join(join) => {
                Operation::Join { other: other(&join.other)?, on: join.on.0.clone() }
            }
            Change::Concat(concat) => {
                Operation::Concat(concat.tables.iter().map(other).collect::<Result<_, E>>()?)
            }
        })
    }

    /// Where the name stands that an error is about; else the operation.
    fn place(&self, cx: &CheckCx, path: &str, error: &DataError) -> (Span, Option<Written>) {
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

    /// The word, if the operation draws rows: then it must be said of which tables.
    fn draws(&self) -> Option<&'static str> {
        match self {
            Change::Sample(_) => Some("sample"),
            Change::Balance(_) => Some("balance"),
            _ => None,
        }
    }
}

impl Prepare {
    fn only(&self) -> Option<Vec<String>> {
        let name = |one: &Or<UsualName, String>| match one {
            Or::First(UsualName::Train) => "train".to_string(),
            Or::First(UsualName::Validation) => "validation".to_string(),
            Or::First(UsualName::Test) => "test".to_string(),
            Or::Second(name) => name.clone(),
        };
        self.only.as_ref().map(|names| names.iter().map(name).collect())
    }

    fn check_only(&self, cx: &mut CheckCx, tables: &OneOrNamed<TableShape>) {
        let origin = cx.origin(&self.data);
        match (tables, self.only()) {
            (OneOrNamed::One(_), Some(_)) => {
                let diag = cx
                    .diag(
                        Code::E0209,
                        "only",
                        "`only` chooses among several tables, and there is one",
                    )
                    .also(origin, "one table")
                    .help("without `only` the operations are done on it");
                cx.push(diag);
            }
            (OneOrNamed::Named(named), Some(only)) => {
                for (at, name) in only.iter().enumerate() {
                    let known = named.iter().map(|(known, _)| known.as_str());
                    if !known.clone().any(|known| known == name) {
                        let path = format!("only.{at}");
                        let span = cx.places.at(&path);
                        let mut diag = cx
                            .diag(
                                Code::E0302,
                                &path,
                                format!(
                                    "there is no table `{name}`; there are {}",
                                    suggest::list(known.clone())
                                ),
                            )
                            .also(origin, "the tables are made here")
                            .help("`only` names tables of `data`");
                        if let Some(nearest) = suggest::nearest(name, known) {
                            diag = diag
                                .help(format!("did this mean `{nearest}`?"))
                                .fix(span, format!("{nearest:?}"));
                        }
                        cx.push(diag);
                    }
                }
            }
            (OneOrNamed::Named(named), None) if named.len() > 1 => {
                for (at, change) in self.r#do.iter().enumerate() {
                    if let Some(word) = change.draws() {
                        let diag = cx
                            .diag(
                                Code::E0209,
                                &format!("do.{at}"),
                                format!("`{word}` would draw rows from all {} tables", named.len()),
                            )
                            .also(origin, "the tables are made here")
                            .help("`only = [train]` leaves the others as they are");
                        cx.push(diag);
                    }
                }
            }
            _ => {}
        }
    }

    /// Follows the columns of one table through the operations, and reports the first mistake.
    fn follow(&self, cx: &mut CheckCx, name: &str, before: Columns) -> Option<Columns> {
        let mut columns = before;
        for (at, change) in self.r#do.iter().enumerate() {
            let path = format!("do.{at}");
            let operation = change.operation(|other| {
                // `None`: reported upstream, or known only later.
                cx.shape(other).as_ref().and_then(table_columns).ok_or(())
            });
            let Ok(operation) = operation else { return None };
            match operation.columns(&columns) {
                Ok(after) => columns = after,
                Err(error) => {
                    let span = change.place(cx, &path, &error);
                    report(cx, span, name, error);
                    return None;
                }
            }
        }
        Some(columns)
    }
}

/// `place`: where the name stands that the error is about, and how it is written.
fn report(cx: &mut CheckCx, place: (Span, Option<Written>), table: &str, error: DataError) {
    let of = if table.is_empty() { String::new() } else { format!(" (table `{table}`)") };
    let mut diag = Diag::new(error.fault.code(), place.0, format!("{}{of}", error.message));
    diag.help = error.help;
    if let (Some(written), Some(nearest)) = (place.1, &error.nearest) {
        let meant = match written {
            Written::Column => Bound::Column(nearest.clone()).to_string(),
            Written::Function => nearest.clone(),
        };
        diag = diag.fix(place.0, meant);
    }
    if let (None, Some(nearest)) = (&diag.help, &error.nearest) {
        diag = diag.help(format!("did this mean `{nearest}`?"));
    }
    // One mistake in an operation on several tables is one mistake.
    let same = |other: &Diag| other.code == diag.code && other.span() == diag.span();
    if !cx.reports.iter().any(same) {
        cx.push(diag);
    }
}

impl Step for Prepare {
    const NAME: &'static str = "prepare";
    const VERSION: u32 = 1;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "table",
        ty: PortType::Tables,
        doc: "The changed table, or the tables under their names.",
    }];
    const REPORT: &'static [&'static str] = &["rows", "rows_before"];
    const EXAMPLE: &'static str =
        "prepare clean { data = reviews, do = [filter(words(.text) > 2), dedupe(by = [.text])] }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let Some(tables) = cx.shape(&self.data) else { return Vec::new() };
        self.check_only(cx, &tables);
        let only = self.only();
        let relabels = self.r#do.iter().any(|change| {
            change
                .operation(|_| Ok::<Columns, ()>(Columns::new()))
                .is_ok_and(|made| changes_labels(&made))
        });
        let changed = tables.try_map(|name, shape| -> Result<TableShape, ()> {
            if only.as_ref().is_some_and(|only| !only.iter().any(|chosen| chosen == name)) {
                return Ok(shape);
            }
            let after = table_columns(&shape).and_then(|before| self.follow(cx, name, before));
            let labels = match (&after, shape.labels) {
                (Some(columns), _) if !columns.iter().any(|(name, _)| name == "label") => {
                    LabelShape::Absent
                }
                // Which classes are left is known when the rows are.
                (_, LabelShape::Classes(_)) if relabels => LabelShape::Classes(None),
                (_, LabelShape::Multi(_)) if relabels => LabelShape::Multi(None),
                (_, LabelShape::Absent) => LabelShape::Unknown,
                (_, labels) => labels,
            };
            Ok(TableShape { columns: after.as_deref().map(column_shapes), labels })
        });
        let shape = match changed {
            Ok(OneOrNamed::One(shape)) => Shape::Table(shape),
            Ok(OneOrNamed::Named(shapes)) => Shape::Tables(shapes),
            Err(()) => return Vec::new(),
        };
        vec![("table", shape)]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let tables = cx.input(&self.data)?;
        let only = self.only();
        let mut operations: Vec<Operation<Table>> = Vec::new();
        for change in &self.r#do {
            operations.push(change.operation(|other| -> Result<Table, StepError> {
                Ok(Table::clone(&*cx.input(other)?))
            })?);
        }
        let mut before = 0;
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let changed = tables.try_map(|name, table| -> Result<Table, StepError> {
            before += table.rows();
            let mut table = Table::clone(&table);
            if only.as_ref().is_some_and(|only| !only.iter().any(|chosen| chosen == name)) {
                return Ok(table);
            }
            for (at, operation) in operations.iter().enumerate() {
                let after = operation.apply(&table)?;
                *counts.entry(at).or_default() += table.rows().saturating_sub(after.rows());
                table = after;
            }
            if table.rows() == 0 {
                let of = if name.is_empty() { String::new() } else { format!(" of `{name}`") };
                let error = DataError::new(Fault::Operation, format!("no row{of} is left"));
                return Err(StepError::from(error).argument("do"));
            }
            Ok(table)
        })?;
        let relabels = operations.iter().any(changes_labels);
        let (value, rows) = match changed {
            OneOrNamed::One(mut table) => {
                if relabels {
                    agree_on_labels(&mut [&mut table])?;
                }
                let rows = table.rows();
                (Value::Table(Arc::new(table)), rows)
            }
            OneOrNamed::Named(named) => {
                let mut tables: Tables = named.into_iter().collect();
                if relabels {
                    agree_on_labels(&mut tables.values_mut().collect::<Vec<_>>())?;
                }
                let rows = tables.values().map(Table::rows).sum();
                (Value::Tables(Arc::new(tables)), rows)
            }
        };
        for (at, gone) in counts.into_iter().filter(|(_, gone)| *gone > 0) {
            let name =
                self.r#do.get(at).map(|change| crate::schema::Arg::to_bound(change).to_string());
            let message = format!("{gone} rows went at {}", name.unwrap_or_default());
            cx.control.event(Event::Note { message });
        }
        let report = Report::from([
            ("rows".to_string(), rows as f64),
            ("rows_before".to_string(), before as f64),
        ]);
        Ok(vec![("table", value), ("report", Value::Report(Arc::new(report)))])
    }
}
