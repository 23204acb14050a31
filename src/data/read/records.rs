//! Rows that are more than texts: words with their tags, a question with its answers, choices.
//! Columns become lists here, and lists that belong together are held against each other.

use super::Missing;
use super::cells::shown;
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use serde_json::Value;

/// Roles that hold lists.
pub(super) const LIST_ROLES: &[&str] = &["words", "tags", "answers", "answer_starts", "choices"];

/// A table's columns on their way.
type Columns = [(String, ColumnData)];

/// A fault of one row.
type InRow<T> = Result<T, (usize, DataError)>;

fn row_fault(message: impl Into<String>) -> DataError {
    DataError::new(Fault::Row, message)
}

fn find<'a>(columns: &'a Columns, name: &str) -> Option<&'a ColumnData> {
    columns.iter().find(|(found, _)| found == name).map(|(_, data)| data)
}

/// Makes a column fit a role that holds lists. `answers` may bring their places, which are a column
/// `answer_starts` then.
pub(super) fn as_list(
    name: &str,
    data: ColumnData,
) -> Result<(ColumnData, Option<ColumnData>), (Option<usize>, DataError)> {
    let lists = match (name, data) {
        (_, ColumnData::Text(values)) if values.iter().all(Option::is_none) => {
            ColumnData::Texts(vec![None; values.len()])
        }
        ("answers", ColumnData::Text(values)) => {
            return split_answers(values).map_err(|(row, error)| (Some(row), error));
        }
        ("answer_starts", ColumnData::Int(values)) => {
            let one = |value: Option<i64>| value.map(|value| vec![value]);
            ColumnData::Ints(values.into_iter().map(one).collect())
        }
        // Numbers of tags get their names later.
        ("answer_starts" | "tags", data @ ColumnData::Ints(_)) => data,
        ("words" | "answers" | "choices", ColumnData::Ints(values)) => {
            ColumnData::Texts(values.into_iter().map(|list| list.map(shown_all)).collect())
        }
        ("words" | "tags" | "answers" | "choices", data @ ColumnData::Texts(_)) => data,
        (_, other) => {
            let wanted = if name == "answer_starts" { "whole numbers" } else { "texts" };
            let error = DataError::new(
                Fault::Column,
                format!("column `{name}` holds {}, not lists of {wanted}", other.column_type()),
            )
            .subject(name);
            let error = match name {
                "words" | "tags" => error.help(
                    "lists stand in JSON lines, parquet and arrow; `format = conll` reads a word a line",
                ),
                "choices" => error.help(
                    "choices that are columns of their own are listed: `choices = [\"ending0\", \"ending1\"]`",
                ),
                _ => error,
            };
            return Err((None, error));
        }
    };
    // A sentence without a word has nothing to learn from: it counts as missing.
    Ok(match lists {
        ColumnData::Texts(rows) if name == "words" => {
            let filled = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
            (ColumnData::Texts(rows.into_iter().map(filled).collect()), None)
        }
        lists => (lists, None),
    })
}

fn shown_all(numbers: Vec<i64>) -> Vec<String> {
    numbers.iter().map(i64::to_string).collect()
}

/// Tags that are numbers get these numbers as names.
pub(super) fn tags_as_texts(data: ColumnData) -> ColumnData {
    match data {
        ColumnData::Ints(values) => {
            ColumnData::Texts(values.into_iter().map(|list| list.map(shown_all)).collect())
        }
        other => other,
    }
}

/// Several columns whose values are a list together, `[columns][rows]`. What is missing at the end
/// makes a list shorter; what is missing elsewhere, or everywhere, leaves a row without a list.
pub(super) fn together(columns: &[Vec<Option<String>>]) -> ColumnData {
    let rows = columns.first().map_or(0, Vec::len);
    let list = |row: usize| {
        let cells = columns.iter().map(|column| column.get(row).and_then(Option::as_ref));
        let mut cells: Vec<Option<&String>> = cells.collect();
        while cells.last().is_some_and(Option::is_none) {
            cells.pop();
        }
        let list: Option<Vec<String>> = cells.into_iter().map(Option::<&String>::cloned).collect();
        list.filter(|list| !list.is_empty())
    };
    ColumnData::Texts((0..rows).map(list).collect())
}

