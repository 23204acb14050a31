//! Pieces of words, learned by joining the most frequent pair of neighbours again and again.
//! Sources: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016),
//! section 3.2; WordPiece as Hugging Face trains it, which is the same with marked continuations.
//!
//! Equal counts go to the pair whose pieces are older, so that the result depends on the words alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How pieces are learned.
pub(super) struct Joining<'a> {
    /// What pieces that do not begin a word start with; empty for none.
    pub prefix: &'a str,
    /// Pieces that are there beside the single characters.
    pub size: usize,
    /// A pair that occurs less often is not joined, and a character is not known.
    pub min_frequency: u64,
    /// The most different characters.
    pub alphabet: usize,
    /// Characters that are known whether they occur or not.
    pub always: &'a [char],
}

/// Pieces in the order of their ids, and the pairs that were joined in theirs.
pub(super) struct Joined {
    pub pieces: Vec<String>,
    pub joins: Vec<(String, String)>,
    /// How many of the pieces are single characters.
    pub characters: usize,
}

type Pair = (u32, u32);

/// A word as pieces, and how often it occurs.
struct Word {
    pieces: Vec<u32>,
    count: u64,
}

impl Joining<'_> {
    /// The pieces of these words. Words with a character that is not known teach nothing.
    pub fn learn(&self, words: &BTreeMap<String, u64>) -> Joined {
        let mut pieces = self.characters(words);
        let characters = pieces.len();
        let mut numbers: HashMap<String, u32> = pieces.iter().cloned().zip(0..).collect();
        let mut words: Vec<Word> = words
            .iter()
            .filter_map(|(word, count)| {
                let of_word = word.chars().enumerate();
                let pieces = of_word.map(|(place, sign)| numbers.get(&self.piece(place, sign)));
                let pieces = pieces.map(|number| number.copied()).collect::<Option<_>>()?;
                Some(Word { pieces, count: *count })
            })
            .collect();

        let mut counts = Counts::default();
        for (number, word) in words.iter().enumerate() {
            for pair in pairs(&word.pieces) {
                counts.found_in.entry(pair).or_default().push(number);
                counts.change(pair, word.count as i64);
            }
        }
        let mut joins = Vec::new();
        while pieces.len() < self.size
            && let Some((count, pair)) = counts.most()
            && count >= self.min_frequency.max(1)
        {
            let (left, right) = (&pieces[pair.0 as usize], &pieces[pair.1 as usize]);
            let joined = format!("{left}{}", right.strip_prefix(self.prefix).unwrap_or(right));
            joins.push((left.clone(), right.clone()));
            // One text can come of two pairs.
            let next = pieces.len() as u32;
            let number = *numbers.entry(joined.clone()).or_insert(next);
            if number == next {
                pieces.push(joined);
            }
            let mut places = counts.found_in.remove(&pair).unwrap_or_default();
            places.sort_unstable();
            places.dedup();
            let mut changes: BTreeMap<Pair, i64> = BTreeMap::new();
            for place in places {
                let word = &mut words[place];
                let count = word.count as i64;
                pairs(&word.pieces).for_each(|old| *changes.entry(old).or_default() -= count);
                join(&mut word.pieces, pair, number);
                for new in pairs(&word.pieces) {
                    *changes.entry(new).or_default() += count;
                    if new.0 == number || new.1 == number {
                        counts.found_in.entry(new).or_default().push(place);
                    }
                }
            }
            for (pair, change) in changes {
                counts.change(pair, change);
            }
        }
        Joined { pieces, joins, characters }
    }

    /// Single characters as pieces, those that begin words first, by code point.
    fn characters(&self, words: &BTreeMap<String, u64>) -> Vec<String> {
        let mut counts: BTreeMap<char, u64> = BTreeMap::new();
        let mut inside: BTreeSet<char> = BTreeSet::new();
        for (word, count) in words {
            for (place, sign) in word.chars().enumerate() {
                *counts.entry(sign).or_default() += count;
                if place > 0 {
                    inside.insert(sign);
                }
            }
        }
        let mut kept: Vec<(char, u64)> =
            counts.into_iter().filter(|(_, count)| *count >= self.min_frequency).collect();
        kept.sort_by_key(|(sign, count)| (Reverse(*count), *sign));
        kept.truncate(self.alphabet);
        let known: BTreeSet<char> =
            kept.into_iter().map(|(sign, _)| sign).chain(self.always.iter().copied()).collect();
        let first = known.iter().map(|sign| self.piece(0, *sign));
        let others = known.iter().filter(|sign| !self.prefix.is_empty() && inside.contains(sign));
        first.chain(others.map(|sign| self.piece(1, *sign))).collect()
    }

    fn piece(&self, place: usize, sign: char) -> String {
        match place {
            0 => sign.to_string(),
            _ => format!("{}{sign}", self.prefix),
        }
    }
}

