//! Properties of training, on a BERT of two layers that is drawn in the test.

use std::path::PathBuf;
use std::sync::Arc;

use ftrun::data::{Labels, Targets};
use ftrun::model::{
    Compute, Config, Dropping, HeadChoice, HeadKind, Memory, Model, ModelError, Pass, Path, Read,
};
use ftrun::nn::Parameters;
use ftrun::nn::Precision;
use ftrun::schema::{Bound, Pick};
use ftrun::task::assemble::{self, Assembled};
use ftrun::task::{LossOptions, Network};
use ftrun::train::{
    BatchSize, Budget, Control, Ending, Event, Examples, Keep, Measure, Optimizer, Optimizers,
    Schedules, Settings, Snapshot, State, Trained, Unattended, ValidationSet, evaluate, metrics,
    train, values,
};

use crate::rows::Rows;

const VOCABULARY: u32 = 60;
const SEED: u64 = 7;

fn config(dropout: f64) -> Config {
    let text = format!(
        r#"{{"model_type": "bert", "vocab_size": {VOCABULARY}, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 24, "type_vocab_size": 2, "initializer_range": 0.2,
        "hidden_dropout_prob": {dropout}, "attention_probs_dropout_prob": {dropout}}}"#
    );
    Config::parse(text.as_bytes()).expect("a config")
}

/// Drawn from the seed; the values of biases and norms are moved off their defaults, so that each
/// matters.
fn assembled(dropout: f64) -> Assembled {
    let choice = choice("sequence_classification", None);
    let (model, _) = Model::from_config(config(dropout), Some(&choice), None).expect("a model");
    let made = assemble::for_training(&model, &labels(), SEED).expect("a network");
    let mut all = values::copy(&made.parameters).expect("values");
    for (tensor, values) in all.iter_mut().enumerate() {
        for (element, value) in values.iter_mut().enumerate() {
            *value += 0.05 * ((tensor * 31 + element * 17) as f32).sin();
        }
    }
    values::restore(&made.parameters, &all).expect("restored");
    made
}

fn labels() -> Labels {
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Labels::Classes { names, declared: false }
}

/// The head of a task on whole sequences.
fn choice(task: &str, outputs: Option<usize>) -> HeadChoice {
    HeadChoice { task: task.into(), kind: HeadKind::Sequence, new: false, outputs }
}

/// Nothing that a metric reads: for runs that look at losses alone.
fn unread(_: &evaluate::Scored) -> ftrun::model::Result<metrics::Scored> {
    Err(ModelError::new("no metric is asked for"))
}

/// Logits of all rows.
fn logits_of(network: &Network, parameters: &Parameters, rows: &Rows) -> Vec<f32> {
    evaluate::score(network, parameters, rows, Compute::default(), &mut |_| true)
        .expect("scored")
        .expect("not stopped")
        .logits
}

/// Rows of 1 to 20 tokens with two types, classes 0, 1, 2.
fn rows(count: usize) -> Rows {
    let lengths = (0..count).map(|row| 1 + (row * 7 + 3) % 20);
    let id = |row: usize, position: usize| {
        ((row * 13 + position * 5 + row * position) as u32) % VOCABULARY
    };
    let input_ids =
        lengths.clone().enumerate().map(|(row, n)| (0..n).map(|p| id(row, p)).collect());
    let types = lengths.map(|n| (0..n).map(|p| u32::from(p > n / 2)).collect());
    Rows {
        input_ids: input_ids.collect(),
        token_type_ids: types.collect(),
        targets: Targets::Class((0..count as i64).map(|row| (row * row) % 3).collect()),
        ..Rows::default()
    }
}

fn pick<F: ftrun::schema::Family>(name: &str, arguments: &[(&str, Bound)]) -> Box<F::Item> {
    let mut pick = Pick::<F>::default_of(name).expect("a member");
    for (name, value) in arguments {
        let place = pick.args.iter_mut().find(|(own, _)| own == name).expect("an argument");
        place.1 = value.clone();
    }
    pick.build().expect("built")
}

