//! BERT. Source: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional
//! Transformers for Language Understanding" (2018); names of parameters as in transformers'
//! `BertForSequenceClassification`. Losses and labels are in `task`.

use candle_core::Tensor;

use super::heads::{PerToken, Vocabulary};
use super::pass::{Drop, Pass, Places};
use super::{
    Architecture, Backbone, Compute, Config, Declaration, HeadKind, Init, Input, Kind, Memory,
    ModelError, OutputHead, Read, Result, TextInput,
};
use crate::nn::{Activation, AttentionMask, Offsets, Parameters, Precision, Weight};

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
            "position_embedding_type",
            "is_decoder",
            "add_cross_attention",
            "tie_word_embeddings",
        ]
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Bert::new(config)?))
    }
}

/// The config's values, checked.
#[derive(Debug, Clone)]
struct Bert {
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    positions: usize,
    token_types: usize,
    activation: Activation,
    hidden_dropout: f64,
    attention_dropout: f64,
    classifier_dropout: f64,
    initializer_range: f64,
    layer_norm_eps: f64,
    /// Whether masked tokens are scored with the table of embeddings.
    tied: bool,
}

/// Places of dropout, part of every result: 0 for the embeddings, then three in each layer, then
/// the classifier.
const EMBEDDINGS_SITE: u32 = 0;
const ATTENTION_SITE: u32 = 1;
const ATTENTION_OUTPUT_SITE: u32 = 2;
const OUTPUT_SITE: u32 = 3;
const SITES_PER_LAYER: u32 = 3;

impl Bert {
    /// Fields that are absent have the values that transformers' `BertConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let hidden = config.size_or("hidden_size", Some(768))?;
        let heads = config.size_or("num_attention_heads", Some(12))?;
        if !hidden.is_multiple_of(heads) {
            return Err(ModelError::new(format!(
                "the config's `hidden_size` {hidden} is not a multiple of its `num_attention_heads` {heads}"
            )));
        }
        let positions = config.text("position_embedding_type")?.unwrap_or("absolute");
        if positions != "absolute" {
            return Err(ModelError::new(format!(
                "the config's `position_embedding_type` is `{positions}`; known here is `absolute`"
            )));
        }
        for decoder in ["is_decoder", "add_cross_attention"] {
            if config.flag(decoder)?.unwrap_or(false) {
                return Err(ModelError::new(format!(
                    "the config sets `{decoder}`; a BERT is known here as an encoder alone"
                )));
            }
        }
        let activation = config.text("hidden_act")?.unwrap_or("gelu");
        let hidden_dropout = config.dropout_or("hidden_dropout_prob", 0.1)?;
        let bert = Self {
            vocabulary: config.size_or("vocab_size", Some(30_522))?,
            hidden,
            layers: config.size_or("num_hidden_layers", Some(12))?,
            heads,
            intermediate: config.size_or("intermediate_size", Some(3072))?,
            positions: config.size_or("max_position_embeddings", Some(512))?,
            token_types: config.size_or("type_vocab_size", Some(2))?,
            activation: Activation::parse(activation).ok_or_else(|| {
                ModelError::new(format!(
                    "the config's `hidden_act` is `{activation}`, which is not known here"
                ))
                .help("known are `gelu`, `gelu_new`, `relu`, `silu` and `tanh`")
            })?,
            hidden_dropout,
            attention_dropout: config.dropout_or("attention_probs_dropout_prob", 0.1)?,
            classifier_dropout: config.dropout_or("classifier_dropout", hidden_dropout)?,
            initializer_range: config.number_or("initializer_range", 0.02, 0.0, 100.0)?,
            layer_norm_eps: config.number_or("layer_norm_eps", 1e-12, 0.0, 1.0)?,
            tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        };
        bert.check_size()?;
        Ok(bert)
    }

    /// The place of the head's dropout.
    fn head_site(&self) -> u32 {
        SITES_PER_LAYER * self.layers as u32 + 1
    }

    /// A config that asks for more than a machine can hold is damaged.
    fn check_size(&self) -> Result<()> {
        const MOST: u128 = 1 << 37;
        let wide = |size: usize| size as u128;
        let embeddings = wide(self.vocabulary) + wide(self.positions) + wide(self.token_types);
        let layer = 4 * wide(self.hidden) + 2 * wide(self.intermediate);
        let elements = wide(self.hidden) * (embeddings + wide(self.layers) * layer);
        if elements > MOST {
            return Err(ModelError::new(format!("the config asks for {elements} parameters")));
        }
        Ok(())
    }

    fn weight(&self, name: String, shape: Vec<usize>, kind: Kind, depth: usize) -> Declaration {
        Declaration { name, shape, init: Init::Normal(self.initializer_range), kind, depth }
    }

    fn linear(
        &self,
        out: &mut Vec<Declaration>,
        module: &str,
        to: usize,
        from: usize,
        depth: usize,
    ) {
        out.push(self.weight(format!("{module}.weight"), vec![to, from], Kind::Weight, depth));
        let bias = format!("{module}.bias");
        out.push(Declaration {
            name: bias,
            shape: vec![to],
            init: Init::Zeros,
            kind: Kind::Bias,
            depth,
        });
    }

    fn norm(&self, out: &mut Vec<Declaration>, module: &str, depth: usize) {
        for (part, init) in [("weight", Init::Ones), ("bias", Init::Zeros)] {
            let name = format!("{module}.{part}");
            out.push(Declaration { name, shape: vec![self.hidden], init, kind: Kind::Norm, depth });
        }
    }
}

