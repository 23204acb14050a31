//! Pieces by their probability, as the library's trainer finds them. Source: Kudo, "Subword
//! Regularization" (2018), section 3.2.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tokenizers::AddedToken;
use tokenizers::models::unigram::{Unigram, UnigramTrainer};

use super::{SPECIAL, UNKNOWN};
use crate::data::error::{DataError, Fault, Result};

/// The words of the most frequent characters, and how many these are.
pub(super) fn known(words: BTreeMap<String, u64>, alphabet: usize) -> (Vec<(String, u32)>, usize) {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in &words {
        word.chars().for_each(|sign| *counts.entry(sign).or_default() += count);
    }
    let mut kept: Vec<(char, u64)> = counts.into_iter().collect();
    kept.sort_by_key(|(sign, count)| (Reverse(*count), *sign));
    kept.truncate(alphabet);
    let kept: BTreeSet<char> = kept.into_iter().map(|(sign, _)| sign).collect();
    let known = words.into_iter().filter(|(word, _)| word.chars().all(|c| kept.contains(&c)));
    let words = known.map(|(word, count)| (word, u32::try_from(count).unwrap_or(u32::MAX)));
    (words.collect(), kept.len())
}

/// The pieces of these words with their logarithmic probabilities, special tokens first.
pub(super) fn learn(words: Vec<(String, u32)>, vocab_size: usize) -> Result<Vec<(String, f64)>> {
    let fault = |error: String| {
        DataError::new(Fault::Tokenizer, format!("the pieces cannot be learned: {error}"))
    };
    let special = SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect();
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(u32::try_from(vocab_size).map_err(|error| fault(error.to_string()))?)
        .special_tokens(special)
        .unk_token(Some(SPECIAL[UNKNOWN].to_string()))
        .build()
        .map_err(|error| fault(error.to_string()))?;
    // The trainer cuts sums by the number of threads.
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| fault(error.to_string()))?;
    let mut model = Unigram::default();
    alone.install(|| trainer.do_train(words, &mut model)).map_err(|e| fault(e.to_string()))?;
    let pieces: Vec<(String, f64)> = model.iter().cloned().collect();
    Ok(in_order(pieces))
}

/// Pieces of equal probability come in the order of a hash map, and so do the characters that the
/// training lost: these get the lowest probability found, and each the last one's plus this step.
const STEP: f64 = 0.0001;

fn in_order(mut pieces: Vec<(String, f64)>) -> Vec<(String, f64)> {
    let found = pieces.split_off(SPECIAL.len().min(pieces.len()));
    let least = found.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let mut penalty = 0.0;
    let mut lost_scores = Vec::new();
    while lost_scores.len() < found.len() {
        lost_scores.push(least + penalty);
        penalty += STEP;
    }
    let is_lost = |(piece, score): &(String, f64)| {
        piece.chars().count() == 1
            && lost_scores.iter().any(|lost: &f64| lost.to_bits() == score.to_bits())
    };
    let (mut lost, mut others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_lost);
    let mut scores: Vec<f64> = lost.iter().map(|(_, score)| *score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    lost.sort_by(|(a, _), (b, _)| a.cmp(b));
    others.extend(lost.into_iter().map(|(piece, _)| piece).zip(scores));
    others.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
    pieces.extend(others);
    pieces
}
