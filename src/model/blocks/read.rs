//! What several families read from a config in the same way.

use super::{Embeddings, Encoder, Names, Positions, PostNorm};
use crate::model::{Config, ModelError, Result};
use crate::nn::Activation;

/// What the config of a family gives to fields that are absent, where its fields have BERT's names.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Defaults {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub inner: usize,
    pub activation: &'static str,
    /// Of hidden states and of attention.
    pub dropout: f64,
    pub eps: f64,
    pub token_types: usize,
    pub padding: u32,
}

/// `BertConfig`'s.
pub(in crate::model) const BERT_DEFAULTS: Defaults = Defaults {
    vocabulary: 30_522,
    hidden: 768,
    layers: 12,
    heads: 12,
    inner: 3072,
    activation: "gelu",
    dropout: 0.1,
    eps: 1e-12,
    token_types: 2,
    padding: 0,
};

/// Where an encoder's parameters are.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Modules {
    /// `bert.embeddings`
    pub embeddings: &'static str,
    /// `bert.embeddings.word_embeddings.weight`
    pub words: &'static str,
    /// `bert.embeddings.LayerNorm`
    pub norm: &'static str,
    /// `bert.encoder.layer`
    pub layers: &'static str,
    pub names: Names,
}

/// The encoder that a config with BERT's names describes. Fails where a field is out of its bounds, or is
/// that of a decoder.
pub(in crate::model) fn encoder(
    config: &Config,
    defaults: &Defaults,
    modules: &Modules,
) -> Result<Encoder> {
    let hidden = config.size_or("hidden_size", Some(defaults.hidden))?;
    let heads = config.size_or("num_attention_heads", Some(defaults.heads))?;
    check_heads([hidden, heads], ["hidden_size", "num_attention_heads"])?;
    encoder_alone(config)?;
    let vocabulary = config.size_or("vocab_size", Some(defaults.vocabulary))?;
    let count = config.size_or("max_position_embeddings", Some(512))?;
    let dropout = config.dropout_or("hidden_dropout_prob", defaults.dropout)?;
    let eps = config.number_or("layer_norm_eps", defaults.eps, 0.0, 1.0)?;
    let deviation = config.number_or("initializer_range", 0.02, 0.0, 100.0)?;
    let token_types = whole(config, "type_vocab_size", defaults.token_types as i64)?;
    Ok(Encoder {
        embeddings: Embeddings {
            module: modules.embeddings,
            words: modules.words,
            norm: modules.norm,
            norm_bias: true,
            vocabulary,
            width: hidden,
            normed: hidden,
            positions: Some(Positions::new(count, None)?),
            token_types: token_types.max(0) as usize,
            padding: padding(config, defaults.padding, vocabulary)?,
            dropout,
            eps,
            deviation,
        },
        layer: PostNorm {
            hidden,
            heads,
            inner: config.size_or("intermediate_size", Some(defaults.inner))?,
            activation: activation(config, "hidden_act", defaults.activation)?,
            attention_dropout: config
                .dropout_or("attention_probs_dropout_prob", defaults.dropout)?,
            dropout,
            output_dropout: dropout,
            eps,
            deviation,
            names: modules.names,
        },
        layers: config.size_or("num_hidden_layers", Some(defaults.layers))?,
        module: modules.layers,
    })
}

/// The function that a field names.
pub(in crate::model) fn activation(
    config: &Config,
    field: &str,
    default: &str,
) -> Result<Activation> {
    let name = config.text(field)?.unwrap_or(default);
    Activation::parse(name).ok_or_else(|| {
        ModelError::new(format!("the config's `{field}` is `{name}`, which is not known here"))
            .help(format!("known are {}", crate::base::suggest::list(Activation::names())))
    })
}

/// Fails if a hidden size cannot be divided among its heads. With the names of both fields.
pub(in crate::model) fn check_heads(
    [hidden, heads]: [usize; 2],
    [hidden_field, heads_field]: [&str; 2],
) -> Result<()> {
    if hidden.is_multiple_of(heads) {
        return Ok(());
    }
    Err(ModelError::new(format!(
        "the config's `{hidden_field}` {hidden} is not a multiple of its `{heads_field}` {heads}"
    )))
}

/// Fails if a flag is set that makes another model of an encoder.
pub(in crate::model) fn refuse(config: &Config, field: &str, known: &str) -> Result<()> {
    match config.flag(field)?.unwrap_or(false) {
        true => Err(ModelError::new(format!("the config sets `{field}`; {known}"))),
        false => Ok(()),
    }
}

/// Fails where a config is that of a decoder, or of an encoder with other positions than a table's.
pub(in crate::model) fn encoder_alone(config: &Config) -> Result<()> {
    let positions = config.text("position_embedding_type")?.unwrap_or("absolute");
    if positions != "absolute" {
        return Err(ModelError::new(format!(
            "the config's `position_embedding_type` is `{positions}`; known here is `absolute`"
        )));
    }
    for field in ["is_decoder", "add_cross_attention"] {
        refuse(config, field, "the family is known here as an encoder alone")?;
    }
    Ok(())
}

/// A whole number, possibly negative.
pub(in crate::model) fn whole(config: &Config, field: &str, default: i64) -> Result<i64> {
    let number = config.number_or(field, default as f64, -2e9, 2e9)?;
    match number.fract() == 0.0 {
        true => Ok(number as i64),
        false => Err(ModelError::new(format!(
            "the config's `{field}` is {number}; it must be a whole number"
        ))),
    }
}

/// `pad_token_id`, the token that only fills rows up; none where the config says `null`. Fails where it is
/// not in the vocabulary.
pub(in crate::model) fn padding(
    config: &Config,
    default: u32,
    vocabulary: usize,
) -> Result<Option<u32>> {
    if config.fields().get("pad_token_id").is_some_and(serde_json::Value::is_null) {
        return Ok(None);
    }
    match whole(config, "pad_token_id", i64::from(default))? {
        number if (0..vocabulary as i64).contains(&number) => Ok(Some(number as u32)),
        number => Err(ModelError::new(format!(
            "the config's `pad_token_id` is {number}, which is not in its vocabulary of {vocabulary}"
        ))),
    }
}

/// A config that asks for more than a machine can hold is damaged.
pub(in crate::model) fn check_size(encoder: &Encoder) -> Result<()> {
    const MOST: u128 = 1 << 37;
    let wide = |size: usize| size as u128;
    let (embeddings, layer) = (&encoder.embeddings, &encoder.layer);
    let positions = embeddings.positions.map_or(0, |positions| positions.count);
    let rows = wide(embeddings.vocabulary) + wide(positions) + wide(embeddings.token_types);
    let columns = 4 * wide(layer.hidden) + 2 * wide(layer.inner);
    let elements =
        wide(embeddings.width) * rows + wide(encoder.layers) * wide(layer.hidden) * columns;
    if elements > MOST {
        return Err(ModelError::new(format!("the config asks for {elements} parameters")));
    }
    Ok(())
}
