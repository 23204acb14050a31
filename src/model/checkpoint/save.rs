//! Writing a model as a folder in the Hugging Face layout, which transformers opens.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Written, sentence};
use crate::model::{
    Declaration, HeadKind, Model, ModelError, Result, adapter, head as head_module,
};

/// A file that was written, by its name, and its size in bytes.
pub type SavedFile = (String, u64);

/// Writes `model.safetensors`, `config.json` and the tokenizer's files into a folder that exists.
/// `problem_type`: what the config calls the head's task. `written`: what a model's numbers are
/// written as. Fails while tensors have no values.
///
/// Of a model with an adapter it writes the adapter in place of the model, as peft does; `base`: what
/// its config calls the model below.
pub fn save_folder(
    model: &Model,
    problem_type: Option<&str>,
    base: Option<&str>,
    written: Written,
    folder: &Path,
) -> Result<Vec<SavedFile>> {
    model.complete()?;
    let mut saved = Vec::new();
    let mut save = |name: &str, bytes: &[u8]| -> Result<()> {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| ModelError::io(parent, &error))?;
        }
        std::fs::write(&path, bytes).map_err(|error| ModelError::io(&path, &error))?;
        saved.push((name.to_string(), bytes.len() as u64));
        Ok(())
    };
    match &model.adapter {
        Some(adapted) => {
            let config = config(model, problem_type, Written::F32)?;
            save(adapter::MODEL_CONFIG_FILE, config.as_bytes())?;
            adapter::save(model, adapted, base, &mut save)?;
        }
        None => {
            save("config.json", config(model, problem_type, written)?.as_bytes())?;
            save("model.safetensors", &model.tensor_bytes(written)?)?;
        }
    }
    if let Some(HeadKind::Embedding(pooling)) = model.head.as_ref().map(|head| head.kind) {
        for (name, bytes) in sentence::files(model, pooling)? {
            save(name, &bytes)?;
        }
    }
    if let Some(tokenizer) = &model.tokenizer {
        let named = input_names(model, tokenizer.files())?;
        for (name, bytes) in tokenizer.files() {
            match &named {
                Some(config) if name == TOKENIZER_CONFIG => save(name, config)?,
                _ => save(name, bytes)?,
            }
        }
        if let Some(config) = named.filter(|_| !tokenizer.files().contains_key(TOKENIZER_CONFIG)) {
            save(TOKENIZER_CONFIG, &config)?;
        }
    }
    Ok(saved)
}

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Tokenizer classes of transformers that are of no family, and leave the types of tokens away unless
/// they are told that the model reads them.
const PLAIN_CLASSES: [&str; 2] = ["PreTrainedTokenizerFast", "TokenizersBackend"];

/// The tokenizer's config with what the model reads, where neither its class nor itself tells.
fn input_names(model: &Model, files: &BTreeMap<String, Vec<u8>>) -> Result<Option<Vec<u8>>> {
    let mut config: Map<String, Value> = match files.get(TOKENIZER_CONFIG) {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| ModelError::new(format!("{TOKENIZER_CONFIG}: {error}")))?,
        None => Map::new(),
    };
    let class = config.get("tokenizer_class").and_then(Value::as_str);
    if class.is_some_and(|class| !PLAIN_CLASSES.contains(&class))
        || config.contains_key("model_input_names")
    {
        return Ok(None);
    }
    // A model of one type takes all tokens for it.
    let types = |one: &Declaration| {
        one.name.ends_with("token_type_embeddings.weight")
            && one.shape.first().is_some_and(|types| *types > 1)
    };
    let mut names = vec!["input_ids", "attention_mask"];
    if model.backbone()?.declarations().iter().any(types) {
        names.insert(1, "token_type_ids");
    }
    config.insert("model_input_names".to_string(), json!(names));
    let mut text = serde_json::to_string_pretty(&config)
        .map_err(|error| ModelError::new(error.to_string()))?;
    text.push('\n');
    Ok(Some(text.into_bytes()))
}

/// The config with the class, the labels and the task; every other field as it was read.
fn config(model: &Model, problem_type: Option<&str>, written: Written) -> Result<String> {
    let mut config = model.config.clone();
    let backbone = model.backbone()?;
    if let Some(head) = &model.head {
        let outputs = head.outputs.unwrap_or(head.labels.len());
        let module = head_module(backbone.as_ref(), &config, head.kind, outputs)?;
        let before = config.get("architectures").and_then(|all| all.get(0)?.as_str());
        let class = match module.class() {
            // Without a head of its own it is the backbone's.
            "" => before
                .and_then(|class| class.split_once("For"))
                .map(|(own, _)| format!("{own}Model")),
            class => Some(class.to_string()),
        };
        if let Some(class) = class {
            config.set("architectures", vec![class]);
        }
        if head.labels_are_outputs() {
            let mut names = head.labels.clone();
            if names.is_empty() {
                names = (0..outputs).map(|number| format!("LABEL_{number}")).collect();
            }
            config.set_label_names(&names);
            config.remove("num_labels");
        } else {
            // Those of the head that was there before.
            ["id2label", "label2id", "num_labels"].iter().for_each(|name| config.remove(name));
        }
        match problem_type {
            Some(problem_type) => config.set("problem_type", problem_type),
            None => config.remove("problem_type"),
        }
    }
    // What is written decides, whatever was read.
    for name in ["dtype", "torch_dtype"] {
        if config.get(name).is_some() {
            config.set(name, written.name());
        }
    }
    if written != Written::F32 && config.get("torch_dtype").is_none() {
        config.set("dtype", written.name());
    }
    Ok(config.to_json())
}
