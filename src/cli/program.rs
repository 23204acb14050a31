//! Reading a program and what is given to it from outside, and checking it.

use std::path::Path;

use crate::base::{Diags, Severity, Source, SourceId};
use crate::exec::probe::DiskProbe;
use crate::exec::settings::Settings;
use crate::plan::{self, Bindings, Graph};
use crate::step;
use crate::syntax;

use super::args::ProgramArgs;
use super::console::Console;
use super::render;

/// A program as checked: without errors there is a graph.
pub struct Program {
    /// The program first, then what it imports, then every `--params` file and `--set`.
    pub sources: Vec<Source>,
    /// In the order of the source; warnings stay when there is a graph.
    pub diags: Diags,
    pub graph: Option<Graph>,
}

impl Program {
    /// Reads and checks a program with what the disk tells.
    pub fn open(args: &ProgramArgs) -> Result<Program, String> {
        let folder = folder_of(&args.file);
        let settings = settings_of(&folder)?;
        Self::check(args, &DiskProbe::new(&folder, &settings))
    }

    /// Tells why there is no graph: on the standard output for machines, else on the other.
    pub fn refuse(&self, console: &Console) {
        if console.json {
            console.object(&serde_json::json!({
                "schema": 1,
                "errors": self.objects(Severity::Error),
                "warnings": self.objects(Severity::Warning),
            }));
        } else {
            console.message(&self.render(console));
        }
    }

    /// Fails with a message if a file cannot be read at all.
    pub fn check(args: &ProgramArgs, probe: &DiskProbe) -> Result<Program, String> {
        Self::check_text(args, read(&args.file)?, probe)
    }

    /// The same for a program of this text.
    pub fn check_text(
        args: &ProgramArgs,
        text: String,
        probe: &DiskProbe,
    ) -> Result<Program, String> {
        let mut sources = vec![Source::new(args.file.display().to_string(), text)];
        let (mut ast, mut diags) = syntax::parse(SourceId(0), &sources[0].text);
        plan::imports(&mut ast, &mut sources, &mut read, &mut diags);
        let mut bindings = Bindings::default();
        let mut add = |source: Source, ids: &mut Vec<SourceId>| {
            ids.push(SourceId(u32::try_from(sources.len()).unwrap_or(u32::MAX)));
            sources.push(source);
        };
        for path in &args.params {
            add(Source::new(path.display().to_string(), read(path)?), &mut bindings.params);
        }
        for assignment in &args.set {
            add(Source::new("--set", assignment.as_str()), &mut bindings.set);
        }
        let checked = plan::check(&sources, &ast, &bindings, step::kinds(), probe);
        diags.extend(checked.diags);
        diags.sort_by_key(|diag| diag.span());
        let broken = diags.iter().any(|diag| diag.severity() == Severity::Error);
        Ok(Program { sources, diags, graph: checked.graph.filter(|_| !broken) })
    }

    pub fn render(&self, console: &Console) -> String {
        render::all(&self.diags, &self.sources, console)
    }

    /// The diagnostics of one severity, for machines.
    pub fn objects(&self, severity: Severity) -> Vec<serde_json::Value> {
        let of = self.diags.iter().filter(|diag| diag.severity() == severity);
        of.map(|diag| render::object(diag, &self.sources)).collect()
    }
}

/// Settings from the environment, the project and the user, in this order.
pub fn settings_of(folder: &Path) -> Result<Settings, String> {
    use etcetera::BaseStrategy;
    let user = etcetera::choose_base_strategy().ok().map(|user| user.config_dir().join("ftrun"));
    Settings::find(folder, user.as_deref(), &|name| std::env::var_os(name))
}

/// The folder beside which the program finds its files and keeps its store.
pub fn folder_of(file: &Path) -> std::path::PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_path_buf()
}

fn read(path: &Path) -> Result<String, String> {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            format!("{}: line {} is not UTF-8", path.display(), line + 1)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let near = std::fs::read_dir(
                path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".ftp"))
            .collect::<std::collections::BTreeSet<_>>();
            let wanted = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let nearest = crate::base::suggest::nearest(&wanted, near.iter().map(String::as_str));
            let hint = nearest.map(|name| format!("; there is `{name}`")).unwrap_or_default();
            Err(format!("{}: there is no such file{hint}", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
