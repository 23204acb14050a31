//! Dividing the rows of a table into parts. Every part keeps the order of the rows.

use super::column::ColumnData;
use super::error::{DataError, Fault, Result};
use super::prepare::keys;
use super::table::{Table, Tables, cell_bytes, shown};
use crate::base::Hasher;
use crate::base::random::{Purpose, Stream};
use std::collections::{BTreeMap, HashMap};

/// The names that parts have.
pub const PARTS: [&str; 3] = ["train", "validation", "test"];

/// How rows are divided.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitBy {
    /// Shares that sum to 1; the numbers of rows are exact (largest remainders).
    Fraction(Vec<(String, f64)>),
    /// The part's name stands in this column; `dev`, `val` and `valid` mean `validation`.
    Column(String),
    /// By a digest of this column's value as text, whatever other rows there are. What the shares
    /// leave is `train`.
    Hash { column: String, shares: Vec<(String, f64)> },
    /// `fold_1` … `fold_k`, each with a `train` and a `validation` part.
    Folds(usize),
}

/// How rows are divided, and what must stay together.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub by: SplitBy,
    /// The shares hold for every value of this column.
    pub stratify: Option<String>,
    /// Rows with the same value of this column go to the same part.
    pub group: Option<String>,
    pub seed: u64,
}

fn fault(message: impl Into<String>) -> DataError {
    DataError::new(Fault::Split, message)
}

impl Split {
    /// Divides a table. Folds are named `fold_1.train`, `fold_1.validation`, ….
    ///
    /// # Errors
    /// A part without rows, an unknown column, or a value of the column that names no part.
    pub fn apply(&self, table: &Table) -> Result<Tables> {
        let parts = match &self.by {
            SplitBy::Fraction(shares) => {
                let names: Vec<String> = shares.iter().map(|(name, _)| name.clone()).collect();
                let shares: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
                names.into_iter().zip(self.divide(table, &shares)?).collect()
            }
            SplitBy::Folds(folds) => {
                let shares = vec![1.0 / *folds as f64; *folds];
                let parts = self.divide(table, &shares)?;
                let mut named = Vec::new();
                for (at, held_out) in parts.iter().enumerate() {
                    let mut rest: Vec<u32> = parts
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != at)
                        .flat_map(|(_, rows)| rows.iter().copied())
                        .collect();
                    rest.sort_unstable();
                    named.push((format!("fold_{}.train", at + 1), rest));
                    named.push((format!("fold_{}.validation", at + 1), held_out.clone()));
                }
                named
            }
            SplitBy::Column(column) => by_column(table, column)?,
            SplitBy::Hash { column, shares } => self.by_hash(table, column, shares)?,
        };
        let mut tables = Tables::new();
        for (name, rows) in parts {
            if rows.is_empty() {
                return Err(fault(format!(
                    "the part `{name}` has no rows; the table has {}",
                    table.rows()
                ))
                .subject(name)
                .help(match &self.by {
                    SplitBy::Folds(_) => "fewer folds have rows each",
                    _ => "give it a larger share, or leave it out",
                }));
            }
            tables.insert(name, table.take(&rows)?);
        }
        Ok(tables)
    }

    /// The rows of each part, by shares that sum to 1.
    fn divide(&self, table: &Table, shares: &[f64]) -> Result<Vec<Vec<u32>>> {
        let rows = table.rows();
        let mut counts = largest_remainders(rows, shares);
        // A part that was asked for gets a row if there is one to spare.
        while let Some(empty) = counts.iter().position(|count| *count == 0) {
            let Some(largest) = (0..counts.len()).max_by_key(|at| (counts[*at], usize::MAX - at))
            else {
                break;
            };
            if counts[largest] < 2 {
                break;
            }
            counts[largest] -= 1;
            counts[empty] += 1;
        }
        let order = Stream::new(self.seed, Purpose::Split).permutation(rows as u32, 0);
        match (&self.stratify, &self.group) {
            (Some(stratify), Some(group)) => {
                let groups = groups(table, group, &order)?;
                let keys = keys(table, std::slice::from_ref(stratify))?;
                let mut names: Vec<&Vec<u8>> = keys.iter().collect();
                names.sort_unstable();
                names.dedup();
                let classes: Vec<usize> =
                    keys.iter().map(|key| names.binary_search(&key).unwrap_or(0)).collect();
                Ok(assign_by_class(groups, &classes, names.len(), shares))
            }
            (None, Some(column)) => Ok(assign(&groups(table, column, &order)?, &counts)),
            (Some(column), None) => {
                let keys = keys(table, std::slice::from_ref(column))?;
                let mut classes: BTreeMap<&[u8], Vec<Vec<u32>>> = BTreeMap::new();
                for row in &order {
                    let key = keys.get(*row as usize).map(Vec::as_slice).unwrap_or_default();
                    classes.entry(key).or_default().push(vec![*row]);
                }
                // One class behind the other: each piece of the sequence gets its shares.
                let sequence: Vec<Vec<u32>> = classes.into_values().flatten().collect();
                Ok(assign(&sequence, &counts))
            }
            (None, None) => {
                let mut parts = Vec::with_capacity(counts.len());
                let mut rest = order.as_slice();
                for count in counts {
                    let (part, others) = rest.split_at(count.min(rest.len()));
                    let mut part = part.to_vec();
                    part.sort_unstable();
                    parts.push(part);
                    rest = others;
                }
                Ok(parts)
            }
        }
    }

    fn by_hash(
        &self,
        table: &Table,
        column: &str,
        shares: &[(String, f64)],
    ) -> Result<Vec<(String, Vec<u32>)>> {
        let mut parts: Vec<(String, Vec<u32>)> = Vec::new();
        let rest = "train".to_string();
        if !shares.iter().any(|(name, _)| *name == rest) {
            parts.push((rest, Vec::new()));
        }
        parts.extend(shares.iter().map(|(name, _)| (name.clone(), Vec::new())));
        // As text: one more row can make numbers texts, and must not move the others.
        let texts = ColumnData::Text(shown(&table.column(column)?));
        for row in 0..texts.len() {
            let mut key = Vec::new();
            cell_bytes(&texts, row, &mut key);
            let digest = Hasher::new("split 1").number(self.seed).bytes(&key).finish();
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&digest.0[..8]);
            // In [0, 1), a multiple of 2^-53.
            let place = (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64;
            let mut end = 0.0;
            let mut name = "train";
            for (part, share) in shares {
                end += share;
                if place < end {
                    name = part;
                    break;
                }
            }
            if let Some((_, rows)) = parts.iter_mut().find(|(part, _)| part == name) {
                rows.push(row as u32);
            }
        }
        Ok(parts)
    }
}

