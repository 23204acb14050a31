//! From a model to a network with its parameters, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::labels::{ModelLabels, Reconciled, align, reconcile};
use super::{Network, Task, task};
use crate::data::Labels;
use crate::model::{
    Adapted, AdapterRequest, Head, Model, ModelError, Result, adapter, architecture, init,
};
use crate::nn::Parameters;

/// A network that can be trained or asked.
pub struct Assembled {
    pub network: Network,
    pub parameters: Parameters,
    /// The data's labels beside the model's.
    pub labels: Reconciled,
    /// The names of the parameters that were drawn.
    pub drawn: Vec<String>,
}

/// The network of a model and of training data with these labels. What the model lacks is drawn
/// from `seed`. Fails where the labels do not fit the model's.
pub fn for_training(model: &Model, labels: &Labels, seed: u64) -> Result<Assembled> {
    prepare(model, labels, None)?.draw(model, seed, &[])
}

/// A network that is to be trained, before its parameters.
pub struct Prepared {
    pub network: Network,
    labels: Reconciled,
}

/// The first half of [`for_training`], with an adapter. A model has none of its own here: what it had
/// is to be merged before.
pub fn prepare(
    model: &Model,
    labels: &Labels,
    adapter: Option<&AdapterRequest>,
) -> Result<Prepared> {
    let (head, task) = head(model)?;
    let wanted = task.output_count(labels, model.backbone()?.as_ref())?;
    let outputs = head.outputs.unwrap_or(wanted);
    let network = Network::new(&model.config, task, head.kind, outputs)?;
    let is_new = network
        .head()
        .output_names()
        .iter()
        .any(|name| model.undrawn.iter().any(|own| own == name));
    let known = known_labels(head, is_new);
    let labels = match task.outputs().named() {
        true => reconcile(known, labels, task.name())?,
        false => Reconciled::default(),
    };
    if wanted != outputs {
        return Err(ModelError::new(format!(
            "the model's head has {outputs} outputs, `{}` on this data needs {wanted}",
            task.name()
        ))
        .help(format!("`head = {}(new = true)` makes a new one", task.name())));
    }
    let network = match adapter {
        None => network,
        Some(request) => with_adapter(request, model, network)?,
    };
    Ok(Prepared { network, labels })
}

/// The network of a model with the adapter that a program asks for.
pub fn with_adapter(request: &AdapterRequest, model: &Model, network: Network) -> Result<Network> {
    let backbone = network.backbone().declarations();
    let declared = network.model_declarations();
    let modules = adapter::modules(declared.iter().map(|one| one.name.as_str()));
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    let drawn = model.undrawn.iter().map(String::as_str);
    let trained = adapter::always_trained(network.head(), drawn);
    let family = architecture(&model.config)?.adaptable();
    let linear = adapter::linear_modules(&backbone);
    let config = request.resolve(&family, &linear, &modules, trained);
    network.with_adapter(config.map_err(|misfit| ModelError::new(misfit.message))?)
}

impl Prepared {
    /// Gives the network its parameters: `frozen` ones, in the order of its declarations, share the
    /// model's tensors; an empty list freezes none.
    pub fn draw(self, model: &Model, seed: u64, frozen: &[bool]) -> Result<Assembled> {
        let (parameters, drawn) = parameters(model, &self.network, Some(seed), frozen)?;
        Ok(Assembled { network: self.network, parameters, labels: self.labels, drawn })
    }
}

/// The network of a model whose tensors are all known, to be asked about data with these labels,
/// if they are known. Labels that the data lacks are no error; labels that the model lacks are.
pub fn for_evaluation(model: &Model, labels: Option<&Labels>) -> Result<Assembled> {
    model.complete()?;
    let (head, task) = head(model)?;
    let outputs = head.outputs.ok_or_else(|| ModelError::new("the model's head has no outputs"))?;
    let network = Network::new(&model.config, task, head.kind, outputs)?;
    let labels = match labels.filter(|_| task.outputs().named()) {
        Some(labels) => align(known_labels(head, false), labels, task.name())?,
        None => Reconciled::default(),
    };
    let network = match &model.adapter {
        Some(adapted) => network.with_adapter(adapted.config.clone())?,
        None => network,
    };
    let (parameters, drawn) = parameters(model, &network, None, &[])?;
    Ok(Assembled { network, parameters, labels, drawn })
}

