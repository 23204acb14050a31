//! Properties of every method, on a BERT of two layers that is drawn in the test: what learns, what
//! stays, and that an adapter is the same model in every form.

use std::sync::Arc;

use ftrun::data::{Labels, Targets};
use ftrun::model::{
    Compute, Config, Dropping, Head, HeadChoice, HeadKind, Memory, Model, Pass, Path, Pooling,
    adapter, checkpoint,
};
use ftrun::nn::Parameters;
use ftrun::schema::{Bound, Pick};
use ftrun::task::LossOptions;
use ftrun::task::assemble::{self, Assembled};
use ftrun::train::method::{Methods, Part};
use ftrun::train::{
    BatchSize, Budget, Control, Ending, Event, Examples, Keep, Measure, Optimizers, Schedules,
    Settings, Snapshot, State, Trained, Unattended, ValidationSet, train, values,
};

use crate::rows::Rows;

const SEED: u64 = 11;
const VOCABULARY: u32 = 60;

/// The methods with arguments that are not the defaults, where they have any.
fn methods() -> Vec<(&'static str, Vec<(&'static str, Bound)>)> {
    let low_rank = || {
        vec![("rank", Bound::Int(3)), ("alpha", Bound::Float(5.0)), ("dropout", Bound::Float(0.2))]
    };
    vec![
        ("full", vec![]),
        ("head_only", vec![]),
        ("bitfit", vec![]),
        ("lora", low_rank()),
        ("rslora", low_rank()),
        ("dora", low_rank()),
        ("ia3", vec![]),
        (
            "lora",
            vec![
                ("targets", Bound::Variant("all_linear".into(), vec![])),
                ("dropout", Bound::Float(0.1)),
            ],
        ),
    ]
}

fn model() -> Arc<Model> {
    let text = format!(
        r#"{{"model_type": "bert", "vocab_size": {VOCABULARY}, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 24, "type_vocab_size": 2, "initializer_range": 0.2,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}}"#
    );
    let config = Config::parse(text.as_bytes()).expect("a config");
    let choice = HeadChoice {
        task: "sequence_classification".into(),
        kind: HeadKind::Sequence,
        new: false,
        outputs: None,
    };
    let (drawn, _) = Model::from_config(config, Some(&choice), None).expect("a model");
    let made = assemble::for_training(&drawn, &labels(), SEED).expect("a network");
    let trained = assemble::trained(&Arc::new(drawn), &made, None).expect("a model");
    Arc::new(trained)
}

fn labels() -> Labels {
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Labels::Classes { names, declared: false }
}

fn rows(count: usize) -> Rows {
    let id = |row: usize, place: usize| ((row * 13 + place * 5 + row * place) as u32) % VOCABULARY;
    let ids = |row: usize| (0..1 + (row * 7 + 3) % 20).map(|place| id(row, place)).collect();
    Rows {
        input_ids: (0..count).map(ids).collect(),
        targets: Targets::Class((0..count as i64).map(|row| row % 3).collect()),
        ..Rows::default()
    }
}

fn pick<F: ftrun::schema::Family>(name: &str, arguments: &[(&str, Bound)]) -> Box<F::Item> {
    let mut pick = Pick::<F>::default_of(name).expect(name);
    for (name, value) in arguments {
        pick.args.iter_mut().find(|(own, _)| own == name).expect(name).1 = value.clone();
    }
    pick.build().expect(name)
}

/// A network under a method, as `train` assembles it.
fn assembled(base: &Arc<Model>, name: &str, arguments: &[(&str, Bound)]) -> Assembled {
    let method = pick::<Methods>(name, arguments);
    let prepared =
        assemble::prepare(base, &labels(), method.adapter().as_ref()).expect("a network");
    let network = &prepared.network;
    let head: Vec<String> = network.head().declarations().into_iter().map(|one| one.name).collect();
    let own = network.model_declarations().len();
    let declared = network.declarations().into_iter().enumerate();
    let frozen: Vec<bool> = declared
        .map(|(place, one)| {
            let part = Part {
                head: head.contains(&one.name),
                saved: network.adapter().is_some_and(|adapter| adapter.saves(&one.name)),
                adapter: place >= own,
            };
            !method.trains(&one.name, part)
        })
        .collect();
    prepared.draw(base, SEED, &frozen).expect("parameters")
}

