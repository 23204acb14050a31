//! `load-model`: a pretrained model, or a config to train from scratch. Reading is in
//! `model::checkpoint`; heads are in `task`.

mod adapter;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::adapter::AdapterSource;
use super::check::{CheckCx, Missing, Place, Probe};
use super::run::{Event, RunCx, StepError};
use super::shape::{LabelShape, ModelShape, Shape, TokenizerShape};
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::Tokenizer;
use crate::model::adapter::ProbedAdapter;
use crate::model::builtin::{BUILTINS, Builtin, builtin};
use crate::model::{
    self, Backbone, Config, HeadChoice, LabelNames, LoadReport, Model, ModelError, Pooling,
    architecture, checkpoint,
};
use crate::schema::{Bound, Map, Or, Pick, Port, PortType, Scalar, Secret};
use crate::task::{Heads, Outputs};
use crate::{params, variants};

params! {
    /// A folder in Hugging Face layout.
    pub struct Folder {
        /// Its path. Sought beside the program, then in `paths.models` of `ftrun.toml` and in
        /// `FTRUN_MODELS`.
        path: String, free, main;
    }
}

params! {
    /// A repository on the Hugging Face hub, or on the one that `HF_ENDPOINT` names.
    pub struct Hub {
        /// `owner/name`
        repo: String, main;
        /// A branch, a tag or a commit.
        revision: String = "main".to_string();
        /// A credential for private repositories; without it `HF_TOKEN` is used.
        token: Option<Secret>, free;
    }
}

params! {
    /// A model that is part of ftrun.
    pub struct Embedded {
        /// Its name: `seedling`.
        name: String, main;
        /// Leave its weights, and draw all of them in the first `train`: the same model from scratch.
        fresh: bool = false;
    }
}

params! {
    /// A config without weights: every tensor is drawn by the first `train`.
    pub struct FromConfig {
        /// The path of a `config.json`.
        path: String, free, main;
    }
}

variants! {
    /// a source of a model
    pub enum Source {
        /// A folder in Hugging Face layout on this machine.
        Folder(Folder) = "folder",
        /// The same as `folder`.
        Files(Folder) = "files",
        /// A repository on a model hub.
        Hub(Hub) = "hub",
        /// A model that is part of ftrun.
        Builtin(Embedded) = "builtin",
        /// A config alone, trained from scratch.
        Config(FromConfig) = "config",
    }
}

variants! {
    /// a source of a tokenizer
    pub enum TokenizerSource {
        /// A folder with `tokenizer.json` or `vocab.txt`.
        Folder(Folder) = "folder",
        /// The tokenizer of a model that is part of ftrun.
        Builtin(Embedded) = "builtin",
    }
}

params! {
    /// Reads a pretrained model and puts a head on it.
    ///
    /// The number and the names of the labels come from the data: the first `train` fixes the head's
    /// size and draws what the checkpoint lacks from its own seed, so this step is the same under
    /// every seed. What was missing, unexpected or is drawn anew is reported.
    pub struct LoadModel {
        /// Where the model is.
        source: Source;
        /// What the model is to predict. Without it a bare backbone.
        head: Option<Pick<Heads>>;
        /// Another tokenizer than the one beside the model; needed for a config alone.
        tokenizer: Option<Or<TokenizerSource, Port<port::ATokenizer>>>;
        /// An adapter to put on the model, as peft and `save` write it.
        adapter: Option<AdapterSource>;
        /// Fields of the config with other values: `{ hidden_dropout_prob = 0.0 }`.
        r#override: Map<Scalar> = Map(Vec::new());
    }
}

