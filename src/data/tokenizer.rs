//! Tokenizers in Hugging Face layout: a `tokenizer.json`, or the `vocab.txt` of a BERT. What a file
//! says of truncation and padding is not used: lengths are `tokens`' business, and nothing is
//! padded.

use super::error::{DataError, Fault, Result};
use crate::base::{Digest, Hasher, suggest};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer as Engine};

/// The files that belong to a tokenizer, where they exist. They are kept to be saved with a model.
const FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// How a space is written in tokens: by SentencePiece, and by models of bytes.
const SPACES: [char; 2] = ['▁', 'Ġ'];

/// The same tokenizer with a space before each text, if it is one of bytes and puts none there: a word
/// of a sentence is then the token that it is in running text. Source: transformers' `run_ner.py`.
fn with_prefix_space(engine: &Engine) -> Option<Engine> {
    fn spaced(step: &PreTokenizerWrapper) -> Option<PreTokenizerWrapper> {
        match step {
            PreTokenizerWrapper::ByteLevel(bytes) if !bytes.add_prefix_space => {
                let spaced = ByteLevel::new(true, bytes.trim_offsets, bytes.use_regex);
                Some(PreTokenizerWrapper::ByteLevel(spaced))
            }
            PreTokenizerWrapper::Sequence(all) => {
                let mut steps: Vec<PreTokenizerWrapper> = all.as_ref().to_vec();
                let (at, changed) =
                    steps.iter().enumerate().find_map(|(at, step)| Some((at, spaced(step)?)))?;
                steps[at] = changed;
                Some(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
            }
            _ => None,
        }
    }
    let changed = spaced(engine.get_pre_tokenizer()?)?;
    let mut engine = engine.clone();
    engine.with_pre_tokenizer(Some(changed));
    Some(engine)
}

/// Text to token ids. Cheap to clone is an `Arc` around it.
pub struct Tokenizer {
    engine: Engine,
    /// Where words that are given one by one are read otherwise than texts: made when it is asked for.
    of_words: OnceLock<Option<Engine>>,
    files: BTreeMap<String, Vec<u8>>,
    digest: Digest,
    /// Made when it is asked for.
    content: OnceLock<Digest>,
    model_max_length: Option<usize>,
    special: SpecialIds,
}

/// A tokenizer that cuts.
pub(super) struct Cutter {
    engine: Engine,
    pub max_length: usize,
}

/// Ids of the tokens that mean something to models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecialIds {
    pub unknown: Option<u32>,
    pub padding: Option<u32>,
    /// `[CLS]`
    pub class: Option<u32>,
    /// `[SEP]`
    pub separator: Option<u32>,
    pub mask: Option<u32>,
}

/// One text or a pair, encoded without truncation.
pub(super) struct Encoded {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
}

/// A text as tokens, without special ones.
pub(super) struct Pieces {
    pub ids: Vec<u32>,
    /// The part of the text that each token stands for, as bytes from and to.
    pub spans: Vec<(u32, u32)>,
}

/// Words as tokens.
pub(super) struct WordPieces {
    pub ids: Vec<u32>,
    /// For each token: the word that it begins.
    pub first_of: Vec<Option<u32>>,
}

/// Ids between the special tokens of their model.
pub(super) struct Framed {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Special tokens before the first id.
    pub before: usize,
    /// Where the ids of the second text of a pair begin.
    pub second: usize,
}

