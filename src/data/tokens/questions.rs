//! Questions with the contexts that hold their answers. A context that is too long is cut, or becomes
//! several rows that overlap, each with the whole question.

use std::collections::HashMap;

use rayon::prelude::*;

use super::collect::{Collector, Fate, Meaning};
use super::words::{whole, windows};
use super::{Contexts, Overflow, Parts, Tokenization, Tokens};
use crate::data::column::ColumnData;
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::{IGNORED, Labels, Targets};
use crate::data::tokenizer::Pieces;
use crate::data::{Table, Tokenizer};

/// Tokenizes the columns `question` and `context` as pairs. Targets are the tokens of the first of
/// the `answers`, where the table has them; of a row that does not hold the whole answer, and of
/// questions without one, the token for no answer: the class token, or the first where the
/// tokenizer has none. Source: transformers, `run_qa.py`.
///
/// # Errors
/// A row that is too long where `overflow` is `Error`; a question that leaves no room for its
/// context; an answer that is not where `answer_starts` says.
pub(super) fn collect(table: &Table, tokenizer: &Tokenizer, how: Tokenization) -> Result<Tokens> {
    let (questions, contexts) = (table.texts("question")?, table.texts("context")?);
    let truth = truth(table, &contexts)?;
    // Many questions share a context: it is kept and tokenized once.
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut first_rows = Vec::new();
    let mut context_of = Vec::with_capacity(contexts.len());
    for (row, context) in contexts.iter().enumerate() {
        context_of.push(*known.entry(context).or_insert_with(|| {
            first_rows.push(row);
            first_rows.len() - 1
        }));
    }
    let encode = |row: usize, text: &str| {
        tokenizer.encode_pieces(text).map_err(|error| table.at(row, error))
    };
    let texts: Vec<Pieces> =
        first_rows.par_iter().map(|row| encode(*row, &contexts[*row])).collect::<Result<_>>()?;
    // transformers takes blanks before a question away, which would fill the row with nothing.
    let asked: Vec<Pieces> = questions
        .par_iter()
        .enumerate()
        .map(|(row, question)| encode(row, question.trim_start()))
        .collect::<Result<_>>()?;

    let special = tokenizer.special_tokens(true);
    let class = tokenizer.special_ids().class;
    let mut collector = Collector::new(table, tokenizer, how);
    let mut lost = 0;
    let mut parts = Contexts { answered: truth.is_some(), ..Contexts::default() };
    let mut spans = Vec::new();
    let all_ids = table.ids();
    for (row, question) in asked.iter().enumerate() {
        let Some(context) = texts.get(context_of[row]) else { continue };
        let (own, count) = (question.ids.len() + special, context.ids.len());
        let room = how.max_length.saturating_sub(own);
        let no_room = || table.at(row, no_room(question.ids.len(), room, how));
        let windows = match collector.fate(row, own + count)? {
            Fate::Whole => whole(count),
            Fate::Dropped => continue,
            Fate::Cut if room > 0 => whole(room),
            Fate::Several(overlap) if room > overlap => windows(count, room, overlap),
            Fate::Cut | Fate::Several(_) => return Err(no_room()),
        };
        let answer = truth.as_ref().and_then(|truth| truth.get(row)?.as_ref());
        let mut held = false;
        for window in windows {
            let inner = context.spans.get(window.clone()).unwrap_or_default();
            let framed = tokenizer
                .frame(&question.ids, Some(context.ids.get(window.clone()).unwrap_or_default()))?;
            collector.push(&framed.ids, &framed.type_ids);
            parts.spans.extend((0..framed.ids.len()).map(|place| {
                place.checked_sub(framed.second).and_then(|place| inner.get(place).copied())
            }));
            let none = framed.ids.iter().position(|id| Some(*id) == class).unwrap_or(0);
            spans.push(match answer.map(|answer| answer.first) {
                None => [IGNORED; 2],
                Some(first) => match first.and_then(|first| tokens_of(inner, first)) {
                    None => [none as i64; 2],
                    Some((first, last)) => {
                        held = true;
                        [first, last].map(|place| (framed.second + place) as i64)
                    }
                },
            });
            parts.no_answer.push(none);
            parts.questions.push(parts.question_ids.len());
            collector.end_row(row);
        }
        lost += usize::from(!held && answer.is_some_and(|answer| answer.first.is_some()));
        parts.question_ids.push(all_ids.get(row).cloned().unwrap_or_default());
        parts.contexts.push(context_of[row]);
        parts.answers.push(answer.map(|answer| answer.all.clone()).unwrap_or_default());
    }
    collector.report.lost_answers = Some(lost);
    parts.texts = first_rows.iter().map(|row| contexts[*row].clone()).collect();
    let (targets, labels) = match parts.answered {
        true => (Targets::Spans(spans), Labels::Answers),
        false => (Targets::None, Labels::Unknown),
    };
    let parts = Parts::Contexts(parts);
    Ok(collector.tokens(Meaning { targets, labels, pair: true, several: false, parts }))
}

