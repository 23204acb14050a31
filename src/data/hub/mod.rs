//! Models of a hub: where they lie in the local cache, in the layout that Hugging Face's own tools
//! share, and what is to be done about those that do not. Fetching is in `remote` (feature `hub`).

#[cfg(feature = "hub")]
mod remote;

use super::error::{DataError, Fault, Result};
use std::path::{Path, PathBuf};

/// What belongs to a model besides its weights, where the repository has it.
const SMALL: &[&str] = &[
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// Forms of the weights, the preferred one first. An index names further files.
const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

const INDEX: &str = ".index.json";

/// The files of one revision in the local cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub folder: PathBuf,
    /// The commit that the revision stands for.
    pub commit: String,
}

/// A credential. It is sent to the hub and shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the hub is, where its cache, and whether it may be asked.
#[derive(Debug, Clone)]
pub struct Hub {
    endpoint: String,
    cache: PathBuf,
    token: Option<Token>,
    offline: bool,
}

/// The folder of a revision's files, fetched if need be. Without `weights` only the configuration
/// and the tokenizer.
pub fn snapshot(repo: &str, revision: &str, weights: bool) -> Result<PathBuf> {
    Hub::from_env().snapshot(repo, revision, weights).map(|found| found.folder)
}

fn fault(message: impl Into<String>) -> DataError {
    DataError::new(Fault::Hub, message)
}

