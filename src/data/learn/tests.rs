//! Tokenizers that are learned: equal for equal texts, of the form of BERT, and refused with a way out.

use super::*;

const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::WordPiece { min_frequency: 2, alphabet: 1000 },
    Algorithm::Bpe { min_frequency: 2 },
    Algorithm::Unigram { alphabet: 1000 },
];

/// Sentences of words that share pieces.
fn texts() -> Vec<String> {
    let stems = ["walk", "talk", "jump", "play", "work", "paint"];
    let ends = ["", "s", "ed", "ing", "er", "ers"];
    let word = |place: usize| format!("{}{}", stems[place % 6], ends[(place / 7) % 6]);
    (0..200)
        .map(|row| format!("The {} {}, {}!", word(row), word(row * 5), word(row * 11)))
        .collect()
}

fn learn(algorithm: Algorithm, vocab_size: usize) -> Result<Tokenizer> {
    Learning { algorithm, vocab_size, lowercase: true }.learn(&texts())
}

#[test]
fn equal_texts_give_equal_tokenizers_whatever_the_threads() {
    for algorithm in ALGORITHMS {
        let size = if matches!(algorithm, Algorithm::Bpe { .. }) { 300 } else { 80 };
        let first = learn(algorithm, size).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| learn(algorithm, size)).unwrap();
            assert_eq!(again.digest(), first.digest(), "{algorithm:?}, {threads} threads");
        }
        assert!(first.vocab_size() <= size, "{algorithm:?}: {}", first.vocab_size());
        assert!(first.vocab_size() > size - 20, "{algorithm:?}: {}", first.vocab_size());
    }
}

#[test]
fn texts_get_the_special_tokens_of_bert_and_few_pieces() {
    for algorithm in ALGORITHMS {
        let size = if matches!(algorithm, Algorithm::Bpe { .. }) { 320 } else { 100 };
        let tokenizer = learn(algorithm, size).unwrap();
        let special = tokenizer.special_ids();
        assert_eq!(special.padding, Some(0));
        assert_eq!(special.mask, Some(4));
        let pair = tokenizer.encode("The walkers", Some("TALKED!")).unwrap();
        assert_eq!((pair.ids[0], pair.ids.last().copied()), (2, Some(3)));
        assert_eq!(pair.type_ids.last(), Some(&1));
        assert!(!pair.ids.contains(&1), "{algorithm:?}: an unknown piece");
        // Three words and a sign from pieces, four special tokens counted.
        assert!(pair.ids.len() <= 10, "{algorithm:?}: {:?}", pair.ids);
        let unknown = tokenizer.encode("☃", None).unwrap().ids.contains(&1);
        assert_eq!(unknown, !matches!(algorithm, Algorithm::Bpe { .. }));
        let files = tokenizer.files();
        assert_eq!(Tokenizer::from_files(files.clone()).unwrap().digest(), tokenizer.digest());
    }
}

#[test]
fn what_cannot_be_learned_is_an_error_with_a_way_out() {
    for algorithm in ALGORITHMS {
        let error = learn(algorithm, 12).unwrap_err();
        assert!(error.message.contains("vocab_size is 12"), "{error}");
        assert!(error.help.is_some());
        let none = Learning { algorithm, vocab_size: 100, lowercase: true }.learn(&[]);
        assert!(none.unwrap_err().message.contains("no words"));
    }
}
