//! DeBERTa-v2 and v3: attention to contents and to distances, with vectors for both. Source: He, Liu, Gao,
//! Chen, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention" (2020); names of parameters as in
//! transformers' `DebertaV2ForSequenceClassification`.

use candle_core::Tensor;

use super::blocks::{
    Attending, BERT_DEFAULTS, BERT_NAMES, Defaults, Encoder, Modules, Names, PostNorm, Scores,
    TextEncoder, activation, check_size, encoder, whole,
};
use super::heads::{FirstToken, PerToken, Vocabulary, dense, norm, table, weight};
use super::pass::{Drop, Places};
use super::{
    Adaptable, Architecture, Backbone, Config, Declaration, HeadKind, ModelError, OutputHead, Pass,
    Read, Result, TextInput,
};
use crate::nn::ops::embedding::Lookup;
use crate::nn::{Activation, Distances, Parameters, Relative};

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "deberta-v2"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
            "embedding_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "attention_head_size",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "max_position_embeddings",
            "type_vocab_size",
            "initializer_range",
            "layer_norm_eps",
            "pad_token_id",
            "relative_attention",
            "max_relative_positions",
            "position_buckets",
            "pos_att_type",
            "share_att_key",
            "norm_rel_ebd",
            "position_biased_input",
            "conv_kernel_size",
            "conv_groups",
            "conv_act",
            "pooler_hidden_size",
            "pooler_hidden_act",
            "pooler_dropout",
            "cls_dropout",
            "legacy",
            "tie_word_embeddings",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable {
            low_rank: &["query_proj", "value_proj"],
            scaled_outputs: &["key_proj", "value_proj"],
            scaled_inputs: &["output.dense"],
        }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Deberta::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct Deberta {
    encoder: Encoder,
    /// None: contents alone.
    distances: Option<ByDistance>,
    /// Whether vectors of distances have a norm; it is there without them too.
    distances_normed: bool,
    /// How many kinds of products the config counts in the scale of scores.
    products: usize,
    convolution: Option<Convolution>,
    pooler: Pooler,
    /// Whether masked tokens are scored as the first checkpoints did.
    legacy: bool,
    tied: bool,
}

/// The vectors of distances.
#[derive(Debug, Clone, Copy)]
struct ByDistance {
    /// Rows of their table for either direction.
    span: i64,
    /// Distances up to half of these have a row each, farther ones share theirs; 0: each has its own.
    buckets: i64,
    farthest: i64,
    /// Whether queries meet vectors of distances, and whether keys do.
    content_to_position: bool,
    position_to_content: bool,
    /// Whether vectors go through the layers that contents go through.
    shared: bool,
}

/// A convolution beside the first layer.
#[derive(Debug, Clone, Copy)]
struct Convolution {
    kernel: usize,
    groups: usize,
    activation: Activation,
}

#[derive(Debug, Clone, Copy)]
struct Pooler {
    activation: Activation,
    dropout_before: f64,
    dropout: f64,
}

const WORDS: &str = "deberta.embeddings.word_embeddings.weight";
const DISTANCES: &str = "deberta.encoder.rel_embeddings.weight";
const DISTANCES_NORM: &str = "deberta.encoder.LayerNorm";
const PROJECTION: &str = "deberta.embeddings.embed_proj";
const CONVOLUTION: &str = "deberta.encoder.conv";

impl Deberta {
    /// Fields that are absent have the values that transformers' `DebertaV2Config` gives them.
    fn new(config: &Config) -> Result<Self> {
        let mut encoder = encoder(
            config,
            &Defaults {
                vocabulary: 128_100,
                hidden: 1536,
                layers: 24,
                heads: 24,
                inner: 6144,
                eps: 1e-7,
                token_types: 0,
                ..BERT_DEFAULTS
            },
            &Modules {
                embeddings: "deberta.embeddings",
                words: WORDS,
                norm: "deberta.embeddings.LayerNorm",
                layers: "deberta.encoder.layer",
                names: Names {
                    query: "attention.self.query_proj",
                    key: "attention.self.key_proj",
                    value: "attention.self.value_proj",
                    ..BERT_NAMES
                },
            },
        )?;
        let (hidden, heads) = (encoder.layer.hidden, encoder.layer.heads);
        for (field, known) in
            [("attention_head_size", hidden / heads), ("pooler_hidden_size", hidden)]
        {
            let found = config.size_or(field, Some(known))?;
            if found != known {
                return Err(ModelError::new(format!(
                    "the config's `{field}` is {found}; known here is {known} alone, which its `hidden_size` and heads give"
                )));
            }
        }
        encoder.embeddings.width = config.size_or("embedding_size", Some(hidden))?;
        let count = encoder.embeddings.positions.map_or(0, |positions| positions.count);
        if !config.flag("position_biased_input")?.unwrap_or(true) {
            encoder.embeddings.positions = None;
        }
        check_size(&encoder)?;
        let [content_to_position, position_to_content] = kinds(config)?;
        let distances = match config.flag("relative_attention")?.unwrap_or(false) {
            true => {
                Some(ByDistance::new(config, count, [content_to_position, position_to_content])?)
            }
            false => None,
        };
        let norms = config.text("norm_rel_ebd")?.unwrap_or("none").to_lowercase();
        Ok(Self {
            distances,
            distances_normed: norms.split('|').any(|part| part.trim() == "layer_norm"),
            products: 1 + usize::from(content_to_position) + usize::from(position_to_content),
            convolution: Convolution::new(config, hidden)?,
            pooler: Pooler {
                activation: activation(config, "pooler_hidden_act", "gelu")?,
                dropout_before: config.dropout_or("pooler_dropout", 0.0)?,
                dropout: config.dropout_or("cls_dropout", encoder.embeddings.dropout)?,
            },
            legacy: config.flag("legacy")?.unwrap_or(true),
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
            encoder,
        })
    }
}

