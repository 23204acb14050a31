//! `docs/models.md`: which families have which heads, and what of it is checked against PyTorch. Read
//! off the table of families and the golden cases.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ftrun::model::{Config, HeadKind, architectures};
use serde_json::Value as Json;

const HEADS: [(&str, HeadKind); 5] = [
    ("sequence", HeadKind::Sequence),
    ("tokens", HeadKind::Token),
    ("answers", HeadKind::Span),
    ("choices", HeadKind::Choice),
    ("masked tokens", HeadKind::MaskedToken),
];

/// Golden cases by the class of their model.
fn cases(root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let folders = std::fs::read_dir(root.join("tests/golden")).expect("the golden cases");
    for folder in folders.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let Ok(bytes) = std::fs::read(folder.join("case.json")) else { continue };
        let case: Json = serde_json::from_slice(&bytes).expect("a case");
        let config = folder.join("base/config.json");
        let class = match case["class"].as_str() {
            Some(class) => class.to_string(),
            None => {
                let bytes = std::fs::read(config).expect("the config of an adapter's base");
                let config: Json = serde_json::from_slice(&bytes).expect("a config");
                config["architectures"][0].as_str().expect("a class").to_string()
            }
        };
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        all.entry(class).or_default().push(name);
    }
    all.values_mut().for_each(|names| names.sort());
    all
}

fn document(root: &Path) -> String {
    let mut text = String::from(
        "# Models\n\nThe families of models, and the heads that each has. A number says how many golden \
         cases of PyTorch's the head is held to: logits, loss, every gradient and eight updates of AdamW. \
         Heads without a number share their code with those that have one. Any family also gives \
         embeddings. This file is generated: `FTRUN_WRITE_DOCS=1 cargo test --release models`.\n\n\
         | family |",
    );
    HEADS.iter().for_each(|(name, _)| write!(text, " {name} |").expect("text"));
    text.push_str("\n|---|");
    HEADS.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let cases = cases(root);
    let mut listed = Vec::new();
    for family in architectures() {
        let name = family.model_type();
        let config = Config::parse(format!("{{\"model_type\": \"{name}\"}}").as_bytes());
        let backbone = family.build(&config.expect("a config")).expect("a backbone of defaults");
        write!(text, "| `{name}` |").expect("text");
        for (_, kind) in HEADS {
            let class = backbone.head(kind, 2).map(|head| head.class());
            let checked = class.and_then(|class| cases.get(class));
            match (class, checked) {
                (None, _) => text.push_str("  |"),
                (Some(class), None) => write!(text, " `{class}` |").expect("text"),
                (Some(class), Some(names)) => {
                    write!(text, " `{class}`: {} |", names.len()).expect("text");
                    listed.push((class, names));
                }
            }
        }
        text.push('\n');
    }
    text.push_str("\nThe cases:\n\n");
    for (class, names) in listed {
        writeln!(text, "- `{class}`: {}", names.join(", ")).expect("text");
    }
    text
}

#[test]
fn the_document_of_models_is_the_committed_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/models.md");
    let text = document(root);
    if std::env::var_os("FTRUN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/models.md is out of date; its head says how to make it");
}
