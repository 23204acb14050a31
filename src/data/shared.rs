//! Rows of one table that occur again in another that belongs to it: what is measured on rows that
//! were learned from is no test.

use super::column::ColumnData;
use super::error::Result;
use super::table::{Table, Tables};
use super::tokens::Tokens;
use crate::base::{Digest, Pieces};
use std::collections::HashMap;
use std::sync::Arc;

/// The columns whose texts make a row what it is.
const TEXTS: &[&str] = &["text", "text_pair", "words", "question", "context", "prompt", "choices"];

/// How many ids a message names.
const NAMED: usize = 3;

/// Rows that two tables have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The table to learn from, or to choose by.
    pub seen: String,
    pub held_out: String,
    /// Of the rows of `held_out`: id, and id of the first equal row of `seen`.
    pub rows: Vec<(String, String)>,
    /// Of `held_out`.
    pub of: usize,
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seen, held_out, rows, of } = self;
        let verb = if rows.len() == 1 { "is" } else { "are" };
        let ids = |of: fn(&(String, String)) -> &String| {
            let named: Vec<&str> = rows.iter().take(NAMED).map(|row| of(row).as_str()).collect();
            format!("{}{}", named.join(", "), if rows.len() > NAMED { ", …" } else { "" })
        };
        write!(
            f,
            "{} of {of} rows of `{held_out}` {verb} in `{seen}` too, compared in lower case and with \
             single blanks: ids {} (there {})",
            rows.len(),
            ids(|row| &row.0),
            ids(|row| &row.1)
        )
    }
}

/// Compares tables that belong together: what is held out with `train`, and `test` with
/// `validation`, in each fold by itself. Rows are equal if their texts are, in lower case and with
/// single blanks; tables without texts are left out.
pub fn shared(tables: &Tables) -> Result<Vec<Shared>> {
    let mut found = Vec::new();
    for (seen, table) in tables {
        let (fold, part) = seen.rsplit_once('.').map_or(("", seen.as_str()), |parts| parts);
        let held_out = |name: &str| {
            let (other, name) = name.rsplit_once('.').map_or(("", name), |parts| parts);
            other == fold
                && match part {
                    "train" => name != "train",
                    "validation" => name == "test",
                    _ => false,
                }
        };
        if !tables.keys().any(|name| held_out(name)) {
            continue;
        }
        let Some(texts) = texts(table)? else { continue };
        let ids = table.ids();
        let mut first: HashMap<&str, &String> = HashMap::new();
        for (text, id) in texts.iter().zip(&ids) {
            first.entry(text).or_insert(id);
        }
        for (name, other) in tables.iter().filter(|(name, _)| held_out(name)) {
            let Some(others) = self::texts(other)? else { continue };
            let rows: Vec<(String, String)> = others
                .iter()
                .zip(other.ids())
                .filter_map(|(text, id)| Some((id, (*first.get(text.as_str())?).clone())))
                .collect();
            if !rows.is_empty() {
                let (seen, held_out) = (seen.clone(), name.clone());
                found.push(Shared { seen, held_out, rows, of: other.rows() });
            }
        }
    }
    Ok(found)
}

/// The rows of `held_out` tables that `train` has too.
pub fn count(shared: &[Shared]) -> usize {
    let trained = |one: &&Shared| one.seen.rsplit('.').next() == Some("train");
    shared.iter().filter(trained).map(|one| one.rows.len()).sum()
}

/// Which rows there are, told by a number for the tokens of each: sorted, each once. A model carries those of
/// the rows that it learned from, wherever it is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints(Arc<[u64]>);

impl Fingerprints {
    pub fn of(tokens: &Tokens) -> Fingerprints {
        Self::sorted((0..tokens.rows()).map(|row| fingerprint(tokens.input_ids(row))).collect())
    }

