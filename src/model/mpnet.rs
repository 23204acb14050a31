//! MPNet: BERT with a learned bias for every distance, shared by all layers. Source: Song, Tan, Qin, Lu,
//! Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding" (2020); names of parameters
//! as in transformers' `MPNetForSequenceClassification`.

use candle_core::Tensor;

use super::blocks::{
    Attending, BERT_DEFAULTS, Defaults, Encoder, Modules, Names, Scores, TextEncoder, check_size,
    encoder,
};
use super::heads::{FirstToken, PerToken, Vocabulary, table};
use super::{
    Adaptable, Architecture, Backbone, Config, Declaration, HeadKind, ModelError, OutputHead, Pass,
    Read, Result, TextInput,
};
use crate::nn::{Activation, Distances, Parameters, Relative};

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "mpnet"
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
            "max_position_embeddings",
            "initializer_range",
            "layer_norm_eps",
            "relative_attention_num_buckets",
            "tie_word_embeddings",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable {
            low_rank: &["attn.q", "attn.v"],
            scaled_outputs: &["attn.k", "attn.v"],
            scaled_inputs: &["output.dense"],
        }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Mpnet::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct Mpnet {
    encoder: Encoder,
    /// Rows of the table of biases.
    buckets: usize,
    tied: bool,
}

const WORDS: &str = "mpnet.embeddings.word_embeddings.weight";
const BIASES: &str = "mpnet.encoder.relative_attention_bias.weight";
/// No field of the config says another.
const PADDING: u32 = 1;
/// As many buckets are used, however many rows the table has.
const BUCKETS: usize = 32;
/// From this distance on all are alike.
const FARTHEST: f32 = 128.0;

impl Mpnet {
    /// Fields that are absent have the values that transformers' `MPNetConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let buckets = config.size_or("relative_attention_num_buckets", Some(BUCKETS))?;
        if buckets < BUCKETS {
            return Err(ModelError::new(format!(
                "the config's `relative_attention_num_buckets` is {buckets}; the family uses {BUCKETS} buckets"
            )));
        }
        let mut encoder = encoder(
            config,
            &Defaults { vocabulary: 30_527, padding: PADDING, ..BERT_DEFAULTS },
            &Modules {
                embeddings: "mpnet.embeddings",
                words: WORDS,
                norm: "mpnet.embeddings.LayerNorm",
                layers: "mpnet.encoder.layer",
                names: Names {
                    query: "attention.attn.q",
                    key: "attention.attn.k",
                    value: "attention.attn.v",
                    attention_output: "attention.attn.o",
                    attention_norm: "attention.LayerNorm",
                    up: "intermediate.dense",
                    down: "output.dense",
                    output_norm: "output.LayerNorm",
                },
            },
        )?;
        encoder.embeddings.padding = Some(PADDING);
        encoder.embeddings.token_types = 0;
        encoder.count_positions_from(PADDING)?;
        check_size(&encoder)?;
        let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
        Ok(Self { encoder, buckets, tied })
    }
}

/// The bucket of a distance: one for each of the nearest, then wider and wider ones; half of them for
/// keys behind the query. Source: T5's, bidirectional.
fn bucket(distance: i64) -> u32 {
    let half = BUCKETS as u32 / 2;
    let exact = half / 2;
    let side = if distance > 0 { half } else { 0 };
    let far = distance.unsigned_abs();
    if far < u64::from(exact) {
        return side + far as u32;
    }
    // In the 32 bits of the reference, whose logarithms decide at the borders.
    let octaves = (far as f32 / exact as f32).ln() / (FARTHEST / exact as f32).ln();
    let wide = exact + (octaves * (half - exact) as f32) as u32;
    side + wide.min(half - 1)
}

impl TextEncoder for Mpnet {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "mpnet"
    }

    fn other_declarations(&self) -> Vec<Declaration> {
        let layer = &self.encoder.layer;
        vec![table(BIASES.to_string(), [self.buckets, layer.heads], layer.deviation)]
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
        let rows = Distances::new(text.offsets.longest(), bucket);
        let relative = Relative::Bias { table: parameters.get(BIASES)?, rows };
        let module = self.encoder.module_of(number);
        let attending = Attending::new(text, read);
        let scores = Scores { relative, ..Scores::default() };
        self.encoder.layer.forward((&module, number), parameters, x, &attending, scores, pass)
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        let dropout = self.encoder.layer.dropout;
        Some(match kind {
            HeadKind::Sequence => Box::new(FirstToken {
                class: "MPNetForSequenceClassification",
                pooler: "classifier.dense",
                activation: Activation::Tanh,
                dropout_before: dropout,
                dropout,
                last: "classifier.out_proj",
                output_names: &["classifier.out_proj.weight", "classifier.out_proj.bias"],
                base,
            }),
            HeadKind::Choice => Box::new(FirstToken {
                class: "MPNetForMultipleChoice",
                pooler: "mpnet.pooler.dense",
                activation: Activation::Tanh,
                dropout_before: 0.0,
                dropout,
                last: "classifier",
                output_names: &["classifier.weight", "classifier.bias"],
                base,
            }),
            HeadKind::Token => {
                Box::new(PerToken::tags("MPNetForTokenClassification", dropout, base))
            }
            HeadKind::Span => Box::new(PerToken::spans("MPNetForQuestionAnswering", 0.0, base)),
            HeadKind::MaskedToken => {
                let (weight, bias, copies): (_, _, &[_]) = match self.tied {
                    true => {
                        (WORDS, "lm_head.bias", &["lm_head.decoder.weight", "lm_head.decoder.bias"])
                    }
                    false => ("lm_head.decoder.weight", "lm_head.decoder.bias", &["lm_head.bias"]),
                };
                Box::new(Vocabulary {
                    class: "MPNetForMaskedLM",
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What transformers' `relative_position_bucket` gives, on both sides of the borders.
    #[test]
    fn buckets_are_those_of_the_reference() {
        for (distance, wanted) in [
            (-600, 15),
            (-128, 15),
            (-90, 14),
            (-33, 12),
            (-16, 10),
            (-9, 8),
            (-8, 8),
            (-7, 7),
            (0, 0),
            (1, 17),
            (7, 23),
            (8, 24),
            (9, 24),
            (16, 26),
            (33, 28),
            (90, 30),
            (127, 31),
            (600, 31),
        ] {
            assert_eq!(bucket(distance), wanted, "{distance}");
        }
    }
}
