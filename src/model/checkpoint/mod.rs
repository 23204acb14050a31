//! Model folders in the Hugging Face layout: which files hold the weights, and how they become the
//! tensors that an architecture declares. The formats are in `safetensors` and `pytorch`; writing
//! is in `save`; what a family's tensors are called is in that family's file.

mod pickle;
mod pytorch;
mod safetensors;
mod save;
mod sentence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::Declaration;
use super::config::Config;
use super::error::{ModelError, Result};
use crate::nn::ops::tensor::Slice;

pub(super) use safetensors::bytes_of;
pub use safetensors::{Written, serialize as serialize_tensors};
pub use save::{SavedFile, save_folder};
pub use sentence::{MODULES_FILE, POOLING_FILE, stored_pooling};

/// A tensor as it lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub shape: Vec<usize>,
    /// In row order, as f32; `None` for tensors of integers, which are no weights.
    pub values: Option<Vec<f32>>,
}

/// Tensors by their names in the file.
pub type StoredTensors = BTreeMap<String, Stored>;

/// The names under which weights are sought in a folder, in this order.
const WEIGHT_FILES: &[(&str, Reader)] = &[
    ("model.safetensors", Reader::Whole(safetensors::read)),
    ("model.safetensors.index.json", Reader::Sharded(safetensors::read)),
    ("pytorch_model.bin", Reader::Whole(pytorch::read)),
    ("pytorch_model.bin.index.json", Reader::Sharded(pytorch::read)),
];

#[derive(Clone, Copy)]
enum Reader {
    Whole(fn(&[u8]) -> Result<StoredTensors>),
    Sharded(fn(&[u8]) -> Result<StoredTensors>),
}

/// Reads `config.json` of a folder.
pub fn read_config(folder: &Path) -> Result<Config> {
    read_config_file(&folder.join("config.json"))
}

/// Reads a config that stands alone.
pub fn read_config_file(path: &Path) -> Result<Config> {
    Config::parse(&read_file(path)?).map_err(|error| error.in_file(path))
}

/// The file that holds a folder's weights, or the index of its shards.
pub fn weight_file(folder: &Path) -> Result<PathBuf> {
    WEIGHT_FILES.iter().map(|(name, _)| folder.join(name)).find(|path| path.is_file()).ok_or_else(
        || {
            if folder.join(super::adapter::CONFIG_FILE).is_file() {
                return ModelError::new("the folder holds an adapter, not a model")
                    .help(
                        "`source` names the model below it, `adapter = folder(\"…\")` the adapter",
                    )
                    .in_file(folder);
            }
            let names = WEIGHT_FILES.iter().map(|(name, _)| *name);
            ModelError::new(format!(
                "the folder holds no weights; sought were {}",
                crate::base::suggest::list(names)
            ))
            .in_file(folder)
        },
    )
}

/// Every file that a folder's weights lie in, the index first. Only the index is read.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let main = weight_file(folder)?;
    let sharded = main.extension().is_some_and(|extension| extension == "json");
    let shards = if sharded { shard_names(&main)? } else { BTreeSet::new() };
    Ok(std::iter::once(main).chain(shards.into_iter().map(|name| folder.join(name))).collect())
}

/// Names and shapes of a folder's tensors, without their values: read from the header of a
/// safetensors file, or by name alone (with no shape) from an index of shards. `None` for formats
/// that would have to be read whole.
pub fn probe_shapes(folder: &Path) -> Result<Option<BTreeMap<String, Vec<usize>>>> {
    let path = weight_file(folder)?;
    if path.ends_with("model.safetensors") {
        safetensors::probe(&path).map(Some).map_err(|error| error.in_file(&path))
    } else if path.ends_with("model.safetensors.index.json") {
        Ok(Some(index(&path)?.into_keys().map(|name| (name, Vec::new())).collect()))
    } else {
        Ok(None)
    }
}

/// Reads every tensor of a folder's weights, of one file or of its shards.
pub fn read_weights(folder: &Path) -> Result<StoredTensors> {
    let path = weight_file(folder)?;
    let reader = WEIGHT_FILES.iter().find(|(name, _)| path.ends_with(name)).map(|(_, read)| *read);
    match reader {
        Some(Reader::Whole(read)) => read_one(&path, read),
        Some(Reader::Sharded(read)) => {
            let mut all = StoredTensors::new();
            for name in shard_names(&path)? {
                let shard = folder.join(&name);
                for (tensor, stored) in read_one(&shard, read)? {
                    if all.insert(tensor.clone(), stored).is_some() {
                        return Err(ModelError::new(format!(
                            "tensor `{tensor}` lies in two shards"
                        ))
                        .in_file(&shard));
                    }
                }
            }
            let listed = index(&path)?;
            match listed.keys().find(|name| !all.contains_key(*name)) {
                Some(absent) => Err(ModelError::new(format!(
                    "the index lists tensor `{absent}`, which lies in no shard"
                ))
                .in_file(&path)),
                None => Ok(all),
            }
        }
        None => Err(ModelError::new("the folder holds no weights").in_file(folder)),
    }
}

/// Reads every tensor of one safetensors file.
pub fn read_safetensors(path: &Path) -> Result<StoredTensors> {
    read_one(path, safetensors::read)
}

/// Names and shapes of one safetensors file, without values.
pub fn probe_safetensors(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    safetensors::probe(path).map_err(|error| error.in_file(path))
}

/// Reads every tensor of the bytes of a safetensors file.
pub fn read_safetensors_bytes(bytes: &[u8]) -> Result<StoredTensors> {
    safetensors::read(bytes)
}