/// Moves what trains off its first values, so that each of them matters.
fn moved(made: &Assembled) {
    let mut all = values::trained(&made.parameters).expect("values");
    for (tensor, values) in all.iter_mut().enumerate() {
        for (element, value) in values.iter_mut().enumerate() {
            *value += 0.05 * ((tensor * 31 + element * 17) as f32).sin();
        }
    }
    values::restore(&made.parameters, &all).expect("restored");
}

fn settings(updates: u64, batch: usize, gradient_accumulation: usize) -> Settings {
    Settings {
        optimizer: pick::<Optimizers>(
            "adamw",
            &[("learning_rate", Bound::Float(1e-2)), ("weight_decay", Bound::Float(0.1))],
        ),
        schedule: pick::<Schedules>("linear", &[]),
        neftune: None,
        budget: Budget::Updates(updates),
        batch: BatchSize::Rows(batch),
        gradient_accumulation,
        defer_rows: true,
        max_grad_norm: Some(1.0),
        loss: LossOptions::default(),
        layer_decay: 0.9,
        validate_every: Budget::Updates(2),
        keep: Keep::Last,
        stop_early: None,
        checkpoint_every: None,
        seed: SEED,
        compute: Compute::default(),
    }
}

fn run(made: &Assembled, rows: &Rows, settings: &Settings) -> Trained {
    let ending =
        train(&made.network, &made.parameters, rows, None, settings, None, &mut Unattended);
    match ending.expect("a run") {
        Ending::Finished(trained) => trained,
        Ending::Stopped { .. } => panic!("stopped"),
    }
}

/// Logits, and the gradients by name.
fn gradients(made: &Assembled, rows: &Rows, pass: &Pass) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let options = LossOptions::default();
    let task = made.network.task();
    let denominator = task.denominator(&rows.targets, &options);
    let input = rows.input(&rows.all(), 0, None).expect("an input");
    made.parameters.zero_grad();
    let forward = made
        .network
        .forward(&made.parameters, &input, &rows.targets, &options, denominator, pass)
        .expect("a forward");
    pass.backward(&forward.loss, &made.parameters).expect("a backward");
    let flat = |tensor: &candle_core::Tensor| -> Vec<f32> {
        tensor.flatten_all().and_then(|all| all.to_vec1()).expect("values")
    };
    let found = made.parameters.iter().filter_map(|parameter| {
        let gradient = parameter.weight.gradient().expect("a gradient")?;
        Some((parameter.name.clone(), flat(&gradient)))
    });
    (flat(&forward.logits), found.collect())
}

fn dropping(compute: Compute) -> Pass {
    Pass::training(compute, Some(Dropping { seed: SEED, update: 3 }))
}

fn logits(model: &Model, rows: &Rows) -> Vec<f32> {
    let made = assemble::for_evaluation(model, None).expect("a network");
    gradients(&made, rows, &Pass::training(Compute::default(), None)).0
}

/// The vectors of rows, which have no loss of their own.
fn vectors(model: &Model, rows: &Rows) -> Vec<f32> {
    let made = assemble::for_evaluation(model, None).expect("a network");
    let input = rows.input(&rows.all(), 0, None).expect("an input");
    let pass = Pass::evaluation(Compute::default());
    let vectors = made.network.logits(&made.parameters, &input, &pass).expect("vectors");
    vectors.flatten_all().and_then(|all| all.to_vec1()).expect("values")
}

fn bits(parameters: &Parameters) -> Vec<(String, Vec<u32>)> {
    let all = values::copy(parameters).expect("values").into_iter().zip(parameters);
    all.map(|(values, parameter)| {
        (parameter.name.clone(), values.iter().map(|value| value.to_bits()).collect())
    })
    .collect()
}

/// ‖a − b‖ / ‖b‖
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(&mut { difference }) / norm(&mut b.iter().map(|b| f64::from(*b))).max(1e-6)
}