/// Whether the config's `pos_att_type`, a list or `c2p|p2c`, names `c2p`, and whether `p2c`.
fn kinds(config: &Config) -> Result<[bool; 2]> {
    let wrong = |found: &str| {
        ModelError::new(format!(
            "the config's `pos_att_type` holds {found}; known here are `c2p` and `p2c`"
        ))
    };
    let mut found = [false; 2];
    let mut note = |name: &str| {
        match name.trim().to_lowercase().as_str() {
            "c2p" => found[0] = true,
            "p2c" => found[1] = true,
            "" => {}
            other => return Err(wrong(&format!("`{other}`"))),
        }
        Ok(())
    };
    match config.get("pos_att_type") {
        None => {}
        Some(serde_json::Value::String(names)) => names.split('|').try_for_each(&mut note)?,
        Some(serde_json::Value::Array(names)) => {
            for name in names {
                note(name.as_str().ok_or_else(|| wrong(&name.to_string()))?)?;
            }
        }
        Some(other) => return Err(wrong(&other.to_string())),
    }
    Ok(found)
}

impl ByDistance {
    fn new(config: &Config, positions: usize, kinds: [bool; 2]) -> Result<Self> {
        let farthest = match whole(config, "max_relative_positions", -1)? {
            given if given > 0 => given,
            _ => positions as i64,
        };
        let buckets = whole(config, "position_buckets", -1)?.max(0);
        if buckets == 1 {
            return Err(ModelError::new("the config's `position_buckets` is 1, which has no half"));
        }
        Ok(Self {
            span: if buckets > 0 { buckets } else { farthest },
            buckets,
            farthest,
            content_to_position: kinds[0],
            position_to_content: kinds[1],
            shared: config.flag("share_att_key")?.unwrap_or(false),
        })
    }

    /// The row of a distance from a query to a key, in a table of 2 · span rows.
    fn row(&self, distance: i64) -> i64 {
        let ahead = -distance;
        let bucket = if self.buckets > 0 { self.bucket(ahead) } else { ahead };
        (bucket + self.span).clamp(0, 2 * self.span - 1)
    }

    /// The nearest distances are their own buckets, the others' are logarithmic. In the 32 bits of the
    /// reference, whose logarithms decide at the borders.
    fn bucket(&self, ahead: i64) -> i64 {
        let middle = self.buckets / 2;
        if ahead.abs() <= middle {
            return ahead;
        }
        let octaves = (ahead.abs() as f32 / middle as f32).ln()
            / (((self.farthest - 1) as f64 / middle as f64) as f32).ln();
        let far = (octaves * (middle - 1) as f32).ceil() as i64 + middle;
        far * ahead.signum()
    }

