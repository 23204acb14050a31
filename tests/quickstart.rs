//! The data of the quickstart: the generators make the committed files, and the messages to test on
//! are not among those to train on.

use std::collections::BTreeSet;

#[allow(dead_code)]
#[path = "../examples/quickstart_data.rs"]
mod generator;

const TRAIN: &str = include_str!("../pipelines/quickstart/train.csv");
const VALIDATION: &str = include_str!("../pipelines/quickstart/validation.csv");
const TOKENIZER: &str = include_str!("../src/model/builtin/seedling/tokenizer.json");
const TEST: &str = include_str!("../pipelines/quickstart/test.csv");

#[test]
fn the_generator_makes_the_committed_training_messages() {
    assert!(generator::train_csv().as_deref() == Ok(TRAIN), "train.csv is not what it makes");
}

/// Its pieces put together are the message again. A sign that was rare in what it learned from is not known:
/// that of the euro, in two messages.
#[test]
fn the_tokenizer_of_the_seedling_knows_the_messages() {
    let tokenizer = tokenizers::Tokenizer::from_bytes(TOKENIZER).expect("a tokenizer");
    let config = include_bytes!("../src/model/builtin/seedling/config.json");
    let config: serde_json::Value = serde_json::from_slice(config).expect("a config");
    assert_eq!(config["vocab_size"], tokenizer.get_vocab_size(true));
    let mut unknown = 0;
    for (message, _) in [TRAIN, VALIDATION, TEST].into_iter().flat_map(rows) {
        let encoding = tokenizer.encode(message.as_str(), true).expect("pieces");
        let pieces = encoding.get_tokens();
        assert!(pieces.len() <= 64, "{message}: {} pieces", pieces.len());
        if pieces.iter().any(|piece| piece == "[UNK]") {
            assert!(message.contains('€'), "{message}: {pieces:?}");
            unknown += 1;
            continue;
        }
        let together = pieces[1..pieces.len() - 1].concat().replace("##", "");
        let plain: String = message.to_lowercase().split_whitespace().collect();
        assert_eq!(together, plain.replace("##", ""));
    }
    assert!(unknown <= 2, "{unknown} messages");
}

#[test]
fn every_file_holds_the_six_intents_in_equal_parts() {
    for (text, of_each) in [(TRAIN, 200), (VALIDATION, 12), (TEST, 25)] {
        let rows = rows(text);
        let intents: BTreeSet<&str> = rows.iter().map(|(_, intent)| intent.as_str()).collect();
        let expected = ["account", "billing", "cancellation", "delivery", "returns", "technical"];
        assert_eq!(intents, BTreeSet::from(expected));
        for intent in intents {
            let found = rows.iter().filter(|(_, other)| other == intent).count();
            assert_eq!(found, of_each, "{intent}");
        }
    }
}

#[test]
fn no_message_is_in_two_files() {
    let mut seen = BTreeSet::new();
    for text in [TRAIN, VALIDATION, TEST] {
        for (message, _) in rows(text) {
            assert!(seen.insert(generator::normalised(&message)), "{message}");
        }
    }
}

/// Message and intent of every row.
fn rows(text: &str) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .records()
        .map(|record| {
            let record = record.expect("a row of the file");
            (record[0].to_string(), record[1].to_string())
        })
        .collect()
}
