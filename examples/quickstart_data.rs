//! Writes `pipelines/quickstart/train.csv`: support messages in six intents, made from the
//! templates beside it. Run from the repository: `cargo run --release --example quickstart_data`.
//!
//! The same seed gives the same bytes; a test compares them with the committed file. The test
//! messages of the quickstart were written by hand before this and are not made by it.

use std::collections::{BTreeMap, BTreeSet};

use ftrun::base::random::{Purpose, Stream};

const TEMPLATES: &str = include_str!("../pipelines/quickstart/templates.txt");
const SEED: u64 = 17;
const PER_INTENT: usize = 200;

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/quickstart/train.csv");
    match train_csv() {
        Ok(text) => match std::fs::write(path, text) {
            Ok(()) => println!("{path}"),
            Err(error) => eprintln!("{path}: {error}"),
        },
        Err(error) => eprintln!("templates.txt: {error}"),
    }
}

/// The whole file: `text,intent` and 200 messages of each intent, mixed.
pub fn train_csv() -> Result<String, String> {
    let sections = sections(TEMPLATES)?;
    let stream = Stream::new(SEED, Purpose::Sample);
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let intents = sections.keys().filter(|name| {
        !name.starts_with("slot ") && !["greeting", "closing"].contains(&name.as_str())
    });
    for (number, intent) in intents.enumerate() {
        let mut draw = Draw { stream, update: number as u64, next: 0 };
        let templates = &sections[intent];
        let mut order = Vec::new();
        let mut found = 0;
        // The templates take turns, so each is used about equally often.
        for attempt in 0.. {
            if found == PER_INTENT {
                break;
            }
            if attempt > 50 * PER_INTENT {
                return Err(format!("[{intent}] gives fewer than {PER_INTENT} messages"));
            }
            if order.is_empty() {
                order = stream.permutation(templates.len() as u32, 1000 + attempt as u64);
            }
            let place = order.pop().unwrap_or_default() as usize;
            let plain = expand(&templates[place], &sections, &mut draw)?;
            let message = worn(&plain, &sections, &mut draw);
            if seen.insert(normalised(&message)) {
                rows.push((message, intent.as_str()));
                found += 1;
            }
        }
    }
    let mut text = String::from("text,intent\n");
    for place in stream.permutation(rows.len() as u32, 0) {
        let (message, intent) = &rows[place as usize];
        if message.contains([',', '"']) {
            text.push_str(&format!("\"{}\",{intent}\n", message.replace('"', "\"\"")));
        } else {
            text.push_str(&format!("{message},{intent}\n"));
        }
    }
    Ok(text)
}

/// Lower case, letters and digits alone, single spaces: what makes two messages the same.
pub fn normalised(message: &str) -> String {
    let plain: String =
        message.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines by the `[name]` above them; `#` starts a comment line.
fn sections(text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(name.to_string());
        } else {
            let name = current.clone().ok_or_else(|| format!("no section above `{line}`"))?;
            sections.entry(name).or_default().push(line.to_string());
        }
    }
    Ok(sections)
}

/// Draws one after the other from a stream.
struct Draw {
    stream: Stream,
    update: u64,
    next: u64,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        self.stream.below(bound as u64, self.update, self.next) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, lines: &'a [String]) -> &'a str {
        match lines {
            [] => "",
            lines => &lines[self.below(lines.len())],
        }
    }
}

/// Replaces `{a|b}` by one of its parts and `{name}` by a line of `[slot name]`, at any depth.
fn expand(
    template: &str,
    sections: &BTreeMap<String, Vec<String>>,
    draw: &mut Draw,
) -> Result<String, String> {
    let Some(open) = template.find('{') else { return Ok(template.to_string()) };
    let (mut depth, mut bars, mut close) = (0usize, vec![open], None);
    for (place, sign) in template.char_indices().skip_while(|(place, _)| *place < open) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 1 => bars.push(place),
            _ => {}
        }
        if depth == 0 {
            close = Some(place);
            break;
        }
    }
    let close = close.ok_or_else(|| format!("a brace is left open in `{template}`"))?;
    let inner = &template[open + 1..close];
    let chosen = if bars.len() == 1 {
        let lines = sections
            .get(&format!("slot {inner}"))
            .ok_or_else(|| format!("there is no [slot {inner}]: `{template}`"))?;
        draw.pick(lines).to_string()
    } else {
        let part = draw.below(bars.len());
        let end = bars.get(part + 1).copied().unwrap_or(close);
        expand(&template[bars[part] + 1..end], sections, draw)?
    };
    Ok(format!("{}{chosen}{}", &template[..open], expand(&template[close + 1..], sections, draw)?))
}