    /// The layers that make keys, and those that make queries, of vectors of distances.
    fn modules(&self) -> [Option<&'static str>; 2] {
        let (key, query) = match self.shared {
            true => ("attention.self.key_proj", "attention.self.query_proj"),
            false => ("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
        };
        [self.content_to_position.then_some(key), self.position_to_content.then_some(query)]
    }
}

impl Convolution {
    fn new(config: &Config, hidden: usize) -> Result<Option<Self>> {
        let kernel = whole(config, "conv_kernel_size", 0)?;
        if kernel <= 0 {
            return Ok(None);
        }
        if kernel % 2 == 0 {
            return Err(ModelError::new(format!(
                "the config's `conv_kernel_size` is {kernel}; known here are odd numbers"
            )));
        }
        let groups = config.size_or("conv_groups", Some(1))?;
        if !hidden.is_multiple_of(groups) {
            return Err(ModelError::new(format!(
                "the config's `hidden_size` {hidden} is not a multiple of its `conv_groups` {groups}"
            )));
        }
        let activation = activation(config, "conv_act", "tanh")?;
        Ok(Some(Self { kernel: kernel as usize, groups, activation }))
    }
}

impl Deberta {
    fn relative(
        &self,
        number: usize,
        parameters: &Parameters,
        text: &TextInput,
        pass: &Pass,
    ) -> Result<Relative> {
        let Some(by) = self.distances else { return Ok(Relative::Nothing) };
        let modules = by.modules();
        if modules == [None, None] {
            return Ok(Relative::Nothing);
        }
        // The rows go down as distances go up; only those that occur are computed.
        let longest = text.offsets.longest();
        let reach = longest as i64 - 1;
        let (first, last) = (by.row(reach), by.row(-reach));
        let ids: Vec<u32> = (first..=last).map(|row| row as u32).collect();
        let vectors = parameters.get(DISTANCES)?;
        let mut vectors = pass.embedding(&[Lookup::new(&vectors, &ids)])?;
        if self.distances_normed {
            let norm = parameters.norm(DISTANCES_NORM, self.encoder.layer.eps)?;
            vectors = pass.layer_norm(&vectors, &norm)?;
        }
        // Behind those of the head, which has three at most.
        let site = self.encoder.head_site() + 8 + number as u32;
        let places = Places::Table(&ids);
        let vectors =
            pass.dropout(&vectors, &Drop { p: self.encoder.layer.dropout, site, places })?;
        let module = self.encoder.module_of(number);
        let through = |name: Option<&str>| {
            let layer = name.map(|name| parameters.linear(&format!("{module}.{name}")));
            layer.map(|layer| pass.linear(&vectors, &layer?, places)).transpose()
        };
        let [keys, queries] = modules.map(through);
        let rows = Distances::new(longest, |distance| (by.row(distance) - first) as u32);
        Ok(Relative::Disentangled { keys: keys?, queries: queries?, rows })
    }

    /// Rows that only fill up are zero: the family multiplies with its mask.
    fn without_padding(&self, x: Tensor, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let Some(attended) = &text.attended else { return Ok(x) };
        let padding: Vec<u32> =
            (0..x.dim(0)? as u32).filter(|token| !attended.tokens.contains(token)).collect();
        pass.zero_rows(&x, &padding)
    }

    /// LN(output + activation(dropout(convolution of x))).
    fn convolved(
        &self,
        convolution: &Convolution,
        parameters: &Parameters,
        [x, output]: [&Tensor; 2],
        text: &TextInput,
        pass: &Pass,
    ) -> Result<Tensor> {
        let layer = parameters.linear(&format!("{CONVOLUTION}.conv"))?;
        let y = pass.convolution(x, &layer, &text.offsets, convolution.groups)?;
        let y = self.without_padding(y, text, pass)?;
        let site = self.encoder.head_site() + 7;
        let dropping = Drop { p: self.encoder.layer.dropout, site, places: Places::All(text) };
        let y = pass.activation(&pass.dropout(&y, &dropping)?, convolution.activation)?;
        let norm = parameters.norm(&format!("{CONVOLUTION}.LayerNorm"), self.encoder.layer.eps)?;
        let nothing = Drop { p: 0.0, ..dropping };
        let y = pass.dropout_add_layer_norm(&y, output, &nothing, &norm)?;
        self.without_padding(y, text, pass)
    }
}

impl TextEncoder for Deberta {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn prefix(&self) -> &'static str {
        "deberta"
    }

    fn other_declarations(&self) -> Vec<Declaration> {
        let PostNorm { hidden, deviation, .. } = self.encoder.layer;
        let width = self.encoder.embeddings.width;
        let mut all = Vec::new();
        if width != hidden {
            all.push(weight(PROJECTION, [hidden, width], deviation, 0));
        }
        if let Some(by) = self.distances {
            let rows = 2 * by.span as usize;
            all.push(table(DISTANCES.to_string(), [rows, hidden], deviation));
        }
        if self.distances_normed {
            all.extend(norm(DISTANCES_NORM, hidden, true, 0));
        }
        if let Some(Convolution { kernel, groups, .. }) = self.convolution {
            let [mut weight, bias] =
                dense(&format!("{CONVOLUTION}.conv"), [hidden, hidden], deviation, 1);
            weight.shape = vec![hidden, hidden / groups, kernel];
            all.extend([weight, bias]);
            all.extend(norm(&format!("{CONVOLUTION}.LayerNorm"), hidden, true, 1));
        }
        all
    }