impl Tokenizer {
    /// Reads a folder in Hugging Face layout.
    ///
    /// # Errors
    /// Neither `tokenizer.json` nor `vocab.txt` is there, or one of them is damaged.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer> {
        let mut files = BTreeMap::new();
        for name in FILES {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => {
                    files.insert((*name).to_string(), bytes);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(DataError::io(&path, &error)),
            }
        }
        Self::from_files(files).map_err(|error| match error.file.clone() {
            Some(file) => error.file(folder.join(file)),
            None => error.file(folder),
        })
    }

    /// Makes a tokenizer of the contents of its files, by name.
    pub fn from_files(mut files: BTreeMap<String, Vec<u8>>) -> Result<Tokenizer> {
        let config = json(&files, "tokenizer_config.json")?;
        let special_map = json(&files, "special_tokens_map.json")?;
        let mut engine = if let Some(bytes) = files.get("tokenizer.json") {
            Engine::from_bytes(bytes).map_err(|error| damaged("tokenizer.json", &*error))?
        } else if let Some(bytes) = files.get("vocab.txt") {
            bert(bytes, &config)?
        } else {
            return Err(DataError::new(
                Fault::Tokenizer,
                format!(
                    "there is no tokenizer: {} are sought",
                    suggest::list(["tokenizer.json", "vocab.txt"])
                ),
            ));
        };
        engine
            .with_truncation(None)
            .map_err(|error| damaged("tokenizer.json", &*error))?
            .with_padding(None);

        let id = |role: &str, usual: &[&str]| -> Option<u32> {
            let named =
                [&config, &special_map].into_iter().find_map(|map| token_text(map.get(role)?));
            match named {
                Some(text) => engine.token_to_id(&text),
                None => usual.iter().find_map(|text| engine.token_to_id(text)),
            }
        };
        let special = SpecialIds {
            unknown: id("unk_token", &["[UNK]", "<unk>"]),
            padding: id("pad_token", &["[PAD]", "<pad>"]),
            class: id("cls_token", &["[CLS]", "<s>"]),
            separator: id("sep_token", &["[SEP]", "</s>"]),
            mask: id("mask_token", &["[MASK]", "<mask>"]),
        };
        // "No limit" is written as an absurdly large number.
        let model_max_length = config
            .get("model_max_length")
            .and_then(Value::as_u64)
            .filter(|limit| *limit < 1 << 30)
            .and_then(|limit| usize::try_from(limit).ok());
        // What decides the ids is the engine as it stands, not how its file is laid out.
        let canonical =
            engine.to_string(false).map_err(|error| damaged("tokenizer.json", &*error))?;
        let digest = Hasher::new("tokenizer 1").text(&canonical).finish();
        if !files.contains_key("tokenizer.json") {
            let text =
                engine.to_string(true).map_err(|error| damaged("tokenizer.json", &*error))?;
            files.insert("tokenizer.json".to_string(), text.into_bytes());
        }
        Ok(Tokenizer {
            engine,
            of_words: OnceLock::new(),
            files,
            digest,
            content: OnceLock::new(),
            model_max_length,
            special,
        })
    }

    /// The files to save beside a model, by name. A `tokenizer.json` is among them even if it was
    /// made of a `vocab.txt`.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Over what decides the ids.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Over all of its files: also what does not decide the ids of a text, such as which token masks.
    pub fn content(&self) -> Digest {
        *self.content.get_or_init(|| {
            let mut hasher = Hasher::new("tokenizer files 1");
            for (name, bytes) in &self.files {
                hasher.text(name).bytes(bytes);
            }
            hasher.finish()
        })
    }

    /// Token ids lie below this.
    pub fn vocab_size(&self) -> usize {
        let highest = self.engine.get_vocab(true).into_values().max();
        highest.map_or(0, |id| id as usize + 1)
    }

    /// The longest input that the tokenizer's configuration admits.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    pub fn special_ids(&self) -> SpecialIds {
        self.special
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.engine.token_to_id(token)
    }

    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.engine.id_to_token(id)
    }

    /// For every id: whether the tokenizer puts it in itself, such as `[CLS]`.
    pub fn are_special(&self) -> Vec<bool> {
        let mut all = vec![false; self.vocab_size()];
        let SpecialIds { unknown, padding, class, separator, mask } = self.special;
        let added = self.engine.get_added_tokens_decoder().into_iter();
        let marked = added.filter(|(_, token)| token.special).map(|(id, _)| id);
        let named = [unknown, padding, class, separator, mask].into_iter().flatten();
        for id in marked.chain(named) {
            if let Some(place) = all.get_mut(id as usize) {
                *place = true;
            }
        }
        all
    }

    /// For every id: whether it goes on with the word of the token before. A piece of WordPiece says
    /// so (`##`); elsewhere it is a piece that does not begin with the sign for a space.
    pub fn are_continuations(&self) -> Vec<bool> {
        let tokens: Vec<String> = (0..self.vocab_size() as u32)
            .map(|id| self.engine.id_to_token(id).unwrap_or_default())
            .collect();
        let prefix = match self.engine.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.as_str()),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            _ => None,
        };
        if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
            return tokens.iter().map(|token| token.starts_with(prefix)).collect();
        }
        let count = |sign: &char| tokens.iter().filter(|token| token.starts_with(*sign)).count();
        let sign = SPACES.into_iter().max_by_key(count).filter(|sign| count(sign) > 0);
        let Some(sign) = sign else { return vec![false; tokens.len()] };
        tokens.iter().map(|token| !token.starts_with(sign)).collect()
    }

    /// How many special tokens a single text, or a pair, is given.
    pub fn special_tokens(&self, pair: bool) -> usize {
        use tokenizers::PostProcessor;
        self.engine.get_post_processor().map_or(0, |processor| processor.added_tokens(pair))
    }

    pub(super) fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded> {
        encode(&self.engine, text, pair)
    }

    /// The tokens of a text without special ones.
    pub(super) fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.engine.encode_fast(text, false).map_err(|error| {
            DataError::new(Fault::Tokenizer, format!("the text cannot be tokenized: {error}"))
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of words that are given one by one, without special tokens.
    pub(super) fn encode_words(&self, words: &[String]) -> Result<WordPieces> {
        let fault = |error: tokenizers::Error| {
            DataError::new(Fault::Tokenizer, format!("the words cannot be tokenized: {error}"))
        };
        let input: Vec<&str> = words.iter().map(String::as_str).collect();
        let of_words = self.of_words.get_or_init(|| with_prefix_space(&self.engine));
        let engine = of_words.as_ref().unwrap_or(&self.engine);
        let encoding = engine.encode(input.as_slice(), false).map_err(fault)?;
        let mut seen = None;
        let first_of = encoding.get_word_ids().iter().map(|word| {
            let first = word.filter(|word| Some(*word) != seen);
            seen = *word;
            first
        });
        Ok(WordPieces { first_of: first_of.collect(), ids: encoding.get_ids().to_vec() })
    }

    /// The tokens of a text and where they stand in it, without special tokens.
    pub(super) fn encode_pieces(&self, text: &str) -> Result<Pieces> {
        let fault = |error: tokenizers::Error| {
            DataError::new(Fault::Tokenizer, format!("the text cannot be tokenized: {error}"))
        };
        let encoding = self.engine.encode(text, false).map_err(fault)?;
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let spans = encoding.get_offsets().iter().map(|(from, to)| (place(*from), place(*to)));
        Ok(Pieces { spans: spans.collect(), ids: encoding.get_ids().to_vec() })
    }

    /// Puts the special tokens of a single text or of a pair around ids.
    pub(super) fn frame(&self, ids: &[u32], pair: Option<&[u32]>) -> Result<Framed> {
        use tokenizers::PostProcessor;
        let fault = |error: tokenizers::Error| {
            DataError::new(Fault::Tokenizer, format!("the tokens cannot be framed: {error}"))
        };
        let bare = |ids: &[u32], text: usize| {
            tokenizers::Encoding::new(
                ids.to_vec(),
                vec![text as u32; ids.len()],
                vec![String::new(); ids.len()],
                vec![None; ids.len()],
                vec![(0, 0); ids.len()],
                vec![0; ids.len()],
                vec![1; ids.len()],
                Vec::new(),
                [(text, 0..ids.len())].into_iter().collect(),
            )
        };
        let (mut first, second) = (bare(ids, 0), pair.map(|pair| bare(pair, 1)));
        let framed = match self.engine.get_post_processor() {
            Some(processor) => processor.process(first, second, true).map_err(fault)?,
            None => {
                second.into_iter().for_each(|second| first.merge_with(second, false));
                first
            }
        };
        let before = framed.get_special_tokens_mask().iter().take_while(|flag| **flag == 1).count();
        let texts = framed.get_sequence_ids();
        Ok(Framed {
            ids: framed.get_ids().to_vec(),
            type_ids: framed.get_type_ids().to_vec(),
            before,
            second: texts.iter().position(|text| *text == Some(1)).unwrap_or(texts.len()),
        })
    }

    /// The same tokens, but cut where they are longer than `max_length`: at the end of a single text, of a pair
    /// the longer text first, as transformers does.
    pub(super) fn cutting(&self, max_length: usize) -> Result<Cutter> {
        let mut engine = self.engine.clone();
        let parameters = tokenizers::TruncationParams { max_length, ..Default::default() };
        engine.with_truncation(Some(parameters)).map_err(|error| {
            DataError::new(Fault::Tokenizer, format!("max_length = {max_length}: {error}"))
        })?;
        Ok(Cutter { engine, max_length })
    }
}

impl Cutter {
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded> {
        encode(&self.engine, text, pair)
    }
}

fn encode(engine: &Engine, text: &str, pair: Option<&str>) -> Result<Encoded> {
    let encoding = match pair {
        Some(pair) => engine.encode_fast((text, pair), true),
        None => engine.encode_fast(text, true),
    }
    .map_err(|error| {
        DataError::new(Fault::Tokenizer, format!("the text cannot be tokenized: {error}"))
    })?;
    Ok(Encoded { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec() })
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({})", self.digest.short())
    }
}

