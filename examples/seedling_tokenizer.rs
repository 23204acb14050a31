//! Writes the tokenizer of `builtin("seedling")`: WordPiece without case, its pieces learned from
//! the training messages of the quickstart and their templates by joining the most frequent pair
//! of pieces again and again. Run from the repository:
//! `cargo run --release --example seedling_tokenizer`.
//!
//! Equal counts go to the alphabetically first pair, so the same text gives the same bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const MESSAGES: &str = include_str!("../pipelines/quickstart/train.csv");
const TEMPLATES: &str = include_str!("../pipelines/quickstart/templates.txt");
const PIECES: usize = 2048;
/// A pair that occurs in fewer words than this is not joined.
const FEWEST: u32 = 2;
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

fn main() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/model/builtin/seedling");
    let path = format!("{folder}/tokenizer.json");
    match std::fs::write(&path, tokenizer_json()) {
        Ok(()) => println!("{path}"),
        Err(error) => eprintln!("{path}: {error}"),
    }
}

/// The whole file, as the tokenizers library reads it.
pub fn tokenizer_json() -> String {
    let vocabulary = vocabulary();
    let id = |piece: &str| vocabulary.iter().position(|other| other == piece);
    let added: Vec<Value> = SPECIAL
        .iter()
        .map(|piece| {
            json!({
                "id": id(piece), "content": piece, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let token =
        |piece: &str, type_id: u8| json!({"SpecialToken": {"id": piece, "type_id": type_id}});
    let sequence = |name: &str, type_id: u8| json!({"Sequence": {"id": name, "type_id": type_id}});
    let special = |piece: &str| json!({"id": piece, "ids": [id(piece)], "tokens": [piece]});
    let vocab: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
            "pair": [
                token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0),
                sequence("B", 1), token("[SEP]", 1),
            ],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    });
    format!("{json:#}\n")
}

/// Special pieces, single signs, then joined pieces in the order in which they were found.
fn vocabulary() -> Vec<String> {
    let mut words: Vec<(Vec<String>, u32)> = word_counts()
        .into_iter()
        .map(|(word, count)| {
            let sign = |(place, sign): (usize, char)| match place {
                0 => sign.to_string(),
                _ => format!("##{sign}"),
            };
            (word.chars().enumerate().map(sign).collect(), count)
        })
        .collect();
    let signs =
        (' '..='~').filter(|sign| *sign != ' ' && !sign.is_ascii_uppercase()).chain(['£', '€']);
    let mut pieces: Vec<String> = SPECIAL.iter().map(ToString::to_string).collect();
    pieces.extend(signs.clone().map(|sign| sign.to_string()));
    pieces
        .extend(signs.filter(|sign| !sign.is_ascii_punctuation()).map(|sign| format!("##{sign}")));
    while pieces.len() < PIECES {
        let mut pairs: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *pairs.entry((&pair[0], &pair[1])).or_default() += count;
            }
        }
        // The last of the largest in reversed order is the alphabetically first.
        let best = pairs.into_iter().rev().max_by_key(|(_, count)| *count);
        let Some(((left, right), count)) = best else { break };
        if count < FEWEST {
            break;
        }
        let (left, right) = (left.to_string(), right.to_string());
        let joined = format!("{left}{}", right.trim_start_matches("##"));
        for (word, _) in &mut words {
            let mut place = 0;
            while place + 1 < word.len() {
                if word[place] == left && word[place + 1] == right {
                    word[place] = joined.clone();
                    word.remove(place + 1);
                }
                place += 1;
            }
        }
        if !pieces.contains(&joined) {
            pieces.push(joined);
        }
    }
    pieces
}

/// Words as the pre-tokenizer cuts them: lower case, apart at spaces and signs.
fn word_counts() -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let lines = MESSAGES.lines().chain(TEMPLATES.lines().filter(|line| !line.starts_with("# ")));
    for line in lines {
        let line = line.to_lowercase();
        for word in line.split(|sign: char| sign.is_whitespace() || sign.is_ascii_punctuation()) {
            if !word.is_empty() {
                *counts.entry(word.to_string()).or_default() += 1;
            }
        }
    }
    counts
}
