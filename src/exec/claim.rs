//! Who works on a key. Any number of processes may share a store, on one machine or on a network
//! file system; there is no lock. A claim is a finished file with a nonce, linked to the claim's
//! name; it is ours if reading it back shows our nonce, whatever the call returned.
//!
//! A claim that shows no sign of life is taken over by making the claim of the next epoch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::disk;
use crate::base::Digest;

/// How often a claim gives a sign of life, and how long its absence is borne.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub heartbeat: Duration,
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(5), patience: Duration::from_secs(120) }
    }
}

/// A process, as well as it can be told from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub host: String,
    pub process: u32,
    /// The boot and the process namespace in which `process` is a number, and when it started.
    /// Only where the system tells.
    space: Option<String>,
    started: Option<String>,
}

impl Owner {
    pub fn this() -> Self {
        let process = std::process::id();
        Self { host: host(), process, space: space(), started: started(process) }
    }

    /// Whether the process is certainly gone: only where it would be seen if it were there.
    fn is_gone(&self) -> bool {
        match (&self.space, space(), &self.started) {
            (Some(theirs), Some(ours), Some(begun)) if *theirs == ours => {
                started(self.process).as_ref() != Some(begun)
            }
            _ => false,
        }
    }
}

fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_string())
}

fn space() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// The start time of a living process, in clock ticks since boot.
fn started(process: u32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it, the 20th field is the start time.
    let (_, behind) = line.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // A zombie works no more.
    if fields.first() == Some(&"Z") { None } else { fields.get(19).map(|text| text.to_string()) }
}

#[derive(Serialize, Deserialize)]
struct Content {
    nonce: String,
    owner: Owner,
}

/// Work that is ours until this is dropped.
pub struct Claim {
    folder: PathBuf,
    epoch: u64,
    stop: Option<mpsc::Sender<()>>,
    heart: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        // A later epoch has files of its own. Those of earlier ones belong to nobody any more; they
        // go first, so that none of them is ever the last.
        for epoch in 1..=self.epoch {
            let _ = fs::remove_file(self.folder.join(format!("beat-{epoch}")));
            let _ = fs::remove_file(self.folder.join(format!("claim-{epoch}")));
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// What an attempt found.
pub enum Attempt {
    Ours(Claim),
    /// Somebody else works on it, as far as can be seen.
    Theirs(Owner),
}

/// One observer of one key's claim.
pub struct Claimant {
    folder: PathBuf,
    pace: Pace,
    /// The epoch that is watched, its counter, and since when that stands still.
    seen: Option<(u64, String, Instant)>,
}

impl Claimant {
    pub fn new(claims: &Path, key: Digest, pace: Pace) -> Self {
        Self { folder: claims.join(key.to_string()), pace, seen: None }
    }

    pub fn attempt(&mut self) -> io::Result<Attempt> {
        // Folder and claims may vanish between two calls while others finish: look again.
        for _ in 0..100 {
            fs::create_dir_all(&self.folder)?;
            let Some(epoch) = self.last_epoch()? else {
                if let Some(claim) = self.make(1)? {
                    return Ok(Attempt::Ours(claim));
                }
                continue;
            };
            let Some(content) = read(&self.path(epoch)) else {
                // Released just now, or written by something else: the latter is stale some day.
                match self.stands_still(epoch) {
                    true => match self.make(epoch + 1)? {
                        Some(claim) => return Ok(Attempt::Ours(claim)),
                        None => continue,
                    },
                    false if self.path(epoch).exists() => {
                        return Ok(Attempt::Theirs(Owner {
                            host: "unknown".into(),
                            process: 0,
                            space: None,
                            started: None,
                        }));
                    }
                    false => continue,
                }
            };
            if !content.owner.is_gone() && !self.stands_still(epoch) {
                return Ok(Attempt::Theirs(content.owner));
            }
            if let Some(claim) = self.make(epoch + 1)? {
                return Ok(Attempt::Ours(claim));
            }
        }
        Err(io::Error::other(format!("{}: the claim changes too often", self.folder.display())))
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("claim-{epoch}"))
    }

    fn beat(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("beat-{epoch}"))
    }

