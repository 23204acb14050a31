//! BERT. Source: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional
//! Transformers for Language Understanding" (2018); names of parameters as in transformers'
//! `BertForSequenceClassification`. Losses and labels are in `task`.

use super::blocks::{
    BERT_DEFAULTS, BERT_NAMES, Encoder, Modules, TextEncoder, check_size, encoder,
};
use super::heads::{FirstToken, PerToken, Vocabulary};
use super::{Adaptable, Architecture, Backbone, Config, HeadKind, OutputHead, Result};
use crate::nn::Activation;

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "bert"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
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
        Ok(Box::new(Bert::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct Bert {
    encoder: Encoder,
    classifier_dropout: f64,
    /// Whether masked tokens are scored with the table of embeddings.
    tied: bool,
}

const WORDS: &str = "bert.embeddings.word_embeddings.weight";

impl Bert {
    /// Fields that are absent have the values that transformers' `BertConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let encoder = encoder(
            config,
            &BERT_DEFAULTS,
            &Modules {
                embeddings: "bert.embeddings",
                words: WORDS,
                norm: "bert.embeddings.LayerNorm",
                layers: "bert.encoder.layer",
                names: BERT_NAMES,
            },
        )?;
        check_size(&encoder)?;
        let dropout = encoder.embeddings.dropout;
        Ok(Self {
            encoder,
            classifier_dropout: config.dropout_or("classifier_dropout", dropout)?,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }
}

impl TextEncoder for Bert {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "bert"
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        let dropout = self.classifier_dropout;
        let pooled = |class| FirstToken {
            class,
            pooler: "bert.pooler.dense",
            activation: Activation::Tanh,
            dropout_before: 0.0,
            dropout,
            last: "classifier",
            output_names: &["classifier.weight", "classifier.bias"],
            base,
        };
        Some(match kind {
            HeadKind::Sequence => Box::new(pooled("BertForSequenceClassification")),
            HeadKind::Choice => Box::new(pooled("BertForMultipleChoice")),
            HeadKind::Token => {
                Box::new(PerToken::tags("BertForTokenClassification", dropout, base))
            }
            HeadKind::Span => Box::new(PerToken::spans("BertForQuestionAnswering", 0.0, base)),
            HeadKind::MaskedToken => {
                let (weight, bias, copies): (_, _, &[_]) = match self.tied {
                    true => (
                        WORDS,
                        "cls.predictions.bias",
                        &["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"],
                    ),
                    false => (
                        "cls.predictions.decoder.weight",
                        "cls.predictions.decoder.bias",
                        &["cls.predictions.bias"],
                    ),
                };
                Box::new(Vocabulary {
                    class: "BertForMaskedLM",
                    transform: "cls.predictions.transform.dense",
                    norm: "cls.predictions.transform.LayerNorm",
                    weight,
                    bias: Some(bias),
                    copies,
                    ..self.encoder.vocabulary_head(self.tied)
                })
            }
            HeadKind::Embedding(_) => return None,
        })
    }
}
