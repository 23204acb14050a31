//! The tree of a program as it was written. Every node knows its place (`Span`), numbers also keep
//! their spelling. Nothing is resolved here: whether a word is a variant or a reference, whether a
//! unit fits, which arguments a kind has, all that is the checker's. How text becomes this tree is
//! in `parse`.

use std::sync::Arc;

use crate::base::{Fix, SourceId, Span, Spanned};

/// One program.
///
/// A tree is returned even where the text has faults: what could be read is here, and `damaged` and
/// `unread` tell where absence means nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ast {
    pub source: SourceId,
    /// The number of the line `ftp 1`. None where the line is missing (which was reported).
    pub edition: Option<Spanned<u32>>,
    /// The `##` lines between the edition line and the first blank line: they document the file.
    pub docs: Vec<String>,
    /// In the order of the text.
    pub items: Vec<Item>,
    /// Names declared by items that could not be read or belong to later editions
    /// (`search` of `sweep search { … }`): a reference to one of them is no fault of its own.
    pub unread: Vec<Spanned<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Param(Param),
    Secret(Secret),
    Seed(Seed),
    Expect(Expect),
    Import(Import),
    Fragment(Fragment),
    /// `use finetune small { model = encoder }`: a step whose kind is the name of a fragment, behind
    /// the name of an import if it is of one (`shared.finetune`).
    Use(Step),
    Step(Step),
}

/// `import "shared.ftp" as shared`
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub docs: Vec<String>,
    /// Relative to the importing file.
    pub path: Spanned<String>,
    pub name: Spanned<String>,
    pub span: Span,
    /// What the file holds, once it was read.
    pub module: Option<Arc<Ast>>,
}

/// `fragment finetune(model: model, rate: float = 5e-5) { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    pub docs: Vec<String>,
    pub name: Spanned<String>,
    /// Without `##` lines.
    pub params: Vec<Param>,
    /// Steps and uses of other fragments, in the order of the text.
    pub items: Vec<Item>,
    pub span: Span,
    /// Part of it could not be read, which was reported.
    pub damaged: bool,
}

/// `param learning_rate: float = 5e-5 in 1e-7 .. 1e-2`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The `##` lines before it, without the marks and the space behind them.
    pub docs: Vec<String>,
    pub name: Spanned<String>,
    /// The word behind the colon. None for an enumeration, which its `within` describes.
    pub type_name: Option<Spanned<String>>,
    /// None for `param rate: float`: a value has to be given from outside.
    pub default: Option<Expr>,
    /// What stands behind `in`: a `Range` or a `List`, nothing else.
    pub within: Option<Expr>,
    /// From `param` to the end of the last value.
    pub span: Span,
    /// Part of it could not be read, which was reported.
    pub damaged: bool,
}

/// `secret token = env("HF_TOKEN")`
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    pub docs: Vec<String>,
    pub name: Spanned<String>,
    /// The name of the environment variable.
    pub variable: Spanned<String>,
    pub span: Span,
}

/// `seed 17`
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    pub docs: Vec<String>,
    pub value: Expr,
    pub span: Span,
}

/// `expect tokens.report.truncated < 1%`
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub docs: Vec<String>,
    /// What is looked at: at least one word.
    pub number: Vec<Spanned<String>>,
    /// `<`, `<=`, `>`, `>=` or `==`.
    pub comparison: Spanned<BinaryOperator>,
    pub limit: Expr,
    /// From the first word behind `expect` to the end of the limit.
    pub span: Span,
}

/// `kind name { argument = value … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub docs: Vec<String>,
    /// With hyphens as written (`load-model`); whether there is such a kind is not known here.
    pub kind: Spanned<String>,
    pub name: Spanned<String>,
    /// In the order of the text. The same name may stand here twice.
    pub args: Vec<Arg>,
    /// From the kind to the closing brace.
    pub span: Span,
    /// The block with its braces. Where the closing brace is missing, up to the last thing in it.
    pub body: Span,
    /// Where one more argument goes; see `insert_argument`.
    pub insertion: Insertion,
    /// Part of the block could not be read, which was reported: an argument that is absent here may
    /// have been there.
    pub damaged: bool,
}

/// A place for one more argument, and what has to surround it there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Insertion {
    pub at: Span,
    pub before: String,
    pub after: String,
}

/// `name = value` in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    pub docs: Vec<String>,
    pub name: Spanned<String>,
    pub value: Expr,
}

