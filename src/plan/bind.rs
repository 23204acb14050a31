//! An expression against a type: the value it stands for, or every mistake in it. What is said of a
//! value of the wrong form is in `refine`; what references may mean is decided with the graph.

use std::collections::BTreeMap;

use super::names::{Declared, Name, Names, may_fit};
use super::places::Written;
use super::refine;
use crate::base::{Code, Diag, Source, Span, Spanned, suggest};
use crate::schema::{
    Bound, ColumnExpr, Operator, ParamDecl, PortRef, PortType, Type, Unit, VariantDecl, VariantSet,
};
use crate::step::Kind;
use crate::syntax::ast::{BinaryOperator, CallArg, Entry, Expr, ExprKind, Number, NumberValue};

/// Binds the arguments of one step. Collects mistakes, places and references on the way.
pub struct Binder<'a> {
    pub sources: &'a [Source],
    pub names: &'a Names<'a>,
    /// The step whose arguments these are; it cannot be its own input.
    pub step: &'a str,
    pub diags: Vec<Diag>,
    /// By dotted path.
    pub written: BTreeMap<String, Written>,
    pub uses: Vec<PortUse>,
    /// While the value of a parameter is bound: its words are variants, not names.
    literal: bool,
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

    fn field(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), subject: format!("`{name}`") }
    }

    fn item(&self, index: usize) -> Self {
        let owner = self.subject.strip_prefix("each of ").unwrap_or(&self.subject);
        Self { path: format!("{}.{index}", self.path), subject: format!("each of {owner}") }
    }
}

impl<'a> Binder<'a> {
    pub fn new(sources: &'a [Source], names: &'a Names<'a>, step: &'a str) -> Self {
        Self {
            sources,
            names,
            step,
            diags: Vec::new(),
            written: BTreeMap::new(),
            uses: Vec::new(),
            literal: false,
            nothing: Names::default(),
        }
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

    /// Every argument of a step or a variant, in the order of `params`, defaults filled in.
    /// `missing` reports one that has to be given.
    pub fn arguments(
        &mut self,
        owner: &str,
        params: &[ParamDecl],
        given: &[Given],
        path: &dyn Fn(&str) -> At,
        missing: &mut dyn FnMut(&mut Self, &ParamDecl),
    ) -> Option<Vec<(String, Bound)>> {
        let mut fine = true;
        let mut values: BTreeMap<&str, Bound> = BTreeMap::new();
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for argument in given {
            let Some(decl) = params.iter().find(|decl| decl.name == argument.name.value) else {
                self.unknown_argument(owner, argument, params, given);
                fine = false;
                continue;
            };
            if let Some(first) = seen.get(decl.name) {
                let message = format!("`{}` of {owner} is given twice", decl.name);
                self.diags.push(
                    Diag::new(Code::E0203, argument.name.span, message)
                        .here("the second one")
                        .also(*first, "the first one")
                        .help("one of them has to go"),
                );
                fine = false;
                continue;
            }
            seen.insert(decl.name, argument.name.span);
            match self.bind(argument.value, &decl.ty, &path(decl.name)) {
                Some(value) => {
                    values.insert(decl.name, value);
                }
                None => fine = false,
            }
        }
        for decl in params {
            if seen.contains_key(decl.name) {
                continue;
            }
            match &decl.default {
                Some(default) => {
                    values.insert(decl.name, default.clone());
                }
                None => {
                    missing(self, decl);
                    fine = false;
                }
            }
        }
        if !fine {
            return None;
        }
        params
            .iter()
            .map(|decl| values.remove(decl.name).map(|value| (decl.name.to_string(), value)))
            .collect()
    }

    fn unknown_argument(
        &mut self,
        owner: &str,
        argument: &Given,
        params: &[ParamDecl],
        given: &[Given],
    ) {
        let word = &argument.name.value;
        let taken = |name: &str| given.iter().any(|other| other.name.value == name);
        let message = format!("{owner} has no argument `{word}`");
        let mut diag = Diag::new(Code::E0201, argument.name.span, message).here("unknown");
        let names = params.iter().map(|decl| decl.name);
        diag = match suggest::nearest(word, names.clone()) {
            Some(near) => {
                let diag = diag.help(format!("the nearest one is `{near}`"));
                if taken(near) { diag } else { diag.fix(argument.name.span, near) }
            }
            None if params.is_empty() => diag.help(format!("{owner} has no arguments")),
            None => diag.help(format!("its arguments are {}", suggest::list(names))),
        };
        self.diags.push(diag);
    }

    /// The text of a place, for edits that wrap it.
    pub fn text(&self, span: Span) -> &'a str {
        let source = self.sources.get(span.source.0 as usize);
        source.and_then(|source| source.text.get(span.start..span.end)).unwrap_or("")
    }

    fn refuse(&mut self, expr: &Expr, ty: &Type, at: &At) -> Option<Bound> {
        let diag = refine::wrong_form(self, expr, ty, at);
        self.diags.push(diag);
        None
    }