impl Backbone for Bert {
    fn prefix(&self) -> &'static str {
        "bert"
    }

    fn declarations(&self) -> Vec<Declaration> {
        let mut all = Vec::new();
        let hidden = self.hidden;
        for (table, rows) in [
            ("word_embeddings", self.vocabulary),
            ("position_embeddings", self.positions),
            ("token_type_embeddings", self.token_types),
        ] {
            let name = format!("bert.embeddings.{table}.weight");
            all.push(self.weight(name, vec![rows, hidden], Kind::Embedding, 0));
        }
        self.norm(&mut all, "bert.embeddings.LayerNorm", 0);
        for layer in 0..self.layers {
            let depth = layer + 1;
            let module = |rest: &str| format!("bert.encoder.layer.{layer}.{rest}");
            for part in ["query", "key", "value"] {
                self.linear(
                    &mut all,
                    &module(&format!("attention.self.{part}")),
                    hidden,
                    hidden,
                    depth,
                );
            }
            self.linear(&mut all, &module("attention.output.dense"), hidden, hidden, depth);
            self.norm(&mut all, &module("attention.output.LayerNorm"), depth);
            self.linear(&mut all, &module("intermediate.dense"), self.intermediate, hidden, depth);
            self.linear(&mut all, &module("output.dense"), hidden, self.intermediate, depth);
            self.norm(&mut all, &module("output.LayerNorm"), depth);
        }
        all
    }

    fn buffers(&self) -> &'static [&'static str] {
        &["embeddings.position_ids", "embeddings.token_type_ids"]
    }

    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn max_length(&self) -> Option<usize> {
        Some(self.positions)
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(self.vocabulary)
    }

    fn layers(&self) -> usize {
        self.layers
    }

    fn rows_read<'a>(&self, input: &'a Input) -> Vec<(&'static str, &'a [u32])> {
        let Input::Text(text) = input;
        vec![("bert.embeddings.word_embeddings.weight", &text.input_ids)]
    }

    fn forward(
        &self,
        parameters: &Parameters,
        input: &Input,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let mut hidden_states = self.embed(parameters, text, pass)?;
        for layer in 0..self.layers {
            let last = layer + 1 == self.layers;
            let read = if last { read } else { Read::All };
            hidden_states = if pass.checkpoints() {
                let (bert, parameters, text) = (self.clone(), parameters.clone(), text.clone());
                pass.checkpoint(&hidden_states, move |pass, x| {
                    bert.layer(&parameters, layer, x, &text, read, pass)
                })?
            } else {
                self.layer(parameters, layer, &hidden_states, text, read, pass)?
            };
        }
        Ok(hidden_states)
    }

    fn pass_bytes(&self, tokens: usize, compute: &Compute) -> Option<u64> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        // f32 elements that a layer keeps for each token. Exactly: its input, queries, keys and
        // values, the context, what the two norms read, the first norm's output, and the inner values
        // before and after the activation. In bf16 the factors of products take half, and the two
        // inputs of linear layers that norms read too are there in both forms.
        let layer = match compute.precision {
            Precision::F32 => 8 * hidden + 2 * inner,
            Precision::Bf16 => 8 * hidden + hidden / 2 + inner,
        } + 2 * self.heads;
        // The gradients that flow, and those of the inner values with what they are products of.
        let backward = 5 * hidden + 3 * inner;
        let kept = match compute.memory {
            Memory::Normal => self.layers * layer,
            Memory::Low => layer + self.layers * hidden,
        };
        Some(4 * (tokens * (kept + backward)) as u64)
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let per_token = |class, module, output_names, dropout| PerToken {
            class,
            module,
            output_names,
            outputs,
            hidden: self.hidden,
            dropout,
            site: self.head_site(),
            deviation: self.initializer_range,
            depth: self.layers + 1,
        };
        let pooled = |class| Classifier { bert: self.clone(), class, outputs };
        Some(match kind {
            HeadKind::Sequence => Box::new(pooled("BertForSequenceClassification")),
            HeadKind::Choice => Box::new(pooled("BertForMultipleChoice")),
            HeadKind::Token => Box::new(per_token(
                "BertForTokenClassification",
                "classifier",
                CLASSIFIER,
                self.classifier_dropout,
            )),
            HeadKind::Span => Box::new(per_token(
                "BertForQuestionAnswering",
                "qa_outputs",
                &["qa_outputs.weight", "qa_outputs.bias"],
                0.0,
            )),
            HeadKind::MaskedToken => Box::new(Vocabulary {
                class: "BertForMaskedLM",
                transform: "cls.predictions.transform.dense",
                activation: self.activation,
                norm: "cls.predictions.transform.LayerNorm",
                eps: self.layer_norm_eps,
                weight: match self.tied {
                    true => "bert.embeddings.word_embeddings.weight",
                    false => "cls.predictions.decoder.weight",
                },
                tied: self.tied,
                bias: "cls.predictions.bias",
                copies: match self.tied {
                    true => &["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"],
                    false => &["cls.predictions.decoder.bias"],
                },
                hidden: self.hidden,
                width: self.hidden,
                vocabulary: self.vocabulary,
                deviation: self.initializer_range,
                depth: self.layers + 1,
            }),
            HeadKind::Embedding(_) => return None,
        })
    }
}

