//! The key of a step: a digest over everything that its result depends on, and the document that
//! says what that is, part by part, so that two keys can be compared.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Hasher};
use crate::plan::Node;
use crate::schema::{Bound, PortRef, Type};
use crate::step::{Missing, Quick};

/// What a key was computed from. Stored beside the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub kind: String,
    pub version: u32,
    /// The device kind that computes: part of every result's class.
    pub device: String,
    /// `--quick`: rows per table and updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick: Option<(usize, usize)>,
    /// In the order of the declaration, parts of a value behind it.
    pub arguments: Vec<Argument>,
    pub externals: Vec<External>,
}

/// One part of an argument: a leaf, or the form of a list, a map or a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// `optimizer.learning_rate`
    pub path: String,
    /// As the language spells it.
    pub value: String,
    pub digest: Digest,
    /// Whether it is what another step made; then `value` is the reference.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct External {
    /// The file's name without folders: where a file was found is no part of a key.
    pub name: String,
    pub digest: Digest,
}

impl Document {
    pub fn key(&self) -> Digest {
        let mut hasher = Hasher::new("key 1");
        hasher.text(&self.kind).number(u64::from(self.version)).text(&self.device);
        match self.quick {
            None => hasher.text("full"),
            Some((rows, updates)) => {
                hasher.text("quick").number(rows as u64).number(updates as u64)
            }
        };
        hasher.number(self.arguments.len() as u64);
        for argument in &self.arguments {
            hasher.text(&argument.path).digest(&argument.digest);
        }
        hasher.number(self.externals.len() as u64);
        for external in &self.externals {
            hasher.text(&external.name).digest(&external.digest);
        }
        hasher.finish()
    }

    /// What differs from an older document, in words. Empty if the keys are equal.
    pub fn differences(&self, older: &Document) -> Vec<Difference> {
        let mut found = Vec::new();
        let is_input = |path: &str| {
            self.arguments.iter().any(|argument| argument.path == path && argument.input)
        };
        let mut say = |path: &str, text: String| {
            found.push(Difference { path: path.to_string(), text, input: is_input(path) });
        };
        if self.kind != older.kind {
            say("", format!("the step was `{}` and is `{}`", older.kind, self.kind));
            return found;
        }
        if self.version != older.version {
            let (was, is) = (older.version, self.version);
            say("", format!("`{}` was version {was} and is version {is}", self.kind));
        }
        if self.device != older.device {
            say("", format!("it was computed on {} and would be on {}", older.device, self.device));
        }
        if self.quick != older.quick {
            let word = |quick: Option<_>| if quick.is_some() { "with" } else { "without" };
            say(
                "",
                format!(
                    "it ran {} `--quick` and is asked for {} it",
                    word(older.quick),
                    word(self.quick)
                ),
            );
        }
        let before = |path: &str| older.arguments.iter().find(|argument| argument.path == path);
        for argument in &self.arguments {
            match before(&argument.path) {
                Some(was) if was.digest == argument.digest => {}
                Some(was) if argument.input => {
                    let moved = if was.value == argument.value {
                        format!("`{}` holds something else", argument.value)
                    } else {
                        format!(
                            "was `{}` and is `{}`, which holds something else",
                            was.value, argument.value
                        )
                    };
                    say(&argument.path, moved);
                }
                Some(was) => {
                    say(&argument.path, format!("was `{}` and is `{}`", was.value, argument.value));
                }
                None => say(&argument.path, format!("is new: `{}`", argument.value)),
            }
        }
        for was in &older.arguments {
            if !self.arguments.iter().any(|argument| argument.path == was.path) {
                say(&was.path, format!("was `{}` and is gone", was.value));
            }
        }
        // A changed variant or list is told by its own line; its parts would repeat it.
        let tops: Vec<String> = found.iter().map(|difference| difference.path.clone()).collect();
        found.retain(|difference| {
            !tops.iter().any(|top| {
                !top.is_empty()
                    && difference
                        .path
                        .strip_prefix(top.as_str())
                        .is_some_and(|rest| rest.starts_with('.'))
            })
        });
        let mut file = |name: &str, what: &str| {
            let text = format!("the file `{name}` {what}");
            found.push(Difference { path: String::new(), text, input: false });
        };
        for external in &self.externals {
            match older.externals.iter().find(|was| was.name == external.name) {
                Some(was) if was.digest == external.digest => {}
                Some(_) => file(&external.name, "has another content"),
                None => file(&external.name, "is read"),
            }
        }
        for was in &older.externals {
            if !self.externals.iter().any(|external| external.name == was.name) {
                file(&was.name, "is no longer read");
            }
        }
        found
    }
}

/// One thing in which two documents differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The argument, empty where it is none.
    pub path: String,
    pub text: String,
    /// Whether the argument is what another step makes.
    pub input: bool,
}

/// Why a key cannot be computed.
#[derive(Debug)]
pub enum KeyError {
    /// An input has not been made yet.
    Unmade(String),
    Missing(Missing),
}

