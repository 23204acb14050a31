//! Tokenizers learned from text. They have the special tokens of BERT and put them around texts as
//! BERT does. The result depends on the text and the settings alone: words are counted in order, and
//! what the library leaves to the order of a hash map is put in order here.

mod joins;
mod unigram;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::tokenizer::{OffsetReferential, OffsetType};
use tokenizers::{
    NormalizedString, Normalizer, PreTokenizedString, PreTokenizer, Tokenizer as Engine,
};

use super::Tokenizer;
use super::error::{DataError, Fault, Result};
use joins::Joining;

/// What a tokenizer is to be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    pub algorithm: Algorithm,
    /// At most so many tokens, special ones included.
    pub vocab_size: usize,
    /// Whether upper and lower case are the same.
    pub lowercase: bool,
}

/// How text becomes pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Algorithm {
    /// Words apart at spaces and signs; pieces that go on with a word are marked with `##`.
    WordPiece { min_frequency: usize, alphabet: usize },
    /// Bytes of words that keep the space before them: every text can be written.
    Bpe { min_frequency: usize },
    /// The most likely pieces by a probability of each.
    Unigram { alphabet: usize },
}

/// In the order of their ids.
pub const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const UNKNOWN: usize = 1;
/// What marks a piece that goes on with a word.
const CONTINUES: &str = "##";
/// Longer words are no words: they teach nothing, and `WordPiece` does not look at them.
const LONGEST_WORD: usize = 100;

impl Learning {
    /// Learns a tokenizer from texts.
    ///
    /// # Errors
    /// The texts hold no words, or their characters alone are more than `vocab_size`.
    pub fn learn(&self, texts: &[String]) -> Result<Tokenizer> {
        let fault = |message: String| DataError::new(Fault::Tokenizer, message);
        let words = self.words(texts)?;
        if words.is_empty() {
            return Err(fault("there are no words to learn a tokenizer from".to_string()));
        }
        let room = self.vocab_size.saturating_sub(SPECIAL.len());
        let too_small = |least: usize| {
            fault(format!(
                "the characters of the text alone are {least} tokens, vocab_size is {}",
                self.vocab_size
            ))
            .help(match self.algorithm {
                Algorithm::Bpe { .. } => format!("at least `vocab_size = {least}` is needed"),
                _ => format!("`vocab_size = {least}` is the least, or `alphabet = …` keeps fewer"),
            })
        };
        let joined = |joining: Joining| {
            let made = joining.learn(&words);
            match made.characters > room {
                true => Err(too_small(made.characters + SPECIAL.len())),
                false => Ok(made),
            }
        };
        let model = match self.algorithm {
            Algorithm::WordPiece { min_frequency, alphabet } => {
                let made = joined(Joining {
                    prefix: CONTINUES,
                    size: room,
                    min_frequency: min_frequency as u64,
                    alphabet,
                    always: &[],
                })?;
                json!({
                    "type": "WordPiece", "unk_token": SPECIAL[UNKNOWN],
                    "continuing_subword_prefix": CONTINUES,
                    "max_input_chars_per_word": LONGEST_WORD, "vocab": numbered(made.pieces),
                })
            }
            Algorithm::Bpe { min_frequency } => {
                let mut bytes: Vec<char> =
                    tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
                        .into_iter()
                        .collect();
                bytes.sort_unstable();
                let made = joined(Joining {
                    prefix: "",
                    size: room,
                    min_frequency: min_frequency as u64,
                    alphabet: bytes.len(),
                    always: &bytes,
                })?;
                json!({
                    "type": "BPE", "dropout": null, "unk_token": null,
                    "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                    "vocab": numbered(made.pieces), "merges": made.joins,
                })
            }
            Algorithm::Unigram { alphabet } => {
                let (words, characters) = unigram::known(words, alphabet);
                if characters > room {
                    return Err(too_small(characters + SPECIAL.len()));
                }
                let pieces = unigram::learn(words, self.vocab_size)?;
                json!({
                    "type": "Unigram", "unk_id": UNKNOWN, "byte_fallback": false, "vocab": pieces,
                })
            }
        };
        Tokenizer::from_files(BTreeMap::from([
            ("tokenizer.json".to_string(), self.file(model)?),
            ("tokenizer_config.json".to_string(), pretty(&config())?),
        ]))
    }

