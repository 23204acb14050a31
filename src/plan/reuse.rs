//! Fragments: each `use` becomes the steps of its fragment, under names of their own. A fragment sees
//! its parameters and its own steps alone, which is kept in a scope beside the program.

use std::collections::{BTreeMap, BTreeSet};

use super::params::param_type;
use super::refine::join;
use crate::base::{Code, Diag, Span, Spanned, suggest};
use crate::schema::{PortType, Type};
use crate::syntax::ast::{Ast, Expr, ExprKind, Fragment, Item, Param, Step};

/// A program without fragments.
pub struct Expanded {
    /// With a step `small.tuned` and a parameter `small.rate` in the place of a use `small`.
    pub ast: Ast,
    /// What words mean inside of each use.
    pub scopes: Vec<Scope>,
    /// The scope of each step that comes from a use.
    pub scope_of: BTreeMap<String, usize>,
    /// Steps of fragments that nothing uses: they are looked at, and not run.
    pub idle: Vec<(Step, usize)>,
}

/// What words mean in the steps of one use.
#[derive(Default)]
pub struct Scope {
    /// The name of the use; none where nothing uses the fragment.
    pub used: Option<Span>,
    pub words: BTreeMap<String, Local>,
}

/// What a word of a fragment stands for.
pub enum Local {
    /// A parameter of the expanded program.
    Param(String),
    /// A step of the expanded program.
    Step(String),
    /// A use of another fragment: what its steps' names begin with.
    Use(String),
    /// A reference that was handed over, in words of the expanded program.
    Given(Expr),
    /// It is not known what it will be.
    Open(Span),
}

/// What a fragment can take from steps, by the names of `param`'s types.
const PORTS: [(&str, PortType); 6] = [
    ("table", PortType::Tables),
    ("tokens", PortType::TokenSets),
    ("model", PortType::Model),
    ("tokenizer", PortType::Tokenizer),
    ("predictions", PortType::Predictions),
    ("scores", PortType::Scores),
];

const VALUES: &str = "int, float, bool, string, share, budget";

/// The type of a parameter of a fragment that takes what steps make.
pub fn port_type(param: &Param) -> Option<Type> {
    let name = &param.type_name.as_ref()?.value;
    PORTS.iter().find(|(port, _)| port == name).map(|(_, ty)| Type::Port(*ty))
}

/// The fragment that a use names, if it can be found.
pub fn fragment_of<'m>(module: &'m Ast, used: &Step) -> Option<&'m Fragment> {
    let (home, name) = match used.kind.value.split_once('.') {
        None => (module, used.kind.value.as_str()),
        Some((import, name)) => {
            let found = module.imports().find(|one| one.name.value == import)?;
            (found.module.as_deref()?, name)
        }
    };
    home.fragments().find(|fragment| fragment.name.value == name)
}

/// Puts the steps of fragments in the place of their uses.
pub fn expand(ast: &Ast, diags: &mut Vec<Diag>) -> Expanded {
    let mut expander = Expander {
        made: Expanded {
            ast: Ast { items: Vec::new(), ..ast.clone() },
            scopes: Vec::new(),
            scope_of: BTreeMap::new(),
            idle: Vec::new(),
        },
        diags,
        chain: Vec::new(),
        used: Vec::new(),
        names: BTreeSet::new(),
    };
    let uses = ast.items.iter().filter_map(|item| match item {
        Item::Use(used) => Some((used.name.value.clone(), Local::Use(used.name.value.clone()))),
        _ => None,
    });
    let root = Scope { used: None, words: uses.collect() };
    for item in &ast.items {
        expander.made.ast.items.push(item.clone());
        if let Item::Use(used) = item {
            expander.used(used, ast, &root, "", false);
        }
    }
    for fragment in ast.fragments() {
        if !expander.used.contains(&fragment.name.span) {
            expander.idle(fragment, ast);
        }
    }
    expander.made
}

