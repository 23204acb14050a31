//! Values from outside the program: `--set` arguments and `--params` files replace what is written
//! in it, before anything is checked. The program wins over nothing, `--params` over the program,
//! `--set` over both.

use std::collections::BTreeMap;

use super::check::Bindings;
use super::names::Names;
use super::refine;
use super::yaml;
use crate::base::{Code, Diag, Source, SourceId, Span, Spanned, suggest};
use crate::schema::{Bound, ParamDecl, PortType, Type, VariantDecl};
use crate::step::Kind;
use crate::syntax::ast::{Ast, CallArg, Entry, Expr, ExprKind, Item, Param, Seed, Step};
use crate::syntax::parse_value;

/// `tuned.optimizer.learning_rate = 3e-5`
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    pub path: Vec<Spanned<String>>,
    pub value: Raw,
}

/// A value as it stands outside a program, where texts need no quotation marks.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Scalar { text: String, span: Span, quoted: bool },
    List { items: Vec<Raw>, span: Span },
    Map { entries: Vec<Assignment>, span: Span },
}

/// The program with everything from outside put in its place.
pub fn apply(
    ast: &Ast,
    sources: &[Source],
    bindings: &Bindings,
    kinds: &'static [Kind],
    diags: &mut Vec<Diag>,
) -> Ast {
    let mut given = Vec::new();
    for id in &bindings.params {
        if let Some(source) = sources.get(id.0 as usize) {
            let mut found = yaml::assignments(*id, source, diags);
            twice(&mut found, diags);
            given.push(found);
        }
    }
    let mut set: Vec<Assignment> = bindings
        .set
        .iter()
        .filter_map(|id| assignment(*id, sources.get(id.0 as usize)?, diags))
        .collect();
    twice(&mut set, diags);
    given.push(set);
    let mut changed = ast.clone();
    for mut source in given {
        // `tuned.optimizer` before what it is made of.
        source.sort_by_key(|assignment| assignment.path.len());
        for assignment in source {
            Applying { ast, sources, kinds, diags }.one(&mut changed, &assignment);
        }
    }
    changed
}

/// Reads `NAME=VALUE`.
fn assignment(id: SourceId, source: &Source, diags: &mut Vec<Diag>) -> Option<Assignment> {
    let text: &str = &source.text;
    let whole = Span::new(id, 0, text.len());
    let fault = |message: String| {
        Diag::new(Code::E0603, whole, message)
            .here("no assignment")
            .help("the form is `--set NAME=VALUE`, for instance `--set learning_rate=3e-5`")
    };
    let Some((names, value)) = text.split_once('=') else {
        diags.push(fault(format!("`{text}` assigns nothing: there is no `=`")));
        return None;
    };
    if value.trim().is_empty() {
        diags.push(fault(format!("`{text}` assigns nothing: there is no value")));
        return None;
    }
    let mut path = Vec::new();
    let mut at = 0;
    for word in names.split('.') {
        let start = at + (word.len() - word.trim_start().len());
        let place = Span::new(id, start, start + word.trim().len());
        if word.trim().is_empty() {
            diags.push(fault(format!("`{text}` names nothing before the `=`")));
            return None;
        }
        path.push(Spanned::new(word.trim().to_string(), place));
        at += word.len() + 1;
    }
    let start = names.len() + 1 + (value.len() - value.trim_start().len());
    let text = value.trim().to_string();
    let span = Span::new(id, start, start + text.len());
    Some(Assignment { path, value: Raw::Scalar { text, span, quoted: false } })
}

/// Reports and removes what one source gives a second time.
fn twice(given: &mut Vec<Assignment>, diags: &mut Vec<Diag>) {
    let mut seen: BTreeMap<Vec<String>, Span> = BTreeMap::new();
    given.retain(|assignment| {
        let key: Vec<String> = assignment.path.iter().map(|word| word.value.clone()).collect();
        let place = place(&assignment.path);
        match seen.get(&key) {
            Some(first) => {
                diags.push(
                    Diag::new(Code::E0602, place, format!("`{}` is given twice", key.join(".")))
                        .here("the second one")
                        .also(*first, "the first one")
                        .help("one of them has to go"),
                );
                false
            }
            None => {
                seen.insert(key, place);
                true
            }
        }
    });
}

