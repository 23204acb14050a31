//! What sentence-transformers reads beside a model: how the states of tokens become one vector.

use std::path::Path;

use serde_json::{Value, json};

use crate::model::{Model, ModelError, Pooling, Result};

/// Says how vectors are pooled, in the folder of a model.
pub const POOLING_FILE: &str = "1_Pooling/config.json";
/// Says through what a text goes to become a vector.
pub const MODULES_FILE: &str = "modules.json";
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
    refuse_more_modules(folder)?;
    let Some(config) = json_of(folder, POOLING_FILE)? else { return Ok(None) };
    let path = folder.join(POOLING_FILE);
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

/// Fails where something stands behind the pooling that changes the vectors.
fn refuse_more_modules(folder: &Path) -> Result<()> {
    const KNOWN: [&str; 3] = ["Transformer", "Pooling", "Normalize"];
    let modules = json_of(folder, MODULES_FILE)?.unwrap_or_default();
    let kinds = modules.as_array().into_iter().flatten().filter_map(|module| {
        module.get("type").and_then(Value::as_str).and_then(|kind| kind.rsplit('.').next())
    });
    match kinds.into_iter().find(|kind| !KNOWN.contains(kind)) {
        None => Ok(()),
        Some(kind) => {
            let message = format!("vectors go through a module `{kind}`, which is not known here");
            Err(ModelError::new(message)
                .in_file(&folder.join(MODULES_FILE))
                .help("`head = embedding(pooling = mean)` leaves it out, whatever the folder says"))
        }
    }
}

/// A file of a folder; none where it is not there.
fn json_of(folder: &Path, name: &str) -> Result<Option<Value>> {
    let path = folder.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io(&path, &error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ModelError::new(format!("not JSON: {error}")).in_file(&path))
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
        (MODULES_FILE, text(modules)?),
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
        of(r#"{"pooling_mode": "mean"}"#).unwrap();
        let modules = |kind: &str| {
            let list = json!([{"type": "sentence_transformers.models.Pooling"}, {"type": kind}]);
            std::fs::write(folder.path().join(MODULES_FILE), list.to_string()).unwrap();
            stored_pooling(folder.path())
        };
        assert_eq!(modules("sentence_transformers.models.Normalize"), Ok(Some(Pooling::Mean)));
        let error = modules("sentence_transformers.models.Dense").unwrap_err();
        assert!(error.message.contains("`Dense`") && error.help.is_some(), "{error}");
    }
}