fn optimizer(name: &str, learning_rate: f64, weight_decay: f64) -> Box<dyn Optimizer> {
    let arguments = [("learning_rate", learning_rate), ("weight_decay", weight_decay)];
    pick::<Optimizers>(name, &arguments.map(|(name, value)| (name, Bound::Float(value))))
}

fn settings(updates: u64, batch: usize, gradient_accumulation: usize) -> Settings {
    Settings {
        optimizer: optimizer("adamw", 3e-3, 0.01),
        schedule: pick::<Schedules>("linear", &[]),
        budget: Budget::Updates(updates),
        batch: BatchSize::Rows(batch),
        gradient_accumulation,
        defer_rows: true,
        max_grad_norm: Some(1.0),
        loss: LossOptions::default(),
        neftune: None,
        layer_decay: 1.0,
        validate_every: Budget::Epochs(1.0),
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
        Ending::Stopped { .. } => panic!("nobody asked to stop"),
    }
}

fn copy(parameters: &Parameters) -> Vec<Vec<f32>> {
    values::copy(parameters).expect("values")
}

fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    values.iter().map(|tensor| tensor.iter().map(|value| value.to_bits()).collect()).collect()
}

/// ‖a−b‖/‖b‖ over all tensors.
fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        difference += (f64::from(*a) - f64::from(*b)).powi(2);
        size += f64::from(*b).powi(2);
    }
    (difference / size).sqrt()
}

/// Loss and gradients of the given batches as one update.
fn gradients(
    made: &Assembled,
    rows: &Rows,
    batches: &[Vec<usize>],
    pass: &Pass,
) -> (f64, Vec<Vec<f32>>) {
    let options = LossOptions::default();
    let task = made.network.task();
    let denominator: f64 =
        batches.iter().map(|batch| task.denominator(&rows.targets(batch, None), &options)).sum();
    made.parameters.zero_grad();
    let (mut loss, mut place) = (0.0, 0);
    for batch in batches {
        let input = rows.input(batch, place, None).expect("an input");
        place += batch.len() as u32;
        let forward = made
            .network
            .forward(
                &made.parameters,
                &input,
                &rows.targets(batch, None),
                &options,
                denominator,
                pass,
            )
            .expect("a forward");
        loss += f64::from(forward.loss.to_scalar::<f32>().expect("a scalar"));
        pass.backward(&forward.loss, &made.parameters).expect("a backward");
    }
    (loss, all_gradients(&made.parameters))
}

fn all_gradients(parameters: &Parameters) -> Vec<Vec<f32>> {
    parameters
        .iter()
        .map(|parameter| match parameter.weight.gradient().expect("a gradient") {
            Some(gradient) => {
                gradient.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
            }
            None => vec![0.0; parameter.weight.elem_count()],
        })
        .collect()
}

fn dropping() -> Pass {
    computed(Compute::default())
}

/// A pass with dropout.
fn computed(compute: Compute) -> Pass {
    Pass::training(compute, Some(Dropping { seed: SEED, update: 3 }))
}

/// All ways to compute a pass that this processor has.
fn ways() -> Vec<Compute> {
    let fused = Compute::default();
    let mut all = vec![
        fused,
        Compute { path: Path::Reference, ..fused },
        Compute { memory: Memory::Low, ..fused },
    ];
    if Precision::Bf16.is_available() {
        all.push(Compute { precision: Precision::Bf16, ..fused });
        all.push(Compute { precision: Precision::Bf16, memory: Memory::Low, ..fused });
    } else {
        eprintln!("skipped: this processor has no products of bf16");
    }
    all
}

/// Parameters whose gradient is zero in exact arithmetic: a constant added to every score of a
/// softmax cancels.
const WITHOUT_GRADIENT: &[&str] = &["attention.self.key.bias"];

