//! Asking the hub. Addresses and the layout of the cache are hf-hub's; the requests are made here,
//! because its own client sends the token along to whatever host it is redirected to.

use super::{Hub, INDEX, SMALL, Snapshot, Token, WEIGHTS, check_name, fault, shards};
use crate::data::error::DataError;
use hf_hub::{Cache, Repo, RepoType};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

/// Why a snapshot was not fetched.
pub(super) enum Failure {
    /// No answer: the cache may serve.
    Unreachable(String),
    /// An answer that says no, or a disk that does.
    Refused(DataError),
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure::Refused(error)
    }
}

const REDIRECTS: usize = 10;

/// A file on its way, and what the hub says of it.
struct Described {
    answer: Response<Body>,
    /// Names the content.
    etag: Option<String>,
    /// In bytes.
    size: Option<u64>,
}

struct Remote<'a> {
    hub: &'a Hub,
    agent: Agent,
    repo: Repo,
    name: &'a str,
}

/// Fetches what is not in the cache yet.
pub(super) fn fetch(
    hub: &Hub,
    name: &str,
    revision: &str,
    weights: bool,
) -> Result<Snapshot, Failure> {
    let host: Uri = hub
        .endpoint
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.host().is_some() && uri.scheme_str().is_some())
        .ok_or_else(|| {
            fault(format!("HF_ENDPOINT = `{}` is no address", hub.endpoint))
                .help("an address begins with `https://`")
        })?;
    let local = matches!(host.host(), Some("localhost" | "127.0.0.1" | "[::1]" | "::1"));
    let mut settings = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("ftrun/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(60)));
    if local {
        settings = settings.proxy(None);
    }
    let repo = Repo::with_revision(name.to_string(), RepoType::Model, revision.to_string());
    Remote { hub, agent: settings.build().into(), repo, name }.snapshot(revision, weights)
}

