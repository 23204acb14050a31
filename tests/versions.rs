//! Every step kind's version beside the digest of what it makes in a tiny run: whoever changes a
//! result without raising `VERSION` would let stored results of the old kind stand for new ones.
//!
//! `FTRUN_BLESS=1 cargo test --release --locked versions` writes the file anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = r#"ftp 1
seed 5
load-data messages { source = files("messages.csv") }
prepare longer { data = messages, do = [filter(words(.text) > 2), derive({ n = words(.text) })] }
split parts { data = longer, by = fraction(train = 50%, validation = 25%, test = 25%) }
train-tokenizer pieces { data = longer, vocab_size = 60 }
load-model encoder { source = builtin("seedling"), head = sequence_classification }
tokenize tokens { data = parts, tokenizer = encoder, max_length = 12 }
train tuned {
  model    = encoder
  data     = tokens.train
  validate = tokens.validation
  batch    = 4
  budget   = 3 updates
}
eval predicted { model = tuned, data = tokens.test }
predict answers { model = tuned, data = parts.test }
baseline words { train = parts.train, data = parts.test, method = bag_of_words }
metric quality { predictions = predicted, compute = [accuracy] }
save release { model = tuned, to = "out" }
"#;

/// Kinds whose numbers depend on the processor's instructions, to the last bit.
const OF_A_CLASS: &[&str] = &["train", "eval", "predict", "baseline", "metric", "save"];

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/versions.toml")
}

/// Kind → version and digest of its outputs, and the class of the numbers.
fn found() -> (BTreeMap<String, (u32, String)>, String) {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..24)
        .map(|row| format!("{} number {row},{}\n", ["tea is hot", "ice is cold"][row % 2], row % 2))
        .collect();
    std::fs::write(folder.path().join("messages.csv"), format!("text,label\n{rows}")).unwrap();
    std::fs::write(folder.path().join("p.ftp"), PROGRAM).unwrap();
    let ftrun = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ftrun"))
            .args(arguments)
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env_remove("FTRUN_STORE")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    ftrun(&["p.ftp", "--json"]);
    let shown = ftrun(&["show", "last", "--json"]);
    let manifest = &shown["manifest"];
    let class = &manifest["class"];
    let features: Vec<&str> =
        class["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let class = format!("{} {}", class["architecture"].as_str().unwrap(), features.join("+"));
    let mut all = BTreeMap::new();
    for step in manifest["steps"].as_array().unwrap() {
        let kind = step["kind"].as_str().unwrap();
        let version = ftrun::step::Kind::find(kind).unwrap().version;
        let mut hasher = ftrun::base::Hasher::new("versions");
        for (name, digest) in step["outputs"].as_object().unwrap() {
            hasher.text(name).text(digest.as_str().unwrap());
        }
        all.insert(kind.to_string(), (version, hasher.finish().short()));
    }
    (all, class)
}

#[test]
fn a_changed_result_has_a_new_version() {
    let (found, class) = found();
    let kinds: Vec<&str> = ftrun::step::kinds().iter().map(|kind| kind.name).collect();
    for kind in &kinds {
        assert!(found.contains_key(*kind), "the tiny run has no step `{kind}`");
    }
    if std::env::var_os("FTRUN_BLESS").is_some() {
        let mut text = format!("class = \"{class}\"\n");
        for (kind, (version, digest)) in &found {
            text.push_str(&format!("{kind} = \"{version} {digest}\"\n"));
        }
        std::fs::write(path(), text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(path()).unwrap();
    let known: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    let same_class = known.get("class") == Some(&class.as_str());
    if !same_class {
        println!("another class of numbers ({class}): kinds that compute are not compared");
    }
    for (kind, (version, digest)) in &found {
        let wanted = known.get(kind.as_str()).unwrap_or(&"");
        let (known_version, known_digest) = wanted.split_once(' ').unwrap_or_default();
        assert_eq!(
            known_version,
            version.to_string(),
            "`{kind}` is not in tests/versions.toml as it is"
        );
        if same_class || !OF_A_CLASS.contains(&kind.as_str()) {
            assert_eq!(
                known_digest, digest,
                "`{kind}` makes something else than version {version} did: raise VERSION"
            );
        }
    }
}