impl Bert {
    /// `[tokens, hidden]`
    fn embed(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let longest = text.offsets.longest();
        if longest > self.positions {
            return Err(ModelError::new(format!(
                "a row of {longest} tokens is longer than the model's {} positions",
                self.positions
            ))
            .help(format!("`max_length = {}` in `tokenize` cuts it", self.positions)));
        }
        let table = |name: &str| parameters.get(&format!("bert.embeddings.{name}.weight"));
        let positions: Vec<u32> =
            text.offsets.ranges().flat_map(|range| 0..range.len() as u32).collect();
        let no_types;
        let types: &[u32] = match &text.token_type_ids {
            Some(types) => types,
            None => {
                no_types = vec![0; text.input_ids.len()];
                &no_types
            }
        };
        let sum = pass.embedding(&[
            (&table("word_embeddings")?, &text.input_ids),
            (&table("token_type_embeddings")?, types),
            (&table("position_embeddings")?, &positions),
        ])?;
        let sum = pass.noise(&sum, text)?;
        let (weight, bias) = weight_and_bias(parameters, "bert.embeddings.LayerNorm")?;
        let normed = pass.layer_norm(&sum, &weight, &bias, self.layer_norm_eps)?;
        let dropping =
            Drop { p: self.hidden_dropout, site: EMBEDDINGS_SITE, places: Places::All(text) };
        pass.dropout(&normed, &dropping)
    }

