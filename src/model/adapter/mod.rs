//! Adapters as part of a model: which modules have one, of what form, and its parameters. How a layer
//! computes with one is in `nn::layer`; the files are in `files`, merging is in `merge`.

mod files;
mod merge;

use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Declaration, Init, Kind, Model, ModelError, OutputHead, Result};
use crate::base::suggest;
use crate::nn::ops::adapter::row_norms;
use crate::nn::{Adapter, LowRank, Parameters, Scaling, Side};

pub use files::{
    AdapterFiles, CONFIG as CONFIG_FILE, MODEL_CONFIG as MODEL_CONFIG_FILE,
    Probed as ProbedAdapter, WEIGHTS as WEIGHTS_FILE, model_config, probe, read, save,
};

/// What an adapter computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    LowRank(Rank),
    /// Factors on the outputs of modules, or on the inputs of these.
    Scaling {
        inputs: Vec<String>,
    },
}

/// The numbers of a low-rank adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    /// Whether α is over √rank, not rank. Source: Kalajdzievski, "A Rank Stabilization Scaling
    /// Factor for Fine-Tuning with LoRA" (2023).
    pub stabilized: bool,
    /// Whether rows have magnitudes (DoRA).
    pub decomposed: bool,
}

impl Rank {
    pub fn scale(&self) -> f64 {
        let rank = self.rank.max(1) as f64;
        self.alpha / if self.stabilized { rank.sqrt() } else { rank }
    }
}

/// An adapter of a model: everything but its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    pub form: Form,
    /// The modules that have one, in the order of the model's declarations.
    pub modules: Vec<String>,
    /// How the files name these: ends of names, or the names.
    pub targets: Vec<String>,
    /// Modules that train as a whole and are saved beside the adapter.
    pub saved: Vec<String>,
}

/// A model's adapter with its values.
#[derive(Debug, Clone)]
pub struct Adapted {
    pub config: AdapterConfig,
    /// The adapter's own parameters; those of saved modules are among the model's tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// The model that it was put on; none in the form in which it is stored beside that model.
    pub base: Option<Arc<Model>>,
}

/// The modules of a family that adapters sit on where a program names none, by the ends of their
/// names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adaptable {
    pub low_rank: &'static [&'static str],
    /// (IA)³: modules whose outputs are scaled, and those whose inputs are.
    pub scaled_outputs: &'static [&'static str],
    pub scaled_inputs: &'static [&'static str],
}

/// Which modules a program asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Those that the family names.
    Usual,
    /// Every linear module of the backbone.
    AllLinear,
    /// Those whose names end so.
    Named(Vec<String>),
}

/// An adapter as a program asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterRequest {
    /// Of [`Form::Scaling`] the ends of names; none for those that the family names.
    pub form: Form,
    pub targets: Targets,
    /// Modules to train as a whole besides those that always are.
    pub saved: Vec<String>,
}

/// What of a request does not fit a model: the argument, the place in its list, and the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Misfit {
    pub argument: &'static str,
    pub place: Option<usize>,
    pub message: String,
    pub nearest: Option<String>,
}

/// The linear modules among these declarations.
pub fn linear_modules(declared: &[Declaration]) -> Vec<&str> {
    let is_matrix = |one: &&Declaration| one.kind == Kind::Weight && one.shape.len() == 2;
    declared.iter().filter(is_matrix).filter_map(|one| one.name.strip_suffix(".weight")).collect()
}

/// The modules that hold parameters of these names, and those that these are parts of.
pub fn modules<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        let ends = name.match_indices('.').map(|(end, _)| &name[..end]);
        all.extend(ends.map(String::from));
    }
    all.sort();
    all.dedup();
    all
}

