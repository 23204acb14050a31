//! The binary as a user meets it: what runs again and what does not, what is printed where, exit
//! codes, interruption, damage, several processes on one store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = r#"ftp 1

param rate: float = 1e-3 in 1e-6 .. 1e-1
seed 3

load-data messages {
  source  = files("messages.csv")
  columns = { text = "text", label = "label" }
}

split parts { data = messages, by = fraction(train = 60%, validation = 20%, test = 20%) }

load-model encoder { source = builtin("seedling"), head = sequence_classification }

tokenize tokens { data = parts, tokenizer = encoder, max_length = 16 }

train tuned {
  model     = encoder
  data      = tokens.train
  validate  = tokens.validation
  optimizer = adamw(learning_rate = rate)
  batch     = 8
  budget    = 4 updates
  metrics   = [accuracy]
}

eval predicted { model = tuned, data = tokens.test }
metric quality { predictions = predicted, compute = [accuracy] }
save release { model = tuned, to = "out/model" }
"#;

/// A folder with a program and its data, and a cache folder of its own.
pub struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        Self::with(PROGRAM)
    }

    pub fn with(program: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        let mut rows = String::from("text,label\n");
        for row in 0..60 {
            let (word, label) = if row % 2 == 0 { ("refund", "money") } else { ("parcel", "post") };
            rows.push_str(&format!("my {word} number {row} is late,{label}\n"));
        }
        fs::write(project.path("messages.csv"), rows).unwrap();
        project.write(program);
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, program: &str) {
        fs::write(self.path("p.ftp"), program).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftrun"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("FTRUN_DATA")
            .env_remove("FTRUN_MODELS")
            .env_remove("FTRUN_STORE")
            .env_remove("FTRUN_THREADS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn ftrun(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs with `--json` and checks that it ended as expected.
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.ftrun(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
    }

    /// Every file of a folder below the project, by name.
    fn files(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.insert(path.strip_prefix(root).unwrap().into(), fs::read(&path).unwrap());
                }
            }
        }
        let root = self.path(folder);
        let mut found = BTreeMap::new();
        walk(&root, &root, &mut found);
        found
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Name → status.
fn statuses(run: &Value) -> BTreeMap<String, String> {
    let step = |step: &Value| {
        (step["name"].as_str().unwrap().to_string(), step["status"].as_str().unwrap().to_string())
    };
    run["steps"].as_array().unwrap().iter().map(step).collect()
}

/// The steps that ran, sorted.
fn ran(run: &Value) -> Vec<String> {
    statuses(run).into_iter().filter(|(_, status)| status == "run").map(|(name, _)| name).collect()
}

#[test]
fn an_unchanged_program_trains_nothing_and_is_told_in_the_documented_form() {
    let project = Project::new();
    let first = project.json(&["p.ftp"], 0);
    assert_eq!(ran(&first).len(), 8);
    let fields: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["schema", "run", "steps", "metrics", "validation", "warnings", "errors"]);
    assert_eq!(first["schema"], 1);
    let accuracy = &first["metrics"]["quality"]["accuracy"];
    let value = |name: &str| accuracy[name].as_f64().unwrap();
    assert!(value("low") <= value("value") && value("value") <= value("high"), "{accuracy}");
    assert!(
        first["validation"]["tuned"]["accuracy"]["value"].is_number(),
        "{}",
        first["validation"]
    );
    assert_eq!(first["errors"], Value::Array(Vec::new()));

    let begun = Instant::now();
    let second = project.json(&["p.ftp"], 0);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(ran(&second), [""; 0]);
    assert_eq!(second["metrics"], first["metrics"]);
    assert_eq!(second["validation"], first["validation"]);
    assert_ne!(second["run"], first["run"]);
}