/// Neighbours in a word.
fn pairs(pieces: &[u32]) -> impl Iterator<Item = Pair> + '_ {
    pieces.windows(2).map(|pair| (pair[0], pair[1]))
}

/// Joins every occurrence of a pair, from the left.
fn join(pieces: &mut Vec<u32>, pair: Pair, number: u32) {
    let mut kept = Vec::with_capacity(pieces.len());
    let mut place = 0;
    while let Some(piece) = pieces.get(place) {
        if (*piece, pieces.get(place + 1).copied()) == (pair.0, Some(pair.1)) {
            kept.push(number);
            place += 2;
        } else {
            kept.push(*piece);
            place += 1;
        }
    }
    *pieces = kept;
}

/// How often each pair occurs. The maps are asked by key alone; their order never matters.
#[derive(Default)]
struct Counts {
    of: HashMap<Pair, u64>,
    by_count: BTreeSet<(u64, Reverse<Pair>)>,
    /// The words that a pair occurs in, or did.
    found_in: HashMap<Pair, Vec<usize>>,
}

impl Counts {
    fn change(&mut self, pair: Pair, by: i64) {
        if by == 0 {
            return;
        }
        let count = self.of.entry(pair).or_default();
        self.by_count.remove(&(*count, Reverse(pair)));
        *count = count.saturating_add_signed(by);
        if *count > 0 {
            self.by_count.insert((*count, Reverse(pair)));
        }
    }

    fn most(&self) -> Option<(u64, Pair)> {
        self.by_count.last().map(|(count, Reverse(pair))| (*count, *pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(prefix: &str, size: usize, min_frequency: u64, words: &[(&str, u64)]) -> Joined {
        let words = words.iter().map(|(word, count)| (word.to_string(), *count)).collect();
        Joining { prefix, size, min_frequency, alphabet: 100, always: &[] }.learn(&words)
    }

    /// By hand, with the words of Sennrich et al., section 3.2: es and st occur 9 times, and e is
    /// older; then est 9 times; lo and ow 7 times, and l is older; then low.
    #[test]
    fn the_most_frequent_pair_is_joined_first() {
        let words = [("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)];
        let made = learn("", 14, 2, &words);
        assert_eq!(made.pieces[..10], ["d", "e", "i", "l", "n", "o", "r", "s", "t", "w"]);
        assert_eq!(made.characters, 10);
        assert_eq!(made.pieces[10..], ["es", "est", "lo", "low"]);
        assert_eq!(made.joins[1], ("es".to_string(), "t".to_string()));
    }

    #[test]
    fn continuations_are_marked_and_rare_pairs_are_left_apart() {
        let made = learn("##", 100, 3, &[("abab", 3), ("ab", 1), ("z", 2), ("ax", 1)]);
        assert_eq!(made.pieces[..made.characters], ["a", "b", "##a", "##b"]);
        // ab 4, then ##ab: ##a ##b 3; ab ##ab 3.
        assert_eq!(made.pieces[made.characters..], ["ab", "##ab", "abab"]);
    }

    #[test]
    fn counts_stay_right_where_a_piece_repeats() {
        // aaaa: pairs aa ×3; joined from the left it is aa aa, then aaaa.
        let made = learn("", 10, 1, &[("aaaa", 2), ("aaa", 1)]);
        assert_eq!(made.pieces, ["a", "aa", "aaaa", "aaa"]);
    }
}
