//! Declarations as documentation and as a schema: what `ftrun doc`, `docs/steps.md`,
//! `docs/errors.md` and `ftrun schema` show. All of it is read off the declarations.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::{Code, Severity};
use crate::schema::{Bound, ParamDecl, PortType, Type, Unit, VariantDecl};
use crate::step::{Kind, ledger};

/// The document `docs/steps.md`.
pub fn steps_markdown(kinds: &[Kind]) -> String {
    let mut text = String::from(
        "# Steps\n\nEvery step kind with its arguments, as declared in `src/step`. This file is \
         generated: `ftrun doc --markdown > docs/steps.md`.\n\n",
    );
    for kind in kinds {
        let _ = writeln!(text, "- [`{0}`](#{0}): {1}", kind.name, first_line(&kind.doc));
    }
    text.push_str(
        "\nThe numbers of a `report` are shown at the end of a run where rows were lost, and `expect` \
         looks at them. `rows` are those that went in; of these are counted as\n\n",
    );
    for loss in ledger::LOSSES {
        let _ = writeln!(text, "- `{}`: {}", loss.name, loss.doc);
    }
    for kind in kinds {
        text.push('\n');
        text.push_str(&kind_markdown(kind));
    }
    text
}

/// One kind: documentation, example, arguments, outputs, and the variants of its arguments.
pub fn kind_markdown(kind: &Kind) -> String {
    let mut text = format!("## {}\n\n{}\n\n```ftp\n{}\n```\n\n", kind.name, kind.doc, kind.example);
    text.push_str("| argument | type | default | |\n|---|---|---|---|\n");
    for param in &kind.params {
        let _ = writeln!(text, "{}", row(param));
    }
    text.push_str("\n| output | type | |\n|---|---|---|\n");
    for (index, output) in kind.outputs.iter().enumerate() {
        let name = if index == 0 {
            "**".to_string() + output.name + "**"
        } else {
            output.name.to_string()
        };
        let mut doc = output.doc.to_string();
        if output.ty == PortType::Report && !kind.report.is_empty() {
            let names: Vec<String> = kind.report.iter().map(|name| format!("`{name}`")).collect();
            let _ = write!(doc, " {}", names.join(", "));
        }
        let _ = writeln!(text, "| {name} | {} | {doc} |", output.ty.describe());
    }
    for param in &kind.params {
        for set in variant_sets(&param.ty) {
            let _ = write!(text, "\n### `{}` of `{}`\n\n", param.name, kind.name);
            for variant in set {
                text.push_str(&variant_markdown(variant, 0));
            }
        }
    }
    text
}

/// A variant and its arguments, and the variants of these where they are few and have arguments of
/// their own.
fn variant_markdown(variant: &VariantDecl, depth: usize) -> String {
    const FEW: usize = 6;
    let indent = "  ".repeat(depth);
    let mut text = format!("{indent}- `{}`: {}\n", variant.name, one_paragraph(&variant.doc));
    for param in &variant.params {
        let default = match &param.default {
            None => "required".to_string(),
            Some(Bound::None) => "optional".to_string(),
            Some(value) => format!("default `{value}`"),
        };
        let main = if param.main { ", may stand without its name" } else { "" };
        let _ = writeln!(
            text,
            "{indent}  - `{}`: {}; {default}{main}. {}",
            param.name,
            param.ty.describe(),
            one_paragraph(&param.doc)
        );
        for set in variant_sets(&param.ty) {
            if set.len() <= FEW && set.iter().any(|inner| !inner.params.is_empty()) {
                set.iter().for_each(|inner| text.push_str(&variant_markdown(inner, depth + 2)));
            }
        }
    }
    text
}

fn row(param: &ParamDecl) -> String {
    let default = match &param.default {
        None => "required".to_string(),
        Some(Bound::None) => String::new(),
        Some(value) => format!("`{value}`"),
    };
    let identity = if param.identity { "" } else { " Not part of a result's key." };
    // A bar would end the cell.
    let cell = |text: String| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | {} | {}{identity} |",
        param.name,
        cell(param.ty.describe()),
        cell(default),
        cell(one_paragraph(&param.doc)),
    )
}