fn known_labels(head: &Head, is_new: bool) -> ModelLabels<'_> {
    match head.outputs {
        _ if is_new => ModelLabels::New,
        None => ModelLabels::New,
        Some(_) if !head.labels.is_empty() => ModelLabels::Named(&head.labels),
        Some(outputs) => ModelLabels::Count(outputs),
    }
}

fn head(model: &Model) -> Result<(&Head, &'static dyn Task)> {
    let head = model.head.as_ref().ok_or_else(|| {
        ModelError::new("the model has no head")
            .help("`head = sequence_classification` in `load-model` gives it one")
    })?;
    Ok((head, task(&head.task)?))
}

fn parameters(
    model: &Model,
    network: &Network,
    seed: Option<u64>,
    frozen: &[bool],
) -> Result<(Parameters, Vec<String>)> {
    let adapted = model.adapter.iter().flat_map(|adapted| &adapted.tensors);
    let known: BTreeMap<&str, &Tensor> =
        model.tensors.iter().chain(adapted).map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut parameters = Parameters::new();
    let mut drawn = Vec::new();
    for (place, declaration) in network.declarations().into_iter().enumerate() {
        let name = declaration.name.as_str();
        let is_frozen = frozen.get(place).copied().unwrap_or(false);
        let decayed = declaration.decayed();
        match (known.get(name), seed) {
            (Some(tensor), _) if tensor.dims() != declaration.shape => {
                return Err(ModelError::new(format!(
                    "tensor `{name}` has the shape {:?} where {:?} is needed",
                    tensor.dims(),
                    declaration.shape
                )));
            }
            (Some(tensor), _) if is_frozen => {
                parameters.add_fixed(name, tensor, decayed)?;
            }
            (Some(tensor), _) => {
                parameters.add(name, tensor, decayed)?;
            }
            (None, Some(seed)) => {
                let place = parameters.add(name, &init::draw(&declaration, seed)?, decayed)?;
                parameters.as_slice()[place].weight.set_trainable(!is_frozen);
                drawn.push(declaration.name);
            }
            (None, None) => {
                return Err(ModelError::new(format!("tensor `{name}` has no values")));
            }
        }
    }
    if let Some(adapter) = network.adapter() {
        adapter.attach(&mut parameters, &network.model_declarations(), model.adapter.is_none())?;
    }
    Ok((parameters, drawn))
}

/// The trained model: `values` of the parameters that trained, in the order of the network's, or all
/// parameters as they are. `model`: what it was trained from.
pub fn trained(
    model: &Arc<Model>,
    Assembled { network, parameters, labels, .. }: &Assembled,
    values: Option<Vec<Vec<f32>>>,
) -> Result<Model> {
    let mut values = values.map(Vec::into_iter);
    let mut tensors = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let values = values.as_mut().and_then(Iterator::next).filter(|values| !values.is_empty());
        let tensor = match values {
            Some(values) => Tensor::from_vec(values, parameter.weight.shape(), &Device::Cpu)?,
            None => parameter.weight.values().clone(),
        };
        tensors.push((parameter.name.clone(), tensor));
    }
    let own = tensors.split_off(network.model_declarations().len());
    let adapter = network.adapter().map(|config| Adapted {
        config: config.clone(),
        tensors: own,
        base: Some(Arc::clone(model)),
    });
    let head = Head {
        task: network.task().name().to_string(),
        kind: network.kind(),
        outputs: Some(network.outputs()),
        labels: labels.names.clone(),
    };
    let undrawn = Vec::new();
    Ok(Model { head: Some(head), tensors, undrawn, adapter, ..model.as_ref().clone() })
}