/// The last word of a path: what sets it apart.
fn place(path: &[Spanned<String>]) -> Span {
    path.last().map(|word| word.span).unwrap_or_default()
}

struct Applying<'a, 'd> {
    /// The program as written.
    ast: &'a Ast,
    sources: &'a [Source],
    kinds: &'static [Kind],
    diags: &'d mut Vec<Diag>,
}

impl Applying<'_, '_> {
    fn one(&mut self, changed: &mut Ast, assignment: &Assignment) {
        let Some((first, rest)) = assignment.path.split_first() else { return };
        let whole = refine::join(&assignment.path);
        let is_param = self.ast.params().any(|param| param.name.value == whole);
        if rest.is_empty() || is_param {
            if whole == "seed" {
                let ty = Type::Int { min: 0, max: i64::MAX };
                let Some(value) = self.value(&assignment.value, Some(&ty)) else { return };
                let seed = Seed { docs: Vec::new(), span: value.span, value };
                changed.items.retain(|item| !matches!(item, Item::Seed(_)));
                changed.items.push(Item::Seed(seed));
                return;
            }
            let param = changed.items.iter_mut().find_map(|item| match item {
                Item::Param(param) if param.name.value == whole => Some(param),
                _ => None,
            });
            match param {
                Some(param) => {
                    let hint = hint(param);
                    if let Some(value) = self.value(&assignment.value, hint.as_ref()) {
                        param.default = Some(value);
                    }
                }
                None => self.no_parameter(first),
            }
            return;
        }
        // The steps of a use have names of several words.
        let found = (1..assignment.path.len()).rev().find_map(|words| {
            let (name, rest) = assignment.path.split_at(words);
            let name = refine::join(name);
            let step = changed
                .items
                .iter()
                .position(|item| matches!(item, Item::Step(step) if step.name.value == name));
            Some((step?, rest))
        });
        match found.map(|(at, rest)| (changed.items.get_mut(at), rest)) {
            Some((Some(Item::Step(step)), rest)) => self.in_step(step, rest, &assignment.value),
            _ => self.no_step(first),
        }
    }

    fn no_parameter(&mut self, name: &Spanned<String>) {
        let secret = self.ast.items.iter().find_map(|item| match item {
            Item::Secret(secret) if secret.name.value == name.value => Some(secret),
            _ => None,
        });
        if let Some(secret) = secret {
            let message = format!("the secret `{}` cannot be set", name.value);
            self.diags.push(
                Diag::new(Code::E0604, name.span, message)
                    .here("a secret")
                    .also(secret.name.span, "declared here")
                    .help(format!(
                        "it is read from the environment variable {}",
                        secret.variable.value
                    )),
            );
            return;
        }
        let is_step = self.ast.steps().any(|step| step.name.value == name.value);
        let unread = self.ast.unread.iter().any(|unread| unread.value == name.value);
        if unread {
            return;
        }
        let message = match is_step {
            true => format!("`{}` is a step; a value can be given to its arguments", name.value),
            false => format!("the program has no parameter `{}`", name.value),
        };
        let mut diag = Diag::new(Code::E0601, name.span, message).here("names nothing");
        let names: Vec<&str> =
            self.ast.params().map(|param| param.name.value.as_str()).chain(["seed"]).collect();
        diag = match suggest::nearest(&name.value, names.iter().copied()) {
            Some(near) => diag.help(format!("the nearest one is `{near}`")).fix(name.span, near),
            None => diag.help(format!(
                "there are {}, and paths such as `step.argument`",
                suggest::list(names)
            )),
        };
        self.diags.push(diag);
    }

