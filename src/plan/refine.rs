//! What is said of a value that does not fit, and the edit that most likely repairs it.

use super::bind::{At, Binder, fits_form};
use super::names::{Name, Names, may_fit};
use super::reference::{Found, Problem};
use crate::base::{Code, Diag, Span, Spanned, suggest};
use crate::schema::{Bound, PortType, Type, Unit, VariantSet};
use crate::step::Kind;
use crate::syntax::ast::{Expr, ExprKind, NumberValue};

/// Units of time, in which no budget is given.
const TIMES: [&str; 16] = [
    "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hour",
    "hours", "d", "day", "days",
];

/// A value whose form does not fit the type.
pub fn wrong_form(binder: &Binder, expr: &Expr, ty: &Type, at: &At) -> Diag {
    let found = found(expr, binder.scope());
    let message = format!("{} takes {}, not {found}", at.subject, ty.describe());
    let place = expr.span;
    let text = binder.text(place);
    let diag = |code: Code| Diag::new(code, place, message.clone()).here(found.clone());
    let plain = diag(Code::E0204);
    let refused = match (ty, &expr.kind) {
        (Type::Bool, ExprKind::String(word)) => with_bool(plain, place, word),
        (Type::Bool, ExprKind::Path(words)) if words.len() == 1 => {
            with_bool(plain, place, &words[0].value)
        }
        (Type::Bool, ExprKind::Number(number)) => with_bool(plain, place, &number.text),
        (Type::Int { min, max }, ExprKind::Number(number)) => {
            let value = number.value.as_f64();
            let whole = value.round();
            let inside = whole >= *min as f64 && whole <= *max as f64 && whole.abs() < 9e15;
            if inside { plain.fix(place, format!("{whole}")) } else { plain }
        }
        (Type::Int { .. } | Type::Float { .. }, ExprKind::Quantity { amount, .. }) => {
            let whole = matches!(amount.value, NumberValue::Int(_));
            let diag = diag(Code::E0207).help(format!("{} has no unit", at.subject));
            if whole || matches!(ty, Type::Float { .. }) { diag.fix(place, &amount.text) } else { diag }
        }
        (Type::Float { .. }, ExprKind::Share(share)) => diag(Code::E0207)
            .help("a plain number is written without a percent sign")
            .fix(place, Bound::Float(share.fraction).to_string()),
        (Type::Int { .. }, ExprKind::Share(share)) => {
            let amount = share.text.trim_end_matches('%');
            let diag = diag(Code::E0207).help("a whole number is written without a percent sign");
            if amount.contains(['.', 'e', 'E']) { diag } else { diag.fix(place, amount) }
        }
        (
            Type::Int { .. } | Type::Float { .. } | Type::Share { .. } | Type::Quantity { .. },
            ExprKind::String(inner),
        ) => match crate::syntax::parse_value(place.source, inner) {
            Ok(value) if admits(binder, &value, ty) => {
                plain.help("numbers stand without quotation marks").fix(place, inner.trim())
            }
            _ => plain,
        },
        (Type::Share { .. }, ExprKind::Number(number)) => {
            let value = number.value.as_f64();
            // `0.06` was meant as a fraction, `6` as a percentage.
            let share = if value.abs() <= 1.0 { Bound::Share(value) } else { Bound::Share(value / 100.0) };
            diag(Code::E0207)
                .help("a share is written with a percent sign")
                .fix(place, share.to_string())
        }
        (Type::Quantity { units, .. }, ExprKind::Number(number)) => {
            let forms: Vec<String> = units.iter().map(|unit| amount(&number.text, *unit)).collect();
            let mut diag = Diag::new(
                Code::E0207,
                place,
                format!("{} needs a unit: {text} of what?", at.subject),
            )
            .here("a number without a unit")
            .help(format!("for instance {}", either(&forms)));
            if let Some(first) = forms.first() {
                diag = diag.fix(place, first);
            }
            diag
        }
        (Type::Quantity { units, .. }, ExprKind::Quantity { amount: number, unit }) => {
            wrong_unit(&number.text, unit, units, place, at)
        }
        (Type::Quantity { units, .. }, ExprKind::Share(_)) => {
            let words: Vec<String> = units.iter().map(|unit| amount("3", *unit)).collect();
            diag(Code::E0207).help(format!("for instance {}", either(&words)))
        }
        (Type::Text, ExprKind::Path(_) | ExprKind::Number(_)) => plain
            .help("strings stand between quotation marks")
            .fix(place, Bound::Text(text.to_string()).to_string()),
        (Type::Secret, _) => Diag::new(Code::E0604, place, message)
            .here(found)
            .help("a credential is declared as `secret token = env(\"HF_TOKEN\")` and given as `token`: it never stands in a program"),
        (Type::Variant(set), ExprKind::String(word)) if set.get(word.trim()).is_some() => {
            plain.help("variants stand without quotation marks").fix(place, word.trim())
        }
        (Type::Variant(set), _) => in_variant(binder, plain, expr, set),
        (Type::List(item), _) if fits_form(expr, item, binder.scope()) => {
            plain.help("a list of one is written `[…]`").fix(place, format!("[{text}]"))
        }
        (_, ExprKind::List(items)) if items.len() == 1 && fits_form(&items[0], ty, binder.scope()) => {
            plain.help("one value stands without brackets").fix(place, binder.text(items[0].span))
        }
        (Type::Column | Type::ColumnExpr, ExprKind::Path(words)) if words.len() == 1 => {
            plain.help("columns are written with a dot in front").fix(place, format!(".{}", words[0].value))
        }
        (Type::Column, ExprKind::String(name)) => plain
            .help("columns are written with a dot in front")
            .fix(place, Bound::Column(name.clone()).to_string()),
        (Type::Port(wanted), ExprKind::String(word)) => {
            let makes = binder.names.makers(*wanted).any(|step| step.name.value == *word);
            let diag = plain.help("what a step makes is referred to by its name, without quotation marks");
            if makes && word != binder.step { diag.fix(place, word) } else { diag }
        }
        (Type::OneOf(types), ExprKind::List(items))
            if items.is_empty() && types.iter().any(|ty| matches!(ty, Type::List(_))) =>
        {
            plain
        }
        (Type::OneOf(types), ExprKind::String(_)) => {
            let set = types.iter().find_map(|ty| match ty {
                Type::Variant(set) => Some(set),
                _ => None,
            });
            match set {
                Some(set) => in_variant(binder, plain, expr, set),
                None => plain,
            }
        }
        _ => plain,
    };
    if refused.help.is_some() || refused.fix.is_some() {
        return refused;
    }
    match ty {
        Type::Port(_) => refused.help("what steps make is referred to by the name of the step"),
        _ => refused.help(format!("for instance `{}`", sketch(ty))),
    }
}