struct Expander<'d> {
    made: Expanded,
    diags: &'d mut Vec<Diag>,
    /// The fragments whose steps are being made.
    chain: Vec<Spanned<String>>,
    /// The names of the fragments that are used.
    used: Vec<Span>,
    /// The names of uses. One that stands twice is reported as every other name.
    names: BTreeSet<String>,
}

impl Expander<'_> {
    /// The steps of one use. `module`: the file that it stands in; `outer`: what its words mean there.
    fn used(&mut self, used: &Step, module: &Ast, outer: &Scope, prefix: &str, idle: bool) {
        let Some((home, fragment)) = self.fragment(used, module) else { return };
        self.used.push(fragment.name.span);
        let kind = &used.kind;
        if let Some(at) = self.chain.iter().position(|open| open.span == fragment.name.span) {
            let mut names: Vec<&str> =
                self.chain[at..].iter().map(|open| open.value.as_str()).collect();
            names.push(&fragment.name.value);
            let chain: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let message = match chain.len() {
                2 => format!("the fragment {} uses itself", chain[0]),
                _ => format!("fragments use each other in a circle: {}", chain.join(" → ")),
            };
            self.diags.push(
                Diag::new(Code::E0308, kind.span, message)
                    .here("this would never end")
                    .help("one of these uses has to go"),
            );
            return;
        }
        let name = match prefix {
            "" => used.name.value.clone(),
            prefix => format!("{prefix}.{}", used.name.value),
        };
        if !self.names.insert(name.clone()) {
            return;
        }
        let mut scope = Scope { used: Some(used.name.span), words: BTreeMap::new() };
        self.arguments(used, fragment);
        for param in &fragment.params {
            let given = used.args.iter().find(|arg| arg.name.value == param.name.value);
            let given = given.map(|arg| &arg.value);
            let local = self.parameter(param, given, outer, &name, used, fragment, idle);
            self.add(&mut scope, &param.name, local);
        }
        self.steps(fragment, home, scope, &name, idle);
    }

    /// The steps of a fragment that nothing uses.
    fn idle(&mut self, fragment: &Fragment, module: &Ast) {
        let mut scope = Scope::default();
        for param in &fragment.params {
            self.add(&mut scope, &param.name, Local::Open(param.name.span));
        }
        self.steps(fragment, module, scope, &fragment.name.value, true);
    }

    fn steps(
        &mut self,
        fragment: &Fragment,
        module: &Ast,
        mut scope: Scope,
        name: &str,
        idle: bool,
    ) {
        let whole = |own: &str| format!("{name}.{own}");
        for item in &fragment.items {
            match item {
                Item::Step(step) => {
                    let local = Local::Step(whole(&step.name.value));
                    self.add(&mut scope, &step.name, local);
                }
                Item::Use(used) => {
                    let local = match idle {
                        true => Local::Open(used.name.span),
                        false => Local::Use(whole(&used.name.value)),
                    };
                    self.add(&mut scope, &used.name, local);
                }
                _ => {}
            }
        }
        self.chain.push(fragment.name.clone());
        for item in &fragment.items {
            if let Item::Use(used) = item {
                self.used(used, module, &scope, name, idle);
            }
        }
        self.chain.pop();
        let at = self.made.scopes.len();
        for item in &fragment.items {
            let Item::Step(step) = item else { continue };
            let mut step = step.clone();
            step.damaged |= fragment.damaged;
            step.name.value = whole(&step.name.value);
            if idle {
                self.made.idle.push((step, at));
            } else {
                self.made.scope_of.insert(step.name.value.clone(), at);
                self.made.ast.items.push(Item::Step(step));
            }
        }
        self.made.scopes.push(scope);
    }

    fn add(&mut self, scope: &mut Scope, name: &Spanned<String>, local: Local) {
        if scope.words.contains_key(&name.value) {
            let message = format!("the name `{}` stands twice in a fragment", name.value);
            self.diags.push(
                Diag::new(Code::E0106, name.span, message)
                    .here("declared again")
                    .help("what a fragment takes and its steps share one space of names"),
            );
            return;
        }
        scope.words.insert(name.value.clone(), local);
    }

    /// The fragment that a use names, and the file that it is in.
    fn fragment<'m>(&mut self, used: &Step, module: &'m Ast) -> Option<(&'m Ast, &'m Fragment)> {
        let kind = &used.kind;
        let (home, name) = match kind.value.split_once('.') {
            None => (module, kind.value.as_str()),
            Some((import, name)) => {
                let found = module.imports().find(|one| one.name.value == import);
                let Some(found) = found else {
                    if module.unread.iter().all(|unread| unread.value != import) {
                        let names = module.imports().map(|one| one.name.value.as_str());
                        let message = format!("nothing is imported as `{import}`");
                        self.unknown(kind.span, message, import, names.collect(), "imports");
                    }
                    return None;
                };
                // What could not be read was reported.
                (found.module.as_deref()?, name)
            }
        };
        let found = home.fragments().find(|fragment| fragment.name.value == name);
        if found.is_none() && home.unread.iter().all(|unread| unread.value != name) {
            let names = home.fragments().map(|one| one.name.value.as_str()).collect();
            let message = format!("no fragment is named `{name}`");
            self.unknown(kind.span, message, name, names, "fragments");
        }
        found.map(|fragment| (home, fragment))
    }

    fn unknown(&mut self, at: Span, message: String, name: &str, names: Vec<&str>, what: &str) {
        let diag = Diag::new(Code::E0308, at, message).here("unknown");
        let near = suggest::nearest(name, names.iter().copied());
        self.diags.push(match near {
            Some(near) => diag.help(format!("the nearest one is `{near}`")),
            None if names.is_empty() => diag.help(format!("there are no {what} here")),
            None => diag.help(format!("the {what} are {}", suggest::list(names.iter().copied()))),
        });
    }

    /// Reports arguments that the fragment does not take, and those that stand twice.
    fn arguments(&mut self, used: &Step, fragment: &Fragment) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for arg in &used.args {
            let name = arg.name.value.as_str();
            if let Some(first) = seen.insert(name, arg.name.span) {
                self.diags.push(
                    Diag::new(Code::E0308, arg.name.span, format!("`{name}` is given twice"))
                        .here("the second one")
                        .also(first, "the first one")
                        .help("one of them has to go"),
                );
            }
            if fragment.params.iter().any(|param| param.name.value == name) || fragment.damaged {
                continue;
            }
            let names = fragment.params.iter().map(|param| param.name.value.as_str());
            let message = format!("the fragment `{}` takes no `{name}`", fragment.name.value);
            let diag = Diag::new(Code::E0308, arg.name.span, message)
                .here("not taken")
                .also(fragment.name.span, "the fragment");
            self.diags.push(match suggest::nearest(name, names.clone()) {
                Some(near) => {
                    diag.help(format!("the nearest one is `{near}`")).fix(arg.name.span, near)
                }
                None if fragment.params.is_empty() => diag.help("it takes nothing"),
                None => diag.help(format!("it takes {}", suggest::list(names))),
            });
        }
    }

    /// What a parameter of a fragment stands for in one use of it.
    #[expect(clippy::too_many_arguments, reason = "all of them are about the one parameter")]
    fn parameter(
        &mut self,
        param: &Param,
        given: Option<&Expr>,
        outer: &Scope,
        name: &str,
        used: &Step,
        fragment: &Fragment,
        idle: bool,
    ) -> Local {
        let open = Local::Open(param.name.span);
        let port = port_type(param);
        if let Some(type_name) = param.type_name.as_ref().filter(|_| port.is_none())
            && param_type(&type_name.value).is_none()
        {
            let ports: Vec<&str> = PORTS.iter().map(|(name, _)| *name).collect();
            let message = format!("`{}` is no type", type_name.value);
            let diag = Diag::new(Code::E0104, type_name.span, message)
                .here("unknown")
                .help(format!("the types are {}, {VALUES}", ports.join(", ")));
            self.diags.push(diag);
            return open;
        }
        let Some(value) = given.or(param.default.as_ref()) else {
            if !used.damaged && !param.damaged {
                let message = format!(
                    "`{}` needs a value for `{}` of the fragment `{}`",
                    used.name.value, param.name.value, fragment.name.value
                );
                let diag = Diag::new(Code::E0308, used.name.span, message)
                    .here(format!("lacks `{}`", param.name.value))
                    .help(format!("`{} = …` between its braces gives it one", param.name.value))
                    .also(param.name.span, "taken here, without a default");
                self.diags.push(diag);
            }
            return open;
        };
        let value = globally(value, outer);
        if port.is_some() {
            return Local::Given(value);
        }
        // In a fragment that nothing uses the value may be unknown itself.
        if idle {
            return open;
        }
        let whole = format!("{name}.{}", param.name.value);
        self.made.ast.items.push(Item::Param(Param {
            docs: Vec::new(),
            name: Spanned::new(whole.clone(), param.name.span),
            default: Some(value),
            ..param.clone()
        }));
        Local::Param(whole)
    }
}