    /// One encoder layer; `read` says which rows are needed of its outputs.
    fn layer(
        &self,
        parameters: &Parameters,
        layer: usize,
        hidden_states: &Tensor,
        text: &TextInput,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let module = |rest: &str| format!("bert.encoder.layer.{layer}.{rest}");
        let own = |rest: &str| parameters.linear(&module(rest));
        let site = SITES_PER_LAYER * layer as u32;
        let [wq, wk, wv] = [
            &own("attention.self.query")?,
            &own("attention.self.key")?,
            &own("attention.self.value")?,
        ];
        let all = Places::All(text);
        let (queries_from, places, query_offsets) = match read {
            Read::All | Read::Selected => (hidden_states.clone(), all, text.offsets.clone()),
            Read::First => (
                pass.take_rows(hidden_states, &text.offsets.starts())?,
                Places::First(text),
                Offsets::ones(text.offsets.sequences()),
            ),
        };
        let (keys_from, key_offsets) = match &text.attended {
            None => (hidden_states.clone(), &text.offsets),
            Some(seen) => (pass.take_rows(hidden_states, &seen.tokens)?, &seen.offsets),
        };
        let [query, key, value] = match (read, &text.attended) {
            (Read::All | Read::Selected, None) => pass.linears(hidden_states, [wq, wk, wv], all)?,
            _ => {
                let query = pass.linear(&queries_from, wq, places)?;
                let [key, value] = pass.linears(&keys_from, [wk, wv], all)?;
                [query, key, value]
            }
        };
        let attended = pass.attention(
            [&query, &key, &value],
            self.heads,
            [&query_offsets, key_offsets],
            AttentionMask::Full,
            &Drop { p: self.attention_dropout, site: site + ATTENTION_SITE, places },
        )?;
        let (attended, queries_from, places) = match read {
            Read::Selected => {
                let tokens = &text.selected()?.tokens;
                let take = |x: &Tensor| pass.take_rows(x, tokens);
                (take(&attended)?, take(&queries_from)?, Places::Selected(text))
            }
            Read::All | Read::First => (attended, queries_from, places),
        };
        let add_norm = |x: &Tensor, residual: &Tensor, site: u32, rest: &str| {
            let dropping = Drop { p: self.hidden_dropout, site, places };
            let (weight, bias) = weight_and_bias(parameters, &module(rest))?;
            let norm = (&weight, &bias);
            pass.dropout_add_layer_norm(x, residual, &dropping, norm, self.layer_norm_eps)
        };
        let attended = pass.linear(&attended, &own("attention.output.dense")?, places)?;
        let attended = add_norm(
            &attended,
            &queries_from,
            site + ATTENTION_OUTPUT_SITE,
            "attention.output.LayerNorm",
        )?;
        let (up, down) = (own("intermediate.dense")?, own("output.dense")?);
        let output = pass.feed_forward(&attended, &up, self.activation, &down, places)?;
        add_norm(&output, &attended, site + OUTPUT_SITE, "output.LayerNorm")
    }
}

/// Weight and bias of a module.
fn weight_and_bias(parameters: &Parameters, module: &str) -> Result<(Weight, Weight)> {
    let weight = parameters.get(&format!("{module}.weight"))?;
    Ok((weight, parameters.get(&format!("{module}.bias"))?))
}

/// Pooler (dense, tanh) on the first token, dropout, linear.
struct Classifier {
    bert: Bert,
    class: &'static str,
    outputs: usize,
}

const CLASSIFIER: &[&str] = &["classifier.weight", "classifier.bias"];

impl OutputHead for Classifier {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        let mut all = Vec::new();
        let depth = self.bert.layers + 1;
        self.bert.linear(&mut all, "bert.pooler.dense", self.bert.hidden, self.bert.hidden, depth);
        self.bert.linear(&mut all, "classifier", self.outputs, self.bert.hidden, depth);
        all
    }

    fn output_names(&self) -> &'static [&'static str] {
        CLASSIFIER
    }

    fn read(&self) -> Read {
        Read::First
    }

    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let places = Places::First(text);
        let pooled = parameters.linear("bert.pooler.dense")?;
        let pooled = pass.linear(hidden_states, &pooled, places)?;
        let pooled = pass.activation(&pooled, Activation::Tanh)?;
        let p = self.bert.classifier_dropout;
        let pooled = pass.dropout(&pooled, &Drop { p, site: self.bert.head_site(), places })?;
        pass.linear(&pooled, &parameters.linear("classifier")?, places)
    }
}
