//! From a model to a network with its parameters, and back.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::labels::{ModelLabels, Reconciled, align, reconcile};
use super::{Network, Task, task};
use crate::data::Labels;
use crate::model::{Head, Model, ModelError, Result, init};
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
    let (parameters, drawn) = parameters(model, &network, Some(seed))?;
    Ok(Assembled { network, parameters, labels, drawn })
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
    let (parameters, drawn) = parameters(model, &network, None)?;
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
) -> Result<(Parameters, Vec<String>)> {
    let known: BTreeMap<&str, &Tensor> =
        model.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut parameters = Parameters::new();
    let mut drawn = Vec::new();
    for declaration in network.declarations() {
        let name = declaration.name.as_str();
        match (known.get(name), seed) {
            (Some(tensor), _) if tensor.dims() != declaration.shape => {
                return Err(ModelError::new(format!(
                    "tensor `{name}` has the shape {:?} where {:?} is needed",
                    tensor.dims(),
                    declaration.shape
                )));
            }
            (Some(tensor), _) => {
                parameters.add(name, tensor, declaration.decayed())?;
            }
            (None, Some(seed)) => {
                parameters.add(name, &init::draw(&declaration, seed)?, declaration.decayed())?;
                drawn.push(declaration.name);
            }
            (None, None) => {
                return Err(ModelError::new(format!("tensor `{name}` has no values")));
            }
        }
    }
    Ok((parameters, drawn))
}

/// The trained model: `values` of all parameters of the network, in their order.
pub fn trained(
    model: &Model,
    network: &Network,
    labels: &Reconciled,
    values: Vec<Vec<f32>>,
) -> Result<Model> {
    let tensors = network
        .declarations()
        .into_iter()
        .zip(values)
        .map(|(declaration, values)| {
            let tensor = Tensor::from_vec(values, declaration.shape, &Device::Cpu)?;
            Ok((declaration.name, tensor))
        })
        .collect::<Result<Vec<_>>>()?;
    let head = Head {
        task: network.task().name().to_string(),
        kind: network.kind(),
        outputs: Some(network.outputs()),
        labels: labels.names.clone(),
    };
    Ok(Model { head: Some(head), tensors, undrawn: Vec::new(), ..model.clone() })
}
