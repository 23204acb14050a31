//! A parameter file: a YAML map of names to values, with the place of each. `serde_yaml` decides
//! what is YAML; `saphyr_parser` tells where things stand and how they were spelled.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::outside::{Assignment, Raw};
use crate::base::{Code, Diag, Source, SourceId, Span, Spanned};

/// How deep maps and lists may be nested.
const MAX_DEPTH: usize = 32;

/// The values of a parameter file in the order of the text; maps become paths.
pub fn assignments(id: SourceId, source: &Source, diags: &mut Vec<Diag>) -> Vec<Assignment> {
    let text: &str = &source.text;
    let mut reader = Reader { id, bytes: byte_places(text), events: Vec::new(), diags };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let span = reader.span(span.start.index(), span.end.index());
                reader.events.push((event, span));
            }
            Err(error) => {
                let at = reader.byte(error.marker().index());
                let place = Span::new(id, at, at);
                reader.fault(place, format!("the file is no YAML: {}", error.info()));
                return Vec::new();
            }
        }
    }
    reader.events.reverse();
    let mut found = Vec::new();
    let faults = reader.diags.len();
    reader.document(&mut found);
    if reader.diags.len() == faults
        && let Err(error) = serde_yaml::from_str::<serde_yaml::Value>(text)
    {
        let at = error.location().map_or(0, |place| place.index().min(text.len()));
        reader.fault(Span::new(id, at, at), format!("the file is no YAML: {error}"));
        return Vec::new();
    }
    found
}

struct Reader<'t, 'd> {
    id: SourceId,
    /// The byte at which each character begins.
    bytes: Vec<usize>,
    /// What is still to be read, the next one last.
    events: Vec<(Event<'t>, Span)>,
    diags: &'d mut Vec<Diag>,
}

impl Reader<'_, '_> {
    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).or(self.bytes.last()).copied().unwrap_or(0)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.id, self.byte(start), self.byte(end).max(self.byte(start)))
    }

    fn fault(&mut self, place: Span, message: impl Into<String>) {
        self.diags.push(
            Diag::new(Code::E0603, place, message).here("here").help(
                "a parameter file is a map of names to values, such as `learning_rate: 3e-5`",
            ),
        );
    }

    fn document(&mut self, found: &mut Vec<Assignment>) {
        let mut documents = 0;
        while let Some((event, span)) = self.events.pop() {
            match event {
                Event::MappingStart(..) if documents == 0 => {
                    documents += 1;
                    self.map(&[], found, 0);
                }
                Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                // An empty file, or one of comments alone, gives no values.
                Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || &*text == "~" => {
                }
                _ if documents > 0 => {
                    self.fault(span, "a parameter file holds one document");
                    return;
                }
                _ => {
                    self.fault(span, "a parameter file is a map of names to values");
                    return;
                }
            }
        }
    }

    /// The entries of a map whose start has been read; `path` leads to it.
    fn map(&mut self, path: &[Spanned<String>], found: &mut Vec<Assignment>, depth: usize) {
        let mut seen: Vec<Spanned<String>> = Vec::new();
        while let Some((event, span)) = self.events.pop() {
            let key = match event {
                Event::MappingEnd => return,
                Event::Scalar(text, ..) => text.to_string(),
                other => {
                    self.fault(span, "a key has to be a name");
                    self.skip(&other);
                    self.skip_next();
                    continue;
                }
            };
            let twice = seen.iter().find(|other| other.value == key).map(|other| other.span);
            if let Some(first) = twice {
                self.diags.push(
                    Diag::new(Code::E0602, span, format!("the key `{key}` stands twice"))
                        .here("the second one")
                        .also(first, "the first one")
                        .help("one of them has to go"),
                );
                self.skip_next();
                continue;
            }
            seen.push(Spanned::new(key.clone(), span));
            let mut full = path.to_vec();
            let mut at = span.start;
            // A plain key may be a path itself: `tuned.batch: 16`.
            let length = span.end - span.start;
            let plain = length == key.len();
            for word in key.split('.') {
                let place = if plain { Span::new(self.id, at, at + word.len()) } else { span };
                full.push(Spanned::new(word.to_string(), place));
                at += word.len() + 1;
            }
            let Some((event, span)) = self.events.pop() else { return };
            if matches!(event, Event::MappingStart(..)) {
                if depth >= MAX_DEPTH {
                    self.fault(span, format!("maps are nested more than {MAX_DEPTH} deep"));
                    self.skip(&event);
                    continue;
                }
                self.map(&full, found, depth + 1);
            } else if let Some(value) = self.value(event, span, depth) {
                found.push(Assignment { path: full, value });
            }
        }
    }

    fn value(&mut self, event: Event, span: Span, depth: usize) -> Option<Raw> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                if let Some(tag) = tag {
                    let message =
                        format!("the tag `{}{}` means nothing here", tag.handle, tag.suffix);
                    self.fault(span, message);
                    return None;
                }
                if style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null") {
                    self.fault(span, "a value is missing");
                    return None;
                }
                let quoted = style != ScalarStyle::Plain;
                Some(Raw::Scalar { text: text.to_string(), span, quoted })
            }
            Event::SequenceStart(..) if depth < MAX_DEPTH => {
                let mut items = Vec::new();
                let mut whole = span;
                while let Some((event, place)) = self.events.pop() {
                    whole = whole.to(place);
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.extend(self.value(event, place, depth + 1));
                }
                Some(Raw::List { items, span: whole })
            }
            Event::MappingStart(..) if depth < MAX_DEPTH => {
                let mut inner = Vec::new();
                self.map(&[], &mut inner, depth + 1);
                Some(Raw::Map { entries: inner, span })
            }
            Event::Alias(_) => {
                self.fault(
                    span,
                    "anchors and aliases are not read here: the value has to be repeated",
                );
                None
            }
            other => {
                self.fault(span, "this is no value");
                self.skip(&other);
                None
            }
        }
    }

    fn skip_next(&mut self) {
        if let Some((event, _)) = self.events.pop() {
            self.skip(&event);
        }
    }

    /// Leaves out what `event` begins.
    fn skip(&mut self, event: &Event) {
        let begins =
            |event: &Event| matches!(event, Event::MappingStart(..) | Event::SequenceStart(..));
        let mut open = usize::from(begins(event));
        while open > 0 {
            let Some((event, _)) = self.events.pop() else { return };
            if begins(&event) {
                open += 1;
            } else if matches!(event, Event::MappingEnd | Event::SequenceEnd) {
                open -= 1;
            }
        }
    }
}

fn byte_places(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}