    fn last_epoch(&self) -> io::Result<Option<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter_map(|name| name.strip_prefix("claim-")?.parse().ok()).max())
    }

    /// Whether the counter of an epoch has not moved for as long as patience lasts, on our clock.
    fn stands_still(&mut self, epoch: u64) -> bool {
        let counter = fs::read_to_string(self.beat(epoch)).unwrap_or_default();
        match &self.seen {
            Some((seen, was, since)) if *seen == epoch && *was == counter => {
                since.elapsed() >= self.pace.patience.max(self.pace.heartbeat * 5)
            }
            _ => {
                self.seen = Some((epoch, counter, Instant::now()));
                false
            }
        }
    }

    fn make(&self, epoch: u64) -> io::Result<Option<Claim>> {
        let nonce = disk::nonce();
        let content = Content { nonce: nonce.clone(), owner: Owner::this() };
        let bytes = serde_json::to_vec(&content).map_err(io::Error::other)?;
        let temporary = self.folder.join(format!("temporary-{nonce}"));
        match disk::write_whole(&temporary, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        }
        let path = self.path(epoch);
        if let Err(error) = fs::hard_link(&temporary, &path)
            && !path.exists()
            && error.kind() != io::ErrorKind::NotFound
        {
            // No hard links here: whoever creates the file has the claim.
            use io::Write;
            if let Ok(mut file) = fs::File::options().write(true).create_new(true).open(&path) {
                file.write_all(&bytes)?;
                file.sync_all()?;
            }
        }
        let _ = fs::remove_file(&temporary);
        let ours = read(&path).is_some_and(|found| found.nonce == nonce);
        Ok(ours.then(|| self.begin(epoch)))
    }

    fn begin(&self, epoch: u64) -> Claim {
        let (stop, stopped) = mpsc::channel::<()>();
        let (file, every) = (self.beat(epoch), self.pace.heartbeat);
        let heart = std::thread::spawn(move || {
            let mut count: u64 = 0;
            loop {
                // A missed beat is only a sign of life less.
                let temporary = file.with_extension("tmp");
                if fs::write(&temporary, count.to_string()).is_ok() {
                    let _ = fs::rename(&temporary, &file);
                }
                count += 1;
                if stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Claim { folder: self.folder.clone(), epoch, stop: Some(stop), heart: Some(heart) }
    }
}

fn read(path: &Path) -> Option<Content> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Pace =
        Pace { heartbeat: Duration::from_millis(10), patience: Duration::from_millis(100) };

    fn ours(attempt: Attempt) -> Option<Claim> {
        match attempt {
            Attempt::Ours(claim) => Some(claim),
            Attempt::Theirs(_) => None,
        }
    }

    #[test]
    fn one_of_many_gets_the_claim_and_the_next_after_its_release() {
        let folder = tempfile::tempdir().unwrap();
        let key = Digest::of(b"key");
        let claims: Vec<Option<Claim>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| ours(Claimant::new(folder.path(), key, FAST).attempt().unwrap()))
                })
                .collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().flatten().count(), 1);
        drop(claims);
        assert!(ours(Claimant::new(folder.path(), key, FAST).attempt().unwrap()).is_some());
    }

    #[test]
    fn a_living_claim_is_left_alone_and_a_still_one_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let key = Digest::of(b"key");
        let living = ours(Claimant::new(folder.path(), key, FAST).attempt().unwrap()).unwrap();
        let mut other = Claimant::new(folder.path(), key, FAST);
        for _ in 0..10 {
            assert!(ours(other.attempt().unwrap()).is_none());
            std::thread::sleep(Duration::from_millis(30));
        }
        drop(living);
        // A claim of another machine that nobody tends.
        let path = folder.path().join(key.to_string());
        fs::create_dir_all(&path).unwrap();
        let owner = Owner { host: "elsewhere".into(), process: 1, space: None, started: None };
        let content = Content { nonce: "theirs".into(), owner };
        fs::write(path.join("claim-1"), serde_json::to_vec(&content).unwrap()).unwrap();
        assert!(ours(other.attempt().unwrap()).is_none());
        std::thread::sleep(Duration::from_millis(120));
        let taken = ours(other.attempt().unwrap()).expect("taken over");
        assert_eq!(taken.epoch, 2);
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn the_claim_of_a_process_that_is_gone_is_taken_over_at_once() {
        let this = Owner::this();
        if this.space.is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let key = Digest::of(b"key");
        let path = folder.path().join(key.to_string());
        fs::create_dir_all(&path).unwrap();
        // A process of this number lives, but it began at another time.
        let owner = Owner { started: Some("0".into()), ..this };
        let content = Content { nonce: "theirs".into(), owner };
        fs::write(path.join("claim-1"), serde_json::to_vec(&content).unwrap()).unwrap();
        assert!(
            ours(Claimant::new(folder.path(), key, Pace::default()).attempt().unwrap()).is_some()
        );
    }
}
