//! DistilBERT: BERT without types and pooler. Source: Sanh, Debut, Chaumond, Wolf, "DistilBERT, a
//! distilled version of BERT" (2019); names of parameters as in transformers'
//! `DistilBertForSequenceClassification`.

use super::blocks::{
    Embeddings, Encoder, Names, Positions, PostNorm, TextEncoder, activation, check_heads,
    check_size, padding, refuse,
};
use super::heads::{FirstToken, PerToken, Vocabulary};
use super::{Adaptable, Architecture, Backbone, Config, HeadKind, OutputHead, Result};
use crate::nn::Activation;

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "distilbert"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
            "dim",
            "n_layers",
            "n_heads",
            "hidden_dim",
            "activation",
            "dropout",
            "attention_dropout",
            "seq_classif_dropout",
            "qa_dropout",
            "max_position_embeddings",
            "initializer_range",
            "sinusoidal_pos_embds",
            "pad_token_id",
            "tie_word_embeddings",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable {
            low_rank: &["q_lin", "v_lin"],
            scaled_outputs: &["k_lin", "v_lin"],
            scaled_inputs: &["ffn.lin2"],
        }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(DistilBert::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct DistilBert {
    encoder: Encoder,
    sequence_dropout: f64,
    span_dropout: f64,
    tied: bool,
}

const WORDS: &str = "distilbert.embeddings.word_embeddings.weight";
/// No field of the config says another.
const EPS: f64 = 1e-12;

impl DistilBert {
    /// Fields that are absent have the values that transformers' `DistilBertConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let hidden = config.size_or("dim", Some(768))?;
        let heads = config.size_or("n_heads", Some(12))?;
        check_heads([hidden, heads], ["dim", "n_heads"])?;
        refuse(
            config,
            "sinusoidal_pos_embds",
            "positions are known here as a trained table alone",
        )?;
        let vocabulary = config.size_or("vocab_size", Some(30_522))?;
        let dropout = config.dropout_or("dropout", 0.1)?;
        let deviation = config.number_or("initializer_range", 0.02, 0.0, 100.0)?;
        let count = config.size_or("max_position_embeddings", Some(512))?;
        let encoder = Encoder {
            embeddings: Embeddings {
                module: "distilbert.embeddings",
                words: WORDS,
                norm: "distilbert.embeddings.LayerNorm",
                norm_bias: true,
                vocabulary,
                width: hidden,
                normed: hidden,
                positions: Some(Positions::new(count, None)?),
                token_types: 0,
                padding: padding(config, 0, vocabulary)?,
                dropout,
                eps: EPS,
                deviation,
            },
            layer: PostNorm {
                hidden,
                heads,
                inner: config.size_or("hidden_dim", Some(3072))?,
                activation: activation(config, "activation", "gelu")?,
                attention_dropout: config.dropout_or("attention_dropout", 0.1)?,
                // The output of the attention is not dropped.
                dropout: 0.0,
                output_dropout: dropout,
                eps: EPS,
                deviation,
                names: Names {
                    query: "attention.q_lin",
                    key: "attention.k_lin",
                    value: "attention.v_lin",
                    attention_output: "attention.out_lin",
                    attention_norm: "sa_layer_norm",
                    up: "ffn.lin1",
                    down: "ffn.lin2",
                    output_norm: "output_layer_norm",
                },
            },
            layers: config.size_or("n_layers", Some(6))?,
            module: "distilbert.transformer.layer",
        };
        check_size(&encoder)?;
        Ok(Self {
            encoder,
            sequence_dropout: config.dropout_or("seq_classif_dropout", 0.2)?,
            span_dropout: config.dropout_or("qa_dropout", 0.1)?,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }
}

impl TextEncoder for DistilBert {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "distilbert"
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        let pooled = |class| FirstToken {
            class,
            pooler: "pre_classifier",
            activation: Activation::Relu,
            dropout_before: 0.0,
            dropout: self.sequence_dropout,
            last: "classifier",
            output_names: &["classifier.weight", "classifier.bias"],
            base,
        };
        let dropout = self.encoder.embeddings.dropout;
        Some(match kind {
            HeadKind::Sequence => Box::new(pooled("DistilBertForSequenceClassification")),
            HeadKind::Choice => Box::new(pooled("DistilBertForMultipleChoice")),
            HeadKind::Token => {
                Box::new(PerToken::tags("DistilBertForTokenClassification", dropout, base))
            }
            HeadKind::Span => {
                Box::new(PerToken::spans("DistilBertForQuestionAnswering", self.span_dropout, base))
            }
            HeadKind::MaskedToken => Box::new(Vocabulary {
                class: "DistilBertForMaskedLM",
                transform: "vocab_transform",
                norm: "vocab_layer_norm",
                weight: if self.tied { WORDS } else { "vocab_projector.weight" },
                bias: Some("vocab_projector.bias"),
                copies: if self.tied { &["vocab_projector.weight"] } else { &[] },
                ..self.encoder.vocabulary_head(self.tied)
            }),
            HeadKind::Embedding(_) => return None,
        })
    }
}
