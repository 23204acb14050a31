//! Arguments of steps and of variants: which are given, which are missing, and what they are bound to.

use std::collections::BTreeMap;

use super::bind::{At, Binder, fits_form};
use super::refine;
use crate::base::{Code, Diag, Span, Spanned, suggest};
use crate::schema::{Bound, ParamDecl, Type, VariantDecl, VariantSet};
use crate::syntax::ast::{CallArg, Expr, ExprKind};

/// An argument as written, under the name of its declaration.
pub struct Given<'e> {
    pub name: Spanned<String>,
    pub value: &'e Expr,
}

impl<'a> Binder<'a> {
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
        // What was given under a name that is nearly right is not missing besides.
        let mut meant: Vec<&str> = Vec::new();
        for argument in given {
            let Some(decl) = params.iter().find(|decl| decl.name == argument.name.value) else {
                meant.extend(self.unknown_argument(owner, argument, params, given));
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
                    if !meant.contains(&decl.name) {
                        missing(self, decl);
                    }
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

    /// Reports it, and gives the name that it is nearest to.
    pub(super) fn unknown_argument(
        &mut self,
        owner: &str,
        argument: &Given,
        params: &[ParamDecl],
        given: &[Given],
    ) -> Option<&'static str> {
        let word = &argument.name.value;
        let taken = |name: &str| given.iter().any(|other| other.name.value == name);
        let message = format!("{owner} has no argument `{word}`");
        let mut diag = Diag::new(Code::E0201, argument.name.span, message).here("unknown");
        let names = params.iter().map(|decl| decl.name);
        let near = suggest::nearest(word, names.clone())
            .and_then(|near| params.iter().map(|decl| decl.name).find(|name| *name == near));
        diag = match near {
            Some(near) => {
                let diag = diag.help(format!("the nearest one is `{near}`"));
                if taken(near) { diag } else { diag.fix(argument.name.span, near) }
            }
            None if params.is_empty() => diag.help(format!("{owner} has no arguments")),
            None => match one_level_down(word, params) {
                // `learning_rate` is looked for in `train`, and is the optimizer's.
                Some((decl, variant, inner)) => diag.help(format!(
                    "`{inner}` is an argument of `{variant}`: `{decl} = {variant}({inner} = …)`"
                )),
                None => diag.help(format!("its arguments are {}", suggest::list(names))),
            },
        };
        self.diags.push(diag);
        near
    }

    pub(super) fn variant(
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
    pub(super) fn variant_arguments<'e>(
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
}

/// The argument of a variant that a word may mean: argument, variant, and the variant's argument.
fn one_level_down(
    word: &str,
    params: &[ParamDecl],
) -> Option<(&'static str, &'static str, &'static str)> {
    fn sets(ty: &Type) -> Vec<&VariantSet> {
        match ty {
            Type::Variant(set) => vec![set],
            Type::List(inner) => sets(inner),
            Type::OneOf(types) => types.iter().flat_map(sets).collect(),
            _ => Vec::new(),
        }
    }
    let all: Vec<_> = params
        .iter()
        .flat_map(|decl| sets(&decl.ty).into_iter().map(move |set| (decl.name, set)))
        .flat_map(|(name, set)| set.variants.iter().map(move |variant| (name, variant)))
        .flat_map(|(name, variant)| {
            variant.params.iter().map(move |inner| (name, variant.name, inner.name))
        })
        .collect();
    let near = suggest::nearest(word, all.iter().map(|(_, _, inner)| *inner))?;
    all.iter().copied().find(|(_, _, inner)| *inner == near)
}
