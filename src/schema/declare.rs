//! Declarations: a struct of parameters, an enum of variants, and the macros that write them.

use super::{Bound, Type};

/// Checked arguments by name, defaults filled in, in the order of the declaration.
pub type Args = [(String, Bound)];

/// One parameter of a step or of a variant.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDecl {
    pub name: &'static str,
    pub doc: String,
    pub ty: Type,
    /// `None`: it must be given. `Some(Bound::None)`: it may be left out.
    pub default: Option<Bound>,
    /// Whether it is part of the identity of the result, and so of the key.
    pub identity: bool,
    /// Whether a variant takes it without its name: `files("a.csv")`.
    pub main: bool,
}

impl ParamDecl {
    pub fn required(&self) -> bool {
        self.default.is_none()
    }
}

/// A struct of typed parameters, declared by [`params!`](crate::params).
pub trait Params: Sized {
    /// What the struct documents, one paragraph.
    fn doc() -> String;
    fn decl() -> Vec<ParamDecl>;
    /// `None` if `args` were not bound against `decl()`: a bug, not a user's mistake.
    fn from_args(args: &Args) -> Option<Self>;
    fn to_args(&self) -> Vec<(String, Bound)>;
}

/// One of several forms of a value: `adamw(learning_rate = 5e-5)`.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantDecl {
    pub name: &'static str,
    pub doc: String,
    pub params: Vec<ParamDecl>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VariantSet {
    /// With its article: `an optimizer`.
    pub what: String,
    pub variants: Vec<VariantDecl>,
}

impl VariantSet {
    pub fn get(&self, name: &str) -> Option<&VariantDecl> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.variants.iter().map(|variant| variant.name)
    }

    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.names().collect();
        if names.len() <= 6 {
            format!("{}: {}", self.what, crate::base::suggest::list(names))
        } else {
            self.what.clone()
        }
    }
}

/// Joins the lines of a doc comment.
#[doc(hidden)]
pub fn doc_text(lines: &[&str]) -> String {
    let lines: Vec<&str> =
        lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_string()
}

/// A raw identifier such as `r#do` without its prefix.
#[doc(hidden)]
pub fn plain_name(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// Declares a struct of parameters: documentation, type, default, range, flags.
///
/// ```text
/// params! {
///     /// Moving averages of the gradient and its square, decoupled decay.
///     pub struct AdamW {
///         /// Peak rate.
///         learning_rate: f64 = 5e-5, in (1e-12, 10.0);
///         /// Left out of the key with `free`; given without its name with `main`.
///         note: Option<String>, free;
///     }
/// }
/// ```
/// A field without a default must be given, unless its type is `Option<…>`.
#[macro_export]
macro_rules! params {
    (
        $(#[doc = $doc:expr])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:expr])*
                $field:ident : $ty:ty
                $(= $default:expr)?
                $(, $flag:ident $(($low:expr, $high:expr))?)*
                ;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $field_doc])* pub $field: $ty, )*
        }

        impl $crate::schema::Params for $name {
            fn doc() -> String {
                $crate::schema::doc_text(&[$($doc),*])
            }

            fn decl() -> Vec<$crate::schema::ParamDecl> {
                vec![$({
                    #[allow(unused_mut)]
                    let mut decl = $crate::schema::ParamDecl {
                        name: $crate::schema::plain_name(stringify!($field)),
                        doc: $crate::schema::doc_text(&[$($field_doc),*]),
                        ty: <$ty as $crate::schema::Arg>::ty(),
                        default: <$ty as $crate::schema::Arg>::absent(),
                        identity: true,
                        main: false,
                    };
                    $( decl.default = Some($crate::schema::Arg::to_bound(&{ let value: $ty = $default; value })); )?
                    $( $crate::params!(@flag decl $flag $(($low, $high))?); )*
                    decl
                }),*]
            }

            #[allow(unused_variables)]
            fn from_args(args: &$crate::schema::Args) -> Option<Self> {
                Some(Self {
                    $( $field: <$ty as $crate::schema::Arg>::from_bound(
                        $crate::schema::argument(args, $crate::schema::plain_name(stringify!($field)))?
                    )?, )*
                })
            }

            fn to_args(&self) -> Vec<(String, $crate::schema::Bound)> {
                vec![$((
                    $crate::schema::plain_name(stringify!($field)).to_string(),
                    $crate::schema::Arg::to_bound(&self.$field),
                )),*]
            }
        }
    };
    (@flag $decl:ident in ($low:expr, $high:expr)) => {
        $decl.ty = $decl.ty.within($low as f64, $high as f64);
    };
    (@flag $decl:ident free) => { $decl.identity = false; };
    (@flag $decl:ident main) => { $decl.main = true; };
}