/// Names and shapes of the bytes of a safetensors file.
pub fn probe_safetensors_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Vec<usize>>> {
    safetensors::probe_read(bytes, |error| ModelError::new(error.to_string()))
}

/// Tensors as the bytes of a safetensors file.
pub fn tensor_bytes(tensors: &[(String, Tensor)], written: Written) -> Result<Vec<u8>> {
    let whole = tensors.iter().map(|(_, tensor)| tensor.contiguous());
    let whole = whole.collect::<std::result::Result<Vec<_>, _>>()?;
    let values = whole.iter().map(Slice::<f32>::new).collect::<std::result::Result<Vec<_>, _>>()?;
    let list: Vec<(&str, &[usize], &[f32])> = tensors
        .iter()
        .zip(&values)
        .map(|((name, tensor), values)| (name.as_str(), tensor.dims(), values.get()))
        .collect();
    safetensors::serialize(&list, written)
}

fn read_one(path: &Path, read: fn(&[u8]) -> Result<StoredTensors>) -> Result<StoredTensors> {
    let of_file = |error: ModelError| error.in_file(path);
    let file = std::fs::File::open(path).map_err(|error| ModelError::io(path, &error))?;
    // SAFETY: the bytes are decoded, with every bound checked, into tensors of our own. Who changes a
    // checkpoint while it is read gets other numbers, as with any other way to read it.
    match unsafe { memmap2::Mmap::map(&file) } {
        Ok(bytes) => read(&bytes).map_err(of_file),
        // An empty file, or no regular one.
        Err(_) => read(&read_file(path)?).map_err(of_file),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| ModelError::io(path, &error))
}

/// An index's map from tensor to shard.
fn index(path: &Path) -> Result<BTreeMap<String, String>> {
    let wrong =
        |what: &str| ModelError::new(format!("the index of the shards {what}")).in_file(path);
    let value: serde_json::Value = serde_json::from_slice(&read_file(path)?)
        .map_err(|error| wrong(&format!("is not JSON: {error}")))?;
    let map = value.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| wrong("has no object `weight_map`"))?;
    map.iter()
        .map(|(tensor, file)| {
            let file = file.as_str().ok_or_else(|| wrong("names a shard that is no text"))?;
            // A shard lies beside its index, never elsewhere.
            if file.is_empty() || file.contains(['/', '\\']) || file == ".." {
                return Err(wrong(&format!("names `{file}`, which is no file of this folder")));
            }
            Ok((tensor.clone(), file.to_string()))
        })
        .collect()
}

fn shard_names(path: &Path) -> Result<BTreeSet<String>> {
    Ok(index(path)?.into_values().collect())
}

/// What became of the tensors of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Declared, but not in the files.
    pub missing: Vec<String>,
    /// In the files, but not declared.
    pub unexpected: Vec<String>,
    /// To be drawn anew: what was missing, and a head that is to be new.
    pub newly_initialised: Vec<String>,
}

/// The declared tensors that the files hold, in the order of their declaration.
#[derive(Debug, Clone, Default)]
pub struct Assigned {
    pub tensors: Vec<(String, Tensor)>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
}

/// Hands the tensors of the files to the declarations. Reads the old names `gamma` and `beta` of
/// layer norms, and a backbone that was saved without its prefix (`embeddings…` for
/// `bert.embeddings…`). `buffers`: ends of names that older versions stored and nobody needs.
/// Fails where a shape differs from the declaration.
pub fn assign(
    declared: &[Declaration],
    stored: StoredTensors,
    prefix: &str,
    buffers: &[&str],
) -> Result<Assigned> {
    let wanted: BTreeMap<&str, &Declaration> =
        declared.iter().map(|declaration| (declaration.name.as_str(), declaration)).collect();
    let mut found: BTreeMap<&str, (String, Stored)> = BTreeMap::new();
    let mut unexpected = Vec::new();
    for (name, tensor) in stored {
        let modern = modern_name(&name);
        let prefixed = format!("{prefix}.{modern}");
        let known = [modern.as_str(), prefixed.as_str()]
            .into_iter()
            .find_map(|name| wanted.get_key_value(name).map(|(known, _)| *known));
        match known {
            Some(known) => {
                if let Some((other, _)) = found.insert(known, (name.clone(), tensor)) {
                    return Err(ModelError::new(format!(
                        "both `{other}` and `{name}` stand for the tensor `{known}`"
                    )));
                }
            }
            None if buffers.iter().any(|buffer| name.ends_with(buffer)) => {}
            None => unexpected.push(name),
        }
    }
    let mut assigned = Assigned { unexpected, ..Assigned::default() };
    for declaration in declared {
        let Some((name, tensor)) = found.remove(declaration.name.as_str()) else {
            assigned.missing.push(declaration.name.clone());
            continue;
        };
        if tensor.shape != declaration.shape {
            return Err(ModelError::new(format!(
                "tensor `{name}` has the shape {:?} where the config asks for {:?}",
                tensor.shape, declaration.shape
            )));
        }
        let Some(values) = tensor.values else {
            return Err(ModelError::new(format!("tensor `{name}` holds integers, not weights")));
        };
        let tensor = Tensor::from_vec(values, tensor.shape, &Device::Cpu)?;
        assigned.tensors.push((declaration.name.clone(), tensor));
    }
    Ok(assigned)
}

/// TensorFlow's names of a layer norm's parameters, which old BERT checkpoints carry.
fn modern_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((module, "gamma")) => format!("{module}.weight"),
        Some((module, "beta")) => format!("{module}.bias"),
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests;
