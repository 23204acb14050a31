//! RoBERTa: BERT with positions that start behind the padding token, and another head. Source: Liu et
//! al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach" (2019); names of parameters as in
//! transformers' `RobertaForSequenceClassification`. XLM-RoBERTa is the same with other names of classes.

use super::blocks::{
    BERT_DEFAULTS, BERT_NAMES, Defaults, Encoder, Modules, TextEncoder, check_size, encoder,
};
use super::heads::{FirstToken, PerToken, Vocabulary};
use super::{Adaptable, Architecture, Backbone, Config, HeadKind, ModelError, OutputHead, Result};
use crate::nn::Activation;

/// An entry in the table of families.
pub struct Family {
    pub model_type: &'static str,
    pub vocabulary: usize,
    pub classes: &'static Classes,
}

/// What transformers calls the family's models.
#[derive(Debug)]
pub struct Classes {
    pub sequence: &'static str,
    pub token: &'static str,
    pub span: &'static str,
    pub choice: &'static str,
    pub masked: &'static str,
}

pub const ROBERTA: Family = Family {
    model_type: "roberta",
    vocabulary: 50_265,
    classes: &Classes {
        sequence: "RobertaForSequenceClassification",
        token: "RobertaForTokenClassification",
        span: "RobertaForQuestionAnswering",
        choice: "RobertaForMultipleChoice",
        masked: "RobertaForMaskedLM",
    },
};

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        self.model_type
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
        Ok(Box::new(Roberta::new(config, self)?))
    }
}

#[derive(Debug, Clone)]
struct Roberta {
    encoder: Encoder,
    classifier_dropout: f64,
    tied: bool,
    classes: &'static Classes,
}

impl Roberta {
    /// Fields that are absent have the values that transformers' `RobertaConfig` gives them.
    fn new(config: &Config, family: &Family) -> Result<Self> {
        let mut encoder = encoder(
            config,
            &Defaults { vocabulary: family.vocabulary, padding: 1, ..BERT_DEFAULTS },
            &Modules {
                embeddings: "roberta.embeddings",
                words: WORDS,
                norm: "roberta.embeddings.LayerNorm",
                layers: "roberta.encoder.layer",
                names: BERT_NAMES,
            },
        )?;
        let padding = encoder.embeddings.padding.ok_or_else(|| {
            ModelError::new("the config's `pad_token_id` is null; positions are counted from it")
        })?;
        encoder.count_positions_from(padding)?;
        check_size(&encoder)?;
        let dropout = encoder.embeddings.dropout;
        Ok(Self {
            encoder,
            classifier_dropout: config.dropout_or("classifier_dropout", dropout)?,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
            classes: family.classes,
        })
    }
}

const WORDS: &str = "roberta.embeddings.word_embeddings.weight";

impl TextEncoder for Roberta {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "roberta"
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        let classes = self.classes;
        Some(match kind {
            HeadKind::Sequence => Box::new(FirstToken {
                class: classes.sequence,
                pooler: "classifier.dense",
                activation: Activation::Tanh,
                dropout_before: self.classifier_dropout,
                dropout: self.classifier_dropout,
                last: "classifier.out_proj",
                output_names: &["classifier.out_proj.weight", "classifier.out_proj.bias"],
                base,
            }),
            HeadKind::Choice => Box::new(FirstToken {
                class: classes.choice,
                pooler: "roberta.pooler.dense",
                activation: Activation::Tanh,
                dropout_before: 0.0,
                dropout: self.encoder.layer.dropout,
                last: "classifier",
                output_names: &["classifier.weight", "classifier.bias"],
                base,
            }),
            HeadKind::Token => {
                Box::new(PerToken::tags(classes.token, self.classifier_dropout, base))
            }
            HeadKind::Span => Box::new(PerToken::spans(classes.span, 0.0, base)),
            HeadKind::MaskedToken => {
                let (weight, bias, copies): (_, _, &[_]) = match self.tied {
                    true => {
                        (WORDS, "lm_head.bias", &["lm_head.decoder.weight", "lm_head.decoder.bias"])
                    }
                    false => ("lm_head.decoder.weight", "lm_head.decoder.bias", &["lm_head.bias"]),
                };
                Box::new(Vocabulary {
                    class: classes.masked,
                    transform: "lm_head.dense",
                    activation: Activation::Gelu,
                    norm: "lm_head.layer_norm",
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
