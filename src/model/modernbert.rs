//! ModernBERT: norms before attention and feed-forward, rotary positions, gated units, and windows in
//! most layers. Source: Warner et al., "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder"
//! (2024); names of parameters as in transformers' `ModernBertForSequenceClassification`.

use candle_core::Tensor;
use serde_json::Value;

use super::blocks::{
    Attending, Embeddings, SITES_PER_LAYER, Sizes, activation, check_heads, padding, positions,
    site_behind, through, whole,
};
use super::heads::{Base, Vocabulary, dense, norm, weight};
use super::pass::{Attend, Drop, Places};
use super::{
    Adaptable, Architecture, Backbone, Compute, Config, Declaration, HeadKind, Input, ModelError,
    OutputHead, Pass, Read, Result, TextInput,
};
use crate::nn::{Activation, AttentionMask, Parameters, Relative, Rotation};

/// The family's entry in the table.
pub struct Family;

impl Architecture for Family {
    fn model_type(&self) -> &'static str {
        "modernbert"
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_activation",
            "max_position_embeddings",
            "initializer_range",
            "norm_eps",
            "norm_bias",
            "pad_token_id",
            "attention_bias",
            "attention_dropout",
            "layer_types",
            "global_attn_every_n_layers",
            "local_attention",
            "rope_parameters",
            "rope_scaling",
            "global_rope_theta",
            "local_rope_theta",
            "embedding_dropout",
            "mlp_bias",
            "mlp_dropout",
            "decoder_bias",
            "classifier_pooling",
            "classifier_dropout",
            "classifier_bias",
            "classifier_activation",
            "tie_word_embeddings",
        ]
    }

    fn adaptable(&self) -> Adaptable {
        Adaptable { low_rank: &["Wqkv"], scaled_outputs: &[], scaled_inputs: &["mlp.Wo"] }
    }

    fn build(&self, config: &Config) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(ModernBert::new(config)?))
    }
}

#[derive(Debug, Clone)]
struct ModernBert {
    embeddings: Embeddings,
    hidden: usize,
    heads: usize,
    inner: usize,
    positions: usize,
    activation: Activation,
    attention_bias: bool,
    attention_dropout: f64,
    inner_bias: bool,
    inner_dropout: f64,
    /// Which layers attend to near tokens alone.
    local: Vec<bool>,
    /// How far near tokens are.
    reach: usize,
    /// The base of rotary frequencies of layers that attend to all tokens, and of local ones.
    thetas: [f64; 2],
    decoder_bias: bool,
    tied: bool,
    classifier: Classifier,
}

/// What stands between hidden states and the last layer of every head.
#[derive(Debug, Clone, Copy)]
struct Classifier {
    mean: bool,
    dropout: f64,
    bias: bool,
    activation: Activation,
}

const WORDS: &str = "model.embeddings.tok_embeddings.weight";
/// Places of dropout within a layer.
const ATTENTION_SITE: u32 = 1;
const ATTENTION_OUTPUT_SITE: u32 = 2;
const INNER_SITE: u32 = 3;