/// Whether a value is right for a type in every respect.
fn admits(binder: &Binder, value: &Expr, ty: &Type) -> bool {
    let mut trial = Binder::new(binder.sources, binder.names, binder.step);
    trial.program = binder.program;
    trial.bind(value, ty, &At::named("")).is_some()
}

fn with_bool(diag: Diag, place: Span, word: &str) -> Diag {
    let meant = match word.to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => "true",
        "false" | "no" | "off" | "n" | "0" => "false",
        _ => return diag,
    };
    diag.help("booleans are `true` and `false`").fix(place, meant)
}

fn wrong_unit(number: &str, unit: &Spanned<String>, units: &[Unit], place: Span, at: &At) -> Diag {
    let forms: Vec<String> = units.iter().map(|unit| amount(number, *unit)).collect();
    let word = unit.value.to_lowercase();
    if TIMES.contains(&word.as_str()) && !units.contains(&Unit::Rows) {
        return Diag::new(Code::E0207, unit.span, format!("{} is not given in time", at.subject))
            .here("a unit of time")
            .help(format!(
                "what fits into {number} {} depends on the machine, so the result could not be reproduced; {} can be, and `ftrun plan` estimates the time",
                unit.value,
                either(&forms)
            ));
    }
    let known = Unit::parse(&unit.value);
    let message = match known {
        Some(_) => format!("{} is not given in {}", at.subject, unit.value),
        None => format!("`{}` is no unit of {}", unit.value, at.subject),
    };
    let mut diag = Diag::new(Code::E0207, unit.span, message)
        .here(if known.is_some() { "another unit" } else { "unknown" })
        .help(format!("for instance {}", either(&forms)));
    let words: Vec<&str> =
        units.iter().filter(|unit| **unit != Unit::Rows).map(|unit| unit.word()).collect();
    let near = if known.is_some() { None } else { suggest::nearest(&word, words.iter().copied()) };
    if let Some(near) = near {
        diag = diag.fix(unit.span, near);
    } else if known.is_some()
        && let Some(first) = forms.first()
        && (units.len() == 1 || !number.contains(['.', 'e', 'E']))
    {
        diag = diag.fix(place, first);
    }
    diag
}

