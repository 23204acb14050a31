//! Against a small server on loopback that speaks the hub's language.

use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a server was asked: path, and the token that came along.
type Log = Arc<Mutex<Vec<(String, Option<String>)>>>;
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

struct Server {
    address: String,
    log: Log,
}

impl Server {
    fn start(answer: impl Fn(&str, Option<&str>) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log: Log = Log::default();
        let seen = log.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let _ = serve(stream, &answer, &seen);
            }
        });
        Server { address, log }
    }

    fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    fn tokens(&self) -> Vec<Option<String>> {
        self.log.lock().unwrap().iter().map(|(_, token)| token.clone()).collect()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &impl Fn(&str, Option<&str>) -> Answer,
    log: &Log,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut token = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            token = Some(value.trim().to_string());
        }
    }
    log.lock().unwrap().push((path.clone(), token.clone()));
    let (status, headers, body) = answer(&path, token.as_deref());
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(&body)
}

fn contents() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("vocab.txt", b"[PAD]\n".to_vec()),
        ("model.safetensors.index.json", br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#.to_vec()),
        ("model-1.safetensors", vec![1; 3000]),
        ("model-2.safetensors", vec![2; 5]),
        ("pytorch_model.bin", vec![9]),
    ])
}

/// The repository `o/m`: branch `main`; weights lie on another host.
fn hub_answer(
    path: &str,
    files: &BTreeMap<&'static str, Vec<u8>>,
    elsewhere: Option<&str>,
) -> Answer {
    if path == "/api/models/o/m/revision/main"
        || path == format!("/api/models/o/m/revision/{COMMIT}")
    {
        let names: Vec<String> =
            files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let body = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", names.join(","));
        return (200, vec![], body.into_bytes());
    }
    if path.starts_with("/api/models/o/m/") {
        return (404, vec![("x-error-code", "RevisionNotFound".into())], vec![]);
    }
    let prefix = format!("/o/m/resolve/{COMMIT}/");
    match path.strip_prefix(&prefix).and_then(|name| Some((name, files.get(name)?))) {
        Some((name, body)) => {
            let mut headers =
                vec![("x-repo-commit", COMMIT.to_string()), ("etag", format!("\"tag-{name}\""))];
            match elsewhere.filter(|_| name.ends_with(".safetensors")) {
                Some(host) => {
                    headers.push(("x-linked-size", body.len().to_string()));
                    headers.push(("location", format!("{host}/blob/{name}")));
                    (302, headers, b"moved".to_vec())
                }
                None => (200, headers, body.clone()),
            }
        }
        None => (404, vec![("x-error-code", "RepoNotFound".into())], vec![]),
    }
}

fn hub(cache: &Path, endpoint: &str, more: &[(&str, &str)]) -> Hub {
    let mut all = BTreeMap::from([
        ("HF_HOME".to_string(), cache.display().to_string()),
        ("HF_ENDPOINT".to_string(), format!("{endpoint}/")),
    ]);
    all.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    Hub::from(&move |name| all.get(name).cloned())
}

#[test]
fn a_snapshot_is_fetched_once_and_the_token_stays_with_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let cdn = Server::start(|path, _| {
        let name = path.strip_prefix("/blob/").unwrap_or_default();
        (200, vec![("etag", "\"other\"".into())], contents()[name].clone())
    });
    let elsewhere = cdn.address.clone();
    let server = Server::start(move |path, _| hub_answer(path, &contents(), Some(&elsewhere)));
    let hub = hub(folder.path(), &server.address, &[("HF_TOKEN", "secret-token")]);
    assert!(!format!("{hub:?}").contains("secret"));

    // The configuration alone first, as a check does.
    let small = hub.snapshot("o/m", "main", false).unwrap();
    assert_eq!(small.commit, COMMIT);
    assert!(small.folder.ends_with(format!("hub/models--o--m/snapshots/{COMMIT}")));
    assert!(!small.folder.join("model-1.safetensors").exists());
    assert!(cdn.asked().is_empty());

    let whole = hub.snapshot("o/m", "main", true).unwrap();
    for name in ["config.json", "vocab.txt", "model-1.safetensors", "model-2.safetensors"] {
        assert_eq!(std::fs::read(whole.folder.join(name)).unwrap(), contents()[name], "{name}");
    }
    assert!(!whole.folder.join("pytorch_model.bin").exists());
    assert_eq!(cdn.asked(), ["/blob/model-1.safetensors", "/blob/model-2.safetensors"]);
    assert_eq!(cdn.tokens(), [None, None]);
    assert!(server.tokens().iter().all(|token| token.as_deref() == Some("Bearer secret-token")));
    let home = folder.path().join("hub/models--o--m");
    assert_eq!(std::fs::read_to_string(home.join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(whole.folder.join("config.json")).unwrap(),
        Path::new("../../blobs/tag-config.json")
    );

    // Warm: the branch is asked for, no file is.
    let before = server.asked().len();
    assert_eq!(hub.snapshot("o/m", "main", true).unwrap(), whole);
    assert_eq!(server.asked()[before..], ["/api/models/o/m/revision/main"]);
    // A commit that is in the cache is not asked for at all.
    assert_eq!(hub.snapshot("o/m", COMMIT, true).unwrap(), whole);
    assert_eq!(server.asked().len(), before + 1);
}

