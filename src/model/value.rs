//! The value *model* that travels between steps: tensors, config, tokenizer, label names and the
//! tokenization of its training data, as far as they are known.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adapter::{Adapted, AdapterConfig};
use super::checkpoint::{self, LoadReport, StoredTensors, Written};
use super::{
    Backbone, Config, Declaration, HeadKind, LabelNames, ModelError, Result, architecture,
};
use crate::base::{Digest, Hasher};
use crate::data::{Fingerprints, Tokenization, Tokenizer};
use crate::nn::ops::tensor::Slice;

/// What stands on the backbone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The name of its task, as in the language.
    pub task: String,
    pub kind: HeadKind,
    /// The number of outputs; `None` while only the data will tell.
    pub outputs: Option<usize>,
    /// What the outputs are called; empty where they have no names.
    pub labels: Vec<String>,
}

impl Head {
    /// Whether the labels of the config are what the outputs stand for.
    pub fn labels_are_outputs(&self) -> bool {
        matches!(self.kind, HeadKind::Sequence | HeadKind::Token)
    }
}

/// A model, whole or with tensors that the first `train` draws.
#[derive(Debug, Clone)]
pub struct Model {
    pub config: Config,
    pub head: Option<Head>,
    /// The tensors that are known, in the order of their declaration.
    pub tensors: Vec<(String, Tensor)>,
    /// The names of those still to be drawn, in that order too.
    pub undrawn: Vec<String>,
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// How the rows it was trained on were tokenized.
    pub tokenization: Option<Tokenization>,
    /// The rows that it learned from, as far as ftrun trained it.
    pub learned: Fingerprints,
    /// An adapter that sits on it; what was trained as a whole beside it is among `tensors`.
    pub adapter: Option<Adapted>,
}

/// Which head a model is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadChoice {
    /// The task's name.
    pub task: String,
    pub kind: HeadKind,
    /// Draw it anew even if the checkpoint has one.
    pub new: bool,
    /// The number of outputs where the data have no say in it: 1 for values.
    pub outputs: Option<usize>,
}

impl Model {
    /// Reads a folder in Hugging Face layout. The tokenizer is the folder's, where it has one.
    pub fn from_folder(
        folder: &Path,
        config: Config,
        head: Option<&HeadChoice>,
    ) -> Result<(Self, LoadReport)> {
        let stored = checkpoint::read_weights(folder)?;
        let tokenizer =
            ["tokenizer.json", "vocab.txt"].iter().any(|name| folder.join(name).is_file());
        let tokenizer = match tokenizer {
            true => Some(Arc::new(Tokenizer::from_folder(folder).map_err(of_data)?)),
            false => None,
        };
        Self::from_stored(config, Some(stored), head, tokenizer)
            .map_err(|error| error.in_file(folder))
    }

    /// Reads the bytes of a safetensors file.
    pub fn from_bytes(
        weights: &[u8],
        config: Config,
        head: Option<&HeadChoice>,
    ) -> Result<(Self, LoadReport)> {
        Self::from_stored(config, Some(checkpoint::read_safetensors_bytes(weights)?), head, None)
    }

    /// A model of a config alone: every tensor is drawn by the first `train`.
    pub fn from_config(
        config: Config,
        head: Option<&HeadChoice>,
        tokenizer: Option<Arc<Tokenizer>>,
    ) -> Result<(Self, LoadReport)> {
        let (mut model, mut report) = Self::from_stored(config, None, head, tokenizer)?;
        model.undrawn.clone_from(&report.missing);
        report.newly_initialised = std::mem::take(&mut report.missing);
        Ok((model, report))
    }

