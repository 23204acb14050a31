//! What references carry, once the steps they lead to have been checked: whether there is such a
//! table, and whether it is one or several.

use std::collections::BTreeMap;

use super::bind::PortUse;
use crate::base::{Code, Diag, Source, Span, suggest};
use crate::schema::{PortRef, PortType};
use crate::step::Shape;

/// Shapes of outputs, by step.
pub type Known = BTreeMap<String, Vec<(String, Shape)>>;

/// Checks every reference of a step; whether all of them lead to something.
pub fn uses(uses: &[PortUse], known: &Known, sources: &[Source], diags: &mut Vec<Diag>) -> bool {
    let before = diags.len();
    for used in uses {
        one(used, known, sources, diags);
    }
    diags.len() == before
}

/// The shape of what a reference carries, as far as it is known.
pub fn quietly(port: &PortRef, known: &Known) -> Option<Shape> {
    match port {
        PortRef::One { step, output, field } => {
            let shape = output_shape(known, step, output)?;
            match field {
                None => Some(shape.clone()),
                Some(field) => part(shape, field),
            }
        }
        PortRef::Named(items) => {
            let all: Vec<(String, Shape)> = items
                .iter()
                .map(|(name, port)| Some((name.clone(), quietly(port, known)?)))
                .collect::<Option<_>>()?;
            if matches!(all.first()?.1, Shape::Tokens(_)) {
                let tokens = all.into_iter().map(|(name, shape)| match shape {
                    Shape::Tokens(tokens) => Some((name, tokens)),
                    _ => None,
                });
                return tokens.collect::<Option<Vec<_>>>().map(Shape::TokenSets);
            }
            let tables = all.into_iter().map(|(name, shape)| match shape {
                Shape::Table(table) => Some((name, table)),
                Shape::Predictions(_) | Shape::Log => Some((name, Default::default())),
                _ => None,
            });
            tables.collect::<Option<Vec<_>>>().map(Shape::Tables)
        }
    }
}

fn output_shape<'k>(known: &'k Known, step: &str, output: &str) -> Option<&'k Shape> {
    known.get(step)?.iter().find(|(name, _)| name == output).map(|(_, shape)| shape)
}

fn part(shape: &Shape, field: &str) -> Option<Shape> {
    match shape {
        Shape::Tables(tables) => chosen(tables, field, Shape::Table, Shape::Tables),
        Shape::TokenSets(sets) => chosen(sets, field, Shape::Tokens, Shape::TokenSets),
        _ => None,
    }
}

/// The one of this name, or those of a group: `fold_1` stands for `fold_1.train` and
/// `fold_1.validation`.
fn chosen<T: Clone>(
    all: &[(String, T)],
    field: &str,
    one: fn(T) -> Shape,
    several: fn(Vec<(String, T)>) -> Shape,
) -> Option<Shape> {
    if let Some((_, found)) = all.iter().find(|(name, _)| name == field) {
        return Some(one(found.clone()));
    }
    let inside = |(name, item): &(String, T)| {
        let name = name.strip_prefix(field)?.strip_prefix('.')?;
        Some((name.to_string(), item.clone()))
    };
    let group: Vec<(String, T)> = all.iter().filter_map(inside).collect();
    (!group.is_empty()).then(|| several(group))
}

/// The names of the parts; `None` if it has none.
fn parts(shape: &Shape) -> Option<Vec<&str>> {
    match shape {
        Shape::Tables(tables) => Some(tables.iter().map(|(name, _)| name.as_str()).collect()),
        Shape::TokenSets(sets) => Some(sets.iter().map(|(name, _)| name.as_str()).collect()),
        _ => None,
    }
}

fn one(used: &PortUse, known: &Known, sources: &[Source], diags: &mut Vec<Diag>) {
    let PortRef::One { step, output, field } = &used.port else { return };
    let Some(shape) = output_shape(known, step, output) else { return };
    let text = sources
        .get(used.span.source.0 as usize)
        .and_then(|source| source.text.get(used.span.start..used.span.end))
        .unwrap_or(step);
    // A group of tables is several, as the whole is.
    let group = field.as_ref().and_then(|field| part(shape, field));
    let group = group.as_ref().filter(|group| parts(group).is_some());
    match (field.as_ref().filter(|_| group.is_none()), parts(group.unwrap_or(shape))) {
        // That it makes nothing has been reported.
        (Some(_), Some(names)) if names.is_empty() => {}
        (Some(field), Some(names)) if !names.contains(&field.as_str()) => {
            let message = format!("`{step}` has no `{field}`");
            let last = match text.ends_with(field.as_str()) {
                true => Span { start: used.span.end - field.len(), ..used.span },
                false => last_word(used.span, text),
            };
            let diag = Diag::new(Code::E0302, last, message)
                .here("not among them")
                .help(format!("there are {}", suggest::list(names.iter().copied())));
            diags.push(match suggest::nearest(field, names.iter().copied()) {
                Some(near) => diag.fix(last, near),
                None => match names.as_slice() {
                    [only] => diag.fix(last, *only),
                    _ => diag,
                },
            });
        }
        (Some(field), None) => {
            let message = format!("`{step}` is one alone and has no `{field}`");
            let stem = text.rsplit_once('.').map_or(text, |(stem, _)| stem).trim_end();
            diags.push(
                Diag::new(Code::E0302, last_word(used.span, text), message)
                    .here("no such part")
                    .help(format!("`{stem}` stands for it"))
                    .fix(used.span, stem),
            );
        }
        (None, Some(names)) if matches!(used.wanted, PortType::Table | PortType::Tokens) => {
            let message =
                format!("{} takes {}; `{text}` has several", used.subject, used.wanted.describe());
            let diag = Diag::new(Code::E0303, used.span, message)
                .here("which of them?")
                .help(format!("there are {}", suggest::list(names.iter().copied())));
            // `validate = tokens` means `tokens.validation`, if there is one.
            let subject = used.subject.trim_matches('`');
            let start = subject.get(..5).unwrap_or(subject);
            let near = names.iter().find(|name| name.starts_with(start)).or(names.first());
            diags.push(match near {
                Some(near) => diag.fix(used.span, format!("{text}.{near}")),
                None => diag,
            });
        }
        _ => {}
    }
}

/// The place of what follows the last dot.
fn last_word(span: Span, text: &str) -> Span {
    let start = text.rfind('.').map_or(span.start, |dot| span.start + dot + 1);
    Span { start, ..span }
}