impl ModernBert {
    /// Fields that are absent have the values that transformers' `ModernBertConfig` gives them.
    fn new(config: &Config) -> Result<Self> {
        let hidden = config.size_or("hidden_size", Some(768))?;
        let heads = config.size_or("num_attention_heads", Some(12))?;
        check_heads([hidden, heads], ["hidden_size", "num_attention_heads"])?;
        if !(hidden / heads).is_multiple_of(2) {
            return Err(ModelError::new(format!(
                "the config's `hidden_size` {hidden} over its `num_attention_heads` {heads} is odd; rotary positions turn pairs"
            )));
        }
        let vocabulary = config.size_or("vocab_size", Some(50_368))?;
        let layers = config.size_or("num_hidden_layers", Some(22))?;
        let flag =
            |field: &str, default| Ok::<_, ModelError>(config.flag(field)?.unwrap_or(default));
        let pooling = config.text("classifier_pooling")?.unwrap_or("cls");
        if !["cls", "mean"].contains(&pooling) {
            return Err(ModelError::new(format!(
                "the config's `classifier_pooling` is `{pooling}`; known are `cls` and `mean`"
            )));
        }
        let window = whole(config, "local_attention", 128)?;
        if window < 0 {
            return Err(ModelError::new(format!("the config's `local_attention` is {window}")));
        }
        let default_padding = 50_283.min(vocabulary as u32 - 1);
        let family = Self {
            embeddings: Embeddings {
                module: "model.embeddings",
                words: WORDS,
                norm: "model.embeddings.norm",
                norm_bias: flag("norm_bias", false)?,
                vocabulary,
                width: hidden,
                normed: hidden,
                positions: None,
                token_types: 0,
                padding: padding(config, default_padding, vocabulary)?,
                dropout: config.dropout_or("embedding_dropout", 0.0)?,
                eps: config.number_or("norm_eps", 1e-5, 0.0, 1.0)?,
                deviation: config.number_or("initializer_range", 0.02, 0.0, 100.0)?,
            },
            hidden,
            heads,
            inner: config.size_or("intermediate_size", Some(1152))?,
            positions: config.size_or("max_position_embeddings", Some(8192))?,
            activation: activation(config, "hidden_activation", "gelu")?,
            attention_bias: flag("attention_bias", false)?,
            attention_dropout: config.dropout_or("attention_dropout", 0.0)?,
            inner_bias: flag("mlp_bias", false)?,
            inner_dropout: config.dropout_or("mlp_dropout", 0.0)?,
            local: local_layers(config, layers)?,
            reach: window as usize / 2,
            thetas: [
                theta(config, "full_attention", ("global_rope_theta", 160_000.0))?,
                theta(config, "sliding_attention", ("local_rope_theta", 10_000.0))?,
            ],
            decoder_bias: flag("decoder_bias", true)?,
            tied: flag("tie_word_embeddings", true)?,
            classifier: Classifier {
                mean: pooling == "mean",
                dropout: config.dropout_or("classifier_dropout", 0.0)?,
                bias: flag("classifier_bias", false)?,
                activation: activation(config, "classifier_activation", "gelu")?,
            },
        };
        let wide = |size: usize| size as u128;
        let layer = 4 * wide(hidden) + 3 * wide(family.inner);
        let elements = wide(hidden) * (wide(vocabulary) + wide(layers) * layer);
        if elements > 1 << 37 {
            return Err(ModelError::new(format!("the config asks for {elements} parameters")));
        }
        Ok(family)
    }

    fn layers(&self) -> usize {
        self.local.len()
    }

    fn module_of(&self, number: usize) -> String {
        format!("model.layers.{number}")
    }

    /// Of new layers that write to the residual stream.
    fn outward_deviation(&self) -> f64 {
        self.embeddings.deviation / (2.0 * self.layers() as f64).sqrt()
    }

    fn norm(&self, name: &str, depth: usize) -> Vec<Declaration> {
        norm(name, self.hidden, self.embeddings.norm_bias, depth)
    }

    /// One layer; `read` says which rows are needed of its outputs.
    fn layer(
        &self,
        number: usize,
        parameters: &Parameters,
        x: &Tensor,
        text: &TextInput,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let module = self.module_of(number);
        let own = |name: &str| parameters.linear(&format!("{module}.{name}"));
        let norm = |name: &str, x: &Tensor| {
            let norm = parameters.norm(&format!("{module}.{name}"), self.embeddings.eps)?;
            pass.layer_norm(x, &norm)
        };
        let site = SITES_PER_LAYER * number as u32;
        let attending = Attending::new(text, read);
        let all = Places::All(text);
        let local = self.local[number];
        // What enters the first layer is normed already.
        let normed = if number == 0 { x.clone() } else { norm("attn_norm", x)? };
        let [query, key, value] = pass.split(&pass.linear(&normed, &own("attn.Wqkv")?, all)?)?;
        let rotation = self.rotation(local, text.offsets.longest());
        let query = attending.queries(&query, pass)?;
        let query = pass.rotary(&query, &attending.positions, &rotation)?;
        let key = pass.rotary(&key, &positions(&text.offsets), &rotation)?;
        let context = pass.attention(
            [&query, &key, &value],
            &Attend {
                heads: self.heads,
                scale: None,
                offsets: [&attending.query_offsets, attending.key_offsets],
                positions: &attending.positions,
                mask: match local {
                    true => AttentionMask::Window(self.reach),
                    false => AttentionMask::Full,
                },
                relative: Relative::Nothing,
                padding: attending.padding(true)?,
                dropping: Drop {
                    p: self.attention_dropout,
                    site: site + ATTENTION_SITE,
                    places: attending.asking,
                },
            },
        )?;
        let asked = [context, attending.queries(x, pass)?];
        let ([context, residual], places) = attending.read(asked, pass)?;
        let drop = |p: f64, site: u32| Drop { p, site, places };
        let attended = pass.linear(&context, &own("attn.Wo")?, places)?;
        let dropping = drop(self.attention_dropout, site + ATTENTION_OUTPUT_SITE);
        let attended = pass.add(&attended, &residual, &dropping)?;
        let up = pass.linear(&norm("mlp_norm", &attended)?, &own("mlp.Wi")?, places)?;
        let gated = pass.gated(&up, self.activation)?;
        let gated = pass.dropout(&gated, &drop(self.inner_dropout, site + INNER_SITE))?;
        let output = pass.linear(&gated, &own("mlp.Wo")?, places)?;
        pass.add(&output, &attended, &drop(0.0, 0))
    }

