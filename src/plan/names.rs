//! Every name that a program declares, and what it stands for. Steps, parameters and secrets share
//! one space of names.

use indexmap::IndexMap;

use super::reuse::{Local, Scope};
use crate::base::{Code, Diag, Span, Spanned, suggest};
use crate::schema::{PortType, Type};
use crate::step::Kind;
use crate::syntax::ast::{Ast, Expr, Item, Param, Secret, Step};

/// What a name stands for.
pub enum Name<'a> {
    Param(Declared<'a>),
    Secret(&'a Secret),
    Step {
        step: &'a Step,
        kind: Option<&'static Kind>,
    },
    /// A use of a fragment: what the names of its steps begin with.
    Use {
        prefix: &'a str,
        span: Span,
    },
    /// A fragment or an import, which is nothing to refer to.
    Reuse {
        what: &'static str,
        span: Span,
    },
    /// In a fragment: a reference that was handed over, in words of the whole program.
    Given(&'a Expr),
    /// In a fragment that nothing uses: a parameter.
    Open(Span),
    /// Declared by an item that could not be read: what refers to it is not at fault.
    Unread(Span),
}

/// A parameter, its type and its value in this run.
pub struct Declared<'a> {
    pub param: &'a Param,
    /// `None` for an enumeration.
    pub ty: Option<Type>,
    /// `None` where that was reported as a mistake.
    pub value: Option<Expr>,
}

#[derive(Default)]
pub struct Names<'a> {
    all: IndexMap<&'a str, Name<'a>>,
}

impl<'a> Names<'a> {
    /// Collects the names of `ast`. A name that is taken keeps its first meaning.
    pub fn of(ast: &'a Ast, kinds: &'static [Kind], diags: &mut Vec<Diag>) -> Self {
        let mut names = Names::default();
        for unread in &ast.unread {
            names.all.entry(&unread.value).or_insert(Name::Unread(unread.span));
        }
        let mut seed: Option<Span> = None;
        for item in &ast.items {
            let (name, meaning) = match item {
                Item::Param(param) => {
                    (&param.name, Name::Param(Declared { param, ty: None, value: None }))
                }
                Item::Secret(secret) => (&secret.name, Name::Secret(secret)),
                Item::Step(step) => {
                    let kind = kinds.iter().find(|kind| kind.name == step.kind.value);
                    (&step.name, Name::Step { step, kind })
                }
                Item::Use(used) => {
                    let (prefix, span) = (used.name.value.as_str(), used.name.span);
                    (&used.name, Name::Use { prefix, span })
                }
                Item::Fragment(fragment) => {
                    let span = fragment.name.span;
                    (&fragment.name, Name::Reuse { what: "the fragment", span })
                }
                Item::Import(import) => {
                    let span = import.name.span;
                    (&import.name, Name::Reuse { what: "the import", span })
                }
                Item::Expect(_) => continue,
                Item::Seed(found) => {
                    if let Some(first) = seed {
                        let message = "the seed is given twice";
                        diags.push(
                            Diag::new(Code::E0106, found.span, message)
                                .here("the second one")
                                .also(first, "the first one")
                                .help("a program has one `seed`; a step may have one of its own"),
                        );
                    }
                    seed.get_or_insert(found.span);
                    continue;
                }
            };
            match names.all.entry(&name.value) {
                indexmap::map::Entry::Vacant(place) => {
                    place.insert(meaning);
                }
                indexmap::map::Entry::Occupied(mut taken) => match taken.get() {
                    Name::Unread(_) => {
                        taken.insert(meaning);
                    }
                    first => {
                        let message = format!("the name `{}` is declared twice", name.value);
                        diags.push(
                            Diag::new(Code::E0106, name.span, message)
                                .here("declared again")
                                .also(first.span(), format!("{} of this name", first.what()))
                                .help("steps, parameters, secrets, fragments and their uses share one space of names")
                                .fix(name.span, free_name(&name.value, ast)),
                        );
                    }
                },
            }
        }
        names
    }

