//! What `save` writes opens in Python's transformers and peft, with the same logits, and an adapter of
//! peft opens here.
//!
//! Needs a Python with torch, transformers and peft (`FTRUN_PYTHON`, else `python3`), and a pretrained
//! model and SST-2 in the folder that `FTRUN_SHARED` names. Says so and passes where they are not.

use std::path::PathBuf;
use std::process::Command;

/// Tolerance of a logit, absolute: 32-bit sums in another order through six layers.
const TOLERANCE: f64 = 1e-4;

const SCRIPT: &str = r#"
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, rows = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])]
texts = [line.rstrip("\n").split("\t")[0] for line in open(sys.argv[3])][1:][: len(rows)]
model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
assert not info["missing_keys"], info["missing_keys"]
assert not info["unexpected_keys"], info["unexpected_keys"]
assert model.config.id2label == {0: "negative", 1: "positive"}, model.config.id2label
tokenizer, worst = AutoTokenizer.from_pretrained(folder), 0.0
model.eval()
with torch.no_grad():
    for row, text in zip(rows, texts):
        logits = model(**tokenizer(text, truncation=True, max_length=128, return_tensors="pt")).logits[0]
        worst = max(worst, max(abs(a - b) for a, b in zip(logits.tolist(), row["logits"])))
print(json.dumps({"rows": len(rows), "worst": worst}))
"#;

fn shared() -> PathBuf {
    std::env::var_os("FTRUN_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"))
}

const ADAPTED: &str = r#"
import json, sys, torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, adapter, again, merged = sys.argv[1:5]
rows = [json.loads(line) for line in open(sys.argv[5])]
texts = [line.rstrip("\n").split("\t")[0] for line in open(sys.argv[6])][1:][: len(rows)]
tokenizer = AutoTokenizer.from_pretrained(adapter)
plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
opened = PeftModel.from_pretrained(plain, adapter).eval()
whole = AutoModelForSequenceClassification.from_pretrained(merged).eval()
worst = [0.0, 0.0]
with torch.no_grad():
    for row, text in zip(rows, texts):
        inputs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        for place, model in enumerate([opened, whole]):
            logits = model(**inputs).logits[0].tolist()
            worst[place] = max([worst[place], *(abs(a - b) for a, b in zip(logits, row["logits"]))])
opened.save_pretrained(again)
print(json.dumps({"rows": len(rows), "adapter": worst[0], "merged": worst[1], "type": str(opened.active_peft_config.peft_type.value)}))
"#;

