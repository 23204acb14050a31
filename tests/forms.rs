//! Rows that are more than a text, through a whole program: what a small model can learn by heart, it
//! answers right, and what it is asked without labels it answers the same.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Runs a program with its data; what it prints, and the rows of `asked.jsonl`.
fn run(program: &str, data: &str) -> (Value, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("rows.json"), data).expect("data");
    std::fs::write(path("p.ftp"), program).expect("a program");
    let output = Command::new(env!("CARGO_BIN_EXE_ftrun"))
        .args(["p.ftp", "--json"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", path("cache"))
        .env_remove("FTRUN_STORE")
        .output()
        .expect("ftrun");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_slice(&output.stdout).expect("JSON"), lines(&path("asked.jsonl")))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("predictions");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn value(run: &Value, step: &str, metric: &str) -> Option<f64> {
    run["metrics"][step][metric]["value"].as_f64()
}

/// Contexts of more than one row, questions without an answer, one answer of two scripts.
fn questions() -> (String, Vec<String>) {
    let mill = "The old mill stands on the east bank of the river. A miller named Tom built it in 1820 \
                from grey stone, and his daughter Ann sold it to the town when the railway came. The \
                town made it a museum of bread.";
    let cafe =
        "Le café «Ünïon» opened in 1911. It sells 中文 tea for 4 € a cup, and closes at noon.";
    let asked: [(&str, &str, Option<&str>); 8] = [
        (mill, "Who built the mill?", Some("Tom")),
        (mill, "Of what is it made?", Some("grey stone")),
        (mill, "  Who sold it?", Some("his daughter Ann")),
        (mill, "What is it now?", Some("a museum of bread")),
        (mill, "How high is the mill?", None),
        (cafe, "What does a cup cost?", Some("4 €")),
        (cafe, "When does it close?", Some("noon")),
        (cafe, "Who owns it?", None),
    ];
    let paragraph = |context: &str| {
        let own = asked.iter().enumerate().filter(|(_, one)| one.0 == context);
        let rows: Vec<Value> = own
            .map(|(id, (context, question, answer))| {
                let answers = answer.map(|text| {
                    let start = context.find(text).map(|at| context[..at].chars().count());
                    json!({ "text": text, "answer_start": start })
                });
                json!({
                    "id": id.to_string(),
                    "question": question,
                    "is_impossible": answer.is_none(),
                    "answers": answers.into_iter().collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({ "context": context, "qas": rows })
    };
    let data = json!({
        "version": "v2.0",
        "data": [{ "title": "Places", "paragraphs": [paragraph(mill), paragraph(cafe)] }],
    });
    let answers = asked.iter().map(|one| one.2.unwrap_or_default().to_string());
    (data.to_string(), answers.collect())
}

#[test]
fn answers_to_questions_are_learned_by_heart() {
    let program = r#"ftp 1
seed 3
load-data asked { source = files("rows.json") }
load-model reader {
  source   = builtin("seedling")
  head     = question_answering
  override = { hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0 }
}
tokenize tokens { data = asked, tokenizer = reader, max_length = 56, overflow = stride(16) }
train tuned {
  model          = reader
  data           = tokens
  validate       = tokens
  optimizer      = adamw(learning_rate = 1e-3)
  batch          = 8
  budget         = 80 updates
  validate_every = 40 updates
  keep           = best(squad_f1)
}
eval predicted { model = tuned, data = tokens, answers = spans(max_length = 12) }
metric quality {
  predictions = predicted
  compute     = [exact_match, squad_f1, exact_match(of = unanswerable), best_null_threshold]
  interval    = none
}
predict answered { model = tuned, data = asked, answers = spans(max_length = 12) }
save file { table = answered, to = "asked.jsonl" }
"#;
    let (data, answers) = questions();
    let (run, rows) = run(program, &data);
    for metric in ["exact_match", "squad_f1", "exact_match_unanswerable"] {
        assert_eq!(value(&run, "quality", metric), Some(1.0), "{metric}");
    }
    assert_eq!(run["validation"]["tuned"]["exact_match"]["value"].as_f64(), Some(1.0));
    let predicted: Vec<&str> = rows.iter().filter_map(|row| row["predicted"].as_str()).collect();
    assert_eq!(predicted, answers);
    assert_eq!(rows[0]["question"], "Who built the mill?");
    assert!(rows.iter().all(|row| row["answers"].is_null()), "predict knows no answers");
}

#[test]
fn choices_are_learned_by_heart() {
    let program = r#"ftp 1
seed 3
load-data asked { source = files("rows.json"), format = jsonl }
load-model chooser {
  source   = builtin("seedling")
  head     = multiple_choice
  override = { hidden_dropout_prob = 0.0, attention_probs_dropout_prob = 0.0 }
}
tokenize tokens { data = asked, tokenizer = chooser, max_length = 32 }
train tuned {
  model     = chooser
  data      = tokens
  validate  = tokens
  optimizer = adamw(learning_rate = 5e-4)
  batch     = 8
  budget    = 80 updates
  keep      = best(accuracy)
}
eval predicted { model = tuned, data = tokens }
metric quality { predictions = predicted, compute = [accuracy], interval = none }
predict answered { model = tuned, data = asked }
save file { table = answered, to = "asked.jsonl" }
"#;
    let asked: [(&str, &[&str], usize); 6] = [
        ("The ice melts when it is", &["hot", "cold", "dark"], 0),
        ("Bread is made of", &["stone", "flour"], 1),
        ("A ship sails on", &["roads", "walls", "the sea", "trees"], 2),
        ("At night it is", &["bright", "dark"], 1),
        ("A bird has", &["wings", "wheels", "an engine"], 0),
        ("Rain falls from", &["below", "the ground", "the clouds"], 2),
    ];
    let data: Vec<String> = asked
        .iter()
        .map(|(question, choices, label)| {
            json!({ "question": question, "choices": choices, "label": label }).to_string()
        })
        .collect();
    let (run, rows) = run(program, &data.join("\n"));
    assert_eq!(value(&run, "quality", "accuracy"), Some(1.0));
    for (row, (_, choices, label)) in rows.iter().zip(asked) {
        assert_eq!(row["predicted"], label.to_string());
        assert_eq!(row["choices"].as_array().map(Vec::len), Some(choices.len()));
        assert_eq!(row["probabilities"].as_array().map(Vec::len), Some(choices.len()));
    }
}
