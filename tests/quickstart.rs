//! The data of the quickstart: the generator makes the committed file, and has not seen the test.

use std::collections::BTreeSet;

#[allow(dead_code)]
#[path = "../examples/quickstart_data.rs"]
mod generator;

const TRAIN: &str = include_str!("../pipelines/quickstart/train.csv");
const TEST: &str = include_str!("../pipelines/quickstart/test.csv");

#[test]
fn the_generator_makes_the_committed_training_messages() {
    assert!(generator::train_csv().as_deref() == Ok(TRAIN), "train.csv is not what it makes");
}

#[test]
fn both_files_hold_the_six_intents_in_equal_parts() {
    for (text, of_each) in [(TRAIN, 200), (TEST, 25)] {
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
fn no_test_message_is_among_the_training_messages() {
    let train: BTreeSet<String> =
        rows(TRAIN).iter().map(|(message, _)| generator::normalised(message)).collect();
    for (message, _) in rows(TEST) {
        assert!(!train.contains(&generator::normalised(&message)), "{message}");
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
