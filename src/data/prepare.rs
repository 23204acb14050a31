//! Operations on tables. Each says which columns it leaves, so that a checker can follow them
//! without rows, and does it with polars. Everything keeps the order of the rows.

use super::column::{ColumnData, ColumnType};
use super::error::{DataError, Fault, Result};
use super::expression::Expression;
use super::labels::Labels;
use super::table::{Table, no_column};
use crate::base::random::{Purpose, Stream};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Columns as a checker knows them.
pub type Columns = Vec<(String, ColumnType)>;

/// One operation. `T` is what stands for another table: its columns while checking, the table
/// while running.
#[derive(Debug, Clone)]
pub enum Operation<T> {
    /// Rows for which the expression is true.
    Filter(Expression),
    /// New columns, or new values for columns that are there.
    Derive(Vec<(String, Expression)>),
    /// These columns, in this order; `id` stays.
    Select(Vec<String>),
    /// New name, old name.
    Rename(Vec<(String, String)>),
    /// The first of the rows that agree in these columns; in all but `id` if none are named.
    Dedupe(Vec<String>),
    /// So many rows, drawn without replacement; all if there are fewer.
    Sample { rows: usize, seed: u64 },
    /// As many rows of every value of a column as the rarest has, drawn without replacement.
    Balance { by: String, seed: u64 },
    /// For every row the rows of another table with the same value of a column: their columns are
    /// added. Rows without a counterpart go.
    Join { other: T, on: String },
    /// The rows of other tables behind these; columns go together by name.
    Concat(Vec<T>),
}

fn fault(message: impl Into<String>) -> DataError {
    DataError::new(Fault::Operation, message)
}

fn known(columns: &Columns, name: &str) -> Result<()> {
    match columns.iter().any(|(known, _)| known == name) {
        true => Ok(()),
        false => Err(no_column(name, columns.iter().map(|(name, _)| name.as_str()))),
    }
}

impl Operation<Columns> {
    /// The columns after the operation.
    pub fn columns(&self, before: &Columns) -> Result<Columns> {
        match self {
            Operation::Filter(condition) => match condition.type_of(before)? {
                ColumnType::Bool => Ok(before.clone()),
                other => Err(fault(format!("`filter` takes a condition, not {other}"))),
            },
            Operation::Derive(new) => {
                let mut after = before.clone();
                for (name, expression) in new {
                    let found = expression.type_of(&after)?;
                    match after.iter_mut().find(|(known, _)| known == name) {
                        Some((_, ty)) => *ty = found,
                        None => after.push((name.clone(), found)),
                    }
                }
                Ok(after)
            }
            Operation::Select(names) => {
                for name in names {
                    known(before, name)?;
                }
                Ok(with_id(names, before.iter().any(|(name, _)| name == "id"))
                    .iter()
                    .filter_map(|name| before.iter().find(|(known, _)| known == name).cloned())
                    .collect())
            }
            Operation::Rename(pairs) => {
                for (_, old) in pairs {
                    known(before, old)?;
                }
                let after: Columns = before
                    .iter()
                    .map(|(name, ty)| (renamed(pairs, name).to_string(), ty.clone()))
                    .collect();
                for (at, (name, _)) in after.iter().enumerate() {
                    if after.iter().take(at).any(|(earlier, _)| earlier == name) {
                        return Err(
                            fault(format!("two columns would be called `{name}`")).subject(name)
                        );
                    }
                }
                Ok(after)
            }
            Operation::Dedupe(by) => {
                by.iter().try_for_each(|name| known(before, name))?;
                Ok(before.clone())
            }
            Operation::Sample { .. } => Ok(before.clone()),
            Operation::Balance { by, .. } => known(before, by).map(|()| before.clone()),
            Operation::Join { other, on } => {
                known(before, on)?;
                known(other, on)?;
                let mut after = before.clone();
                for (name, ty) in added(other, on) {
                    if before.iter().any(|(known, _)| known == name) {
                        return Err(fault(format!("both tables have a column `{name}`"))
                            .subject(name)
                            .help("rename or leave out one of them first"));
                    }
                    after.push((name.clone(), ty.clone()));
                }
                Ok(after)
            }
            Operation::Concat(others) => {
                for other in others {
                    for (name, ty) in before {
                        let found = other.iter().find(|(known, _)| known == name);
                        let Some((_, found)) = found else {
                            return Err(known(other, name).err().unwrap_or_else(|| fault("")));
                        };
                        if found != ty && !(found.is_number() && ty.is_number()) {
                            return Err(fault(format!(
                                "column `{name}` holds {ty} in one table and {found} in another"
                            ))
                            .subject(name));
                        }
                    }
                    for (name, _) in other {
                        known(before, name)?;
                    }
                }
                Ok(before.clone())
            }
        }
    }
}