fn amount(number: &str, unit: Unit) -> String {
    match unit {
        Unit::Rows => number.to_string(),
        _ if number == "1" => format!("1 {}", unit.word().trim_end_matches('s')),
        _ => format!("{number} {}", unit.word()),
    }
}

fn either(forms: &[String]) -> String {
    let forms: Vec<String> = forms.iter().map(|form| format!("`{form}`")).collect();
    forms.join(" or ")
}

/// Something else where a variant is expected.
fn in_variant(binder: &Binder, diag: Diag, expr: &Expr, set: &VariantSet) -> Diag {
    let text = binder.text(expr.span);
    if let ExprKind::List(items) = &expr.kind
        && let [only] = items.as_slice()
        && fits_form(only, &Type::Variant(set.clone()), binder.scope())
    {
        return diag
            .help("one value stands without brackets")
            .fix(expr.span, binder.text(only.span));
    }
    // A path where `files("…")` is meant: the first variant whose main argument fits.
    let taker = set.variants.iter().find(|variant| {
        let main = variant.params.iter().find(|decl| decl.main);
        let others = variant.params.iter().filter(|decl| !decl.main);
        main.is_some_and(|decl| fits_form(expr, &decl.ty, binder.scope()))
            && others.clone().all(|decl| !decl.required())
    });
    match taker {
        Some(variant) if !matches!(expr.kind, ExprKind::Path(_)) => {
            diag.fix(expr.span, format!("{}({text})", variant.name))
        }
        _ => diag.help(format!("{}: {}", set.what, suggest::list(set.names()))),
    }
}

pub fn unknown_variant(
    binder: &Binder,
    expr: &Expr,
    name: &Spanned<String>,
    set: &VariantSet,
    at: &At,
) -> Diag {
    let known = binder.scope().get(&name.value);
    if let (Some(other), ExprKind::Path(_)) = (known, &expr.kind)
        && !matches!(other, Name::Param(_))
    {
        let message = format!(
            "{} takes {}, not {} `{}`",
            at.subject,
            set.describe(),
            other.what(),
            name.value
        );
        return Diag::new(Code::E0204, expr.span, message).here("not of this type").help(format!(
            "{}: {}",
            set.what,
            suggest::list(set.names())
        ));
    }
    let message = format!("`{}` is unknown; {} takes {}", name.value, at.subject, set.what);
    let diag = Diag::new(Code::E0206, name.span, message).here("unknown");
    match suggest::nearest(&name.value, set.names()) {
        Some(near) => diag.help(format!("the nearest one is `{near}`")).fix(name.span, near),
        None => diag.help(format!("there are {}", suggest::list(set.names()))),
    }
}

pub fn out_of_range(text: &str, expr: &Expr, ty: &Type, subject: &str, below: bool) -> Diag {
    let number = |value: f64| Bound::Float(value).to_string();
    let positive = matches!(ty, Type::Quantity { min, .. } if *min <= 0.0);
    let takes = match ty {
        Type::Quantity { units, .. } if positive && below => {
            let forms: Vec<String> = units.iter().map(|unit| amount("3", *unit)).collect();
            format!("an amount above 0, such as {}", either(&forms))
        }
        _ => ty.describe(),
    };
    let message =
        format!("{subject} takes {takes}; {text} is {}", if below { "below" } else { "above" });
    let limit = match ty {
        Type::Int { min, max } => Some(if below { min } else { max }.to_string()),
        Type::Float { min, max } => Some(number(if below { *min } else { *max })),
        Type::Share { min, max } => Some(Bound::Share(if below { *min } else { *max }).to_string()),
        Type::Quantity { min, max, .. } => {
            let limit = if below && positive {
                1.0
            } else if below {
                *min
            } else {
                *max
            };
            match &expr.kind {
                ExprKind::Quantity { unit, .. } => {
                    Unit::parse(&unit.value).map(|unit| amount(&limit.to_string(), unit))
                }
                _ => Some(limit.to_string()),
            }
        }
        _ => None,
    };
    let diag = Diag::new(Code::E0205, expr.span, message).here("out of range");
    match limit {
        Some(limit) => diag.help(format!("the nearest one is {limit}")).fix(expr.span, limit),
        None => diag,
    }
}

