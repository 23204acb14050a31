//! An adapter as peft stores it: `adapter_config.json` and `adapter_model.safetensors`. Source of
//! names and fields: peft 0.21.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};

use super::{Adapted, AdapterConfig, DOWN, FACTORS, Form, MAGNITUDE, Rank, UP, is_meant};
use crate::model::checkpoint::{self, StoredTensors, Written};
use crate::model::value::declared;
use crate::model::{Config, Head, HeadKind, LabelNames, Model, ModelError, Result};

pub const CONFIG: &str = "adapter_config.json";
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// The config of the adapted model with its labels. Not `config.json`: transformers takes a folder with one
/// for a whole model.
pub const MODEL_CONFIG: &str = "model_config.json";

/// The config of the adapted model beside an adapter, where the folder has one.
pub fn model_config(folder: &Path) -> Option<PathBuf> {
    let names = [MODEL_CONFIG, "config.json"].into_iter();
    names.map(|name| folder.join(name)).find(|path| path.is_file())
}

/// What stands before every name in the file.
const PREFIX: &str = "base_model.model.";

/// An adapter as it lies in a folder.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    config: Map<String, Value>,
    stored: StoredTensors,
    /// The config of the adapted model, where the folder has one: it names the labels.
    model: Option<Config>,
}

/// Reads an adapter's folder. Fails on a form that is not known here.
pub fn read(folder: &Path) -> Result<AdapterFiles> {
    let (config, model) = configs(folder)?;
    let stored = checkpoint::read_safetensors(&folder.join(WEIGHTS))?;
    Ok(AdapterFiles { config, stored, model })
}

/// What an adapter's files say without its values.
#[derive(Debug, Clone)]
pub struct Probed {
    /// The model's parameters whose values are beside the adapter's.
    pub saved: Vec<String>,
    /// The config of the adapted model, where the folder has one.
    pub model: Option<Config>,
}

/// Reads the header of an adapter's folder. Fails on a form that is not known here.
pub fn probe(folder: &Path) -> Result<Probed> {
    let (_, model) = configs(folder)?;
    let names = checkpoint::probe_safetensors(&folder.join(WEIGHTS))?.into_keys();
    let saved = names.map(|name| plain(&name).to_string()).filter(|name| !is_own(name)).collect();
    Ok(Probed { saved, model })
}

/// The adapter's config, checked, and the model's.
fn configs(folder: &Path) -> Result<(Map<String, Value>, Option<Config>)> {
    let path = folder.join(CONFIG);
    let config = checkpoint::read_config_file(&path)?.fields().clone();
    refuse_unknown(&config).map_err(|error| error.in_file(&path))?;
    let model = model_config(folder).map(|path| checkpoint::read_config_file(&path)).transpose()?;
    Ok((config, model))
}

