//! Learning from text alone, whole programs on tiny models: tokenizers, masked tokens, and vectors of
//! texts.

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

/// Twelve things and the codes that they are known by.
const THINGS: [(&str, &str); 12] = [
    ("apple", "red"),
    ("river", "blue"),
    ("grass", "green"),
    ("lemon", "sour"),
    ("honey", "sweet"),
    ("stone", "hard"),
    ("cloud", "soft"),
    ("night", "dark"),
    ("candle", "light"),
    ("winter", "cold"),
    ("oven", "hot"),
    ("desert", "dry"),
];

fn asked(row: usize) -> String {
    let thing = THINGS[row % 12].0;
    match row / 12 % 3 {
        0 => format!("tell me about the {thing}"),
        1 => format!("what is the {thing} like"),
        _ => format!("the {thing} please"),
    }
}

fn told(row: usize) -> String {
    format!("it is {}", THINGS[row % 12].1)
}

fn with_pairs(program: &str, columns: &str, row: impl Fn(usize) -> String) -> Project {
    let project = Project::with(program);
    for (name, rows) in [("train.csv", 0..144), ("test.csv", 144..168)] {
        let rows: String = rows.map(|number| format!("{}\n", row(number))).collect();
        fs::write(project.path(name), format!("{columns}\n{rows}")).expect("written");
    }
    fs::write(project.path("tiny.json"), config(160)).expect("written");
    project
}

const PAIRS: &str = r#"ftp 1
seed 5
load-data pairs { source = { train = files("train.csv"), test = files("test.csv") } }
train-tokenizer pieces { data = pairs.train, vocab_size = 160 }
load-model fresh {
  source    = config("tiny.json")
  tokenizer = pieces
  head      = embedding(pooling = cls)
}
tokenize tokens { data = pairs, tokenizer = pieces, max_length = 16, separate = true }
train before { model = fresh, data = tokens.train, budget = 1 updates, optimizer = adamw(learning_rate = 1e-7) }
train after {
  model     = fresh
  data      = tokens.train
  validate  = tokens.test
  loss      = in_batch_negatives
  optimizer = adamw(learning_rate = 3e-3)
  batch     = 24
  budget    = 90 updates
  metrics   = [recall_at(1), mrr]
  keep      = best(mrr)
}
eval found_before { model = before, data = tokens.test }
eval found_after  { model = after, data = tokens.test }
metric poor { predictions = found_before, compute = [recall_at(1), mrr] }
metric good { predictions = found_after, compute = [recall_at(1), mrr] }
save release { model = after, to = "out" }
"#;

/// A text finds its partner among the others once it has learned; what was saved finds the same, and
/// its pooling is read from the folder.
#[test]
fn texts_find_their_partners() {
    let wrong = |row: usize| THINGS[(row + 5) % 12].1;
    let project = with_pairs(PAIRS, "text,text_pair,negative", |row| {
        format!("{},{},it is {}", asked(row), told(row), wrong(row))
    });
    let run = project.json(&["p.ftp"], 0);
    let of = |step: &str, metric: &str| value(&run, &["metrics", step, metric]);
    assert!(of("good", "recall_at_1") > 0.9, "{}", of("good", "recall_at_1"));
    assert!(of("good", "mrr") > of("poor", "mrr") + 0.3, "{}", of("poor", "mrr"));
    assert!(value(&run, &["validation", "after", "mrr"]) > 0.9);
    let pooling = fs::read_to_string(project.path("out/1_Pooling/config.json")).expect("a config");
    assert!(pooling.contains("\"pooling_mode_cls_token\": true"), "{pooling}");
    assert!(project.path("out/modules.json").is_file());

    let program = r#"ftp 1
load-data pairs { source = files("test.csv") }
load-model again { source = folder("out"), head = embedding }
tokenize tokens { data = pairs, tokenizer = again, max_length = 16, separate = true }
eval found { model = again, data = tokens }
metric same { predictions = found, compute = [recall_at(1), mrr] }
predict vectors { model = again, data = pairs }
save table { table = vectors, to = "vectors.jsonl" }
"#;
    project.write(program);
    let again = project.json(&["p.ftp"], 0);
    assert_eq!(again["metrics"]["same"]["mrr"], run["metrics"]["good"]["mrr"]);
    let vectors = fs::read_to_string(project.path("vectors.jsonl")).expect("vectors");
    let first: Value = serde_json::from_str(vectors.lines().next().expect("a row")).expect("JSON");
    assert_eq!(first["vector"].as_array().map(Vec::len), Some(32));
    // Another pooling gives other vectors.
    project.write(&program.replace("head = embedding", "head = embedding(pooling = mean)"));
    project.json(&["p.ftp"], 0);
    assert_ne!(fs::read_to_string(project.path("vectors.jsonl")).expect("vectors"), vectors);
}

/// Pairs have the score 5 where they belong together, else 0.
#[test]
fn cosines_learn_scores() {
    let program = |loss: &str| {
        format!(
            r#"ftp 1
seed 5
load-data pairs {{ source = {{ train = files("train.csv"), test = files("test.csv") }} }}
train-tokenizer pieces {{ data = pairs.train, vocab_size = 160 }}
load-model fresh {{ source = config("tiny.json"), tokenizer = pieces, head = embedding }}
tokenize tokens {{ data = pairs, tokenizer = pieces, max_length = 16, separate = true }}
train tuned {{
  model     = fresh
  data      = tokens.train
  validate  = tokens.test
  {loss}
  optimizer = adamw(learning_rate = 3e-3)
  batch     = 24
  budget    = 80 updates
  metrics   = [spearman]
}}
eval compared {{ model = tuned, data = tokens.test }}
metric quality {{ predictions = compared, compute = [spearman, pearson] }}
"#
        )
    };
    let row = |row: usize| {
        let together = (row / 12).is_multiple_of(2);
        let partner = told(if together { row } else { row + 12 + 5 });
        format!("{},{partner},{}", asked(row), if together { "5.0" } else { "0.0" })
    };
    let project = with_pairs(&program("loss = cosine(5)"), "text,text_pair,label", row);
    for loss in ["loss = cosine(5)", "", "loss = cosent(10)"] {
        project.write(&program(loss));
        let run = project.json(&["p.ftp"], 0);
        let spearman = value(&run, &["metrics", "quality", "spearman"]);
        assert!(spearman > 0.7, "{loss}: {spearman}");
    }
    project.write(&program("loss = cosine"));
    let run = project.json(&["p.ftp"], 1);
    let text = run["errors"].to_string();
    assert!(text.contains("a score is 5") && text.contains("cosine(5)"), "{text}");
}
