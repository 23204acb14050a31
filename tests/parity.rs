//! Every case folder under `tests/golden`, or under the folder that `FTRUN_GOLDEN` names, against
//! what PyTorch, transformers and peft computed: logits, loss, the gradient of all that trains, and
//! eight updates of training through the program's own loop; of adapters also the merged logits. One
//! line a case.
//!
//! The form of a case and the tolerances: `golden/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ftrun::data::{IGNORED, Labels, Targets};
use ftrun::model::checkpoint::read_config;
use ftrun::model::{Compute, Config, HeadChoice, Model, Pass, adapter};
use ftrun::nn::Parameters;
use ftrun::schema::{Arg, Bound, Or, Pick, Quantity, Unit};
use ftrun::task::{
    Heads, LossOptions, Network, Outputs, Task, assemble, task_of_config, task_of_problem,
};
use ftrun::train::schedule::Span;
use ftrun::train::{
    BatchSize, Budget, Ending, Keep, Optimizers, Schedules, Settings, Unattended, train,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;

use crate::rows::Rows;

/// Of logits and loss, relative to the largest value.
const OUTPUT_TOLERANCE: f64 = 1e-5;
/// Of a gradient, ‖a−b‖/‖b‖.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Below this a gradient counts as zero in exact arithmetic.
const GRADIENT_FLOOR: f64 = 1e-7;
/// Of the losses of a trajectory, relative.
const TRAJECTORY_TOLERANCE: f64 = 1e-4;

#[test]
fn parity() {
    let given = std::env::var_os("FTRUN_GOLDEN");
    let folder = given.map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("case.json").is_file())
        .collect();
    cases.sort();
    let mut failed = Vec::new();
    // The harness may have begun a line.
    println!();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match check(case) {
            Ok(Verdict::Ok(found)) => {
                let merged = found.merged.map(|merged| format!(" merged={merged:.1e}"));
                println!(
                    "parity {name}: ok logits={:.1e} loss={:.1e} grads={:.1e} trajectory={:.1e}{}",
                    found.logits,
                    found.loss,
                    found.gradients,
                    found.trajectory,
                    merged.unwrap_or_default()
                );
            }
            Ok(Verdict::Unsupported(what)) => println!("parity {name}: unsupported ({what})"),
            Err(problem) => {
                println!("parity {name}: FAILED {problem}");
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
    assert!(!cases.is_empty(), "{} holds no case", folder.display());
}

enum Verdict {
    Ok(Found),
    Unsupported(String),
}

/// The worst deviation of each kind, in the measure of its tolerance.
struct Found {
    logits: f64,
    loss: f64,
    gradients: f64,
    trajectory: f64,
    /// Of the logits of the model with its adapter merged.
    merged: Option<f64>,
}

type Checked<T> = Result<T, String>;

fn check(folder: &Path) -> Checked<Verdict> {
    let case = json(&folder.join("case.json"))?;
    // An adapter lies beside its base.
    let has_adapter = folder.join("adapter").is_dir();
    let of_model = if has_adapter { folder.join("base") } else { folder.to_path_buf() };
    let config = read_config(&of_model).map_err(text)?;
    let inputs = tensors(&folder.join("inputs.safetensors"))?;
    let Some(task) = task_of_case(&config, &inputs)? else {
        return Ok(Verdict::Unsupported("its head is none of ours".to_string()));
    };
    let of_config = config.get("architectures").and_then(|list| list[0].as_str());
    let class = case["class"].as_str().or(of_config).unwrap_or_default().to_string();
    let request = Pick::<Heads>::default_of(task.name()).and_then(|head| head.build());
    let kind = request.ok_or("a task without a head")?.kind();
    let outputs = match ftrun::model::architecture(&config) {
        Ok(family) => {
            let backbone = family.build(&config).map_err(text)?;
            let head = backbone.head(kind, 1);
            if head.is_none_or(|head| head.class() != class) {
                return Ok(Verdict::Unsupported(format!("the head of {class}")));
            }
            task.fixed_outputs(backbone.as_ref())
        }
        Err(_) => {
            let found = config.model_type().map_err(text)?;
            return Ok(Verdict::Unsupported(format!("the architecture {found}")));
        }
    };

    let rows = rows(&inputs, task)?;
    let choice = HeadChoice { task: task.name().to_string(), kind, new: false, outputs };
    let (mut model, _) = Model::from_folder(&of_model, config, Some(&choice)).map_err(text)?;
    if has_adapter {
        let files = adapter::read(&folder.join("adapter")).map_err(text)?;
        model = files.on(model.into()).map_err(text)?;
    }
    let assembled = assemble::for_evaluation(&model, None).map_err(text)?;
    let (network, parameters) = (&assembled.network, &assembled.parameters);
    for parameter in parameters {
        parameter.weight.set_trainable(golden_name(network, &parameter.name).is_some());
    }

    let outputs = tensors(&folder.join("outputs.safetensors"))?;
    let (loss, logits) = forward(network, parameters, &rows)?;
    let wanted = wanted_logits(&outputs, &inputs, &rows)?;
    let deviation = relative_to_largest(&logits, &wanted)?;
    let wanted_loss = outputs.get("loss").and_then(|loss| loss.floats.first().copied());
    let wanted_loss = wanted_loss.ok_or("no loss in the outputs")?;
    let found = Found {
        logits: within("logits", deviation, OUTPUT_TOLERANCE)?,
        loss: within("loss", relative(loss, wanted_loss), OUTPUT_TOLERANCE)?,
        gradients: gradients(folder, &case, network, parameters)?,
        merged: has_adapter.then(|| merged(folder, &model, &inputs, &rows)).transpose()?,
        trajectory: trajectory(folder, network, parameters, &rows)?,
    };
    Ok(Verdict::Ok(found))
}

/// The logits of the model with its adapter merged.
fn merged(folder: &Path, model: &Model, inputs: &Tensors, rows: &Rows) -> Checked<f64> {
    let merged = model.merged().map_err(text)?;
    let assembled = assemble::for_evaluation(&merged, None).map_err(text)?;
    let (_, logits) = forward(&assembled.network, &assembled.parameters, rows)?;
    let outputs = tensors(&folder.join("merged_outputs.safetensors"))?;
    let wanted = wanted_logits(&outputs, inputs, rows)?;
    let deviation = relative_to_largest(&logits, &wanted)?;
    within("merged logits", deviation, OUTPUT_TOLERANCE)
}

/// What the golden files call a parameter; none for one that does not train under the adapter.
fn golden_name(network: &Network, name: &str) -> Option<String> {
    let Some(adapter) = network.adapter() else { return Some(name.to_string()) };
    let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
    if adapter.saves(name) {
        let saved = adapter.saved.iter().find(|saved| name.starts_with(&format!("{saved}.")))?;
        let rest = &name[saved.len() + 1..];
        return Some(format!("base_model.model.{saved}.modules_to_save.default.{rest}"));
    }
    if part == "lora_magnitude_vector" {
        return Some(format!("base_model.model.{name}.default.weight"));
    }
    let own = ["lora_A", "lora_B"].iter().any(|matrix| module.ends_with(matrix));
    own.then(|| format!("base_model.model.{module}.default.{part}"))
}

/// What the config says of the class, else what the labels look like; none for encoder-decoders and
/// for inputs that are no text.
fn task_of_case(config: &Config, inputs: &Tensors) -> Checked<Option<&'static dyn Task>> {
    if !inputs.contains_key("input_ids") || config.get("is_encoder_decoder") == Some(&true.into()) {
        return Ok(None);
    }
    let Some(labels) = inputs.get("labels") else { return task_of_config(config).map_err(text) };
    let named = task_of_config(config).map_err(text)?;
    // A class says nothing of the three tasks on whole sequences where `problem_type` is not set.
    let of_sequences = match (labels.shape.len(), labels.integer) {
        (1, true) => "sequence_classification",
        (1, false) => "sequence_regression",
        _ => "multi_label_classification",
    };
    let set = config.text("problem_type").map_err(text)?.is_some();
    Ok(match named {
        Some(task) if task.class_suffix() == "ForSequenceClassification" && !set => {
            Some(ftrun::task::task(of_sequences).map_err(text)?)
        }
        other => other,
    })
}

fn rows(inputs: &Tensors, task: &dyn Task) -> Checked<Rows> {
    let ids = inputs.get("input_ids").ok_or("no input_ids")?;
    let (count, choices, width) = match ids.shape[..] {
        [count, width] => (count, 0, width),
        [count, choices, width] => (count * choices, choices, width),
        _ => return Err("input_ids are no matrix".to_string()),
    };
    let mut lengths = vec![width; count];
    if let Some(mask) = inputs.get("attention_mask") {
        for (row, length) in lengths.iter_mut().enumerate() {
            let row = &mask.floats[row * width..(row + 1) * width];
            *length = row.iter().filter(|flag| **flag != 0.0).count();
            if row[..*length].contains(&0.0) {
                return Err("the padding is not on the right".to_string());
            }
        }
    }
    // PyTorch's answers are chosen among the padding too, so that it takes part in the loss.
    let padded = task.outputs() == Outputs::Answers;
    let attended = if padded { lengths.clone() } else { Vec::new() };
    if padded {
        lengths = vec![width; count];
    }
    let cut = |tensor: &Tensor| -> Vec<Vec<u32>> {
        let of = |row: usize| &tensor.floats[row * width..row * width + lengths[row]];
        (0..count).map(|row| of(row).iter().map(|id| *id as u32).collect()).collect()
    };
    let input_ids = cut(ids);
    let token_type_ids = inputs.get("token_type_ids").map(cut).unwrap_or_default();
    let rows = Rows { input_ids, token_type_ids, attended, choices, ..Rows::default() };
    if padded {
        let place = |name: &str, row: usize| -> Checked<i64> {
            let places = inputs.get(name).ok_or(format!("no {name}"))?;
            // Clamped to the width, which is ignored.
            let place = places.floats[row].max(0.0) as usize;
            Ok(if place < width { place as i64 } else { IGNORED })
        };
        let span = |row| Ok([place("start_positions", row)?, place("end_positions", row)?]);
        let targets = Targets::Spans((0..count).map(span).collect::<Checked<_>>()?);
        return Ok(Rows { targets, ..rows });
    }
    let labels = inputs.get("labels").ok_or("no labels")?;
    let classes: Vec<i64> = labels.floats.iter().map(|class| *class as i64).collect();
    let values = labels.floats.iter().map(|value| *value as f32).collect();
    let each = |of: &dyn Fn(usize) -> Vec<i64>| {
        let mut starts = vec![0];
        let mut all = Vec::new();
        for row in 0..count {
            all.extend(of(row));
            starts.push(all.len());
        }
        Targets::Each { starts, classes: all }
    };
    let of_row = |row: usize| &classes[row * width..row * width + lengths[row]];
    Ok(match task.outputs() {
        Outputs::Classes | Outputs::Choices => Rows { targets: Targets::Class(classes), ..rows },
        Outputs::Values => Rows { targets: Targets::Value(values), ..rows },
        Outputs::Labels => {
            let classes = labels.shape.get(1).copied().unwrap_or(1);
            Rows { targets: Targets::Multi { classes, values }, ..rows }
        }
        Outputs::Tags => Rows { targets: each(&|row| of_row(row).to_vec()), ..rows },
        Outputs::Tokens => {
            let chosen = |row: usize| -> Vec<usize> {
                (0..lengths[row]).filter(|place| of_row(row)[*place] != IGNORED).collect()
            };
            let classes = |row: usize| chosen(row).iter().map(|at| of_row(row)[*at]).collect();
            let selected = (0..count).map(chosen).collect();
            Rows { targets: each(&classes), selected, ..rows }
        }
        Outputs::Answers | Outputs::Vectors => return Err("a task without labels".to_string()),
    })
}

/// PyTorch's logits of the units that we score: without its padding, and of masked tokens alone.
fn wanted_logits(outputs: &Tensors, inputs: &Tensors, rows: &Rows) -> Checked<Vec<f64>> {
    if let (Some(starts), Some(ends)) = (outputs.get("start_logits"), outputs.get("end_logits")) {
        return Ok(starts.floats.iter().zip(&ends.floats).flat_map(|(a, b)| [*a, *b]).collect());
    }
    let logits = outputs.get("logits").ok_or("no logits in the outputs")?;
    let width = inputs.get("input_ids").and_then(|ids| ids.shape.last().copied()).unwrap_or(0);
    let [_, of_tokens, classes] = logits.shape[..] else { return Ok(logits.floats.clone()) };
    if of_tokens != width {
        return Ok(logits.floats.clone());
    }
    let mut wanted = Vec::new();
    for (row, ids) in rows.input_ids.iter().enumerate() {
        let every: Vec<usize> = (0..ids.len()).collect();
        for place in rows.selected.get(row).unwrap_or(&every) {
            let at = (row * width + place) * classes;
            wanted.extend_from_slice(&logits.floats[at..at + classes]);
        }
    }
    Ok(wanted)
}

/// Loss and logits of all rows; leaves the gradients in `parameters`.
fn forward(network: &Network, parameters: &Parameters, rows: &Rows) -> Checked<(f64, Vec<f64>)> {
    use ftrun::train::Examples;
    let options = LossOptions::default();
    let denominator = network.task().denominator(&rows.targets, &options);
    let input = rows.input(&rows.all(), 0, None).map_err(text)?;
    parameters.zero_grad();
    let pass = Pass::training(Compute::default(), None);
    let forward = network
        .forward(parameters, &input, &rows.targets, &options, denominator, &pass)
        .map_err(text)?;
    pass.backward(&forward.loss, parameters).map_err(text)?;
    let logits: Vec<f32> =
        forward.logits.flatten_all().and_then(|all| all.to_vec1()).map_err(text)?;
    let loss = forward.loss.to_scalar::<f32>().map_err(text)?;
    Ok((f64::from(loss), logits.into_iter().map(f64::from).collect()))
}

/// Our name of a parameter. PyTorch names a weight that two modules share by the first of them, which in
/// some families is the head.
fn our_name(name: &str, network: &Network, parameters: &Parameters) -> String {
    let head = network.head();
    let copy = head.buffers().iter().any(|end| name.ends_with(end));
    match head.whole_tables().first() {
        Some(table) if copy && name.ends_with("weight") && !parameters.contains(name) => {
            table.to_string()
        }
        _ => name.to_string(),
    }
}

fn gradients(
    folder: &Path,
    case: &Json,
    network: &Network,
    parameters: &Parameters,
) -> Checked<f64> {
    let golden: Tensors = tensors(&folder.join("grads.safetensors"))?
        .into_iter()
        .map(|(name, tensor)| (our_name(&name, network, parameters), tensor))
        .collect();
    let without: Vec<&str> = case["parameters_without_gradient"]
        .as_array()
        .map(|names| names.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    let mut worst: (f64, String) = (0.0, String::new());
    let mut known = Vec::new();
    for parameter in parameters {
        let Some(name) = golden_name(network, &parameter.name) else {
            if parameter.weight.has_gradient() {
                return Err(format!("{}: a gradient of a frozen parameter", parameter.name));
            }
            continue;
        };
        let found = parameter.weight.gradient().map_err(text)?;
        let found: Vec<f32> = match &found {
            Some(found) => found.flatten_all().and_then(|all| all.to_vec1()).map_err(text)?,
            None => vec![0.0; parameter.weight.elem_count()],
        };
        known.push(name.clone());
        let wanted = match golden.get(name.as_str()) {
            Some(wanted) => wanted.floats.clone(),
            None if without.contains(&name.as_str()) => vec![0.0; found.len()],
            None => return Err(format!("{name}: the golden gradients do not have it")),
        };
        if wanted.len() != found.len() {
            return Err(format!("{name}: {} elements, golden {}", found.len(), wanted.len()));
        }
        let difference = norm(found.iter().zip(&wanted).map(|(a, b)| f64::from(*a) - b));
        let size = norm(wanted.iter().copied());
        // In units of the tolerance, so that the floor counts like the rest.
        let share = difference / (GRADIENT_TOLERANCE * size).max(GRADIENT_FLOOR);
        if share > worst.0 || share.is_nan() {
            worst = (share, format!("{name}: ‖a−b‖ = {difference:.3e}, ‖b‖ = {size:.3e}"));
        }
    }
    if let Some(unknown) = golden.keys().find(|name| !known.contains(name)) {
        return Err(format!("{unknown}: the model has no such parameter"));
    }
    if worst.0 > 1.0 || worst.0.is_nan() {
        return Err(format!("gradient of {}", worst.1));
    }
    Ok(worst.0 * GRADIENT_TOLERANCE)
}

/// The updates of `trajectory.json` through the program's own loop.
fn trajectory(
    folder: &Path,
    network: &Network,
    parameters: &Parameters,
    rows: &Rows,
) -> Checked<f64> {
    let golden = json(&folder.join("trajectory.json"))?;
    let number = |key: &str| golden[key].as_f64().ok_or(format!("trajectory without `{key}`"));
    let mut decayed: Vec<String> = golden["decayed_parameters"]
        .as_array()
        .map(|names| names.iter().filter_map(Json::as_str))
        .into_iter()
        .flatten()
        .map(|name| our_name(name, network, parameters))
        .collect();
    decayed.sort_unstable();
    let mut ours: Vec<String> = parameters
        .iter()
        .filter(|parameter| parameter.decay)
        .filter_map(|parameter| golden_name(network, &parameter.name))
        .collect();
    ours.sort_unstable();
    if ours != decayed {
        return Err(format!("decayed are {ours:?}, golden {decayed:?}"));
    }

    let betas = &golden["betas"];
    let optimizer = build(
        Pick::<Optimizers>::default_of("adamw"),
        &[
            ("learning_rate", Bound::Float(number("learning_rate")?)),
            ("weight_decay", Bound::Float(number("weight_decay")?)),
            ("beta1", Bound::Float(betas[0].as_f64().unwrap_or(0.9))),
            ("beta2", Bound::Float(betas[1].as_f64().unwrap_or(0.999))),
            ("eps", Bound::Float(number("eps")?)),
        ],
    )?;
    let warmup: Span = Or::Second(Quantity::new(number("warmup_steps")?, Unit::Updates));
    let schedule = golden["schedule"].as_str().unwrap_or_default();
    let schedule =
        build(Pick::<Schedules>::default_of(schedule), &[("warmup", warmup.to_bound())])?;
    let settings = Settings {
        optimizer: optimizer.build().ok_or("no optimizer")?,
        schedule: schedule.build().ok_or("no schedule")?,
        budget: Budget::Updates(number("steps")? as u64),
        batch: BatchSize::Rows(rows.all().len()),
        gradient_accumulation: 1,
        defer_rows: true,
        max_grad_norm: Some(number("max_grad_norm")?),
        loss: LossOptions::default(),
        layer_decay: 1.0,
        validate_every: Budget::Epochs(1.0),
        keep: Keep::Last,
        stop_early: None,
        checkpoint_every: None,
        seed: 0,
        compute: Compute::default(),
    };
    let ending =
        train(network, parameters, rows, None, &settings, None, &mut Unattended).map_err(text)?;
    let Ending::Finished(trained) = ending else { return Err("the run was stopped".to_string()) };

    let list = |key: &str| -> Vec<f64> {
        let values = golden[key].as_array();
        values.map(|values| values.iter().filter_map(Json::as_f64).collect()).unwrap_or_default()
    };
    let (losses, rates, norms) = (list("loss"), list("lr"), list("grad_norm"));
    if losses.len() != trained.log.len() {
        return Err(format!("{} updates, golden {}", trained.log.len(), losses.len()));
    }
    let mut worst = 0.0f64;
    for (index, row) in trained.log.iter().enumerate() {
        let at = |what: &str| format!("{what} of update {}", index + 1);
        let deviation = relative(row.loss, losses[index]);
        worst = worst.max(within(&at("loss"), deviation, TRAJECTORY_TOLERANCE)?);
        within(&at("learning rate"), (row.learning_rate - rates[index]).abs(), 1e-12)?;
        within(&at("gradient norm"), relative(row.grad_norm, norms[index]), 1e-3)?;
    }
    let (last, _) = forward(network, parameters, rows)?;
    let deviation = relative(last, number("final_loss")?);
    Ok(worst.max(within("the last loss", deviation, TRAJECTORY_TOLERANCE)?))
}

fn build<F: ftrun::schema::Family>(
    pick: Option<Pick<F>>,
    arguments: &[(&str, Bound)],
) -> Checked<Pick<F>> {
    let mut pick = pick.ok_or("the trajectory names something unknown")?;
    for (name, value) in arguments {
        let place = pick.args.iter_mut().find(|(own, _)| own == name);
        place.ok_or(format!("no argument `{name}`"))?.1 = value.clone();
    }
    Ok(pick)
}

/// A tensor of a case; integers and floats alike as f64.
struct Tensor {
    shape: Vec<usize>,
    floats: Vec<f64>,
    integer: bool,
}

type Tensors = BTreeMap<String, Tensor>;

fn tensors(path: &Path) -> Checked<Tensors> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(text)?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = view.data();
            let floats: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    data.as_chunks().0.iter().map(|c| f64::from(f32::from_le_bytes(*c))).collect()
                }
                Dtype::I64 => {
                    data.as_chunks().0.iter().map(|c| i64::from_le_bytes(*c) as f64).collect()
                }
                other => return Err(format!("{name}: elements of {other:?}")),
            };
            let integer = view.dtype() == Dtype::I64;
            Ok((name, Tensor { shape: view.shape().to_vec(), floats, integer }))
        })
        .collect()
}

