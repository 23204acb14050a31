//! The whole check of a program: names, parameters, arguments, references, order, then every
//! step's own check with what is known of its inputs. Everything is reported in one pass, and what
//! follows from a mistake is not reported again.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::Given;
use super::bind::{At, Binder, PortUse};
use super::expect;
use super::graph::{self, Graph, Node};
use super::names::Names;
use super::outside;
use super::params::{parameters, seed};
use super::places::{StepPlaces, Written};
use super::refine;
use super::reuse::{self, Expanded};
use super::shapes;
use crate::base::{Code, Diag, Diags, Severity, Source, SourceId, Span, suggest};
use crate::schema::{Bound, PortRef, Type};
use crate::step::{AnyStep, CheckCx, Kind, Probe, Shape};
use crate::syntax::ast::{Ast, Expr, ExprKind, Item, Step};

/// Values from outside the program, as sources: each `--set` argument is one (`NAME=VALUE`), each
/// `--params` file is one.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    pub set: Vec<SourceId>,
    pub params: Vec<SourceId>,
}

/// What a check found.
pub struct Checked {
    /// Present exactly if there is no error; warnings do not stand in the way.
    pub graph: Option<Graph>,
    /// In the order of the source; what lies outside the program comes behind.
    pub diags: Diags,
}

/// Checks a program. `sources[id]` is the text of the source `id`; what `syntax` found wrong is not
/// repeated.
pub fn check(
    sources: &[Source],
    ast: &Ast,
    bindings: &Bindings,
    kinds: &'static [Kind],
    probe: &dyn Probe,
) -> Checked {
    let mut diags = Vec::new();
    let Expanded { ast, scopes, scope_of, idle } = &reuse::expand(ast, &mut diags);
    let mut effective = outside::apply(ast, sources, bindings, kinds, &mut diags);
    let mut written = ast.clone();
    [&mut written, &mut effective].into_iter().for_each(reuse::link);
    let mut names = Names::of(&effective, kinds, &mut diags);
    let params = parameters(&written, &mut names, sources, &mut diags);
    let seed = seed(&effective, sources, &mut diags);
    let within: Vec<Names> = scopes.iter().map(|scope| names.within(scope, idle, kinds)).collect();
    let program = Words { here: &names, program: &names, used: None };
    let words =
        |scope: Option<&usize>| match scope.and_then(|at| scopes.get(*at).zip(within.get(*at))) {
            Some((scope, here)) => Words { here, program: &names, used: scope.used },
            None => program,
        };
    handed_over(&effective, sources, program, &mut diags);
    let mut drafts = Vec::new();
    for item in &effective.items {
        let Item::Step(step) = item else { continue };
        let words = words(scope_of.get(&step.name.value));
        match kinds.iter().find(|kind| kind.name == step.kind.value) {
            Some(kind) => drafts.push(draft(step, kind, sources, words, seed, &mut diags)),
            None => diags.push(unknown_kind(step, kinds)),
        }
    }
    // What nothing uses is held to the same rules as far as it can be.
    for (step, scope) in idle {
        match kinds.iter().find(|kind| kind.name == step.kind.value) {
            Some(kind) => _ = draft(step, kind, sources, words(Some(scope)), seed, &mut diags),
            None => diags.push(unknown_kind(step, kinds)),
        }
    }
    // Where a name was declared twice, references mean the first.
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        first.entry(&draft.step.name.value).or_insert(at);
    }
    let index = |name: &str| first.get(name).copied();
    let needs: Vec<Vec<usize>> = drafts
        .iter()
        .map(|draft| {
            let ports = draft.uses.iter().flat_map(|used| used.port.steps());
            ports.filter_map(index).collect::<BTreeSet<usize>>().into_iter().collect()
        })
        .collect();
    let found = graph::order(&needs);
    for circle in &found.circles {
        diags.push(circular(circle, &drafts));
    }
    let places: BTreeMap<&str, Span> = drafts
        .iter()
        .rev()
        .map(|draft| (draft.step.name.value.as_str(), draft.step.name.span))
        .collect();
    let mut known: BTreeMap<String, Vec<(String, Shape)>> = BTreeMap::new();
    let mut built: Vec<Option<Box<dyn AnyStep>>> = drafts.iter().map(|_| None).collect();
    for &at in &found.order {
        let draft = &drafts[at];
        let fine = shapes::uses(&draft.uses, &known, sources, &mut diags);
        let Some(args) = &draft.args else { continue };
        let Some(step) = (draft.kind.build)(args) else {
            let message = format!("the arguments of `{}` were read wrongly", draft.step.name.value);
            diags.push(Diag::new(Code::E0799, draft.step.name.span, message));
            continue;
        };
        let shape_of = |port: &PortRef| if fine { shapes::quietly(port, &known) } else { None };
        let step_places = StepPlaces { step: draft.step, written: &draft.written, names: &places };
        let mut cx =
            CheckCx { probe, places: &step_places, shapes: &shape_of, reports: Vec::new() };
        let made = step.check(&mut cx);
        if draft.step.damaged {
            // An argument that could not be read may have been the one that is missed.
            cx.reports.retain(|diag| diag.code != Code::E0202);
        }
        let failed = cx.reports.iter().any(|diag| diag.severity() == Severity::Error);
        let words = words(scope_of.get(&draft.step.name.value));
        diags.extend(cx.reports.drain(..).map(|diag| words.used_here(diag)));
        let mut shapes: Vec<(String, Shape)> =
            made.into_iter().map(|(name, shape)| (name.to_string(), shape)).collect();
        let numbers = draft.kind.report.iter().map(|name| name.to_string()).collect();
        shapes.retain(|(name, _)| name != "report");
        shapes.push(("report".to_string(), Shape::Report(numbers)));
        if failed && shapes.len() == 1 {
            shapes.clear();
        }
        if index(&draft.step.name.value) == Some(at) {
            known.insert(draft.step.name.value.clone(), shapes);
        }
        built[at] = Some(step);
    }
    let expectations = expect::all(&effective, &names, &known, sources, &mut diags);
    one_place_each(&drafts, &built, &mut diags);
    unused(ast, &effective, &names, scope_of, &drafts, &mut diags);
    let mut seen = BTreeSet::new();
    diags.retain(|diag| seen.insert((diag.span(), diag.code, diag.message.clone())));
    diags.sort_by_key(|diag| (diag.span().source != ast.source, diag.span()));
    let broken = diags.iter().any(|diag| diag.severity() == Severity::Error);
    let nodes = if broken { None } else { nodes(drafts, built, known) };
    let (order, seed) = (found.order, seed as u64);
    let graph = nodes.map(|nodes| Graph { nodes, order, seed, params, expectations });
    Checked { graph, diags }
}

