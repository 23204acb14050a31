//! `split`: one table to tables `train`, `validation`, `test`. Dividing is in `data::split`.

use std::collections::HashSet;
use std::sync::Arc;

use super::check::CheckCx;
use super::run::{Event, RunCx, StepError};
use super::shape::{ColumnType, Shape, TableShape};
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::Code;
use crate::data::{PARTS, SplitBy, Tables, count_shared, no_column, shared};
use crate::schema::{Column, Or, Port, PortType, Share};
use crate::{params, variants};

params! {
    /// Shares of the rows, drawn by the seed; the numbers of rows are exact.
    pub struct Fraction {
        /// Of the rows.
        train: Option<Share>;
        /// Of the rows.
        validation: Option<Share>;
        /// Of the rows.
        test: Option<Share>;
    }
}

params! {
    /// The parts are named in the data.
    pub struct ByColumn {
        /// Holds `train`, `validation` (also `dev`, `val`, `valid`) or `test` in every row.
        column: String, main;
    }
}

params! {
    /// By a digest of a column's value: a row keeps its part whatever other rows there are. What
    /// the shares leave is `train`.
    pub struct ByHash {
        /// Rows with one value go to one part.
        column: String, main;
        /// About this share of the values.
        validation: Option<Share>;
        /// About this share of the values.
        test: Option<Share>;
    }
}

params! {
    /// Every row is held out once: `fold_1`, `fold_2`, … each have a table `train` and a table
    /// `validation`.
    pub struct Folds {
        /// How many.
        folds: usize, in (2, 1000), main;
    }
}

variants! {
    /// a way to divide rows
    pub enum By {
        /// Shares of the rows.
        Fraction(Fraction) = "fraction",
        /// A column that names the part.
        Column(ByColumn) = "column",
        /// A digest of a column's value.
        Hash(ByHash) = "hash",
        /// Folds of cross-validation.
        Folds(Folds) = "folds",
    }
}

params! {
    /// Divides the rows of a table into parts.
    ///
    /// Every part keeps the order of the rows, and no row is in two. A part without rows is an
    /// error. `stratify` and `group` go together: groups stay whole, and classes keep their shares as
    /// well as whole groups allow.
    pub struct Split {
        /// The rows.
        data: Port<port::ATable>;
        /// How they are divided.
        by: By;
        /// The shares hold for every value of this column, as `.label`.
        stratify: Option<Or<Column, String>>;
        /// Rows with one value of this column go to one part.
        group: Option<Or<Column, String>>;
        /// Which rows are drawn.
        seed: usize = 0;
    }
}

impl Split {
    fn name(column: &Option<Or<Column, String>>) -> Option<&str> {
        column.as_ref().map(|column| match column {
            Or::First(Column(name)) | Or::Second(name) => name.as_str(),
        })
    }

    /// The parts that are asked for and their shares, in the order of `PARTS`.
    fn shares(&self) -> Vec<(String, f64)> {
        let of = |shares: [(&str, &Option<Share>); 3]| {
            shares
                .into_iter()
                .filter_map(|(name, share)| Some((name.to_string(), share.as_ref()?.0)))
                .collect()
        };
        let [train, validation, test] = PARTS;
        match &self.by {
            By::Fraction(by) => {
                of([(train, &by.train), (validation, &by.validation), (test, &by.test)])
            }
            By::Hash(by) => of([(train, &None), (validation, &by.validation), (test, &by.test)]),
            By::Column(_) | By::Folds(_) => Vec::new(),
        }
    }

    /// The names of the parts, as far as they are known before the rows are.
    fn parts(&self) -> Vec<String> {
        let shares = self.shares().into_iter().map(|(name, _)| name);
        match &self.by {
            By::Fraction(_) => shares.collect(),
            By::Hash(_) => std::iter::once(PARTS[0].to_string()).chain(shares).collect(),
            By::Column(_) => PARTS.iter().map(|name| (*name).to_string()).collect(),
            By::Folds(by) => (1..=by.folds)
                .flat_map(|fold| ["train", "validation"].map(|part| format!("fold_{fold}.{part}")))
                .collect(),
        }
    }

    fn check_shares(&self, cx: &mut CheckCx) {
        let shares = self.shares();
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        for (name, share) in &shares {
            if *share <= 0.0 {
                let diag = cx
                    .diag(
                        Code::E0408,
                        &format!("by.{name}"),
                        format!("the part `{name}` gets no rows"),
                    )
                    .help("a part that is not wanted is left out");
                cx.push(diag);
            }
        }
        match &self.by {
            By::Fraction(by) => {
                if by.train.is_none() {
                    let diag = cx
                        .diag(Code::E0408, "by", "the part `train` gets no share")
                        .help("`fraction(train = 80%, validation = 10%, test = 10%)`");
                    cx.push(diag);
                } else if (sum - 1.0).abs() > 1e-9 {
                    let shown = (sum * 1e4).round() / 1e2;
                    let diag = cx
                        .diag(Code::E0408, "by", format!("the shares sum to {shown}%, not to 100%"))
                        .help("rows that are not wanted are left out with `sample` of `prepare`");
                    cx.push(diag);
                }
            }
            By::Hash(_) if shares.is_empty() => {
                let diag = cx
                    .diag(Code::E0408, "by", "all rows would be in `train`")
                    .help("`hash(\"id\", validation = 10%)` gives a share to another part");
                cx.push(diag);
            }
            By::Hash(_) if sum >= 1.0 => {
                let diag = cx
                    .diag(Code::E0408, "by", "the shares leave no rows to `train`")
                    .help("together they stay below 100%");
                cx.push(diag);
            }
            _ => {}
        }
    }