    /// The words of the texts, and how often each occurs.
    fn words(&self, texts: &[String]) -> Result<BTreeMap<String, u64>> {
        let fault = |error: tokenizers::Error| {
            DataError::new(Fault::Tokenizer, format!("the text cannot be cut into words: {error}"))
        };
        let nothing = json!({"type": "WordPiece", "unk_token": SPECIAL[UNKNOWN],
            "continuing_subword_prefix": CONTINUES, "max_input_chars_per_word": LONGEST_WORD,
            "vocab": numbered(Vec::new())});
        let engine = Engine::from_bytes(self.file(nothing)?).map_err(fault)?;
        let of_text = |text: &String| -> Result<BTreeMap<String, u64>> {
            // Special tokens stand for themselves wherever they occur.
            let plain = SPECIAL.iter().fold(text.clone(), |text, token| text.replace(token, " "));
            let mut normalized = NormalizedString::from(plain);
            if let Some(normalizer) = engine.get_normalizer() {
                normalizer.normalize(&mut normalized).map_err(fault)?;
            }
            let mut split = PreTokenizedString::from(normalized);
            if let Some(cutter) = engine.get_pre_tokenizer() {
                cutter.pre_tokenize(&mut split).map_err(fault)?;
            }
            let mut counts = BTreeMap::new();
            for (word, ..) in split.get_splits(OffsetReferential::Original, OffsetType::None) {
                if !word.is_empty() && word.chars().count() <= LONGEST_WORD {
                    *counts.entry(word.to_string()).or_default() += 1;
                }
            }
            Ok(counts)
        };
        texts.par_iter().map(of_text).try_reduce(BTreeMap::new, |mut all, counts| {
            for (word, count) in counts {
                *all.entry(word).or_default() += count;
            }
            Ok(all)
        })
    }

    /// `tokenizer.json` around a model.
    fn file(&self, model: Value) -> Result<Vec<u8>> {
        let lowercase = self.lowercase;
        let lower: &[Value] = if lowercase { &[json!({"type": "Lowercase"})] } else { &[] };
        let composed = [&[json!({"type": "NFKC"})], lower].concat();
        let (normalizer, cutter, decoder) = match self.algorithm {
            Algorithm::WordPiece { .. } => (
                json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                    "strip_accents": null, "lowercase": lowercase}),
                json!({"type": "BertPreTokenizer"}),
                json!({"type": "WordPiece", "prefix": CONTINUES, "cleanup": true}),
            ),
            Algorithm::Bpe { .. } => (
                json!({"type": "Sequence", "normalizers": lower}),
                json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                    "use_regex": true}),
                json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                    "use_regex": true}),
            ),
            Algorithm::Unigram { .. } => (
                json!({"type": "Sequence", "normalizers": composed}),
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
                    "split": true}),
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
                    "split": true}),
            ),
        };
        let special = |(id, token): (usize, &&str)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        };
        let added: Vec<Value> = SPECIAL.iter().enumerate().map(special).collect();
        let token =
            |id: usize, kind: u8| json!({"SpecialToken": {"id": SPECIAL[id], "type_id": kind}});
        let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
        let ids = |id: usize| json!({"id": SPECIAL[id], "ids": [id], "tokens": [SPECIAL[id]]});
        let (class, separator) = (2, 3);
        pretty(&json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": cutter,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [token(class, 0), text("A", 0), token(separator, 0)],
                "pair": [token(class, 0), text("A", 0), token(separator, 0),
                    text("B", 1), token(separator, 1)],
                "special_tokens": {SPECIAL[class]: ids(class), SPECIAL[separator]: ids(separator)},
            },
            "decoder": decoder,
            "model": model,
        }))
    }
}

/// What transformers reads beside `tokenizer.json`.
fn config() -> Value {
    json!({
        "cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]",
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]",
    })
}

/// Ids of the special tokens and of pieces, in order.
fn numbered(pieces: Vec<String>) -> Map<String, Value> {
    let special = SPECIAL.iter().map(ToString::to_string);
    special.chain(pieces).zip(0u32..).map(|(piece, id)| (piece, id.into())).collect()
}

fn pretty(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| DataError::new(Fault::Tokenizer, error.to_string()))
}

#[cfg(test)]
mod tests;