/// A step whose arguments have been looked at.
struct Draft<'a> {
    step: &'a Step,
    kind: &'static Kind,
    /// `None` if something is wrong with one of them.
    args: Option<Vec<(String, Bound)>>,
    written: BTreeMap<String, Written>,
    uses: Vec<PortUse>,
}

fn draft<'a>(
    step: &'a Step,
    kind: &'static Kind,
    sources: &[Source],
    words: Words,
    seed: i64,
    diags: &mut Vec<Diag>,
) -> Draft<'a> {
    let mut binder = Binder::new(sources, words.here, &step.name.value);
    binder.program = words.program;
    let owner = format!("`{}`", kind.name);
    let given: Vec<Given> =
        step.args.iter().map(|arg| Given { name: arg.name.clone(), value: &arg.value }).collect();
    let mut args =
        binder.arguments(&owner, &kind.params, &given, &At::argument, &mut |binder, decl| {
            // An argument that could not be read may have been this one.
            if step.damaged {
                return;
            }
            let message =
                format!("{owner} `{}` lacks the argument `{}`", step.name.value, decl.name);
            let diag = Diag::new(Code::E0202, step.name.span, message).here(format!(
                "needs `{}`: {}",
                decl.name,
                decl.ty.describe()
            ));
            binder.diags.push(match refine::example(&decl.ty, binder.names, binder.step) {
                Some(example) => {
                    let fix = step.insert_argument(&format!("{} = {example}", decl.name));
                    diag.fix(fix.span, fix.replacement)
                }
                None => match &decl.ty {
                    Type::Port(wanted) => {
                        diag.help(format!("no step above it makes {}", wanted.describe()))
                    }
                    ty => {
                        diag.help(format!("for instance `{} = {}`", decl.name, refine::sketch(ty)))
                    }
                },
            });
        });
    for (name, value) in args.iter_mut().flatten() {
        if name == "seed" && *value == Bound::None {
            *value = Bound::Int(seed);
        }
    }
    diags.extend(binder.diags.drain(..).map(|diag| words.used_here(diag)));
    Draft { step, kind, args, written: binder.written, uses: binder.uses }
}