    /// `stored`: none where all is to be drawn.
    fn from_stored(
        config: Config,
        stored: Option<StoredTensors>,
        choice: Option<&HeadChoice>,
        tokenizer: Option<Arc<Tokenizer>>,
    ) -> Result<(Self, LoadReport)> {
        let backbone = architecture(&config)?.build(&config)?;
        let from_scratch = stored.is_none();
        let mut stored = stored.unwrap_or_default();
        let mut report = LoadReport::default();
        let mut undrawn = Vec::new();
        let mut head = None;
        let mut buffers = backbone.buffers().to_vec();
        let mut declared = backbone.declarations();
        let backbone_count = declared.len();
        if let Some(choice) = choice {
            let of = |outputs| super::head(backbone.as_ref(), &config, choice.kind, outputs);
            let module = of(choice.outputs.unwrap_or(1))?;
            if choice.new {
                for name in module.output_names() {
                    stored.remove(*name);
                }
            }
            let found = module.output_names().iter().find_map(|name| stored.get(*name));
            let outputs = found.and_then(|tensor| tensor.shape.first().copied());
            let names = match choice.kind {
                HeadKind::Sequence | HeadKind::Token => config.label_names()?,
                // Theirs are no outputs of this head.
                _ => LabelNames::Unknown,
            };
            let labels = match (outputs, names) {
                (Some(outputs), LabelNames::Named(names)) if names.len() == outputs => names,
                (Some(outputs), LabelNames::Named(names)) => {
                    return Err(ModelError::new(format!(
                        "the config names {} labels, the checkpoint's head has {outputs} outputs",
                        names.len()
                    )));
                }
                _ => Vec::new(),
            };
            let fixed = choice.outputs.filter(|_| outputs.is_none());
            let outputs = outputs.or(fixed);
            let module = of(outputs.unwrap_or(1))?;
            declared.extend(module.declarations());
            buffers.extend(module.buffers());
            let task = choice.task.clone();
            head = Some(Head { task, kind: choice.kind, outputs, labels });
        }
        let assigned = checkpoint::assign(&declared, stored, backbone.prefix(), &buffers)?;
        report.missing = assigned.missing;
        report.unexpected = assigned.unexpected;
        if !from_scratch {
            let of_backbone = &declared[..backbone_count];
            let lost: Vec<&str> = report
                .missing
                .iter()
                .filter(|name| of_backbone.iter().any(|declaration| declaration.name == **name))
                .map(String::as_str)
                .collect();
            if !lost.is_empty() {
                let more = lost.len().saturating_sub(5);
                let shown = crate::base::suggest::list(lost.into_iter().take(5));
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                return Err(ModelError::new(format!(
                    "the checkpoint does not hold the tensors {shown}{more}, which the config asks for"
                )));
            }
            undrawn.clone_from(&report.missing);
            report.newly_initialised.clone_from(&report.missing);
        }
        let tensors = assigned.tensors;
        let model = Self {
            config,
            head,
            tensors,
            undrawn,
            tokenizer,
            tokenization: None,
            learned: Fingerprints::default(),
            adapter: None,
        };
        Ok((model, report))
    }

    pub fn backbone(&self) -> Result<Box<dyn Backbone>> {
        architecture(&self.config)?.build(&self.config)
    }

    /// Every parameter in order, without an adapter's; fails while the number of outputs is unknown.
    pub fn declarations(&self) -> Result<Vec<Declaration>> {
        let head = self.head.as_ref();
        if head.is_some_and(|head| head.outputs.is_none()) {
            return Err(self.undrawn_error());
        }
        declared(&self.config, head)
    }

    /// Names of all parameters, drawn or not.
    pub fn parameter_names(&self) -> Vec<&str> {
        let drawn = self.tensors.iter().map(|(name, _)| name.as_str());
        drawn.chain(self.undrawn.iter().map(String::as_str)).collect()
    }

    /// Whether every tensor has its values.
    pub fn complete(&self) -> Result<()> {
        if self.undrawn.is_empty() { Ok(()) } else { Err(self.undrawn_error()) }
    }

    fn undrawn_error(&self) -> ModelError {
        let more = self.undrawn.len().saturating_sub(4);
        let shown = crate::base::suggest::list(self.undrawn.iter().take(4).map(String::as_str));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        ModelError::new(format!("the model's tensors {shown}{more} have no values yet"))
            .help("the first `train` draws them")
    }

    /// Over content: config, head, tensors, tokenizer, tokenization, rows learned from.
    pub fn digest(&self) -> Result<Digest> {
        let mut hasher = Hasher::new("model 2");
        hasher.text(&self.header()?);
        hasher.number(self.tensors.len() as u64);
        for (name, tensor) in self.tensors.iter().chain(self.adapter_tensors()) {
            hasher.text(name).number(tensor.rank() as u64);
            for size in tensor.dims() {
                hasher.number(*size as u64);
            }
            let tensor = tensor.contiguous()?;
            hasher.bytes(&checkpoint::bytes_of(Slice::<f32>::new(&tensor)?.get()));
        }
        hasher.bytes(&self.learned.to_bytes());
        Ok(hasher.finish())
    }

    fn adapter_tensors(&self) -> &[(String, Tensor)] {
        self.adapter.as_ref().map_or(&[], |adapter| &adapter.tensors)
    }

    fn header(&self) -> Result<String> {
        let header = Header {
            config: self.config.to_json(),
            head: self.head.clone(),
            undrawn: self.undrawn.clone(),
            tokenizer: self.tokenizer.as_ref().map(|tokenizer| tokenizer.content().to_string()),
            tokenization: self.tokenization,
            order: self.tensors.iter().map(|(name, _)| name.clone()).collect(),
            adapter: self.adapter.as_ref().map(|adapter| adapter.config.clone()),
        };
        serde_json::to_string(&header).map_err(|error| ModelError::new(error.to_string()))
    }