    fn rotation(&self, local: bool, longest: usize) -> Rotation {
        Rotation::new(longest, self.hidden / self.heads, self.thetas[usize::from(local)])
    }
}

/// `{name}.weight` `[to, from]` and, where it has one, `{name}.bias`.
fn linear(
    name: &str,
    sizes: [usize; 2],
    bias: bool,
    deviation: f64,
    depth: usize,
) -> Vec<Declaration> {
    match bias {
        true => dense(name, sizes, deviation, depth).into(),
        false => vec![weight(name, sizes, deviation, depth)],
    }
}

/// Which layers are local: by `layer_types`, or all but every so many.
fn local_layers(config: &Config, layers: usize) -> Result<Vec<bool>> {
    let every = config.size_or("global_attn_every_n_layers", Some(3))?;
    let Some(types) = config.get("layer_types") else {
        return Ok((0..layers).map(|number| number % every != 0).collect());
    };
    let wrong = |what: String| ModelError::new(format!("the config's `layer_types` {what}"));
    let types = types.as_array().ok_or_else(|| wrong("is no list".to_string()))?;
    if types.len() != layers {
        return Err(wrong(format!("names {} of {layers} layers", types.len())));
    }
    let local = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => {
            Err(wrong(format!("holds {kind}; known are `full_attention` and `sliding_attention`")))
        }
    };
    types.iter().map(local).collect()
}

/// The base of rotary frequencies of a kind of layers: in `rope_parameters`, or in the field that older
/// configs have.
fn theta(config: &Config, kind: &str, (older, default): (&str, f64)) -> Result<f64> {
    let older = config.number_or(older, default, 1e-3, 1e12)?;
    let plain = |parameters: &Value, field: &str| match parameters
        .get("rope_type")
        .or(parameters.get("type"))
    {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(kind)) if kind == "default" => Ok(()),
        Some(other) => Err(ModelError::new(format!(
            "the config's `{field}` has positions of the type {other}; known here is `default`"
        ))),
    };
    if let Some(scaling) = config.get("rope_scaling") {
        plain(scaling, "rope_scaling")?;
    }
    let Some(parameters) = config.get("rope_parameters").and_then(|all| all.get(kind)) else {
        return Ok(older);
    };
    plain(parameters, "rope_parameters")?;
    match parameters.get("rope_theta") {
        None | Some(Value::Null) => Ok(older),
        Some(theta) => match theta.as_f64() {
            Some(theta) if (1e-3..=1e12).contains(&theta) => Ok(theta),
            _ => Err(ModelError::new(format!(
                "the config's `rope_parameters` have the `rope_theta` {theta}; it must be a number above 0"
            ))),
        },
    }
}