/// What words mean in a step.
#[derive(Clone, Copy)]
struct Words<'a> {
    here: &'a Names<'a>,
    program: &'a Names<'a>,
    /// The use that the step comes from.
    used: Option<Span>,
}

impl Words<'_> {
    /// A mistake in a fragment may be one of the use alone.
    fn used_here(&self, diag: Diag) -> Diag {
        match self.used {
            Some(span) if span != diag.span() => diag.also(span, "used here"),
            _ => diag,
        }
    }
}

/// Checks what uses hand over to fragments against the types that these declare.
fn handed_over(ast: &Ast, sources: &[Source], words: Words, diags: &mut Vec<Diag>) {
    let used = ast.items.iter().filter_map(|item| match item {
        Item::Use(used) => Some(used),
        _ => None,
    });
    for used in used {
        let Some(fragment) = reuse::fragment_of(ast, used) else { continue };
        for arg in &used.args {
            let param = fragment.params.iter().find(|param| param.name.value == arg.name.value);
            if let Some(ty) = param.and_then(reuse::port_type) {
                let mut binder = Binder::new(sources, words.here, "");
                binder.bind(&arg.value, &ty, &At::argument(&arg.name.value));
                diags.append(&mut binder.diags);
            }
        }
    }
}

fn unknown_kind(step: &Step, kinds: &[Kind]) -> Diag {
    let message = format!("`{}` is no step kind", step.kind.value);
    let diag = Diag::new(Code::E0105, step.kind.span, message).here("unknown");
    let names = kinds.iter().map(|kind| kind.name);
    match suggest::nearest(&step.kind.value, names.clone()) {
        Some(near) => diag.help(format!("the nearest one is `{near}`")).fix(step.kind.span, near),
        None => diag.help(format!("the kinds are {}", suggest::list(names))),
    }
}

fn circular(circle: &[usize], drafts: &[Draft]) -> Diag {
    let names: Vec<&str> = circle.iter().map(|&at| drafts[at].step.name.value.as_str()).collect();
    let first = names.first().copied().unwrap_or_default();
    let chain: Vec<String> = names.iter().chain([&first]).map(|name| format!("`{name}`")).collect();
    let reference = |at: usize, to: &str| {
        let used = drafts[at].uses.iter().find(|used| used.port.steps().contains(&to));
        used.map_or(drafts[at].step.name.span, |used| used.span)
    };
    let message = match names.as_slice() {
        [one] => format!("the step `{one}` needs its own result"),
        _ => format!("steps wait for each other: {} (each needs the next)", chain.join(" → ")),
    };
    let mut diag: Option<Diag> = None;
    for (position, &at) in circle.iter().enumerate() {
        let to = names.get(position + 1).copied().unwrap_or(first);
        let (span, text) = (reference(at, to), format!("`{}` needs `{to}`", names[position]));
        diag = Some(match diag {
            None => Diag::new(Code::E0305, span, message.clone()).here(text),
            Some(diag) => diag.also(span, text),
        });
    }
    diag.unwrap_or_else(|| Diag::new(Code::E0305, Span::default(), message))
        .help("one of these references has to go")
}

/// Two steps may not write to one place.
fn one_place_each(drafts: &[Draft], built: &[Option<Box<dyn AnyStep>>], diags: &mut Vec<Diag>) {
    let mut taken: BTreeMap<String, Span> = BTreeMap::new();
    for (draft, step) in drafts.iter().zip(built) {
        let Some((to, _)) = step.as_ref().and_then(|step| step.target()) else { continue };
        let parts: Vec<&str> =
            to.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let plain = format!("{}{}", if to.starts_with('/') { "/" } else { "" }, parts.join("/"));
        let span = draft.written.get("to").map_or(draft.step.name.span, |written| written.at);
        match taken.get(&plain) {
            Some(first) => {
                let (folder, file) =
                    plain.rsplit_once('/').map_or(("", plain.as_str()), |parts| parts);
                let (stem, extension) = file.rsplit_once('.').map_or((file, ""), |parts| parts);
                let mut other = folder.to_string();
                other.extend((!folder.is_empty() || plain.starts_with('/')).then_some('/'));
                other += &format!("{stem}_{}", draft.step.name.value);
                other.extend((!extension.is_empty()).then_some('.'));
                other += extension;
                diags.push(
                    Diag::new(Code::E0306, span, format!("two steps write to `{plain}`"))
                        .here("the second one")
                        .also(*first, "the first one")
                        .help("each needs a place of its own")
                        .fix(span, Bound::Text(other).to_string()),
                );
            }
            None => {
                taken.insert(plain, span);
            }
        }
    }
}

