//! Operations on tables. Each says which columns it leaves, so that a checker can follow them
//! without rows, and does it with polars. Everything keeps the order of the rows.

use super::augment::Augment;
use super::column::{ColumnData, ColumnType};
use super::error::{DataError, Fault, Result};
use super::expression::Expression;
use super::labels::{Labels, is_missing};
use super::table::{Table, cell_bytes, no_column};
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
    /// So many rows, drawn without replacement; all if there are fewer. Under one seed fewer rows are
    /// part of more.
    Sample { rows: usize, stratify: Option<String>, seed: u64 },
    /// As many rows of every value of a column.
    Balance { by: String, how: Balancing, seed: u64 },
    /// Changed copies of rows.
    Augment(Augment),
    /// For every row the rows of another table with the same value of a column: their columns are
    /// added. Rows without a counterpart go, and so do rows without a value.
    Join { other: T, on: String },
    /// The rows of other tables behind these; columns go together by name.
    Concat(Vec<T>),
}

/// How many rows of every value there are afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancing {
    /// As many as the rarest has, drawn without replacement.
    Undersample,
    /// As many as the commonest has: all rows stay, some of them several times, behind each other.
    Oversample,
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
            Operation::Sample { stratify, .. } => {
                stratify.iter().try_for_each(|name| known(before, name))?;
                Ok(before.clone())
            }
            Operation::Balance { by, .. } => known(before, by).map(|()| before.clone()),
            Operation::Augment(augment) => {
                for name in &augment.columns {
                    known(before, name)?;
                    let found = before.iter().find(|(known, _)| known == name);
                    if let Some((_, found)) = found.filter(|(_, ty)| *ty != ColumnType::Text) {
                        let message =
                            format!("`augment` changes text; column `{name}` holds {found}");
                        return Err(fault(message).subject(name));
                    }
                }
                Ok(before.clone())
            }
            Operation::Join { other, on } => {
                known(before, on)?;
                known(other, on)?;
                comparable(before, other, on)?;
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

/// Whether values of the column `on` can be the same in both tables, as far as types are known.
fn comparable(one: &Columns, two: &Columns, on: &str) -> Result<()> {
    let of = |columns: &Columns| {
        let found = columns.iter().find(|(name, _)| name == on).map(|(_, found)| found.clone());
        found.filter(|found| !matches!(found, ColumnType::Other(_)))
    };
    let (Some(one), Some(two)) = (of(one), of(two)) else { return Ok(()) };
    if one == two || (one.is_number() && two.is_number()) {
        return Ok(());
    }
    let message = format!(
        "`join` finds no pairs: column `{on}` holds {one} in one table and {two} in the other"
    );
    Err(fault(message).subject(on).help("write its values the same way in both files"))
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
            Operation::Sample { rows, stratify, seed } => {
                Operation::Sample { rows: *rows, stratify: stratify.clone(), seed: *seed }
            }
            Operation::Balance { by, how, seed } => {
                Operation::Balance { by: by.clone(), how: *how, seed: *seed }
            }
            Operation::Augment(augment) => Operation::Augment(augment.clone()),
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
            Operation::Sample { rows, stratify: None, seed } => {
                let all: Vec<u32> = (0..table.rows() as u32).collect();
                table.take(&drawn(&all, *rows, *seed, 0))
            }
            Operation::Sample { rows, stratify: Some(by), seed } => {
                table.take(&drawn_by_class(&classes(table, by)?, *rows, *seed))
            }
            Operation::Balance { by, how, seed } => {
                let classes = classes(table, by)?;
                let sizes = || classes.iter().map(Vec::len);
                let mut rows: Vec<u32> = Vec::new();
                for (class, all) in classes.iter().enumerate() {
                    // Every row so many times, and some of them once more.
                    let (whole, more) = match how {
                        Balancing::Undersample => (0, sizes().min().unwrap_or(0)),
                        Balancing::Oversample => {
                            let most = sizes().max().unwrap_or(0);
                            (most / all.len(), most % all.len())
                        }
                    };
                    rows.extend(all.iter().flat_map(|row| std::iter::repeat_n(*row, whole)));
                    rows.extend(drawn(all, more, *seed, class as u64));
                }
                rows.sort_unstable();
                table.take(&rows)
            }
            Operation::Augment(augment) => augment.apply(table),
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

/// The rows of every value of a column, in the order of the values' bytes.
fn classes(table: &Table, by: &str) -> Result<Vec<Vec<u32>>> {
    let mut classes: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for (row, key) in keys(table, &[by.to_string()])?.into_iter().enumerate() {
        classes.entry(key).or_default().push(row as u32);
    }
    Ok(classes.into_values().collect())
}

/// Some rows, in their order, of which each class has its share to within one row. The j-th of the
/// n rows of a class, in drawn order, comes at (j + ½)/n of a sequence of which the first rows are
/// taken: so fewer rows are part of more.
fn drawn_by_class(classes: &[Vec<u32>], count: usize, seed: u64) -> Vec<u32> {
    let stream = Stream::new(seed, Purpose::Sample);
    let mut sequence: Vec<(f64, usize, u32)> = Vec::new();
    for (class, rows) in classes.iter().enumerate() {
        let order = stream.permutation(rows.len() as u32, class as u64);
        let drawn = order.iter().filter_map(|at| rows.get(*at as usize));
        let place = |at: usize| (at as f64 + 0.5) / rows.len() as f64;
        sequence.extend(drawn.enumerate().map(|(at, row)| (place(at), class, *row)));
    }
    sequence.sort_by(|one, two| one.0.total_cmp(&two.0).then(one.1.cmp(&two.1)));
    let mut kept: Vec<u32> = sequence.into_iter().take(count).map(|(_, _, row)| row).collect();
    kept.sort_unstable();
    kept
}

/// For each row, bytes that agree exactly where the values of these columns agree.
pub(super) fn keys(table: &Table, names: &[String]) -> Result<Vec<Vec<u8>>> {
    let mut keys = vec![Vec::new(); table.rows()];
    for name in names {
        let data = table.column(name)?;
        for (row, key) in keys.iter_mut().enumerate() {
            cell_bytes(&data, row, key);
        }
    }
    Ok(keys)
}

/// What rows are joined by: bytes that agree where the values do, `None` where there is no value.
/// Whole numbers and fractions agree where they are the same number.
fn join_keys(table: &Table, on: &str) -> Result<Vec<Option<Vec<u8>>>> {
    let data = match table.column(on)? {
        ColumnData::Float32(values) => {
            ColumnData::Float(values.into_iter().map(|value| value.map(f64::from)).collect())
        }
        other => other,
    };
    let key = |row: usize| {
        let mut bytes = Vec::new();
        match &data {
            ColumnData::Float(values) => {
                number_bytes(values.get(row).copied().flatten()?, &mut bytes)
            }
            data if is_missing(data, row) => return None,
            data => cell_bytes(data, row, &mut bytes),
        }
        Some(bytes)
    };
    Ok((0..data.len()).map(key).collect())
}

/// The bytes of a fraction; those of the whole number, if it is one.
fn number_bytes(number: f64, to: &mut Vec<u8>) {
    // The first power of two that is no `i64`; below it the cast is exact.
    const END: f64 = (1u64 << 63) as f64;
    match number.fract() == 0.0 && (-END..END).contains(&number) {
        true => cell_bytes(&ColumnData::Int(vec![Some(number as i64)]), 0, to),
        false => {
            to.push(2); // no whole number's bytes begin so
            to.extend(number.to_bits().to_le_bytes());
        }
    }
}

fn join(table: &Table, other: &Table, on: &str) -> Result<Table> {
    let mut places: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
    for (row, key) in join_keys(other, on)?.into_iter().enumerate() {
        if let Some(key) = key {
            places.entry(key).or_default().push(row as u32);
        }
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (row, key) in join_keys(table, on)?.into_iter().enumerate() {
        for found in key.and_then(|key| places.get(&key)).into_iter().flatten() {
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
    use super::super::augment::Augmentation;
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
        let how = Augmentation::WordDropout(0.5);
        let columns = vec!["text".to_string()];
        let augment = Augment { how, columns, copies: 1, originals: true, seed: 0 };
        assert_eq!(apply(Operation::Augment(augment.clone()), &table).rows(), 40);
        let of_label = Augment { columns: vec!["id".into()], ..augment };
        let error = Operation::Augment(of_label).outline().columns(&table.columns()).unwrap_err();
        assert!(error.message.contains("changes text"), "{error}");
        let both = apply(Operation::Concat(vec![table.clone()]), &table);
        assert_eq!((both.rows(), both.labels()), (40, table.labels()));
    }

    fn sample(rows: usize, stratify: Option<&str>, seed: u64) -> Operation<Table> {
        Operation::Sample { rows, stratify: stratify.map(str::to_string), seed }
    }

    /// The same seed draws the same rows, and fewer rows are part of more: what a learning curve
    /// needs. 5 of 20 rows are rare.
    #[test]
    fn samples_are_nested_and_keep_the_order() {
        let table = table(20);
        for stratify in [None, Some("label")] {
            for seed in 0..20 {
                let mut smaller: Vec<i64> = Vec::new();
                for rows in 0..=22 {
                    let kept = apply(sample(rows, stratify, seed), &table);
                    let drawn = ids(&kept);
                    assert_eq!(drawn, ids(&apply(sample(rows, stratify, seed), &table)));
                    assert!(drawn.len() == rows.min(20) && drawn.is_sorted());
                    assert!(smaller.iter().all(|id| drawn.contains(id)), "{stratify:?} {rows}");
                    if stratify.is_some() {
                        let rare = drawn.iter().filter(|id| *id % 4 == 0).count() as f64;
                        assert!((rare - drawn.len() as f64 / 4.0).abs() <= 1.0, "{rare} of {rows}");
                    }
                    smaller = drawn;
                }
            }
            let (one, two) = (sample(7, stratify, 0), sample(7, stratify, 1));
            assert_ne!(ids(&apply(one, &table)), ids(&apply(two, &table)));
        }
    }

    #[test]
    fn classes_are_balanced_down_or_up() {
        let table = table(18);
        let counts = |table: &Table| {
            let labels = table.texts("label").unwrap();
            let rare = labels.iter().filter(|label| *label == "rare").count();
            (rare, labels.len() - rare)
        };
        assert_eq!(counts(&table), (5, 13));
        for seed in 0..20 {
            let balance = |how| Operation::Balance { by: "label".into(), how, seed };
            let under = apply(balance(Balancing::Undersample), &table);
            assert_eq!(counts(&under), (5, 5));
            let over = apply(balance(Balancing::Oversample), &table);
            assert_eq!(counts(&over), (13, 13));
            assert!(ids(&under).is_sorted() && ids(&over).is_sorted());
            // Of the rare rows each is there two times, three of them once more.
            let times = |id: i64| ids(&over).iter().filter(|other| **other == id).count();
            assert!((0..18).all(|id| if id % 4 == 0 {
                [2, 3].contains(&times(id))
            } else {
                times(id) == 1
            }));
        }
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
    fn a_join_compares_numbers_as_numbers_and_skips_what_is_missing() {
        let whole = ColumnData::Int(vec![Some(1), None, Some(2), Some(3)]);
        let fractions = ColumnData::Float(vec![Some(2.0), Some(2.5), None, Some(1.0)]);
        let texts = ColumnData::Text(["1", "2", "3", ""].map(|text| Some(text.into())).to_vec());
        let of = |name: &str, data: &ColumnData| {
            let rows = ColumnData::Int((0..4).map(Some).collect());
            Table::from_columns(vec![("key".into(), data.clone()), (name.into(), rows)]).unwrap()
        };
        let pairs = |one: &ColumnData, two: &ColumnData| {
            let join = Operation::Join { other: of("right", two), on: "key".into() };
            let joined = apply(join, &of("left", one));
            let rows = |name: &str| match joined.column(name).unwrap() {
                ColumnData::Int(rows) => rows.into_iter().flatten().collect::<Vec<i64>>(),
                other => panic!("{other:?}"),
            };
            (rows("left"), rows("right"))
        };
        assert_eq!(pairs(&whole, &whole), (vec![0, 2, 3], vec![0, 2, 3]));
        assert_eq!(pairs(&whole, &fractions), (vec![0, 2], vec![3, 0]));
        assert_eq!(pairs(&fractions, &whole), (vec![0, 3], vec![2, 0]));
        let join = Operation::Join { other: of("right", &texts), on: "key".into() };
        let error = join.outline().columns(&of("left", &whole).columns()).unwrap_err();
        assert!(error.message.contains("int in one table and text in the other"), "{error}");
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