#[test]
fn every_parameter_gets_a_gradient_but_for_the_stated_ones() {
    let made = assembled(0.1);
    let rows = rows(8);
    for compute in ways() {
        let pass = computed(compute);
        let (_, gradients) = gradients(&made, &rows, &[rows.all()], &pass);
        for (parameter, gradient) in made.parameters.iter().zip(&gradients) {
            let name = &parameter.name;
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}");
            let largest = gradient.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            if WITHOUT_GRADIENT.iter().any(|end| name.ends_with(end)) {
                let exact = compute.precision == Precision::F32;
                let allowed = if exact { 1e-6 } else { 1e-3 };
                assert!(largest < allowed, "{compute:?} {name}: {largest:e}");
            } else {
                assert!(largest > 1e-6, "{compute:?} {name}: {largest:e}");
            }
        }
    }
}

/// The exceptions are zero in PyTorch's gradients as well.
#[test]
fn the_stated_exceptions_are_zero_in_the_golden_gradients() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = 0;
    for case in ["bert-classify", "bert-regress", "bert-multilabel"] {
        let bytes = std::fs::read(golden.join(case).join("grads.safetensors")).expect("gradients");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        for (name, view) in file.tensors() {
            let (values, _) = view.data().as_chunks::<4>();
            let norm = values
                .iter()
                .map(|value| f64::from(f32::from_le_bytes(*value)).powi(2))
                .sum::<f64>()
                .sqrt();
            let stated = WITHOUT_GRADIENT.iter().any(|end| name.ends_with(end));
            assert_eq!(stated, norm < 1e-6, "{case} {name}: {norm:e}");
            found += usize::from(stated);
        }
    }
    assert_eq!(found, 6);
}

#[test]
fn the_fused_path_equals_the_reference_with_and_without_dropout() {
    let made = assembled(0.1);
    let rows = rows(8);
    for dropping in [None, Some(Dropping { seed: SEED, update: 3 })] {
        let of = |path| {
            let pass = Pass::training(Compute { path, ..Compute::default() }, dropping);
            gradients(&made, &rows, &[rows.all()], &pass)
        };
        let (fused_loss, fused) = of(Path::Fused);
        let (loss, reference) = of(Path::Reference);
        assert!((fused_loss - loss).abs() <= 1e-5 * loss.abs(), "{fused_loss} {loss}");
        for ((parameter, fused), reference) in made.parameters.iter().zip(&fused).zip(&reference) {
            let size = reference.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let pairs = fused.iter().zip(reference);
            let off =
                pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt();
            assert!(off <= (1e-4 * size).max(1e-6), "{}: {off:e} of {size:e}", parameter.name);
        }
    }
}

/// What is computed again on the way back has the same bits, in either precision.
#[test]
fn low_memory_changes_no_bit() {
    let made = assembled(0.1);
    let rows = rows(8);
    for compute in ways().into_iter().filter(|compute| compute.memory == Memory::Low) {
        let low = gradients(&made, &rows, &[rows.all()], &computed(compute));
        let normal = Compute { memory: Memory::Normal, ..compute };
        let normal = gradients(&made, &rows, &[rows.all()], &computed(normal));
        assert!(low == normal, "{compute:?}");
    }
}

/// bf16 keeps 8 bits of a factor: a relative error of 2⁻⁹ in each, which sums partly cancel.
#[test]
fn bf16_is_near_f32() {
    if !Precision::Bf16.is_available() {
        eprintln!("skipped: this processor has no products of bf16");
        return;
    }
    let made = assembled(0.1);
    let rows = rows(8);
    let rounded = Compute { precision: Precision::Bf16, ..Compute::default() };
    let (loss, exact) = gradients(&made, &rows, &[rows.all()], &dropping());
    let (near_loss, near) = gradients(&made, &rows, &[rows.all()], &computed(rounded));
    assert!((near_loss - loss).abs() < 5e-3 * loss, "{near_loss} {loss}");
    assert_ne!(near_loss, loss);
    assert!(distance(&near, &exact) < 2e-2, "{:e}", distance(&near, &exact));
}