/// Where a source leads.
enum Found {
    Folder(PathBuf),
    Config(PathBuf),
    Embedded(&'static Builtin),
    /// An embedded model of which only the config and the tokenizer are wanted.
    Fresh(&'static Builtin),
}

impl Source {
    /// What messages call the model, and the argument that names it.
    fn name(&self) -> (&str, &'static str) {
        match self {
            Source::Folder(folder) | Source::Files(folder) => (&folder.path, "source.path"),
            Source::Hub(hub) => (&hub.repo, "source.repo"),
            Source::Builtin(embedded) => (&embedded.name, "source.name"),
            Source::Config(config) => (&config.path, "source.path"),
        }
    }

    fn find(&self, probe: &dyn Probe, weights: bool) -> Result<Found, Missing> {
        match self {
            Source::Folder(folder) | Source::Files(folder) => {
                first(probe, &folder.path).map(Found::Folder)
            }
            Source::Config(config) => first(probe, &config.path).map(Found::Config),
            Source::Hub(hub) => {
                let token = hub.token.as_ref().map(|token| token.0.as_str());
                probe.snapshot(&hub.repo, &hub.revision, token, weights).map(Found::Folder)
            }
            Source::Builtin(embedded) => {
                let found = if embedded.fresh { Found::Fresh } else { Found::Embedded };
                find_builtin(&embedded.name).map(found)
            }
        }
    }
}

fn first(probe: &dyn Probe, path: &str) -> Result<PathBuf, Missing> {
    let found = probe.locate(path, Place::Models)?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Missing { message: format!("`{path}` is not there"), help: None })
}

fn find_builtin(name: &str) -> Result<&'static Builtin, Missing> {
    builtin(name).ok_or_else(|| {
        let names = BUILTINS.iter().map(|builtin| builtin.name);
        Missing {
            message: format!("no built-in model is called `{name}`"),
            help: Some(format!("there is {}", suggest::list(names))),
        }
    })
}

impl Found {
    fn config(&self) -> Result<Config, ModelError> {
        match self {
            Found::Folder(folder) => checkpoint::read_config(folder),
            Found::Config(path) => checkpoint::read_config_file(path),
            Found::Embedded(builtin) | Found::Fresh(builtin) => Config::parse(builtin.config),
        }
    }

    /// Whether every tensor is to be drawn.
    fn is_blank(&self) -> bool {
        matches!(self, Found::Config(_) | Found::Fresh(_))
    }

    /// Names and shapes of the tensors that are there, where they can be told without reading all.
    fn shapes(&self) -> Result<Option<BTreeMap<String, Vec<usize>>>, ModelError> {
        match self {
            Found::Folder(folder) => checkpoint::probe_shapes(folder),
            Found::Config(_) | Found::Fresh(_) => Ok(Some(BTreeMap::new())),
            Found::Embedded(builtin) => {
                checkpoint::probe_safetensors_bytes(builtin.weights).map(Some)
            }
        }
    }

    fn model(
        &self,
        config: Config,
        choice: Option<&HeadChoice>,
    ) -> Result<(Model, LoadReport), ModelError> {
        match self {
            Found::Folder(folder) => Model::from_folder(folder, config, choice),
            Found::Embedded(builtin) => Model::from_bytes(builtin.weights, config, choice),
            Found::Config(_) | Found::Fresh(_) => Model::from_config(config, choice, None),
        }
    }

    /// The tokenizer that comes with the model.
    fn tokenizer(&self) -> Result<Option<Tokenizer>, crate::data::DataError> {
        match self {
            Found::Folder(folder) if has_tokenizer(folder) => {
                Tokenizer::from_folder(folder).map(Some)
            }
            Found::Folder(_) | Found::Config(_) => Ok(None),
            Found::Embedded(builtin) | Found::Fresh(builtin) => {
                embedded_tokenizer(builtin).map(Some)
            }
        }
    }
}

fn has_tokenizer(folder: &Path) -> bool {
    TOKENIZER_FILES.iter().take(2).any(|name| folder.join(name).is_file())
}

/// The files that decide what a tokenizer does; one of the first two is needed.
const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

fn embedded_tokenizer(builtin: &Builtin) -> Result<Tokenizer, crate::data::DataError> {
    Tokenizer::from_files(BTreeMap::from([
        ("tokenizer.json".to_string(), builtin.tokenizer.to_vec()),
        ("tokenizer_config.json".to_string(), builtin.tokenizer_config.to_vec()),
    ]))
}

impl LoadModel {
    /// The head that is asked for; what a folder says of its vectors decides where nothing else does.
    fn choice(
        &self,
        backbone: &dyn Backbone,
        found: &Found,
    ) -> Result<Option<HeadChoice>, ModelError> {
        let Some(request) = self.head.as_ref().and_then(Pick::build) else { return Ok(None) };
        let kind = match (request.kind(), found) {
            // What is asked for itself is the same beside any folder.
            (kind, Found::Folder(folder))
                if request.kind_beside(Some(Pooling::Cls)) != request.kind_beside(None) =>
            {
                checkpoint::stored_pooling(folder)?
                    .map_or(kind, |stored| request.kind_beside(Some(stored)))
            }
            (kind, _) => kind,
        };
        let task = request.task();
        Ok(Some(HeadChoice {
            task: task.name().to_string(),
            kind,
            new: request.is_new(),
            outputs: task.fixed_outputs(backbone),
        }))
    }