/// What is known of a question.
struct Answers {
    all: Vec<String>,
    /// Where the first stands in the context, in bytes; none where there is no answer.
    first: Option<(u32, u32)>,
}

/// The answers of every question, none of which may be known; none where the table has no answers.
fn truth(table: &Table, contexts: &[String]) -> Result<Option<Vec<Option<Answers>>>> {
    if !table.has("answers") {
        return Ok(None);
    }
    let (ColumnData::Texts(answers), ColumnData::Ints(starts)) =
        (table.column("answers")?, table.column("answer_starts")?)
    else {
        let message = "`answers` and `answer_starts` hold no lists of texts and of places";
        return Err(DataError::new(Fault::Column, message).subject("answers"));
    };
    type Lists = (Option<Vec<String>>, Option<Vec<i64>>);
    let of_row = |(row, ((all, starts), context)): (usize, (Lists, &String))| {
        let Some(all) = all else { return Ok(None) };
        let start = starts.and_then(|starts| starts.first().copied());
        let first = match all.first() {
            None => None,
            Some(text) => Some(place(context, text, start).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                let message =
                    format!("the answer `{shown}` does not stand where `answer_starts` says");
                table
                    .at(row, DataError::new(Fault::Row, message))
                    .help("`load-data` finds the places of answers in their contexts")
            })?),
        };
        Ok(Some(Answers { all, first }))
    };
    let rows = answers.into_iter().zip(starts).zip(contexts).enumerate();
    rows.map(of_row).collect::<Result<_>>().map(Some)
}

/// The bytes of an answer that begins at a character of the context.
fn place(context: &str, answer: &str, start: Option<i64>) -> Option<(u32, u32)> {
    let start = usize::try_from(start?).ok()?;
    let mut places = context.char_indices().map(|(place, _)| place).chain([context.len()]);
    let from = places.nth(start)?;
    let stands = context.get(from..)?.starts_with(answer);
    let to = u32::try_from(from + answer.len()).ok()?;
    stands.then_some((u32::try_from(from).ok()?, to))
}

/// The first and the last of some tokens that an answer touches; none where these tokens do not hold
/// all of it.
fn tokens_of(spans: &[(u32, u32)], answer: (u32, u32)) -> Option<(usize, usize)> {
    let (first, last) = (spans.first()?, spans.last()?);
    if first.0 > answer.0 || last.1 < answer.1 {
        return None;
    }
    let start = spans.iter().take_while(|span| span.0 <= answer.0).count().checked_sub(1)?;
    let end = spans.len() - spans.iter().rev().take_while(|span| span.1 >= answer.1).count();
    // Several tokens may stand for one character.
    Some((start.min(end), start.max(end)))
}