/// A value with its references in words of the expanded program.
fn globally(value: &Expr, scope: &Scope) -> Expr {
    let kind = match &value.kind {
        ExprKind::Path(words) => return path(value, words, scope),
        ExprKind::Map(entries) => {
            let mut entries = entries.clone();
            for entry in &mut entries {
                entry.value = globally(&entry.value, scope);
            }
            ExprKind::Map(entries)
        }
        other => other.clone(),
    };
    Expr { kind, span: value.span }
}

fn path(value: &Expr, words: &[Spanned<String>], scope: &Scope) -> Expr {
    let as_written = || value.clone();
    let Some((first, rest)) = words.split_first() else { return as_written() };
    let begun = |name: &str, rest: &[Spanned<String>]| {
        let first = Spanned::new(name.to_string(), first.span);
        let words = std::iter::once(first).chain(rest.iter().cloned()).collect();
        Expr { kind: ExprKind::Path(words), span: value.span }
    };
    match scope.words.get(&first.value) {
        Some(Local::Step(name) | Local::Param(name)) => begun(name, rest),
        Some(Local::Use(name)) => match rest.split_first() {
            Some((step, rest)) => begun(&format!("{name}.{}", step.value), rest),
            None => as_written(),
        },
        Some(Local::Given(given)) => part(given, rest).unwrap_or_else(as_written),
        Some(Local::Open(_)) | None => as_written(),
    }
}