    /// Writes the model exactly into an empty folder that exists.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let save = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|error| ModelError::io(&path, &error))
        };
        save("model.json", self.header()?.as_bytes())?;
        save("model.safetensors", &self.tensor_bytes(Written::F32)?)?;
        if !self.learned.is_empty() {
            save(LEARNED, &self.learned.to_bytes())?;
        }
        if let Some(adapter) = &self.adapter {
            save(ADAPTER, &checkpoint::tensor_bytes(&adapter.tensors, Written::F32)?)?;
        }
        if let Some(tokenizer) = &self.tokenizer {
            let path = folder.join("tokenizer");
            std::fs::create_dir(&path).map_err(|error| ModelError::io(&path, &error))?;
            for (name, bytes) in tokenizer.files() {
                save(&format!("tokenizer/{name}"), bytes)?;
            }
        }
        Ok(())
    }

    /// The tensors as the bytes of a safetensors file.
    pub(super) fn tensor_bytes(&self, written: Written) -> Result<Vec<u8>> {
        checkpoint::tensor_bytes(&self.tensors, written)
    }

    /// Reads what [`Model::write`] wrote.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("model.json");
        let text = std::fs::read(&path).map_err(|error| ModelError::io(&path, &error))?;
        let damaged = |what: String| ModelError::new(what).in_file(&path);
        let header: Header =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let tensors = in_order(checkpoint::read_weights(folder)?, &header.order)
            .map_err(|name| damaged(format!("the tensor `{name}` is missing")))?;
        let adapter = match header.adapter {
            None => None,
            Some(config) => {
                let stored = checkpoint::read_safetensors(&folder.join(ADAPTER))?;
                let declared =
                    declared(&Config::parse(header.config.as_bytes())?, header.head.as_ref())?;
                let names = config.declarations(&declared)?;
                let names: Vec<String> = names.into_iter().map(|one| one.name).collect();
                let tensors = in_order(stored, &names)
                    .map_err(|name| damaged(format!("the tensor `{name}` is missing")))?;
                Some(Adapted { config, tensors, base: None })
            }
        };
        let path = folder.join(LEARNED);
        let learned = match std::fs::read(&path) {
            Ok(bytes) => Fingerprints::from_bytes(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fingerprints::default(),
            Err(error) => return Err(ModelError::io(&path, &error)),
        };
        let tokenizer = match &header.tokenizer {
            None => None,
            Some(_) => {
                let mut files = BTreeMap::new();
                let folder = folder.join("tokenizer");
                let entries =
                    std::fs::read_dir(&folder).map_err(|error| ModelError::io(&folder, &error))?;
                for entry in entries {
                    let path = entry.map_err(|error| ModelError::io(&folder, &error))?.path();
                    let bytes =
                        std::fs::read(&path).map_err(|error| ModelError::io(&path, &error))?;
                    if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                        files.insert(name.to_string(), bytes);
                    }
                }
                Some(Arc::new(Tokenizer::from_files(files).map_err(of_data)?))
            }
        };
        Ok(Self {
            config: Config::parse(header.config.as_bytes())?,
            head: header.head,
            tensors,
            undrawn: header.undrawn,
            tokenizer,
            tokenization: header.tokenization,
            learned,
            adapter,
        })
    }
}

/// Every parameter in order, without an adapter's; one output where their number is unknown.
pub(super) fn declared(config: &Config, head: Option<&Head>) -> Result<Vec<Declaration>> {
    let backbone = architecture(config)?.build(config)?;
    let mut declared = backbone.declarations();
    if let Some(head) = head {
        let outputs = head.outputs.unwrap_or(1);
        let module = super::head(backbone.as_ref(), config, head.kind, outputs)?;
        declared.extend(module.declarations());
    }
    Ok(declared)
}

const ADAPTER: &str = "adapter.safetensors";

/// Where the rows that a model learned from are told.
const LEARNED: &str = "learned";

/// The tensors of these names; fails with the name of one that is not there.
fn in_order(
    mut stored: StoredTensors,
    names: &[String],
) -> std::result::Result<Vec<(String, Tensor)>, String> {
    let tensor = |name: &String| {
        let tensor = stored.remove(name)?;
        let tensor = Tensor::from_vec(tensor.values?, tensor.shape, &candle_core::Device::Cpu);
        Some((name.clone(), tensor.ok()?))
    };
    let mut tensor = tensor;
    names.iter().map(|name| tensor(name).ok_or_else(|| name.clone())).collect()
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: String,
    head: Option<Head>,
    undrawn: Vec<String>,
    tokenizer: Option<String>,
    tokenization: Option<Tokenization>,
    order: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterConfig>,
}

pub(super) fn of_data(error: crate::data::DataError) -> ModelError {
    ModelError::new(error.to_string())
}