/// The sets of variants that an argument of this type takes, at any depth.
fn variant_sets(ty: &Type) -> Vec<&[VariantDecl]> {
    match ty {
        Type::Variant(set) => vec![&set.variants],
        Type::List(inner) | Type::Map(inner) => variant_sets(inner),
        Type::OneOf(types) => types.iter().flat_map(variant_sets).collect(),
        _ => Vec::new(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn one_paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The document `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut text = String::from(
        "# Errors and warnings\n\nEvery code that a message can carry. `ftrun explain E0204` prints \
         one of them. This file is generated: `ftrun explain --markdown > docs/errors.md`.\n",
    );
    for code in Code::ALL {
        let _ = write!(text, "\n## {code}: {}\n\n{}\n", code.title(), code.explanation().trim());
    }
    text
}

/// Every kind for machines: a JSON Schema of the arguments of each kind under its name.
///
/// A value stands there as the language spells it in JSON's nearest form: variants are objects
/// `{"adamw": {"learning_rate": 5e-5}}` or plain names, references and quantities are strings.
pub fn schema_json(kinds: &[Kind]) -> Value {
    let steps: serde_json::Map<String, Value> =
        kinds.iter().map(|kind| (kind.name.to_string(), kind_json(kind))).collect();
    let codes: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            let error = code.severity() == Severity::Error;
            json!({ "code": code.as_str(), "error": error, "title": code.title() })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "schema": 1,
        "edition": crate::syntax::EDITION,
        "steps": steps,
        "codes": codes,
    })
}

fn kind_json(kind: &Kind) -> Value {
    let outputs: Vec<Value> = kind
        .outputs
        .iter()
        .enumerate()
        .map(|(index, output)| {
            json!({
                "name": output.name,
                "type": format!("{:?}", output.ty).to_lowercase(),
                "description": output.doc,
                "main": index == 0,
            })
        })
        .collect();
    json!({
        "description": kind.doc,
        "version": kind.version,
        "example": kind.example,
        "arguments": params_json(&kind.params),
        "outputs": outputs,
        "report": kind.report,
    })
}

fn params_json(params: &[ParamDecl]) -> Value {
    let properties: serde_json::Map<String, Value> = params
        .iter()
        .map(|param| {
            let mut schema = type_json(&param.ty);
            if let Some(object) = schema.as_object_mut() {
                object.insert("description".into(), json!(param.doc));
                match &param.default {
                    None | Some(Bound::None) => {}
                    Some(value) => {
                        object.insert("default".into(), json!(value.to_string()));
                    }
                }
                object.insert("identity".into(), json!(param.identity));
                if param.main {
                    object.insert("positional".into(), json!(true));
                }
            }
            (param.name.to_string(), schema)
        })
        .collect();
    let required: Vec<&str> =
        params.iter().filter(|param| param.required()).map(|param| param.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn type_json(ty: &Type) -> Value {
    // JSON has no infinity: an open limit is left out.
    let numeric = |name: &str, min: f64, max: f64| {
        let mut schema = json!({ "type": name });
        if min.is_finite() && min > -9e15 {
            schema["minimum"] = json!(min);
        }
        if max.is_finite() && max < 9e15 {
            schema["maximum"] = json!(max);
        }
        schema
    };
    match ty {
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int { min, max } => numeric("integer", *min as f64, *max as f64),
        Type::Float { min, max } => numeric("number", *min, *max),
        Type::Share { min, max } => json!({
            "type": "string", "pattern": "^[0-9._e+-]+%$",
            "x-minimum": format!("{}%", min * 100.0), "x-maximum": format!("{}%", max * 100.0),
        }),
        Type::Text => json!({ "type": "string" }),
        Type::Quantity { units, .. } => {
            let words: Vec<&str> = units.iter().map(|unit| unit.word()).collect();
            let bare = units.contains(&Unit::Rows);
            json!({ "type": if bare { json!(["integer", "string"]) } else { json!("string") }, "x-units": words })
        }
        Type::Scalar => json!({ "type": ["boolean", "number", "string"] }),
        Type::List(item) => json!({ "type": "array", "items": type_json(item) }),
        Type::Map(item) => json!({ "type": "object", "additionalProperties": type_json(item) }),
        Type::Variant(set) => {
            let plain: Vec<&str> = set
                .variants
                .iter()
                .filter(|variant| !variant.params.iter().any(ParamDecl::required))
                .map(|variant| variant.name)
                .collect();
            let mut forms: Vec<Value> = Vec::new();
            if !plain.is_empty() {
                forms.push(json!({ "enum": plain }));
            }
            for variant in set.variants.iter().filter(|variant| !variant.params.is_empty()) {
                forms.push(json!({
                    "type": "object",
                    "description": variant.doc,
                    "properties": { variant.name: params_json(&variant.params) },
                    "required": [variant.name],
                    "additionalProperties": false,
                }));
            }
            json!({ "oneOf": forms })
        }
        Type::OneOf(types) => {
            json!({ "anyOf": types.iter().map(type_json).collect::<Vec<_>>() })
        }
        Type::Port(port) => json!({
            "type": "string", "x-reference": format!("{port:?}").to_lowercase(),
        }),
        Type::Column => json!({ "type": "string", "pattern": "^\\." }),
        Type::ColumnExpr => json!({ "type": "string" }),
        Type::Secret => json!({ "type": "string", "x-reference": "secret" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_documents_are_the_committed_ones() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        for (name, text) in
            [("steps.md", steps_markdown(crate::step::kinds())), ("errors.md", errors_markdown())]
        {
            let committed = std::fs::read_to_string(root.join(name)).unwrap_or_default();
            assert!(committed == text, "docs/{name} is out of date; its head says how to make it");
        }
    }

    #[test]
    fn every_kind_argument_and_variant_is_documented() {
        fn check(place: &str, params: &[ParamDecl]) {
            for param in params {
                assert!(!param.doc.is_empty(), "{place}: `{}` has no documentation", param.name);
                for variant in variant_sets(&param.ty).into_iter().flatten() {
                    let place = format!("{place}.{}", param.name);
                    assert!(!variant.doc.is_empty(), "{place}: `{}` is undocumented", variant.name);
                    check(&format!("{place}.{}", variant.name), &variant.params);
                }
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for kind in crate::step::kinds() {
            assert!(names.insert(kind.name), "`{}` is declared twice", kind.name);
            assert!(!first_line(&kind.doc).is_empty(), "`{}` is undocumented", kind.name);
            check(kind.name, &kind.params);
        }
    }

    #[test]
    fn examples_of_kinds_parse() {
        for kind in crate::step::kinds() {
            let text = format!("ftp 1\n{}\n", kind.example);
            let (ast, diags) = crate::syntax::parse(crate::base::SourceId(0), &text);
            assert!(diags.is_empty(), "{}: {diags:?}", kind.name);
            assert!(ast.same_meaning(&ast));
        }
    }
}