#[test]
fn dropout_is_drawn_by_seed_and_update_and_absent_in_evaluation() {
    let rows = rows(8);
    let (with, without) = (assembled(0.1), assembled(0.0));
    let loss = |made: &Assembled, pass: Pass| gradients(made, &rows, &[rows.all()], &pass).0;
    let at = |seed, update| Pass::training(Compute::default(), Some(Dropping { seed, update }));
    let undropped = || Pass::training(Compute::default(), None);
    assert_eq!(loss(&with, at(1, 1)).to_bits(), loss(&with, at(1, 1)).to_bits());
    assert_ne!(loss(&with, at(1, 1)), loss(&with, at(1, 2)));
    assert_ne!(loss(&with, at(1, 1)), loss(&with, at(2, 1)));
    let evaluation = loss(&with, undropped());
    assert_eq!(evaluation.to_bits(), loss(&without, undropped()).to_bits());
    assert_eq!(evaluation.to_bits(), loss(&without, at(1, 1)).to_bits());
}

/// Noise changes training and nothing else, and is the same whatever computes it.
#[test]
fn neftune_adds_the_same_noise_on_every_way_and_none_in_evaluation() {
    let made = assembled(0.1);
    let rows = rows(8);
    let of = |compute, alpha, batches: &[Vec<usize>]| {
        gradients(&made, &rows, batches, &computed(compute).with_neftune(alpha))
    };
    let fused = Compute::default();
    let (loss, noisy) = of(fused, Some(5.0), &[rows.all()]);
    assert_ne!(loss, of(fused, None, &[rows.all()]).0);
    assert_ne!(loss, of(fused, Some(4.0), &[rows.all()]).0);
    let low = of(Compute { memory: Memory::Low, ..fused }, Some(5.0), &[rows.all()]);
    assert_eq!((low.0, bits(&low.1)), (loss, bits(&noisy)));
    let (reference, _) = of(Compute { path: Path::Reference, ..fused }, Some(5.0), &[rows.all()]);
    assert!((reference - loss).abs() <= 1e-5 * loss.abs(), "{reference} {loss}");
    let batches: Vec<Vec<usize>> = rows.all().chunks(3).map(<[usize]>::to_vec).collect();
    let (parts, in_parts) = of(fused, Some(5.0), &batches);
    assert!((parts - loss).abs() <= 1e-5 * loss.abs(), "{parts} {loss}");
    assert!(distance(&in_parts, &noisy) < 1e-5);
    let logits = |pass: &Pass| {
        let input = rows.input(&rows.all(), 0, None).expect("an input");
        let logits = made.network.logits(&made.parameters, &input, pass).expect("logits");
        logits.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("values")
    };
    let plain = Pass::evaluation(fused);
    assert_eq!(logits(&plain), logits(&plain.clone().with_neftune(Some(5.0))));
}

#[test]
fn micro_batches_of_one_update_do_not_change_it() {
    let made = assembled(0.1);
    let rows = rows(32);
    let whole = gradients(&made, &rows, &[rows.all()], &dropping());
    let split: Vec<Vec<usize>> = rows.all().chunks(8).map(<[usize]>::to_vec).collect();
    let parts = gradients(&made, &rows, &split, &dropping());
    assert!((whole.0 - parts.0).abs() < 1e-5 * whole.0, "{} {}", whole.0, parts.0);
    assert!(distance(&parts.1, &whole.1) < 1e-5, "{:e}", distance(&parts.1, &whole.1));
}