/// A name in the file without what stands before all of them.
fn plain(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// What stands before the names of the model itself, where peft adapts it without a head.
fn bare_prefix(model: &Model) -> Result<Option<String>> {
    let bare = matches!(model.head.as_ref().map(|head| head.kind), Some(HeadKind::Embedding(_)));
    Ok(if bare { Some(format!("{}.", model.backbone()?.prefix())) } else { None })
}

/// A name in the file as the model has it.
fn full(name: &str, model: &Model) -> Result<String> {
    let name = plain(name);
    Ok(match bare_prefix(model)? {
        Some(prefix) if !name.starts_with(&prefix) => format!("{prefix}{name}"),
        _ => name.to_string(),
    })
}

/// Whether a parameter is an adapter's own.
fn is_own(name: &str) -> bool {
    let is = |part: &&str| name.strip_suffix(*part).is_some_and(|module| module.ends_with('.'));
    [DOWN, UP, MAGNITUDE, FACTORS].iter().any(is)
}

/// Fields that change what an adapter computes and have no meaning here: they are to be empty.
const UNKNOWN: &[&str] = &[
    "alpha_pattern",
    "rank_pattern",
    "alora_invocation_tokens",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
    "monteclora_config",
];

fn refuse_unknown(config: &Map<String, Value>) -> Result<()> {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let set = |name: &&&str| config.get(**name).is_some_and(|value| !is_empty(value));
    if let Some(name) = UNKNOWN.iter().find(set) {
        return Err(ModelError::new(format!("the adapter sets `{name}`, which is not known here")));
    }
    // The others change the model below when they are put on.
    const HARMLESS: [&str; 3] = ["gaussian", "eva", "orthogonal"];
    let init = config.get("init_lora_weights").and_then(Value::as_str);
    if let Some(init) = init.filter(|init| !HARMLESS.contains(init)) {
        return Err(ModelError::new(format!(
            "the adapter's `init_lora_weights` is `{init}`, which changes the model that it sits on"
        ))
        .help("peft's `save_pretrained(…, path_initial_model_for_weight_conversion = …)` writes it as a plain LoRA"));
    }
    match config.get("bias").and_then(Value::as_str) {
        None | Some("none") => Ok(()),
        Some(other) => Err(ModelError::new(format!(
            "the adapter trains biases (`bias` is `{other}`), which is not known here"
        ))),
    }
}

impl AdapterFiles {
    /// The base model with this adapter on it.
    pub fn on(self, base: Arc<Model>) -> Result<Model> {
        let mut own: BTreeMap<String, Tensor> = BTreeMap::new();
        let mut whole: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, stored) in self.stored {
            let Some(values) = stored.values else {
                return Err(ModelError::new(format!("tensor `{name}` holds integers")));
            };
            let tensor = Tensor::from_vec(values, stored.shape, &Device::Cpu)?;
            let plain = &full(&name, &base)?;
            let into = if is_own(plain) { &mut own } else { &mut whole };
            into.insert(plain.to_string(), tensor);
        }
        let mut config = base.config.clone();
        if let Some(model) = &self.model {
            for name in ["id2label", "label2id", "problem_type"] {
                if let Some(value) = model.get(name) {
                    config.set(name, value.clone());
                }
            }
        }
        let head = match &base.head {
            None => None,
            Some(head) => Some(head_with(&base, head, &config, &whole)?),
        };
        let drawn = |name: &String| !whole.contains_key(name);
        let mut model = Model {
            config,
            head,
            undrawn: base.undrawn.iter().filter(|name| drawn(name)).cloned().collect(),
            adapter: None,
            ..base.as_ref().clone()
        };
        let declared = declared(&model.config, model.head.as_ref())?;
        let known: BTreeMap<&str, &Tensor> =
            base.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        model.tensors = Vec::new();
        for declaration in &declared {
            let name = declaration.name.as_str();
            let Some(tensor) = whole.get(name).or(known.get(name).copied()) else { continue };
            if tensor.dims() != declaration.shape {
                return Err(ModelError::new(format!(
                    "tensor `{name}` of the adapter has the shape {:?} where the model has {:?}",
                    tensor.dims(),
                    declaration.shape
                ))
                .help("the adapter belongs to another model; its config may name it"));
            }
            model.tensors.push((declaration.name.clone(), tensor.clone()));
        }
        if let Some(name) = whole.keys().find(|name| !declared.iter().any(|one| one.name == **name))
        {
            return Err(ModelError::new(format!(
                "the adapter holds `{name}`, which the model does not have"
            ))
            .help("`head = …` gives the model the head that the adapter was trained with"));
        }
        let linear = super::linear_modules(&declared);
        let config = adapter_config(&self.config, &own, &whole, &linear)?;
        let mut tensors = Vec::new();
        for declaration in config.declarations(&declared)? {
            let name = declaration.name;
            match own.remove(&name) {
                Some(tensor) if tensor.dims() == declaration.shape => tensors.push((name, tensor)),
                Some(tensor) => {
                    return Err(ModelError::new(format!(
                        "the adapter's `{name}` has the shape {:?} where the model needs {:?}",
                        tensor.dims(),
                        declaration.shape
                    )));
                }
                None => return Err(ModelError::new(format!("the adapter lacks `{name}`"))),
            }
        }
        model.adapter = Some(Adapted { config, tensors, base: Some(base) });
        Ok(model)
    }
}

