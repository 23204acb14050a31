//! Which tokens of a row are masked, and by what: drawn anew in every update, by address.
//! Source: Devlin et al., "BERT" (2018), section 3.1; whole words as in the models released in 2019.

use crate::base::random::{Purpose, Stream};
use crate::data::{IGNORED, Tokenizer};
use crate::model::{Dropping, ModelError, Result};

/// How tokens are masked.
#[derive(Debug, Clone, PartialEq)]
pub struct Masking {
    /// The share of tokens, or of words, that are to be guessed.
    pub share: f64,
    /// The id that stands for a masked token.
    pub mask: u32,
    /// For every id of the vocabulary: what it may be.
    pub tokens: Vec<Token>,
    /// Whether a word is masked as a whole.
    pub whole_words: bool,
}

/// What a token of the vocabulary is to masking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Stays as it is: a token that the tokenizer puts in.
    Special,
    Start,
    /// Goes on with the word of the token before.
    Continuation,
}

/// A row as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masked {
    pub ids: Vec<u32>,
    /// The places of the tokens to guess, in order.
    pub places: Vec<usize>,
    /// What they are.
    pub classes: Vec<i64>,
}

/// Of the tokens to guess this share is masked, and this share is replaced by any token; the others
/// stay.
const MASKED: f64 = 0.8;
const REPLACED: f64 = 0.1;

/// The draws of evaluations, which are the same under every seed.
const EVALUATION: Dropping = Dropping { seed: 0, update: (1 << 48) - 1 };

impl Masking {
    /// The share of BERT, by token.
    pub const USUAL: (f64, bool) = (0.15, false);

    /// Masks the tokens of a tokenizer. Fails if it has no token for what is masked.
    pub fn of(tokenizer: &Tokenizer, share: f64, whole_words: bool) -> Result<Masking> {
        let mask = tokenizer.special_ids().mask.ok_or_else(|| {
            ModelError::new("the tokenizer has no token that stands for a masked one").help(
                "`train-tokenizer` makes tokenizers with `[MASK]`; `mask_token` in \
                 `tokenizer_config.json` names one of another text",
            )
        })?;
        let kinds = tokenizer.are_special().into_iter().zip(tokenizer.are_continuations());
        let kind = |(special, continues)| match (special, continues) {
            (true, _) => Token::Special,
            (false, true) => Token::Continuation,
            (false, false) => Token::Start,
        };
        Ok(Masking { share, mask, tokens: kinds.map(kind).collect(), whole_words })
    }

    /// The row of number `row` in one update; without one as in every evaluation.
    pub fn row(&self, ids: &[u32], row: usize, update: Option<Dropping>) -> Masked {
        let Dropping { seed, update } = update.unwrap_or(EVALUATION);
        let stream = Stream::new(seed, Purpose::Masking);
        let draw = |place: usize| {
            let [chosen, fate, low, high] =
                stream.bits(update, ((row as u64) << 24) | place as u64);
            let share = |bits: u32| f64::from(bits) / 4_294_967_296.0;
            (share(chosen), share(fate), (u64::from(high) << 32) | u64::from(low))
        };
        let mut made = Masked { ids: ids.to_vec(), ..Masked::default() };
        let (mut chosen, mut in_word) = (false, false);
        for (place, (id, seen)) in ids.iter().zip(&mut made.ids).enumerate() {
            let token = self.tokens.get(*id as usize).copied().unwrap_or(Token::Start);
            let (own, fate, any) = draw(place);
            chosen = match token {
                Token::Special => false,
                Token::Continuation if self.whole_words && in_word => chosen,
                Token::Start | Token::Continuation => own < self.share,
            };
            // The first piece behind a special token begins a word, whatever it looks like.
            in_word = token != Token::Special;
            if !chosen {
                continue;
            }
            made.places.push(place);
            made.classes.push(i64::from(*id));
            if fate < MASKED {
                *seen = self.mask;
            } else if fate < MASKED + REPLACED {
                let wide = u128::from(any) * self.tokens.len() as u128;
                *seen = (wide >> 64) as u32;
            }
        }
        made
    }
}