#[test]
fn accumulation_equals_the_large_batch() {
    let (large, small) = (assembled(0.1), assembled(0.1));
    let rows = rows(36);
    let a = run(&large, &rows, &settings(4, 12, 1));
    let b = run(&small, &rows, &settings(4, 3, 4));
    for (a, b) in a.log.iter().zip(&b.log) {
        assert!(
            (a.loss - b.loss).abs() < 1e-4 * a.loss,
            "update {}: {} {}",
            a.update,
            a.loss,
            b.loss
        );
        assert_eq!(a.learning_rate, b.learning_rate);
    }
}

#[test]
fn one_batch_can_be_learned() {
    let made = assembled(0.0);
    let rows = rows(8);
    let trained = run(&made, &rows, &settings(150, 8, 1));
    let last = trained.log.last().expect("a log").loss;
    assert!(last < 0.01, "{last}");
}

#[test]
fn two_threads_make_the_bits_of_one() {
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let made = assembled(0.1);
            let trained =
                run(&made, &rows(40), &Settings { neftune: Some(5.0), ..settings(6, 16, 1) });
            (bits(&copy(&made.parameters)), trained.log)
        })
    };
    let one = of(1);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
}

#[test]
fn order_and_neighbours_of_a_row_do_not_change_its_logits() {
    let made = assembled(0.1);
    let rows = rows(20);
    let of = |rows: &Rows| logits_of(&made.network, &made.parameters, rows);
    let all = of(&rows);
    let order: Vec<usize> = (0..20).map(|row| (row * 7) % 20).collect();
    let permuted = of(&rows.permuted(&order));
    for (place, row) in order.iter().enumerate() {
        let alone = of(&rows.permuted(&[*row]));
        for output in 0..3 {
            let wanted = all[row * 3 + output];
            assert!((permuted[place * 3 + output] - wanted).abs() < 1e-5);
            assert!((alone[output] - wanted).abs() < 1e-5);
        }
    }
    assert!(made.parameters.iter().all(|parameter| parameter.weight.is_trainable()));
}

/// Stops after every update that it is asked about, and keeps the checkpoint.
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

    fn checkpoint(&mut self, snapshot: &Snapshot) -> Result<(), ModelError> {
        self.saved = snapshot.state.to_bytes(snapshot.parameters)?;
        Ok(())
    }
}

#[test]
fn a_resumed_run_makes_the_bits_of_an_uninterrupted_one() {
    let rows = rows(30);
    let held_out = self::rows(10);
    let set = ValidationSet { examples: &held_out, read: &unread };
    let settings = || Settings { keep: Keep::Best(Measure::Loss), ..settings(9, 8, 1) };
    let go = |made: &Assembled, resume: Option<State>, control: &mut dyn Control| {
        train(&made.network, &made.parameters, &rows, Some(set), &settings(), resume, control)
            .expect("a run")
    };
    let whole = assembled(0.1);
    let Ending::Finished(uninterrupted) = go(&whole, None, &mut Unattended) else {
        panic!("stopped")
    };
    assert!(uninterrupted.validations.len() >= 2);
    for update in [1, 4, 7] {
        let first = assembled(0.1);
        let mut control = StopAt { update, ..StopAt::default() };
        assert_eq!(go(&first, None, &mut control), Ending::Stopped { update });
        let state = State::from_bytes(&control.saved).expect("a checkpoint");
        // Another process: its parameters are drawn again before the state is read.
        let second = assembled(0.1);
        let Ending::Finished(resumed) = go(&second, Some(state), &mut Unattended) else {
            panic!("stopped")
        };
        assert_eq!(resumed, uninterrupted);
        assert_eq!(bits(&copy(&second.parameters)), bits(&copy(&whole.parameters)));
    }
}

/// Keeps every checkpoint and stops after update 60.
#[derive(Default)]
struct Checkpoints {
    seen: u64,
    all: Vec<Vec<u8>>,
}

impl Control for Checkpoints {
    fn event(&mut self, event: &Event) {
        if let Event::Updated { row, .. } = event {
            self.seen = row.update;
        }
    }