/// The base's head with the outputs and labels of the tensors beside the adapter.
fn head_with(
    base: &Model,
    head: &Head,
    config: &Config,
    whole: &BTreeMap<String, Tensor>,
) -> Result<Head> {
    let backbone = base.backbone()?;
    let module = crate::model::head(backbone.as_ref(), config, head.kind, 1)?;
    let stored = module.output_names().iter().find_map(|name| whole.get(*name));
    let Some(outputs) = stored.and_then(|tensor| tensor.dims().first().copied()) else {
        return Ok(head.clone());
    };
    let labels = match config.label_names()? {
        LabelNames::Named(names) if names.len() == outputs && head.labels_are_outputs() => names,
        _ => Vec::new(),
    };
    Ok(Head { outputs: Some(outputs), labels, ..head.clone() })
}

/// The files' config, with the modules that their tensors name.
fn adapter_config(
    config: &Map<String, Value>,
    own: &BTreeMap<String, Tensor>,
    whole: &BTreeMap<String, Tensor>,
    linear: &[&str],
) -> Result<AdapterConfig> {
    let has = |module: &str, part: &str| own.contains_key(&format!("{module}.{part}"));
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let strings = |name: &str| -> Vec<String> {
        let list = config.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
    };
    let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or_default();
    let (form, part) = match kind {
        "LORA" => {
            let number = |name: &str| config.get(name).and_then(Value::as_f64);
            let rank = Rank {
                rank: number("r").unwrap_or(8.0) as usize,
                alpha: number("lora_alpha").unwrap_or(8.0),
                dropout: number("lora_dropout").unwrap_or(0.0).clamp(0.0, 0.999),
                stabilized: flag("use_rslora"),
                decomposed: flag("use_dora"),
            };
            (Form::LowRank(rank), DOWN)
        }
        "IA3" => (Form::Scaling { inputs: Vec::new() }, FACTORS),
        other => {
            return Err(ModelError::new(format!(
                "adapters of the type `{other}` are not known here"
            ))
            .help("known are `LORA` (with rsLoRA and DoRA) and `IA3`"));
        }
    };
    let modules: Vec<String> =
        linear.iter().filter(|module| has(module, part)).map(|one| one.to_string()).collect();
    if modules.is_empty()
        || own.keys().any(|name| !modules.iter().any(|m| super::is_within(name, m)))
    {
        let odd = own.keys().find(|name| !modules.iter().any(|m| super::is_within(name, m)));
        let odd = odd.map_or("no module".to_string(), |name| format!("`{name}`"));
        return Err(ModelError::new(format!("the adapter sits on {odd}, the model has no such")));
    }
    let feed_forward = strings("feedforward_modules");
    let form = match form {
        Form::Scaling { .. } => {
            let is_input = |module: &&String| feed_forward.iter().any(|end| module.ends_with(end));
            Form::Scaling { inputs: modules.iter().filter(is_input).cloned().collect() }
        }
        other => other,
    };
    let mut targets = strings("target_modules");
    let all_meant =
        modules.iter().all(|module| targets.iter().any(|target| is_meant(module, target)));
    if !all_meant {
        targets.clone_from(&modules);
    }
    targets.sort();
    let mut saved: Vec<String> = whole
        .keys()
        .filter_map(|name| name.rsplit_once('.').map(|(module, _)| module.to_string()))
        .collect();
    saved.sort();
    saved.dedup();
    Ok(AdapterConfig { form, modules, targets, saved })
}

