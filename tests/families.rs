//! Properties that every family has, on models of two or three layers that are drawn in the test. Values
//! are compared with PyTorch's in `parity`; what is BERT's alone, and training, is in `training`.

use ftrun::data::{Labels, Targets};
use ftrun::model::{
    Compute, Config, Dropping, HeadChoice, HeadKind, Memory, Model, Pass, Path, Read, architectures,
};
use ftrun::task::LossOptions;
use ftrun::task::assemble::{self, Assembled};
use ftrun::train::{Examples, values};

use crate::rows::Rows;

const VOCABULARY: u32 = 60;

/// Fields of a small BERT that drops everywhere.
const USUAL: &str = r#""vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 24,
    "initializer_range": 0.2, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1"#;

/// By their `model_type`, with the fields in which members of a family differ; dropout everywhere.
fn configs() -> Vec<String> {
    let usual = |kind: &str, more: &str| {
        format!(r#"{{"model_type": "{kind}", {USUAL}, "type_vocab_size": 2{more}}}"#)
    };
    let relative = r#", "relative_attention": true, "norm_rel_ebd": "layer_norm""#;
    let modern = r#"{"model_type": "modernbert", "vocab_size": 60, "hidden_size": 32,
        "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 24, "initializer_range": 0.2, "pad_token_id": 0,
        "local_attention": 6, "attention_dropout": 0.1, "embedding_dropout": 0.1,
        "mlp_dropout": 0.1, "classifier_dropout": 0.1"#;
    vec![
        usual("bert", ""),
        usual("roberta", ""),
        usual("xlm-roberta", ""),
        r#"{"model_type": "distilbert", "vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4,
            "hidden_dim": 48, "max_position_embeddings": 24, "initializer_range": 0.2}"#
            .to_string(),
        usual("electra", r#", "embedding_size": 16"#),
        usual("albert", r#", "embedding_size": 16, "inner_group_num": 2"#),
        usual("mpnet", ""),
        usual(
            "deberta-v2",
            &format!(
                r#"{relative}, "pos_att_type": "p2c|c2p", "share_att_key": true, "position_buckets": 8"#
            ),
        ),
        usual(
            "deberta-v2",
            &format!(r#"{relative}, "pos_att_type": ["c2p"], "conv_kernel_size": 3"#),
        ),
        format!("{modern}}}"),
        format!(
            r#"{modern}, "classifier_pooling": "mean", "norm_bias": true, "attention_bias": true,
            "mlp_bias": true, "classifier_bias": true}}"#
        ),
    ]
}

fn parse(text: &str) -> Config {
    Config::parse(text.as_bytes()).expect("a config")
}

/// Drawn, then moved off the values that new biases and norms have, so that each matters.
fn assembled(config: &str) -> Assembled {
    let choice = HeadChoice {
        task: "sequence_classification".into(),
        kind: HeadKind::Sequence,
        new: false,
        outputs: None,
    };
    let (model, _) = Model::from_config(parse(config), Some(&choice), None).expect("a model");
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let labels = Labels::Classes { names, declared: false };
    let made = assemble::for_training(&model, &labels, 7).expect("a network");
    let mut all = values::copy(&made.parameters).expect("values");
    for (tensor, values) in all.iter_mut().enumerate() {
        for (element, value) in values.iter_mut().enumerate() {
            *value += 0.05 * ((tensor * 31 + element * 17) as f32).sin();
        }
    }
    values::restore(&made.parameters, &all).expect("restored");
    made
}

/// Rows of 1 to 20 tokens, classes 0, 1, 2.
fn rows(count: usize) -> Rows {
    let lengths: Vec<usize> = (0..count).map(|row| 1 + (row * 7 + 3) % 20).collect();
    let id = |row: usize, position: usize| {
        ((row * 13 + position * 5 + row * position) as u32) % VOCABULARY
    };
    let of_row = |(row, length): (usize, &usize)| (0..*length).map(|p| id(row, p)).collect();
    let types = |length: &usize| (0..*length).map(|p| u32::from(p > length / 2)).collect();
    Rows {
        input_ids: lengths.iter().enumerate().map(of_row).collect(),
        token_type_ids: lengths.iter().map(types).collect(),
        targets: Targets::Class((0..count as i64).map(|row| (row * row) % 3).collect()),
        ..Rows::default()
    }
}

fn pass(compute: Compute) -> Pass {
    Pass::training(compute, Some(Dropping { seed: 7, update: 3 }))
}

/// Loss and gradients of the given batches as one update.
fn update(made: &Assembled, batches: &[Vec<usize>], compute: Compute) -> (f64, Vec<Vec<f32>>) {
    let (rows, options) = (rows(8), LossOptions::default());
    let denominator = made.network.task().denominator(&rows.targets, &options);
    made.parameters.zero_grad();
    let (mut sum, mut place, pass) = (0.0, 0, pass(compute));
    for batch in batches {
        let input = rows.input(batch, place, None).expect("an input");
        place += batch.len() as u32;
        let targets = rows.targets(batch, None);
        let forward = made
            .network
            .forward(&made.parameters, &input, &targets, &options, denominator, &pass)
            .expect("a forward");
        sum += f64::from(forward.loss.to_scalar::<f32>().expect("a scalar"));
        pass.backward(&forward.loss, &made.parameters).expect("a backward");
    }
    let gradient = |weight: &ftrun::nn::Weight| match weight.gradient().expect("a gradient") {
        Some(gradient) => gradient.flatten_all().and_then(|flat| flat.to_vec1()).expect("values"),
        None => vec![0.0; weight.elem_count()],
    };
    (sum, made.parameters.iter().map(|parameter| gradient(&parameter.weight)).collect())
}

/// Each gradient by itself: ‖a − b‖ ≤ tolerance · ‖b‖, with a floor for what is zero in exact
/// arithmetic.
fn assert_near(
    made: &Assembled,
    config: &str,
    (loss, found): &(f64, Vec<Vec<f32>>),
    (wanted_loss, wanted): &(f64, Vec<Vec<f32>>),
) {
    assert!(
        (loss - wanted_loss).abs() <= 1e-5 * wanted_loss.abs(),
        "{config}: {loss} {wanted_loss}"
    );
    for ((parameter, found), wanted) in made.parameters.iter().zip(found).zip(wanted) {
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let size = norm(&mut wanted.iter().map(|v| f64::from(*v)));
        let off = norm(&mut found.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let name = &parameter.name;
        assert!(off <= (1e-4 * size).max(1e-6), "{config} {name}: {off:e} of {size:e}");
    }
}

#[test]
fn every_family_is_tried() {
    let tried: Vec<String> = configs()
        .iter()
        .map(|config| parse(config).model_type().expect("a type").to_string())
        .collect();
    for family in architectures() {
        assert!(tried.iter().any(|name| name == family.model_type()), "{}", family.model_type());
    }
}

/// With dropout at every place that a family has.
#[test]
fn the_fused_path_equals_the_reference() {
    for config in configs() {
        let made = assembled(&config);
        let of = |path| update(&made, &[rows(8).all()], Compute { path, ..Compute::default() });
        assert_near(&made, &config, &of(Path::Fused), &of(Path::Reference));
    }
}

/// What is computed again on the way back has the same bits, and so has what two threads compute.
#[test]
fn neither_memory_nor_threads_change_a_bit() {
    for config in configs() {
        let made = assembled(&config);
        let all = [rows(8).all()];
        let in_threads = |threads, memory| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            // A tape stays on its thread.
            pool.install(|| update(&made, &all, Compute { memory, ..Compute::default() }))
        };
        let normal = in_threads(1, Memory::Normal);
        assert!(normal == in_threads(2, Memory::Normal), "{config}: threads");
        assert!(normal == in_threads(1, Memory::Low), "{config}: memory");
    }
}

#[test]
fn micro_batches_of_one_update_do_not_change_it() {
    for config in configs() {
        let made = assembled(&config);
        let parts: Vec<Vec<usize>> = rows(8).all().chunks(3).map(<[usize]>::to_vec).collect();
        let whole = update(&made, &[rows(8).all()], Compute::default());
        assert_near(&made, &config, &update(&made, &parts, Compute::default()), &whole);
    }
}

#[test]
fn reading_only_the_first_token_changes_nothing() {
    for config in configs() {
        let made = assembled(&config);
        let rows = rows(6);
        let input = rows.input(&rows.all(), 0, None).expect("an input");
        let pass = pass(Compute::default());
        let of = |read| {
            let states = made.network.backbone().forward(&made.parameters, &input, read, &pass);
            states.and_then(|states| Ok(states.to_vec2::<f32>()?)).expect("hidden states")
        };
        let (all, first) = (of(Read::All), of(Read::First));
        let mut start = 0;
        for (row, first) in first.iter().enumerate() {
            for (a, b) in all[start].iter().zip(first) {
                assert!((a - b).abs() < 1e-5, "{config} row {row}: {a} {b}");
            }
            start += rows.cost(row);
        }
    }
}

/// A tokenizer may tell the texts of a pair apart where the model does not.
#[test]
fn a_model_of_one_type_takes_all_tokens_for_it() {
    let config = configs()[1].replace(r#""type_vocab_size": 2"#, r#""type_vocab_size": 1"#);
    let made = assembled(&config);
    let of = |rows: Rows| {
        let input = rows.input(&rows.all(), 0, None).expect("an input");
        let pass = pass(Compute::default());
        let states = made.network.backbone().forward(&made.parameters, &input, Read::All, &pass);
        states.and_then(|states| Ok(states.to_vec2::<f32>()?)).expect("hidden states")
    };
    let typed = rows(6);
    assert!(typed.token_type_ids.iter().flatten().any(|id| *id == 1));
    let none = typed.token_type_ids.iter().map(|row| vec![0; row.len()]).collect();
    assert_eq!(of(typed), of(Rows { token_type_ids: none, ..rows(6) }));
}

/// What a family has in transformers but not here is refused by the name of its field.
#[test]
fn what_is_not_supported_is_named() {
    for (kind, field, value) in [
        ("bert", "position_embedding_type", r#""relative_key""#),
        ("bert", "is_decoder", "true"),
        ("roberta", "add_cross_attention", "true"),
        ("roberta", "pad_token_id", "null"),
        ("roberta", "max_position_embeddings", "2"),
        ("xlm-roberta", "hidden_act", r#""mish""#),
        ("distilbert", "sinusoidal_pos_embds", "true"),
        ("distilbert", "n_heads", "7"),
        ("electra", "hidden_act", r#""galu""#),
        ("albert", "num_hidden_groups", "13"),
        ("mpnet", "relative_attention_num_buckets", "16"),
        ("deberta-v2", "pos_att_type", r#"["p2p"]"#),
        ("deberta-v2", "attention_head_size", "7"),
        ("deberta-v2", "conv_kernel_size", "4"),
        ("deberta-v2", "pooler_hidden_size", "8"),
        ("modernbert", "classifier_pooling", r#""max""#),
        ("modernbert", "layer_types", r#"["full_attention"]"#),
        ("modernbert", "rope_scaling", r#"{"rope_type": "yarn"}"#),
        (
            "modernbert",
            "rope_parameters",
            r#"{"full_attention": {"rope_type": "linear", "rope_theta": 1e4}}"#,
        ),
    ] {
        let config = parse(&format!(r#"{{"model_type": "{kind}", "{field}": {value}}}"#));
        let family = ftrun::model::architecture(&config).expect("a family");
        let error = family.build(&config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&format!("`{field}`")), "{kind} {field}: {error}");
        assert!(family.fields().contains(&field), "{kind} does not list {field}");
    }
}
