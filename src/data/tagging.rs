//! Entities in sequences of tags: `B-PER I-PER O`. Which scheme tags follow, how they change into
//! another, and which entities they name, in the lenient reading of conlleval and in the strict one.
//!
//! Sources: Ramshaw and Marcus 1995 (IOB1), Ratnaparkhi 1998 (IOB2), Ratinov and Roth 2009 (BILOU);
//! both readings give what seqeval 1.2.2 gives.

/// How entities are written as tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `B` only where an entity follows another one of its type.
    Iob1,
    /// Every entity begins with `B`.
    Iob2,
    /// `B I … E`, and `S` for a single word.
    Iobes,
    /// `B I … L`, and `U` for a single word.
    Bilou,
}

impl Scheme {
    pub const ALL: [Scheme; 4] = [Scheme::Iob1, Scheme::Iob2, Scheme::Iobes, Scheme::Bilou];

    /// As messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Iob1 => "IOB1",
            Scheme::Iob2 => "IOB2",
            Scheme::Iobes => "IOBES",
            Scheme::Bilou => "BILOU",
        }
    }

    fn prefixes(self) -> &'static str {
        match self {
            Scheme::Iob1 | Scheme::Iob2 => "OBI",
            Scheme::Iobes => "OBIES",
            Scheme::Bilou => "OBILU",
        }
    }
}

/// An entity: the words from `start` to before `end`. Tags without a type (`B`) have an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity<'a> {
    pub start: usize,
    pub end: usize,
    pub kind: &'a str,
}

/// A tag's parts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part<'a> {
    prefix: char,
    kind: &'a str,
}

const OUTSIDE: Part = Part { prefix: 'O', kind: "" };

/// The parts of a tag such as `O`, `B` or `B-PER`; `None` for a tag of another form, such as `NOUN`.
/// An empty tag is outside.
fn part(tag: &str) -> Option<Part<'_>> {
    let mut rest = tag.chars();
    let Some(prefix) = rest.next() else { return Some(OUTSIDE) };
    let kind = match rest.as_str() {
        "" => "",
        rest if prefix != 'O' => rest.strip_prefix('-')?,
        _ => return None,
    };
    "OBIESLU".contains(prefix).then_some(Part { prefix, kind })
}

/// The first tag that cannot be part of any scheme.
pub fn foreign<T: AsRef<str>>(tags: &[T]) -> Option<&str> {
    tags.iter().map(T::as_ref).find(|tag| part(tag).is_none())
}

fn parts<T: AsRef<str>>(tags: &[T]) -> impl Iterator<Item = Part<'_>> {
    tags.iter().map(|tag| part(tag.as_ref()).unwrap_or(OUTSIDE))
}

/// The entities as conlleval reads them: an entity goes on until a tag begins another one, changes
/// the type or is outside, so `I` may begin one. Tags of no scheme are outside.
pub fn entities<T: AsRef<str>>(tags: &[T]) -> Vec<Entity<'_>> {
    let mut found = Vec::new();
    let mut open: Option<usize> = None;
    let mut before = OUTSIDE;
    for (at, now) in parts(tags).chain([OUTSIDE]).enumerate() {
        let goes_on = matches!(before.prefix, 'B' | 'I')
            && matches!(now.prefix, 'I' | 'E' | 'L')
            && before.kind == now.kind;
        if !goes_on {
            if let Some(start) = open.take() {
                found.push(Entity { start, end: at, kind: before.kind });
            }
            open = (now.prefix != 'O').then_some(at);
        }
        before = now;
    }
    found
}

/// The entities that follow a scheme to the letter, as seqeval's strict mode reads them. The error
/// is a tag that the scheme does not have.
pub fn strict_entities<T: AsRef<str>>(tags: &[T], scheme: Scheme) -> Result<Vec<Entity<'_>>, &str> {
    let mut all = Vec::with_capacity(tags.len() + 1);
    for tag in tags.iter().map(T::as_ref) {
        match part(tag) {
            Some(part) if scheme.prefixes().contains(part.prefix) => all.push(part),
            _ => return Err(tag),
        }
    }
    all.push(OUTSIDE);
    let mut found = Vec::new();
    let (mut at, mut before) = (0, OUTSIDE);
    while at < all.len() {
        if begins(scheme, before, all[at]) {
            let start = at;
            at += 1;
            while at < all.len() && is_inside(scheme, all[at - 1], all[at]) {
                at += 1;
            }
            // What is outside closes the sequence and is never inside: `at` is a place of `all`.
            if ends(scheme, all[at - 1], all[at]) {
                found.push(Entity { start, end: at, kind: all[start].kind });
            }
        } else {
            at += 1;
        }
        before = all[at - 1];
    }
    Ok(found)
}

