//! Declared parameters and the seed: types, ranges, enumerations, and the value of each in this run.

use super::bind::{At, Binder};
use super::graph::Parameter;
use super::names::Names;
use super::refine;
use crate::base::{Code, Diag, Source, Span, suggest};
use crate::schema::{Bound, Type, Unit};
use crate::syntax::ast::{Ast, Expr, ExprKind, Item, Number, NumberValue, Param};

/// The seed of a program that gives none.
pub const SEED: i64 = 42;

/// Checks the declared parameters and gives each its value.
pub fn parameters(
    written: &Ast,
    names: &mut Names,
    sources: &[Source],
    diags: &mut Vec<Diag>,
) -> Vec<Parameter> {
    let nothing = Names::default();
    let mut all = Vec::new();
    for declared in names.declared_mut() {
        let param = declared.param;
        if param.damaged {
            continue;
        }
        let Some(domain) = domain(param, sources, &nothing, diags) else { continue };
        declared.ty.clone_from(&domain.ty);
        // What the program says is checked even where another value takes its place.
        let original = written.params().find(|other| other.name == param.name);
        let original = original.and_then(|other| other.default.as_ref());
        let replaced = match (original, &param.default) {
            (Some(before), Some(now)) => before.span != now.span,
            _ => false,
        };
        if let Some(before) = original.filter(|_| replaced) {
            domain.admit(before, param, sources, &nothing, diags);
        }
        let Some(value) = &param.default else {
            let message = format!("the parameter `{}` has no value", param.name.value);
            diags.push(
                Diag::new(Code::E0605, param.name.span, message)
                    .here("no default, and none given")
                    .help(format!(
                        "`--set {}=…` gives one, or a default behind `=`",
                        param.name.value
                    )),
            );
            continue;
        };
        let Some(admitted) = domain.admit(value, param, sources, &nothing, diags) else { continue };
        all.push(Parameter {
            name: param.name.value.clone(),
            docs: param.docs.clone(),
            value: admitted.1,
            origin: value.span,
        });
        declared.value = Some(admitted.0);
    }
    all
}

pub fn seed(ast: &Ast, sources: &[Source], diags: &mut Vec<Diag>) -> i64 {
    let seed = ast.items.iter().find_map(|item| match item {
        Item::Seed(seed) => Some(seed),
        _ => None,
    });
    let Some(seed) = seed else { return SEED };
    let nothing = Names::default();
    let mut binder = Binder::new(sources, &nothing, "");
    let ty = Type::Int { min: 0, max: i64::MAX };
    let bound = binder.bind(&seed.value, &ty, &At::named("`seed`"));
    diags.append(&mut binder.diags);
    match bound {
        Some(Bound::Int(value)) => value,
        _ => SEED,
    }
}

/// Which values a parameter may have.
struct Domain<'a> {
    /// `None` for an enumeration.
    ty: Option<Type>,
    /// The values of an enumeration.
    choices: Option<&'a [Expr]>,
}

/// The type of a parameter by its name.
pub fn param_type(name: &str) -> Option<Type> {
    Some(match name {
        "int" => Type::Int { min: i64::MIN, max: i64::MAX },
        "float" => Type::Float { min: f64::NEG_INFINITY, max: f64::INFINITY },
        "bool" => Type::Bool,
        "string" => Type::Text,
        "share" => Type::Share { min: 0.0, max: 1.0 },
        "budget" => Type::Quantity {
            units: vec![Unit::Epochs, Unit::Updates],
            min: 0.0,
            max: f64::INFINITY,
        },
        _ => return None,
    })
}

const PARAM_TYPES: [&str; 6] = ["int", "float", "bool", "string", "share", "budget"];