#[test]
fn what_does_not_change_the_meaning_runs_nothing_again() {
    let project = Project::new();
    project.json(&["p.ftp"], 0);
    let commented = PROGRAM.replace("seed 3", "# a thought\nseed 3\n");
    let renamed = PROGRAM.replace("tuned", "better").replace("parts", "pieces");
    let (head, tail) = PROGRAM.split_once("split parts").unwrap();
    let (split, tail) = tail.split_once("\n\n").unwrap();
    let moved = format!("{head}{tail}\nsplit parts{split}\n");
    let inline = PROGRAM.replace("learning_rate = rate", "learning_rate = 0.001");
    for program in [commented, renamed, moved, inline] {
        project.write(&program);
        assert_eq!(ran(&project.json(&["p.ftp"], 0)), [""; 0], "{program}");
    }
    project.write(&PROGRAM.replace("  batch     = 8\n", "batch=8\n"));
    assert_eq!(project.ftrun(&["fmt", "p.ftp"]).status.code(), Some(0));
    assert_eq!(ran(&project.json(&["p.ftp"], 0)), [""; 0]);

    // The data at another place.
    fs::create_dir(project.path("data")).unwrap();
    fs::rename(project.path("messages.csv"), project.path("data/messages.csv")).unwrap();
    project.write(&PROGRAM.replace("messages.csv", "data/*.csv"));
    assert_eq!(ran(&project.json(&["p.ftp"], 0)), [""; 0]);

    // The folder with its store at another place, called from another place.
    let other = tempfile::tempdir().unwrap();
    let target = other.path().join("moved");
    fs::rename(project.folder.path(), &target).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ftrun"))
        .arg(target.join("p.ftp"))
        .arg("--json")
        .env("XDG_CACHE_HOME", other.path().join("cache"))
        .current_dir(other.path())
        .output()
        .unwrap();
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ran(&run), [""; 0]);
}

#[test]
fn a_change_runs_what_depends_on_it_and_nothing_else() {
    let project = Project::new();
    project.json(&["p.ftp"], 0);
    let run = project.json(&["p.ftp", "--set", "rate=2e-3"], 0);
    let after = ["predicted", "quality", "release", "tuned"];
    assert_eq!(ran(&run), after);
    // The metrics of a validation are computed from its stored logits.
    project.write(&PROGRAM.replace("metrics   = [accuracy]", "metrics   = [matthews_correlation]"));
    let run = project.json(&["p.ftp"], 0);
    assert_eq!(ran(&run), [""; 0]);
    assert!(run["validation"]["tuned"]["matthews_correlation"].is_object());
    project.write(&PROGRAM.replace("compute = [accuracy]", "compute = [f1(average = macro)]"));
    let run = project.json(&["p.ftp"], 0);
    assert_eq!(ran(&run), ["quality"]);
    assert!(run["metrics"]["quality"]["f1_macro"].is_object());
    // What is read again and is the same stops there.
    project.write(PROGRAM);
    let rows = fs::read_to_string(project.path("messages.csv")).unwrap();
    fs::write(project.path("messages.csv"), rows.trim_end()).unwrap();
    assert_eq!(ran(&project.json(&["p.ftp"], 0)), ["messages"]);
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let project = Project::new();
    project.json(&["p.ftp", "--threads", "1", "--store", "one"], 0);
    let saved = project.files("out/model");
    fs::remove_dir_all(project.path("out")).unwrap();
    project.json(&["p.ftp", "--threads", "2", "--store", "two"], 0);
    assert!(project.files("one/objects") == project.files("two/objects"), "objects differ");
    assert!(saved == project.files("out/model"), "saved models differ");
}

