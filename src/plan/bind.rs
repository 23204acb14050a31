//! An expression against a type: the value it stands for, or every mistake in it. What is said of a
//! value of the wrong form is in `refine`; arguments of steps and variants are in `arguments`,
//! references in `reference`, expressions over columns in `columns`.

use std::collections::BTreeMap;

use super::names::{Declared, Name, Names, may_fit};
use super::places::Written;
use super::refine;
use crate::base::{Code, Diag, Source, Span};
use crate::schema::{Bound, PortRef, PortType, Type, Unit};
use crate::syntax::ast::{Entry, Expr, ExprKind, Number, NumberValue};

/// Binds the arguments of one step. Collects mistakes, places and references on the way.
pub struct Binder<'a> {
    pub sources: &'a [Source],
    /// What words mean here.
    pub names: &'a Names<'a>,
    /// What they mean in the program, outside of fragments.
    pub program: &'a Names<'a>,
    /// The step whose arguments these are; it cannot be its own input.
    pub step: &'a str,
    pub diags: Vec<Diag>,
    /// By dotted path.
    pub written: BTreeMap<String, Written>,
    pub uses: Vec<PortUse>,
    /// While the value of a parameter is bound: its words are variants, not names.
    pub(super) literal: bool,
    nothing: Names<'a>,
}

/// A reference, where it stands and what is expected of it.
#[derive(Debug, Clone)]
pub struct PortUse {
    pub port: PortRef,
    pub wanted: PortType,
    pub span: Span,
    /// The argument.
    pub subject: String,
}

/// Which argument a value is for.
#[derive(Debug, Clone)]
pub struct At {
    /// `optimizer.learning_rate`
    pub path: String,
    /// What messages call it.
    pub subject: String,
}

impl At {
    pub fn argument(name: &str) -> Self {
        Self { path: name.to_string(), subject: format!("`{name}`") }
    }

    pub fn named(subject: impl Into<String>) -> Self {
        Self { path: String::new(), subject: subject.into() }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), subject: format!("`{name}`") }
    }

    pub(super) fn item(&self, index: usize) -> Self {
        let owner = self.subject.strip_prefix("each of ").unwrap_or(&self.subject);
        Self { path: format!("{}.{index}", self.path), subject: format!("each of {owner}") }
    }
}

impl<'a> Binder<'a> {
    pub fn new(sources: &'a [Source], names: &'a Names<'a>, step: &'a str) -> Self {
        Self {
            sources,
            names,
            program: names,
            step,
            diags: Vec::new(),
            written: BTreeMap::new(),
            uses: Vec::new(),
            literal: false,
            nothing: Names::default(),
        }
    }

    /// Where words mean what they mean in the program.
    pub(super) fn outside<T>(&mut self, bind: impl FnOnce(&mut Self) -> T) -> T {
        let inside = std::mem::replace(&mut self.names, self.program);
        let bound = bind(self);
        self.names = inside;
        bound
    }