/// A value or a column expression: one type for both, since `derive({ n = words(.text) })` mixes
/// them, and where a column expression may stand is a matter of types.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `true`, `false`
    Bool(bool),
    /// `1_000`, `-3`, `2e-5`. A sign directly before a number belongs to it.
    Number(Number),
    /// `6%`
    Share(Share),
    /// `3 epochs`, `4_096 tokens`; any word can be the unit (`3 hours`).
    Quantity { amount: Number, unit: Spanned<String> },
    /// `"…"`, `r"…"`, `"""…"""`: the text itself, escapes resolved, indentation removed.
    String(String),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ key = value }`. The same key may stand here twice.
    Map(Vec<Entry>),
    /// `a .. b`
    Range { low: Box<Expr>, high: Box<Expr> },
    /// `accuracy`, `tuned`, `tokens.train`, `tokens.report.truncated`: never empty. One word alone
    /// is a variant without arguments or a reference; several are always a reference.
    Path(Vec<Spanned<String>>),
    /// `adamw(learning_rate = 1e-4)`, `words(.text)`: a variant with arguments or a function.
    Call { name: Spanned<String>, args: Vec<CallArg> },
    /// `.text`, `."#1 String"`: the name of the column.
    Column(String),
    /// `not a`
    Not(Box<Expr>),
    /// `-a`, where `a` is no number.
    Negate(Box<Expr>),
    /// `a and b`, `.length > 3`, `.a + .b`
    Binary { operator: Spanned<BinaryOperator>, left: Box<Expr>, right: Box<Expr> },
}

/// `key = value` in a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub docs: Vec<String>,
    /// An identifier or the text of a string.
    pub key: Spanned<String>,
    pub value: Expr,
}

/// `value` or `name = value` between the parentheses of a call. At most one is positional as far as
/// variants go, which the checker sees to; functions take several.
#[derive(Debug, Clone, PartialEq)]
pub struct CallArg {
    pub name: Option<Spanned<String>>,
    pub value: Expr,
}

/// A number and its spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    pub value: NumberValue,
    /// As written, with sign and underscores.
    pub text: String,
}

/// `1_000` is an integer, `1.0` and `1e3` are floats. A float is finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberValue {
    Int(i64),
    Float(f64),
}

/// `6%`: the fraction 0.06 (the float nearest to the written decimal) and the spelling `6%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub fraction: f64,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl BinaryOperator {
    /// Every operator with its spelling.
    pub const ALL: [(BinaryOperator, &'static str); 12] = [
        (BinaryOperator::Or, "or"),
        (BinaryOperator::And, "and"),
        (BinaryOperator::Equal, "=="),
        (BinaryOperator::NotEqual, "!="),
        (BinaryOperator::Less, "<"),
        (BinaryOperator::LessEqual, "<="),
        (BinaryOperator::Greater, ">"),
        (BinaryOperator::GreaterEqual, ">="),
        (BinaryOperator::Add, "+"),
        (BinaryOperator::Subtract, "-"),
        (BinaryOperator::Multiply, "*"),
        (BinaryOperator::Divide, "/"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(operator, _)| *operator == self).map_or("", |(_, text)| text)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, spelling)| *spelling == text).map(|(operator, _)| *operator)
    }
}

impl NumberValue {
    /// Integers above 2⁵³ are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            NumberValue::Int(value) => value as f64,
            NumberValue::Float(value) => value,
        }
    }
}

impl Expr {
    /// What it is, with an article, for messages: "a string", "a list", "a reference".
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            ExprKind::Bool(_) => "a boolean",
            ExprKind::Number(Number { value: NumberValue::Int(_), .. }) => "an integer",
            ExprKind::Number(Number { value: NumberValue::Float(_), .. }) => "a float",
            ExprKind::Share(_) => "a share",
            ExprKind::Quantity { .. } => "a number with a unit",
            ExprKind::String(_) => "a string",
            ExprKind::List(_) => "a list",
            ExprKind::Map(_) => "a map",
            ExprKind::Range { .. } => "a range",
            ExprKind::Path(words) if words.len() == 1 => "a name",
            ExprKind::Path(_) => "a reference",
            ExprKind::Call { .. } => "a variant with arguments",
            ExprKind::Column(_) => "a column",
            ExprKind::Not(_) | ExprKind::Negate(_) | ExprKind::Binary { .. } => {
                "a column expression"
            }
        }
    }
}

impl Ast {
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            _ => None,
        })
    }

    pub fn expectations(&self) -> impl Iterator<Item = &Expect> {
        self.items.iter().filter_map(|item| match item {
            Item::Expect(expect) => Some(expect),
            _ => None,
        })
    }

    pub fn fragments(&self) -> impl Iterator<Item = &Fragment> {
        self.items.iter().filter_map(|item| match item {
            Item::Fragment(fragment) => Some(fragment),
            _ => None,
        })
    }

    pub fn imports(&self) -> impl Iterator<Item = &Import> {
        self.items.iter().filter_map(|item| match item {
            Item::Import(import) => Some(import),
            _ => None,
        })
    }

    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.items.iter().filter_map(|item| match item {
            Item::Param(param) => Some(param),
            _ => None,
        })
    }
}

impl Step {
    /// The edit that adds `argument` (`batch = 32`) to the block, on a line of its own where the
    /// others stand on lines of their own.
    pub fn insert_argument(&self, argument: &str) -> Fix {
        let Insertion { at, before, after } = &self.insertion;
        Fix { span: *at, replacement: format!("{before}{argument}{after}") }
    }
}
