//! `prepare`: operations on the rows and columns of tables. Which there are is in `changes`; they
//! are done by `data::prepare`.

mod changes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::check::{CheckCx, Missing, Place, Probe};
use super::columns::{column_shapes, report_fault, report_missing, table_columns};
use super::run::{Event, RunCx, StepError};
use super::shape::{LabelShape, Shape, TableShape};
use super::value::{OneOrNamed, Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, Diag, Span, suggest};
use crate::data::prepare::{Columns, Operation, agree_on_labels, changes_labels};
use crate::data::{DataError, Fault, Form, Synonyms, Table, Tables, count_shared, shared};
use crate::schema::{Bound, Or, Port, PortRef, PortType};
use crate::{params, variants};
use changes::{Augmented, Change, Way, Written};

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
                    if let Some(would) = change.draws() {
                        let diag = cx
                            .diag(
                                Code::E0209,
                                &format!("do.{at}"),
                                format!("{would} all {} tables", named.len()),
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
            let operation = change.operation(
                // `None`: reported upstream, or known only later.
                |other| cx.shape(other).as_ref().and_then(table_columns).ok_or(()),
                |_| Ok(Arc::default()),
            );
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

impl Prepare {
    /// Files of synonyms, with the path of the argument that names each.
    fn synonyms(&self) -> Vec<(String, &str)> {
        let mut named = Vec::new();
        for (at, change) in self.r#do.iter().enumerate() {
            if let Change::Augment(Augmented { way: Way::Synonyms(file), .. }) = change {
                named.push((format!("do.{at}.way.path"), file.path.as_str()));
            }
        }
        named
    }

    fn check_synonyms(&self, cx: &mut CheckCx) {
        for (path, file) in self.synonyms() {
            match cx.probe.locate(file, Place::Data).map(|found| found.into_iter().next()) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    if let Err(error) = cx.probe.synonyms(&found) {
                        report_fault(cx, &path, DataError { file: Some(file.into()), ..error });
                    }
                }
                Err(missing) => report_missing(cx, &path, file, missing),
            }
        }
    }
}

/// What a file of synonyms holds.
fn synonyms_in(probe: &dyn Probe, file: &str) -> Result<Synonyms, StepError> {
    let found = probe.locate(file, Place::Data).map_err(|missing| StepError {
        help: missing.help,
        ..StepError::new(Code::E0401, missing.message)
    })?;
    let path = found.first().ok_or_else(|| StepError::new(Code::E0401, "the file is gone"))?;
    Ok(probe.synonyms(path)?)
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
    const VERSION: u32 = 3;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "table",
        ty: PortType::Tables,
        doc: "The changed table, or the tables under their names.",
    }];
    const REPORT: &'static [&'static str] =
        &["rows", "kept", "added", "filtered", "deduplicated", "undrawn", "unmatched", "shared"];
    const EXAMPLE: &'static str =
        "prepare clean { data = reviews, do = [filter(words(.text) > 2), dedupe(by = [.text])] }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let Some(tables) = cx.shape(&self.data) else { return Vec::new() };
        self.check_only(cx, &tables);
        self.check_synonyms(cx);
        let only = self.only();
        let relabels = self.r#do.iter().any(|change| {
            change
                .operation(|_| Ok::<Columns, ()>(Columns::new()), |_| Ok(Arc::default()))
                .is_ok_and(|made| changes_labels(&made))
        });
        let changed = tables.try_map(|name, shape| -> Result<TableShape, ()> {
            if only.as_ref().is_some_and(|only| !only.iter().any(|chosen| chosen == name)) {
                return Ok(shape);
            }
            let after = table_columns(&shape).and_then(|before| self.follow(cx, name, before));
            let labels = match (&after, shape.labels) {
                (Some(columns), _)
                    if !columns.iter().any(|(name, _)| Form::TARGETS.contains(&name.as_str())) =>
                {
                    LabelShape::Absent
                }
                // Which classes are left is known when the rows are.
                (_, LabelShape::Classes(_)) if relabels => LabelShape::Classes(None),
                (_, LabelShape::Multi(_)) if relabels => LabelShape::Multi(None),
                (_, LabelShape::Tags(_)) if relabels => LabelShape::Tags(None),
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

    fn externals(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        let mut files = Vec::new();
        for (_, file) in self.synonyms() {
            files.extend(probe.locate(file, Place::Data)?);
        }
        Ok(files)
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let tables = cx.input(&self.data)?;
        let only = self.only();
        let mut operations: Vec<Operation<Table>> = Vec::new();
        for change in &self.r#do {
            operations.push(change.operation(
                |other| -> Result<Table, StepError> { Ok(Table::clone(&*cx.input(other)?)) },
                |file| synonyms_in(cx.probe, file).map(Arc::new),
            )?);
        }
        // Rows that tables of one step share were told of there.
        let shared_before = match self.data.source {
            PortRef::Named(_) => 0,
            PortRef::One { .. } => count_shared(&shared(&tables.tables())?),
        };
        let mut before = 0;
        let mut added = 0;
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let changed = tables.try_map(|name, table| -> Result<Table, StepError> {
            before += table.rows();
            let mut table = Table::clone(&table);
            if only.as_ref().is_some_and(|only| !only.iter().any(|chosen| chosen == name)) {
                return Ok(table);
            }
            for (at, operation) in operations.iter().enumerate() {
                let after = operation.apply(&table)?;
                added += after.rows().saturating_sub(table.rows());
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
        let mut found = Vec::new();
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
                found = shared(&tables)?;
                let rows = tables.values().map(Table::rows).sum();
                (Value::Tables(Arc::new(tables)), rows)
            }
        };
        if count_shared(&found) > shared_before {
            for shared in &found {
                cx.control.event(Event::Warning { message: shared.to_string() });
            }
        }
        // What is lost, is lost of these: rows that were added can be left out again.
        let numbers = [("rows", before + added), ("kept", rows), ("added", added)];
        let mut report: Report =
            Self::REPORT.iter().map(|name| ((*name).to_string(), 0.0)).collect();
        report.extend(numbers.map(|(name, count)| (name.to_string(), count as f64)));
        report.insert("shared".to_string(), count_shared(&found) as f64);
        for (at, gone) in counts.into_iter().filter(|(_, gone)| *gone > 0) {
            let Some(change) = self.r#do.get(at) else { continue };
            if let Some(count) = change.loss().and_then(|name| report.get_mut(name)) {
                *count += gone as f64;
            }
            let name = crate::schema::Arg::to_bound(change);
            cx.control.event(Event::Note { message: format!("{gone} rows went at {name}") });
        }
        Ok(vec![("table", value), ("report", Value::Report(Arc::new(report)))])
    }
}