fn damaged(file: &str, error: &(dyn std::error::Error + Send + Sync)) -> DataError {
    DataError::new(Fault::Tokenizer, format!("the tokenizer cannot be read: {error}")).file(file)
}

/// A JSON file of the set; an empty object where it is absent.
fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Value> {
    match files.get(name) {
        None => Ok(Value::Object(Default::default())),
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| {
            DataError::new(Fault::Tokenizer, format!("not JSON: {error}")).file(name)
        }),
    }
}

/// A special token is written as its text or as an object that holds it.
fn token_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Object(fields) => fields.get("content")?,
        other => other,
    };
    text.as_str().map(str::to_string)
}

/// What transformers' `BertTokenizer` makes of a `vocab.txt`.
fn bert(vocabulary: &[u8], config: &Value) -> Result<Engine> {
    let fault = |message: String| DataError::new(Fault::Tokenizer, message).file("vocab.txt");
    let text = std::str::from_utf8(vocabulary)
        .map_err(|error| fault(format!("the vocabulary is not UTF-8: {error}")))?;
    let mut tokens: Vec<(String, u32)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let id = u32::try_from(at).map_err(|_| fault("the vocabulary is too long".to_string()))?;
        tokens.push((line.trim_end_matches(['\r', '\n']).to_string(), id));
    }
    let flag = |name: &str| config.get(name).and_then(Value::as_bool);
    let special = |role: &str, usual: &str| {
        config.get(role).and_then(token_text).unwrap_or_else(|| usual.to_string())
    };
    let unknown = special("unk_token", "[UNK]");
    let class = special("cls_token", "[CLS]");
    let separator = special("sep_token", "[SEP]");
    let find = |token: &str| tokens.iter().find(|(text, _)| text == token).map(|(_, id)| *id);
    let need = |token: &str| {
        find(token).ok_or_else(|| fault(format!("the vocabulary has no token `{token}`")))
    };
    let (class_id, separator_id) = (need(&class)?, need(&separator)?);
    need(&unknown)?;
    let all_special: Vec<AddedToken> = [
        special("pad_token", "[PAD]"),
        unknown.clone(),
        class.clone(),
        separator.clone(),
        special("mask_token", "[MASK]"),
    ]
    .into_iter()
    .filter(|token| find(token).is_some())
    .map(|token| AddedToken::from(token, true))
    .collect();

    let broken = |error: tokenizers::Error| fault(error.to_string());
    let model = WordPiece::builder()
        .vocab(tokens.into_iter().collect::<std::collections::HashMap<_, _, _>>())
        .unk_token(unknown)
        .build()
        .map_err(broken)?;
    let template = TemplateProcessing::builder()
        .try_single(format!("{class}:0 $A:0 {separator}:0"))
        .and_then(|builder| {
            builder.try_pair(format!("{class}:0 $A:0 {separator}:0 $B:1 {separator}:1"))
        })
        .map_err(|error| fault(error.to_string()))?
        .special_tokens(vec![(class, class_id), (separator, separator_id)])
        .build()
        .map_err(|error| fault(error.to_string()))?;
    let mut engine = Engine::new(model);
    engine
        .with_normalizer(Some(BertNormalizer::new(
            true,
            flag("tokenize_chinese_chars").unwrap_or(true),
            flag("strip_accents"),
            flag("do_lower_case").unwrap_or(true),
        )))
        .map_err(broken)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template))
        .with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()));
    engine.add_special_tokens(all_special).map_err(broken)?;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small uncased BERT vocabulary.
    pub(crate) fn small() -> Tokenizer {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "!", ",", "caf", "##e",
            "un", "##aff", "##able", "中", "国", "a", "##a", "b", "☺",
        ];
        let files = BTreeMap::from([("vocab.txt".to_string(), words.join("\n").into_bytes())]);
        Tokenizer::from_files(files).unwrap()
    }

    #[test]
    fn which_token_masks_is_content_and_decides_no_id() {
        let mut files = small().files().clone();
        let config = br#"{"mask_token": "[UNK]"}"#.to_vec();
        files.insert("tokenizer_config.json".to_string(), config);
        let other = Tokenizer::from_files(files).unwrap();
        assert_eq!(other.digest(), small().digest());
        assert_ne!(other.content(), small().content());
        let again = Tokenizer::from_files(other.files().clone()).unwrap();
        assert_eq!(again.content(), other.content());
    }

    /// Words are what they are in running text, which begins with no space.
    #[test]
    fn words_of_a_tokenizer_of_bytes_have_a_space_before_them() {
        let file = r#"{
          "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
          "normalizer": null, "post_processor": null, "decoder": null,
          "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }
          ] },
          "model": { "type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "byte_fallback": false,
            "vocab": { "H": 0, "i": 1, "Ġ": 2, "Hi": 3, "ĠH": 4, "ĠHi": 5 },
            "merges": ["H i", "Ġ Hi"] }
        }"#;
        let files = BTreeMap::from([("tokenizer.json".to_string(), file.as_bytes().to_vec())]);
        let tokenizer = Tokenizer::from_files(files).unwrap();
        assert_eq!(tokenizer.encode("Hi Hi", None).unwrap().ids, [3, 5]);
        let words = tokenizer.encode_words(&["Hi".to_string(), "Hi".to_string()]).unwrap();
        assert_eq!((words.ids, words.first_of), (vec![5, 5], vec![Some(0), Some(1)]));
        assert!(with_prefix_space(&small().engine).is_none());
    }

    fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let ids = tokenizer.encode(text, None).unwrap().ids;
        ids.iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect()
    }

    #[test]
    fn a_vocabulary_becomes_the_tokenizer_of_bert() {
        let tokenizer = small();
        let long = "a".repeat(101);
        let cases: &[(&str, &[&str])] = &[
            ("Hello, WORLD!", &["[CLS]", "hello", ",", "world", "!", "[SEP]"]),
            ("Café unaffable", &["[CLS]", "caf", "##e", "un", "##aff", "##able", "[SEP]"]),
            ("Cafe\u{301}", &["[CLS]", "caf", "##e", "[SEP]"]),
            ("中国a", &["[CLS]", "中", "国", "a", "[SEP]"]),
            ("a\u{0}a\t\u{200b}b ☺ b☺", &["[CLS]", "a", "##a", "b", "☺", "[UNK]", "[SEP]"]),
            ("[MASK] [mask]", &["[CLS]", "[MASK]", "[UNK]", "[UNK]", "[UNK]", "[SEP]"]),
            ("", &["[CLS]", "[SEP]"]),
            (&long, &["[CLS]", "[UNK]", "[SEP]"]),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens(&tokenizer, text), *expected, "{text:?}");
        }
        assert_eq!(tokenizer.vocab_size(), 20);
        assert_eq!(tokenizer.special_ids().class, Some(2));
        assert_eq!(tokenizer.special_tokens(true), 3);
    }

    #[test]
    fn a_pair_has_two_types() {
        let encoded = small().encode("hello", Some("world !")).unwrap();
        assert_eq!(encoded.ids, [2, 5, 3, 6, 7, 3]);
        assert_eq!(encoded.type_ids, [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn what_is_saved_encodes_the_same() {
        let tokenizer = small();
        let files = tokenizer.files().clone();
        let json: BTreeMap<_, _> =
            files.into_iter().filter(|(name, _)| name == "tokenizer.json").collect();
        let again = Tokenizer::from_files(json).unwrap();
        assert_eq!(again.digest(), tokenizer.digest());
        assert_eq!(
            again.encode("Hello 中", None).unwrap().ids,
            tokenizer.encode("Hello 中", None).unwrap().ids
        );
    }

    #[test]
    fn damaged_files_are_errors() {
        let one = |name: &str, text: &str| {
            Tokenizer::from_files(BTreeMap::from([(name.to_string(), text.as_bytes().to_vec())]))
        };
        assert_eq!(
            one("tokenizer.json", "{}").unwrap_err().file.as_deref(),
            Some("tokenizer.json")
        );
        assert!(one("vocab.txt", "a\nb\n").unwrap_err().message.contains("[CLS]"));
        assert!(one("other", "").unwrap_err().message.contains("no tokenizer"));
    }

    #[test]
    fn real_tokenizers_agree_with_their_vocabulary_and_ignore_stored_lengths() {
        let folder = std::env::var("FTRUN_SHARED")
            .map(std::path::PathBuf::from)
            .unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
        for name in ["models/all-MiniLM-L6-v2", "models/tokenizers/bert_base_uncased"] {
            let folder = folder.join(name);
            if !folder.is_dir() {
                println!("skipped: no tokenizer at {}", folder.display());
                continue;
            }
            let whole = Tokenizer::from_folder(&folder).unwrap();
            let ids = whole.encode("Hello world!", None).unwrap().ids;
            assert_eq!(ids, [101, 7592, 2088, 999, 102]);
            let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
            let plain = Tokenizer::from_files(BTreeMap::from([
                ("vocab.txt".to_string(), read("vocab.txt")),
                ("tokenizer_config.json".to_string(), read("tokenizer_config.json")),
            ]))
            .unwrap();
            let long = "a very long text ".repeat(400);
            let texts = [
                "Unaffable naïve café ÅNGSTRÖM ſtraße İstanbul",
                "中文 and 日本語のテキスト한국어",
                "🙂👍🏽 emoji",
                "e\u{301}\u{200d}\u{ad}\u{feff}x\u{fffd}\u{0}y",
                "don't we're 1,000.50$ #tag @user http://a.b/c?d=e",
                "[CLS] [SEP] [MASK] [unk] [PAD]",
                "\t \n\r\u{a0}\u{3000} ",
                "supercalifragilisticexpialidocious",
                &long,
                "a[MASK]b",
                "“quotes” … — –",
                "ﬁ ½ ② Ⅷ",
                "العربية עברית हिन्दी ไทย",
            ];
            for text in texts {
                let (one, two) =
                    (whole.encode(text, None).unwrap(), plain.encode(text, None).unwrap());
                assert_eq!(one.ids, two.ids, "{text:?}");
                assert!(!one.ids.contains(&0) || text.contains("[PAD]"), "padded: {text:?}");
            }
            assert!(whole.encode(&long, None).unwrap().ids.len() > 1600);
        }
    }
}