impl Remote<'_> {
    fn snapshot(&self, revision: &str, weights: bool) -> Result<Snapshot, Failure> {
        let address = format!("{}/api/{}", self.hub.endpoint, self.repo.api_url());
        let mut answer = self.get(&address)?;
        self.check(&answer, revision)?;
        let odd = |what: &str| {
            fault(format!("{} answered something else than a hub does: {what}", self.hub.endpoint))
        };
        let info: serde_json::Value = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_json()
            .map_err(|error| odd(&error.to_string()))?;
        let commit =
            info.get("sha").and_then(|sha| sha.as_str()).ok_or_else(|| odd("no commit"))?;
        check_name("commit", commit, 0).map_err(|_| odd("no commit"))?;
        let files: Vec<&str> = info
            .get("siblings")
            .and_then(|files| files.as_array())
            .into_iter()
            .flatten()
            .filter_map(|file| file.get("rfilename")?.as_str())
            .collect();
        if !files.contains(&"config.json") {
            return Err(fault(format!("`{}` ({revision}) has no `config.json`", self.name))
                .subject(self.name)
                .help("a model of the transformers library has one")
                .into());
        }
        for name in SMALL.iter().filter(|name| files.contains(name)) {
            self.file(commit, name)?;
        }
        if weights {
            let form = WEIGHTS.iter().find(|name| files.contains(name)).ok_or_else(|| {
                fault(format!("`{}` ({revision}) has no weights that are read", self.name))
                    .subject(self.name)
                    .help("`model.safetensors` and `pytorch_model.bin` are, also in parts")
            })?;
            let path = self.file(commit, form)?;
            if form.ends_with(INDEX) {
                for shard in shards(&path)? {
                    self.file(commit, &shard)?;
                }
            }
        }
        if revision != commit {
            let cache = Cache::new(self.hub.cache.clone()).repo(self.repo.clone());
            cache.create_ref(commit).map_err(|error| DataError::io(&self.hub.cache, &error))?;
        }
        let folder = self.hub.home(self.name).join("snapshots").join(commit);
        Ok(Snapshot { folder, commit: commit.to_string() })
    }

    /// A file of a commit in the cache, fetched if it is not there.
    fn file(&self, commit: &str, name: &str) -> Result<PathBuf, Failure> {
        let cache = Cache::new(self.hub.cache.clone()).repo(self.repo.clone());
        let pointer = cache.pointer_path(commit).join(name);
        if pointer.is_file() {
            return Ok(pointer);
        }
        let address = format!("{}/{}/resolve/{commit}/{name}", self.hub.endpoint, self.repo.url());
        // The hub's own answer describes the file; another host may hold it.
        let Described { answer, etag, size } = self.follow(&address, name)?;
        let blob = match &etag {
            Some(etag) => cache.blob_path(etag),
            None => cache.blob_path(&format!("{commit}-{name}")),
        };
        let disk = |error: std::io::Error| DataError::io(&blob, &error);
        if let Some(folder) = blob.parent() {
            std::fs::create_dir_all(folder).map_err(disk)?;
        }
        if !blob.is_file() {
            self.download(answer, &blob, size, name)?;
        }
        link(&blob, &pointer).map_err(|error| DataError::io(&pointer, &error))?;
        Ok(pointer)
    }

    fn follow(&self, address: &str, name: &str) -> Result<Described, Failure> {
        let mut address = address.to_string();
        let mut etag = None;
        let mut size = None;
        for _ in 0..REDIRECTS {
            let answer = self.get(&address)?;
            let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_string);
            let clean = |tag: String| {
                let tag = tag.trim_start_matches("W/").trim_matches('"').to_string();
                check_name("tag", &tag, 0).is_ok().then_some(tag)
            };
            etag =
                etag.or_else(|| header("x-linked-etag").or_else(|| header("etag")).and_then(clean));
            size = size.or_else(|| header("x-linked-size")?.parse().ok());
            if !answer.status().is_redirection() {
                self.check(&answer, name)?;
                let length = header("content-length").and_then(|length| length.parse().ok());
                // A body that was packed for the way has another length than the file.
                let packed = header("content-encoding").is_some();
                return Ok(Described { answer, etag, size: size.or(length.filter(|_| !packed)) });
            }
            let target = header("location").ok_or_else(|| {
                fault(format!("{} redirects `{name}` to nowhere", self.hub.endpoint))
            })?;
            address = resolve(&address, &target).ok_or_else(|| {
                fault(format!("{} redirects `{name}` to `{target}`", self.hub.endpoint))
            })?;
        }
        Err(fault(format!("{} redirects `{name}` in circles", self.hub.endpoint)).into())
    }

    fn download(
        &self,
        mut answer: Response<Body>,
        blob: &Path,
        size: Option<u64>,
        name: &str,
    ) -> Result<(), Failure> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = blob.with_extension(format!("{}-{number}.incomplete", std::process::id()));
        let result = (|| -> Result<(), Failure> {
            let disk = |error: std::io::Error| Failure::from(DataError::io(&temporary, &error));
            let mut file = File::create(&temporary).map_err(disk)?;
            let mut body = answer.body_mut().as_reader();
            let mut buffer = vec![0; 1 << 20];
            let mut written = 0;
            loop {
                let read = body.read(&mut buffer).map_err(|error| {
                    Failure::Unreachable(format!(
                        "`{name}` broke off after {written} bytes: {error}"
                    ))
                })?;
                if read == 0 {
                    break;
                }
                file.write_all(buffer.get(..read).unwrap_or_default()).map_err(disk)?;
                written += read as u64;
            }
            if let Some(size) = size
                && size != written
            {
                return Err(Failure::Unreachable(format!(
                    "`{name}` came with {written} bytes instead of {size}"
                )));
            }
            file.sync_all().map_err(disk)?;
            std::fs::rename(&temporary, blob).map_err(disk)
        })();
        if result.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }

    /// Asks an address. The token goes to the hub alone, not to hosts it redirects to.
    fn get(&self, address: &str) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(address);
        if let Some(Token(token)) = &self.hub.token
            && same_host(address, &self.hub.endpoint)
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| Failure::Unreachable(error.to_string()))
    }

    /// What the hub says no to. `asked`: the revision or file.
    fn check(&self, answer: &Response<Body>, asked: &str) -> Result<(), Failure> {
        let status = answer.status().as_u16();
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let (name, endpoint) = (self.name, &self.hub.endpoint);
        let error = match (status, code) {
            (200..=299, _) => return Ok(()),
            (_, Some("GatedRepo")) => fault(format!("access to `{name}` has to be asked for"))
                .help(format!("ask on {endpoint}/{name}, then set HF_TOKEN to a token of that account")),
            (_, Some("RevisionNotFound")) => fault(format!("`{name}` has no revision `{asked}`"))
                .help(format!("{endpoint}/{name}/tree/main shows its branches and tags")),
            (_, Some("EntryNotFound")) => fault(format!("`{name}` has no file `{asked}`")),
            // The hub says 401 of what does not exist as well as of what is private.
            (401 | 403, _) if self.hub.token.is_none() => {
                fault(format!("`{name}` does not exist on {endpoint}, or is private"))
                    .help("a private repository needs a token: set HF_TOKEN, or run `hf auth login`")
            }
            (401 | 403, _) => {
                fault(format!("the token gives no access to `{name}` on {endpoint} (status {status})"))
                    .help("the token may be wrong or lack the right to read; it comes from HF_TOKEN or the token file")
            }
            (404, _) => fault(format!("there is no `{name}` with `{asked}` on {endpoint}"))
                .help("a repository is called `owner/name`"),
            (429 | 500..=599, _) => {
                return Err(Failure::Unreachable(format!("status {status}")));
            }
            _ => fault(format!("{endpoint} answered with status {status} for `{name}`")),
        };
        Err(error.subject(name).into())
    }
}

/// Whether two addresses are of one host, port and scheme.
fn same_host(one: &str, two: &str) -> bool {
    let parts = |address: &str| {
        let uri: Uri = address.parse().ok()?;
        let scheme = uri.scheme_str()?.to_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, uri.host()?.to_lowercase(), port))
    };
    parts(one).is_some() && parts(one) == parts(two)
}

/// The address that a redirection means.
fn resolve(base: &str, target: &str) -> Option<String> {
    let target_uri: Uri = target.parse().ok()?;
    if target_uri.scheme_str().is_some() {
        return matches!(target_uri.scheme_str(), Some("http" | "https"))
            .then(|| target.to_string());
    }
    let base: Uri = base.parse().ok()?;
    let authority = base.authority()?;
    match target.strip_prefix("//") {
        Some(rest) => Some(format!("{}://{rest}", base.scheme_str()?)),
        None if target.starts_with('/') => {
            Some(format!("{}://{authority}{target}", base.scheme_str()?))
        }
        None => None,
    }
}

/// Makes `pointer` stand for `blob`, as the hub's own tools lay out the cache: a relative link,
/// where there are links.
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    let folder = pointer.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        let name = blob.file_name().unwrap_or_default();
        // snapshots/COMMIT/FILE → blobs/ETAG
        let target = Path::new("../../blobs").join(name);
        match std::os::unix::fs::symlink(target, pointer) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists && !pointer.is_file() =>
            {
                // A link to a file that is gone.
                std::fs::remove_file(pointer)?;
                std::os::unix::fs::symlink(Path::new("../../blobs").join(name), pointer)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }
    #[cfg(not(unix))]
    std::fs::copy(blob, pointer).map(drop)
}