/// Warns of what nothing refers to.
fn unused(
    ast: &Ast,
    effective: &Ast,
    names: &Names,
    scope_of: &BTreeMap<String, usize>,
    drafts: &[Draft],
    diags: &mut Vec<Diag>,
) {
    let referred: BTreeSet<&str> =
        drafts.iter().flat_map(|draft| &draft.uses).flat_map(|used| used.port.steps()).collect();
    // Words in what could not be bound are references too.
    let mut words: BTreeSet<&str> = BTreeSet::new();
    for tree in [ast, effective] {
        for step in tree.steps() {
            step.args.iter().for_each(|arg| first_words(&arg.value, &mut words));
        }
        for item in &tree.items {
            if let Item::Use(used) = item {
                used.args.iter().for_each(|arg| first_words(&arg.value, &mut words));
            }
        }
        for expected in tree.expectations() {
            words.extend(expected.number.first().map(|word| word.value.as_str()));
            first_words(&expected.limit, &mut words);
        }
    }
    // A name that was misspelt where it is used would be reported twice.
    let misread = diags.iter().any(|diag| {
        let code = diag.code.as_str();
        code.starts_with("E01")
            || code.starts_with("E03")
            || matches!(diag.code, Code::E0105 | Code::E0204 | Code::E0206)
    });
    let damaged = misread
        || ast.steps().any(|step| step.damaged)
        || ast.params().any(|param| param.damaged)
        || !ast.unread.is_empty();
    for draft in drafts {
        let name = draft.step.name.value.as_str();
        // A fragment makes more than each of its uses needs.
        let of_use = scope_of.contains_key(name);
        let is_used = referred.contains(name) || words.contains(name) || of_use;
        if !draft.kind.shows() && !is_used && !damaged {
            let message = format!("nothing uses the step `{name}`");
            diags.push(
                Diag::new(Code::W0101, draft.step.name.span, message)
                    .here("unused")
                    .help("it neither shows nor saves anything by itself"),
            );
        }
    }
    let declared = names
        .params()
        .map(|declared| (&declared.param.name, "parameter"))
        .chain(names.secrets().map(|secret| (&secret.name, "secret")));
    for (name, what) in declared {
        if !words.contains(name.value.as_str()) && !name.value.contains('.') && !damaged {
            let message = format!("nothing uses the {what} `{}`", name.value);
            diags.push(Diag::new(Code::W0102, name.span, message).here("unused"));
        }
    }
}

/// The first word of every path in a value.
fn first_words<'a>(value: &'a Expr, words: &mut BTreeSet<&'a str>) {
    match &value.kind {
        ExprKind::Path(path) => words.extend(path.first().map(|word| word.value.as_str())),
        ExprKind::List(items) => items.iter().for_each(|item| first_words(item, words)),
        ExprKind::Map(entries) => entries.iter().for_each(|entry| first_words(&entry.value, words)),
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| first_words(&arg.value, words)),
        ExprKind::Range { low: left, high: right } | ExprKind::Binary { left, right, .. } => {
            first_words(left, words);
            first_words(right, words);
        }
        ExprKind::Not(inner) | ExprKind::Negate(inner) => first_words(inner, words),
        ExprKind::Bool(_)
        | ExprKind::Number(_)
        | ExprKind::Share(_)
        | ExprKind::Quantity { .. }
        | ExprKind::String(_)
        | ExprKind::Column(_) => {}
    }
}

fn nodes(
    drafts: Vec<Draft>,
    built: Vec<Option<Box<dyn AnyStep>>>,
    mut known: BTreeMap<String, Vec<(String, Shape)>>,
) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    for (draft, step) in drafts.into_iter().zip(built) {
        let args = draft.args?;
        let inputs = args.iter().flat_map(|(_, value)| value.ports()).cloned().collect();
        nodes.push(Node {
            name: draft.step.name.value.clone(),
            docs: draft.step.docs.clone(),
            kind: draft.kind,
            args,
            step: step?,
            inputs,
            shapes: known.remove(&draft.step.name.value).unwrap_or_default(),
            span: draft.step.name.span,
            origins: draft.written.into_iter().map(|(path, at)| (path, at.origin)).collect(),
        });
    }
    Some(nodes)
}