/// Computes the document of a step.
///
/// `carried`: the content digest of what a reference stands for. `external`: the digest of a file.
pub fn document(
    node: &Node,
    device: &str,
    quick: Option<Quick>,
    externals: &[PathBuf],
    carried: &dyn Fn(&PortRef) -> Option<Digest>,
    external: &dyn Fn(&std::path::Path) -> std::io::Result<Digest>,
) -> Result<Document, KeyError> {
    let mut arguments = Vec::new();
    for param in node.kind.params.iter().filter(|param| param.identity) {
        let bound = node.arg(param.name);
        if let Some(bound) = bound {
            flatten(param.name, bound, &param.ty, carried, &mut arguments)?;
        }
    }
    if let Some((path, value)) = node.step.identity() {
        let digest = Digest::of(value.as_bytes());
        arguments.push(Argument { path: path.to_string(), value, digest, input: false });
    }
    if let Some((path, value)) = node.step.identity() {
        let digest = Digest::of(value.as_bytes());
        arguments.push(Argument { path: path.to_string(), value, digest, input: false });
    }
    let externals = externals
        .iter()
        .map(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let digest = external(path).map_err(|error| {
                KeyError::Missing(Missing {
                    message: format!("{}: {}", path.display(), error.to_string().to_lowercase()),
                    help: None,
                })
            })?;
            Ok(External { name: name.unwrap_or_default(), digest })
        })
        .collect::<Result<_, KeyError>>()?;
    Ok(Document {
        kind: node.kind.name.to_string(),
        version: node.kind.version,
        device: device.to_string(),
        quick: quick.map(|quick| (quick.rows, quick.updates)),
        arguments,
        externals,
    })
}

/// Adds a value and its parts. Parts that are declared to be no part of the identity are left out.
fn flatten(
    path: &str,
    bound: &Bound,
    ty: &Type,
    carried: &dyn Fn(&PortRef) -> Option<Digest>,
    to: &mut Vec<Argument>,
) -> Result<(), KeyError> {
    let mut hasher = Hasher::new("argument");
    let form = |hasher: &mut Hasher, what: &str, count: usize| {
        hasher.text(what).number(count as u64);
    };
    let mut children: Vec<(String, &Bound, Type)> = Vec::new();
    let mut input = false;
    let shown = match bound {
        Bound::List(items) => {
            form(&mut hasher, "list", items.len());
            let item = item_type(ty, |ty| match ty {
                Type::List(item) => Some((**item).clone()),
                _ => None,
            });
            children.extend(
                items.iter().enumerate().map(|(at, value)| (at.to_string(), value, item.clone())),
            );
            bound.to_string()
        }
        Bound::Map(fields) => {
            form(&mut hasher, "map", fields.len());
            let item = item_type(ty, |ty| match ty {
                Type::Map(item) => Some((**item).clone()),
                _ => None,
            });
            children.extend(fields.iter().map(|(name, value)| (name.clone(), value, item.clone())));
            format!(
                "{{ {} }}",
                fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            )
        }
        Bound::Variant(name, fields) => {
            form(&mut hasher, "variant", 0);
            hasher.text(name);
            let declared = variant(ty, name);
            for (field, value) in fields {
                let param = declared
                    .iter()
                    .flat_map(|params| params.iter())
                    .find(|param| param.name == *field);
                if param.is_none_or(|param| param.identity) {
                    let ty = param.map_or(Type::Scalar, |param| param.ty.clone());
                    children.push((field.clone(), value, ty));
                }
            }
            name.clone()
        }
        Bound::Port(PortRef::Named(items)) => {
            form(&mut hasher, "ports", items.len());
            to.push(Argument {
                path: path.into(),
                value: format!("{} tables", items.len()),
                digest: hasher.finish(),
                input: false,
            });
            for (name, item) in items {
                flatten(&format!("{path}.{name}"), &Bound::Port(item.clone()), ty, carried, to)?;
            }
            return Ok(());
        }
        leaf => {
            input = matches!(leaf, Bound::Port(_));
            leaf.hash(&mut hasher, &mut |port| {
                carried(port).ok_or_else(|| KeyError::Unmade(port.to_string()))
            })?;
            leaf.to_string()
        }
    };
    to.push(Argument { path: path.to_string(), value: shown, digest: hasher.finish(), input });
    for (name, value, ty) in children {
        flatten(&format!("{path}.{name}"), value, &ty, carried, to)?;
    }
    Ok(())
}

/// The type of the items of a list or a map, also where it is one of several forms.
fn item_type(ty: &Type, of: impl Fn(&Type) -> Option<Type> + Copy) -> Type {
    match ty {
        Type::OneOf(types) => types.iter().find_map(of).unwrap_or(Type::Scalar),
        other => of(other).unwrap_or(Type::Scalar),
    }
}

fn variant<'a>(ty: &'a Type, name: &str) -> Option<&'a Vec<crate::schema::ParamDecl>> {
    match ty {
        Type::Variant(set) => set.get(name).map(|variant| &variant.params),
        Type::OneOf(types) => types.iter().find_map(|ty| variant(ty, name)),
        // The single form of `one or many`.
        Type::List(item) | Type::Map(item) => variant(item, name),
        _ => None,
    }
}