/// Selected columns, and the row's id behind them.
fn with_id(names: &[String], has_id: bool) -> Vec<String> {
    let mut names = names.to_vec();
    if has_id && !names.iter().any(|name| name == "id") {
        names.push("id".to_string());
    }
    names
}

fn renamed<'a>(pairs: &'a [(String, String)], name: &'a str) -> &'a str {
    pairs.iter().find(|(_, old)| old == name).map_or(name, |(new, _)| new)
}

/// The columns that a join adds: all of the other table's but the one it is made on and the id.
fn added<'a>(other: &'a Columns, on: &'a str) -> impl Iterator<Item = &'a (String, ColumnType)> {
    other.iter().filter(move |(name, _)| name != on && name != "id")
}

impl Operation<Table> {
    /// The same operation with the columns of other tables in their place.
    pub fn outline(&self) -> Operation<Columns> {
        match self {
            Operation::Filter(condition) => Operation::Filter(condition.clone()),
            Operation::Derive(new) => Operation::Derive(new.clone()),
            Operation::Select(names) => Operation::Select(names.clone()),
            Operation::Rename(pairs) => Operation::Rename(pairs.clone()),
            Operation::Dedupe(by) => Operation::Dedupe(by.clone()),
            Operation::Sample { rows, seed } => Operation::Sample { rows: *rows, seed: *seed },
            Operation::Balance { by, seed } => Operation::Balance { by: by.clone(), seed: *seed },
            Operation::Join { other, on } => {
                Operation::Join { other: other.columns(), on: on.clone() }
            }
            Operation::Concat(others) => {
                Operation::Concat(others.iter().map(Table::columns).collect())
            }
        }
    }

    /// Does it.
    pub fn apply(&self, table: &Table) -> Result<Table> {
        self.outline().columns(&table.columns())?;
        match self {
            Operation::Filter(condition) => {
                let ColumnData::Bool(keep) = condition.evaluate(table)? else {
                    return Err(fault("`filter` takes a condition"));
                };
                let rows: Vec<u32> = keep
                    .iter()
                    .enumerate()
                    .filter(|(_, keep)| **keep == Some(true))
                    .map(|(row, _)| row as u32)
                    .collect();
                table.take(&rows)
            }
            Operation::Derive(new) => {
                let mut table = table.clone();
                for (name, expression) in new {
                    let values = expression.evaluate(&table)?;
                    table.set_column(name, values)?;
                    if name == "label" {
                        table.set_labels(table.inferred_labels()?);
                    }
                }
                Ok(table)
            }
            Operation::Select(names) => table.select(&with_id(names, table.has("id"))),
            Operation::Rename(pairs) => {
                let mut renamed_table = table.renamed(|name| renamed(pairs, name).to_string())?;
                let target = renamed_table.target_column();
                if target != table.target_column()
                    || pairs.iter().any(|(new, _)| Some(new.as_str()) == target)
                {
                    renamed_table.set_labels(renamed_table.inferred_labels()?);
                }
                Ok(renamed_table)
            }
            Operation::Dedupe(by) => {
                let names: Vec<String> = match by.is_empty() {
                    true => {
                        let all = table.columns().into_iter().map(|(name, _)| name);
                        all.filter(|name| name != "id").collect()
                    }
                    false => by.clone(),
                };
                let keys = keys(table, &names)?;
                let mut seen = HashSet::new();
                let rows: Vec<u32> = keys
                    .into_iter()
                    .enumerate()
                    .filter(|(_, key)| seen.insert(key.clone()))
                    .map(|(row, _)| row as u32)
                    .collect();
                table.take(&rows)
            }
            Operation::Sample { rows, seed } => {
                let all: Vec<u32> = (0..table.rows() as u32).collect();
                table.take(&drawn(&all, *rows, *seed, 0))
            }
            Operation::Balance { by, seed } => {
                let mut groups: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
                for (row, key) in keys(table, std::slice::from_ref(by))?.into_iter().enumerate() {
                    groups.entry(key).or_default().push(row as u32);
                }
                let least = groups.values().map(Vec::len).min().unwrap_or(0);
                let mut rows: Vec<u32> = groups
                    .values()
                    .enumerate()
                    .flat_map(|(group, rows)| drawn(rows, least, *seed, group as u64))
                    .collect();
                rows.sort_unstable();
                table.take(&rows)
            }
            Operation::Join { other, on } => join(table, other, on),
            Operation::Concat(others) => {
                let all: Vec<&Table> = std::iter::once(table).chain(others).collect();
                Table::concat(&all)
            }
        }
    }
}

