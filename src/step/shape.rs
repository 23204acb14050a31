//! What the checker knows of a value before it exists: columns, labels, sizes. Pure data.

use crate::data::Form;

/// The static counterpart of a `Value`.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Table(TableShape),
    Tables(Vec<(String, TableShape)>),
    Tokens(TokensShape),
    TokenSets(Vec<(String, TokensShape)>),
    Model(ModelShape),
    Tokenizer(TokenizerShape),
    Predictions(PredictionsShape),
    /// The names of the metrics.
    Scores(Vec<String>),
    Log,
    /// The names of the numbers.
    Report(Vec<String>),
    Folder,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableShape {
    /// In the order of the table; `None` where they are known only when the step has run.
    pub columns: Option<Vec<ColumnShape>>,
    pub labels: LabelShape,
}

impl TableShape {
    pub fn has(&self, column: &str) -> bool {
        self.columns.as_ref().is_none_or(|all| all.iter().any(|known| known.name == column))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().flatten().map(|column| column.name.as_str())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnShape {
    pub name: String,
    pub ty: ColumnType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    Int,
    Float,
    Bool,
    /// Several labels in one cell.
    List,
    Unknown,
}

/// What is known of the labels of a table, of tokens or of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum LabelShape {
    /// There is no label column.
    #[default]
    Absent,
    /// There is one; only the data tell more.
    Unknown,
    /// One class a row; the names where they are declared or known.
    Classes(Option<Vec<String>>),
    /// One number a row.
    Values,
    /// Any number of classes a row.
    Multi(Option<Vec<String>>),
    /// One class a word.
    Tags(Option<Vec<String>>),
    /// Parts of contexts.
    Answers,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokensShape {
    pub labels: LabelShape,
    /// What a row is; `None` where only the data will tell.
    pub form: Option<Form>,
    pub max_length: usize,
    pub tokenizer: TokenizerShape,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerShape {
    pub vocab_size: Option<usize>,
    /// Content digest of its files, where they are known.
    pub digest: Option<crate::base::Digest>,
    /// What messages call it: the folder or repository.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// `model_type` of the configuration.
    pub architecture: String,
    /// The head's variant name; `None` for a bare backbone.
    pub head: Option<String>,
    /// `Absent` while only the data will tell.
    pub labels: LabelShape,
    /// The longest input the position table admits, in tokens.
    pub max_positions: Option<usize>,
    pub vocab_size: Option<usize>,
    /// Names of all parameters, as in the checkpoint; for `freeze`.
    pub parameters: Vec<String>,
    /// The backbone's linear modules; for adapters.
    pub linear: Vec<String>,
    /// Whether tensors are still to be drawn by the first `train`.
    pub undrawn: bool,
    /// Whether a `train` of this program changed it.
    pub trained: bool,
    /// Whether it is an adapter on a model that a `train` of this program changed, which is nowhere else.
    pub on_trained: bool,
    pub tokenizer: Option<TokenizerShape>,
    /// What messages call it.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PredictionsShape {
    /// The head that made them.
    pub head: String,
    pub labels: LabelShape,
    /// Whether the true labels are there: `predict` gives none.
    pub scored: bool,
}
