//! Copies of texts that are changed a little, word by word. Every draw is addressed by copy, column,
//! row and word, so that it depends neither on threads nor on what other rows hold.
//!
//! Source of the ways to change a text: Wei, Zou, "EDA: Easy Data Augmentation Techniques for
//! Boosting Performance on Text Classification Tasks" (2019).

use super::column::ColumnData;
use super::error::{DataError, Fault, Result};
use super::read::{Encoding, read_text};
use super::table::Table;
use crate::base::random::{Purpose, Stream};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Words and what may stand for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synonyms(HashMap<String, Vec<String>>);

/// How a text is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Augmentation {
    /// Each word goes with this probability; one word stays.
    WordDropout(f64),
    /// Two words change places, as often as this share of the words, at least once.
    Swap(f64),
    /// Each word that has synonyms becomes one of them with this probability.
    Synonyms(Arc<Synonyms>, f64),
}

/// Changed copies of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Augment {
    pub how: Augmentation,
    /// Text columns that are changed; the others are copied.
    pub columns: Vec<String>,
    pub copies: usize,
    /// Whether the row itself stays, before its copies.
    pub originals: bool,
    pub seed: u64,
}

/// Reads a table of synonyms: on each line a word and, behind tabs, what may stand for it. Empty
/// lines and lines that begin with `#` are left out; of a word that occurs twice all count.
pub fn read_synonyms(path: &Path) -> Result<Synonyms> {
    let text = read_text(path, &path.display().to_string(), Encoding::Utf8)?;
    let mut synonyms = Synonyms::default();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split('\t').map(str::trim).filter(|field| !field.is_empty());
        let word = fields.next().unwrap_or_default().to_lowercase();
        let others: Vec<String> = fields.map(str::to_string).collect();
        if others.is_empty() || word.contains(char::is_whitespace) {
            let message = match others.is_empty() {
                true => format!("`{word}` has no synonym on its line"),
                false => format!("`{word}` is more than one word"),
            };
            return Err(DataError::new(Fault::Row, message)
                .file(path)
                .line(at as u64 + 1)
                .help("a line is a word, a tab, and its synonyms, separated by tabs"));
        }
        synonyms.0.entry(word).or_default().extend(others);
    }
    if synonyms.0.is_empty() {
        return Err(DataError::new(Fault::Format, "the file holds no synonyms").file(path));
    }
    Ok(synonyms)
}

impl Augment {
    /// Every row and its copies, in the order of the rows.
    pub fn apply(&self, table: &Table) -> Result<Table> {
        let kept = usize::from(self.originals);
        let each = kept + self.copies;
        let rows: Vec<u32> =
            (0..table.rows() as u32).flat_map(|row| std::iter::repeat_n(row, each)).collect();
        let mut made = table.take(&rows)?;
        for (number, name) in self.columns.iter().enumerate() {
            let texts = match table.column(name)? {
                ColumnData::Text(texts) => texts,
                other => {
                    let message =
                        format!("column `{name}` holds {}, not text", other.column_type());
                    return Err(DataError::new(Fault::Operation, message).subject(name));
                }
            };
            let mut changed = Vec::with_capacity(rows.len());
            for (row, text) in texts.into_iter().enumerate() {
                let copy = |copy: usize| {
                    let draws = Draws::of(self.seed, &self.how, number, copy, row);
                    text.as_deref().map(|text| self.how.change(text, &draws))
                };
                let copies: Vec<Option<String>> = (0..self.copies).map(copy).collect();
                changed.extend(std::iter::repeat_n(text.clone(), kept).chain(copies));
            }
            made.set_column(name, ColumnData::Text(changed))?;
        }
        Ok(made)
    }
}

/// The draws for one copy of one text.
struct Draws {
    stream: Stream,
    copy: u64,
    row: u64,
}