/// Answers of one cell: a text, or the JSON that Hugging Face's tables have,
/// `{"text": […], "answer_start": […]}`.
fn split_answers(values: Vec<Option<String>>) -> InRow<(ColumnData, Option<ColumnData>)> {
    let mut texts = Vec::with_capacity(values.len());
    let mut starts = Vec::with_capacity(values.len());
    for (row, value) in values.into_iter().enumerate() {
        let Some(value) = value else {
            texts.push(None);
            starts.push(None);
            continue;
        };
        let json = value.trim_start().starts_with(['{', '[']);
        let json: Option<Value> = json.then(|| serde_json::from_str(&value).ok()).flatten();
        let (text, start) = match json {
            None => (vec![value], None),
            Some(json) => answers_of(&json).ok_or_else(|| {
                let error = row_fault("`answers` is neither a text nor of the form `{\"text\": […], \"answer_start\": […]}`");
                (row, error)
            })?,
        };
        texts.push(Some(text));
        starts.push(start);
    }
    let known = starts.iter().any(Option::is_some);
    Ok((ColumnData::Texts(texts), known.then_some(ColumnData::Ints(starts))))
}

fn answers_of(json: &Value) -> Option<(Vec<String>, Option<Vec<i64>>)> {
    let many = |value: &Value| match value {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    let text = |value: Value| value.as_str().map(str::to_string);
    match json {
        Value::Object(fields) => {
            let texts = many(fields.get("text")?).into_iter().map(text).collect::<Option<_>>()?;
            let starts = match fields.get("answer_start") {
                Some(starts) => {
                    Some(many(starts).iter().map(Value::as_i64).collect::<Option<_>>()?)
                }
                None => None,
            };
            Some((texts, starts))
        }
        Value::Array(all) if all.iter().all(Value::is_object) => {
            let field = |name: &str| all.iter().map(|one| one.get(name).cloned()).collect();
            let texts: Option<Vec<Value>> = field("text");
            let starts: Option<Vec<Value>> = field("answer_start");
            let texts = texts?.into_iter().map(text).collect::<Option<_>>()?;
            let starts = starts.and_then(|starts| starts.iter().map(Value::as_i64).collect());
            Some((texts, starts))
        }
        Value::Array(all) => Some((all.iter().cloned().map(text).collect::<Option<_>>()?, None)),
        _ => None,
    }
}

/// Whether every word has a tag.
pub(super) fn check_tags(columns: &Columns) -> InRow<()> {
    let (Some(ColumnData::Texts(words)), Some(tags)) =
        (find(columns, "words"), find(columns, "tags"))
    else {
        return Ok(());
    };
    let length = |row: usize| match tags {
        ColumnData::Texts(lists) => lists.get(row).and_then(Option::as_ref).map(Vec::len),
        ColumnData::Ints(lists) => lists.get(row).and_then(Option::as_ref).map(Vec::len),
        _ => None,
    };
    for (row, words) in words.iter().enumerate() {
        let (Some(words), Some(tags)) = (words, length(row)) else { continue };
        if words.len() != tags {
            let error = row_fault(format!("the row has {} `words` and {tags} `tags`", words.len()))
                .help("every word has one tag; `O` is the tag of words outside entities");
            return Err((row, error));
        }
    }
    Ok(())
}

/// Finds where answers stand in their contexts and keeps the places, counted in characters, as
/// `answer_starts`. Says how many stood elsewhere than was said.
///
/// # Errors
/// An answer that is not in its context, or that occurs more than once and not where it should;
/// under `Missing::Drop` such a row loses its answers, and so is left out.
pub(super) fn place_answers(
    columns: &mut Vec<(String, ColumnData)>,
    missing: Missing,
) -> InRow<u64> {
    let (Some(ColumnData::Texts(answers)), Some(ColumnData::Text(contexts))) =
        (find(columns, "answers"), find(columns, "context"))
    else {
        return Ok(0);
    };
    let given: Vec<Option<Vec<i64>>> = match find(columns, "answer_starts") {
        Some(ColumnData::Ints(starts)) => starts.clone(),
        _ => vec![None; answers.len()],
    };
    let (mut answers, mut starts) = (answers.clone(), Vec::with_capacity(answers.len()));
    let mut moved = 0;
    for (row, (texts, context)) in answers.iter_mut().zip(contexts).enumerate() {
        let found = match (texts.as_ref(), context) {
            (None, _) => Ok(None),
            (Some(_), None) if missing != Missing::Keep => Ok(None),
            (Some(texts), context) => {
                place_all(context.as_deref().unwrap_or(""), texts, given[row].as_deref()).map(Some)
            }
        };
        match found {
            Ok(Some((kept, places, elsewhere))) => {
                *texts = Some(kept);
                starts.push(Some(places));
                moved += elsewhere;
            }
            Ok(None) => starts.push(None),
            Err(_) if missing == Missing::Drop => {
                *texts = None;
                starts.push(None);
            }
            Err(error) => return Err((row, error)),
        }
    }
    columns.retain(|(name, _)| name != "answer_starts");
    for (name, data) in columns.iter_mut() {
        if name == "answers" {
            *data = ColumnData::Texts(std::mem::take(&mut answers));
        }
    }
    columns.push(("answer_starts".to_string(), ColumnData::Ints(starts)));
    Ok(moved)
}

/// The answers that are not blank, where they stand, and how many of them stood elsewhere.
fn place_all(
    context: &str,
    texts: &[String],
    given: Option<&[i64]>,
) -> Result<(Vec<String>, Vec<i64>, u64)> {
    if let Some(given) = given
        && given.len() != texts.len()
    {
        return Err(row_fault(format!(
            "the row has {} `answers` and {} `answer_starts`",
            texts.len(),
            given.len()
        )));
    }
    let (mut kept, mut places, mut moved) = (Vec::new(), Vec::new(), 0);
    for (at, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let start = given.and_then(|given| given.get(at).copied());
        let place = place(context, text, start)?;
        moved += u64::from(start.is_some_and(|start| start != place));
        kept.push(text.clone());
        places.push(place);
    }
    Ok((kept, places, moved))
}

/// The character at which an answer begins: where it is said to, else where it occurs, if it occurs
/// once.
fn place(context: &str, answer: &str, start: Option<i64>) -> Result<i64> {
    let stands_at = |start: i64| {
        let mut rest = context.chars();
        match usize::try_from(start) {
            Ok(0) => context.starts_with(answer),
            Ok(start) => rest.nth(start - 1).is_some() && rest.as_str().starts_with(answer),
            Err(_) => false,
        }
    };
    if let Some(start) = start.filter(|start| stands_at(*start)) {
        return Ok(start);
    }
    let mut shown: String = answer.chars().take(40).collect();
    if shown.len() < answer.len() {
        shown.push('…');
    }
    let mut found = context.match_indices(answer);
    let error = match (found.next(), found.next(), start) {
        (Some((at, _)), None, _) => return Ok(context[..at].chars().count() as i64),
        (None, ..) => row_fault(format!("the answer `{shown}` does not occur in the context")),
        (_, _, Some(start)) => row_fault(format!(
            "the answer `{shown}` does not begin at character {start} of the context, and occurs several times"
        )),
        (_, _, None) => row_fault(format!(
            "the answer `{shown}` occurs several times in the context, and nothing says which is meant"
        ))
        .help("`answer_starts` says at which character of the context an answer begins"),
    };
    Err(match error.help {
        Some(_) => error,
        None => error.help("`missing = drop` leaves such rows out"),
    })
}

/// The right choice of every row as its number, from a label that is a number (counted from 0), the
/// text of a choice, a letter, or one of the declared names (name k is choice k). A negative number
/// is no label.
pub(super) fn choose(columns: &mut Columns, names: Option<&[String]>) -> InRow<usize> {
    let Some(ColumnData::Texts(choices)) = find(columns, "choices") else { return Ok(0) };
    let choices = choices.clone();
    let count = |row: usize| choices[row].as_ref().map_or(0, Vec::len);
    for (row, list) in choices.iter().enumerate() {
        if list.as_ref().is_some_and(|list| list.len() < 2) {
            let found = count(row);
            let plural = if found == 1 { "choice" } else { "choices" };
            return Err((
                row,
                row_fault(format!("the row has {found} {plural}, one cannot choose")),
            ));
        }
    }
    let most = (0..choices.len()).map(count).max().unwrap_or(0);
    let Some((_, label)) = columns.iter_mut().find(|(name, _)| name == "label") else {
        return Ok(most);
    };
    let cells: Vec<Option<String>> = match label {
        ColumnData::Text(values) => values.clone(),
        ColumnData::Int(values) => shown(values.clone()),
        ColumnData::Bool(values) => shown(values.clone()),
        other => {
            let error = DataError::new(
                Fault::Label,
                format!("the label column holds {}, which names no choice", other.column_type()),
            )
            .help("the label of choices is a number counted from 0, a letter, or the text of a choice");
            return Err((0, error));
        }
    };
    let mut chosen = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        chosen.push(match (cell, &choices[row]) {
            (Some(cell), Some(list)) => {
                choice(cell.trim(), list, names).map_err(|error| (row, error))?
            }
            _ => None,
        });
    }
    *label = ColumnData::Int(chosen);
    Ok(most)
}