fn json(path: &Path) -> Checked<Json> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(text)
}

fn relative(found: f64, wanted: f64) -> f64 {
    (found - wanted).abs() / wanted.abs()
}

fn relative_to_largest(found: &[f64], wanted: &[f64]) -> Checked<f64> {
    if found.len() != wanted.len() {
        return Err(format!("{} logits, golden {}", found.len(), wanted.len()));
    }
    let largest = wanted.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // `max` would let NaN pass.
    if found.iter().any(|value| value.is_nan()) { Ok(f64::NAN) } else { Ok(worst / largest) }
}

fn within(what: &str, deviation: f64, tolerance: f64) -> Checked<f64> {
    if deviation <= tolerance {
        Ok(deviation)
    } else {
        Err(format!("{what}: {deviation:.3e} beyond {tolerance:.0e}"))
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A case file's labels are numbers of classes; the data's names do not matter here.
#[test]
fn the_heads_of_the_cases_are_those_of_the_language() {
    let config = Config::parse(br#"{"model_type": "bert"}"#).expect("a config");
    let family = ftrun::model::architecture(&config).expect("a family");
    let backbone = family.build(&config).expect("a backbone");
    for (problem, labels, outputs) in [
        (
            "single_label_classification",
            Labels::Classes { names: vec!["a".into(), "b".into()], declared: false },
            2,
        ),
        ("regression", Labels::Values, 1),
        (
            "multi_label_classification",
            Labels::Multi { names: vec!["a".into()], declared: false },
            1,
        ),
    ] {
        let task = task_of_problem(problem).expect("a task");
        assert_eq!(task.output_count(&labels, backbone.as_ref()).expect("outputs"), outputs);
    }
}