    fn no_step(&mut self, name: &Spanned<String>) {
        if self.ast.unread.iter().any(|unread| unread.value == name.value) {
            return;
        }
        let names: Vec<&str> = self.ast.steps().map(|step| step.name.value.as_str()).collect();
        let message = format!("the program has no step `{}`", name.value);
        let diag = Diag::new(Code::E0601, name.span, message).here("names nothing");
        self.diags.push(match suggest::nearest(&name.value, names.iter().copied()) {
            Some(near) => diag.help(format!("the nearest one is `{near}`")).fix(name.span, near),
            None => diag.help(format!("the steps are {}", suggest::list(names))),
        });
    }

    fn in_step(&mut self, step: &mut Step, path: &[Spanned<String>], value: &Raw) {
        let Some(kind) = self.kinds.iter().find(|kind| kind.name == step.kind.value) else {
            return;
        };
        let Some((name, rest)) = path.split_first() else { return };
        let owner = format!("`{}`", kind.name);
        let Some(decl) = self.declared(name, &kind.params, &owner) else { return };
        let position = step.args.iter().position(|arg| arg.name.value == name.value);
        let before = position.map(|at| step.args[at].value.clone());
        let Some(after) = self.put(before, &decl.ty, decl.default.as_ref(), rest, value, name)
        else {
            return;
        };
        match position {
            Some(at) => step.args[at].value = after,
            None => step.args.push(crate::syntax::ast::Arg {
                docs: Vec::new(),
                name: name.clone(),
                value: after,
            }),
        }
    }