fn domain<'a>(
    param: &'a Param,
    sources: &[Source],
    nothing: &Names,
    diags: &mut Vec<Diag>,
) -> Option<Domain<'a>> {
    let choices = match &param.within {
        Some(Expr { kind: ExprKind::List(items), span }) => {
            if items.is_empty() {
                let message =
                    format!("the parameter `{}` has no value to choose from", param.name.value);
                diags.push(
                    Diag::new(Code::E0104, *span, message)
                        .here("an empty list")
                        .help("for instance `in [small, large]`"),
                );
                return None;
            }
            Some(items.as_slice())
        }
        _ => None,
    };
    let Some(type_name) = &param.type_name else {
        if choices.is_none() {
            let guess = match param.default.as_ref().map(|value| &value.kind) {
                Some(ExprKind::Number(Number { value: NumberValue::Int(_), .. })) => "int",
                Some(ExprKind::Number(_)) => "float",
                Some(ExprKind::Bool(_)) => "bool",
                Some(ExprKind::String(_)) => "string",
                Some(ExprKind::Share(_)) => "share",
                Some(ExprKind::Quantity { .. }) => "budget",
                _ => "",
            };
            let message = format!("the parameter `{}` has no type", param.name.value);
            let mut diag = Diag::new(Code::E0104, param.name.span, message)
                .here("of which type?")
                .help(format!(
                    "types are {}; an enumeration is `in [ … ]`",
                    suggest::list(PARAM_TYPES)
                ));
            if !guess.is_empty() {
                diag = diag.fix(param.name.span.after(), format!(": {guess}"));
            }
            diags.push(diag);
            return None;
        }
        return Some(Domain { ty: None, choices });
    };
    let Some(mut ty) = param_type(&type_name.value) else {
        let message = format!("`{}` is no type of a parameter", type_name.value);
        let diag = Diag::new(Code::E0104, type_name.span, message).here("unknown");
        let other = match type_name.value.to_lowercase().as_str() {
            "str" | "text" => Some("string"),
            "integer" | "usize" | "i64" => Some("int"),
            "number" | "double" | "f32" | "f64" => Some("float"),
            "percent" | "percentage" | "fraction" => Some("share"),
            word => suggest::nearest(word, PARAM_TYPES),
        };
        diags.push(match other {
            Some(near) => {
                diag.help(format!("the nearest one is `{near}`")).fix(type_name.span, near)
            }
            None => diag.help(format!("types are {}", suggest::list(PARAM_TYPES))),
        });
        return None;
    };
    if let Some(Expr { kind: ExprKind::Range { low, high }, span }) = &param.within {
        let mut binder = Binder::new(sources, nothing, "");
        let at = At::named(format!("the range of `{}`", param.name.value));
        let ends = (binder.bind(low, &ty, &at), binder.bind(high, &ty, &at));
        diags.append(&mut binder.diags);
        let (Some(lowest), Some(highest)) = ends else { return None };
        let (Some((from, unit)), Some((to, other))) = (size(&lowest), size(&highest)) else {
            let message = format!("a parameter of type `{}` has no range", type_name.value);
            diags.push(
                Diag::new(Code::E0104, *span, message)
                    .here("a range")
                    .help("its values can be listed: `in [ … ]`"),
            );
            return None;
        };
        let text = |span: Span| Binder::new(sources, nothing, "").text(span).to_string();
        if unit != other {
            let message =
                format!("the ends of the range of `{}` have different units", param.name.value);
            diags.push(
                Diag::new(Code::E0207, *span, message)
                    .here("one unit is needed")
                    .help("for instance `in 1 epoch .. 20 epochs`"),
            );
            return None;
        }
        if from > to {
            let message =
                format!("the range of `{}` is empty: it ends before it begins", param.name.value);
            diags.push(
                Diag::new(Code::E0104, *span, message)
                    .here("the lower end comes first")
                    .fix(*span, format!("{} .. {}", text(high.span), text(low.span))),
            );
            return None;
        }
        ty = ty.within(from, to);
        if let (Type::Quantity { units, .. }, Some(unit)) = (&mut ty, unit) {
            *units = vec![unit];
        }
    }
    Some(Domain { ty: Some(ty), choices })
}