    fn check_column(&self, cx: &mut CheckCx, path: &str, name: &str, shape: &TableShape) {
        if shape.has(name) {
            return;
        }
        let names: Vec<&str> = shape.names().collect();
        let error = no_column(name, names.iter().copied());
        let span = cx.places.at(path);
        let origin = cx.origin(&self.data);
        let mut diag = cx.diag(Code::E0404, path, error.message.clone()).also(origin, "made here");
        if let Some(nearest) = &error.nearest {
            diag =
                diag.help(format!("did this mean `{nearest}`?")).fix(span, format!("{nearest:?}"));
        }
        cx.push(diag);
    }
}

impl Step for Split {
    const NAME: &'static str = "split";
    const VERSION: u32 = 3;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "parts",
        ty: PortType::Tables,
        doc: "The parts: `train`, `validation`, `test`; or `fold_1` … with `train` and `validation` each.",
    }];
    const REPORT: &'static [&'static str] = &["rows", "train", "validation", "test", "shared"];
    const EXAMPLE: &'static str = "split parts { data = messages, by = fraction(train = 80%, validation = 10%, test = 10%), stratify = .label }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        self.check_shares(cx);
        if !matches!(self.by, By::Fraction(_) | By::Folds(_)) {
            for (path, given) in [("stratify", &self.stratify), ("group", &self.group)] {
                if given.is_some() {
                    let diag = cx
                        .diag(
                            Code::E0209,
                            path,
                            format!("`{path}` does not go with parts that the data decide"),
                        )
                        .help("it belongs to `by = fraction(…)` and `by = folds(…)`");
                    cx.push(diag);
                }
            }
        }
        let Some(shape) = cx.shape(&self.data) else { return Vec::new() };
        for (path, name) in
            [("stratify", Self::name(&self.stratify)), ("group", Self::name(&self.group))]
        {
            if let Some(name) = name {
                self.check_column(cx, path, name, &shape);
                let ty = shape
                    .columns
                    .iter()
                    .flatten()
                    .find(|column| column.name == name)
                    .map(|column| column.ty);
                if path == "stratify" && matches!(ty, Some(ColumnType::Float)) {
                    let diag = cx
                        .diag(
                            Code::E0406,
                            path,
                            format!("column `{name}` holds values, of which each may occur once"),
                        )
                        .help("a split is stratified by classes");
                    cx.push(diag);
                }
            }
        }
        match &self.by {
            By::Column(by) => {
                self.check_column(cx, "by.column", &by.column, &shape);
                let ty = shape.columns.iter().flatten().find(|column| column.name == by.column);
                if ty.is_some_and(|column| {
                    !matches!(column.ty, ColumnType::Text | ColumnType::Unknown)
                }) {
                    let diag = cx.diag(
                        Code::E0404,
                        "by.column",
                        format!("column `{}` does not hold names of parts", by.column),
                    );
                    cx.push(diag);
                }
            }
            By::Hash(by) => self.check_column(cx, "by.column", &by.column, &shape),
            By::Fraction(_) | By::Folds(_) => {}
        }
        let parts = self.parts().into_iter().map(|name| (name, shape.clone())).collect();
        vec![("parts", Shape::Tables(parts))]
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let table = cx.input(&self.data)?;
        let by = match &self.by {
            By::Fraction(_) => SplitBy::Fraction(self.shares()),
            By::Column(by) => SplitBy::Column(by.column.clone()),
            By::Hash(by) => SplitBy::Hash { column: by.column.clone(), shares: self.shares() },
            By::Folds(by) => SplitBy::Folds(by.folds),
        };
        let split = crate::data::Split {
            by,
            stratify: Self::name(&self.stratify).map(str::to_string),
            group: Self::name(&self.group).map(str::to_string),
            seed: self.seed as u64,
        };
        let parts = split.apply(&table)?;
        let found = shared(&parts)?;
        for shared in &found {
            cx.control.event(Event::Warning { message: shared.to_string() });
        }
        for message in copies_apart(&parts) {
            cx.control.event(Event::Warning { message });
        }
        // Of folds the smallest.
        let rows = |part: &str| {
            let of_part = parts.iter().filter(|(name, _)| name.rsplit('.').next() == Some(part));
            of_part.map(|(_, table)| table.rows()).min().unwrap_or(0) as f64
        };
        let mut report = Report::from([("rows".to_string(), table.rows() as f64)]);
        report.extend(PARTS.iter().map(|name| ((*name).to_string(), rows(name))));
        report.insert("shared".to_string(), count_shared(&found) as f64);
        Ok(vec![
            ("parts", Value::Tables(Arc::new(parts))),
            ("report", Value::Report(Arc::new(report))),
        ])
    }
}

/// What is said of held-out rows that have the id of a row to learn from: they are changed copies.
fn copies_apart(parts: &Tables) -> Vec<String> {
    let mut said = Vec::new();
    for (name, train) in parts {
        let Some(fold) = name.strip_suffix("train") else { continue };
        let known: HashSet<String> = train.ids().into_iter().collect();
        for (other, table) in parts {
            if other == name || !other.starts_with(fold) {
                continue;
            }
            let copies = table.ids().iter().filter(|id| known.contains(*id)).count();
            if copies > 0 {
                let of = table.rows();
                said.push(format!(
                    "{copies} of {of} rows of `{other}` have the id of a row of `{name}`, such as changed \
                     copies of it: `augment` belongs behind `split`, with `only = [train]`"
                ));
            }
        }
    }
    said
}
