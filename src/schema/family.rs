//! Open sets: a trait, a table of its implementations, and an argument that picks one.
//! Adding an optimizer, a schedule or a metric is a new entry in its family's table.

use std::marker::PhantomData;

use super::{Arg, Args, Bound, ParamDecl, Type, VariantDecl, VariantSet};

/// One member of a family.
pub struct Entry<T: ?Sized> {
    pub name: &'static str,
    pub doc: fn() -> String,
    pub decl: fn() -> Vec<ParamDecl>,
    pub build: fn(&Args) -> Option<Box<T>>,
}

/// A trait object's open set.
pub trait Family: 'static {
    type Item: ?Sized + 'static;
    /// With its article: `an optimizer`.
    const WHAT: &'static str;
    fn table() -> &'static [Entry<Self::Item>];
}

/// An [`Entry`] for a `params!` struct that implements the family's trait:
/// `entry!("adamw", AdamW => dyn Optimizer)`.
#[macro_export]
macro_rules! entry {
    ($name:literal, $params:ty => $item:ty) => {
        $crate::schema::Entry::<$item> {
            name: $name,
            doc: <$params as $crate::schema::Params>::doc,
            decl: <$params as $crate::schema::Params>::decl,
            build: |args| {
                <$params as $crate::schema::Params>::from_args(args)
                    .map(|built| Box::new(built) as Box<$item>)
            },
        }
    };
}

/// An argument that names a member of a family and its arguments.
pub struct Pick<F: Family> {
    pub name: String,
    pub args: Vec<(String, Bound)>,
    family: PhantomData<fn() -> F>,
}

impl<F: Family> Pick<F> {
    /// The member `name` with its defaults; `None` if there is none or it has required arguments.
    pub fn default_of(name: &str) -> Option<Self> {
        let entry = F::table().iter().find(|entry| entry.name == name)?;
        let args = (entry.decl)()
            .into_iter()
            .map(|param| param.default.map(|value| (param.name.to_string(), value)))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { name: name.to_string(), args, family: PhantomData })
    }

    /// The member `name`, which takes no arguments.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_string(), args: Vec::new(), family: PhantomData }
    }

    /// `None` only if the arguments were not bound against the declaration.
    pub fn build(&self) -> Option<Box<F::Item>> {
        let entry = F::table().iter().find(|entry| entry.name == self.name)?;
        (entry.build)(&self.args)
    }
}

impl<F: Family> Clone for Pick<F> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), args: self.args.clone(), family: PhantomData }
    }
}

impl<F: Family> PartialEq for Pick<F> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.args == other.args
    }
}

impl<F: Family> std::fmt::Debug for Pick<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_bound())
    }
}

impl<F: Family> Arg for Pick<F> {
    fn ty() -> Type {
        let variants = F::table()
            .iter()
            .map(|entry| VariantDecl {
                name: entry.name,
                doc: (entry.doc)(),
                params: (entry.decl)(),
            })
            .collect();
        Type::Variant(VariantSet { what: F::WHAT.to_string(), variants })
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        let Bound::Variant(name, args) = bound else { return None };
        Some(Self { name: name.clone(), args: args.clone(), family: PhantomData })
    }
    fn to_bound(&self) -> Bound {
        Bound::Variant(self.name.clone(), self.args.clone())
    }
}