    /// What words mean inside of a use, of whose program these are the names. `idle`: steps that are not
    /// run.
    pub fn within(
        &self,
        scope: &'a Scope,
        idle: &'a [(Step, usize)],
        kinds: &'static [Kind],
    ) -> Names<'a> {
        let kind_of = |step: &Step| kinds.iter().find(|kind| kind.name == step.kind.value);
        let meaning = |local: &'a Local| {
            Some(match local {
                Local::Given(given) => Name::Given(given),
                Local::Open(span) => Name::Open(*span),
                Local::Use(prefix) => Name::Use { prefix, span: scope.used.unwrap_or_default() },
                Local::Param(name) => match self.get(name)? {
                    Name::Param(declared) => Name::Param(Declared {
                        param: declared.param,
                        ty: declared.ty.clone(),
                        value: declared.value.clone(),
                    }),
                    _ => return None,
                },
                Local::Step(name) => match self.get(name) {
                    Some(Name::Step { step, kind }) => Name::Step { step, kind: *kind },
                    _ => {
                        let (step, _) = idle.iter().find(|(step, _)| step.name.value == *name)?;
                        Name::Step { step, kind: kind_of(step) }
                    }
                },
            })
        };
        // What could not be read may have been of the fragment.
        let unread = self.all.iter().filter_map(|(word, name)| match name {
            Name::Unread(span) => Some((*word, Name::Open(*span))),
            _ => None,
        });
        let words = scope.words.iter();
        let words = words.filter_map(|(word, local)| Some((word.as_str(), meaning(local)?)));
        Names { all: unread.chain(words).collect() }
    }

    /// `small.tuned.model` as `small.tuned` and `model`, where `small` is a use: a step of it has both
    /// words as its name.
    pub fn of_use(&self, words: &[Spanned<String>]) -> Option<Vec<Spanned<String>>> {
        let [first, second, rest @ ..] = words else { return None };
        let Some(Name::Use { prefix, .. }) = self.get(&first.value) else { return None };
        let step = Spanned::new(format!("{prefix}.{}", second.value), first.span.to(second.span));
        Some(std::iter::once(step).chain(rest.iter().cloned()).collect())
    }

    pub fn get(&self, name: &str) -> Option<&Name<'a>> {
        self.all.get(name)
    }

    pub fn declared_mut(&mut self) -> impl Iterator<Item = &mut Declared<'a>> {
        self.all.values_mut().filter_map(|name| match name {
            Name::Param(declared) => Some(declared),
            _ => None,
        })
    }

    pub fn params(&self) -> impl Iterator<Item = &Declared<'a>> {
        self.all.values().filter_map(|name| match name {
            Name::Param(declared) => Some(declared),
            _ => None,
        })
    }

    pub fn secrets(&self) -> impl Iterator<Item = &'a Secret> {
        self.all.values().filter_map(|name| match name {
            Name::Secret(secret) => Some(*secret),
            _ => None,
        })
    }

    /// Steps of a known kind, in the order of the source.
    pub fn steps(&self) -> impl Iterator<Item = (&'a Step, &'static Kind)> {
        self.all.values().filter_map(|name| match name {
            Name::Step { step, kind: Some(kind) } => Some((*step, *kind)),
            _ => None,
        })
    }

    pub fn is_step(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Name::Step { .. } | Name::Unread(_)))
    }

    pub fn words(&self) -> impl Iterator<Item = &'a str> {
        self.all.keys().copied()
    }

    /// The nearest step of which an output fits.
    pub fn nearest_step(&self, word: &str, wanted: PortType) -> Option<&'a str> {
        suggest::nearest(word, self.makers(wanted).map(|step| step.name.value.as_str()))
    }

    /// Steps of which an output fits.
    pub fn makers(&self, wanted: PortType) -> impl Iterator<Item = &'a Step> {
        self.steps()
            .filter(move |(_, kind)| kind.outputs.iter().any(|output| may_fit(output.ty, wanted)))
            .map(|(step, _)| step)
    }
}

/// Whether an output declared as `made` can fit; whether several tables are one is known only from
/// its shape.
pub fn may_fit(made: PortType, wanted: PortType) -> bool {
    made.fits(wanted)
        || matches!(
            (made, wanted),
            (PortType::Tables, PortType::Table) | (PortType::TokenSets, PortType::Tokens)
        )
}

impl Name<'_> {
    /// With its article.
    pub fn what(&self) -> &'static str {
        match self {
            Name::Param(_) => "the parameter",
            Name::Secret(_) => "the secret",
            Name::Step { .. } | Name::Unread(_) => "the step",
            Name::Use { .. } => "the use",
            Name::Reuse { what, .. } => what,
            Name::Given(_) | Name::Open(_) => "the parameter",
        }
    }

    pub fn span(&self) -> Span {
        match self {
            Name::Param(declared) => declared.param.name.span,
            Name::Secret(secret) => secret.name.span,
            Name::Step { step, .. } => step.name.span,
            Name::Given(given) => given.span,
            Name::Unread(span)
            | Name::Open(span)
            | Name::Use { span, .. }
            | Name::Reuse { span, .. } => *span,
        }
    }
}

/// `tuned_2`, or the first number that no item has.
fn free_name(name: &str, ast: &Ast) -> String {
    let taken = |candidate: &str| {
        ast.items.iter().any(|item| match item {
            Item::Param(param) => param.name.value == candidate,
            Item::Secret(secret) => secret.name.value == candidate,
            Item::Step(step) | Item::Use(step) => step.name.value == candidate,
            Item::Fragment(fragment) => fragment.name.value == candidate,
            Item::Import(import) => import.name.value == candidate,
            Item::Seed(_) | Item::Expect(_) => false,
        })
    };
    let numbered = |number: &usize| !taken(&format!("{name}_{number}"));
    let number = (2..).find(numbered).unwrap_or(2);
    format!("{name}_{number}")
}