/// Arguments outside the identity: no value of theirs may change a byte of what is stored.
#[test]
fn what_is_no_part_of_the_identity_changes_nothing() {
    let changes: &[(&str, &str, &str)] = &[
        ("metrics", "metrics   = [accuracy]", "metrics   = [accuracy, f1(average = macro)]"),
        ("checkpoint_every", "batch     = 8", "batch     = 8\n  checkpoint_every = 1 updates"),
        ("memory", "batch     = 8", "batch     = 8\n  memory    = low"),
        ("to", "out/model", "elsewhere"),
        ("overwrite", "to = \"out/model\"", "to = \"out/model\", overwrite = true"),
    ];
    // A credential opens a door and is no part of what lies behind it; what `precision` comes to on
    // this processor is part of the key in its place.
    let known = |name: &str| {
        ["token", "precision"].contains(&name)
            || changes.iter().any(|(changed, ..)| *changed == name)
    };
    for kind in ftrun::step::kinds() {
        for param in kind.params.iter().filter(|param| !param.identity) {
            assert!(known(param.name), "`{}` of `{}` has no case here", param.name, kind.name);
        }
    }
    let project = Project::new();
    project.json(&["p.ftp", "--store", "plain"], 0);
    for (name, from, to) in changes {
        assert!(PROGRAM.contains(from), "{name}");
        project.write(&PROGRAM.replace(from, to));
        project.json(&["p.ftp", "--store", name], 0);
        let same = project.files(&format!("{name}/objects")) == project.files("plain/objects");
        assert!(same, "`{name}` changes what is stored");
    }
}