    /// The config with the fields that are overridden; the name of the field that is wrong.
    fn overridden(&self, mut config: Config) -> Result<Config, (String, ModelError)> {
        let at = |name: &str| format!("override.{name}");
        let known = architecture(&config).map(|family| family.fields()).unwrap_or_default();
        for (name, Scalar(value)) in &self.r#override.0 {
            let value: serde_json::Value = match value {
                Bound::Bool(value) => (*value).into(),
                Bound::Int(value) => (*value).into(),
                Bound::Float(value) => (*value).into(),
                Bound::Text(value) => value.as_str().into(),
                _ => continue,
            };
            config.replace(name, value, known).map_err(|error| (at(name), error))?;
        }
        Ok(config)
    }

    fn other_tokenizer(&self, probe: &dyn Probe) -> Result<Option<Tokenizer>, StepError> {
        let missing = |missing: Missing| {
            let error = StepError::new(Code::E0507, missing.message).argument("tokenizer");
            StepError { help: missing.help, ..error }
        };
        match &self.tokenizer {
            Some(Or::First(TokenizerSource::Folder(folder))) => {
                let folder = first(probe, &folder.path).map_err(missing)?;
                Ok(Some(Tokenizer::from_folder(&folder)?))
            }
            Some(Or::First(TokenizerSource::Builtin(embedded))) => {
                let builtin = find_builtin(&embedded.name).map_err(missing)?;
                Ok(Some(embedded_tokenizer(builtin)?))
            }
            Some(Or::Second(_)) | None => Ok(None),
        }
    }

    fn check_tokenizer(
        &self,
        cx: &mut CheckCx,
        found: &Found,
        name: &str,
    ) -> Option<TokenizerShape> {
        if let Some(Or::Second(port)) = &self.tokenizer {
            return cx.shape(port);
        }
        let shape = |tokenizer: &Tokenizer, name: &str| TokenizerShape {
            vocab_size: Some(tokenizer.vocab_size()),
            digest: Some(tokenizer.digest()),
            name: name.to_string(),
        };
        match self.other_tokenizer(cx.probe) {
            Ok(Some(tokenizer)) => return Some(shape(&tokenizer, "the tokenizer given")),
            Ok(None) => {}
            Err(error) => {
                let mut diag = cx.diag(Code::E0507, "tokenizer", error.message);
                diag.help = error.help;
                cx.push(diag);
                return None;
            }
        }
        match found.tokenizer() {
            Ok(Some(tokenizer)) => Some(shape(&tokenizer, name)),
            Ok(None) => {
                if matches!(found, Found::Config(_)) {
                    let diag = cx
                        .diag(Code::E0507, "source", "a config alone comes without a tokenizer")
                        .help("`tokenizer = folder(\"…\")` names a folder that has one, `train-tokenizer` makes one");
                    cx.push(diag);
                }
                None
            }
            Err(error) => {
                let diag = cx.diag(Code::E0507, "source", error.to_string());
                cx.push(diag);
                None
            }
        }
    }

    /// What is wrong with the checkpoint under this config and head, and the labels it brings.
    fn check_head(
        &self,
        config: &Config,
        found: &Found,
        adapter: Option<ProbedAdapter>,
    ) -> Result<(LabelShape, bool, Vec<String>), ModelError> {
        let backbone = architecture(config)?.build(config)?;
        let mut names: Vec<String> =
            backbone.declarations().into_iter().map(|declaration| declaration.name).collect();
        let Some(choice) = self.choice(backbone.as_ref(), found)? else {
            return Ok((LabelShape::Absent, false, names));
        };
        let outputs = choice.outputs.unwrap_or(1);
        let head = model::head(backbone.as_ref(), config, choice.kind, outputs)?;
        names.extend(head.declarations().into_iter().map(|declaration| declaration.name));
        let stored = found.shapes()?;
        let outputs = head.output_names();
        let saved = adapter.as_ref().map_or(&[][..], |adapter| &adapter.saved);
        let is_saved = |name: &str| saved.iter().any(|saved| saved == name);
        let is_stored =
            |name: &str| !choice.new && stored.as_ref().is_some_and(|all| all.contains_key(name));
        let has_head = outputs.iter().all(|name| is_saved(name) || is_stored(name));
        if !has_head {
            return Ok((LabelShape::Absent, true, names));
        }
        let named = adapter.as_ref().and_then(|adapter| adapter.model.as_ref()).unwrap_or(config);
        let known = match named.label_names()? {
            LabelNames::Named(names) => Some(names),
            LabelNames::Count(_) | LabelNames::Unknown => None,
        };
        let labels = match crate::task::task(&choice.task)?.outputs() {
            Outputs::Classes => LabelShape::Classes(known),
            Outputs::Labels => LabelShape::Multi(known),
            Outputs::Tags => LabelShape::Tags(known),
            Outputs::Values => LabelShape::Values,
            Outputs::Answers | Outputs::Choices | Outputs::Tokens | Outputs::Vectors => {
                LabelShape::Absent
            }
        };
        Ok((labels, false, names))
    }
}