impl Backbone for ModernBert {
    fn prefix(&self) -> &'static str {
        "model"
    }

    fn declarations(&self) -> Vec<Declaration> {
        let (hidden, inner) = (self.hidden, self.inner);
        let mut all = self.embeddings.declarations();
        for number in 0..self.layers() {
            let (depth, module) = (number + 1, self.module_of(number));
            let own = |name: &str| format!("{module}.{name}");
            if number > 0 {
                all.extend(self.norm(&own("attn_norm"), depth));
            }
            let (inward, outward) = (self.embeddings.deviation, self.outward_deviation());
            let linear = |name: &str, sizes, bias, deviation| {
                linear(&own(name), sizes, bias, deviation, depth)
            };
            all.extend(linear("attn.Wqkv", [3 * hidden, hidden], self.attention_bias, inward));
            all.extend(linear("attn.Wo", [hidden, hidden], self.attention_bias, outward));
            all.extend(self.norm(&own("mlp_norm"), depth));
            all.extend(linear("mlp.Wi", [2 * inner, hidden], self.inner_bias, inward));
            all.extend(linear("mlp.Wo", [hidden, inner], self.inner_bias, outward));
        }
        all.extend(self.norm("model.final_norm", self.layers()));
        all
    }

    fn buffers(&self) -> &'static [&'static str] {
        &["inv_freq"]
    }

    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn max_length(&self) -> Option<usize> {
        Some(self.positions)
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(self.embeddings.vocabulary)
    }

    fn layers(&self) -> usize {
        self.layers()
    }

    fn rows_read<'a>(&self, input: &'a Input) -> Vec<(&'static str, &'a [u32])> {
        let Input::Text(text) = input;
        vec![(WORDS, &text.input_ids)]
    }

    fn forward(
        &self,
        parameters: &Parameters,
        input: &Input,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let longest = text.offsets.longest();
        if longest > self.positions {
            return Err(ModelError::new(format!(
                "a row of {longest} tokens is longer than the model's {} positions",
                self.positions
            ))
            .help(format!("`max_length = {}` in `tokenize` cuts it", self.positions)));
        }
        let x = self.embeddings.forward(parameters, text, pass)?;
        let whole = (self, parameters, text);
        let x = through(whole, self.layers(), x, read, pass, Self::layer)?;
        pass.layer_norm(&x, &parameters.norm("model.final_norm", self.embeddings.eps)?)
    }

    fn pass_bytes(&self, tokens: usize, compute: &Compute) -> Option<u64> {
        let Self { hidden, inner, heads, .. } = *self;
        let sizes = Sizes { hidden, inner, heads, depth: self.layers(), gates: 1 };
        Some(sizes.pass_bytes(tokens, compute))
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        let depth = self.layers() + 1;
        let head = |class| {
            let site = site_behind(self.layers());
            let deviation = 1.0 / (self.hidden as f64).sqrt();
            let base = Base { outputs, hidden: self.hidden, site, deviation, depth };
            Head { family: self.clone(), class, kind, base }
        };
        Some(match kind {
            HeadKind::Sequence => Box::new(head("ModernBertForSequenceClassification")),
            HeadKind::Choice => Box::new(head("ModernBertForMultipleChoice")),
            HeadKind::Token => Box::new(head("ModernBertForTokenClassification")),
            HeadKind::Span => Box::new(head("ModernBertForQuestionAnswering")),
            HeadKind::MaskedToken => Box::new(Vocabulary {
                class: "ModernBertForMaskedLM",
                transform: "head.dense",
                transform_bias: self.classifier.bias,
                activation: self.classifier.activation,
                norm: "head.norm",
                norm_bias: self.embeddings.norm_bias,
                eps: self.embeddings.eps,
                weight: if self.tied { WORDS } else { "decoder.weight" },
                tied: self.tied,
                bias: self.decoder_bias.then_some("decoder.bias"),
                copies: if self.tied { &["decoder.weight"] } else { &[] },
                hidden: self.hidden,
                width: self.hidden,
                vocabulary: self.embeddings.vocabulary,
                deviation: self.outward_deviation(),
                depth,
            }),
            HeadKind::Embedding(_) => return None,
        })
    }
}

/// Linear, activation, norm, dropout, linear: of every token, or of what stands for its sequence.
struct Head {
    family: ModernBert,
    class: &'static str,
    kind: HeadKind,
    base: Base,
}

impl Head {
    fn per_token(&self) -> bool {
        matches!(self.kind, HeadKind::Token | HeadKind::Span)
    }
}

impl OutputHead for Head {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        let Base { outputs, hidden, deviation, depth, .. } = self.base;
        let bias = self.family.classifier.bias;
        let outward = self.family.outward_deviation();
        let mut all = linear("head.dense", [hidden, hidden], bias, outward, depth);
        all.extend(self.family.norm("head.norm", depth));
        all.extend(dense("classifier", [outputs, hidden], deviation, depth));
        all
    }

    fn output_names(&self) -> &'static [&'static str] {
        &["classifier.weight", "classifier.bias"]
    }

    fn read(&self) -> Read {
        match self.per_token() || self.family.classifier.mean {
            true => Read::All,
            false => Read::First,
        }
    }

    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let classifier = self.family.classifier;
        let places = if self.per_token() { Places::All(text) } else { Places::First(text) };
        let x = match !self.per_token() && classifier.mean {
            true => pass.mean_rows(hidden_states, &text.offsets)?,
            false => hidden_states.clone(),
        };
        let x = pass.linear(&x, &parameters.linear("head.dense")?, places)?;
        let x = pass.activation(&x, classifier.activation)?;
        let x = pass.layer_norm(&x, &parameters.norm("head.norm", self.family.embeddings.eps)?)?;
        let x = pass.dropout(&x, &Drop { p: classifier.dropout, site: self.base.site, places })?;
        pass.linear(&x, &parameters.linear("classifier")?, places)
    }
}
