//! The JSON of SQuAD 1 and 2: `data[].paragraphs[].qas[]`. A question is a row. A question without
//! answers is one that its context does not answer.

use super::encoding::read_text;
use super::raw::{Raw, RawColumn};
use super::{Count, Format, ReadOptions};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use serde::Deserialize;
use std::path::Path;

pub const SQUAD: Format = Format {
    name: "squad",
    extensions: &[],
    about: "the JSON of SQuAD 1 and 2; a `.json` file laid out like it is recognised",
    text: true,
    read: |path, name, options, limit| {
        parse(&read_text(path, name, options.encoding)?, name, limit)
    },
    peek,
};

/// How much of a file is looked at to recognise it.
const HEAD: usize = 64 << 10;

/// Whether a JSON text is laid out as SQuAD: one object with lists `data` and `paragraphs`.
pub(super) fn is_squad(text: &str) -> bool {
    let text = text.trim_start();
    let mut end = text.len().min(HEAD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    let has_list = |key: &str| {
        head.match_indices(key).any(|(at, _)| {
            let rest = head[at + key.len()..].trim_start().strip_prefix(':');
            rest.is_some_and(|rest| rest.trim_start().starts_with('['))
        })
    };
    head.starts_with('{') && has_list("\"data\"") && has_list("\"paragraphs\"")
}

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    title: Option<String>,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: Id,
    question: String,
    answers: Option<Vec<Answer>>,
    #[serde(default)]
    is_impossible: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    answer_start: i64,
}

/// JSON in one line can only be read whole.
pub(super) fn peek(
    path: &Path,
    name: &str,
    options: &ReadOptions,
    limit: usize,
) -> Result<(Raw, Count)> {
    let all = parse_file(&read_text(path, name, options.encoding)?, name)?;
    let questions = |article: &Article| -> usize {
        article.paragraphs.iter().map(|paragraph| paragraph.qas.len()).sum()
    };
    let rows = all.data.iter().map(questions).sum::<usize>() as u64;
    Ok((table(all, limit), Count::Exactly(rows)))
}

pub(super) fn parse(text: &str, name: &str, limit: Option<usize>) -> Result<Raw> {
    Ok(table(parse_file(text, name)?, limit.unwrap_or(usize::MAX)))
}

fn parse_file(text: &str, name: &str) -> Result<File> {
    serde_json::from_str(text).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        DataError::new(
            Fault::Row,
            format!("not laid out as SQuAD: {text}, column {}", error.column()),
        )
        .file(name)
        .line(error.line() as u64)
        .help("rows that are objects of their own are read with `format = jsonl`")
    })
}

fn table(file: File, limit: usize) -> Raw {
    let (mut ids, mut titles, mut questions, mut contexts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut answers, mut starts) = (Vec::new(), Vec::new());
    let mut known = false;
    'all: for article in file.data {
        for paragraph in article.paragraphs {
            for question in paragraph.qas {
                if ids.len() >= limit {
                    break 'all;
                }
                ids.push(Some(match question.id {
                    Id::Text(text) => text,
                    Id::Number(number) => number.to_string(),
                }));
                titles.push(article.title.clone());
                questions.push(Some(question.question));
                contexts.push(Some(paragraph.context.clone()));
                let given = match question.answers {
                    _ if question.is_impossible => Some(Vec::new()),
                    given => given,
                };
                known |= given.is_some();
                let (texts, places): (Vec<String>, Vec<i64>) = given
                    .iter()
                    .flatten()
                    .map(|answer| (answer.text.clone(), answer.answer_start))
                    .unzip();
                starts.push(given.as_ref().map(|_| places));
                answers.push(given.map(|_| texts));
            }
        }
    }
    let lines = (1..=ids.len() as u32).collect();
    let mut names = vec!["id", "question", "context"];
    let mut columns =
        vec![ColumnData::Text(ids), ColumnData::Text(questions), ColumnData::Text(contexts)];
    // Test sets are published without answers.
    if known || answers.is_empty() {
        names.extend(["answers", "answer_starts"]);
        columns.extend([ColumnData::Texts(answers), ColumnData::Ints(starts)]);
    }
    names.push("title");
    columns.push(ColumnData::Text(titles));
    Raw {
        names: names.into_iter().map(str::to_string).collect(),
        columns: columns.into_iter().map(RawColumn::Typed).collect(),
        lines,
        ..Raw::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"version": "v2.0", "data": [{"title": "A", "paragraphs": [
        {"context": "é: it is so.", "qas": [
            {"id": "q1", "question": "Is it?", "is_impossible": false,
             "answers": [{"text": "so", "answer_start": 9}]},
            {"id": 2, "question": "Why?", "is_impossible": true, "answers": [], "plausible_answers": []}
        ]}]}]}"#;

    #[test]
    fn questions_are_rows() {
        assert!(is_squad(TEXT));
        let raw = parse(TEXT, "f", None).unwrap();
        assert_eq!(raw.names, ["id", "question", "context", "answers", "answer_starts", "title"]);
        assert_eq!(raw.rows(), 2);
        let RawColumn::Typed(ColumnData::Texts(answers)) = &raw.columns[3] else { panic!() };
        assert_eq!(*answers, [Some(vec!["so".to_string()]), Some(vec![])]);
        assert_eq!(parse(TEXT, "f", Some(1)).unwrap().rows(), 1);
    }

    #[test]
    fn other_json_is_not_squad_and_a_fault_names_its_line() {
        assert!(!is_squad("{\"data\": \"paragraphs\"}\n{\"data\": \"x\"}\n"));
        assert!(!is_squad("[{\"data\": [], \"paragraphs\": []}]"));
        let error = parse("{\"data\": [\n{\"title\": \"x\"}]}", "f", None).err().unwrap();
        assert_eq!(error.line, Some(2));
        assert!(error.message.contains("missing field `paragraphs`"), "{error}");
    }
}