impl Hub {
    /// As the environment says: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Hub {
        Hub::from(&|name| std::env::var(name).ok())
    }

    /// The same with another way to look up a variable.
    pub fn from(variable: &dyn Fn(&str) -> Option<String>) -> Hub {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
            let caches = caches.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")));
            caches.unwrap_or_else(|| PathBuf::from(".cache")).join("huggingface")
        });
        let cache = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].iter().find_map(|name| set(name));
        let cache = cache.map(PathBuf::from).unwrap_or_else(|| home.join("hub"));
        let token_file =
            set("HF_TOKEN_PATH").map(PathBuf::from).unwrap_or_else(|| home.join("token"));
        let token = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
            .iter()
            .find_map(|name| set(name))
            .or_else(|| std::fs::read_to_string(token_file).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let truth = |name: &str| {
            set(name).is_some_and(|value| {
                ["1", "on", "yes", "true"].contains(&value.trim().to_lowercase().as_str())
            })
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        Hub {
            endpoint: endpoint.trim().trim_end_matches('/').to_string(),
            cache,
            token: token.map(Token),
            offline: truth("HF_HUB_OFFLINE") || truth("TRANSFORMERS_OFFLINE"),
        }
    }

    /// The same hub with a credential of the program's own.
    pub fn with_token(mut self, token: Option<String>) -> Hub {
        if let Some(token) = token {
            self.token = Some(Token(token));
        }
        self
    }

    /// The files of a revision. A commit that is in the cache is not asked for again; a branch is,
    /// unless offline. If the hub cannot be reached, what the cache has serves.
    ///
    /// # Errors
    /// The repository or revision does not exist or is not accessible, a file is missing, or the
    /// hub cannot be reached and the cache is incomplete.
    pub fn snapshot(&self, repo: &str, revision: &str, weights: bool) -> Result<Snapshot> {
        check_name("repository", repo, 1)?;
        check_name("revision", revision, 8)?;
        let cached = self.cached(repo, revision, weights);
        if let Ok(found) = &cached
            && is_commit(revision)
        {
            return Ok(found.clone());
        }
        if self.offline {
            return cached.map_err(|error| {
                error.help(format!(
                    "HF_HUB_OFFLINE is set: run once without it, or fetch the files with `hf download {repo}`"
                ))
            });
        }
        self.fetch(repo, revision, weights, cached)
    }

    #[cfg(feature = "hub")]
    fn fetch(
        &self,
        repo: &str,
        revision: &str,
        weights: bool,
        cached: Result<Snapshot>,
    ) -> Result<Snapshot> {
        match remote::fetch(self, repo, revision, weights) {
            Ok(found) => Ok(found),
            Err(remote::Failure::Unreachable(reason)) => cached.map_err(|error| {
                let message = format!("{} cannot be reached ({reason}), and {}", self.endpoint, error.message);
                fault(message).subject(repo).help(format!(
                    "the files can be fetched elsewhere with `hf download {repo}` and given by `folder(\"…\")`"
                ))
            }),
            Err(remote::Failure::Refused(error)) => Err(error),
        }
    }

    #[cfg(not(feature = "hub"))]
    fn fetch(
        &self,
        repo: &str,
        _revision: &str,
        _weights: bool,
        cached: Result<Snapshot>,
    ) -> Result<Snapshot> {
        cached.map_err(|error| {
            error.help(format!(
                "this build of ftrun fetches nothing (feature `hub`); `hf download {repo}` does"
            ))
        })
    }

    /// The folder of a repository in the cache.
    fn home(&self, repo: &str) -> PathBuf {
        self.cache.join(format!("models--{}", repo.replace('/', "--")))
    }

    /// What the cache has of a revision, if it is all that is needed.
    fn cached(&self, repo: &str, revision: &str, weights: bool) -> Result<Snapshot> {
        let home = self.home(repo);
        let commit = if is_commit(revision) {
            revision.to_string()
        } else {
            std::fs::read_to_string(home.join("refs").join(revision))
                .map(|commit| commit.trim().to_string())
                .ok()
                .filter(|commit| check_name("commit", commit, 1).is_ok())
                .ok_or_else(|| {
                    fault(format!(
                        "`{repo}` ({revision}) is not in the local cache {}",
                        self.cache.display()
                    ))
                    .subject(repo)
                })?
        };
        let folder = home.join("snapshots").join(&commit);
        let absent = |name: &str| {
            fault(format!(
                "`{name}` of `{repo}` ({revision}) is not in the local cache {}",
                self.cache.display()
            ))
            .subject(repo)
        };
        if !folder.join("config.json").is_file() {
            return Err(absent("config.json"));
        }
        if weights {
            let form = WEIGHTS.iter().find(|name| folder.join(name).is_file());
            let form = form.ok_or_else(|| absent(WEIGHTS[0]))?;
            if form.ends_with(INDEX) {
                for shard in shards(&folder.join(form))? {
                    if !folder.join(&shard).is_file() {
                        return Err(absent(&shard));
                    }
                }
            }
        }
        Ok(Snapshot { folder, commit })
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Names become parts of paths and addresses: only what the hub admits in them is let through.
fn check_name(what: &str, name: &str, slashes: usize) -> Result<()> {
    let sound = |part: &str| {
        !part.is_empty()
            && part != "."
            && !part.contains("..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if name.split('/').all(sound) && name.matches('/').count() <= slashes && name.len() <= 200 {
        return Ok(());
    }
    let error = fault(format!("`{name}` is no name of a {what}")).subject(name);
    Err(match what {
        "repository" => error.help("a repository is called `owner/name`, as in `hub(\"sentence-transformers/all-MiniLM-L6-v2\")`"),
        _ => error.help("a branch, a tag or a commit, such as `main`"),
    })
}

/// The files that an index of weights names, sorted.
fn shards(index: &Path) -> Result<Vec<String>> {
    let damaged = |what: &str| fault(format!("the index of the weights {what}")).file(index);
    let bytes = std::fs::read(index).map_err(|error| DataError::io(index, &error))?;
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(&format!("is not JSON: {error}")))?;
    let map = value.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| damaged("has no `weight_map`"))?;
    let mut names: Vec<String> = Vec::new();
    for name in map.values() {
        let name =
            name.as_str().ok_or_else(|| damaged("names a file by something that is no text"))?;
        check_name("file", name, 0).map_err(|_| damaged(&format!("names the file `{name}`")))?;
        names.push(name.to_string());
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(all(test, feature = "hub"))]
mod tests;