/// Whether a module is meant by the end of its name, as peft matches.
fn is_meant(module: &str, target: &str) -> bool {
    let end = module.strip_suffix(target);
    end.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

impl AdapterRequest {
    /// The adapter for a backbone with these linear modules. `modules`: every module of the model,
    /// `trained`: those that always train as a whole.
    pub fn resolve(
        &self,
        family: &Adaptable,
        linear: &[&str],
        modules: &[&str],
        trained: Vec<String>,
    ) -> std::result::Result<AdapterConfig, Misfit> {
        let usual = match &self.form {
            Form::LowRank(_) => family.low_rank.to_vec(),
            Form::Scaling { .. } => [family.scaled_outputs, family.scaled_inputs].concat(),
        };
        let targets: Vec<String> = match &self.targets {
            Targets::Usual => usual.into_iter().map(String::from).collect(),
            Targets::AllLinear => linear.iter().map(|module| module.to_string()).collect(),
            Targets::Named(names) => names.clone(),
        };
        let misfit = |argument, place, message: String, nearest: Option<&str>| Misfit {
            argument,
            place,
            message,
            nearest: nearest.map(String::from),
        };
        if targets.is_empty() {
            let message = "this architecture names no modules for it".to_string();
            return Err(misfit("targets", None, message, None));
        }
        let mut saved = trained;
        for (place, name) in self.saved.iter().enumerate() {
            let found: Vec<&&str> =
                modules.iter().filter(|module| is_meant(module, name)).collect();
            if found.is_empty() {
                let near = nearest_end(name, modules);
                let message = format!("no module of the model is called `{name}`");
                return Err(misfit("modules_to_save", Some(place), message, near));
            }
            saved.extend(found.into_iter().map(|module| module.to_string()));
        }
        saved.sort();
        saved.dedup();
        let is_saved = |module: &str| saved.iter().any(|saved| is_within(module, saved));
        for (place, target) in targets.iter().enumerate() {
            if !linear.iter().any(|module| is_meant(module, target) && !is_saved(module)) {
                let message = format!("no linear module of the model is called `{target}`");
                return Err(misfit("targets", Some(place), message, nearest_end(target, linear)));
            }
        }
        let meant = |module: &&&str| {
            targets.iter().any(|target| is_meant(module, target)) && !is_saved(module)
        };
        let chosen: Vec<String> = linear.iter().filter(meant).map(|one| one.to_string()).collect();
        let form = match &self.form {
            Form::LowRank(rank) => Form::LowRank(rank.clone()),
            Form::Scaling { inputs } => {
                let ends: Vec<&str> = match inputs.as_slice() {
                    [] => family.scaled_inputs.to_vec(),
                    named => named.iter().map(String::as_str).collect(),
                };
                let meant = |module: &&String| ends.iter().any(|end| is_meant(module, end));
                Form::Scaling { inputs: chosen.iter().filter(meant).cloned().collect() }
            }
        };
        let targets = match &self.targets {
            Targets::AllLinear => chosen.clone(),
            _ => targets,
        };
        Ok(AdapterConfig { form, modules: chosen, targets, saved })
    }
}

/// The nearest of the last parts of names.
fn nearest_end<'a>(name: &str, modules: &[&'a str]) -> Option<&'a str> {
    let ends = modules.iter().filter_map(|module| module.rsplit('.').next());
    suggest::nearest(name, ends)
}

/// Whether a parameter or module belongs to a module.
fn is_within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The modules that train as a whole under every adapter: those of the head whose size the labels
/// decide, and those of parameters that are drawn anew.
pub fn always_trained<'a>(
    head: &dyn OutputHead,
    drawn: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    /// The modules of heads that peft saves as a whole by itself.
    const WHOLE: &[&str] = &["classifier", "score"];
    let module_of = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        let whole = parts.iter().position(|part| WHOLE.contains(part));
        let end = whole.map_or(parts.len().saturating_sub(1), |place| place + 1);
        parts[..end].join(".")
    };
    let mut modules: Vec<String> =
        head.output_names().iter().copied().chain(drawn).map(module_of).collect();
    modules.sort();
    modules.dedup();
    modules
}

impl AdapterConfig {
    /// Whether a parameter of the model, not of the adapter, is trained and saved with it.
    pub fn saves(&self, name: &str) -> bool {
        self.saved.iter().any(|module| is_within(name, module))
    }

    fn scales_input(&self, module: &str) -> bool {
        match &self.form {
            Form::Scaling { inputs } => inputs.iter().any(|input| input == module),
            Form::LowRank(_) => false,
        }
    }