fn no_room(question: usize, room: usize, how: Tokenization) -> DataError {
    let left = match how.overflow {
        Overflow::Stride(overlap) => {
            format!("{room} of its context, which are to overlap by {overlap}")
        }
        _ => "none of its context".to_string(),
    };
    let message = format!(
        "with max_length = {} the {question} tokens of the question leave room for {left}",
        how.max_length
    );
    DataError::new(Fault::Row, message)
        .help("a larger `max_length`, or `overflow = drop`, which leaves such rows out")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "é", "##e", "?"];
        Tokenizer::from_files(BTreeMap::from([("vocab.txt".into(), words.join("\n").into_bytes())]))
            .unwrap()
    }

    /// A question, its context, and the answers with their places.
    type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, i64)]);

    fn table(rows: &[Asked], answered: bool) -> Table {
        let text = |of: fn(&Asked) -> String| {
            ColumnData::Text(rows.iter().map(|row| Some(of(row))).collect())
        };
        let mut columns = vec![
            ("question".to_string(), text(|row| row.0.to_string())),
            ("context".to_string(), text(|row| row.1.to_string())),
        ];
        if answered {
            let answers =
                rows.iter().map(|row| Some(row.2.iter().map(|(a, _)| a.to_string()).collect()));
            let starts = rows.iter().map(|row| Some(row.2.iter().map(|(_, at)| *at).collect()));
            columns.push(("answers".to_string(), ColumnData::Texts(answers.collect())));
            columns.push(("answer_starts".to_string(), ColumnData::Ints(starts.collect())));
        }
        Table::from_columns(columns).unwrap()
    }

    fn made(table: &Table, max_length: usize, overflow: Overflow) -> Result<Tokens> {
        Tokens::of(table, &tokenizer(), Tokenization { max_length, overflow, separate: false })
    }

    fn contexts(tokens: &Tokens) -> &Contexts {
        let Parts::Contexts(contexts) = &tokens.parts else { panic!("questions") };
        contexts
    }

    /// `é` is one character of two bytes, and its `e` is bare in the vocabulary.
    #[test]
    fn answers_are_counted_in_characters_and_found_among_the_tokens() {
        let table = table(
            &[
                ("  a ?", "b éa c. d", &[("c", 5), ("d", 8)]),
                ("b", "b éa c. d", &[]),
                ("b", "d", &[("d", 0)]),
            ],
            true,
        );
        let tokens = made(&table, 20, Overflow::Error).unwrap();
        // [CLS] a ? [SEP] b éa c . d [SEP]: `éa` is unknown.
        assert_eq!(tokens.input_ids(0), [2, 4, 10, 3, 5, 1, 6, 1, 7, 3]);
        assert_eq!(tokens.token_type_ids(0), [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(tokens.targets, Targets::Spans(vec![[6, 6], [0, 0], [3, 3]]));
        let parts = contexts(&tokens);
        assert_eq!(parts.texts, ["b éa c. d", "d"]);
        assert_eq!(parts.contexts, [0, 0, 1]);
        assert_eq!(parts.answers[0], ["c", "d"]);
        assert_eq!(parts.spans[5], Some((2, 5)));
        assert_eq!((parts.spans[3], parts.spans[9]), (None, None));
        assert_eq!(tokens.report.lost_answers, Some(0));
    }

    #[test]
    fn long_contexts_become_rows_that_overlap_and_lose_no_answer_that_fits_one() {
        let table = table(&[("a", "a b c d a b c d", &[("d a", 6)])], true);
        // Room for 4 of 8 tokens, 1 of the row before: 0..4, 3..7, 6..8.
        let tokens = made(&table, 8, Overflow::Stride(1)).unwrap();
        assert_eq!(tokens.rows(), 3);
        assert_eq!(tokens.input_ids(1), [2, 4, 3, 7, 4, 5, 6, 3]);
        assert_eq!(tokens.targets, Targets::Spans(vec![[0, 0], [3, 4], [0, 0]]));
        assert_eq!(contexts(&tokens).questions, [0, 0, 0]);
        assert_eq!(tokens.report.lost_answers, Some(0));
        let cut = made(&table, 8, Overflow::Truncate).unwrap();
        assert_eq!((cut.rows(), cut.report.truncated, cut.report.lost_answers), (1, 1, Some(1)));
        assert_eq!(cut.targets, Targets::Spans(vec![[0, 0]]));
        let dropped = made(&table, 8, Overflow::Drop).unwrap();
        assert_eq!((dropped.rows(), dropped.report.dropped), (0, 1));
        let error = |overflow| made(&table, 5, overflow).unwrap_err().message;
        assert!(error(Overflow::Error).contains("12 tokens"));
        assert!(error(Overflow::Stride(1)).contains("room for 1 of its context"));
        let question = self::table(&[("a a a a", "a", &[])], true);
        let error = made(&question, 6, Overflow::Truncate).unwrap_err().message;
        assert!(error.contains("leave room for none"), "{error}");
    }

    #[test]
    fn what_is_asked_without_answers_has_no_targets_and_is_kept_exactly() {
        let rows: &[Asked] = &[("a", "b c d a b", &[]), ("b", "", &[])];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.safetensors");
        for answered in [false, true] {
            let tokens = made(&table(rows, answered), 8, Overflow::Stride(2)).unwrap();
            assert_eq!(tokens.targets == Targets::None, !answered);
            tokens.write(&path).unwrap();
            let again = Tokens::read(&path).unwrap();
            assert_eq!(again, tokens);
            assert_eq!(again.digest(), tokens.digest());
            assert_eq!(tokens.head(1).rows(), 1);
        }
    }

    #[test]
    fn an_answer_that_stands_elsewhere_is_an_error() {
        for (answer, start) in [("c", 0), ("c", 9), ("c", -1)] {
            let table = table(&[("a", "a b c", &[(answer, start)])], true);
            let error = made(&table, 20, Overflow::Error).unwrap_err();
            assert!(error.message.contains("does not stand"), "{error}");
        }
    }

    #[test]
    fn tokens_that_share_a_character_are_in_order() {
        let spans = [(0, 1), (1, 5), (1, 5), (5, 6)];
        assert_eq!(tokens_of(&spans, (1, 5)), Some((1, 2)));
        assert_eq!(tokens_of(&spans, (0, 6)), Some((0, 3)));
        assert_eq!(tokens_of(&spans, (5, 7)), None);
        assert_eq!(tokens_of(&[], (0, 1)), None);
    }
}