fn choice(label: &str, choices: &[String], names: Option<&[String]>) -> Result<Option<i64>> {
    let letter = || match label.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        [letter @ b'a'..=b'z'] => Some(usize::from(letter - b'a')),
        _ => None,
    };
    let by_text = || choices.iter().position(|choice| choice.trim() == label);
    let number = match (names, label.parse::<i64>()) {
        (Some(names), _) => names.iter().position(|name| name == label),
        (None, Ok(negative)) if negative < 0 => return Ok(None),
        (None, Ok(number)) => usize::try_from(number).ok(),
        (None, Err(_)) => by_text().or_else(letter),
    };
    match number.filter(|number| *number < choices.len()) {
        Some(number) => Ok(Some(number as i64)),
        None => Err(DataError::new(
            Fault::Label,
            format!("the label `{label}` names none of the row's {} choices", choices.len()),
        )
        .help(
            "it is a number counted from 0, a letter, or the text of a choice; `labels = [\"1\", \"2\"]` gives them other names",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lists: &[&[&str]]) -> ColumnData {
        let list = |list: &&[&str]| Some(list.iter().map(|text| text.to_string()).collect());
        ColumnData::Texts(lists.iter().map(list).collect())
    }

    fn text(values: &[&str]) -> ColumnData {
        ColumnData::Text(values.iter().map(|value| Some(value.to_string())).collect())
    }

    fn named(columns: Vec<(&str, ColumnData)>) -> Vec<(String, ColumnData)> {
        columns.into_iter().map(|(name, data)| (name.to_string(), data)).collect()
    }

    #[test]
    fn answers_of_every_form_are_lists() {
        let values = [
            r#"{"text": ["a", "b"], "answer_start": [0, 4]}"#,
            r#"[{"text": "a", "answer_start": 2}]"#,
            r#"{"text": [], "answer_start": []}"#,
            r#"["a"]"#,
            "[sic] plain",
        ];
        let (answers, starts) = as_list("answers", text(&values)).unwrap();
        assert_eq!(answers, texts(&[&["a", "b"], &["a"], &[], &["a"], &["[sic] plain"]]));
        let places = vec![Some(vec![0, 4]), Some(vec![2]), Some(vec![]), None, None];
        assert_eq!(starts, Some(ColumnData::Ints(places)));
        assert_eq!(as_list("answers", text(&["{\"x\": 1}"])).unwrap_err().0, Some(0));
        assert!(as_list("words", text(&["a b"])).unwrap_err().1.message.contains("holds text"));
    }

    #[test]
    fn answers_are_where_they_are_said_to_be_or_where_they_occur_once() {
        let context = "é, so it is so: the end";
        let place = |answer: &str, start| super::place(context, answer, start);
        assert_eq!(place("so", Some(3)), Ok(3));
        assert_eq!(place("so", Some(12)), Ok(12));
        assert!(place("so", Some(4)).unwrap_err().message.contains("several times"));
        assert!(place("so", None).unwrap_err().message.contains("which is meant"));
        assert_eq!(place("end", Some(0)), Ok(20));
        assert_eq!(place("é", Some(-1)), Ok(0));
        assert!(place("nowhere", Some(0)).unwrap_err().message.contains("does not occur"));

        let columns = || {
            named(vec![
                ("answers", texts(&[&["so"], &["end", " "], &["nowhere"]])),
                ("context", text(&[context; 3])),
                (
                    "answer_starts",
                    ColumnData::Ints(vec![Some(vec![3]), Some(vec![0, 0]), Some(vec![1])]),
                ),
            ])
        };
        assert_eq!(place_answers(&mut columns(), Missing::Error).unwrap_err().0, 2);
        let mut kept = columns();
        assert_eq!(place_answers(&mut kept, Missing::Drop), Ok(1));
        let starts = ColumnData::Ints(vec![Some(vec![3]), Some(vec![20]), None]);
        assert_eq!(find(&kept, "answer_starts"), Some(&starts));
        let Some(ColumnData::Texts(answers)) = find(&kept, "answers") else { panic!() };
        assert_eq!(answers[1..], [Some(vec!["end".to_string()]), None]);
    }

    #[test]
    fn labels_of_choices_are_numbers_letters_or_texts() {
        let list = ["red".to_string(), "green".to_string()];
        let choice = |label: &str| super::choice(label, &list, None);
        assert_eq!(choice("1"), Ok(Some(1)));
        assert_eq!(choice("-1"), Ok(None));
        assert_eq!(choice("green"), Ok(Some(1)));
        assert_eq!(choice("B"), Ok(Some(1)));
        assert_eq!(choice("a"), Ok(Some(0)));
        assert!(choice("2").is_err());
        assert!(choice("blue").is_err());
        let names = ["1".to_string(), "2".to_string()];
        assert_eq!(super::choice("2", &list, Some(&names)), Ok(Some(1)));
        assert!(super::choice("0", &list, Some(&names)).is_err());
    }

    #[test]
    fn choices_may_stand_in_columns_of_their_own() {
        let cells = |values: &[&str]| -> Vec<Option<String>> {
            values.iter().map(|value| (*value != "-").then(|| value.to_string())).collect()
        };
        let lists = together(&[cells(&["a", "b", "-"]), cells(&["c", "-", "d"])]);
        let ColumnData::Texts(lists) = lists else { panic!() };
        assert_eq!(lists[0].as_deref(), Some(&["a".to_string(), "c".to_string()][..]));
        assert_eq!(lists[1].as_deref(), Some(&["b".to_string()][..]));
        assert_eq!(lists[2], None);
    }

    #[test]
    fn every_word_has_a_tag() {
        let mut columns = named(vec![
            ("words", texts(&[&["a", "b"], &["c"]])),
            ("tags", texts(&[&["O", "O"], &["O", "O"]])),
        ]);
        let (row, error) = check_tags(&columns).unwrap_err();
        assert_eq!((row, error.message.as_str()), (1, "the row has 1 `words` and 2 `tags`"));
        columns[1].1 = ColumnData::Ints(vec![Some(vec![0, 1]), Some(vec![2])]);
        assert!(check_tags(&columns).is_ok());
        assert_eq!(tags_as_texts(columns[1].1.clone()), texts(&[&["0", "1"], &["2"]]));
    }
}