    /// The adapter's own parameters on a model with these. Fails where a module is not among them.
    pub fn declarations(&self, model: &[Declaration]) -> Result<Vec<Declaration>> {
        let mut all = Vec::new();
        for module in &self.modules {
            let weight = weight_of(module, model)?;
            let [outputs, inputs] = weight.shape[..] else {
                return Err(ModelError::new(format!("the module `{module}` is not linear")));
            };
            let mut declare = |part: &str, shape: Vec<usize>, init: Init| {
                let name = format!("{module}.{part}");
                let depth = weight.depth;
                all.push(Declaration { name, shape, init, kind: Kind::Weight, depth });
            };
            match &self.form {
                Form::LowRank(Rank { rank, decomposed, .. }) => {
                    let bound = 1.0 / (inputs as f64).sqrt();
                    declare(DOWN, vec![*rank, inputs], Init::Uniform(bound));
                    declare(UP, vec![outputs, *rank], Init::Zeros);
                    if *decomposed {
                        // Set to the norms of the weight's rows when it is put on.
                        declare(MAGNITUDE, vec![outputs], Init::Ones);
                    }
                }
                Form::Scaling { .. } if self.scales_input(module) => {
                    declare(FACTORS, vec![1, inputs], Init::Ones);
                }
                Form::Scaling { .. } => declare(FACTORS, vec![outputs, 1], Init::Ones),
            }
        }
        Ok(all)
    }

    /// Puts the adapter on the layers of a store that holds its parameters. `model`: the model's
    /// own declarations, by whose places dropout is addressed. New magnitudes get their first values.
    pub fn attach(
        &self,
        parameters: &mut Parameters,
        model: &[Declaration],
        is_new: bool,
    ) -> Result<()> {
        for module in &self.modules {
            let weight = weight_of(module, model)?;
            let site = FIRST_SITE
                + model.iter().position(|one| one.name == weight.name).unwrap_or(0) as u32;
            let own = |part: &str| parameters.get(&format!("{module}.{part}"));
            let adapter = match &self.form {
                Form::LowRank(rank) => {
                    let low_rank = LowRank {
                        down: own(DOWN)?,
                        up: own(UP)?,
                        magnitude: rank.decomposed.then(|| own(MAGNITUDE)).transpose()?,
                        scale: rank.scale(),
                        dropout: rank.dropout,
                        site,
                    };
                    if let (Some(magnitude), true) = (&low_rank.magnitude, is_new) {
                        let base = parameters.get(&weight.name)?;
                        let norms: Vec<f32> = row_norms::<f32>(&base, &low_rank)?
                            .into_iter()
                            .map(|norm| norm as f32)
                            .collect();
                        let shape = magnitude.shape().clone();
                        magnitude.set(&Tensor::from_vec(norms, shape, magnitude.device())?)?;
                    }
                    Adapter::LowRank(low_rank)
                }
                Form::Scaling { .. } => {
                    let of = if self.scales_input(module) { Side::Input } else { Side::Output };
                    Adapter::Scaling(Scaling { factors: own(FACTORS)?, of })
                }
            };
            parameters.adapt(module, adapter)?;
        }
        Ok(())
    }
}

/// Numbers of dropout that no family uses.
const FIRST_SITE: u32 = 1 << 20;

const DOWN: &str = "lora_A.weight";
const UP: &str = "lora_B.weight";
const MAGNITUDE: &str = "lora_magnitude_vector";
const FACTORS: &str = "ia3_l";

fn weight_of<'a>(module: &str, model: &'a [Declaration]) -> Result<&'a Declaration> {
    let is_weight = |one: &&Declaration| one.name.strip_suffix(".weight") == Some(module);
    model.iter().find(is_weight).ok_or_else(|| {
        let error = ModelError::new(format!("the model has no module `{module}` for an adapter"));
        match suggest::nearest(module, linear_modules(model)) {
            Some(near) => error.help(format!("the nearest is `{near}`")),
            None => error,
        }
    })
}

#[cfg(test)]
mod tests;
