//! Rust types of arguments: each knows its [`Type`], and reads and writes a [`Bound`] value.

use super::{Bound, ColumnExpr, Port, PortKind, Type, Unit};

pub trait Arg: Sized {
    fn ty() -> Type;
    /// `None` if the value does not fit `ty()`: after checking that is a bug.
    fn from_bound(bound: &Bound) -> Option<Self>;
    fn to_bound(&self) -> Bound;
    /// What stands for an argument that was left out, if it may be.
    fn absent() -> Option<Bound> {
        None
    }
}

impl Arg for bool {
    fn ty() -> Type {
        Type::Bool
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Bool(value) = bound { Some(*value) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Bool(*self)
    }
}

impl Arg for i64 {
    fn ty() -> Type {
        Type::Int { min: i64::MIN, max: i64::MAX }
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Int(value) = bound { Some(*value) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Int(*self)
    }
}

/// A count, at least 0.
impl Arg for usize {
    fn ty() -> Type {
        Type::Int { min: 0, max: i64::MAX }
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Int(value) = bound { usize::try_from(*value).ok() } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl Arg for f64 {
    fn ty() -> Type {
        Type::Float { min: f64::NEG_INFINITY, max: f64::INFINITY }
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Float(value) = bound { Some(*value) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Float(*self)
    }
}

impl Arg for String {
    fn ty() -> Type {
        Type::Text
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Text(value) = bound { Some(value.clone()) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Text(self.clone())
    }
}

/// A share of a whole, as a fraction: `6%` is `Share(0.06)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl Arg for Share {
    fn ty() -> Type {
        Type::Share { min: 0.0, max: 1.0 }
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Share(value) = bound { Some(Share(*value)) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Share(self.0)
    }
}

/// A number with a unit. `UNITS` is a set of bits: 1 epochs, 2 updates, 4 tokens, 8 rows (bare).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity<const UNITS: u8> {
    pub value: f64,
    pub unit: Unit,
}

impl<const UNITS: u8> Quantity<UNITS> {
    pub const fn new(value: f64, unit: Unit) -> Self {
        Self { value, unit }
    }
}

impl<const UNITS: u8> Arg for Quantity<UNITS> {
    fn ty() -> Type {
        let all = [(1, Unit::Epochs), (2, Unit::Updates), (4, Unit::Tokens), (8, Unit::Rows)];
        let units = all.iter().filter(|(bit, _)| UNITS & bit != 0).map(|(_, unit)| *unit).collect();
        Type::Quantity { units, min: 0.0, max: f64::INFINITY }
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Quantity(value, unit) = bound { Some(Self::new(*value, *unit)) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Quantity(self.value, self.unit)
    }
}

/// A boolean, a number or a text, as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar(pub Bound);

impl Arg for Scalar {
    fn ty() -> Type {
        Type::Scalar
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        matches!(bound, Bound::Bool(_) | Bound::Int(_) | Bound::Float(_) | Bound::Text(_))
            .then(|| Scalar(bound.clone()))
    }
    fn to_bound(&self) -> Bound {
        self.0.clone()
    }
}

impl<T: Arg> Arg for Option<T> {
    fn ty() -> Type {
        T::ty()
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if *bound == Bound::None { Some(None) } else { T::from_bound(bound).map(Some) }
    }
    fn to_bound(&self) -> Bound {
        self.as_ref().map_or(Bound::None, T::to_bound)
    }
    fn absent() -> Option<Bound> {
        Some(Bound::None)
    }
}

impl<T: Arg> Arg for Vec<T> {
    fn ty() -> Type {
        Type::List(Box::new(T::ty()))
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::List(items) = bound {
            items.iter().map(T::from_bound).collect()
        } else {
            None
        }
    }
    fn to_bound(&self) -> Bound {
        Bound::List(self.iter().map(T::to_bound).collect())
    }
}

/// `{ name = value }`, in the order written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map<T>(pub Vec<(String, T)>);

impl<T> Map<T> {
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<T: Arg> Arg for Map<T> {
    fn ty() -> Type {
        Type::Map(Box::new(T::ty()))
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        let Bound::Map(fields) = bound else { return None };
        let read = |(name, value): &(String, Bound)| Some((name.clone(), T::from_bound(value)?));
        fields.iter().map(read).collect::<Option<Vec<_>>>().map(Map)
    }
    fn to_bound(&self) -> Bound {
        Bound::Map(self.0.iter().map(|(name, value)| (name.clone(), value.to_bound())).collect())
    }
}

/// One of two forms.
#[derive(Debug, Clone, PartialEq)]
pub enum Or<A, B> {
    First(A),
    Second(B),
}

impl<A: Arg, B: Arg> Arg for Or<A, B> {
    fn ty() -> Type {
        let mut types = Vec::new();
        for ty in [A::ty(), B::ty()] {
            match ty {
                Type::OneOf(inner) => types.extend(inner),
                other => types.push(other),
            }
        }
        Type::OneOf(types)
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        A::from_bound(bound).map(Or::First).or_else(|| B::from_bound(bound).map(Or::Second))
    }
    fn to_bound(&self) -> Bound {
        match self {
            Or::First(value) => value.to_bound(),
            Or::Second(value) => value.to_bound(),
        }
    }
}

/// `value` or `[value, …]`; the two spellings of one value are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Arg> Arg for OneOrMany<T> {
    fn ty() -> Type {
        Type::OneOf(vec![T::ty(), Type::List(Box::new(T::ty()))])
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        match bound {
            Bound::List(items) => items.iter().map(T::from_bound).collect::<Option<_>>().map(Self),
            one => T::from_bound(one).map(|value| Self(vec![value])),
        }
    }
    fn to_bound(&self) -> Bound {
        match self.0.as_slice() {
            [one] => one.to_bound(),
            many => Bound::List(many.iter().map(T::to_bound).collect()),
        }
    }
}

impl<K: PortKind> Arg for Port<K> {
    fn ty() -> Type {
        Type::Port(K::TYPE)
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Port(port) = bound { Some(Port::new(port.clone())) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Port(self.source.clone())
    }
}

/// The name of a column, written `.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column(pub String);

impl Arg for Column {
    fn ty() -> Type {
        Type::Column
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Column(name) = bound { Some(Column(name.clone())) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Column(self.0.clone())
    }
}

/// The environment variable that holds a credential. Declare it `free`: it is no part of a result.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Arg for Secret {
    fn ty() -> Type {
        Type::Secret
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        if let Bound::Secret(variable) = bound { Some(Secret(variable.clone())) } else { None }
    }
    fn to_bound(&self) -> Bound {
        Bound::Secret(self.0.clone())
    }
}

impl Arg for ColumnExpr {
    fn ty() -> Type {
        Type::ColumnExpr
    }
    fn from_bound(bound: &Bound) -> Option<Self> {
        match bound {
            Bound::Expr(expr) => Some(expr.clone()),
            Bound::Column(name) => Some(ColumnExpr::Column(name.clone())),
            _ => None,
        }
    }
    fn to_bound(&self) -> Bound {
        Bound::Expr(self.clone())
    }
}