const SHORT_FORMS: [(&str, &str); 22] = [
    ("I am", "I'm"),
    ("I have", "I've"),
    ("I would", "I'd"),
    ("I will", "I'll"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
    ("was not", "wasn't"),
    ("has not", "hasn't"),
    ("have not", "haven't"),
    ("cannot", "can't"),
    ("could not", "couldn't"),
    ("will not", "won't"),
    ("we are", "we're"),
    ("you are", "you're"),
    ("where is", "where's"),
    ("what is", "what's"),
    ("there is", "there's"),
    ("it is", "it's"),
    ("want to", "wanna"),
    ("going to", "gonna"),
];

const SLANG: [(&str, &str); 8] = [
    ("please", "pls"),
    ("you", "u"),
    ("your", "ur"),
    ("are", "r"),
    ("because", "cause"),
    ("with", "w"),
    ("and", "n"),
    ("tomorrow", "tmrw"),
];

/// The sentence as people type it: short forms, greetings, letters in the wrong place.
fn worn(plain: &str, sections: &BTreeMap<String, Vec<String>>, draw: &mut Draw) -> String {
    let mut text = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    text = text.replace(" ,", ",").replace(" ?", "?");
    if draw.chance(55) {
        for (long, short) in SHORT_FORMS {
            if short != "wanna" && short != "gonna" || draw.chance(10) {
                text = replace_words(&text, long, short);
            }
        }
    }
    for (odd, even) in
        [("I've to ", "I have to "), ("on yesterday", "yesterday"), ("on last", "last")]
    {
        text = text.replace(odd, even);
    }
    let lower = draw.chance(40);
    if lower && draw.chance(15) {
        for (long, short) in SLANG {
            if draw.chance(60) {
                text = replace_words(&text, long, short);
            }
        }
    }
    text = text.trim_end_matches('?').to_string();
    if !draw.chance(35) {
        text.push_str(end_mark(plain, draw));
    }
    if draw.chance(18) {
        text = format!("{} {text}", draw.pick(&sections["greeting"]));
    } else if !lower {
        text = capitalised(&text);
    }
    if draw.chance(13) {
        let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
        text = format!("{text}{stop} {}", draw.pick(&sections["closing"]));
    }
    if lower {
        text = text.to_lowercase();
        if draw.chance(50) {
            text = text.replace('\'', "");
        }
    } else if draw.chance(3) {
        text = text.to_uppercase();
    }
    for _ in 0..2 {
        if draw.chance(12) {
            text = mistyped(&text, draw);
        }
    }
    text
}

fn end_mark(plain: &str, draw: &mut Draw) -> &'static str {
    let first = plain.split_whitespace().next().unwrap_or_default().to_lowercase();
    let asks = [
        "how", "can", "could", "where", "when", "what", "why", "which", "who", "is", "are", "do",
        "does", "did", "has", "may", "if",
    ];
    match draw.below(10) {
        0 => "!",
        1 if asks.contains(&first.as_str()) => "??",
        2 => "...",
        _ if asks.contains(&first.as_str()) => "?",
        _ => ".",
    }
}

/// Replaces whole words, whatever the case of the first letter.
fn replace_words(text: &str, long: &str, short: &str) -> String {
    let padded = format!(" {text} ");
    let replaced = padded
        .replace(&format!(" {long} "), &format!(" {short} "))
        .replace(&format!(" {} ", capitalised(long)), &format!(" {} ", capitalised(short)));
    replaced.trim().to_string()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// One slip in one of the longer words: two letters swapped, one left out, one twice.
fn mistyped(text: &str, draw: &mut Draw) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_string).collect();
    let long: Vec<usize> = (0..words.len())
        .filter(|place| words[*place].len() > 4 && words[*place].chars().all(char::is_alphabetic))
        .collect();
    if long.is_empty() {
        return text.to_string();
    }
    let place = long[draw.below(long.len())];
    let mut letters: Vec<char> = words[place].chars().collect();
    let at = 1 + draw.below(letters.len() - 2);
    match draw.below(3) {
        0 => letters.swap(at, at + 1),
        1 => drop(letters.remove(at)),
        _ => letters.insert(at, letters[at]),
    }
    words[place] = letters.into_iter().collect();
    words.join(" ")
}
