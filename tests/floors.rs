//! The floors of `ARCHITECTURE.md`: a module names only modules on lower lines.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest line up. Modules on one line are blind to each other, but for those in one
/// string: `exec` and `report` see each other.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["syntax", "schema", "data", "nn"],
    &["model"],
    &["task"],
    &["train"],
    &["step"],
    &["plan"],
    &["exec", "report"],
    &["cli"],
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|line| line.contains(&module))
}

/// Every `crate::NAME` in a source, with its line.
fn named(text: &str) -> Vec<(usize, String)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            if code[..at].ends_with(|c: char| word(c)) {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let names = group.split([',', '}']).map(|name| name.trim().split("::").next());
                all.extend(names.flatten().map(|name| (number + 1, name.to_string())));
            } else {
                let name: String = rest.chars().take_while(|c| word(*c)).collect();
                all.push((number + 1, name));
            }
        }
    }
    all.retain(|(_, name)| floor(name).is_some());
    all
}

#[test]
fn a_module_names_only_modules_on_lower_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).expect("below src");
        let module = relative.components().next().expect("a name").as_os_str();
        let module = module.to_string_lossy().trim_end_matches(".rs").to_string();
        let Some(own) = floor(&module) else { continue };
        let text = fs::read_to_string(&path).expect("a readable source");
        for (line, name) in named(&text) {
            let allowed = name == module || floor(&name).is_some_and(|other| other < own)
                // `exec` and `report` share a line and a purpose: what a run leaves behind.
                || [module.as_str(), name.as_str()] == ["report", "exec"];
            if !allowed {
                faults.push(format!("{}:{line} names `{name}`", relative.display()));
            }
        }
    }
    assert!(faults.is_empty(), "floors are broken:\n{}", faults.join("\n"));
}

#[test]
fn only_one_module_names_pest_and_petgraph_and_polars() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let owners = [
        ("Rule::", "syntax"),
        ("petgraph::", "plan"),
        ("polars::", "data"),
        ("polars_io::", "data"),
    ];
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).expect("below src").display().to_string();
        let text = fs::read_to_string(&path).expect("a readable source");
        for (word, owner) in owners {
            // A word of its own: `KeepRule::Best` is none of pest's rules.
            let whole = |line: &str| {
                line.match_indices(word)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let names = code.any(whole);
            assert!(!names || relative.starts_with(owner), "{relative} names {word}");
        }
    }
}

#[test]
fn every_module_is_on_a_floor_and_every_source_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = fs::read_to_string(root.join("lib.rs")).expect("src/lib.rs");
    for line in library.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = line.trim_end_matches(';');
        assert!(floor(name).is_some(), "`{name}` is on no floor");
    }
    for path in sources(&root) {
        let text = fs::read_to_string(&path).expect("a readable source");
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
    }
}