    fn out_of_range(&mut self, expr: &Expr, ty: &Type, at: &At, below: bool) -> Option<Bound> {
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
    fn unique(&mut self, entries: &[Entry], at: &At) -> bool {
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

    fn variant(
        &mut self,
        expr: &Expr,
        name: &Spanned<String>,
        args: &[CallArg],
        set: &VariantSet,
        at: &At,
    ) -> Option<Bound> {
        let Some(variant) = set.get(&name.value) else {
            let diag = refine::unknown_variant(self, expr, name, set, at);
            self.diags.push(diag);
            return None;
        };
        let given = self.variant_arguments(variant, args)?;
        let owner = format!("`{}`", variant.name);
        let insert = match args.last() {
            Some(last) => (last.value.span.after(), ", ", ""),
            None if matches!(expr.kind, ExprKind::Call { .. }) => {
                let end = expr.span.end.saturating_sub(1);
                (Span { start: end, end, ..expr.span }, "", "")
            }
            None => (expr.span.after(), "(", ")"),
        };
        let values = self.arguments(
            &owner,
            &variant.params,
            &given,
            &|name| at.field(name),
            &mut |binder, decl| {
                let message = format!("{owner} lacks the argument `{}`", decl.name);
                let mut diag = Diag::new(Code::E0202, name.span, message).here(format!(
                    "needs `{}`: {}",
                    decl.name,
                    decl.ty.describe()
                ));
                match refine::example(&decl.ty, binder.names, binder.step) {
                    Some(example) => {
                        let (place, before, after) = insert;
                        diag = diag.fix(place, format!("{before}{} = {example}{after}", decl.name));
                    }
                    None => {
                        let form = refine::sketch(&decl.ty);
                        diag = diag.help(format!(
                            "for instance `{}({} = {form})`",
                            variant.name, decl.name
                        ));
                    }
                }
                binder.diags.push(diag);
            },
        )?;
        Some(Bound::Variant(variant.name.to_string(), values))
    }

    /// The arguments of a call under their names: the positional one is the main one.
    fn variant_arguments<'e>(
        &mut self,
        variant: &VariantDecl,
        args: &'e [CallArg],
    ) -> Option<Vec<Given<'e>>> {
        let main = variant.params.iter().find(|decl| decl.main);
        let mut fine = true;
        let mut given = Vec::new();
        let mut positional: Option<Span> = None;
        for arg in args {
            if let Some(name) = &arg.name {
                given.push(Given { name: name.clone(), value: &arg.value });
                continue;
            }
            let place = arg.value.span;
            let Some(decl) = main else {
                let names = variant.params.iter().map(|decl| decl.name);
                let message = format!("`{}` takes no value without a name", variant.name);
                let mut diag = Diag::new(Code::E0208, place, message).here("for which argument?");
                diag = match variant.params.as_slice() {
                    [] => diag.help(format!("`{}` has no arguments", variant.name)),
                    _ => diag.help(format!("its arguments are {}", suggest::list(names))),
                };
                let fits = variant.params.iter().find(|decl| {
                    fits_form(&arg.value, &decl.ty, self.scope())
                        && !args.iter().any(|other| {
                            other.name.as_ref().is_some_and(|name| name.value == decl.name)
                        })
                });
                if let (Some(decl), None) = (fits, positional) {
                    let text = format!("{} = {}", decl.name, self.text(place));
                    diag = diag.fix(place, text);
                }
                self.diags.push(diag);
                positional.get_or_insert(place);
                fine = false;
                continue;
            };
            if let Some(first) = positional {
                let message = format!("`{}` takes one value without a name", variant.name);
                let mut diag = Diag::new(Code::E0208, place, message)
                    .here("the second one")
                    .also(first, format!("the value of `{}`", decl.name));
                let takes_list = matches!(&decl.ty, Type::OneOf(types)
                    if types.iter().any(|ty| matches!(ty, Type::List(_))));
                diag = if takes_list && args.len() == 2 {
                    let whole = first.to(place);
                    diag.help("several values are a list")
                        .fix(whole, format!("[{}]", self.text(whole)))
                } else {
                    diag.help("the other arguments are given by name")
                };
                self.diags.push(diag);
                fine = false;
                continue;
            }
            positional = Some(place);
            let name = Spanned::new(decl.name.to_string(), place);
            given.push(Given { name, value: &arg.value });
        }
        fine.then_some(given)
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

    fn use_port(&mut self, port: PortRef, wanted: PortType, span: Span, at: &At) {
        self.uses.push(PortUse { port, wanted, span, subject: at.subject.clone() });
    }

    /// `{ train = parts.train, test = reviews.test }`
    fn named_ports(
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
    fn reference(
        &mut self,
        words: &[Spanned<String>],
        wanted: PortType,
        expr: &Expr,
        at: &At,
    ) -> Option<PortRef> {
        let (first, rest) = words.split_first()?;
        let names = self.names;
        let kind = match names.get(&first.value).filter(|_| !self.literal) {
            Some(Name::Step { kind, .. }) => (*kind)?,
            Some(Name::Unread(_)) => return None,
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
        match resolve(&first.value, kind, rest, wanted) {
            Ok(port) => Some(port),
            Err(problem) => {
                let diag = refine::wrong_reference(self, words, kind, wanted, problem, at);
                self.diags.push(diag);
                None
            }
        }
    }

    fn column_expr(&mut self, expr: &Expr, at: &At) -> Option<ColumnExpr> {
        Some(match &expr.kind {
            ExprKind::Column(name) => {
                self.word_of_expression(at, name, expr.span);
                ColumnExpr::Column(name.clone())
            }
            ExprKind::Bool(value) => ColumnExpr::Bool(*value),
            ExprKind::String(text) => ColumnExpr::Text(text.clone()),
            ExprKind::Number(number) => match number.value {
                NumberValue::Int(value) => ColumnExpr::Int(value),
                NumberValue::Float(value) => ColumnExpr::Float(value),
            },
            ExprKind::Share(share) => ColumnExpr::Float(share.fraction),
            ExprKind::Not(inner) => ColumnExpr::Not(Box::new(self.column_expr(inner, at)?)),
            ExprKind::Negate(inner) => ColumnExpr::Negate(Box::new(self.column_expr(inner, at)?)),
            ExprKind::Binary { operator, left, right } => {
                let (left, right) = (self.column_expr(left, at), self.column_expr(right, at));
                ColumnExpr::Binary(lower(operator.value), Box::new(left?), Box::new(right?))
            }
            ExprKind::Call { name, args } => {
                self.word_of_expression(at, &format!("{}()", name.value), name.span);
                let mut values = Vec::new();
                let mut fine = true;
                for arg in args {
                    if let Some(argument) = &arg.name {
                        let message =
                            format!("the function `{}` takes values without names", name.value);
                        self.diags.push(
                            Diag::new(Code::E0208, argument.span, message)
                                .here("a name")
                                .fix(argument.span.to(arg.value.span), self.text(arg.value.span)),
                        );
                        fine = false;
                    } else if let Some(value) = self.column_expr(&arg.value, at) {
                        values.push(value);
                    } else {
                        fine = false;
                    }
                }
                if !fine {
                    return None;
                }
                ColumnExpr::Call(name.value.clone(), values)
            }
            ExprKind::Path(words) => return self.word_in_expression(expr, words, at),
            _ => {
                let diag = refine::wrong_form(self, expr, &Type::ColumnExpr, at);
                self.diags.push(diag);
                return None;
            }
        })
    }

    /// Keeps where a column or a function stands first, for what is found wrong with it later.
    fn word_of_expression(&mut self, at: &At, word: &str, span: Span) {
        let path = format!("{}.{word}", at.path);
        self.written.entry(path).or_insert(Written { at: span, origin: span });
    }

    /// A word between columns: a parameter with a plain value.
    fn word_in_expression(
        &mut self,
        expr: &Expr,
        words: &[Spanned<String>],
        at: &At,
    ) -> Option<ColumnExpr> {
        if let [word] = words
            && let Some(Name::Param(declared)) = self.names.get(&word.value)
        {
            let value = declared.value.as_ref()?;
            return match &value.kind {
                ExprKind::Bool(_)
                | ExprKind::Number(_)
                | ExprKind::String(_)
                | ExprKind::Share(_) => self.column_expr(value, at),
                _ => self.refuse(expr, &Type::Scalar, at).and(None),
            };
        }
        let shown = self.text(expr.span);
        let mut diag = Diag::new(Code::E0301, expr.span, format!("`{shown}` is no parameter"))
            .here("neither a column nor a parameter")
            .help("columns are written with a dot in front, texts between `\"`");
        if let [word] = words {
            diag = diag.fix(expr.span, format!(".{}", word.value));
        }
        self.diags.push(diag);
        None
    }
}

/// An argument as written, under the name of its declaration.
pub struct Given<'e> {
    pub name: Spanned<String>,
    pub value: &'e Expr,
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
            None => (main, Some(word.value.as_str()), 1),
        },
        [word, field] => match kind.output(&word.value) {
            Some(output) => (output, Some(field.value.as_str()), 2),
            None => return Err(Problem::NoOutput { word: 1 }),
        },
        _ => return Err(Problem::TooLong { word: 3 }),
    };
    let found = match field {
        None => Found::Port(output.ty),
        Some(_) => field_of(output.ty).ok_or(Problem::NoOutput { word: field_word })?,
    };
    match found {
        Found::Port(ty) if may_fit(ty, wanted) => Ok(port(output.name, field)),
        other => Err(Problem::Other(other)),
    }
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
                Some(Name::Step { .. } | Name::Unread(_)) => is_port(ty),
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

fn lower(operator: BinaryOperator) -> Operator {
    match operator {
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Equal => Operator::Equal,
        BinaryOperator::NotEqual => Operator::NotEqual,
        BinaryOperator::Less => Operator::Less,
        BinaryOperator::LessEqual => Operator::LessOrEqual,
        BinaryOperator::Greater => Operator::Greater,
        BinaryOperator::GreaterEqual => Operator::GreaterOrEqual,
        BinaryOperator::Add => Operator::Add,
        BinaryOperator::Subtract => Operator::Subtract,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
    }
}
