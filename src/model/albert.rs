//! ALBERT: BERT whose layers share their parameters. Source: Lan et al., "ALBERT: A Lite BERT for
//! Self-supervised Learning of Language Representations" (2019); names of parameters as in transformers'
//! `AlbertForSequenceClassification`.

use candle_core::Tensor;

use super::blocks::{
    Attending, BERT_DEFAULTS, Defaults, Encoder, Modules, Names, Scores, TextEncoder, check_size,
    encoder, site_behind,
};
use super::heads::{Base, FirstToken, PerToken, Vocabulary, dense};
use super::pass::Places;
use super::{
    Adaptable, Architecture, Backbone, Config, Declaration, HeadKind, ModelError, OutputHead, Pass,
    Read, Result, TextInput,
};
use crate::nn::{Activation, Parameters};

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "albert"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
            "embedding_size",
            "hidden_size",
            "num_hidden_layers",
            "num_hidden_groups",
            "inner_group_num",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "classifier_dropout_prob",
            "max_position_embeddings",
            "type_vocab_size",
            "initializer_range",
            "layer_norm_eps",
            "pad_token_id",
            "position_embedding_type",
            "tie_word_embeddings",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable {
            low_rank: &["query", "value"],
            scaled_outputs: &["key", "value"],
            scaled_inputs: &["ffn_output"],
        }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Albert::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct Albert {
    encoder: Encoder,
    /// Layers share the parameters of their group.
    groups: usize,
    /// The layers of which each layer of a group consists.
    inner_layers: usize,
    classifier_dropout: f64,
    tied: bool,
}

const WORDS: &str = "albert.embeddings.word_embeddings.weight";
const PROJECTION: &str = "albert.encoder.embedding_hidden_mapping_in";

impl Albert {
    /// Fields that are absent have the values that transformers' `AlbertConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let mut encoder = encoder(
            config,
            &Defaults {
                vocabulary: 30_000,
                hidden: 4096,
                heads: 64,
                inner: 16_384,
                activation: "gelu_new",
                dropout: 0.0,
                ..BERT_DEFAULTS
            },
            &Modules {
                embeddings: "albert.embeddings",
                words: WORDS,
                norm: "albert.embeddings.LayerNorm",
                layers: "albert.encoder.albert_layer_groups",
                names: Names {
                    query: "attention.query",
                    key: "attention.key",
                    value: "attention.value",
                    attention_output: "attention.dense",
                    attention_norm: "attention.LayerNorm",
                    up: "ffn",
                    down: "ffn_output",
                    output_norm: "full_layer_layer_norm",
                },
            },
        )?;
        let width = config.size_or("embedding_size", Some(128))?;
        (encoder.embeddings.width, encoder.embeddings.normed) = (width, width);
        // The output of the feed-forward is not dropped.
        encoder.layer.output_dropout = 0.0;
        let (layers, groups) = (encoder.layers, config.size_or("num_hidden_groups", Some(1))?);
        if groups > layers {
            return Err(ModelError::new(format!(
                "the config's `num_hidden_groups` {groups} is more than its `num_hidden_layers` {layers}"
            )));
        }
        check_size(&encoder)?;
        Ok(Self {
            encoder,
            groups,
            inner_layers: config.size_or("inner_group_num", Some(1))?,
            classifier_dropout: config.dropout_or("classifier_dropout_prob", 0.1)?,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        })
    }

    fn module_of(&self, group: usize, inner: usize) -> String {
        format!("{}.{group}.albert_layers.{inner}", self.encoder.module)
    }

    /// The first layer that uses a group.
    fn first_layer(&self, group: usize) -> usize {
        (group * self.encoder.layers).div_ceil(self.groups)
    }
}

impl TextEncoder for Albert {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "albert"
    }

    fn other_declarations(&self) -> Vec<Declaration> {
        let sizes = [self.encoder.layer.hidden, self.encoder.embeddings.width];
        dense(PROJECTION, sizes, self.encoder.layer.deviation, 0).into()
    }

    /// A group's depth is that of the first layer that uses it.
    fn layer_declarations(&self) -> Vec<Declaration> {
        let mut all = Vec::new();
        for group in 0..self.groups {
            for inner in 0..self.inner_layers {
                let depth = self.first_layer(group) + 1;
                all.extend(self.encoder.layer.declarations(&self.module_of(group, inner), depth));
            }
        }
        all
    }

    fn depth(&self) -> usize {
        self.encoder.layers * self.inner_layers
    }

    fn enter(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let x = self.encoder.embeddings.forward(parameters, text, pass)?;
        pass.linear(&x, &parameters.linear(PROJECTION)?, Places::All(text))
    }

    fn layer(
        &self,
        number: usize,
        parameters: &Parameters,
        x: &Tensor,
        text: &TextInput,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let (layer, inner) = (number / self.inner_layers, number % self.inner_layers);
        let group = layer * self.groups / self.encoder.layers;
        let module = self.module_of(group, inner);
        let attending = Attending::new(text, read);
        let place = (module.as_str(), number);
        self.encoder.layer.forward(place, parameters, x, &attending, Scores::default(), pass)
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = Base { site: site_behind(self.depth()), ..self.encoder.head_base(outputs) };
        let pooled = |class| FirstToken {
            class,
            pooler: "albert.pooler",
            activation: Activation::Tanh,
            dropout_before: 0.0,
            dropout: self.classifier_dropout,
            last: "classifier",
            output_names: &["classifier.weight", "classifier.bias"],
            base,
        };
        Some(match kind {
            HeadKind::Sequence => Box::new(pooled("AlbertForSequenceClassification")),
            HeadKind::Choice => Box::new(pooled("AlbertForMultipleChoice")),
            HeadKind::Token => Box::new(PerToken::tags(
                "AlbertForTokenClassification",
                self.classifier_dropout,
                base,
            )),
            HeadKind::Span => Box::new(PerToken::spans("AlbertForQuestionAnswering", 0.0, base)),
            HeadKind::MaskedToken => {
                let (weight, bias, copies): (_, _, &[_]) = match self.tied {
                    true => (
                        WORDS,
                        "predictions.bias",
                        &["predictions.decoder.weight", "predictions.decoder.bias"],
                    ),
                    false => (
                        "predictions.decoder.weight",
                        "predictions.decoder.bias",
                        &["predictions.bias"],
                    ),
                };
                Box::new(Vocabulary {
                    class: "AlbertForMaskedLM",
                    transform: "predictions.dense",
                    norm: "predictions.LayerNorm",
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