    /// The names that a word may stand for.
    pub fn scope(&self) -> &Names<'a> {
        if self.literal { &self.nothing } else { self.names }
    }

    /// The value that `expr` stands for; `None` if something was reported, here or where a name was
    /// declared.
    pub fn bind(&mut self, expr: &Expr, ty: &Type, at: &At) -> Option<Bound> {
        self.written.insert(at.path.clone(), Written { at: expr.span, origin: expr.span });
        if let ExprKind::Path(words) = &expr.kind
            && let [word] = words.as_slice()
            && !has_variant(ty, &word.value)
        {
            let names = self.names;
            match names.get(&word.value).filter(|_| !self.literal) {
                Some(Name::Param(declared)) if !is_port(ty) => {
                    return self.through(declared, expr, ty, at);
                }
                Some(Name::Open(_)) => return None,
                Some(Name::Given(given)) => {
                    return self.outside(|binder| binder.bind(given, ty, at));
                }
                Some(Name::Secret(secret)) => {
                    if has_secret(ty) {
                        return Some(Bound::Secret(secret.variable.value.clone()));
                    }
                    let message = format!("{} is no argument for a secret", at.subject);
                    self.diags.push(
                        Diag::new(Code::E0604, expr.span, message)
                            .here("a secret")
                            .also(secret.name.span, "declared here")
                            .help("secrets are accepted by arguments for credentials alone, so that they stay out of results and records"),
                    );
                    return None;
                }
                _ => {}
            }
        }
        match (ty, &expr.kind) {
            (Type::Bool, ExprKind::Bool(value)) => Some(Bound::Bool(*value)),
            (
                Type::Int { min, max },
                ExprKind::Number(Number { value: NumberValue::Int(value), .. }),
            ) => {
                let value = *value;
                if value < *min || value > *max {
                    return self.out_of_range(expr, ty, at, value < *min);
                }
                Some(Bound::Int(value))
            }
            (Type::Float { min, max }, ExprKind::Number(number)) => {
                let value = number.value.as_f64();
                if !(*min..=*max).contains(&value) {
                    return self.out_of_range(expr, ty, at, value < *min);
                }
                Some(Bound::Float(value))
            }
            (Type::Share { min, max }, ExprKind::Share(share)) => {
                if !(*min..=*max).contains(&share.fraction) {
                    return self.out_of_range(expr, ty, at, share.fraction < *min);
                }
                Some(Bound::Share(share.fraction))
            }
            (Type::Text, ExprKind::String(text)) => Some(Bound::Text(text.clone())),
            (Type::Quantity { units, .. }, ExprKind::Number(number))
                if units.contains(&Unit::Rows) =>
            {
                self.quantity(expr, number, Unit::Rows, ty, at)
            }
            (Type::Quantity { units, .. }, ExprKind::Quantity { amount, unit }) => {
                match Unit::parse(&unit.value).filter(|found| units.contains(found)) {
                    Some(found) => self.quantity(expr, amount, found, ty, at),
                    None => self.refuse(expr, ty, at),
                }
            }
            (Type::Scalar, ExprKind::Bool(value)) => Some(Bound::Bool(*value)),
            (Type::Scalar, ExprKind::String(text)) => Some(Bound::Text(text.clone())),
            (Type::Scalar, ExprKind::Number(number)) => Some(match number.value {
                NumberValue::Int(value) => Bound::Int(value),
                NumberValue::Float(value) => Bound::Float(value),
            }),
            (Type::List(item), ExprKind::List(items)) => self.all(items, item, at).map(Bound::List),
            (Type::Map(item), ExprKind::Map(entries)) => self.map(entries, item, at),
            (Type::Variant(set), ExprKind::Path(words)) if words.len() == 1 => {
                self.variant(expr, &words[0], &[], set, at)
            }
            (Type::Variant(set), ExprKind::Call { name, args }) => {
                self.variant(expr, name, args, set, at)
            }
            (Type::Port(wanted), ExprKind::Path(words)) => {
                let port = self.reference(words, *wanted, expr, at)?;
                self.use_port(port.clone(), *wanted, expr.span, at);
                Some(Bound::Port(port))
            }
            (Type::Port(wanted), ExprKind::Map(entries)) => {
                self.named_ports(expr, entries, *wanted, at)
            }
            (Type::Column, ExprKind::Column(name)) => Some(Bound::Column(name.clone())),
            (Type::ColumnExpr, _) => self.column_expr(expr, at).map(Bound::Expr),
            (Type::OneOf(types), _) => self.one_of(expr, types, ty, at),
            _ => self.refuse(expr, ty, at),
        }
    }

    /// The text of a place, for edits that wrap it.
    pub fn text(&self, span: Span) -> &'a str {
        let source = self.sources.get(span.source.0 as usize);
        source.and_then(|source| source.text.get(span.start..span.end)).unwrap_or("")
    }

    pub(super) fn refuse(&mut self, expr: &Expr, ty: &Type, at: &At) -> Option<Bound> {
        let diag = refine::wrong_form(self, expr, ty, at);
        self.diags.push(diag);
        None
    }

    pub(super) fn out_of_range(
        &mut self,
        expr: &Expr,
        ty: &Type,
        at: &At,
        below: bool,
    ) -> Option<Bound> {
        let diag = refine::out_of_range(self.text(expr.span), expr, ty, &at.subject, below);
        self.diags.push(diag);
        None
    }

    fn quantity(
        &mut self,
        expr: &Expr,
        amount: &Number,
        unit: Unit,
        ty: &Type,
        at: &At,
    ) -> Option<Bound> {
        let Type::Quantity { min, max, .. } = ty else { return None };
        let value = amount.value.as_f64();
        if !(*min..=*max).contains(&value) || value <= 0.0 {
            return self.out_of_range(expr, ty, at, value < *max);
        }
        // Parts of an epoch are a budget; parts of a row, a token or an update are nothing.
        if unit != Unit::Epochs && value.fract() != 0.0 {
            let message =
                format!("{} takes whole {}, and {} is none", at.subject, unit.word(), amount.text);
            let whole = value.ceil().to_string();
            let text = self.text(expr.span).replacen(&amount.text, &whole, 1);
            self.diags.push(
                Diag::new(Code::E0205, expr.span, message)
                    .here("a fraction")
                    .help("only epochs can be given in parts")
                    .fix(expr.span, text),
            );
            return None;
        }
        Some(Bound::Quantity(value, unit))
    }

    fn all(&mut self, items: &[Expr], ty: &Type, at: &At) -> Option<Vec<Bound>> {
        let bound: Vec<Option<Bound>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.bind(item, ty, &at.item(index)))
            .collect();
        bound.into_iter().collect()
    }

    fn map(&mut self, entries: &[Entry], ty: &Type, at: &At) -> Option<Bound> {
        let unique = self.unique(entries, at);
        let bound: Vec<Option<(String, Bound)>> = entries
            .iter()
            .map(|entry| {
                let value = self.bind(&entry.value, ty, &at.field(&entry.key.value))?;
                Some((entry.key.value.clone(), value))
            })
            .collect();
        bound.into_iter().collect::<Option<Vec<_>>>().filter(|_| unique).map(Bound::Map)
    }

    /// Whether no key stands twice.
    pub(super) fn unique(&mut self, entries: &[Entry], at: &At) -> bool {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut unique = true;
        for entry in entries {
            if let Some(first) = seen.get(entry.key.value.as_str()) {
                let message =
                    format!("the key `{}` stands twice in {}", entry.key.value, at.subject);
                self.diags.push(
                    Diag::new(Code::E0203, entry.key.span, message)
                        .here("the second one")
                        .also(*first, "the first one")
                        .help("one of them has to go"),
                );
                unique = false;
            }
            seen.entry(&entry.key.value).or_insert(entry.key.span);
        }
        unique
    }

    /// A parameter in the place of a value.
    fn through(&mut self, declared: &Declared, expr: &Expr, ty: &Type, at: &At) -> Option<Bound> {
        let value = declared.value.as_ref()?;
        let before = self.diags.len();
        self.literal = true;
        let bound = self.bind(value, ty, at);
        self.literal = false;
        self.written.insert(at.path.clone(), Written { at: expr.span, origin: value.span });
        let name = &declared.param.name;
        for diag in self.diags.split_off(before) {
            let form = matches!(diag.code, Code::E0204 | Code::E0206 | Code::E0207);
            self.diags.push(if form {
                let what =
                    declared.param.type_name.as_ref().map_or("an enumeration".to_string(), |ty| {
                        format!("of type `{}`", ty.value)
                    });
                let message = format!(
                    "{} takes {}; the parameter `{}` is {what}",
                    at.subject,
                    ty.describe(),
                    name.value
                );
                let mut diag = Diag::new(diag.code, expr.span, message)
                    .here("does not fit")
                    .also(name.span, "declared here");
                if value.span.source != declared.param.span.source {
                    diag = diag.also(value.span, "its value comes from here");
                }
                diag.help("the parameter needs another type, or the argument a value of its own")
            } else {
                let diag = diag.also(expr.span, format!("used here for {}", at.subject));
                if declared.param.within.is_some() { Diag { fix: None, ..diag } } else { diag }
            });
        }
        bound
    }

    fn one_of(&mut self, expr: &Expr, types: &[Type], whole: &Type, at: &At) -> Option<Bound> {
        let fitting: Vec<&Type> =
            types.iter().filter(|ty| fits_form(expr, ty, self.scope())).collect();
        if let ExprKind::Path(words) = &expr.kind
            && let [word] = words.as_slice()
            && let Some(Name::Step { step, .. }) = self.scope().get(&word.value)
            && fitting.iter().any(|ty| matches!(ty, Type::Variant(_)))
            && fitting.iter().any(|ty| self.step_fits(&word.value, ty))
        {
            let message =
                format!("`{}` is a variant of {} and a step that fits", word.value, at.subject);
            self.diags.push(
                Diag::new(Code::E0304, expr.span, message)
                    .here("which of them?")
                    .also(step.name.span, "the step")
                    .help("the step needs another name"),
            );
            return None;
        }
        match fitting.as_slice() {
            [] => {
                let near = types.iter().find(|ty| refine::akin(expr, ty, self.scope()));
                match near {
                    Some(ty) => self.bind(expr, ty, at),
                    None => self.refuse(expr, whole, at),
                }
            }
            [one] => self.bind(expr, one, at),
            many => {
                let mut least: Option<(usize, &Type)> = None;
                for ty in many {
                    let (diags, uses) = (self.diags.len(), self.uses.len());
                    let written = self.written.clone();
                    let bound = self.bind(expr, ty, at);
                    let faults = self.diags.len() - diags;
                    if faults == 0 {
                        return bound;
                    }
                    self.diags.truncate(diags);
                    self.uses.truncate(uses);
                    self.written = written;
                    if least.is_none_or(|(count, _)| faults < count) {
                        least = Some((faults, ty));
                    }
                }
                let (_, ty) = least?;
                self.bind(expr, ty, at)
            }
        }
    }

    fn step_fits(&self, name: &str, ty: &Type) -> bool {
        let Type::Port(wanted) = ty else { return false };
        let Some(Name::Step { kind: Some(kind), .. }) = self.names.get(name) else { return false };
        kind.outputs.iter().any(|output| may_fit(output.ty, *wanted))
    }
}