/// `auto` has the key of the precision that it comes to here, and the precisions have keys of their
/// own.
#[test]
fn the_precision_that_is_computed_in_is_part_of_the_key() {
    let project = Project::new();
    let with = |precision: &str| {
        project.write(
            &PROGRAM.replace("batch     = 8", &format!("batch     = 8\n  precision = {precision}")),
        );
        project.json(&["p.ftp"], 0)
    };
    project.json(&["p.ftp"], 0);
    assert_eq!(ran(&with("f32")), [""; 0]);
    if !ftrun::nn::Precision::Bf16.is_available() {
        assert_eq!(ran(&with("auto")), [""; 0]);
        project.write(&PROGRAM.replace("batch     = 8", "batch     = 8\n  precision = bf16"));
        let output = project.ftrun(&["check", "p.ftp"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("AVX512-BF16"), "{}", text(&output.stderr));
        return;
    }
    assert!(ran(&with("auto")).iter().any(|step| step == "tuned"));
    assert_eq!(ran(&with("bf16")), [""; 0]);
}

#[test]
fn a_plan_tells_what_would_run_and_writes_nothing() {
    let project = Project::new();
    let plan = project.json(&["plan", "p.ftp", "--exit-code"], 10);
    let statuses = statuses(&plan);
    assert_eq!((statuses["messages"].as_str(), statuses["tuned"].as_str()), ("run", "depends"));
    assert!(!project.path(".ftrun").exists());
    project.json(&["p.ftp"], 0);
    project.json(&["plan", "p.ftp", "--exit-code"], 0);
    let plan = project.json(&["plan", "p.ftp", "--set", "tuned.batch=16"], 0);
    let step = |name: &str| {
        plan["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap().clone()
    };
    assert_eq!(step("tokens")["status"], "hit");
    assert_eq!(step("tuned")["status"], "run");
    assert_eq!(step("tuned")["reason"], "batch was `8` and is `16`");
    assert_eq!(step("quality")["status"], "depends");

    project.write(&PROGRAM.replace("max_length = 16", "max_length = 12"));
    let why = text(&project.ftrun(&["why", "p.ftp", "tokens"]).stdout);
    assert!(why.contains("max_length was `16` and is `12`") && why.contains("p.ftp:15"), "{why}");
    let why = project.json(&["why", "p.ftp", "tuned"], 0);
    assert_eq!(why["waits_for"][0], "tokens");
}

#[test]
fn a_damaged_store_is_a_miss_that_is_reported() {
    let project = Project::new();
    let first = project.json(&["p.ftp"], 0);
    let objects = project.files(".ftrun/objects");
    let largest = objects.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap().0.clone();
    let path = project.path(".ftrun/objects").join(&largest);
    let whole = &objects[&largest];
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [flipped, whole[..whole.len() / 3].to_vec(), Vec::new()] {
        fs::write(&path, damaged).unwrap();
        let run = project.json(&["p.ftp"], 0);
        assert!(!ran(&run).is_empty());
        let warnings = run["warnings"].to_string();
        assert!(warnings.contains("is damaged; the step runs again"), "{warnings}");
        assert_eq!(run["metrics"], first["metrics"]);
        assert!(project.files(".ftrun/objects") == objects, "not mended");
    }
    // Records: each of them half written, then one that is no record at all.
    for (name, bytes) in project.files(".ftrun/records") {
        let path = project.path(".ftrun/records").join(name);
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let run = project.json(&["p.ftp"], 0);
        assert_eq!(ran(&run).len(), 1, "{run}");
        assert!(run["warnings"].to_string().contains("damaged"));
    }
    assert!(project.files(".ftrun/objects") == objects);
}

#[test]
fn processes_that_share_a_store_share_the_work() {
    let project = Project::new();
    let start = || project.command(&["p.ftp", "--json"]).spawn().unwrap();
    let outputs: Vec<Output> = [start(), start(), start()]
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let runs: Vec<Value> = outputs
        .iter()
        .map(|output| {
            assert!(output.status.success(), "{}", text(&output.stderr));
            serde_json::from_slice(&output.stdout).unwrap()
        })
        .collect();
    let mut all: Vec<String> = runs.iter().flat_map(ran).collect();
    all.sort();
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once, "a step ran twice");
    assert_eq!(once.len(), 8);
    assert!(runs.iter().all(|run| run["metrics"] == runs[0]["metrics"]));
    assert!(!fs::read_dir(project.path(".ftrun/claims")).unwrap().flatten().any(|_| true));
}

/// Long enough to be interrupted, with checkpoints on the way.
fn long() -> String {
    PROGRAM.replace(
        "budget    = 4 updates",
        "budget    = 240 updates\n  checkpoint_every = 20 updates",
    )
}

/// Waits until the training has done so many updates that there is a checkpoint to go on from.
fn wait_for_training(project: &Project, child: &mut Child) {
    let begun = Instant::now();
    loop {
        let events = fs::read_to_string(project.path("events")).unwrap_or_default();
        let done = events
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["event"] == "progress" && event["step"] == "tuned")
            .filter_map(|event| event["done"].as_u64())
            .max();
        if done.is_some_and(|done| done > 45) {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be interrupted");
        assert!(begun.elapsed() < Duration::from_secs(300), "{events}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let project = Project::with(&long());
    let whole = project.json(&["p.ftp", "--store", "whole"], 0);
    let saved = project.files("out/model");
    for (signal, code) in [("-INT", Some(130)), ("-TERM", Some(85)), ("-KILL", None)] {
        let _ = fs::remove_dir_all(project.path("out"));
        let _ = fs::remove_dir_all(project.path("parts"));
        let _ = fs::remove_file(project.path("events"));
        let mut child =
            project.command(&["p.ftp", "--store", "parts", "--events", "events"]).spawn().unwrap();
        wait_for_training(&project, &mut child);
        let killed = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{signal}: {}", text(&output.stderr));
        let checkpoints = project.files("parts/scratch");
        assert!(checkpoints.keys().any(|path| path.ends_with("checkpoint")), "{signal}");
        let again = project.json(&["p.ftp", "--store", "parts"], 0);
        assert_eq!(again["metrics"], whole["metrics"], "{signal}");
        assert!(project.files("parts/objects") == project.files("whole/objects"), "{signal}");
        assert!(project.files("out/model") == saved, "{signal}");
        assert!(project.files("parts/scratch").is_empty(), "{signal}");
    }
}

#[test]
fn a_saved_folder_is_kept_as_it_was_made_and_others_are_left_alone() {
    let project = Project::new();
    project.json(&["p.ftp"], 0);
    let saved = project.files("out/model");
    let config = project.path("out/model/config.json");
    fs::remove_file(&config).unwrap();
    fs::write(project.path("out/model/model.safetensors"), "changed").unwrap();
    fs::write(project.path("out/model/notes.txt"), "mine").unwrap();
    assert_eq!(ran(&project.json(&["p.ftp"], 0)), [""; 0]);
    let mut wanted = saved.clone();
    wanted.insert("notes.txt".into(), b"mine".to_vec());
    assert!(project.files("out/model") == wanted, "{:?}", project.files("out/model").keys());

    fs::create_dir_all(project.path("theirs")).unwrap();
    fs::write(project.path("theirs/thesis.txt"), "years of work").unwrap();
    project.write(&PROGRAM.replace("out/model", "theirs"));
    let run = project.json(&["p.ftp"], 1);
    assert!(run["errors"][0]["message"].as_str().unwrap().contains("did not write"), "{run}");
    assert_eq!(run["errors"][0]["place"]["line"], 29);
    assert_eq!(project.files("theirs").len(), 1);
    project.write(&PROGRAM.replace("to = \"out/model\"", "to = \"theirs\", overwrite = true"));
    project.json(&["p.ftp"], 0);
    assert!(project.path("theirs/config.json").is_file());
    assert!(project.path("theirs/thesis.txt").is_file());
}

#[test]
fn steps_by_name_forced_and_in_short() {
    let project = Project::new();
    assert_eq!(
        ran(&project.json(&["p.ftp", "tokens"], 0)),
        ["encoder", "messages", "parts", "tokens"]
    );
    assert_eq!(ran(&project.json(&["p.ftp", "tokens", "--force", "parts"], 0)), ["parts"]);
    let quick = project.json(&["p.ftp", "--quick"], 0);
    assert_eq!(ran(&quick).len(), 8);
    assert!(!project.path("out").exists(), "a quick run leaves what was saved alone");
    let wrong = project.ftrun(&["p.ftp", "tokns"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("the nearest is `tokens`"), "{}", text(&wrong.stderr));
    assert_eq!(project.ftrun(&["p.ftp", "--force", "nothing"]).status.code(), Some(2));
}

/// Shares, numbers and metrics; met and not; the same where nothing runs.
#[test]
fn expectations_stop_a_run_and_run_nothing_again() {
    let with = |lines: &str| PROGRAM.replace("max_length = 16", "max_length = 6") + lines;
    let project = Project::with(&with(
        "expect tokens.report.truncated <= 100%\nexpect quality.accuracy >= 0\n",
    ));
    let first = project.json(&["p.ftp"], 0);
    assert_eq!(ran(&first).len(), 8);
    let tokens = first["steps"].as_array().unwrap().iter().find(|step| step["name"] == "tokens");
    let report = &tokens.unwrap()["report"];
    assert_eq!(report["rows"], 60.0);
    assert!(report["truncated"].as_f64().unwrap() > 0.0, "{report}");
    let shown = text(&project.ftrun(&["p.ftp"]).stdout);
    assert!(shown.contains("truncated"), "{shown}");
    let manifest = project.json(&["show", "last"], 0);
    assert!(manifest.to_string().contains("\"truncated\":"), "{manifest}");

    // Both are looked at, and the run ends at the first step that is not as expected.
    project.write(&with(
        "expect tokens.report.truncated < 1%\nexpect tokens.report.rows > 60\nexpect quality.accuracy > 1\n",
    ));
    let stopped = project.json(&["p.ftp"], 1);
    assert!(ran(&stopped).is_empty(), "{stopped}");
    let errors = stopped["errors"].as_array().unwrap();
    let messages: Vec<&str> =
        errors.iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert!(errors.iter().all(|error| error["code"] == "E0702"), "{errors:?}");
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0].contains("`tokens.report.truncated < 1%` is not met: it is"),
        "{messages:?}"
    );
    assert!(messages[0].contains("of 60 rows, which is"), "{messages:?}");
    assert!(messages[1].ends_with("it is 60"), "{messages:?}");
    assert!(!statuses(&stopped).contains_key("tuned"), "training would have come later");

    project.write(&with("expect quality.accuracy > 1\n"));
    let stopped = project.ftrun(&["p.ftp"]);
    assert_eq!(stopped.status.code(), Some(1));
    let told = text(&stopped.stderr);
    assert!(told.contains("E0702") && told.contains("quality.accuracy > 1"), "{told}");
    // A few updates are no measure.
    let quick = project.json(&["p.ftp", "--quick"], 0);
    assert!(quick["warnings"].to_string().contains("is not met"), "{}", quick["warnings"]);
    assert_eq!(project.ftrun(&["check", "p.ftp", "--data"]).status.code(), Some(0));
    project.write(&with("expect messages.report.rows < 10\n"));
    let checked = project.json(&["check", "p.ftp", "--data"], 2);
    assert!(checked["errors"].to_string().contains("E0702"), "{checked}");
}

/// Training leaves rows out that are too long; who asks gets an answer for each.
#[test]
fn rows_that_training_would_drop_are_predicted() {
    let program = PROGRAM.replace("max_length = 16", "max_length = 16, overflow = drop")
        + "load-data asked { source = files(\"asked.csv\") }\n\
           predict answers { model = tuned, data = asked }\n\
           save file { table = answers, to = \"answers.csv\" }\n";
    let project = Project::with(&program);
    let long = "a parcel that is late ".repeat(20);
    fs::write(project.path("asked.csv"), format!("text\nmy refund\n{long}\nmy parcel\n")).unwrap();
    let run = project.json(&["p.ftp"], 0);
    let steps = run["steps"].as_array().unwrap();
    let answers = steps.iter().find(|step| step["name"] == "answers").unwrap();
    assert_eq!(answers["report"]["rows"], 3.0);
    assert_eq!(answers["report"]["truncated"], 1.0);
    assert_eq!(fs::read_to_string(project.path("answers.csv")).unwrap().lines().count(), 4);
}

/// Parts that were tokenized together were compared before; these have nothing else in common.
#[test]
fn rows_among_those_to_learn_from_are_reported_wherever_they_are_held_out() {
    let program = PROGRAM.replace(
        "tokenize tokens { data = parts,",
        "tokenize others { data = messages, tokenizer = encoder, max_length = 16 }\n\
         tokenize tokens { data = parts,",
    );
    let program = program.replace("validate  = tokens.validation", "validate  = others")
        + "train again { model = tuned, data = tokens.validation, budget = 1 update }\n\
           eval first { model = tuned, data = others }\n\
           eval second { model = again, data = others }\n";
    let run = Project::with(&program).json(&["p.ftp"], 0);
    let warnings = run["warnings"].to_string();
    assert!(
        warnings.contains("36 of 60 rows of `validate` are among those of `data` too"),
        "{warnings}"
    );
    assert!(warnings.contains("36 of 60 rows are among those that the model learned from"));
    let steps = run["steps"].as_array().unwrap();
    let learned = |name: &str| {
        steps.iter().find(|step| step["name"] == name).map(|step| step["report"]["learned"].clone())
    };
    assert_eq!(learned("first"), Some(36.0.into()));
    assert_eq!(learned("second"), Some(48.0.into()));
}

/// Changed copies of a row are no test of what was learned from it.
#[test]
fn copies_that_a_split_tears_apart_are_reported() {
    let program = PROGRAM.replace(
        "split parts { data = messages,",
        "prepare more { data = messages, do = [augment(word_dropout(20%))] }\nsplit parts { data = more,",
    );
    let run = Project::with(&program).json(&["p.ftp", "parts"], 0);
    assert!(run["warnings"].to_string().contains("have the id of a row of `train`"), "{run}");
}

/// A class without rows to learn from, and a table without rows to measure on.
#[test]
fn what_cannot_be_learned_or_measured_is_told() {
    let program = PROGRAM.replace(
        "split parts { data = messages,",
        "prepare some { data = parts, do = [filter(.label != \"post\")], only = [train] }\n\
         split parts { data = messages,",
    );
    let run = Project::with(&program.replace("data = parts, tokenizer", "data = some, tokenizer"))
        .json(&["p.ftp", "tuned"], 0);
    let warnings = run["warnings"].to_string();
    assert!(warnings.contains("no row to learn from has the label `post`"), "{warnings}");
}

/// What transformers has to know to give pairs their types.
#[test]
fn a_saved_tokenizer_names_what_the_model_reads() {
    let project = Project::new();
    project.json(&["p.ftp"], 0);
    let text = fs::read_to_string(project.path("out/model/tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let names = serde_json::json!(["input_ids", "token_type_ids", "attention_mask"]);
    assert_eq!(config["model_input_names"], names);
}

/// A fold goes into a step as a whole, or table by table.
#[test]
fn folds_are_groups_of_tables() {
    let program = PROGRAM
        .replace("by = fraction(train = 60%, validation = 20%, test = 20%)", "by = folds(3)")
        .replace("data = parts,", "data = parts.fold_1,")
        .replace("data = tokens.test", "data = all.fold_2.validation")
        + "tokenize all { data = parts, tokenizer = encoder, max_length = 16 }\n";
    let project = Project::with(&program);
    let first = project.json(&["p.ftp"], 0);
    assert_eq!(ran(&first).len(), 9);
    assert_eq!(ran(&project.json(&["p.ftp"], 0)), [""; 0]);
    let rows = |run: &Value, name: &str| {
        let steps = run["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        step["report"]["rows"].as_f64().unwrap()
    };
    assert_eq!((rows(&first, "tokens"), rows(&first, "all")), (60.0, 180.0));
    assert_eq!((rows(&first, "tuned"), rows(&first, "predicted")), (40.0, 20.0));
    project.write(&program.replace("parts.fold_1", "parts.fold_3"));
    let other = ran(&project.json(&["p.ftp"], 0));
    assert_eq!(other, ["predicted", "quality", "release", "tokens", "tuned"]);
}

#[test]
fn wrong_programs_and_wrong_command_lines_end_with_two() {
    let project = Project::with(
        &PROGRAM.replace("batch     = 8", "batch     = 0").replace("tuned, to", "tund, to"),
    );
    let run = project.json(&["p.ftp"], 2);
    let errors = run["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{run}");
    assert!(
        errors.iter().all(|error| error["place"]["line"].is_number() && error["code"].is_string())
    );
    let output = project.ftrun(&["p.ftp"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let shown = text(&output.stderr);
    assert!(shown.contains("p.ftp:22") && shown.contains("ftrun explain"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours without a terminal");
    assert!(!project.path(".ftrun").exists());
    for arguments in
        [&["absent.ftp"][..], &["--no-such-flag"], &["check"], &["p.ftp", "--threads", "0"]]
    {
        assert_eq!(project.ftrun(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // A row that cannot be read is found while running, with its file and line.
    let project = Project::new();
    fs::write(
        project.path("messages.csv"),
        format!("text,label\n{}a,b,c\n", "hello there,x\n".repeat(1100)),
    )
    .unwrap();
    let run = project.json(&["p.ftp"], 1);
    assert!(run["errors"][0]["message"].as_str().unwrap().contains("messages.csv:1102"), "{run}");
    assert_eq!(statuses(&run)["messages"], "failed");
}

#[test]
fn results_are_on_one_stream_and_all_else_on_the_other() {
    let project = Project::new();
    let begun = Instant::now();
    let mut child = project.command(&["p.ftp"]).spawn().unwrap();
    let mut first = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut first).unwrap();
    // 100 ms are promised; a machine that does much else gets five times as much here.
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(first, "checking p.ftp\n");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("accuracy") && shown.contains("95 % interval"), "{shown}");
    assert!(shown.contains("release: out/model"), "{shown}");
    assert!(rest.contains("next: ftrun predict out/model --text"), "{rest}");
    let quiet = project.ftrun(&["p.ftp", "--quiet"]);
    assert_eq!(text(&quiet.stderr), "");
    assert_eq!(text(&quiet.stdout), shown);
}

#[test]
fn runs_are_listed_and_shown_by_what_people_type() {
    let project = Project::new();
    assert_eq!(project.ftrun(&["runs"]).status.code(), Some(2));
    let first = project.json(&["p.ftp", "parts"], 0);
    let second = project.json(&["p.ftp", "tokens", "--set", "seed=4"], 0);
    let runs = project.json(&["runs"], 0);
    let names: Vec<&Value> =
        runs["runs"].as_array().unwrap().iter().map(|run| &run["name"]).collect();
    assert_eq!(names, [&second["run"], &first["run"]]);
    for asked in ["last", "@1", second["run"].as_str().unwrap()] {
        let shown = project.json(&["show", asked], 0);
        assert_eq!(shown["manifest"]["name"], second["run"], "{asked}");
    }
    let shown = project.json(&["show", "@2", "--of", "p.ftp"], 0);
    let manifest = &shown["manifest"];
    assert_eq!(manifest["name"], first["run"]);
    assert_eq!(manifest["program"]["parameters"][0]["origin"], "p.ftp:3");
    let arguments = manifest["steps"][0]["arguments"].as_array().unwrap();
    let source = arguments.iter().find(|argument| argument["name"] == "source").unwrap();
    assert_eq!(source["origin"], "p.ftp:7");
    assert!(
        manifest["steps"][0]["outputs"].is_object() && manifest["class"]["features"].is_array()
    );
    fs::remove_dir_all(project.path("cache")).unwrap();
    assert_eq!(project.json(&["runs", "rebuild"], 0)["runs"], 2);
    assert_eq!(project.ftrun(&["show", "no-such-run"]).status.code(), Some(2));
    assert!(project.ftrun(&["show", "last"]).status.success());
}

#[test]
fn a_trained_model_answers() {
    let project = Project::new();
    let early = project.ftrun(&["predict", "p.ftp", "tuned", "--text", "my parcel is late"]);
    assert_eq!(early.status.code(), Some(2));
    assert!(text(&early.stderr).contains("ftrun p.ftp tuned"), "{}", text(&early.stderr));
    project.json(&["p.ftp"], 0);
    let before = project.files(".ftrun");
    let texts = ["--text", "my parcel is late", "--text", "my refund is late"];
    let by_step = project.json(&[&["predict", "p.ftp", "tuned"], &texts[..]].concat(), 0);
    let by_folder = project.json(&[&["predict", "out/model"], &texts[..]].concat(), 0);
    let predicted = |answers: &Value| -> Vec<Value> {
        answers["predictions"].as_array().unwrap().iter().map(|row| row["logits"].clone()).collect()
    };
    assert_eq!(predicted(&by_step).len(), 2);
    assert_eq!(predicted(&by_step), predicted(&by_folder));
    assert!(project.files(".ftrun") == before, "predicting left something behind");
    let shown = project.ftrun(&[&["predict", "out/model"], &texts[..]].concat());
    assert_eq!(text(&shown.stdout).lines().count(), 2);
    let rows = project.ftrun(&["predict", "out/model", "--rows", "messages.csv"]);
    assert_eq!(text(&rows.stdout).lines().count(), 60);
    assert_eq!(project.ftrun(&["predict", "out/model"]).status.code(), Some(2));
}
