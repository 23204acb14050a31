//! The key of a step: a digest over everything that its result depends on, and the document that
//! says what that is, part by part, so that two keys can be compared.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Hasher};
use crate::data::{DataError, Header, ReadOptions};
use crate::plan::Node;
use crate::schema::{Bound, PortRef, Type};
use crate::step::{Missing, Place, Probe, Quick};

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
    /// How many files each path or pattern stood for, in order: which file belongs to which.
    #[serde(default)]
    pub located: Vec<usize>,
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
        hasher.number(self.located.len() as u64);
        for count in &self.located {
            hasher.number(*count as u64);
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
        if self.located != older.located && found.is_empty() {
            let text = "files belong to other arguments than before".to_string();
            found.push(Difference { path: String::new(), text, input: false });
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
    probe: &dyn Probe,
    carried: &dyn Fn(&PortRef) -> Option<Digest>,
    external: &dyn Fn(&Path) -> std::io::Result<Digest>,
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
    let recorder = Recorder { probe, located: RefCell::default() };
    let externals = node.step.externals(&recorder).map_err(KeyError::Missing)?;
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
        located: recorder.located.into_inner(),
    })
}

/// Notes how many files each question about files was answered with.
struct Recorder<'a> {
    probe: &'a dyn Probe,
    located: RefCell<Vec<usize>>,
}

impl Probe for Recorder<'_> {
    fn locate(&self, path: &str, place: Place) -> Result<Vec<PathBuf>, Missing> {
        let found = self.probe.locate(path, place)?;
        self.located.borrow_mut().push(found.len());
        Ok(found)
    }

    fn header(&self, path: &Path, options: &ReadOptions) -> Result<Arc<Header>, DataError> {
        self.probe.header(path, options)
    }

    fn snapshot(
        &self,
        repo: &str,
        revision: &str,
        token: Option<&str>,
        weights: bool,
    ) -> Result<PathBuf, Missing> {
        self.probe.snapshot(repo, revision, token, weights)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ParamDecl, VariantDecl, VariantSet};

    fn param(name: &'static str, ty: Type, identity: bool) -> ParamDecl {
        ParamDecl { name, doc: String::new(), ty, default: None, identity, main: false }
    }

    fn flat(bound: &Bound, ty: &Type) -> Vec<Argument> {
        let mut to = Vec::new();
        let carried = |_: &PortRef| Some(Digest::of(b"content"));
        assert!(flatten("x", bound, ty, &carried, &mut to).is_ok());
        to
    }

    fn files(path: &str, format: &str) -> Bound {
        let text = |text: &str| Bound::Text(text.into());
        Bound::Variant(
            "files".into(),
            vec![("path".into(), text(path)), ("format".into(), text(format))],
        )
    }

    #[test]
    fn what_is_no_part_of_the_identity_is_left_out_at_any_depth() {
        let params = vec![param("path", Type::Text, false), param("format", Type::Text, true)];
        let variant = VariantDecl { name: "files", doc: String::new(), params };
        let set = Type::Variant(VariantSet { what: "a source".into(), variants: vec![variant] });
        let map = Type::OneOf(vec![set.clone(), Type::Map(Box::new(set.clone()))]);
        assert_eq!(flat(&files("a", "csv"), &set), flat(&files("b", "csv"), &set));
        assert_ne!(flat(&files("a", "csv"), &set), flat(&files("a", "tsv"), &set));
        let named = |path: &str| Bound::Map(vec![("train".into(), files(path, "csv"))]);
        assert_eq!(flat(&named("a"), &map), flat(&named("b"), &map));
        let paths: Vec<String> = flat(&named("a"), &map).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["x", "x.train", "x.train.format"]);
    }

    #[test]
    fn where_an_input_comes_from_is_no_part_of_the_key() {
        let port = |step: &str| {
            Bound::Port(PortRef::One { step: step.into(), output: "table".into(), field: None })
        };
        let ty = Type::Port(crate::schema::PortType::Table);
        let (one, two) = (flat(&port("a"), &ty), flat(&port("b"), &ty));
        assert_eq!(one[0].digest, two[0].digest);
        assert!(one[0].input);
    }

    fn document(arguments: Vec<(&str, &str)>) -> Document {
        let argument = |(path, value): (&str, &str)| Argument {
            path: path.into(),
            value: value.into(),
            digest: Digest::of(value.as_bytes()),
            input: path == "data",
        };
        Document {
            kind: "train".into(),
            version: 1,
            device: "cpu".into(),
            quick: None,
            arguments: arguments.into_iter().map(argument).collect(),
            externals: vec![External { name: "a.csv".into(), digest: Digest::of(b"a") }],
            located: vec![1],
        }
    }

    #[test]
    fn equal_documents_have_equal_keys_and_every_difference_is_named() {
        let old = document(vec![("optimizer", "adamw"), ("optimizer.rate", "1"), ("data", "t")]);
        assert!(old.differences(&old).is_empty());
        let new = document(vec![("optimizer", "adamw"), ("optimizer.rate", "2"), ("data", "t")]);
        assert_ne!(old.key(), new.key());
        let [one] = new.differences(&old).try_into().unwrap();
        assert_eq!(one.path, "optimizer.rate");
        assert_eq!(one.text, "was `1` and is `2`");
        // The parts of another variant say nothing that the variant does not say.
        let other =
            document(vec![("optimizer", "sgd"), ("optimizer.momentum", "0"), ("data", "t")]);
        let paths: Vec<String> = other.differences(&old).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["optimizer"]);
        let mut read = old.clone();
        read.externals[0].digest = Digest::of(b"b");
        assert_ne!(read.key(), old.key());
        assert_eq!(read.differences(&old)[0].text, "the file `a.csv` has another content");
        // Two patterns of one file each are not one pattern of two.
        let other = Document { located: vec![1, 0], ..old.clone() };
        assert_ne!(other.key(), old.key());
        assert_eq!(other.differences(&old).len(), 1);
        let quick = Document { quick: Some((200, 10)), ..old.clone() };
        assert_ne!(quick.key(), old.key());
        assert_eq!(quick.differences(&old).len(), 1);
    }
}
