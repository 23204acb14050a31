//! How much memory a run will take, before it starts: parameters and what belongs to them, the
//! largest batch, and the process around it.

use super::Train;
use crate::nn::Precision;
use crate::step::run::{Inputs, Quick};
use crate::step::value::Value;
use crate::task::{Network, assemble, task};
use crate::train::course::Course;
use crate::train::trainer::Settings;
use crate::train::{Budget, Examples, Keep, TokenExamples};

/// The process without a model: its code, what reading tables leaves, the threads, and memory between
/// batches of different sizes. Fitted to MiniLM, where the whole is within 11 % of what a run held.
const PROCESS: u64 = 100 << 20;
/// Epochs whose batches are looked at.
const EPOCHS: u64 = 10;

impl Train {
    pub(super) fn peak_memory(&self, inputs: &dyn Inputs, quick: Option<Quick>) -> Option<u64> {
        let (Value::Model(model), Value::Tokens(tokens)) =
            (inputs.load(&self.model.source).ok()?, inputs.load(&self.data.source).ok()?)
        else {
            return None;
        };
        let head = model.head.as_ref()?;
        let task = task(&head.task).ok()?;
        let backbone = model.backbone().ok()?;
        let of_data = || task.output_count(&tokens.labels, backbone.as_ref()).ok();
        let outputs = head.outputs.or_else(of_data)?;
        let adapter = self.method().ok()?.adapter();
        let network = Network::new(&model.config, task, head.kind, outputs).ok()?;
        let network = match &adapter {
            Some(request) => assemble::with_adapter(request, &model, network).ok()?,
            None => network,
        };
        let compute = self.precision.compute(&self.memory);
        let updates = quick.map(|quick| quick.updates);
        let settings = self.settings(Default::default(), updates, compute).ok()?;
        let targets = task.targets(&tokens.targets, &tokens.labels).ok()?;
        let examples = TokenExamples::new(&tokens, targets);
        let batch = network.backbone().pass_bytes(largest_batch(&examples, &settings), &compute)?;
        let all: usize = (0..tokens.rows()).map(|row| tokens.row_length(row)).sum();
        // Ids and types of tokens, as they are stored and in memory.
        Some(PROCESS + self.of_parameters(&network, &settings)? + batch + 16 * all as u64)
    }

    /// Values, gradients, moments and rounded copies.
    fn of_parameters(&self, network: &Network, settings: &Settings) -> Option<u64> {
        let frozen = self.frozen(network).ok()?;
        let (mut all, mut trained, mut rounded) = (0, 0, 0);
        for (declaration, frozen) in network.declarations().iter().zip(frozen) {
            let elements = declaration.elements() as u64;
            all += elements;
            trained += if frozen { 0 } else { elements };
            let is_factor = declaration.kind == crate::model::Kind::Weight;
            rounded += if is_factor { elements } else { 0 };
        }
        // Each rounded weight stands there as it is and transposed, two bytes an element.
        let rounded = match settings.compute.precision {
            Precision::F32 => 0,
            Precision::Bf16 => 4 * rounded,
        };
        let buffers = 1 + settings.optimizer.buffers() as u64;
        let kept = u64::from(matches!(settings.keep, Keep::Best(_)));
        // What is read is shared by what stays as it is. What trains is there once more, as it was
        // read: that is given back, but not to the system.
        Some(4 * (all + trained * (1 + kept + buffers)) + rounded)
    }
}

/// Tokens of the largest batch of the run.
fn largest_batch(examples: &dyn Examples, settings: &Settings) -> usize {
    let mut course =
        Course::new(examples, settings.batch, settings.gradient_accumulation, settings.seed);
    let total = course.total(settings.budget);
    let looked_at = total.min(course.total(Budget::Epochs(EPOCHS as f64)));
    let batches = (0..looked_at).flat_map(|update| course.group(update));
    let tokens = batches.map(|rows| rows.iter().map(|row| examples.cost(*row)).sum());
    tokens.max().unwrap_or(0)
}