#[test]
fn what_trains_gets_a_gradient_and_changes_and_the_rest_keeps_its_bits() {
    let (base, rows) = (model(), rows(12));
    for (name, arguments) in methods() {
        let made = assembled(&base, name, &arguments);
        moved(&made);
        let (_, found) = gradients(&made, &rows, &dropping(Compute::default()));
        let before = bits(&made.parameters);
        run(&made, &rows, &settings(3, 4, 1));
        let after = bits(&made.parameters);
        for (place, parameter) in made.parameters.iter().enumerate() {
            let own = &parameter.name;
            let trains = parameter.weight.is_trainable();
            let gradient = found.iter().find(|(name, _)| name == own);
            assert_eq!(gradient.is_some(), trains, "{name}: the gradient of {own}");
            // Keys' biases shift all scores of a query alike, and have no gradient but by rounding.
            if !own.ends_with("key.bias") && !own.contains("token_type") {
                let is_zero = gradient.is_none_or(|(_, all)| all.iter().all(|x| *x == 0.0));
                assert_eq!(is_zero, !trains, "{name}: the gradient of {own}");
                assert_eq!(before[place] != after[place], trains, "{name}: {own}");
            }
        }
    }
}

#[test]
fn methods_train_what_they_say() {
    let base = model();
    let trained = |name: &str| -> Vec<String> {
        let made = assembled(&base, name, &[]);
        made.parameters.trainable().map(|(_, parameter)| parameter.name.clone()).collect()
    };
    assert_eq!(trained("full").len(), base.tensors.len());
    assert_eq!(
        trained("head_only"),
        [
            "bert.pooler.dense.weight",
            "bert.pooler.dense.bias",
            "classifier.weight",
            "classifier.bias"
        ]
    );
    // Query and value of two layers, two matrices each, with the classifier.
    assert_eq!(trained("lora").len(), 2 * 2 * 2 + 2);
    assert_eq!(trained("dora").len(), 2 * 2 * 3 + 2);
    // Key, value and two outputs a layer.
    assert_eq!(trained("ia3").len(), 2 * 4 + 2);
}

/// B is zero and magnitudes are the norms at first: a new adapter changes nothing.
#[test]
fn a_new_adapter_changes_nothing() {
    let (base, rows) = (model(), rows(9));
    let pass = || Pass::training(Compute::default(), None);
    let (plain, _) = gradients(&assembled(&base, "full", &[]), &rows, &pass());
    for (name, arguments) in methods() {
        let (adapted, _) = gradients(&assembled(&base, name, &arguments), &rows, &pass());
        assert!(distance(&adapted, &plain) < 1e-6, "{name}");
    }
}

#[test]
fn the_fused_path_equals_the_reference() {
    let (base, rows) = (model(), rows(9));
    for (name, arguments) in methods() {
        let made = assembled(&base, name, &arguments);
        moved(&made);
        let of = |path| gradients(&made, &rows, &dropping(Compute { path, ..Compute::default() }));
        let (fused, reference) = (of(Path::Fused), of(Path::Reference));
        assert!(distance(&fused.0, &reference.0) < 1e-5, "{name}");
        for ((own, fused), (other, reference)) in fused.1.iter().zip(&reference.1) {
            assert_eq!(own, other);
            if !own.ends_with("key.bias") {
                assert!(distance(fused, reference) < 1e-4, "{name}: {own}");
            }
        }
    }
}

#[test]
fn neither_memory_nor_micro_batches_change_a_run() {
    let (base, rows) = (model(), rows(12));
    for (name, arguments) in methods() {
        let of = |memory, batch, accumulated| {
            let made = assembled(&base, name, &arguments);
            let compute = Compute { memory, ..Compute::default() };
            run(&made, &rows, &Settings { compute, ..settings(3, batch, accumulated) });
            values::trained(&made.parameters).expect("values").concat()
        };
        let plain = of(Memory::Normal, 6, 1);
        assert_eq!(plain, of(Memory::Low, 6, 1), "{name}");
        assert!(distance(&of(Memory::Normal, 2, 3), &plain) < 1e-3, "{name}");
    }
}