impl Draws {
    fn of(seed: u64, how: &Augmentation, column: usize, copy: usize, row: usize) -> Self {
        let way = match how {
            Augmentation::WordDropout(_) => 0,
            Augmentation::Swap(_) => 1,
            Augmentation::Synonyms(..) => 2,
        };
        let stream = Stream::new(seed, Purpose::Augment);
        let copy = (way << 40) | ((column as u64 & 0xFF) << 32) | copy as u64;
        Self { stream, copy, row: (row as u64) << 32 }
    }

    fn uniform(&self, draw: usize) -> f64 {
        self.stream.uniform_f64(self.copy, self.row | draw as u64)
    }

    fn below(&self, bound: usize, draw: usize) -> usize {
        self.stream.below(bound as u64, self.copy, self.row | draw as u64) as usize
    }
}

impl Augmentation {
    /// The text with its words changed; blanks between words become single ones.
    fn change(&self, text: &str, draws: &Draws) -> String {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return text.to_string();
        }
        match self {
            Augmentation::WordDropout(share) => {
                let kept: Vec<&str> = words
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| draws.uniform(*at) >= *share)
                    .map(|(_, word)| *word)
                    .collect();
                if kept.is_empty() {
                    return words[draws.below(words.len(), words.len())].to_string();
                }
                kept.join(" ")
            }
            Augmentation::Swap(share) => {
                let count = words.len();
                if count > 1 {
                    let times = ((share * count as f64).round() as usize).max(1);
                    for time in 0..times {
                        let one = draws.below(count, 2 * time);
                        // Another place than the first.
                        let two = draws.below(count - 1, 2 * time + 1);
                        words.swap(one, two + usize::from(two >= one));
                    }
                }
                words.join(" ")
            }
            Augmentation::Synonyms(synonyms, share) => {
                let replaced = words.iter().enumerate().map(|(at, word)| {
                    if draws.uniform(2 * at) >= *share {
                        return (*word).to_string();
                    }
                    synonyms.replace(word, |count| draws.below(count, 2 * at + 1))
                });
                replaced.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

impl Synonyms {
    /// One of the word's synonyms, between the marks that surround it and with its capital letter;
    /// the word itself if it has none.
    fn replace(&self, word: &str, pick: impl FnOnce(usize) -> usize) -> String {
        let core = word.trim_matches(|sign: char| !sign.is_alphanumeric());
        let found = self.0.get(&core.to_lowercase());
        let Some(chosen) = found.and_then(|all| all.get(pick(all.len()))) else {
            return word.to_string();
        };
        let start = word.find(core).unwrap_or(0);
        let mut letters = chosen.chars();
        let capital = core.chars().next().is_some_and(char::is_uppercase);
        let chosen = match letters.next().filter(|_| capital) {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => chosen.clone(),
        };
        format!("{}{chosen}{}", &word[..start], &word[start + core.len()..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: usize = 20;

    fn table(rows: usize) -> Table {
        let text = |row: usize| (0..WORDS).map(|word| format!("w{row}_{word}")).collect::<Vec<_>>();
        Table::from_columns(vec![
            (
                "text".into(),
                ColumnData::Text((0..rows).map(|row| Some(text(row).join(" "))).collect()),
            ),
            ("id".into(), ColumnData::Int((0..rows as i64).map(Some).collect())),
        ])
        .unwrap()
    }

    fn augment(how: Augmentation) -> Augment {
        Augment { how, columns: vec!["text".into()], copies: 2, originals: true, seed: 3 }
    }

    fn synonyms(lines: &str) -> Result<Synonyms> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("synonyms.tsv");
        std::fs::write(&path, lines).unwrap();
        read_synonyms(&path)
    }

    /// The texts of a table's rows, `each` at a time.
    fn groups(table: &Table, each: usize) -> Vec<Vec<String>> {
        table.texts("text").unwrap().chunks(each).map(<[String]>::to_vec).collect()
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut words: Vec<&str> = text.split(' ').collect();
        words.sort();
        words
    }

    #[test]
    fn copies_stand_behind_their_row_and_depend_on_the_seed_alone() {
        let table = table(50);
        let ways = [
            Augmentation::WordDropout(0.3),
            Augmentation::Swap(0.3),
            Augmentation::Synonyms(synonyms("w3_4\tother").unwrap().into(), 0.5),
        ];
        for how in ways {
            let made = augment(how.clone()).apply(&table).unwrap();
            let ids: Vec<String> = (0..150).map(|row| (row / 3).to_string()).collect();
            assert_eq!(made.ids(), ids);
            let before = table.texts("text").unwrap();
            for (group, before) in groups(&made, 3).iter().zip(&before) {
                assert_eq!(&group[0], before);
            }
            let again = augment(how.clone()).apply(&table).unwrap();
            assert_eq!(again.digest().unwrap(), made.digest().unwrap());
            // What a row becomes does not depend on the rows behind it.
            let head = augment(how.clone()).apply(&table.take(&[0, 1, 2]).unwrap()).unwrap();
            assert_eq!(groups(&head, 3), groups(&made, 3)[..3]);
            let copies = Augment { originals: false, ..augment(how.clone()) };
            let expected: Vec<Vec<String>> =
                groups(&made, 3).into_iter().map(|group| group[1..].to_vec()).collect();
            assert_eq!(groups(&copies.apply(&table).unwrap(), 2), expected);
        }
    }

    /// Binomial: 50 rows, 2 copies, 20 words: the deviation of the share is √(0.3 · 0.7 / 2000).
    #[test]
    fn words_are_dropped_as_often_as_said_and_one_stays() {
        let table = table(50);
        let made = augment(Augmentation::WordDropout(0.3)).apply(&table).unwrap();
        let mut kept = 0;
        for group in groups(&made, 3) {
            let whole: Vec<&str> = group[0].split(' ').collect();
            assert_ne!(group[1], group[2]);
            for copy in &group[1..] {
                let words: Vec<&str> = copy.split(' ').collect();
                let mut rest = whole.iter();
                assert!(words.iter().all(|word| rest.any(|other| other == word)), "the order");
                kept += words.len();
            }
        }
        let share = kept as f64 / (2 * 50 * WORDS) as f64;
        assert!((share - 0.7).abs() < 4.0 * (0.21 / 2000.0f64).sqrt(), "{share}");
        let all = augment(Augmentation::WordDropout(1.0)).apply(&table).unwrap();
        assert!(
            groups(&all, 3).iter().flat_map(|group| &group[1..]).all(|text| !text.contains(' '))
        );
    }

    #[test]
    fn swapped_words_are_the_same_words() {
        let made = augment(Augmentation::Swap(0.1)).apply(&table(20)).unwrap();
        for group in groups(&made, 3) {
            for copy in &group[1..] {
                assert_eq!(sorted(copy), sorted(&group[0]));
                let moved =
                    copy.split(' ').zip(group[0].split(' ')).filter(|(a, b)| a != b).count();
                // Two swaps of two words each; the second may undo the first or move a word on.
                assert!([0, 2, 3, 4].contains(&moved), "{moved}");
            }
        }
    }

    #[test]
    fn synonyms_keep_capitals_and_marks() {
        let synonyms: Arc<Synonyms> =
            synonyms("# comment\n\ngood\tfine\tdecent\nfilm\tmotion picture\n").unwrap().into();
        let how = Augmentation::Synonyms(synonyms, 1.0);
        let draws = Draws::of(0, &how, 0, 0, 0);
        let changed = how.change("A Good (film), isn't it?", &draws);
        let expected =
            ["Fine", "Decent"].map(|good| format!("A {good} (motion picture), isn't it?"));
        assert!(expected.contains(&changed), "{changed}");
        assert_eq!(how.change("", &draws), "");
        assert_eq!(how.change("...", &draws), "...");
    }

    #[test]
    fn a_line_without_synonyms_is_named() {
        let error = synonyms("good\tfine\nbad\n").unwrap_err();
        assert_eq!((error.fault, error.line), (Fault::Row, Some(2)));
        assert!(synonyms("two words\tone\n").unwrap_err().message.contains("more than one word"));
        assert_eq!(synonyms("# nothing\n").unwrap_err().fault, Fault::Format);
    }
}