fn begins(scheme: Scheme, before: Part, now: Part) -> bool {
    let same = before.kind == now.kind;
    match scheme {
        Scheme::Iob1 => match (before.prefix, now.prefix) {
            ('O' | 'B', 'I') => true,
            ('I', 'I') => !same,
            ('I' | 'B', 'B') => same,
            _ => false,
        },
        Scheme::Iob2 => now.prefix == 'B',
        Scheme::Iobes | Scheme::Bilou => matches!(now.prefix, 'B' | 'S' | 'U'),
    }
}

fn is_inside(scheme: Scheme, before: Part, now: Part) -> bool {
    let may_follow = match scheme {
        Scheme::Iob1 | Scheme::Iob2 => now.prefix == 'I',
        Scheme::Iobes | Scheme::Bilou => matches!(now.prefix, 'I' | 'E' | 'L'),
    };
    may_follow && matches!(before.prefix, 'B' | 'I') && before.kind == now.kind
}

/// Whether an entity whose last tag is `last` is whole.
fn ends(scheme: Scheme, last: Part, now: Part) -> bool {
    match scheme {
        Scheme::Iob1 => !(last.prefix == 'B' && now.prefix == 'B') || last.kind == now.kind,
        Scheme::Iob2 => true,
        Scheme::Iobes | Scheme::Bilou => matches!(last.prefix, 'E' | 'S' | 'L' | 'U'),
    }
}

/// How many tags break the rules of a scheme: a prefix that it has not, an entity that goes on
/// without a beginning, one that is not closed, an IOB1 `B` where `I` belongs.
pub fn violations<T: AsRef<str>>(tags: &[T], scheme: Scheme) -> u64 {
    let mut count = 0;
    let mut before = OUTSIDE;
    for now in parts(tags).chain([OUTSIDE]) {
        let follows = matches!(before.prefix, 'B' | 'I') && before.kind == now.kind;
        let wrong = match scheme {
            Scheme::Iob1 => now.prefix == 'B' && !follows,
            Scheme::Iob2 => now.prefix == 'I' && !follows,
            Scheme::Iobes | Scheme::Bilou => {
                let open = matches!(before.prefix, 'B' | 'I');
                let goes_on = matches!(now.prefix, 'I' | 'E' | 'L');
                (open || goes_on) && !(goes_on && follows)
            }
        };
        count += u64::from(wrong || !scheme.prefixes().contains(now.prefix));
        before = now;
    }
    count
}

/// The scheme that sentences follow, and how many tags break it. Of IOB1 and IOB2 it is the one
/// that fewer tags break, IOB2 of equals. `None` where a tag is of no scheme, or none names an entity.
pub fn detect<'a, T: AsRef<str> + 'a>(
    sentences: impl Iterator<Item = &'a [T]> + Clone,
) -> Option<(Scheme, u64)> {
    let mut seen = [false; 128];
    for tags in sentences.clone() {
        for tag in tags {
            let prefix = part(tag.as_ref())?.prefix;
            seen[prefix as usize & 127] = true;
        }
    }
    let has = |prefixes: &str| prefixes.bytes().any(|prefix| seen[prefix as usize & 127]);
    let candidates: &[Scheme] = match (has("BI"), has("ES"), has("LU")) {
        (_, true, true) | (false, false, false) => return None,
        (_, true, false) => &[Scheme::Iobes],
        (_, false, true) => &[Scheme::Bilou],
        (true, false, false) => &[Scheme::Iob2, Scheme::Iob1],
    };
    let broken = |scheme: &Scheme| -> (Scheme, u64) {
        (*scheme, sentences.clone().map(|tags| violations(tags, *scheme)).sum())
    };
    candidates.iter().map(broken).min_by_key(|(_, broken)| *broken)
}