/// Keeps the checkpoint of one update.
#[derive(Default)]
struct StopAt {
    update: u64,
    seen: u64,
    saved: Vec<u8>,
}

impl Control for StopAt {
    fn event(&mut self, event: &Event) {
        if let Event::Updated { row, .. } = event {
            self.seen = row.update;
        }
    }

    fn stop_requested(&mut self) -> bool {
        self.seen == self.update
    }

    fn checkpoint(&mut self, snapshot: &Snapshot) -> Result<(), ftrun::model::ModelError> {
        self.saved = snapshot.state.to_bytes(snapshot.parameters)?;
        Ok(())
    }
}

#[test]
fn a_resumed_run_makes_the_bits_of_an_uninterrupted_one() {
    let (base, rows, held_out) = (model(), rows(30), rows(10));
    for (name, arguments) in methods() {
        let fresh = || assembled(&base, name, &arguments);
        let go = |made: &Assembled, resume, control: &mut dyn Control| {
            let read = |_: &_| unreachable!("the loss is no metric");
            let set = ValidationSet { examples: &held_out, read: &read };
            let settings = Settings { keep: Keep::Best(Measure::Loss), ..settings(7, 8, 1) };
            let (network, parameters) = (&made.network, &made.parameters);
            train(network, parameters, &rows, Some(set), &settings, resume, control).expect("a run")
        };
        let whole = fresh();
        let uninterrupted = go(&whole, None, &mut Unattended);
        let mut control = StopAt { update: 4, ..StopAt::default() };
        assert_eq!(go(&fresh(), None, &mut control), Ending::Stopped { update: 4 });
        let state = State::from_bytes(&control.saved).expect("a checkpoint");
        let second = fresh();
        assert_eq!(go(&second, Some(state), &mut Unattended), uninterrupted, "{name}");
        assert_eq!(bits(&second.parameters), bits(&whole.parameters), "{name}");
        // Values, two moments and the best values of what trains; the log and the validations.
        let trained: usize =
            second.parameters.trainable().map(|(_, one)| one.weight.elem_count()).sum();
        let bytes = control.saved.len();
        assert!(bytes < 16 * trained + 8_000, "{name}: a checkpoint of {bytes} bytes");
    }
}

/// The model after some updates under a method.
fn tuned(base: &Arc<Model>, name: &str, arguments: &[(&str, Bound)]) -> Model {
    let made = assembled(base, name, arguments);
    moved(&made);
    run(&made, &rows(12), &settings(3, 4, 1));
    assemble::trained(base, &made, None).expect("a model")
}

#[test]
fn a_merged_adapter_has_the_logits_of_the_adapter() {
    let (base, rows) = (model(), rows(9));
    for (name, arguments) in methods() {
        let tuned = tuned(&base, name, &arguments);
        let merged = tuned.merged().expect("merged");
        assert!(merged.adapter.is_none());
        assert!(distance(&logits(&merged, &rows), &logits(&tuned, &rows)) < 1e-5, "{name}");
        assert!(distance(&logits(&base, &rows), &logits(&tuned, &rows)) > 1e-2, "{name}");
    }
}

#[test]
fn an_adapter_survives_its_files_and_the_store() {
    let (base, rows) = (model(), rows(9));
    for (name, arguments) in methods() {
        let tuned = tuned(&base, name, &arguments);
        if tuned.adapter.is_none() {
            continue;
        }
        let wanted = logits(&tuned, &rows);
        let folder = tempfile::tempdir().expect("a folder");
        checkpoint::save_folder(
            &tuned,
            Some("single_label_classification"),
            None,
            checkpoint::Written::F32,
            folder.path(),
        )
        .expect("saved");
        assert!(!folder.path().join("model.safetensors").exists());
        let files = adapter::read(folder.path()).expect("an adapter");
        let opened = files.on(Arc::clone(&base)).expect("a model");
        assert_eq!(logits(&opened, &rows), wanted, "{name}");
        let own = |model: &Model| model.adapter.as_ref().map(|adapted| adapted.config.form.clone());
        assert_eq!(own(&opened), own(&tuned), "{name}");

        let (below, piece) = tuned.split().expect("two parts");
        assert_eq!(below.digest().expect("a digest"), base.digest().expect("a digest"));
        let folder = tempfile::tempdir().expect("a folder");
        piece.write(folder.path()).expect("written");
        let size: u64 = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len())
            .sum();
        let all: usize = base.tensors.iter().map(|(_, tensor)| tensor.elem_count()).sum();
        assert!(size < 4 * all as u64, "{name}: {size} bytes");
        let piece = Model::read(folder.path()).expect("a part");
        let joined = Model::join(below, piece).expect("a model");
        assert_eq!(logits(&joined, &rows), wanted, "{name}");
        assert_eq!(joined.digest().expect("a digest"), tuned.digest().expect("a digest"), "{name}");
    }
}