/// The size of a value that has one.
fn size(value: &Bound) -> Option<(f64, Option<Unit>)> {
    Some(match value {
        Bound::Int(value) => (*value as f64, None),
        Bound::Float(value) | Bound::Share(value) => (*value, None),
        Bound::Quantity(value, unit) => (*value, Some(*unit)),
        _ => return None,
    })
}

impl Domain<'_> {
    /// The value with its spelling, if it lies in the domain.
    fn admit(
        &self,
        value: &Expr,
        param: &Param,
        sources: &[Source],
        nothing: &Names,
        diags: &mut Vec<Diag>,
    ) -> Option<(Expr, String)> {
        let mut binder = Binder::new(sources, nothing, "");
        let at = At::named(format!("`{}`", param.name.value));
        let (mut admitted, mut spelled) = (value.clone(), spell(value));
        if let Some(ty) = &self.ty {
            let bound = binder.bind(value, ty, &at);
            diags.append(&mut binder.diags);
            let bound = bound?;
            spelled = bound.to_string();
            // A float stays one wherever it is used, also when it was written as `1`.
            if let (Bound::Float(number), ExprKind::Number(written)) = (&bound, &mut admitted.kind)
            {
                written.value = NumberValue::Float(*number);
            }
        }
        if let Some(choices) = self.choices
            && !choices
                .iter()
                .any(|choice| spell(choice) == spell(value) || spell(choice) == spelled)
        {
            let text = binder.text(value.span);
            let message = format!("`{}` is none of the values of `{}`", text, param.name.value);
            let forms: Vec<&str> = choices.iter().map(|choice| binder.text(choice.span)).collect();
            let mut diag = Diag::new(Code::E0205, value.span, message).here("not in the list");
            if let Some(within) = &param.within
                && within.span.source == value.span.source
            {
                diag = diag.also(within.span, "the values");
            }
            diag = diag.help(format!("there are {}", suggest::list(forms.iter().copied())));
            let near = suggest::nearest(text, forms.iter().copied()).or(forms.first().copied());
            if let Some(near) = near {
                diag = diag.fix(value.span, near);
            }
            diags.push(diag);
            return None;
        }
        Some((admitted, spelled))
    }
}

/// One spelling for equal values.
fn spell(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::Number(number) => match number.value {
            NumberValue::Int(value) => Bound::Int(value).to_string(),
            NumberValue::Float(value) => Bound::Float(value).to_string(),
        },
        ExprKind::Share(share) => Bound::Share(share.fraction).to_string(),
        ExprKind::String(text) => Bound::Text(text.clone()).to_string(),
        ExprKind::Quantity { amount, unit } => match Unit::parse(&unit.value) {
            Some(unit) => Bound::Quantity(amount.value.as_f64(), unit).to_string(),
            None => format!("{} {}", amount.text, unit.value),
        },
        ExprKind::List(items) => {
            let items: Vec<String> = items.iter().map(spell).collect();
            format!("[{}]", items.join(", "))
        }
        ExprKind::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{} = {}", entry.key.value, spell(&entry.value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        ExprKind::Path(words) => refine::join(words),
        ExprKind::Call { name, args } => {
            let args: Vec<String> = args
                .iter()
                .map(|arg| match &arg.name {
                    Some(name) => format!("{} = {}", name.value, spell(&arg.value)),
                    None => spell(&arg.value),
                })
                .collect();
            format!("{}({})", name.value, args.join(", "))
        }
        ExprKind::Column(name) => Bound::Column(name.clone()).to_string(),
        ExprKind::Range { low, high } => format!("{} .. {}", spell(low), spell(high)),
        ExprKind::Not(inner) => format!("(not {})", spell(inner)),
        ExprKind::Negate(inner) => format!("(-{})", spell(inner)),
        ExprKind::Binary { operator, left, right } => {
            format!("({} {} {})", spell(left), operator.value.as_str(), spell(right))
        }
    }
}
