//! RoBERTa: BERT with positions that start behind the padding token, and another head. Source: Liu et
//! al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach" (2019); names of parameters as in
//! transformers' `RobertaForSequenceClassification`. XLM-RoBERTa is the same with other names of classes.

use super::blocks::{
    BERT_NAMES, Embeddings, Encoder, Positions, PostNorm, TextEncoder, activation, check_heads,
    check_size, encoder_alone, padding,
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
        let hidden = config.size_or("hidden_size", Some(768))?;
        let heads = config.size_or("num_attention_heads", Some(12))?;
        check_heads([hidden, heads], ["hidden_size", "num_attention_heads"])?;
        encoder_alone(config)?;
        let vocabulary = config.size_or("vocab_size", Some(family.vocabulary))?;
        let padding = padding(config, 1, vocabulary)?.ok_or_else(|| {
            ModelError::new("the config's `pad_token_id` is null; positions are counted from it")
        })?;
        let dropout = config.dropout_or("hidden_dropout_prob", 0.1)?;
        let eps = config.number_or("layer_norm_eps", 1e-12, 0.0, 1.0)?;
        let deviation = config.number_or("initializer_range", 0.02, 0.0, 100.0)?;
        let encoder = Encoder {
            embeddings: Embeddings {
                module: "roberta.embeddings",
                words: WORDS,
                norm: "roberta.embeddings.LayerNorm",
                norm_bias: true,
                vocabulary,
                width: hidden,
                normed: hidden,
                positions: Some(Positions::new(
                    config.size_or("max_position_embeddings", Some(512))?,
                    Some(padding),
                )?),
                token_types: config.size_or("type_vocab_size", Some(2))?,
                padding: Some(padding),
                dropout,
                eps,
                deviation,
            },
            layer: PostNorm {
                hidden,
                heads,
                inner: config.size_or("intermediate_size", Some(3072))?,
                activation: activation(config, "hidden_act", "gelu")?,
                attention_dropout: config.dropout_or("attention_probs_dropout_prob", 0.1)?,
                dropout,
                output_dropout: dropout,
                eps,
                deviation,
                names: BERT_NAMES,
            },
            layers: config.size_or("num_hidden_layers", Some(12))?,
            module: "roberta.encoder.layer",
        };
        check_size(&encoder)?;
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