impl Masked {
    /// The class of every token: what it was, where it is to be guessed.
    pub fn class_of(&self, place: usize) -> i64 {
        self.places.binary_search(&place).map_or(IGNORED, |at| self.classes[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masking(whole_words: bool) -> Masking {
        // Ids from 100 go on with a word; 0 to 9 are special.
        let tokens = (0..200)
            .map(|id| match id {
                0..10 => Token::Special,
                10..100 => Token::Start,
                _ => Token::Continuation,
            })
            .collect();
        Masking { share: 0.15, mask: 4, tokens, whole_words }
    }

    #[test]
    fn shares_are_those_of_bert_and_draws_depend_on_the_address_alone() {
        let masking = masking(false);
        let ids: Vec<u32> = (0..20_000).map(|place| 10 + place % 190).collect();
        let update = |update| Some(Dropping { seed: 7, update });
        let first = masking.row(&ids, 3, update(1));
        assert_eq!(first, masking.row(&ids, 3, update(1)));
        assert_ne!(first, masking.row(&ids, 3, update(2)));
        assert_ne!(first.places, masking.row(&ids, 4, update(1)).places);
        assert_eq!(masking.row(&ids, 3, None), masking.row(&ids, 3, None));
        let count = first.places.len() as f64;
        // Four standard errors of 20 000 draws of 15 %, and of 3 000 of 80 % and of 10 %.
        assert!((count / 20_000.0 - 0.15).abs() < 4.0 * (0.15f64 * 0.85 / 20_000.0).sqrt());
        let of = |wanted: &dyn Fn(u32, u32) -> bool| {
            let places = first.places.iter();
            places.filter(|place| wanted(ids[**place], first.ids[**place])).count() as f64 / count
        };
        assert!((of(&|_, seen| seen == 4) - 0.8).abs() < 4.0 * (0.16f64 / 3000.0).sqrt());
        assert!((of(&|id, seen| seen == id) - 0.1).abs() < 4.0 * (0.09f64 / 3000.0).sqrt() + 0.01);
        for (place, id) in ids.iter().enumerate() {
            let guessed = first.class_of(place) == i64::from(*id);
            assert!(guessed || (first.class_of(place) == IGNORED && first.ids[place] == *id));
        }
    }

    #[test]
    fn special_tokens_stay_and_words_are_masked_whole() {
        let masking = masking(true);
        let ids = [2, 20, 120, 121, 3, 30, 31, 130].repeat(500);
        let made = masking.row(&ids, 0, None);
        let chosen = |place: usize| made.class_of(place) != IGNORED;
        for at in (0..ids.len()).step_by(8) {
            assert!(!chosen(at) && !chosen(at + 4));
            assert!(chosen(at + 1) == chosen(at + 2) && chosen(at + 2) == chosen(at + 3));
            assert_eq!(chosen(at + 6), chosen(at + 7));
        }
        assert!(made.places.len() > 100);
        let first = [2, 120, 121, 3].repeat(500);
        let made = masking.row(&first, 0, None);
        assert!(made.places.len() > 100 && made.places.len() < 250);
    }

    #[test]
    fn a_tokenizer_says_what_its_tokens_are() {
        let of = |words: &[&str]| {
            let text = words.join("\n").into_bytes();
            Tokenizer::from_files([("vocab.txt".to_string(), text)].into()).expect("a tokenizer")
        };
        let bert = of(&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]);
        let masking = Masking::of(&bert, 0.15, true).expect("a masking");
        assert_eq!(masking.mask, 4);
        assert_eq!(masking.tokens[..5], [Token::Special; 5]);
        assert_eq!(masking.tokens[5..], [Token::Start, Token::Continuation]);
        let error = Masking::of(&of(&["[UNK]", "[CLS]", "[SEP]", "a"]), 0.15, false).unwrap_err();
        assert!(error.help.is_some());
    }
}