fn is_port(ty: &Type) -> bool {
    matches!(ty, Type::Port(_))
}

fn has_secret(ty: &Type) -> bool {
    match ty {
        Type::Secret => true,
        Type::OneOf(types) => types.iter().any(has_secret),
        _ => false,
    }
}

fn has_variant(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Variant(set) => set.get(name).is_some(),
        Type::OneOf(types) => types.iter().any(|ty| has_variant(ty, name)),
        _ => false,
    }
}

/// Whether a value of this form can be of this type; limits and names of arguments aside.
pub fn fits_form(expr: &Expr, ty: &Type, names: &Names) -> bool {
    match (&expr.kind, ty) {
        (_, Type::OneOf(types)) => types.iter().any(|ty| fits_form(expr, ty, names)),
        (ExprKind::Path(words), _) if words.len() == 1 => {
            let word = &words[0].value;
            match names.get(word) {
                _ if has_variant(ty, word) => true,
                Some(Name::Param(declared)) => match &declared.value {
                    Some(value) => fits_form(value, ty, &Names::default()),
                    // Its value is no good: whatever type it was meant for.
                    None => !is_port(ty),
                },
                Some(Name::Secret(_)) => has_secret(ty),
                Some(Name::Open(_)) => true,
                Some(
                    Name::Step { .. }
                    | Name::Unread(_)
                    | Name::Given(_)
                    | Name::Use { .. }
                    | Name::Reuse { .. },
                ) => is_port(ty),
                None => false,
            }
        }
        (ExprKind::Path(_), Type::Port(_)) => true,
        (ExprKind::Bool(_), Type::Bool | Type::Scalar) => true,
        (ExprKind::Number(number), Type::Int { .. }) => matches!(number.value, NumberValue::Int(_)),
        (ExprKind::Number(_), Type::Float { .. } | Type::Scalar) => true,
        (ExprKind::Number(_), Type::Quantity { units, .. }) => units.contains(&Unit::Rows),
        (ExprKind::Share(_), Type::Share { .. }) => true,
        (ExprKind::Quantity { unit, .. }, Type::Quantity { units, .. }) => {
            Unit::parse(&unit.value).is_some_and(|unit| units.contains(&unit))
        }
        (ExprKind::String(_), Type::Text | Type::Scalar) => true,
        (ExprKind::List(items), Type::List(item)) => {
            items.iter().all(|one| fits_form(one, item, names) || refine::akin(one, item, names))
        }
        (ExprKind::Map(_), Type::Map(_) | Type::Port(PortType::Tables | PortType::TokenSets)) => {
            true
        }
        (ExprKind::Call { name, .. }, Type::Variant(set)) => set.get(&name.value).is_some(),
        (ExprKind::Column(_), Type::Column | Type::ColumnExpr) => true,
        (
            ExprKind::Not(_)
            | ExprKind::Negate(_)
            | ExprKind::Binary { .. }
            | ExprKind::Call { .. },
            Type::ColumnExpr,
        ) => true,
        _ => false,
    }
}
