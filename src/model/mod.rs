//! Architectures: what parameters a family has, and how its inputs become hidden states. One file
//! per family, and a table of them by the config's `model_type`. Also the value *model* that
//! travels between steps, checkpoints in the Hugging Face layout, and the embedded models.
//! What a head's outputs mean, and the losses, are in `task`.

pub mod adapter;
pub mod albert;
pub mod bert;
mod blocks;
pub mod builtin;
pub mod checkpoint;
pub mod config;
pub mod deberta_v2;
pub mod distilbert;
pub mod electra;
pub mod error;
mod heads;
pub mod init;
pub mod input;
pub mod modernbert;
pub mod mpnet;
pub mod pass;
mod pooling;
pub mod roberta;
pub mod value;
pub mod xlm_roberta;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::Parameters;

pub use adapter::{Adaptable, Adapted, AdapterConfig, AdapterRequest};
pub use checkpoint::LoadReport;
pub use config::{Config, LabelNames};
pub use error::{ModelError, Result};
pub use input::{Attended, Input, Per, Selected, TextInput};
pub use pass::{Compute, Dropping, Memory, Pass, Path};
pub use value::{Head, HeadChoice, Model};

/// A parameter that an architecture or a head has.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    /// As transformers names it.
    pub name: String,
    pub shape: Vec<usize>,
    pub init: Init,
    pub kind: Kind,
    /// For layer-wise decay: 0 for embeddings, then the layers from 1, then the head.
    pub depth: usize,
}

/// How a new parameter is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// N(0, σ).
    Normal(f64),
    /// Uniform in (−b, b).
    Uniform(f64),
    Zeros,
    Ones,
}

/// What a parameter is, as far as the optimizer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Weight,
    Bias,
    /// Inside a layer norm.
    Norm,
    Embedding,
}

impl Declaration {
    /// Whether weight decay applies: not to parameters inside a layer norm, and not to names that
    /// say bias or norm, as transformers' Trainer decides.
    pub fn decayed(&self) -> bool {
        let name = self.name.to_lowercase();
        let norm_part = name.split('.').any(|part| part == "norm" || part.ends_with("_norm"));
        let named = ["bias", "layernorm", "rmsnorm"].iter().any(|word| name.contains(word));
        self.kind != Kind::Norm && !norm_part && !named
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Which rows of the hidden states a head reads; the last layer computes no others where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Every token: `[tokens, hidden]`.
    All,
    /// The first token of every sequence: `[sequences, hidden]`.
    First,
    /// The tokens that the input selects: `[selected, hidden]`.
    Selected,
}

/// What a head computes scores of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// A whole sequence: classes, labels or values.
    Sequence,
    /// Every token: tags.
    Token,
    /// Every token, as the first and as the last of an answer.
    Span,
    /// A sequence among those of its row: one score each.
    Choice,
    /// Selected tokens: a score for each token of the vocabulary.
    MaskedToken,
    /// A sequence as a vector. Has no parameters, and is there for every family.
    Embedding(Pooling),
}

impl HeadKind {
    /// What one row of its logits is about.
    pub fn per(self) -> Per {
        match self {
            HeadKind::Sequence | HeadKind::Choice | HeadKind::Embedding(_) => Per::Sequence,
            HeadKind::Token | HeadKind::Span => Per::Token,
            HeadKind::MaskedToken => Per::Selected,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            HeadKind::Sequence => "scores whole sequences",
            HeadKind::Token => "scores every token",
            HeadKind::Span => "finds answers",
            HeadKind::Choice => "chooses among sequences",
            HeadKind::MaskedToken => "guesses masked tokens",
            HeadKind::Embedding(_) => "embeds sequences",
        }
    }
}

/// How the hidden states of a sequence become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean. Source: Reimers, Gurevych, "Sentence-BERT" (2019), section 3.
    #[default]
    Mean,
    /// The first token's.
    Cls,
}

/// A family of models. Source and names: the family's file.
pub trait Architecture: Sync {
    /// The config's `model_type`.
    fn model_type(&self) -> &'static str;
    /// The config's fields that this family reads.
    fn fields(&self) -> &'static [&'static str];
    /// Where adapters sit, as peft has it.
    fn adaptable(&self) -> Adaptable {
        Adaptable::default()
    }
    /// Reads the config; fails on sizes that cannot be and on variants that are not known here.
    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>>;
}

