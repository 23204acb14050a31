//! Placing what `save` made where the program wants it. The store keeps the object; the place is
//! looked at in every run, and written again where it is absent or different.
//!
//! Files that somebody else put into a folder of ours stay. A folder that is not ours is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk;
use super::store::{PartRecord, Store, io_error};
use crate::base::{Code, Digest};
use crate::step::StepError;

/// What was placed somewhere: files and their digests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    to: String,
    files: BTreeMap<String, Digest>,
}

/// Where the note about a place lies. Places beside the program are known by their path there, so
/// that moving the whole folder changes nothing.
fn note_path(store: &Store, base: &Path, to: &str) -> PathBuf {
    let place = base.join(to);
    let name = match place.strip_prefix(base) {
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => place.to_string_lossy().into_owned(),
    };
    store.folder("placed").join(format!("{}.json", Digest::of(name.as_bytes()).short()))
}

fn note(store: &Store, base: &Path, to: &str) -> Option<Note> {
    serde_json::from_slice(&fs::read(note_path(store, base, to)).ok()?).ok()
}

fn refused(place: &Path, what: &str) -> StepError {
    StepError::new(Code::E0701, format!("{} {what}", place.display()))
        .argument("to")
        .help("name another place, or say `overwrite = true`")
}

/// Whether a place may be written, before anything runs. What the step will make is not known here.
pub fn check(store: &Store, base: &Path, to: &str, overwrite: bool) -> Result<(), StepError> {
    let place = base.join(to);
    if overwrite || note(store, base, to).is_some() {
        return Ok(());
    }
    if place.is_dir() {
        let files = disk::files_below(&place).map_err(|error| io_error(&place, &error))?;
        // Equal content counts as ours: the store may have been deleted meanwhile.
        let known =
            || disk::folder_digest(&place).is_ok_and(|digest| store.object(digest).exists());
        if !files.is_empty() && !known() && !looks_ours(&place) {
            return Err(refused(&place, "is a folder with files that ftrun did not write"));
        }
    }
    Ok(())
}

/// A folder that an earlier ftrun placed, whose notes are gone, is told from others only when its
/// new content is known: it passes the first check if it holds a model and nothing else.
fn looks_ours(place: &Path) -> bool {
    place.join("model.safetensors").is_file() && place.join("config.json").is_file()
}

/// Puts an object in its place. Whether anything was written.
pub fn place(
    store: &Store,
    base: &Path,
    to: &str,
    part: &PartRecord,
    overwrite: bool,
) -> Result<(PathBuf, bool), StepError> {
    /// Another process may be placing the same files: each has the place for a moment.
    const ATTEMPTS: u32 = 50;
    let place = base.join(to);
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt(store, base, to, part, overwrite) {
            Ok(written) => return Ok((place, written)),
            Err(Trouble::Refused(error)) => return Err(error),
            Err(Trouble::Io(error)) => {
                let crossed = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::AlreadyExists
                        | io::ErrorKind::DirectoryNotEmpty
                );
                if !crossed || attempts == ATTEMPTS {
                    return Err(io_error(&place, &error));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

enum Trouble {
    Refused(StepError),
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Io(error)
    }
}

fn attempt(
    store: &Store,
    base: &Path,
    to: &str,
    part: &PartRecord,
    overwrite: bool,
) -> Result<bool, Trouble> {
    let place = base.join(to);
    let object = store.object(part.object);
    let refuse = |what: &str| Err(Trouble::Refused(refused(&place, what)));
    let wanted = digests(&object, part.file.as_deref())?;
    let earlier = note(store, base, to);
    let name = note_path(store, base, to);
    let remember = |files: BTreeMap<String, Digest>| -> io::Result<()> {
        let note = Note { to: to.to_string(), files };
        disk::write_whole(&name, &serde_json::to_vec_pretty(&note).map_err(io::Error::other)?)
    };
    if let Some(file) = &part.file {
        if place.is_dir() {
            return refuse("is a folder, and a file is to be written");
        }
        let digest = wanted.values().next().copied();
        let there = if place.is_file() { disk::file_digest(&place).ok() } else { None };
        let ours = earlier.is_some() || there.is_none() || there == digest;
        if !ours && !overwrite {
            return refuse("is a file that ftrun did not write");
        }
        let changed = there != digest;
        if changed {
            let bytes = fs::read(object.join(file))?;
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            disk::write_whole(&place, &bytes)?;
        }
        if changed || earlier.is_none() {
            remember(wanted)?;
        }
        return Ok(changed);
    }
    if place.is_file() {
        return refuse("is a file, and a folder is to be written");
    }
    let there = if place.is_dir() { digests(&place, None)? } else { BTreeMap::new() };
    let same = wanted.iter().all(|(name, digest)| there.get(name) == Some(digest));
    let ours = earlier.as_ref().map(|note| &note.files);
    let left_over = ours
        .into_iter()
        .flatten()
        .any(|(name, _)| !wanted.contains_key(name) && there.contains_key(name));
    if same && !left_over && place.is_dir() {
        if earlier.is_none_or(|note| note.files != wanted) {
            remember(wanted)?;
        }
        return Ok(false);
    }
    if earlier.is_none() && !there.is_empty() && !overwrite {
        return refuse("is a folder with files that ftrun did not write");
    }
    // Whatever is neither in the new object nor from an earlier one belongs to somebody else.
    let theirs = |name: &&String| {
        !wanted.contains_key(*name) && !ours.is_some_and(|files| files.contains_key(*name))
    };
    let others: Vec<String> = there.keys().filter(theirs).cloned().collect();
    replace(&place, &object, &others)?;
    remember(wanted)?;
    Ok(true)
}

fn digests(folder: &Path, only: Option<&str>) -> io::Result<BTreeMap<String, Digest>> {
    disk::files_below(folder)?
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| only == name))
        .map(|(name, path)| Ok((name, disk::file_digest(&path)?)))
        .collect()
}

/// Makes the new folder beside the old one, then changes their names.
fn replace(place: &Path, object: &Path, others: &[String]) -> io::Result<()> {
    let parent = place.parent().unwrap_or(Path::new(".")).to_path_buf();
    fs::create_dir_all(&parent)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fresh = parent.join(format!(".{name}.{}.tmp", disk::nonce()));
    let old = parent.join(format!(".{name}.{}.old", disk::nonce()));
    let made = (|| {
        disk::copy_tree(object, &fresh)?;
        for other in others {
            let target = fresh.join(other);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(place.join(other), target)?;
        }
        disk::sync_tree(&fresh)?;
        if place.exists() {
            fs::rename(place, &old)?;
        }
        if let Err(error) = fs::rename(&fresh, place) {
            let _ = fs::rename(&old, place);
            return Err(error);
        }
        disk::sync_folder(&parent)
    })();
    let _ = fs::remove_dir_all(&fresh);
    if made.is_ok() {
        let _ = fs::remove_dir_all(&old);
    }
    made
}