    fn stop_requested(&mut self) -> bool {
        self.seen == 60
    }

    fn checkpoint(&mut self, snapshot: &Snapshot) -> Result<(), ModelError> {
        self.all.push(snapshot.state.to_bytes(snapshot.parameters)?);
        Ok(())
    }
}

/// Parameters, moving averages and log after 23, 46 and 60 updates, with and without validations
/// between them. The ids of `disjoint` are in one row each, and ten are in none.
#[test]
fn deferred_rows_make_the_bits_of_the_dense_path() {
    let usual = rows(30);
    let ids = |row: u32| (0..12).map(|position| row * 10 + (position * position) % 10).collect();
    let disjoint = Rows {
        input_ids: (0..5).map(ids).collect(),
        targets: Targets::Class(vec![0, 1, 2, 0, 1]),
        ..Rows::default()
    };
    let validation = ValidationSet { examples: &usual, read: &unread };
    for (name, decay, rows, batch, gradient_accumulation) in [
        ("adamw", 0.01, &disjoint, 1, 1),
        ("adamw", 0.01, &disjoint, 1, 2),
        ("adamw", 0.0, &disjoint, 1, 1),
        ("adamw", 0.01, &usual, 3, 2),
        ("sgd", 0.01, &disjoint, 1, 1),
    ] {
        for validation in [None, Some(validation)] {
            let [deferred, dense] = [true, false].map(|defer_rows| {
                let made = assembled(0.1);
                let settings = Settings {
                    optimizer: optimizer(name, 3e-3, decay),
                    schedule: pick::<Schedules>("linear", &[("warmup", Bound::Share(0.2))]),
                    max_grad_norm: Some(0.5),
                    validate_every: Budget::Updates(17),
                    checkpoint_every: Some(Budget::Updates(23)),
                    defer_rows,
                    ..settings(70, batch, gradient_accumulation)
                };
                let (network, parameters) = (&made.network, &made.parameters);
                let mut kept = Checkpoints::default();
                train(network, parameters, rows, validation, &settings, None, &mut kept)
                    .expect("a run");
                assert_eq!(kept.all.len(), 3);
                let last = State::from_bytes(&kept.all[2]).expect("a checkpoint");
                assert!(last.log.iter().any(|row| row.grad_norm > 0.5), "nothing was clipped");
                let resumed =
                    train(network, parameters, rows, validation, &settings, Some(last), &mut kept);
                assert!(matches!(resumed.expect("a run"), Ending::Finished(_)));
                (kept.all, bits(&copy(parameters)))
            });
            assert!(deferred == dense, "{name}, decay {decay}, batch {batch}");
        }
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let made = assembled(0.0);
    let state = State::new(&made.parameters, 2).to_bytes(&made.parameters).expect("bytes");
    assert!(State::from_bytes(&state).is_ok());
    assert!(State::from_bytes(&state[..state.len() - 1]).is_err());
    assert!(State::from_bytes(&[]).is_err());
    let mut flipped = state;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert!(State::from_bytes(&flipped).is_err());
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_the_rows() {
    let made = assembled(0.0);
    let rows = rows(6);
    let mut all = copy(&made.parameters);
    // The embedding of the first token of row 2 alone.
    let id = rows.input_ids[2][0] as usize;
    let others =
        [0, 1, 3, 4, 5].iter().any(|row: &usize| rows.input_ids[*row].contains(&(id as u32)));
    assert!(!others, "the test's rows share the token");
    all[0][id * 32] = f32::NAN;
    values::restore(&made.parameters, &all).expect("restored");
    let error = train(
        &made.network,
        &made.parameters,
        &rows,
        None,
        &settings(9, 1, 1),
        None,
        &mut Unattended,
    )
    .expect_err("not a number");
    assert!(error.message.contains("update ") && error.message.contains("row-2"), "{error}");
    assert!(error.message.contains("NaN"), "{error}");
}

#[test]
fn frozen_parameters_stay_and_the_rest_learns() {
    let made = assembled(0.1);
    for parameter in made.parameters.iter() {
        if parameter.name.starts_with("bert.embeddings") || parameter.name.contains("layer.0") {
            parameter.weight.set_trainable(false);
        }
    }
    let before = copy(&made.parameters);
    run(&made, &rows(12), &settings(3, 4, 1));
    for ((parameter, before), after) in
        made.parameters.iter().zip(&before).zip(copy(&made.parameters))
    {
        let zero = WITHOUT_GRADIENT.iter().any(|end| parameter.name.ends_with(end));
        if !zero {
            assert_eq!(parameter.weight.is_trainable(), *before != after, "{}", parameter.name);
        }
    }
}

#[test]
fn layer_decay_slows_the_lower_layers() {
    let of = |layer_decay| {
        let made = assembled(0.0);
        let before = copy(&made.parameters);
        let one = Settings {
            optimizer: optimizer("adamw", 1e-3, 0.0),
            layer_decay,
            ..settings(1, 12, 1)
        };
        run(&made, &rows(12), &one);
        let names: Vec<String> =
            made.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let moved = |part: &str| -> f64 {
            let place = names.iter().position(|name| name.contains(part)).expect("a parameter");
            distance(&copy(&made.parameters)[place..=place], &before[place..=place])
        };
        [
            moved("classifier.weight"),
            moved("layer.1.output.dense.weight"),
            moved("layer.0.output.dense.weight"),
            moved("word_embeddings"),
        ]
    };
    let (plain, decayed) = (of(1.0), of(0.5));
    for (depth, (plain, decayed)) in plain.iter().zip(decayed).enumerate() {
        let wanted = plain * 0.5f64.powi(depth as i32);
        assert!((decayed - wanted).abs() < 2e-3 * wanted, "depth {depth}: {decayed:e}, {wanted:e}");
    }
}

#[test]
fn what_is_saved_is_read_back_with_the_same_logits() {
    let made = assembled(0.1);
    let rows = rows(10);
    let choice = choice("sequence_classification", None);
    let (drawn, _) = Model::from_config(config(0.1), Some(&choice), None).expect("a model");
    let error = drawn.complete().expect_err("undrawn");
    assert!(error.message.contains("bert.embeddings.word_embeddings.weight"), "{error}");
    let model = assemble::trained(&Arc::new(drawn), &made, None).expect("a model");

    let folder = tempfile::tempdir().expect("a folder");
    ftrun::model::checkpoint::save_folder(
        &model,
        Some("single_label_classification"),
        None,
        ftrun::model::checkpoint::Written::F32,
        folder.path(),
    )
    .expect("saved");
    let config = ftrun::model::checkpoint::read_config(folder.path()).expect("a config");
    assert_eq!(config.text("problem_type").expect("text"), Some("single_label_classification"));
    assert_eq!(
        config.get("architectures"),
        Some(&serde_json::json!(["BertForSequenceClassification"]))
    );
    assert_eq!(config.get("id2label"), Some(&serde_json::json!({"0": "a", "1": "b", "2": "c"})));
    let (read, report) = Model::from_folder(folder.path(), config, Some(&choice)).expect("read");
    assert_eq!((report.missing.len(), report.unexpected.len()), (0, 0));
    assert_eq!(read.head.as_ref().map(|head| head.labels.clone()), Some(labels().names().to_vec()));
    let logits = |network: &Network, parameters: &Parameters| logits_of(network, parameters, &rows);
    let again = assemble::for_evaluation(&read, Some(&labels())).expect("a network");
    assert_eq!(logits(&made.network, &made.parameters), logits(&again.network, &again.parameters));

    let exact = tempfile::tempdir().expect("a folder");
    model.write(exact.path()).expect("written");
    let back = Model::read(exact.path()).expect("read");
    assert_eq!(back.digest().expect("a digest"), model.digest().expect("a digest"));
}

fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FTRUN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let found = root.join(part);
    if !found.exists() {
        println!("skipped: {part} is not there; FTRUN_SHARED names the folder that holds it");
    }
    found.exists().then_some(found)
}

/// The older form of `pytorch_model.bin`, written by PyTorch itself.
#[test]
fn a_legacy_checkpoint_is_read_without_executing_it() {
    let Some(folder) = shared("models/bert-xsmall-bin") else { return };
    let config = ftrun::model::checkpoint::read_config(&folder).expect("a config");
    let choice = choice("sequence_regression", Some(1));
    let (model, report) = Model::from_folder(&folder, config, Some(&choice)).expect("a model");
    assert_eq!(report.missing, ["classifier.weight", "classifier.bias"]);
    assert_eq!(model.undrawn, report.missing);
    let (_, words) = &model.tensors[0];
    assert_eq!(words.dims(), [250, 20]);
    let bytes = std::fs::read(folder.join("pytorch_model.bin")).expect("bytes");
    // Damage anywhere is an error or other numbers, never a panic.
    let damaged = tempfile::tempdir().expect("a folder");
    for place in (0..bytes.len()).step_by(bytes.len() / 60) {
        for cut in [true, false] {
            let mut copy = bytes.clone();
            if cut {
                copy.truncate(place)
            } else {
                copy[place] ^= 0x55
            }
            std::fs::write(damaged.path().join("pytorch_model.bin"), copy).expect("written");
            let read = ftrun::model::checkpoint::read_weights(damaged.path());
            assert!(!cut || read.is_err(), "cut at {place}");
        }
    }
}

/// A pretrained model of six layers, against the forward of candle-transformers.
#[test]
fn hidden_states_of_a_pretrained_model_equal_another_implementation() {
    use candle_core::{DType, Device, Tensor};
    use candle_transformers::models::bert::{BertModel, Config as OtherConfig};
    let Some(folder) = shared("models/all-MiniLM-L6-v2") else { return };
    let config = ftrun::model::checkpoint::read_config(&folder).expect("a config");
    let other: OtherConfig = serde_json::from_str(&config.to_json()).expect("a config");
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("bytes");
    let weights = candle_nn::VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)
        .expect("weights");
    let other = BertModel::load(weights, &other).expect("a model");

    let choice = choice("sequence_classification", None);
    let (model, _) = Model::from_folder(&folder, config, Some(&choice)).expect("a model");
    let made = assemble::for_training(&model, &labels(), 0).expect("a network");
    let ids: Vec<Vec<u32>> = [5usize, 17, 64]
        .iter()
        .map(|length| (0..*length).map(|p| 1000 + (p * p * 37 % 20_000) as u32).collect())
        .collect();
    let rows = Rows { input_ids: ids.clone(), ..Rows::default() };
    let input = rows.input(&rows.all(), 0, None).expect("an input");
    let ours = made
        .network
        .backbone()
        .forward(&made.parameters, &input, Read::All, &Pass::evaluation(Compute::default()))
        .and_then(|states| Ok(states.to_vec2::<f32>()?))
        .expect("hidden states");
    let mut start = 0;
    for row in &ids {
        let ids = Tensor::new(row.as_slice(), &Device::Cpu)
            .and_then(|ids| ids.unsqueeze(0))
            .expect("ids");
        let types = ids.zeros_like().expect("types");
        let theirs = other
            .forward(&ids, &types, None)
            .and_then(|states| states.squeeze(0)?.to_vec2::<f32>());
        for (ours, theirs) in ours[start..].iter().zip(theirs.expect("hidden states")) {
            for (a, b) in ours.iter().zip(theirs) {
                assert!((a - b).abs() < 2e-4, "{a} {b}");
            }
        }
        start += row.len();
    }
}
