//! What several families read from a config in the same way.

use super::Encoder;
use crate::model::{Config, ModelError, Result};
use crate::nn::Activation;

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
