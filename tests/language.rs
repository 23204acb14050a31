//! Learning from text alone, whole programs on tiny models: tokenizers and masked tokens.

use std::fs;

use serde_json::Value;

use crate::cli::Project;

/// A BERT of two layers without values.
fn config(vocab_size: usize) -> String {
    format!(
        r#"{{"model_type": "bert", "vocab_size": {vocab_size}, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.05,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}"#
    )
}

/// Sentences whose words foretell each other.
fn sentence(row: usize) -> String {
    let what = [("sun", "hot", "yellow"), ("snow", "cold", "white"), ("grass", "wet", "green")];
    let (name, feel, look) = what[(row * 7 + row / 5) % 3];
    let often = ["always", "never", "often", "seldom"][(row * 5 + row / 3) % 4];
    format!("the {name} is {often} {feel} and the {name} looks {look}")
}

fn with_texts(program: &str) -> Project {
    let project = Project::with(program);
    for (name, rows) in [("train.csv", 0..240), ("held.csv", 240..300)] {
        let rows: String = rows.map(|row| format!("{}\n", sentence(row))).collect();
        fs::write(project.path(name), format!("text\n{rows}")).expect("written");
    }
    fs::write(project.path("tiny.json"), config(120)).expect("written");
    project
}

const MASKED: &str = r#"ftp 1
seed 5
load-data texts { source = { train = files("train.csv"), held = files("held.csv") } }
train-tokenizer pieces { data = texts.train, vocab_size = 120 }
load-model fresh {
  source    = config("tiny.json")
  tokenizer = pieces
  head      = masked_language_model
}
tokenize tokens { data = texts, tokenizer = pieces, max_length = 10, overflow = stride(0) }
train tuned {
  model          = fresh
  data           = tokens.train
  validate       = tokens.held
  loss           = masked(20%, whole_words = true)
  optimizer      = adamw(learning_rate = 1e-2)
  budget         = 60 updates
  validate_every = 20 updates
  metrics        = [loss, perplexity]
  keep           = best(loss)
}
eval guessed { model = tuned, data = tokens.held }
metric quality { predictions = guessed }
save release { model = tuned, to = "out" }
"#;

fn value(run: &Value, path: &[&str]) -> f64 {
    let found = path.iter().fold(run, |at, name| &at[*name]);
    found["value"].as_f64().unwrap_or_else(|| panic!("{path:?}: {found}"))
}

/// The words of a sentence foretell each other, so a model that has learned them is undecided among
/// few: chance alone would be more than twenty words.
#[test]
fn masked_words_are_learned_with_a_tokenizer_of_ones_own() {
    let project = with_texts(MASKED);
    let run = project.json(&["p.ftp"], 0);
    let perplexity = value(&run, &["metrics", "quality", "perplexity"]);
    assert!((1.0..8.0).contains(&perplexity), "{perplexity}");
    let loss = value(&run, &["metrics", "quality", "loss"]);
    assert!((perplexity - loss.exp()).abs() < 1e-6 * perplexity, "{perplexity} {loss}");
    assert!(value(&run, &["validation", "tuned", "perplexity"]) < 8.0);
    let config = fs::read_to_string(project.path("out/config.json")).expect("a config");
    assert!(config.contains("BertForMaskedLM"), "{config}");
    assert!(project.path("out/tokenizer.json").is_file());

    // What was learned is a model like any other: another head learns from labels.
    project.write(
        r#"ftp 1
load-data messages { source = files("messages.csv") }
load-model encoder { source = folder("out"), head = sequence_classification }
tokenize tokens { data = messages, tokenizer = encoder, max_length = 16 }
train tuned { model = encoder, data = tokens, budget = 2 updates }
eval predicted { model = tuned, data = tokens }
"#,
    );
    project.json(&["p.ftp"], 0);
}

#[test]
fn one_thread_and_two_learn_the_same() {
    let program = MASKED.replace("60 updates", "4 updates");
    let models = ["1", "2"].map(|threads| {
        let project = with_texts(&program);
        project.json(&["p.ftp", "--threads", threads], 0);
        fs::read(project.path("out/model.safetensors")).expect("a model")
    });
    assert!(models[0] == models[1]);
}
