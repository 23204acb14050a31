//! The nearest name, for "did this mean …?".

/// How many candidates are looked at, and how many names are listed: files without end of mistakes
/// are answered in time.
const CANDIDATES: usize = 2_000;
const LISTED: usize = 40;

/// The candidate that `word` was probably meant for, if there is one: a typing mistake away, a longer
/// or shorter form of it (`batch_size`, `max_len`), or what it abbreviates (`lr`).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = plain(word);
    let length = wanted.chars().count();
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    let distance = |candidate: &str| {
        let known = plain(candidate);
        if known.chars().count().abs_diff(length) <= allowed {
            let distance = strsim::damerau_levenshtein(&wanted, &known);
            if distance <= allowed {
                return Some(distance);
            }
        }
        let initials =
            || known.split('_').filter_map(|part| part.chars().next()).collect::<String>();
        let begins = |long: &str, short: &str| short.len() >= 4 && long.starts_with(short);
        let related = begins(&wanted, &known)
            || begins(&known, &wanted)
            || length >= 2 && known.contains('_') && initials() == wanted;
        related.then_some(length + known.len())
    };
    candidates
        .into_iter()
        .take(CANDIDATES)
        .filter_map(|candidate| distance(candidate).map(|distance| (distance, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`: the way lists of names are shown in messages.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.count();
    match shown.as_slice() {
        [] => "none".to_string(),
        [one] => one.clone(),
        all if more > 0 => format!("{} and {more} more", all.join(", ")),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("learing_rate", ["learning_rate", "batch"]), Some("learning_rate"));
        assert_eq!(nearest("load_data", ["load-data"]), Some("load-data"));
        assert_eq!(nearest("zzz", ["learning_rate", "batch"]), None);
        assert_eq!(nearest("x", ["f", "g"]), None);
        assert_eq!(nearest("lr", ["batch", "learning_rate"]), Some("learning_rate"));
        assert_eq!(nearest("batch_size", ["budget", "batch"]), Some("batch"));
        assert_eq!(nearest("max_len", ["max_length", "data"]), Some("max_length"));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
        let many: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
        assert!(list(many.iter().map(String::as_str)).ends_with("`n39` and 10 more"));
    }
}