#[test]
fn offline_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|path, _| hub_answer(path, &contents(), None));
    let offline = hub(folder.path(), &server.address, &[("HF_HUB_OFFLINE", "1")]);
    let error = offline.snapshot("o/m", "main", true).unwrap_err();
    assert!(error.message.contains("`o/m` (main) is not in the local cache"), "{error}");
    assert!(error.help.unwrap().contains("hf download o/m"));
    let small = hub(folder.path(), &server.address, &[]).snapshot("o/m", "main", false).unwrap();
    let before = server.asked().len();
    assert_eq!(offline.snapshot("o/m", "main", false).unwrap(), small);
    let error = offline.snapshot("o/m", "main", true).unwrap_err();
    assert!(error.message.contains("`model.safetensors` of `o/m`"), "{error}");
    assert_eq!(server.asked().len(), before);
}

#[test]
fn without_an_answer_the_cache_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|path, _| hub_answer(path, &contents(), None));
    let found = hub(folder.path(), &server.address, &[]).snapshot("o/m", "main", true).unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = hub(folder.path(), &format!("http://{gone}"), &[]);
    assert_eq!(dead.snapshot("o/m", "main", true).unwrap(), found);
    let error = dead.snapshot("o/other", "main", true).unwrap_err();
    assert!(error.message.contains("cannot be reached"), "{error}");
    let broken = Server::start(|_, _| (503, vec![], vec![]));
    assert!(hub(folder.path(), &broken.address, &[]).snapshot("o/m", "main", true).is_ok());
}

#[test]
fn refusals_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|path, token| match (path.contains("/private/"), token) {
        (true, Some("Bearer right")) => {
            hub_answer(&path.replace("/private/", "/o/"), &contents(), None)
        }
        (true, _) => (401, vec![], vec![]),
        (false, _) if path.contains("/gated/") => {
            (403, vec![("x-error-code", "GatedRepo".into())], vec![])
        }
        (false, _) => hub_answer(path, &contents(), None),
    });
    let ask = |repo: &str, revision: &str, more: &[(&str, &str)]| {
        hub(folder.path(), &server.address, more).snapshot(repo, revision, false)
    };
    let says = |error: DataError, text: &str| {
        let shown = error.to_string();
        assert!(shown.contains(text), "{shown}");
        assert!(!shown.contains("wrong-token"), "{shown}");
    };
    says(ask("private/m", "main", &[]).unwrap_err(), "set HF_TOKEN");
    says(ask("private/m", "main", &[("HF_TOKEN", "wrong-token")]).unwrap_err(), "gives no access");
    let file = folder.path().join("my-token");
    std::fs::write(&file, "right\n").unwrap();
    let path = file.display().to_string();
    assert!(ask("private/m", "main", &[("HF_TOKEN_PATH", &path)]).is_ok());
    says(ask("gated/m", "main", &[]).unwrap_err(), "has to be asked for");
    says(ask("o/m", "v9", &[]).unwrap_err(), "no revision `v9`");
    says(ask("o/none", "main", &[]).unwrap_err(), "there is no `o/none`");
    for name in ["../x", "a/b/c", "", "o/m?x", "o//m"] {
        says(ask(name, "main", &[]).unwrap_err(), "no name of a repository");
    }
    says(ask("o/m", "../../x", &[]).unwrap_err(), "no name of a revision");
}

#[test]
fn a_file_that_breaks_off_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|path, _| {
        let (status, mut headers, body) = hub_answer(path, &contents(), None);
        if path.ends_with("model-1.safetensors") {
            headers.push(("content-length", (body.len() + 10).to_string()));
        }
        (status, headers, body)
    });
    let hub = hub(folder.path(), &server.address, &[]);
    assert!(hub.snapshot("o/m", "main", true).is_err());
    let blobs: Vec<String> = std::fs::read_dir(folder.path().join("hub/models--o--m/blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().to_string())
        .collect();
    assert!(
        !blobs.iter().any(|name| name.contains("model-1") || name.contains("incomplete")),
        "{blobs:?}"
    );
}