/// Writes an adapted model's adapter into a folder that exists, as peft does; `base`: what the files
/// call the model below. Gives the names of the files and their bytes to `write`.
pub fn save(
    model: &Model,
    adapted: &Adapted,
    base: Option<&str>,
    write: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let prefix = bare_prefix(model)?.unwrap_or_default();
    let bare = |name: &String| name.strip_prefix(&prefix).unwrap_or(name).to_string();
    let saved = model.tensors.iter().filter(|(name, _)| adapted.config.saves(name));
    let tensors: Vec<(String, Tensor)> = adapted
        .tensors
        .iter()
        .chain(saved)
        .map(|(name, tensor)| (format!("{PREFIX}{}", bare(name)), tensor.clone()))
        .collect();
    let mut config = adapted.config.clone();
    for names in [&mut config.targets, &mut config.saved, &mut config.modules] {
        *names = names.iter().map(bare).collect();
    }
    if let Form::Scaling { inputs } = &mut config.form {
        *inputs = inputs.iter().map(bare).collect();
    }
    // What is saved as a part of another module is not named beside it: peft would look for it twice.
    let all = config.saved.clone();
    let is_part = |name: &String, of: &String| {
        name.strip_prefix(of.as_str()).is_some_and(|rest| rest.starts_with('.'))
    };
    config.saved.retain(|name| !all.iter().any(|other| is_part(name, other)));
    let fields = config_fields(&config, model.head.as_ref().map(|head| head.kind), base);
    let mut text = serde_json::to_string_pretty(&fields).unwrap_or_default();
    text.push('\n');
    write(CONFIG, text.as_bytes())?;
    write(WEIGHTS, &checkpoint::tensor_bytes(&tensors, Written::F32)?)
}

fn config_fields(config: &AdapterConfig, kind: Option<HeadKind>, base: Option<&str>) -> Value {
    let mut fields = json!({
        "base_model_name_or_path": base,
        "task_type": kind.and_then(peft_task),
        "inference_mode": true,
        "target_modules": config.targets,
        "modules_to_save": (!config.saved.is_empty()).then_some(&config.saved),
        "fan_in_fan_out": false,
    });
    let more = match &config.form {
        Form::LowRank(rank) => json!({
            "peft_type": "LORA",
            "r": rank.rank,
            // peft declares a whole number.
            "lora_alpha": if rank.alpha.fract() == 0.0 { json!(rank.alpha as i64) } else { json!(rank.alpha) },
            "lora_dropout": rank.dropout,
            "bias": "none",
            "use_rslora": rank.stabilized,
            "use_dora": rank.decomposed,
            "init_lora_weights": true,
        }),
        Form::Scaling { inputs } => {
            let of_inputs = |target: &&String| inputs.iter().any(|module| is_meant(module, target));
            let others: Vec<&String> =
                config.modules.iter().filter(|module| !inputs.contains(module)).collect();
            let widens = |target: &String| others.iter().any(|module| is_meant(module, target));
            let ends: Vec<&String> = config.targets.iter().filter(of_inputs).collect();
            // A target that means modules of both kinds would scale the wrong side of some.
            let mixed = ends.iter().any(|target| widens(target));
            if mixed && let Value::Object(fields) = &mut fields {
                fields.insert("target_modules".to_string(), json!(config.modules));
            }
            let inputs = if mixed { inputs.iter().collect() } else { ends };
            json!({
                "peft_type": "IA3",
                "feedforward_modules": inputs,
                "init_ia3_weights": true,
            })
        }
    };
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

/// What peft calls a head's task.
fn peft_task(kind: HeadKind) -> Option<&'static str> {
    match kind {
        HeadKind::Sequence => Some("SEQ_CLS"),
        HeadKind::Token => Some("TOKEN_CLS"),
        HeadKind::Span => Some("QUESTION_ANS"),
        HeadKind::Embedding(_) => Some("FEATURE_EXTRACTION"),
        HeadKind::Choice | HeadKind::MaskedToken => None,
    }
}