    fn declared<'p>(
        &mut self,
        name: &Spanned<String>,
        params: &'p [ParamDecl],
        owner: &str,
    ) -> Option<&'p ParamDecl> {
        let found = params.iter().find(|decl| decl.name == name.value);
        if found.is_none() {
            let names = params.iter().map(|decl| decl.name);
            let message = format!("{owner} has no argument `{}`", name.value);
            let diag = Diag::new(Code::E0601, name.span, message).here("names nothing");
            self.diags.push(match suggest::nearest(&name.value, names.clone()) {
                Some(near) => {
                    diag.help(format!("the nearest one is `{near}`")).fix(name.span, near)
                }
                None if params.is_empty() => diag.help(format!("{owner} has no arguments")),
                None => diag.help(format!("its arguments are {}", suggest::list(names))),
            });
        }
        found
    }

    /// The value that stands in the place of `before` when `path` in it is set.
    fn put(
        &mut self,
        before: Option<Expr>,
        ty: &Type,
        default: Option<&Bound>,
        path: &[Spanned<String>],
        value: &Raw,
        owner: &Spanned<String>,
    ) -> Option<Expr> {
        let Some((name, rest)) = path.split_first() else { return self.value(value, Some(ty)) };
        let before = before.map(|expr| self.behind_parameter(expr, ty));
        // What the argument is now, as far as it has parts.
        let (word, mut args, span) = match before {
            Some(Expr { kind: ExprKind::Path(words), span }) if words.len() == 1 => {
                (words.into_iter().next(), Vec::new(), span)
            }
            Some(Expr { kind: ExprKind::Call { name, args }, span }) => (Some(name), args, span),
            Some(Expr { kind: ExprKind::Map(entries), span }) => {
                return self.put_entry(entries, ty, span, path, value);
            }
            Some(other) => {
                self.no_parts(name, owner, other.describe());
                return None;
            }
            None => match default {
                Some(Bound::Variant(variant, _)) => {
                    (Some(Spanned::new(variant.clone(), name.span)), Vec::new(), name.span)
                }
                _ if entry_type(ty).is_some() => {
                    return self.put_entry(Vec::new(), ty, name.span, path, value);
                }
                _ => {
                    self.no_parts(name, owner, "not given in the program");
                    return None;
                }
            },
        };
        let word = word?;
        let Some(variant) = variant_of(ty, &word.value) else {
            self.no_parts(name, owner, "nothing that has arguments");
            return None;
        };
        let shown = format!("`{}`", variant.name);
        let decl = self.declared(name, &variant.params, &shown)?;
        let position = args.iter().position(|arg| match &arg.name {
            Some(known) => known.value == name.value,
            None => decl.main,
        });
        let inner = position.map(|at| args[at].value.clone());
        let after = self.put(inner, &decl.ty, decl.default.as_ref(), rest, value, name)?;
        let arg = CallArg { name: Some(name.clone()), value: after };
        match position {
            Some(at) => args[at] = arg,
            None => args.push(arg),
        }
        Some(Expr { kind: ExprKind::Call { name: word, args }, span })
    }

    fn put_entry(
        &mut self,
        mut entries: Vec<Entry>,
        ty: &Type,
        span: Span,
        path: &[Spanned<String>],
        value: &Raw,
    ) -> Option<Expr> {
        let (name, rest) = path.split_first()?;
        let Some(item) = entry_type(ty) else {
            self.no_parts(name, name, "no map");
            return None;
        };
        let position = entries.iter().position(|entry| entry.key.value == name.value);
        let inner = position.map(|at| entries[at].value.clone());
        let after = self.put(inner, &item, None, rest, value, name)?;
        match position {
            Some(at) => entries[at].value = after,
            None => entries.push(Entry { docs: Vec::new(), key: name.clone(), value: after }),
        }
        Some(Expr { kind: ExprKind::Map(entries), span })
    }

    fn no_parts(&mut self, name: &Spanned<String>, owner: &Spanned<String>, is: &str) {
        let message = format!("`{}` has no part `{}`: it is {is}", owner.value, name.value);
        self.diags.push(
            Diag::new(Code::E0601, name.span, message)
                .here("names nothing")
                .help(format!("`{}` can be given as a whole", owner.value)),
        );
    }

    /// The value of a parameter that stands in the place of an argument.
    fn behind_parameter(&self, expr: Expr, ty: &Type) -> Expr {
        let value = match &expr.kind {
            ExprKind::Path(words)
                if words.len() == 1 && variant_of(ty, &words[0].value).is_none() =>
            {
                self.ast
                    .params()
                    .find(|param| param.name.value == words[0].value)
                    .and_then(|param| param.default.clone())
            }
            _ => None,
        };
        value.unwrap_or(expr)
    }

    /// Reads a value; `ty` decides whether a bare word is a text.
    fn value(&mut self, raw: &Raw, ty: Option<&Type>) -> Option<Expr> {
        match raw {
            Raw::List { items, span } => {
                let item = ty.and_then(item_type);
                let items: Vec<Option<Expr>> =
                    items.iter().map(|one| self.value(one, item.as_ref())).collect();
                let items = items.into_iter().collect::<Option<Vec<_>>>()?;
                Some(Expr { kind: ExprKind::List(items), span: *span })
            }
            Raw::Map { entries, span } => {
                let mut read = Vec::new();
                for entry in entries {
                    let key = entry.path.first()?.clone();
                    let value = self.value(&entry.value, ty.and_then(entry_type).as_ref())?;
                    read.push(Entry { docs: Vec::new(), key, value });
                }
                Some(Expr { kind: ExprKind::Map(read), span: *span })
            }
            Raw::Scalar { text, span, quoted } => {
                let as_text = || Expr { kind: ExprKind::String(text.clone()), span: *span };
                let takes_text = ty.is_some_and(takes_text);
                if *quoted && takes_text {
                    return Some(as_text());
                }
                match parse_value(span.source, text) {
                    Ok(mut value) => {
                        let only_text = matches!(ty, Some(Type::Text));
                        let is_text = matches!(value.kind, ExprKind::String(_));
                        let names = Names::default();
                        let fits = ty.is_none_or(|ty| super::bind::fits_form(&value, ty, &names));
                        if !is_text && (only_text || takes_text && !fits) {
                            return Some(as_text());
                        }
                        self.move_spans(&mut value, text, *span);
                        Some(value)
                    }
                    Err(_) if takes_text => Some(as_text()),
                    Err(diag) => {
                        // Its places are those of the value by itself.
                        let moved = Diag::new(diag.code, *span, diag.message);
                        let moved = moved.here(diag.labels.first().map_or("", |label| &label.text));
                        self.diags.push(Diag { help: diag.help, ..moved });
                        None
                    }
                }
            }
        }
    }

    /// From places in `text` to places in the source that has it at `span`.
    fn move_spans(&self, value: &mut Expr, text: &str, span: Span) {
        let source = self.sources.get(span.source.0 as usize);
        let slice = source.and_then(|source| source.text.get(span.start..span.end)).unwrap_or("");
        let offset = slice.find(text).map(|at| span.start + at);
        each_span(value, &mut |place| {
            *place = match offset {
                Some(by) => Span { start: place.start + by, end: place.end + by, ..*place },
                None => span,
            };
        });
    }
}

