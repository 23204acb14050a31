//! Digests of the files that lie outside the store, remembered by size, times and inode.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::disk;
use crate::base::Digest;

/// A file that changed so shortly before it was hashed may have changed again within the clock's
/// resolution: its digest is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    size: u64,
    /// Modification and status change, in nanoseconds since 1970.
    modified: i128,
    changed: i128,
    inode: u64,
    /// When hashing began.
    hashed: i128,
    digest: Digest,
}

/// Digests of external files. Lies in the store; losing it costs hashing again.
pub struct Files {
    path: PathBuf,
    known: RefCell<BTreeMap<String, Entry>>,
    altered: RefCell<bool>,
    /// `--rehash`: nothing remembered is believed.
    rehash: bool,
}

impl Files {
    /// What is remembered in `path`; nothing if it is not there or cannot be read.
    pub fn open(path: PathBuf, rehash: bool) -> Self {
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { path, known: RefCell::new(known), altered: RefCell::new(false), rehash }
    }

    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        let name = std::path::absolute(path)?.to_string_lossy().into_owned();
        let now = nanoseconds(SystemTime::now());
        let metadata = std::fs::metadata(path)?;
        let (size, modified, changed, inode) = traits(&metadata);
        if let Some(entry) = self.known.borrow().get(&name) {
            let same = (entry.size, entry.modified, entry.changed, entry.inode)
                == (size, modified, changed, inode);
            let settled = entry.hashed - modified.max(changed) >= SETTLED.as_nanos() as i128;
            if same && settled && !self.rehash {
                return Ok(entry.digest);
            }
        }
        let digest = disk::file_digest(path)?;
        let entry = Entry { size, modified, changed, inode, hashed: now, digest };
        self.known.borrow_mut().insert(name, entry);
        *self.altered.borrow_mut() = true;
        Ok(digest)
    }

    /// Keeps what was learned. Two processes that save at once lose nothing but time.
    pub fn save(&self) -> io::Result<()> {
        if !self.altered.replace(false) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&*self.known.borrow()).map_err(io::Error::other)?;
        disk::write_whole(&self.path, &bytes)
    }
}

fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

#[cfg(unix)]
fn traits(metadata: &Metadata) -> (u64, i128, i128, u64) {
    use std::os::unix::fs::MetadataExt;
    let time = |seconds: i64, nanoseconds: i64| {
        i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
    };
    (
        metadata.len(),
        time(metadata.mtime(), metadata.mtime_nsec()),
        time(metadata.ctime(), metadata.ctime_nsec()),
        metadata.ino(),
    )
}

#[cfg(not(unix))]
fn traits(metadata: &Metadata) -> (u64, i128, i128, u64) {
    let time = |time: io::Result<SystemTime>| time.map(nanoseconds).unwrap_or_default();
    (metadata.len(), time(metadata.modified()), time(metadata.created()), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the same size with its old modification time is still seen: its ctime moved.
    #[test]
    fn a_file_that_changed_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "aaa").unwrap();
        let files = Files::open(folder.path().join("files.json"), false);
        let first = files.digest(&path).unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "bbb").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(files.digest(&path).unwrap(), first);
    }

    #[test]
    fn a_settled_file_is_not_read_again_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "aaa").unwrap();
        let store = folder.path().join("files.json");
        let files = Files::open(store.clone(), false);
        let true_digest = files.digest(&path).unwrap();
        // As if it had been hashed long after it changed, with another result.
        let other = Digest::of(b"other");
        for entry in files.known.borrow_mut().values_mut() {
            entry.hashed += 10_000_000_000;
            entry.digest = other;
        }
        files.save().unwrap();
        assert_eq!(Files::open(store.clone(), false).digest(&path).unwrap(), other);
        assert_eq!(Files::open(store, true).digest(&path).unwrap(), true_digest);
    }

    #[test]
    fn a_damaged_memory_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, "aaa").unwrap();
        let store = folder.path().join("files.json");
        std::fs::write(&store, "{ half").unwrap();
        assert!(Files::open(store, false).digest(&path).is_ok());
    }
}