/// Some of these rows, in their order.
fn drawn(rows: &[u32], count: usize, seed: u64, group: u64) -> Vec<u32> {
    let order = Stream::new(seed, Purpose::Sample).permutation(rows.len() as u32, group);
    let mut kept: Vec<u32> =
        order.iter().take(count).filter_map(|at| rows.get(*at as usize).copied()).collect();
    kept.sort_unstable();
    kept
}

/// For each row, bytes that agree exactly where the values of these columns agree.
pub(super) fn keys(table: &Table, names: &[String]) -> Result<Vec<Vec<u8>>> {
    let mut keys = vec![Vec::new(); table.rows()];
    for name in names {
        let data = table.column(name)?;
        for (row, key) in keys.iter_mut().enumerate() {
            super::table::cell_bytes(&data, row, key);
        }
    }
    Ok(keys)
}

fn join(table: &Table, other: &Table, on: &str) -> Result<Table> {
    let on_column = [on.to_string()];
    let mut places: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
    for (row, key) in keys(other, &on_column)?.into_iter().enumerate() {
        places.entry(key).or_default().push(row as u32);
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (row, key) in keys(table, &on_column)?.into_iter().enumerate() {
        for found in places.get(&key).into_iter().flatten() {
            left.push(row as u32);
            right.push(*found);
        }
    }
    let mut joined = table.take(&left)?;
    let others = other.take(&right)?;
    for (name, _) in added(&other.columns(), on) {
        joined.set_column(name, others.column(name)?)?;
        if name == "label" {
            joined.set_labels(other.labels().clone());
        }
    }
    Ok(joined)
}

/// Whether an operation can make a class disappear, so that label names are found anew.
pub fn changes_labels<T>(operation: &Operation<T>) -> bool {
    match operation {
        Operation::Filter(_) | Operation::Concat(_) | Operation::Join { .. } => true,
        Operation::Derive(new) => new.iter().any(|(name, _)| name == "label"),
        Operation::Rename(pairs) => {
            let is_target = |name: &String| matches!(name.as_str(), "label" | "tags");
            pairs.iter().any(|(new, old)| is_target(new) || is_target(old))
        }
        _ => false,
    }
}

/// Finds the label names of tables that belong together anew, over all of them. Names that the
/// user declared stay.
pub fn agree_on_labels(tables: &mut [&mut Table]) -> Result<()> {
    let declared = tables.iter().any(|table| {
        matches!(
            table.labels(),
            Labels::Classes { declared: true, .. }
                | Labels::Multi { declared: true, .. }
                | Labels::Tags { declared: true, .. }
        )
    });
    if declared {
        return Ok(());
    }
    for target in ["label", "tags"] {
        let of = |table: &&mut &mut Table| table.target_column() == Some(target);
        let columns = tables
            .iter_mut()
            .filter(of)
            .map(|table| table.column(target))
            .collect::<Result<Vec<_>>>()?;
        let columns: Vec<&ColumnData> = columns.iter().collect();
        let labels = match target {
            "label" => Labels::of(&columns, None)?,
            _ => Labels::of_tags(&columns),
        };
        for table in tables.iter_mut().filter(of) {
            table.set_labels(labels.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::expression::Operation as Sign;
    use super::*;

    fn table(rows: i64) -> Table {
        let labels =
            (0..rows).map(|row| Some(if row % 4 == 0 { "rare" } else { "common" }.to_string()));
        let texts = (0..rows).map(|row| Some(format!("t{}", row % 5)));
        let mut table = Table::from_columns(vec![
            ("text".into(), ColumnData::Text(texts.collect())),
            ("label".into(), ColumnData::Text(labels.collect())),
            ("id".into(), ColumnData::Int((0..rows).map(Some).collect())),
        ])
        .unwrap();
        table.set_labels(table.inferred_labels().unwrap());
        table
    }

    fn ids(table: &Table) -> Vec<i64> {
        let ColumnData::Int(ids) = table.column("id").unwrap() else { panic!() };
        ids.into_iter().flatten().collect()
    }

    fn column(name: &str) -> Expression {
        Expression::Column(name.into())
    }

    fn apply(operation: Operation<Table>, table: &Table) -> Table {
        let expected = operation.outline().columns(&table.columns()).unwrap();
        let made = operation.apply(table).unwrap();
        assert_eq!(made.columns(), expected, "{operation:?}");
        made
    }

    #[test]
    fn every_operation_leaves_the_columns_it_says_and_keeps_the_order() {
        let table = table(20);
        let rare = Expression::Binary(
            Sign::Equal,
            Box::new(column("label")),
            Box::new(Expression::Text("rare".into())),
        );
        assert_eq!(ids(&apply(Operation::Filter(rare), &table)), [0, 4, 8, 12, 16]);
        let words = Expression::Call("words".into(), vec![column("text")]);
        let derived = apply(Operation::Derive(vec![("n".into(), words)]), &table);
        assert_eq!(derived.column_type("n"), Some(ColumnType::Int));
        let selected = apply(Operation::Select(vec!["label".into()]), &table);
        assert_eq!(selected.columns().len(), 2);
        let renamed = apply(Operation::Rename(vec![("body".into(), "text".into())]), &table);
        assert!(renamed.has("body") && !renamed.has("text"));
        assert_eq!(ids(&apply(Operation::Dedupe(vec!["text".into()]), &table)), [0, 1, 2, 3, 4]);
        assert_eq!(ids(&apply(Operation::Dedupe(vec![]), &table)).len(), 10);
        let sampled = ids(&apply(Operation::Sample { rows: 7, seed: 0 }, &table));
        assert!(sampled.len() == 7 && sampled.is_sorted());
        assert_ne!(sampled, ids(&apply(Operation::Sample { rows: 7, seed: 1 }, &table)));
        assert_eq!(ids(&apply(Operation::Sample { rows: 70, seed: 1 }, &table)).len(), 20);
        let balanced = apply(Operation::Balance { by: "label".into(), seed: 0 }, &table);
        assert_eq!(balanced.rows(), 10);
        assert!(ids(&balanced).is_sorted());
        let both = apply(Operation::Concat(vec![table.clone()]), &table);
        assert_eq!((both.rows(), both.labels()), (40, table.labels()));
    }

    #[test]
    fn a_join_adds_columns_in_the_order_of_the_left_table() {
        let other = Table::from_columns(vec![
            ("text".into(), ColumnData::Text(["t3", "t1"].map(|text| Some(text.into())).to_vec())),
            ("score".into(), ColumnData::Float(vec![Some(3.0), Some(1.0)])),
        ])
        .unwrap();
        let joined = apply(Operation::Join { other, on: "text".into() }, &table(8));
        assert_eq!(ids(&joined), [1, 3, 6]);
        assert_eq!(
            joined.column("score").unwrap(),
            ColumnData::Float(vec![Some(1.0), Some(3.0), Some(1.0)])
        );
    }

    #[test]
    fn mistakes_are_found_from_the_columns_alone() {
        let columns = table(1).columns();
        let fails = |operation: Operation<Columns>| operation.columns(&columns).unwrap_err();
        assert!(fails(Operation::Filter(column("text"))).message.contains("condition"));
        assert_eq!(
            fails(Operation::Select(vec!["lable".into()])).nearest.as_deref(),
            Some("label")
        );
        let twice = Operation::Rename(vec![("label".into(), "text".into())]);
        assert!(fails(twice).message.contains("two columns"));
        assert!(fails(Operation::Concat(vec![vec![]])).message.contains("no column"));
        let clash = Operation::Join { other: columns.clone(), on: "text".into() };
        assert!(fails(clash).message.contains("both tables"));
    }

    #[test]
    fn label_names_are_found_anew_over_all_tables_unless_declared() {
        let mut one = table(8).take(&[1, 2]).unwrap();
        let mut two = table(8).take(&[3]).unwrap();
        agree_on_labels(&mut [&mut one, &mut two]).unwrap();
        assert_eq!(one.labels().names(), ["common"]);
        let names = vec!["common".to_string(), "rare".to_string()];
        one.set_labels(Labels::Classes { names: names.clone(), declared: true });
        agree_on_labels(&mut [&mut one, &mut two]).unwrap();
        assert_eq!(one.labels().names(), names);
    }
}