    fn sorted(mut all: Vec<u64>) -> Fingerprints {
        all.sort_unstable();
        all.dedup();
        Fingerprints(all.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and the others.
    pub fn and(&self, other: &Fingerprints) -> Fingerprints {
        Self::sorted(self.0.iter().chain(other.0.iter()).copied().collect())
    }

    /// How many rows are among these, token by token; a sentence or a question in several rows counts once.
    pub fn count(&self, tokens: &Tokens) -> usize {
        let is_here = |row| self.0.binary_search(&fingerprint(tokens.input_ids(row))).is_ok();
        tokens.examples_where(is_here)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|one| one.to_le_bytes()).collect()
    }

    /// What [`Fingerprints::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Fingerprints {
        let (all, _) = bytes.as_chunks();
        Self::sorted(all.iter().map(|one| u64::from_le_bytes(*one)).collect())
    }
}

/// 64 bits of a digest: among a million rows, two different ones are taken for the same with a chance of one
/// in 10⁷.
fn fingerprint(ids: &[u32]) -> u64 {
    let mut pieces = Pieces::default();
    ids.iter().for_each(|id| pieces.add(&id.to_le_bytes()));
    let Digest([a, b, c, d, e, f, g, h, ..]) = pieces.finish();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The texts of every row in one, lower-cased and with single blanks.
fn texts(table: &Table) -> Result<Option<Vec<String>>> {
    let mut all: Option<Vec<String>> = None;
    for name in TEXTS.iter().filter(|name| table.has(name)) {
        let rows = all.get_or_insert_with(|| vec![String::new(); table.rows()]);
        let mut add = |row: usize, text: &str| {
            if let Some(sum) = rows.get_mut(row) {
                for word in text.split_whitespace() {
                    sum.push_str(&word.to_lowercase());
                    sum.push(' ');
                }
                // Texts stay apart.
                sum.push('\u{1}');
            }
        };
        match table.column(name)? {
            ColumnData::Text(texts) => texts
                .iter()
                .enumerate()
                .for_each(|(row, text)| add(row, text.as_deref().unwrap_or_default())),
            ColumnData::Texts(lists) => lists.iter().enumerate().for_each(|(row, list)| {
                list.iter().flatten().for_each(|text| add(row, text));
            }),
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(first: i64, texts: &[&str]) -> Table {
        let ids = (first..).take(texts.len()).map(Some).collect();
        let texts = texts.iter().map(|text| Some(text.to_string())).collect();
        Table::from_columns(vec![
            ("text".into(), ColumnData::Text(texts)),
            ("id".into(), ColumnData::Int(ids)),
        ])
        .unwrap()
    }

    fn check(tables: &[(&str, &[&str])]) -> Vec<String> {
        let tables: Tables = tables
            .iter()
            .zip(1..)
            .map(|((name, texts), at)| (name.to_string(), table(100 * at, texts)))
            .collect();
        shared(&tables).unwrap().iter().map(Shared::to_string).collect()
    }

    #[test]
    fn rows_are_the_same_if_their_words_are() {
        let found = check(&[
            ("train", &["A good  film", "a bad film", "an odd film"]),
            ("validation", &["fine"]),
            ("test", &["a GOOD film\n", "new", " an odd film"]),
        ]);
        let expected = "2 of 3 rows of `test` are in `train` too, compared in lower case and with single blanks: ids 300, 302 (there 100, 102)";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_was_chosen_by_is_no_test_either_and_folds_are_apart() {
        let found = check(&[("train", &["a"]), ("validation", &["b"]), ("test", &["b"])]);
        assert!(
            found.len() == 1 && found[0].contains("`test` is in `validation` too"),
            "{found:?}"
        );
        let folds = check(&[
            ("fold_1.train", &["a"]),
            ("fold_1.validation", &["b"]),
            ("fold_2.train", &["b"]),
            ("fold_2.validation", &["a"]),
        ]);
        assert!(folds.is_empty(), "{folds:?}");
        // Words of one text are not words of the next.
        assert!(check(&[("train", &["a b"]), ("test", &["ab"])]).is_empty());
        assert!(check(&[("first", &["a"]), ("second", &["a"])]).is_empty());
    }

    #[test]
    fn only_the_first_ids_are_named() {
        let texts = ["a", "b", "c", "d", "e"];
        let found = check(&[("train", &texts), ("test", &texts)]);
        assert!(found[0].contains("ids 200, 201, 202, … (there"), "{found:?}");
    }
}