/// A word that stands for nothing, where something that a step makes is expected.
pub fn unknown_name(names: &Names, word: &Spanned<String>, wanted: PortType, step: &str) -> Diag {
    let message = format!("no step is named `{}`", word.value);
    let diag = Diag::new(Code::E0301, word.span, message).here("unknown");
    let near = names
        .nearest_step(&word.value, wanted)
        .or_else(|| {
            suggest::nearest(&word.value, names.steps().map(|(step, _)| step.name.value.as_str()))
        })
        .filter(|near| *near != step);
    if let Some(near) = near {
        return diag.help(format!("the nearest one is `{near}`")).fix(word.span, near);
    }
    let makers: Vec<&str> = names
        .makers(wanted)
        .map(|step| step.name.value.as_str())
        .filter(|name| *name != step)
        .collect();
    match makers.as_slice() {
        [] => diag.help(format!("no step of the file makes {}", wanted.describe())),
        [one] => diag.help(format!("`{one}` makes {}", wanted.describe())).fix(word.span, *one),
        many => {
            diag.help(format!("{} make {}", suggest::list(many.iter().copied()), wanted.describe()))
        }
    }
}

/// A reference to a step of `kind` that leads to nothing, or to something else.
pub fn wrong_reference(
    binder: &Binder,
    words: &[Spanned<String>],
    kind: &'static Kind,
    wanted: PortType,
    problem: Problem,
    at: &At,
) -> Diag {
    let (first, last) = (&words[0], &words[words.len() - 1]);
    let place = first.span.to(last.span);
    let outputs = || suggest::list(kind.outputs.iter().map(|output| output.name));
    let fitting: Vec<&str> = kind
        .outputs
        .iter()
        .filter(|output| may_fit(output.ty, wanted))
        .map(|output| output.name)
        .collect();
    match problem {
        Problem::NoOutput { word } => {
            let word = &words[word.min(words.len() - 1)];
            let message = format!("`{}` makes no `{}`", first.value, word.value);
            let diag = Diag::new(Code::E0302, word.span, message)
                .here("no output of this name")
                .help(format!("the outputs of `{}` are {}", kind.name, outputs()));
            match suggest::nearest(&word.value, kind.outputs.iter().map(|output| output.name)) {
                Some(near) => diag.fix(word.span, near),
                None if words.len() == 2
                    && fitting.first() == kind.outputs.first().map(|o| &o.name) =>
                {
                    diag.fix(place, &first.value)
                }
                None => diag,
            }
        }
        Problem::TooLong { word } => {
            let extra = &words[word.min(words.len() - 1)];
            let message = format!("`{}` leads nowhere", extra.value);
            Diag::new(Code::E0302, extra.span, message)
                .here("one word too many")
                .help("a reference is a step, an output of it, and a field of that")
                .fix(place, join(&words[..word.min(words.len() - 1)]))
        }
        Problem::Other(found) => {
            let found = match found {
                Found::Port(ty) => ty.describe(),
                Found::Number => "a number",
            };
            let shown = join(words);
            let message =
                format!("{} takes {}; `{shown}` is {found}", at.subject, wanted.describe());
            let diag = Diag::new(Code::E0303, place, message).here(found);
            with_makers(diag, binder, wanted, first, &fitting, place)
        }
        Problem::NothingFits => {
            let made = kind.outputs.first().map_or("nothing", |output| output.ty.describe());
            let message = format!(
                "{} takes {}; `{}` makes {made}",
                at.subject,
                wanted.describe(),
                first.value
            );
            let diag = Diag::new(Code::E0303, place, message)
                .here(format!("a step of kind `{}`", kind.name));
            with_makers(diag, binder, wanted, first, &fitting, place)
        }
        Problem::Several(fitting) => {
            let forms: Vec<String> =
                fitting.iter().map(|output| format!("{}.{output}", first.value)).collect();
            let message = format!("several outputs of `{}` fit {}", first.value, at.subject);
            let diag = Diag::new(Code::E0304, place, message)
                .here("which one?")
                .help(format!("there are {}", suggest::list(forms.iter().map(String::as_str))));
            match forms.first() {
                Some(form) => diag.fix(place, form),
                None => diag,
            }
        }
    }
}

/// Proposes another output of the same step, else the only step that makes what is wanted.
fn with_makers(
    diag: Diag,
    binder: &Binder,
    wanted: PortType,
    first: &Spanned<String>,
    fitting: &[&str],
    place: Span,
) -> Diag {
    if let Some(output) = fitting.first() {
        let form = format!("{}.{output}", first.value);
        return diag.help(format!("`{form}` fits")).fix(place, form);
    }
    let makers: Vec<&str> = binder
        .names
        .makers(wanted)
        .map(|step| step.name.value.as_str())
        .filter(|name| *name != binder.step)
        .collect();
    match makers.as_slice() {
        [] => diag.help(format!("no step of the file makes {}", wanted.describe())),
        [one] => diag.help(format!("`{one}` makes {}", wanted.describe())).fix(place, *one),
        many => {
            diag.help(format!("{} make {}", suggest::list(many.iter().copied()), wanted.describe()))
        }
    }
}