/// `given.rest`: a longer reference, or an entry of a map.
pub fn part(given: &Expr, rest: &[Spanned<String>]) -> Option<Expr> {
    let Some((entry, behind)) = rest.split_first() else { return Some(given.clone()) };
    match &given.kind {
        ExprKind::Path(words) => {
            let words = words.iter().chain(rest).cloned().collect();
            Some(Expr { kind: ExprKind::Path(words), span: given.span })
        }
        ExprKind::Map(entries) => {
            let found = entries.iter().find(|one| one.key.value == entry.value)?;
            part(&found.value, behind)
        }
        _ => None,
    }
}

/// Parameters of uses that were given another parameter take its value, whatever gave it that.
pub fn link(ast: &mut Ast) {
    let named = |expr: &Expr| match &expr.kind {
        ExprKind::Path(words) => Some(join(words)),
        _ => None,
    };
    // One parameter may lead to another, and each in one round at least.
    for _ in 0..ast.params().count() {
        let values: BTreeMap<String, Option<Expr>> =
            ast.params().map(|param| (param.name.value.clone(), param.default.clone())).collect();
        let mut changed = false;
        for item in &mut ast.items {
            let Item::Param(param) = item else { continue };
            let own = param.name.value.contains('.');
            let other = param.default.as_ref().and_then(named).filter(|_| own);
            if let Some(value) = other.and_then(|other| values.get(&other)) {
                param.default.clone_from(value);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
}