/// peft adapts a model for vectors without a head, so that no name in its files has the prefix.
#[test]
fn an_adapter_of_vectors_is_named_as_peft_names_it() {
    let mut bare = Model::clone(&model());
    bare.tensors.retain(|(name, _)| name.starts_with("bert."));
    bare.head = Some(Head {
        task: "embedding".into(),
        kind: HeadKind::Embedding(Pooling::Mean),
        outputs: Some(32),
        labels: Vec::new(),
    });
    let bare = Arc::new(bare);
    for name in ["lora", "ia3"] {
        let made = assembled(&bare, name, &[]);
        moved(&made);
        let tuned = assemble::trained(&bare, &made, None).expect("a model");
        let folder = tempfile::tempdir().expect("a folder");
        let written = checkpoint::Written::F32;
        checkpoint::save_folder(&tuned, None, None, written, folder.path()).expect("saved");
        assert!(!folder.path().join("config.json").exists(), "transformers takes it for a model");
        let stored = checkpoint::read_safetensors(&folder.path().join(adapter::WEIGHTS_FILE));
        let names: Vec<String> = stored.expect("tensors").into_keys().collect();
        assert!(names.iter().all(|name| name.starts_with("base_model.model.encoder.layer.")));
        let opened = adapter::read(folder.path()).expect("an adapter");
        let opened = opened.on(Arc::clone(&bare)).expect("a model");
        assert_eq!(vectors(&opened, &rows(5)), vectors(&tuned, &rows(5)), "{name}");
        assert_ne!(vectors(&bare, &rows(5)), vectors(&tuned, &rows(5)), "{name}");
    }
}

/// Targets that mean modules of both kinds are written out, so that none is scaled on its wrong side.
#[test]
fn factors_of_inputs_and_outputs_survive_the_files() {
    let base = model();
    let texts =
        |all: &[&str]| Bound::List(all.iter().map(|text| Bound::Text(text.to_string())).collect());
    let arguments =
        [("targets", texts(&["key", "dense"])), ("feedforward", texts(&["output.dense"]))];
    let tuned = tuned(&base, "ia3", &arguments);
    let folder = tempfile::tempdir().expect("a folder");
    let problem = Some("single_label_classification");
    checkpoint::save_folder(&tuned, problem, None, checkpoint::Written::F32, folder.path())
        .expect("saved");
    let opened = adapter::read(folder.path()).expect("an adapter").on(base).expect("a model");
    assert_eq!(logits(&opened, &rows(5)), logits(&tuned, &rows(5)));
}

#[test]
fn adapters_that_change_the_model_below_are_refused() {
    let tuned = tuned(&model(), "lora", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    checkpoint::save_folder(&tuned, None, None, checkpoint::Written::F32, folder.path())
        .expect("saved");
    let path = folder.path().join(adapter::CONFIG_FILE);
    let text = std::fs::read_to_string(&path).expect("a config");
    let with = |init: &str| {
        let written = r#""init_lora_weights": true"#;
        assert!(text.contains(written));
        std::fs::write(&path, text.replace(written, &format!(r#""init_lora_weights": "{init}""#)))
            .expect("written");
        adapter::read(folder.path())
    };
    assert!(with("gaussian").is_ok());
    let error = with("pissa").expect_err("refused");
    assert!(error.message.contains("`pissa`") && error.help.is_some(), "{error}");
}
