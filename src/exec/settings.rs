//! Settings of a project and of a user: `ftrun.toml` beside the program or in a folder above it,
//! then the user's own, and `FTRUN_*` before both. What a program says is never set here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::base::suggest;

/// The file that holds settings.
pub const FILE: &str = "ftrun.toml";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where relative paths of data are sought behind the program's folder.
    pub data: Vec<PathBuf>,
    /// The same for models.
    pub models: Vec<PathBuf>,
    pub threads: Option<usize>,
    pub store: Option<PathBuf>,
}

/// What `ftrun.toml` may hold, with the form of each.
const KEYS: &[(&str, Assign)] = &[
    ("paths.data", |settings, value, base| {
        settings.data.extend(value.paths(base)?);
        Some(())
    }),
    ("paths.models", |settings, value, base| {
        settings.models.extend(value.paths(base)?);
        Some(())
    }),
    ("store", |settings, value, base| {
        let path = value.paths(base)?.into_iter().next()?;
        settings.store.get_or_insert(path);
        Some(())
    }),
    ("threads", |settings, value, _| {
        let count = value.count()?;
        settings.threads.get_or_insert(count);
        Some(())
    }),
];

/// `None` where the value has the wrong form.
type Assign = fn(&mut Settings, &Value, &Path) -> Option<()>;

enum Value {
    Texts(Vec<String>),
    Number(u64),
}

impl Value {
    fn paths(&self, base: &Path) -> Option<Vec<PathBuf>> {
        match self {
            Value::Texts(texts) => Some(texts.iter().map(|text| base.join(text)).collect()),
            Value::Number(_) => None,
        }
    }

    fn count(&self) -> Option<usize> {
        match self {
            Value::Number(number) => usize::try_from(*number).ok().filter(|count| *count > 0),
            Value::Texts(_) => None,
        }
    }
}

impl Settings {
    /// Environment first, then the nearest file at or above `folder`, then the user's.
    ///
    /// # Errors
    /// A line that cannot be understood, with file and line.
    pub fn find(
        folder: &Path,
        user: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, String> {
        let mut settings = Settings::default();
        let paths = |name: &str| -> Vec<PathBuf> {
            environment(name)
                .map(|value| std::env::split_paths(&value).collect())
                .unwrap_or_default()
        };
        settings.data = paths("FTRUN_DATA");
        settings.models = paths("FTRUN_MODELS");
        settings.store = environment("FTRUN_STORE").map(PathBuf::from);
        if let Some(threads) = environment("FTRUN_THREADS") {
            let threads = threads.to_string_lossy();
            let count = threads.parse().ok().filter(|count| *count > 0);
            settings.threads = Some(count.ok_or_else(|| {
                format!("FTRUN_THREADS is `{threads}`, which is no number of threads; try FTRUN_THREADS=2")
            })?);
        }
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let project =
            absolute.ancestors().map(|above| above.join(FILE)).find(|file| file.is_file());
        let user = user.map(|user| user.join(FILE)).filter(|file| file.is_file());
        for file in project.into_iter().chain(user) {
            let text = std::fs::read_to_string(&file).map_err(|error| {
                format!("{}: {}", file.display(), error.to_string().to_lowercase())
            })?;
            let base = file.parent().unwrap_or(Path::new("."));
            settings
                .read(&text, base)
                .map_err(|(line, what)| format!("{}:{line}: {what}", file.display()))?;
        }
        Ok(settings)
    }

    /// Reads the part of TOML that settings need: tables, texts, lists of texts, whole numbers, each
    /// on a line of its own. Fails with a line, counted from 1.
    fn read(&mut self, text: &str, base: &Path) -> Result<(), (usize, String)> {
        let mut table = String::new();
        for (at, line) in text.lines().enumerate() {
            let fail = |what: String| Err((at + 1, what));
            let line = without_comment(line).trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = format!("{}.", name.trim());
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                return fail(format!("`{line}` is no `name = value`"));
            };
            let name = format!("{table}{}", name.trim());
            let Some((_, assign)) = KEYS.iter().find(|(key, _)| *key == name) else {
                let keys = KEYS.iter().map(|(key, _)| *key);
                let near = suggest::nearest(&name, keys.clone());
                return fail(match near {
                    Some(near) => format!("there is no setting `{name}`; the nearest is `{near}`"),
                    None => {
                        format!("there is no setting `{name}`; there are {}", suggest::list(keys))
                    }
                });
            };
            let value = value.trim();
            if parse(value).and_then(|value| assign(self, &value, base)).is_none() {
                return fail(format!("`{value}` does not fit `{name}`"));
            }
        }
        Ok(())
    }
}

fn without_comment(line: &str) -> &str {
    let mut quoted = None;
    for (at, character) in line.char_indices() {
        match (character, quoted) {
            ('#', None) => return line.get(..at).unwrap_or(line),
            ('"' | '\'', None) => quoted = Some(character),
            (found, Some(open)) if found == open => quoted = None,
            _ => {}
        }
    }
    line
}

fn parse(text: &str) -> Option<Value> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(string).collect::<Option<_>>().map(Value::Texts);
    }
    match text.replace('_', "").parse() {
        Ok(number) => Some(Value::Number(number)),
        Err(_) => string(text).map(|text| Value::Texts(vec![text])),
    }
}

fn string(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '"' { serde_json::from_str(text).ok() } else { Some(inner.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_goes_before_the_project_and_the_project_before_the_user() {
        let project = tempfile::tempdir().unwrap();
        let user = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("deep")).unwrap();
        let text = "threads = 3 # of 8\n[paths]\ndata = [\"corpora\", 'more#']\n";
        std::fs::write(project.path().join(FILE), text).unwrap();
        std::fs::write(user.path().join(FILE), "threads = 5\nstore = \"/big\"\n").unwrap();
        let environment = |name: &str| (name == "FTRUN_DATA").then(|| OsString::from("/first"));
        let settings =
            Settings::find(&project.path().join("deep"), Some(user.path()), &environment).unwrap();
        assert_eq!(settings.threads, Some(3));
        assert_eq!(settings.store, Some(PathBuf::from("/big")));
        let wanted =
            ["/first".into(), project.path().join("corpora"), project.path().join("more#")];
        assert_eq!(settings.data, wanted);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, line, part) in [
            ("thread = 2", 1, "`threads`"),
            ("\n[paths]\ndata = 4", 3, "does not fit"),
            ("threads = 0", 1, "does not fit"),
            ("data", 1, "name = value"),
        ] {
            let (found, message) = Settings::default().read(text, Path::new(".")).unwrap_err();
            assert_eq!(found, line, "{text}");
            assert!(message.contains(part), "{message}");
        }
    }
}