/// Whole numbers with the sum `total` that are nearest to the shares of it.
fn largest_remainders(total: usize, shares: &[f64]) -> Vec<usize> {
    let exact: Vec<f64> = shares.iter().map(|share| share * total as f64).collect();
    // What is a whole number but for rounding is one.
    let mut counts: Vec<usize> =
        exact.iter().map(|value| (value + 1e-9).floor() as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|one, two| {
        let rest = |at: usize| exact[at] - counts[at] as f64;
        rest(*two).total_cmp(&rest(*one)).then(one.cmp(two))
    });
    let missing = total.saturating_sub(counts.iter().sum());
    for at in order.into_iter().cycle().take(missing) {
        counts[at] += 1;
    }
    counts
}

/// Hands pieces to parts so that at every point of the sequence each part has about its share of
/// the rows so far, and at the end (if pieces are single rows) exactly its count.
fn assign(pieces: &[Vec<u32>], counts: &[usize]) -> Vec<Vec<u32>> {
    let total: usize = pieces.iter().map(Vec::len).sum();
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); counts.len()];
    let mut seen = 0;
    for piece in pieces {
        seen += piece.len();
        let lack = |at: usize| -> f64 {
            let wanted = counts[at] as f64 * seen as f64 / total.max(1) as f64;
            let open = parts[at].len() < counts[at];
            if open { wanted - parts[at].len() as f64 } else { f64::NEG_INFINITY }
        };
        let best = (0..counts.len())
            .max_by(|one, two| lack(*one).total_cmp(&lack(*two)).then(two.cmp(one)));
        if let Some(best) = best {
            parts[best].extend(piece);
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

/// The rows of every value of a column, in the order in which the values first appear in `order`. A
/// row without a value is a group of its own.
fn groups(table: &Table, column: &str, order: &[u32]) -> Result<Vec<Vec<u32>>> {
    let keys = keys(table, &[column.to_string()])?;
    let missing = table.column(column)?;
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for row in order {
        let key = keys.get(*row as usize).map(Vec::as_slice).unwrap_or_default();
        let alone = super::labels::is_missing(&missing, *row as usize);
        let place = match alone {
            true => groups.len(),
            false => *places.entry(key).or_insert(groups.len()),
        };
        match groups.get_mut(place) {
            Some(group) => group.push(*row),
            None => groups.push(vec![*row]),
        }
    }
    Ok(groups)
}

/// Hands whole groups to parts so that every class has about its share in each: the most uneven
/// groups first, each to the part with which the classes are spread most evenly then.
/// `classes[row]`: the class of a row, below `count`.
///
/// The rule of scikit-learn's `StratifiedGroupKFold`, for parts of any shares: what it compares
/// among folds, a class's rows there of all its rows, is taken relative to the part's share.
fn assign_by_class(
    mut groups: Vec<Vec<u32>>,
    classes: &[usize],
    count: usize,
    shares: &[f64],
) -> Vec<Vec<u32>> {
    let of = |group: &[u32]| {
        let mut counts = vec![0.0f64; count];
        for row in group {
            let class = classes.get(*row as usize).and_then(|class| counts.get_mut(*class));
            class.into_iter().for_each(|rows| *rows += 1.0);
        }
        counts
    };
    let spread = |counts: &[f64]| {
        let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
        counts.iter().map(|rows| (rows - mean).powi(2)).sum::<f64>()
    };
    groups.sort_by(|one, two| spread(&of(two)).total_cmp(&spread(&of(one))));
    let mut totals = vec![0.0f64; count];
    for counts in groups.iter().map(|group| of(group)) {
        totals.iter_mut().zip(counts).for_each(|(total, rows)| *total += rows);
    }
    let mut held = vec![vec![0.0f64; count]; shares.len()];
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); shares.len()];
    for group in groups {
        let counts = of(&group);
        // The mean over classes of the deviation among parts, if the group goes to this one.
        let uneven = |to: usize| -> f64 {
            let mut sum = 0.0;
            for class in 0..count {
                let relative = |part: usize| {
                    let more = if part == to { counts[class] } else { 0.0 };
                    (held[part][class] + more) / (totals[class] * shares[part])
                };
                let mean: f64 = (0..shares.len()).map(|part| shares[part] * relative(part)).sum();
                let square = |part: usize| shares[part] * (relative(part) - mean).powi(2);
                sum += (0..shares.len()).map(square).sum::<f64>().sqrt();
            }
            sum
        };
        let filled = |part: usize| parts[part].len() as f64 / shares[part];
        let best = (0..shares.len()).min_by(|one, two| {
            let (a, b) = (uneven(*one), uneven(*two));
            // Sums of the same numbers in another order are no difference.
            let even = (a - b).abs() <= 1e-9 * a.max(b);
            let by_size = filled(*one).total_cmp(&filled(*two));
            if even { by_size } else { a.total_cmp(&b) }
        });
        if let Some(best) = best {
            held[best].iter_mut().zip(counts).for_each(|(sum, rows)| *sum += rows);
            parts[best].extend(group);
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

fn by_column(table: &Table, column: &str) -> Result<Vec<(String, Vec<u32>)>> {
    let names = table.texts(column)?;
    let mut parts: Vec<(String, Vec<u32>)> =
        PARTS.iter().map(|name| ((*name).to_string(), Vec::new())).collect();
    for (row, name) in names.iter().enumerate() {
        let lower = name.trim().to_lowercase();
        let part = match lower.as_str() {
            "dev" | "val" | "valid" => "validation",
            other => other,
        };
        match parts.iter_mut().find(|(known, _)| known == part) {
            Some((_, rows)) => rows.push(row as u32),
            None => {
                return Err(table.at(
                    row,
                    fault(format!("`{name}` in column `{column}` names no part"))
                        .subject(column)
                        .help("the parts are `train`, `validation` (also `dev`, `val`, `valid`) and `test`"),
                ));
            }
        }
    }
    // A part that the column never names is not there; `train` must be.
    parts.retain(|(name, rows)| name == "train" || !rows.is_empty());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Table {
        let text = |of: &dyn Fn(usize) -> String| {
            ColumnData::Text((0..rows).map(|row| Some(of(row))).collect())
        };
        Table::from_columns(vec![
            ("text".into(), text(&|row| format!("text {row}"))),
            ("label".into(), text(&|row| ["a", "b", "c", "c", "c"][row % 5].to_string())),
            ("group".into(), text(&|row| format!("g{}", row / 3))),
            ("part".into(), text(&|row| ["train", "dev", "train"][row % 3].to_string())),
            ("id".into(), ColumnData::Int((0..rows as i64).map(Some).collect())),
        ])
        .unwrap()
    }

    fn shares(parts: &[(&str, f64)]) -> Vec<(String, f64)> {
        parts.iter().map(|(name, share)| (name.to_string(), *share)).collect()
    }

    fn usual() -> SplitBy {
        SplitBy::Fraction(shares(&[("train", 0.8), ("validation", 0.1), ("test", 0.1)]))
    }

    fn split(by: SplitBy) -> Split {
        Split { by, stratify: None, group: None, seed: 0 }
    }

    fn ids(table: &Table) -> Vec<i64> {
        let ColumnData::Int(ids) = table.column("id").unwrap() else { panic!() };
        ids.into_iter().flatten().collect()
    }

    fn covers(parts: &Tables, rows: usize) {
        let mut all: Vec<i64> = parts.values().flat_map(ids).collect();
        all.sort();
        assert_eq!(all, (0..rows as i64).collect::<Vec<_>>());
        assert!(parts.values().all(|part| ids(part).is_sorted()));
    }

    #[test]
    fn fractions_are_exact_and_drawn_by_the_seed() {
        for rows in [3, 10, 11, 101, 1000] {
            let parts = split(usual()).apply(&table(rows)).unwrap();
            covers(&parts, rows);
            assert!((parts["test"].rows() as f64 - rows as f64 * 0.1).abs() < 1.0, "{rows}");
        }
        let one = split(usual()).apply(&table(100)).unwrap();
        let counts: Vec<usize> = one.values().map(Table::rows).collect();
        assert_eq!(counts, [80, 10, 10]);
        let two = Split { seed: 1, ..split(usual()) }.apply(&table(100)).unwrap();
        assert_ne!(ids(&one["test"]), ids(&two["test"]));
        let error = split(usual()).apply(&table(2)).unwrap_err();
        assert!(error.message.contains("no rows"), "{error}");
    }

    #[test]
    fn stratified_shares_hold_for_every_class() {
        let rows = 237;
        let stratified = Split { stratify: Some("label".into()), ..split(usual()) };
        let parts = stratified.apply(&table(rows)).unwrap();
        covers(&parts, rows);
        let counts: Vec<usize> = parts.values().map(Table::rows).collect();
        assert_eq!(counts, [189, 24, 24]);
        let count = |table: &Table, label: &str| {
            table.texts("label").unwrap().iter().filter(|found| *found == label).count() as f64
        };
        for label in ["a", "b", "c"] {
            let all = count(&table(rows), label);
            for (part, share) in [("train", 0.8), ("validation", 0.1), ("test", 0.1)] {
                let found = count(&parts[part], label);
                assert!((found - all * share).abs() <= 1.5, "{label} {part}: {found} of {all}");
            }
        }
    }

    #[test]
    fn groups_stay_together() {
        let rows = 300;
        let grouped = Split { group: Some("group".into()), ..split(usual()) };
        let parts = grouped.apply(&table(rows)).unwrap();
        covers(&parts, rows);
        let mut home: BTreeMap<String, &str> = BTreeMap::new();
        for (name, part) in &parts {
            for group in part.texts("group").unwrap() {
                assert_eq!(*home.entry(group).or_insert(name), name);
            }
        }
        assert!((parts["test"].rows() as i64 - 30).abs() <= 3, "{}", parts["test"].rows());
    }

    /// Every group in one part, every class with about its share in each, for any shares.
    #[test]
    fn groups_stay_together_and_classes_keep_their_shares() {
        let rows = 600;
        let both =
            |by| Split { stratify: Some("label".into()), group: Some("group".into()), ..split(by) };
        for seed in 0..5 {
            for by in [usual(), SplitBy::Folds(4)] {
                let folds = matches!(by, SplitBy::Folds(_));
                let parts = Split { seed, ..both(by) }.apply(&table(rows)).unwrap();
                let held: Vec<(&String, &Table)> = parts
                    .iter()
                    .filter(|(name, _)| !folds || name.ends_with("validation"))
                    .collect();
                let mut home: BTreeMap<String, &str> = BTreeMap::new();
                let mut all = 0;
                for (name, part) in held {
                    all += part.rows();
                    for group in part.texts("group").unwrap() {
                        assert_eq!(*home.entry(group).or_insert(name), name);
                    }
                    let share = match name.as_str() {
                        "train" => 0.8,
                        "validation" | "test" => 0.1,
                        _ => 0.25,
                    };
                    for (label, of) in [("a", 0.2), ("b", 0.2), ("c", 0.6)] {
                        let labels = part.texts("label").unwrap();
                        let found = labels.iter().filter(|found| *found == label).count() as f64;
                        let wanted = rows as f64 * of * share;
                        // Two groups of three rows.
                        assert!((found - wanted).abs() <= 6.0, "{name} {label}: {found}, {wanted}");
                    }
                }
                assert_eq!(all, rows);
            }
        }
    }

    /// By scikit-learn 1.9.1: `StratifiedGroupKFold(n_splits=3)` without shuffling, on 12 groups of
    /// these sizes, the class of row r in group g being (r² + g) mod 3.
    #[test]
    fn folds_are_those_of_scikit_learn() {
        let sizes = [1, 5, 2, 7, 3, 4, 2, 6, 1, 3, 4, 2];
        let (mut groups, mut classes) = (Vec::new(), Vec::new());
        for (group, size) in sizes.into_iter().enumerate() {
            let first = classes.len();
            groups.push((first as u32..(first + size) as u32).collect::<Vec<u32>>());
            classes.extend((first..first + size).map(|row| (row * row + group) % 3));
        }
        let parts = assign_by_class(groups.clone(), &classes, 3, &[1.0 / 3.0; 3]);
        let expected = [[2, 3, 8, 10], [1, 5, 6, 11], [0, 4, 7, 9]];
        for (part, expected) in parts.iter().zip(expected) {
            assert_eq!(*part, expected.map(|group: usize| groups[group].clone()).concat());
        }
    }

    #[test]
    fn a_hash_gives_a_row_its_part_whatever_others_there_are() {
        let hashed =
            split(SplitBy::Hash { column: "text".into(), shares: shares(&[("validation", 0.2)]) });
        let whole = hashed.apply(&table(500)).unwrap();
        covers(&whole, 500);
        assert!((whole["validation"].rows() as i64 - 100).abs() < 40);
        let half = hashed.apply(&table(500).take(&(0..250).collect::<Vec<_>>()).unwrap()).unwrap();
        let kept: Vec<i64> = ids(&whole["validation"]).into_iter().filter(|id| *id < 250).collect();
        assert_eq!(ids(&half["validation"]), kept);
    }

    #[test]
    fn a_hash_does_not_see_the_type_that_a_column_was_read_as() {
        let ids = |data| Table::from_columns(vec![("id".into(), data)]).unwrap();
        let texts = (0..200).map(|id| Some(id.to_string())).collect();
        let hashed = split(SplitBy::Hash { column: "id".into(), shares: shares(&[("test", 0.3)]) });
        let parts = [
            ColumnData::Text(texts),
            ColumnData::Int((0..200).map(Some).collect()),
            ColumnData::Float((0..200).map(|id| Some(f64::from(id))).collect()),
        ]
        .map(|data| hashed.apply(&ids(data)).unwrap());
        assert!((30..90).contains(&parts[0]["test"].rows()));
        for others in &parts[1..] {
            assert_eq!(others["train"].ids(), parts[0]["train"].ids());
            assert_eq!(others["test"].ids(), parts[0]["test"].ids());
        }
    }

    #[test]
    fn a_column_names_the_parts() {
        let parts = split(SplitBy::Column("part".into())).apply(&table(9)).unwrap();
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["train", "validation"]);
        assert_eq!(ids(&parts["validation"]), [1, 4, 7]);
        let error = split(SplitBy::Column("label".into())).apply(&table(9)).unwrap_err();
        assert!(error.message.contains("names no part"), "{error}");
        assert!(split(SplitBy::Column("nothing".into())).apply(&table(9)).is_err());
    }

    #[test]
    fn folds_hold_out_every_row_once() {
        let parts = split(SplitBy::Folds(3)).apply(&table(10)).unwrap();
        assert_eq!(parts.len(), 6);
        let mut held_out = Vec::new();
        for fold in 1..=3 {
            let train = ids(&parts[&format!("fold_{fold}.train")]);
            let validation = ids(&parts[&format!("fold_{fold}.validation")]);
            assert!(validation.iter().all(|id| !train.contains(id)));
            assert_eq!(train.len() + validation.len(), 10);
            held_out.extend(validation);
        }
        held_out.sort();
        assert_eq!(held_out, (0..10).collect::<Vec<_>>());
    }
}
