//! References to what steps make, as far as declarations tell: whether there is such an output, and
//! whether its type fits. Which tables there are is in `shapes`.

use super::bind::{At, Binder, PortUse};
use super::names::{Name, may_fit};
use super::refine;
use super::reuse;
use crate::base::{Code, Diag, Span, Spanned, suggest};
use crate::schema::{Bound, PortRef, PortType, Type};
use crate::step::Kind;
use crate::syntax::ast::{Entry, Expr, ExprKind};

impl<'a> Binder<'a> {
    pub(super) fn use_port(&mut self, port: PortRef, wanted: PortType, span: Span, at: &At) {
        self.uses.push(PortUse { port, wanted, span, subject: at.subject.clone() });
    }

    /// `{ train = parts.train, test = reviews.test }`
    pub(super) fn named_ports(
        &mut self,
        expr: &Expr,
        entries: &[Entry],
        wanted: PortType,
        at: &At,
    ) -> Option<Bound> {
        let item = match wanted {
            PortType::Tables => PortType::Table,
            PortType::TokenSets => PortType::Tokens,
            _ => return self.refuse(expr, &Type::Port(wanted), at),
        };
        let unique = self.unique(entries, at);
        if entries.is_empty() {
            let message = format!("{} is empty", at.subject);
            self.diags.push(
                Diag::new(Code::E0205, expr.span, message).here("nothing in it").help(format!(
                    "{} takes {}",
                    at.subject,
                    wanted.describe()
                )),
            );
            return None;
        }
        let ports: Vec<Option<(String, PortRef)>> = entries
            .iter()
            .map(|entry| {
                match self.bind(&entry.value, &Type::Port(item), &at.field(&entry.key.value))? {
                    Bound::Port(port) => Some((entry.key.value.clone(), port)),
                    _ => None,
                }
            })
            .collect();
        let ports = ports.into_iter().collect::<Option<Vec<_>>>().filter(|_| unique)?;
        Some(Bound::Port(PortRef::Named(ports)))
    }

    /// `step`, `step.output`, `step.field`, `step.output.field`
    pub(super) fn reference(
        &mut self,
        words: &[Spanned<String>],
        wanted: PortType,
        expr: &Expr,
        at: &At,
    ) -> Option<PortRef> {
        if let Some(words) = self.names.of_use(words).filter(|_| !self.literal) {
            return self.outside(|binder| binder.reference(&words, wanted, expr, at));
        }
        let (first, rest) = words.split_first()?;
        let names = self.names;
        let (step, kind) = match names.get(&first.value).filter(|_| !self.literal) {
            Some(Name::Step { step, kind }) => (step, (*kind)?),
            Some(Name::Unread(_) | Name::Open(_)) => return None,
            Some(Name::Given(given)) => return self.part_of(given, rest, wanted, expr, at),
            Some(Name::Use { prefix, span }) => {
                let begin = format!("{prefix}.");
                let steps = self.program.steps().map(|(step, _)| step.name.value.as_str());
                let steps = steps.filter(|name| name.starts_with(&begin));
                let message = format!("`{}` is a use of a fragment, and no step", first.value);
                self.diags.push(
                    Diag::new(Code::E0303, first.span, message)
                        .here("a use")
                        .also(*span, "used here")
                        .help(format!("its steps are {}", suggest::list(steps))),
                );
                return None;
            }
            Some(reuse @ Name::Reuse { span, .. }) => {
                let message = format!("{} `{}` makes nothing", reuse.what(), first.value);
                self.diags.push(
                    Diag::new(Code::E0303, first.span, message)
                        .here("nothing to refer to")
                        .also(*span, "declared here")
                        .help("`use` makes steps of a fragment"),
                );
                return None;
            }
            Some(Name::Param(declared)) => {
                let message = format!(
                    "{} takes {}; `{}` is a parameter",
                    at.subject,
                    wanted.describe(),
                    first.value
                );
                let declared = declared.param.name.span;
                self.diags.push(
                    Diag::new(Code::E0204, expr.span, message)
                        .here("a parameter")
                        .also(declared, "declared here")
                        .help("what steps make is referred to by the name of the step"),
                );
                return None;
            }
            Some(Name::Secret(secret)) => {
                let message = format!("{} is no argument for a secret", at.subject);
                self.diags.push(
                    Diag::new(Code::E0604, expr.span, message)
                        .here("a secret")
                        .also(secret.name.span, "declared here"),
                );
                return None;
            }
            None => {
                let diag = refine::unknown_name(self.names, first, wanted, self.step);
                self.diags.push(diag);
                return None;
            }
        };
        match resolve(&step.name.value, kind, rest, wanted) {
            Ok(port) => Some(port),
            Err(problem) => {
                let diag = refine::wrong_reference(self, words, kind, wanted, problem, at);
                self.diags.push(diag);
                None
            }
        }
    }
}