    fn layer_declarations(&self) -> Vec<Declaration> {
        let PostNorm { hidden, deviation, .. } = self.encoder.layer;
        let own = self.distances.filter(|by| !by.shared).map(|by| by.modules());
        let mut all = Vec::new();
        for number in 0..self.encoder.layers {
            let (module, depth) = (self.encoder.module_of(number), number + 1);
            all.extend(self.encoder.layer.declarations(&module, depth));
            for name in own.into_iter().flatten().flatten() {
                let name = format!("{module}.{name}");
                all.extend(dense(&name, [hidden, hidden], deviation, depth));
            }
        }
        all
    }

    fn enter(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let embeddings = &self.encoder.embeddings;
        let mut x = embeddings.sum(parameters, text, pass)?;
        if embeddings.width != embeddings.normed {
            x = pass.linear(&x, &parameters.linear(PROJECTION)?, Places::All(text))?;
        }
        let x = pass.layer_norm(&x, &parameters.norm(embeddings.norm, embeddings.eps)?)?;
        let x = self.without_padding(x, text, pass)?;
        embeddings.drop(&x, text, pass)
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
        let layer = &self.encoder.layer;
        let scores = Scores {
            scale: Some(1.0 / ((layer.hidden / layer.heads * self.products) as f64).sqrt()),
            relative: self.relative(number, parameters, text, pass)?,
            padding_asks: false,
        };
        let module = self.encoder.module_of(number);
        let place = (module.as_str(), number);
        let convolution = self.convolution.filter(|_| number == 0);
        // The convolution reads and writes every row.
        let computed = if convolution.is_some() { Read::All } else { read };
        let attending = Attending::new(text, computed);
        let output = layer.forward(place, parameters, x, &attending, scores, pass)?;
        let Some(convolution) = convolution else { return Ok(output) };
        let output = self.convolved(&convolution, parameters, [x, &output], text, pass)?;
        match read {
            Read::All => Ok(output),
            Read::First => pass.take_rows(&output, &text.offsets.starts()),
            Read::Selected => pass.take_rows(&output, &text.selected()?.tokens),
        }
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let base = self.encoder.head_base(outputs);
        let pooled = |class| FirstToken {
            class,
            pooler: "pooler.dense",
            activation: self.pooler.activation,
            dropout_before: self.pooler.dropout_before,
            dropout: self.pooler.dropout,
            last: "classifier",
            output_names: &["classifier.weight", "classifier.bias"],
            base,
        };
        Some(match kind {
            HeadKind::Sequence => Box::new(pooled("DebertaV2ForSequenceClassification")),
            HeadKind::Choice => Box::new(pooled("DebertaV2ForMultipleChoice")),
            HeadKind::Token => Box::new(PerToken::tags(
                "DebertaV2ForTokenClassification",
                self.encoder.layer.dropout,
                base,
            )),
            HeadKind::Span => Box::new(PerToken::spans("DebertaV2ForQuestionAnswering", 0.0, base)),
            HeadKind::MaskedToken if self.legacy => {
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
                    class: "DebertaV2ForMaskedLM",
                    transform: "cls.predictions.transform.dense",
                    norm: "cls.predictions.transform.LayerNorm",
                    weight,
                    bias: Some(bias),
                    copies,
                    ..self.encoder.vocabulary_head(self.tied)
                })
            }
            // The table of embeddings is read whatever the config says of ties.
            HeadKind::MaskedToken => Box::new(Vocabulary {
                class: "DebertaV2ForMaskedLM",
                transform: "lm_predictions.lm_head.dense",
                norm: "lm_predictions.lm_head.LayerNorm",
                weight: WORDS,
                bias: Some("lm_predictions.lm_head.bias"),
                copies: &[],
                ..self.encoder.vocabulary_head(true)
            }),
            HeadKind::Embedding(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What transformers' `make_log_bucket_position` gives, on both sides of the borders.
    #[test]
    fn buckets_are_those_of_the_reference() {
        let config = Config::parse(b"{}").unwrap();
        let by = |buckets, farthest| ByDistance {
            buckets,
            farthest,
            span: buckets,
            ..ByDistance::new(&config, 512, [true, true]).unwrap()
        };
        for (buckets, farthest, list) in [
            (
                256,
                512,
                &[(-511, -255), (-300, -207), (-129, -129), (0, 0), (130, 130), (200, 169)][..],
            ),
            (16, 40, &[(-39, -15), (-12, -10), (-9, -9), (8, 8), (10, 9), (20, 13), (39, 15)]),
        ] {
            for (ahead, wanted) in list {
                assert_eq!(by(buckets, farthest).bucket(*ahead), *wanted, "{buckets}: {ahead}");
            }
        }
        // A table has a row for each, the nearest key's in the middle.
        assert_eq!([40, 0, -40].map(|distance| by(16, 41).row(distance)), [1, 16, 31]);
    }
}