#[doc(hidden)]
pub fn argument<'a>(args: &'a Args, name: &str) -> Option<&'a Bound> {
    args.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Declares a closed set of variants, each without arguments or with a `params!` struct.
///
/// ```text
/// variants! {
///     /// what happens to rows that do not fit
///     pub enum Overflow {
///         /// Cut at `max_length`.
///         Truncate = "truncate",
///         /// Overlapping windows.
///         Stride(Stride) = "stride",
///     }
/// }
/// ```
/// The first line of the enum's documentation is what messages call it.
#[macro_export]
macro_rules! variants {
    (
        $(#[doc = $doc:expr])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:expr])* $variant:ident $(($payload:ty))? = $text:literal, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])* $variant $(($payload))?, )*
        }

        impl $crate::schema::Arg for $name {
            fn ty() -> $crate::schema::Type {
                $crate::schema::Type::Variant($crate::schema::VariantSet {
                    what: $crate::schema::doc_text(&[$($doc),*]).lines().next().unwrap_or_default().to_string(),
                    variants: vec![$( $crate::schema::VariantDecl {
                        name: $text,
                        doc: $crate::schema::doc_text(&[$($variant_doc),*]),
                        params: $crate::variants!(@decl $($payload)?),
                    } ),*],
                })
            }

            fn from_bound(bound: &$crate::schema::Bound) -> Option<Self> {
                let $crate::schema::Bound::Variant(name, args) = bound else { return None };
                let _ = args;
                $( if name == $text { return $crate::variants!(@build $name $variant args $($payload)?); } )*
                None
            }

            fn to_bound(&self) -> $crate::schema::Bound {
                match self {
                    $( $crate::variants!(@pattern $name $variant inner $($payload)?) =>
                        $crate::schema::Bound::Variant($text.to_string(), $crate::variants!(@args inner $($payload)?)), )*
                }
            }
        }
    };
    (@decl) => { Vec::new() };
    (@decl $payload:ty) => { <$payload as $crate::schema::Params>::decl() };
    (@build $name:ident $variant:ident $args:ident) => { Some($name::$variant) };
    (@build $name:ident $variant:ident $args:ident $payload:ty) => {
        <$payload as $crate::schema::Params>::from_args($args).map($name::$variant)
    };
    (@pattern $name:ident $variant:ident $inner:ident) => { $name::$variant };
    (@pattern $name:ident $variant:ident $inner:ident $payload:ty) => { $name::$variant($inner) };
    (@args $inner:ident) => { Vec::new() };
    (@args $inner:ident $payload:ty) => { $crate::schema::Params::to_args($inner) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Arg, Map, Quantity, Share, Unit};

    crate::params! {
        /// A schedule.
        struct Warmup {
            /// How much.
            share: Share = Share(0.06), in (0.0, 0.5), main;
            note: Option<String>, free;
            peak: f64, in (1e-9, 1.0);
            extra: Map<i64> = Map(vec![("a".into(), 1)]);
            budget: Quantity<3> = Quantity::new(3.0, Unit::Epochs);
        }
    }

    crate::variants! {
        /// a way to go
        ///
        /// More about it.
        enum Way {
            /// Plain.
            Plain = "plain",
            /// With arguments.
            Warm(Warmup) = "warm",
        }
    }

    #[test]
    fn a_declaration_says_type_default_range_and_flags() {
        let decl = Warmup::decl();
        let names: Vec<_> = decl.iter().map(|param| param.name).collect();
        assert_eq!(names, ["share", "note", "peak", "extra", "budget"]);
        assert_eq!(decl[0].ty, Type::Share { min: 0.0, max: 0.5 });
        assert!(decl[0].main && decl[0].identity && !decl[1].identity);
        assert_eq!(decl[1].default, Some(Bound::None));
        assert!(decl[2].required());
        assert_eq!(decl[0].doc, "How much.");
    }

    #[test]
    fn values_survive_the_way_through_bound() {
        let args = vec![
            ("share".to_string(), Bound::Share(0.1)),
            ("note".to_string(), Bound::None),
            ("peak".to_string(), Bound::Float(0.5)),
            ("extra".to_string(), Bound::Map(vec![])),
            ("budget".to_string(), Bound::Quantity(10.0, Unit::Updates)),
        ];
        let bound = Bound::Variant("warm".into(), args.clone());
        let way = Way::from_bound(&bound).expect("it fits the declaration");
        assert!(matches!(&way, Way::Warm(warm) if warm.share == Share(0.1)));
        assert_eq!(way.to_bound(), bound);
        assert_eq!(
            bound.to_string(),
            "warm(share = 10%, peak = 0.5, extra = { }, budget = 10 updates)"
        );
        assert!(Way::from_bound(&Bound::Variant("other".into(), vec![])).is_none());
        let Type::Variant(set) = Way::ty() else { panic!("a variant type") };
        assert_eq!(set.what, "a way to go");
    }
}