/// The same entities, as conlleval reads them, in another scheme.
pub fn convert<T: AsRef<str>>(tags: &[T], to: Scheme) -> Vec<String> {
    let mut out = vec!["O".to_string(); tags.len()];
    let (mut end, mut kind) = (usize::MAX, "");
    for entity in entities(tags) {
        let last = entity.end - 1;
        for (at, tag) in out.iter_mut().enumerate().take(entity.end).skip(entity.start) {
            let (first, single) = (at == entity.start, entity.start == last);
            let prefix = match to {
                Scheme::Iob1 if first && end == entity.start && kind == entity.kind => 'B',
                Scheme::Iob1 => 'I',
                Scheme::Iobes if single => 'S',
                Scheme::Bilou if single => 'U',
                _ if first => 'B',
                Scheme::Iobes if at == last => 'E',
                Scheme::Bilou if at == last => 'L',
                _ => 'I',
            };
            *tag = match entity.kind {
                "" => prefix.to_string(),
                kind => format!("{prefix}-{kind}"),
            };
        }
        (end, kind) = (entity.end, entity.kind);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Purpose, Stream};

    fn tags(text: &str) -> Vec<&str> {
        text.split(' ').collect()
    }

    fn lenient(text: &str) -> Vec<(String, usize, usize)> {
        entities(&tags(text)).iter().map(|one| (one.kind.to_string(), one.start, one.end)).collect()
    }

    fn strict(text: &str, scheme: Scheme) -> Vec<(String, usize, usize)> {
        let tags = tags(text);
        let found = strict_entities(&tags, scheme).unwrap();
        found.iter().map(|one| (one.kind.to_string(), one.start, one.end)).collect()
    }

    fn named(entities: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
        entities.iter().map(|(kind, start, end)| (kind.to_string(), *start, *end)).collect()
    }

    /// What `seqeval.metrics.sequence_labeling.get_entities` gives.
    #[test]
    fn the_lenient_reading_lets_anything_begin_an_entity() {
        let x = |start, end| ("X", start, end);
        assert_eq!(lenient("I-X I-X O I-X"), named(&[x(0, 2), x(3, 4)]));
        assert_eq!(lenient("B-X B-X I-Y"), named(&[x(0, 1), x(1, 2), ("Y", 2, 3)]));
        assert_eq!(lenient("E-X E-X S-X I-X"), named(&[x(0, 1), x(1, 2), x(2, 3), x(3, 4)]));
        assert_eq!(lenient("B-X I-X E-X O B I"), named(&[x(0, 3), ("", 4, 6)]));
        assert_eq!(lenient("O NOUN O"), named(&[]));
    }

    /// What `seqeval.scheme.Entities` gives, its oddities included.
    #[test]
    fn the_strict_reading_takes_whole_entities_alone() {
        let x = |start, end| ("X", start, end);
        assert_eq!(strict("I-X B-X I-X I-Y O", Scheme::Iob2), named(&[x(1, 3)]));
        assert_eq!(
            strict("B-X I-X B-X E-X S-Y E-Y", Scheme::Iobes),
            named(&[x(2, 4), ("Y", 4, 5)])
        );
        assert_eq!(strict("B-X L-X U-Y I-Y", Scheme::Bilou), named(&[x(0, 2), ("Y", 2, 3)]));
        assert_eq!(strict("I-X I-X B-X O B-X", Scheme::Iob1), named(&[x(0, 2), x(2, 3)]));
        assert_eq!(strict_entities(&tags("O S-X"), Scheme::Iob2), Err("S-X"));
    }

    #[test]
    fn schemes_are_told_by_what_they_forbid() {
        let found = |lines: &[&str]| {
            let sentences: Vec<Vec<&str>> = lines.iter().map(|line| tags(line)).collect();
            detect(sentences.iter().map(Vec::as_slice))
        };
        assert_eq!(found(&["I-X I-X O", "O I-Y B-Y"]), Some((Scheme::Iob1, 0)));
        assert_eq!(found(&["B-X I-X O", "O B-Y"]), Some((Scheme::Iob2, 0)));
        assert_eq!(found(&["B-X I-X O B-X B-X", "O I-Y"]), Some((Scheme::Iob2, 1)));
        assert_eq!(found(&["S-X O B-X I-X E-X"]), Some((Scheme::Iobes, 0)));
        assert_eq!(found(&["B-X L-X I-X"]), Some((Scheme::Bilou, 2)));
        assert_eq!(found(&["O O"]), None);
        assert_eq!(found(&["NOUN B-X"]), None);
        assert_eq!(found(&["E-X L-X"]), None);
    }

    /// Random tags of every scheme mixed: conversion keeps the entities, and breaks no rule.
    #[test]
    fn conversion_keeps_the_entities() {
        let all: Vec<String> = "BIESLU"
            .chars()
            .flat_map(|prefix| ["-X", "-Y", ""].map(|kind| format!("{prefix}{kind}")))
            .chain(["O".to_string(), "O".to_string()])
            .collect();
        let stream = Stream::new(3, Purpose::Split);
        for case in 0..500u64 {
            let length = 1 + stream.below(12, case, 0) as usize;
            let tags: Vec<&str> = (0..length)
                .map(|at| {
                    all[stream.below(all.len() as u64, case, at as u64 + 1) as usize].as_str()
                })
                .collect();
            for scheme in Scheme::ALL {
                let converted = convert(&tags, scheme);
                assert_eq!(entities(&converted), entities(&tags), "{tags:?} as {scheme:?}");
                assert_eq!(violations(&converted, scheme), 0, "{tags:?} as {converted:?}");
                assert_eq!(
                    strict_entities(&converted, scheme).unwrap(),
                    entities(&tags),
                    "{tags:?} as {converted:?}"
                );
            }
        }
    }
}