pub fn join(words: &[Spanned<String>]) -> String {
    let words: Vec<&str> = words.iter().map(|word| word.value.as_str()).collect();
    words.join(".")
}

/// What a value is, for messages: `a string`, `the step `tuned``.
pub fn found(expr: &Expr, names: &Names) -> String {
    if let ExprKind::Path(words) = &expr.kind
        && let [word] = words.as_slice()
        && let Some(name) = names.get(&word.value)
    {
        return format!("{} `{}`", name.what(), word.value);
    }
    if let ExprKind::Path(words) = &expr.kind {
        return format!(
            "{} `{}`",
            if words.len() == 1 { "the name" } else { "the reference" },
            join(words)
        );
    }
    expr.describe().to_string()
}

/// Whether a value of another form was probably meant for this type.
pub fn akin(expr: &Expr, ty: &Type, names: &Names) -> bool {
    match (&expr.kind, ty) {
        (
            ExprKind::Number(_) | ExprKind::Share(_) | ExprKind::Quantity { .. },
            Type::Int { .. } | Type::Float { .. } | Type::Share { .. } | Type::Quantity { .. },
        )
        | (ExprKind::Call { .. }, Type::Variant(_))
        | (ExprKind::Column(_), Type::Column | Type::ColumnExpr)
        | (ExprKind::Map(_), Type::Map(_))
        | (ExprKind::List(_), Type::List(_)) => true,
        (ExprKind::Path(words), Type::Variant(set)) => {
            words.len() == 1
                && !names.is_step(&words[0].value)
                && (suggest::nearest(&words[0].value, set.names()).is_some()
                    || suggest::nearest(&words[0].value, names.words()).is_none())
        }
        (ExprKind::Path(_), Type::Port(_)) => true,
        (ExprKind::String(text), Type::Variant(set)) => set.get(text.trim()).is_some(),
        _ => false,
    }
}

/// A value that is right as it stands, where there is one.
pub fn example(ty: &Type, names: &Names, step: &str) -> Option<String> {
    match ty {
        Type::Port(wanted) => {
            let position = names.steps().position(|(one, _)| one.name.value == step);
            let earlier = names.steps().take(position.unwrap_or(usize::MAX));
            earlier
                .filter(|(_, kind)| {
                    kind.outputs.first().is_some_and(|main| may_fit(main.ty, *wanted))
                })
                .last()
                .map(|(step, _)| step.name.value.clone())
        }
        Type::Variant(set) => set
            .variants
            .iter()
            .find(|variant| variant.params.iter().all(|decl| !decl.required()))
            .map(|variant| variant.name.to_string()),
        Type::OneOf(types) => types.iter().find_map(|ty| example(ty, names, step)),
        Type::List(item) => example(item, names, step).map(|one| format!("[{one}]")),
        Type::Int { min, max } => Some(1.clamp(*min, *max).to_string()),
        Type::Share { min, max } => Some(Bound::Share(0.1_f64.clamp(*min, *max)).to_string()),
        _ => None,
    }
}

/// The form of a value, for a sentence of help.
pub fn sketch(ty: &Type) -> String {
    match ty {
        Type::Bool => "true".into(),
        Type::Int { .. } => "1".into(),
        Type::Float { .. } => "0.1".into(),
        Type::Share { .. } => "10%".into(),
        Type::Text | Type::Scalar => "\"…\"".into(),
        Type::Quantity { units, .. } => units.first().map_or("3".into(), |unit| amount("3", *unit)),
        Type::List(item) => format!("[{}]", sketch(item)),
        Type::Map(item) => format!("{{ name = {} }}", sketch(item)),
        Type::Variant(set) => set.variants.first().map_or("…".into(), |variant| {
            let needed: Vec<String> = variant
                .params
                .iter()
                .filter(|decl| decl.required())
                .map(|decl| match decl.main {
                    true => sketch(&decl.ty),
                    false => format!("{} = {}", decl.name, sketch(&decl.ty)),
                })
                .collect();
            if needed.is_empty() {
                variant.name.into()
            } else {
                format!("{}({})", variant.name, needed.join(", "))
            }
        }),
        Type::OneOf(types) => types.first().map_or("…".into(), sketch),
        Type::Port(_) => "a_step".into(),
        Type::Column => ".text".into(),
        Type::ColumnExpr => ".length > 3".into(),
        Type::Secret => "token".into(),
    }
}