/// A model without its head.
pub trait Backbone: Send + Sync {
    /// The module under which checkpoints of a whole model hold the backbone.
    fn prefix(&self) -> &'static str;
    /// In the order of the model's own definition.
    fn declarations(&self) -> Vec<Declaration>;
    /// Ends of names of buffers that older checkpoints store and nobody needs.
    fn buffers(&self) -> &'static [&'static str];
    fn hidden_size(&self) -> usize;
    /// Longest sequence, in tokens, where there is a limit.
    fn max_length(&self) -> Option<usize>;
    fn vocabulary(&self) -> Option<usize>;
    /// The number of layers; a head's depth is one more.
    fn layers(&self) -> usize;
    /// The tables of which `forward` reads these rows alone, by name; updates of all others may be
    /// deferred. A table that is named for one input is named for every input that reads it.
    fn rows_read<'a>(&self, _input: &'a Input) -> Vec<(&'static str, &'a [u32])> {
        Vec::new()
    }
    /// Hidden states f32, `[tokens, hidden]` or the rows that `read` names. Fails on an input that
    /// is not the family's, or longer than its positions.
    fn forward(
        &self,
        parameters: &Parameters,
        input: &Input,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor>;
    /// Bytes that the operations of a training pass over this many tokens hold at most at a time:
    /// what is kept for the backward, and what the backward needs besides. `None` where it is not
    /// known.
    fn pass_bytes(&self, _tokens: usize, _compute: &Compute) -> Option<u64> {
        None
    }
    /// The head of this kind with `outputs` numbers for each thing that it scores, if the family has
    /// one. Families leave embeddings to [`head`].
    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>>;
}

/// A family's way from hidden states to scores.
pub trait OutputHead: Send + Sync {
    /// The class that transformers gives such a model.
    fn class(&self) -> &'static str;
    fn declarations(&self) -> Vec<Declaration>;
    /// Ends of names that checkpoints store and nobody needs, as [`Backbone::buffers`].
    fn buffers(&self) -> &'static [&'static str] {
        &[]
    }
    /// The backbone's tables of embeddings that the head reads as a whole.
    fn whole_tables(&self) -> Vec<&str> {
        Vec::new()
    }
    /// Names of the parameters whose shape depends on the labels; a new head draws these anew.
    fn output_names(&self) -> &'static [&'static str];
    fn read(&self) -> Read;
    /// `hidden_states`: f32 `[rows read, hidden]`. Returns logits f32 `[units, outputs]`; what a unit
    /// is says [`HeadKind::per`].
    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor>;
}

/// The head of this kind on a backbone; fails if its family has none.
pub fn head(
    backbone: &dyn Backbone,
    config: &Config,
    kind: HeadKind,
    outputs: usize,
) -> Result<Box<dyn OutputHead>> {
    if let HeadKind::Embedding(pooling) = kind {
        return Ok(Box::new(pooling::Pooled(pooling)));
    }
    match backbone.head(kind, outputs) {
        Some(head) => Ok(head),
        None => Err(ModelError::new(format!(
            "the architecture `{}` has no head that {}",
            config.model_type()?,
            kind.describe()
        ))),
    }
}

/// The table of families.
pub fn architectures() -> &'static [&'static dyn Architecture] {
    &[
        &bert::Family,
        &roberta::ROBERTA,
        &xlm_roberta::XLM_ROBERTA,
        &distilbert::Family,
        &electra::Family,
        &albert::Family,
        &mpnet::Family,
        &deberta_v2::Family,
        &modernbert::Family,
    ]
}

/// The family of a config.
pub fn architecture(config: &Config) -> Result<&'static dyn Architecture> {
    let wanted = config.model_type()?;
    let known = architectures().iter().find(|family| family.model_type() == wanted);
    known.copied().ok_or_else(|| {
        let names = architectures().iter().map(|family| family.model_type());
        ModelError::new(format!("the architecture `{wanted}` is not known here"))
            .help(format!("known are {}", crate::base::suggest::list(names)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(name: &str, kind: Kind) -> Declaration {
        Declaration { name: name.into(), shape: vec![2], init: Init::Zeros, kind, depth: 0 }
    }

    /// The names that transformers' Trainer leaves undecayed: `semantics`, "Steps".
    #[test]
    fn decay_is_decided_by_kind_and_by_name() {
        for (name, kind, decayed) in [
            ("bert.embeddings.word_embeddings.weight", Kind::Embedding, true),
            ("classifier.weight", Kind::Weight, true),
            ("classifier.bias", Kind::Bias, false),
            ("bert.embeddings.LayerNorm.weight", Kind::Norm, false),
            ("h.0.ln_1.weight", Kind::Norm, false),
            ("model.norm.weight", Kind::Weight, false),
            ("layers.0.ffn_norm.weight", Kind::Weight, false),
            ("layers.0.normal.weight", Kind::Weight, true),
        ] {
            assert_eq!(declaration(name, kind).decayed(), decayed, "{name}");
        }
    }

    #[test]
    fn every_family_is_named_once() {
        let mut names: Vec<_> = architectures().iter().map(|family| family.model_type()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), architectures().len());
    }
}