fn report_model_error(cx: &mut CheckCx, path: &str, error: ModelError) {
    let mut diag = cx.diag(
        Code::E0501,
        path,
        match &error.file {
            Some(file) => format!("{}: {}", file.display(), error.message),
            None => error.message.clone(),
        },
    );
    diag.help = error.help;
    cx.push(diag);
}

impl Step for LoadModel {
    const NAME: &'static str = "load-model";
    const VERSION: u32 = 3;
    const OUTPUTS: &'static [Output] = &[
        Output {
            name: "model",
            ty: PortType::Model,
            doc: "The model, with its head still to be drawn.",
        },
        Output {
            name: "tokenizer",
            ty: PortType::Tokenizer,
            doc: "The tokenizer that belongs to it.",
        },
    ];
    const REPORT: &'static [&'static str] =
        &["parameters", "missing", "unexpected", "newly_initialised"];
    const EXAMPLE: &'static str = "load-model encoder {\n  source = folder(\"models/minilm\")\n  head   = sequence_classification\n}";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        let (name, argument) = self.source.name();
        let found = match self.source.find(cx.probe, false) {
            Ok(found) => found,
            Err(missing) => {
                let mut diag = cx.diag(Code::E0501, argument, missing.message);
                diag.help = missing.help;
                if let Source::Builtin(embedded) = &self.source {
                    let names = BUILTINS.iter().map(|builtin| builtin.name);
                    let near = suggest::nearest(&embedded.name, names)
                        .or(BUILTINS.first().map(|b| b.name));
                    if let Some(near) = near {
                        diag = diag.fix(cx.places.at(argument), format!("{near:?}"));
                    }
                }
                cx.push(diag);
                return Vec::new();
            }
        };
        let config = match found.config() {
            Ok(config) => config,
            Err(error) => {
                report_model_error(cx, argument, error);
                return Vec::new();
            }
        };
        let config = match self.overridden(config) {
            Ok(config) => config,
            Err((path, error)) => {
                report_model_error(cx, &path, error);
                return Vec::new();
            }
        };
        if let (Found::Folder(folder), false) = (&found, matches!(self.source, Source::Hub(_)))
            && let Err(error) = checkpoint::weight_file(folder)
        {
            report_model_error(cx, argument, error);
        }
        let adapter = self.check_adapter(cx);
        let (labels, undrawn, parameters) = match self.check_head(&config, &found, adapter) {
            Ok(checked) => checked,
            Err(error) => {
                report_model_error(cx, argument, error);
                return Vec::new();
            }
        };
        let tokenizer = self.check_tokenizer(cx, &found, name);
        let Ok(backbone) = architecture(&config).and_then(|family| family.build(&config)) else {
            return Vec::new();
        };
        if let (Some(shape), Some(own)) = (&tokenizer, backbone.vocabulary())
            && let Some(size) = shape.vocab_size
            && size > own
        {
            let path = if self.tokenizer.is_some() { "tokenizer" } else { "source" };
            let message = format!("the tokenizer has {size} tokens, the model knows {own}");
            let mut diag = cx.diag(Code::E0507, path, message);
            if matches!(self.source, Source::Config(_)) {
                diag = diag
                    .help(format!("`override = {{ vocab_size = {size} }}` makes room for them"));
            }
            cx.push(diag);
        }
        let shape = ModelShape {
            architecture: config.model_type().unwrap_or_default().to_string(),
            head: self
                .head
                .as_ref()
                .and_then(Pick::build)
                .map(|head| head.task().name().to_string()),
            labels,
            max_positions: backbone.max_length(),
            vocab_size: backbone.vocabulary(),
            parameters,
            linear: model::adapter::linear_modules(&backbone.declarations())
                .into_iter()
                .map(String::from)
                .collect(),
            undrawn: undrawn || found.is_blank(),
            trained: false,
            on_trained: false,
            tokenizer: tokenizer.clone(),
            name: name.to_string(),
        };
        let mut made = vec![("model", Shape::Model(shape))];
        made.extend(tokenizer.map(|tokenizer| ("tokenizer", Shape::Tokenizer(tokenizer))));
        made
    }

    fn externals(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        let of = |error: ModelError| Missing { message: error.to_string(), help: error.help };
        let tokenizer_files = |folder: &Path| -> Vec<PathBuf> {
            TOKENIZER_FILES
                .iter()
                .map(|name| folder.join(name))
                .filter(|path| path.is_file())
                .collect()
        };
        let mut files = Vec::new();
        match self.source.find(probe, true)? {
            Found::Folder(folder) => {
                files.push(folder.join("config.json"));
                files.extend(checkpoint::weight_files(&folder).map_err(of)?);
                files.extend(tokenizer_files(&folder));
                let pooling = [checkpoint::POOLING_FILE, checkpoint::MODULES_FILE];
                let pooling = pooling.iter().map(|name| folder.join(name));
                files.extend(pooling.filter(|path| path.is_file()));
            }
            Found::Config(path) => files.push(path),
            Found::Embedded(_) | Found::Fresh(_) => {}
        }
        files.extend(self.adapter_files(probe)?);
        if let Some(Or::First(TokenizerSource::Folder(folder))) = &self.tokenizer {
            files.extend(tokenizer_files(&first(probe, &folder.path)?));
        }
        Ok(files)
    }

    /// What an embedded model holds may change with the program.
    fn identity(&self) -> Option<(&'static str, String)> {
        let embedded = match (&self.source, &self.tokenizer) {
            (Source::Builtin(embedded), _)
            | (_, Some(Or::First(TokenizerSource::Builtin(embedded)))) => embedded,
            _ => return None,
        };
        builtin(&embedded.name).map(|builtin| ("source.content", builtin.digest().to_string()))
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let (_, argument) = self.source.name();
        let unreadable = |error: ModelError| StepError {
            file: error.file,
            help: error.help,
            ..StepError::new(Code::E0501, error.message).argument(argument)
        };
        let found = self.source.find(cx.probe, true).map_err(|missing| StepError {
            help: missing.help,
            ..StepError::new(Code::E0501, missing.message).argument(argument)
        })?;
        cx.control.event(Event::Phase { name: "reading", total: None });
        let config = found.config().map_err(unreadable)?;
        let config =
            self.overridden(config).map_err(|(path, error)| unreadable(error).argument(path))?;
        let backbone =
            architecture(&config).and_then(|family| family.build(&config)).map_err(unreadable)?;
        let choice = self.choice(backbone.as_ref(), &found).map_err(unreadable)?;
        let tokenizer = match &self.tokenizer {
            Some(Or::Second(port)) => Some(cx.input(port)?),
            _ => self.other_tokenizer(cx.probe)?.map(Arc::new),
        };
        let tokenizer = match tokenizer {
            Some(tokenizer) => Some(tokenizer),
            None => found.tokenizer()?.map(Arc::new),
        };
        let (mut model, report) = found.model(config, choice.as_ref()).map_err(unreadable)?;
        model.tokenizer.clone_from(&tokenizer);
        let (model, report) = self.adapted(model, report, cx.probe)?;
        for note in notes(&report) {
            cx.control.event(Event::Note { message: note });
        }
        let elements: usize = model.tensors.iter().map(|(_, tensor)| tensor.elem_count()).sum();
        let counts: Report = [
            ("parameters", elements),
            ("missing", report.missing.len()),
            ("unexpected", report.unexpected.len()),
            ("newly_initialised", report.newly_initialised.len()),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_string(), count as f64))
        .collect();
        let mut made = vec![("model", Value::Model(Arc::new(model)))];
        made.extend(tokenizer.map(|tokenizer| ("tokenizer", Value::Tokenizer(tokenizer))));
        made.push(("report", Value::Report(Arc::new(counts))));
        Ok(made)
    }
}

/// One line for each kind of difference between the files and the architecture.
fn notes(report: &LoadReport) -> Vec<String> {
    let line = |what: &str, names: &[String]| -> Option<String> {
        let shown = suggest::list(names.iter().take(5).map(String::as_str));
        let more = names.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{what}: {shown}{more}"))
    };
    [
        line("not in the checkpoint", &report.missing),
        line("in the checkpoint, not used", &report.unexpected),
        line("drawn by the first training", &report.newly_initialised),
    ]
    .into_iter()
    .flatten()
    .collect()
}