/// What a bare word would be for a parameter.
fn hint(param: &Param) -> Option<Type> {
    match (&param.type_name, &param.within) {
        (Some(name), _) => super::params::param_type(&name.value),
        (None, Some(Expr { kind: ExprKind::List(items), .. })) => {
            items.iter().all(|item| matches!(item.kind, ExprKind::String(_))).then_some(Type::Text)
        }
        _ => None,
    }
}

fn takes_text(ty: &Type) -> bool {
    match ty {
        Type::Text | Type::Scalar => true,
        Type::OneOf(types) => types.iter().any(takes_text),
        _ => false,
    }
}

fn item_type(ty: &Type) -> Option<Type> {
    match ty {
        Type::List(item) => Some((**item).clone()),
        Type::OneOf(types) => types.iter().find_map(item_type),
        _ => None,
    }
}

fn entry_type(ty: &Type) -> Option<Type> {
    match ty {
        Type::Map(item) => Some((**item).clone()),
        Type::Port(PortType::Tables) => Some(Type::Port(PortType::Table)),
        Type::Port(PortType::TokenSets) => Some(Type::Port(PortType::Tokens)),
        Type::OneOf(types) => types.iter().find_map(entry_type),
        _ => None,
    }
}

fn variant_of<'t>(ty: &'t Type, name: &str) -> Option<&'t VariantDecl> {
    match ty {
        Type::Variant(set) => set.get(name),
        Type::OneOf(types) => types.iter().find_map(|ty| variant_of(ty, name)),
        _ => None,
    }
}

/// Every place in a value.
fn each_span(expr: &mut Expr, f: &mut dyn FnMut(&mut Span)) {
    f(&mut expr.span);
    match &mut expr.kind {
        ExprKind::Quantity { unit, .. } => f(&mut unit.span),
        ExprKind::List(items) => items.iter_mut().for_each(|item| each_span(item, f)),
        ExprKind::Map(entries) => {
            for entry in entries {
                f(&mut entry.key.span);
                each_span(&mut entry.value, f);
            }
        }
        ExprKind::Range { low, high } => {
            each_span(low, f);
            each_span(high, f);
        }
        ExprKind::Path(words) => words.iter_mut().for_each(|word| f(&mut word.span)),
        ExprKind::Call { name, args } => {
            f(&mut name.span);
            for arg in args {
                if let Some(name) = &mut arg.name {
                    f(&mut name.span);
                }
                each_span(&mut arg.value, f);
            }
        }
        ExprKind::Not(inner) | ExprKind::Negate(inner) => each_span(inner, f),
        ExprKind::Binary { operator, left, right } => {
            f(&mut operator.span);
            each_span(left, f);
            each_span(right, f);
        }
        ExprKind::Bool(_)
        | ExprKind::Number(_)
        | ExprKind::Share(_)
        | ExprKind::String(_)
        | ExprKind::Column(_) => {}
    }
}