#[test]
fn adapters_open_in_peft_and_adapters_of_peft_open_here() {
    let python = std::env::var("FTRUN_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let ready = Command::new(&python).args(["-c", "import torch, transformers, peft"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        println!("skipped: `{python}` has no peft; FTRUN_PYTHON names another");
        return;
    }
    let (data, models) = (shared().join("data"), shared().join("models"));
    let base = models.join("all-MiniLM-L6-v2");
    if !data.join("sst2/dev.tsv").is_file() || !base.is_dir() {
        println!("skipped: no SST-2 and all-MiniLM-L6-v2 below {}", shared().display());
        return;
    }
    let common = r#"ftp 1
load-data reviews {
  source  = files("sst2/dev.tsv")
  columns = { text = "sentence", label = "label" }
  labels  = ["negative", "positive"]
  limit   = 40
}
"#;
    let run = |program: &std::path::Path| {
        let run = Command::new(env!("CARGO_BIN_EXE_ftrun"))
            .arg(program)
            .env("FTRUN_DATA", &data)
            .env("FTRUN_MODELS", &models)
            .output()
            .expect("ftrun starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    for method in ["lora(dropout = 0.1)", "rslora", "dora(rank = 4)", "ia3"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let train = format!(
            r#"{common}
load-model encoder {{ source = folder("all-MiniLM-L6-v2"), head = sequence_classification }}
tokenize tokens {{ data = reviews, tokenizer = encoder, max_length = 128, overflow = truncate }}
train tuned {{
  model = encoder, data = tokens, batch = 8, budget = 6 updates
  method = {method}, optimizer = adamw(5e-3)
}}
eval predicted {{ model = tuned, data = tokens }}
save adapter {{ model = tuned, to = "adapter" }}
save merged {{ model = tuned, to = "merged", merge = true }}
save rows {{ table = predicted, to = "predictions.jsonl" }}
"#
        );
        std::fs::write(at("train.ftp"), train).expect("the program is written");
        run(&at("train.ftp"));
        let compared = Command::new(&python)
            .args(["-c", ADAPTED])
            .arg(&base)
            .args([at("adapter"), at("again"), at("merged"), at("predictions.jsonl")])
            .arg(data.join("sst2/dev.tsv"))
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .expect("python starts");
        assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
        let line = String::from_utf8_lossy(&compared.stdout);
        let found: serde_json::Value =
            serde_json::from_str(line.lines().last().unwrap_or_default()).expect("JSON");
        println!("peft {method}: {found}");
        for form in ["adapter", "merged"] {
            assert!(found[form].as_f64().is_some_and(|worst| worst < TOLERANCE), "{found}");
        }

        // What peft saved again, opened here: the same predictions, to the last bit.
        let open = format!(
            r#"{common}
load-model opened {{
  source  = folder("all-MiniLM-L6-v2")
  head    = sequence_classification
  adapter = folder({:?})
}}
tokenize tokens {{ data = reviews, tokenizer = opened, max_length = 128, overflow = truncate }}
eval predicted {{ model = opened, data = tokens }}
save rows {{ table = predicted, to = "again.jsonl" }}
"#,
            at("again")
        );
        std::fs::write(at("open.ftp"), open).expect("the program is written");
        run(&at("open.ftp"));
        let logits = |name: &str| -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(at(name)).expect("predictions");
            let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
            text.lines().map(|line| row(line)["logits"].clone()).collect()
        };
        assert_eq!(logits("again.jsonl"), logits("predictions.jsonl"), "{method}");
    }
}

#[test]
fn a_saved_model_opens_in_transformers_with_the_same_logits() {
    let python = std::env::var("FTRUN_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let ready = Command::new(&python).args(["-c", "import torch, transformers"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        println!("skipped: `{python}` has no torch and transformers; FTRUN_PYTHON names another");
        return;
    }
    let (data, models) = (shared().join("data"), shared().join("models"));
    if !data.join("sst2/dev.tsv").is_file() || !models.join("all-MiniLM-L6-v2").is_dir() {
        println!("skipped: no SST-2 and all-MiniLM-L6-v2 below {}", shared().display());
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("pipeline.ftp");
    std::fs::write(
        &program,
        r#"ftp 1
load-data reviews {
  source  = files("sst2/dev.tsv")
  columns = { text = "sentence", label = "label" }
  labels  = ["negative", "positive"]
  limit   = 100
}
load-model encoder { source = folder("all-MiniLM-L6-v2"), head = sequence_classification }
tokenize tokens { data = reviews, tokenizer = encoder, max_length = 128, overflow = truncate }
train tuned { model = encoder, data = tokens, batch = 16, budget = 6 updates }
eval predicted { model = tuned, data = tokens }
save release { model = tuned, to = "model" }
save rows { table = predicted, to = "predictions.jsonl" }
"#,
    )
    .expect("the program is written");
    let run = Command::new(env!("CARGO_BIN_EXE_ftrun"))
        .arg(&program)
        .env("FTRUN_DATA", &data)
        .env("FTRUN_MODELS", &models)
        .output()
        .expect("ftrun starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let compared = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(folder.path().join("model"))
        .arg(folder.path().join("predictions.jsonl"))
        .arg(data.join("sst2/dev.tsv"))
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("python starts");
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
    let line = String::from_utf8_lossy(&compared.stdout);
    let found: serde_json::Value =
        serde_json::from_str(line.lines().last().unwrap_or_default()).expect("one line of JSON");
    println!("transformers: {found}");
    assert_eq!(found["rows"], 100);
    assert!(found["worst"].as_f64().is_some_and(|worst| worst < TOLERANCE), "{found}");
}