impl Binder<'_> {
    /// What was handed to a fragment, or a part of it.
    fn part_of(
        &mut self,
        given: &Expr,
        rest: &[Spanned<String>],
        wanted: PortType,
        expr: &Expr,
        at: &At,
    ) -> Option<PortRef> {
        match reuse::part(given, rest).map(|part| part.kind) {
            Some(ExprKind::Path(words)) => {
                self.outside(|binder| binder.reference(&words, wanted, expr, at))
            }
            found => {
                let message = match (&found, rest.first()) {
                    (None, Some(word)) => {
                        format!("what is handed over here has no `{}`", word.value)
                    }
                    _ => "what is handed over here is no reference to a step".to_string(),
                };
                let place = rest.first().map_or(expr.span, |word| word.span);
                self.diags.push(
                    Diag::new(Code::E0303, place, message)
                        .here("needed here")
                        .also(given.span, "handed over here")
                        .help("a step, or a map that has this name, can be handed over"),
                );
                None
            }
        }
    }
}

/// Why a reference to a step of a known kind means nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// No output and no field of the main output.
    NoOutput { word: usize },
    /// It is there, and is something else.
    Other(Found),
    /// Nothing that the step makes fits.
    NothingFits,
    /// These fit.
    Several(Vec<&'static str>),
    /// More words than an output and its field.
    TooLong { word: usize },
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Port(PortType),
    Number,
}

/// What the words behind the name of a step mean where `wanted` is expected.
fn resolve(
    step: &str,
    kind: &'static Kind,
    rest: &[Spanned<String>],
    wanted: PortType,
) -> Result<PortRef, Problem> {
    let port = |output: &str, field: Option<&str>| PortRef::One {
        step: step.to_string(),
        output: output.to_string(),
        field: field.map(str::to_string),
    };
    let main = kind.outputs.first().ok_or(Problem::NothingFits)?;
    let (output, field, field_word) = match rest {
        [] => {
            if may_fit(main.ty, wanted) {
                return Ok(port(main.name, None));
            }
            let fitting: Vec<&'static str> = kind
                .outputs
                .iter()
                .filter(|output| may_fit(output.ty, wanted))
                .map(|output| output.name)
                .collect();
            return match fitting.as_slice() {
                [] => Err(Problem::NothingFits),
                [one] => Ok(port(one, None)),
                _ => Err(Problem::Several(fitting)),
            };
        }
        [word] => match kind.output(&word.value) {
            Some(output) => (output, None, 1),
            None => (main, Some(word.value.clone()), 1),
        },
        [word, field] => match kind.output(&word.value) {
            Some(output) => (output, Some(field.value.clone()), 2),
            // `parts.fold_1.train`: a table among those of a fold.
            None if is_nested(word, kind, main.ty) => {
                (main, Some(format!("{}.{}", word.value, field.value)), 1)
            }
            None => return Err(Problem::NoOutput { word: 1 }),
        },
        _ => return Err(Problem::TooLong { word: 3 }),
    };
    let found = match field {
        None => Found::Port(output.ty),
        Some(_) => field_of(output.ty).ok_or(Problem::NoOutput { word: field_word })?,
    };
    match found {
        Found::Port(ty) if may_fit(ty, wanted) => Ok(port(output.name, field.as_deref())),
        other => Err(Problem::Other(other)),
    }
}

fn has_tables(ty: PortType) -> bool {
    matches!(ty, PortType::Tables | PortType::TokenSets)
}

/// Whether a word may name a group among the tables of a step, and is no misspelt output.
fn is_nested(word: &Spanned<String>, kind: &Kind, main: PortType) -> bool {
    let outputs = kind.outputs.iter().map(|output| output.name);
    has_tables(main) && suggest::nearest(&word.value, outputs).is_none()
}

/// What the fields of an output are.
fn field_of(ty: PortType) -> Option<Found> {
    Some(match ty {
        PortType::Tables => Found::Port(PortType::Table),
        PortType::TokenSets => Found::Port(PortType::Tokens),
        PortType::Scores | PortType::Report => Found::Number,
        _ => return None,
    })
}
