//! What sentence-transformers reads beside a model: how the states of tokens become one vector.

use std::path::Path;

use serde_json::{Value, json};

use crate::model::{Model, ModelError, Pooling, Result};

/// Says how vectors are pooled, in the folder of a model.
pub const POOLING_FILE: &str = "1_Pooling/config.json";
const MODE: &str = "pooling_mode_";
/// The ways that the file knows, each a field behind [`MODE`].
const MODES: [&str; 6] = [
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
];

/// How the folder of a model says that its vectors are pooled; `None` where it does not.
///
/// # Errors
/// The file is damaged, or asks for what is not known here.
pub fn stored_pooling(folder: &Path) -> Result<Option<Pooling>> {
    let path = folder.join(POOLING_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io(&path, &error)),
    };
    let config: Value = serde_json::from_slice(&bytes)
        .map_err(|error| ModelError::new(format!("not JSON: {error}")).in_file(&path))?;
    let is_set = |mode: &&&str| config.get(format!("{MODE}{mode}")) == Some(&Value::Bool(true));
    let set: Vec<&str> = MODES.iter().filter(is_set).copied().collect();
    // Since version 5 it is one field, with short names.
    let named = config.get("pooling_mode").and_then(Value::as_str);
    match (named, set.as_slice()) {
        (Some("mean"), _) | (None, ["mean_tokens"]) => Ok(Some(Pooling::Mean)),
        (Some("cls"), _) | (None, ["cls_token"]) => Ok(Some(Pooling::Cls)),
        _ => {
            let found = named.map_or_else(|| set.join(" and "), str::to_string);
            let message = format!("vectors are pooled by `{found}`, which is not known here");
            Err(ModelError::new(message)
                .in_file(&path)
                .help("`head = embedding(pooling = mean)` takes the mean, whatever the file says"))
        }
    }
}

/// The files of a model whose texts become vectors, by name.
pub(super) fn files(model: &Model, pooling: Pooling) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let backbone = model.backbone()?;
    let own = match pooling {
        Pooling::Mean => "mean_tokens",
        Pooling::Cls => "cls_token",
    };
    let mut config = serde_json::Map::new();
    config.insert("word_embedding_dimension".to_string(), backbone.hidden_size().into());
    config.extend(MODES.iter().map(|mode| (format!("{MODE}{mode}"), (*mode == own).into())));
    let longest = match model.tokenization {
        Some(tokenization) => Some(tokenization.max_length),
        None => backbone.max_length(),
    };
    let module = |number: usize, path: &str, kind: &str| {
        json!({"idx": number, "name": number.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{kind}")})
    };
    let modules = json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]);
    let transformer = json!({"max_seq_length": longest, "do_lower_case": false});
    let text = |value: Value| {
        serde_json::to_vec_pretty(&value).map_err(|error| ModelError::new(error.to_string()))
    };
    Ok(vec![
        ("modules.json", text(modules)?),
        ("sentence_bert_config.json", text(transformer)?),
        (POOLING_FILE, text(Value::Object(config))?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_is_read_as_it_is_written_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(stored_pooling(folder.path()), Ok(None));
        std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        let of = |text: &str| {
            std::fs::write(folder.path().join(POOLING_FILE), text).unwrap();
            stored_pooling(folder.path())
        };
        let old = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        assert_eq!(of(old), Ok(Some(Pooling::Cls)));
        assert_eq!(of(r#"{"pooling_mode_mean_tokens": true}"#), Ok(Some(Pooling::Mean)));
        assert_eq!(of(r#"{"pooling_mode": "mean"}"#), Ok(Some(Pooling::Mean)));
        let error = of(r#"{"pooling_mode_max_tokens": true}"#).unwrap_err();
        assert!(error.message.contains("max_tokens") && error.help.is_some(), "{error}");
        assert!(of("{").is_err());
    }
}
