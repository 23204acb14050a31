//! ELECTRA: BERT with embeddings of a width of their own. Source: Clark, Luong, Le, Manning, "ELECTRA:
//! Pre-training Text Encoders as Discriminators Rather Than Generators" (2020); names of parameters as in
//! transformers' `ElectraForSequenceClassification`.

use candle_core::Tensor;

use super::blocks::{
    BERT_DEFAULTS, BERT_NAMES, Defaults, Encoder, Modules, TextEncoder, activation, check_size,
    encoder,
};
use super::heads::{FirstToken, PerToken, Vocabulary, dense};
use super::pass::Places;
use super::{
    Adaptable, Architecture, Backbone, Config, Declaration, HeadKind, OutputHead, Pass, Result,
    TextInput,
};
use crate::nn::{Activation, Parameters};

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "electra"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
            "embedding_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "max_position_embeddings",
            "type_vocab_size",
            "initializer_range",
            "layer_norm_eps",
            "pad_token_id",
            "position_embedding_type",
            "is_decoder",
            "add_cross_attention",
            "tie_word_embeddings",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_first_dropout",
            "summary_last_dropout",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable {
            low_rank: &["query", "value"],
            scaled_outputs: &["key", "value"],
            scaled_inputs: &["output.dense"],
        }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Electra::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct Electra {
    encoder: Encoder,
    classifier_dropout: f64,
    /// How sequences are summed up for multiple choice.
    summary: Summary,
    tied: bool,
}

#[derive(Debug, Clone, Copy)]
struct Summary {
    /// Whether it is one that is known here: the first token, through a linear layer.
    is_known: bool,
    activation: Activation,
    dropout_before: f64,
    dropout: f64,
}

const WORDS: &str = "electra.embeddings.word_embeddings.weight";

impl Electra {
    /// Fields that are absent have the values that transformers' `ElectraConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let mut encoder = encoder(
            config,
            &Defaults { hidden: 256, heads: 4, inner: 1024, ..BERT_DEFAULTS },
            &Modules {
                embeddings: "electra.embeddings",
                words: WORDS,
                norm: "electra.embeddings.LayerNorm",
                layers: "electra.encoder.layer",
                names: BERT_NAMES,
            },
        )?;
        let width = config.size_or("embedding_size", Some(128))?;
        (encoder.embeddings.width, encoder.embeddings.normed) = (width, width);
        check_size(&encoder)?;
        let function = match config.get("summary_activation") {
            Some(name) if name.is_null() || name == "" => Activation::Identity,
            _ => activation(config, "summary_activation", "gelu")?,
        };
        let summary = Summary {
            is_known: config.text("summary_type")?.unwrap_or("first") == "first"
                && config.flag("summary_use_proj")?.unwrap_or(true),
            activation: function,
            dropout_before: config.dropout_or("summary_first_dropout", 0.0)?,
            dropout: config.dropout_or("summary_last_dropout", 0.1)?,
        };
        let dropout = encoder.embeddings.dropout;
        Ok(Self {
            encoder,
            classifier_dropout: config.dropout_or("classifier_dropout", dropout)?,
            summary,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }

    /// The layer that widens embeddings, where they are narrower than the hidden states.
    fn projection(&self) -> Option<&'static str> {
        (self.encoder.embeddings.width != self.encoder.layer.hidden)
            .then_some("electra.embeddings_project")
    }
}

impl TextEncoder for Electra {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "electra"
    }

    fn other_declarations(&self) -> Vec<Declaration> {
        let Some(module) = self.projection() else { return Vec::new() };
        let sizes = [self.encoder.layer.hidden, self.encoder.embeddings.width];
        dense(module, sizes, self.encoder.layer.deviation, 0).into()
    }

    fn enter(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let x = self.encoder.embeddings.forward(parameters, text, pass)?;
        match self.projection() {
            None => Ok(x),
            Some(module) => pass.linear(&x, &parameters.linear(module)?, Places::All(text)),
        }
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        Some(match kind {
            HeadKind::Sequence => Box::new(FirstToken {
                class: "ElectraForSequenceClassification",
                pooler: "classifier.dense",
                activation: Activation::Gelu,
                dropout_before: self.classifier_dropout,
                dropout: self.classifier_dropout,
                last: "classifier.out_proj",
                output_names: &["classifier.out_proj.weight", "classifier.out_proj.bias"],
                base,
            }),
            HeadKind::Choice if self.summary.is_known => Box::new(FirstToken {
                class: "ElectraForMultipleChoice",
                pooler: "sequence_summary.summary",
                activation: self.summary.activation,
                dropout_before: self.summary.dropout_before,
                dropout: self.summary.dropout,
                last: "classifier",
                output_names: &["classifier.weight", "classifier.bias"],
                base,
            }),
            HeadKind::Token => Box::new(PerToken::tags(
                "ElectraForTokenClassification",
                self.classifier_dropout,
                base,
            )),
            HeadKind::Span => Box::new(PerToken::spans("ElectraForQuestionAnswering", 0.0, base)),
            HeadKind::MaskedToken => Box::new(Vocabulary {
                class: "ElectraForMaskedLM",
                transform: "generator_predictions.dense",
                activation: Activation::Gelu,
                norm: "generator_predictions.LayerNorm",
                weight: if self.tied { WORDS } else { "generator_lm_head.weight" },
                bias: Some("generator_lm_head.bias"),
                copies: if self.tied { &["generator_lm_head.weight"] } else { &[] },
                ..self.encoder.vocabulary_head(self.tied)
            }),
            HeadKind::Choice | HeadKind::Embedding(_) => return None,
        })
    }
}
