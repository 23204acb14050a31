//! The store: immutable objects named by the digest of their files, and records that say which
//! objects a key's step made. A record is written last, and only once.
//!
//! Whatever cannot be read as it was written is a miss: it is moved to `damaged/` and reported.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk;
use super::key::Document;
use crate::base::{Code, Digest};
use crate::schema::PortType;
use crate::step::store as codec;
use crate::step::{StepError, Value};

/// What a step made under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Digest,
    pub document: Document,
    /// In the order of the kind's declaration.
    pub outputs: Vec<OutputRecord>,
    /// The class of the numbers; no part of the key.
    pub class: String,
    /// What a user should know of it whenever it is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
    pub parts: Vec<PartRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The table's name, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Over what it says: later keys are computed from it.
    pub content: Digest,
    /// Over the files that hold it: the object's name.
    pub object: Digest,
    /// The object is this one file, not a folder of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl OutputRecord {
    /// `None` only if the record was made by another version.
    pub fn port_type(&self) -> Option<PortType> {
        codec::parse_word(&self.ty)
    }

    /// The content digest of the output, or of one of its parts.
    pub fn content(&self, field: Option<&str>) -> Option<Digest> {
        match field {
            Some(field) => match (self.part(field), self.group(field)) {
                (Some(part), _) => Some(part.content),
                (None, group) if group.parts.is_empty() => None,
                (None, group) => group.content(None),
            },
            None => match self.parts.as_slice() {
                [part] if part.name.is_none() => Some(part.content),
                parts => {
                    let named =
                        parts.iter().map(|part| (part.name.as_deref().unwrap_or(""), part.content));
                    Some(codec::join_digests(self.port_type()?, named))
                }
            },
        }
    }

    /// The parts whose names begin with `field` and a dot, under what follows: `fold_1` stands for
    /// `fold_1.train` and `fold_1.validation`.
    pub fn group(&self, field: &str) -> OutputRecord {
        let inside = |part: &PartRecord| {
            let name = part.name.as_deref()?.strip_prefix(field)?.strip_prefix('.')?;
            Some(PartRecord { name: Some(name.to_string()), ..part.clone() })
        };
        OutputRecord { parts: self.parts.iter().filter_map(inside).collect(), ..self.clone() }
    }

    pub fn part(&self, field: &str) -> Option<&PartRecord> {
        self.parts.iter().find(|part| part.name.as_deref() == Some(field))
    }
}

impl Record {
    pub fn output(&self, name: &str) -> Option<&OutputRecord> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The same results, whatever files hold them.
    pub fn agrees_with(&self, other: &Record) -> bool {
        let contents = |record: &Record| -> Vec<(String, Option<Digest>)> {
            record
                .outputs
                .iter()
                .map(|output| (output.name.clone(), output.content(None)))
                .collect()
        };
        contents(self) == contents(other)
    }
}

/// A record as it lies in its file, with a digest over its text.
#[derive(Serialize, Deserialize)]
struct Sealed {
    digest: Digest,
    record: serde_json::Value,
}

/// What is found under a key.
#[derive(Debug)]
pub enum Lookup {
    Hit(Box<Record>),
    Absent,
    /// Something was there and cannot be used; what it was.
    Damaged(String),
}

/// How publishing a record ended.
#[derive(Debug)]
pub enum Published {
    Ours,
    /// Another process was first.
    Theirs(Box<Record>),
}

pub struct Store {
    root: PathBuf,
    /// Objects that this process has verified or written.
    verified: RefCell<BTreeSet<Digest>>,
}

const FORMAT: &str = "ftrun store 1\n";

impl Store {
    /// A store that may not exist yet; reading from it finds nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), verified: RefCell::default() }
    }

    /// Makes the store's folders.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<Self> {
        let store = Self::at(root);
        for folder in ["objects", "records", "claims", "scratch", "temporary", "runs", "placed"] {
            fs::create_dir_all(store.root.join(folder))?;
        }
        let format = store.root.join("format");
        match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => {
                return Err(io::Error::other(format!(
                    "the store was made by another version (`{}`); move it away to begin a new one",
                    found.trim()
                )));
            }
            Err(_) => {
                disk::write_whole(&format, FORMAT.as_bytes())?;
                // What is cached here belongs in no repository.
                disk::write_whole(&store.root.join(".gitignore"), b"*\n")?;
            }
        }
        Ok(store)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a step's unfinished work lies.
    pub fn scratch(&self, key: Digest) -> PathBuf {
        self.root.join("scratch").join(key.to_string())
    }

    pub fn object(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("objects").join(&name[..2]).join(name)
    }

    fn record_path(&self, key: Digest) -> PathBuf {
        let name = key.to_string();
        self.root.join("records").join(&name[..2]).join(format!("{name}.json"))
    }

    /// Reads what a key's step made, and verifies every object of it.
    pub fn lookup(&self, key: Digest) -> Lookup {
        let path = self.record_path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Lookup::Absent,
            Err(error) => return Lookup::Damaged(format!("{}: {error}", path.display())),
        };
        let Some(record) = unseal(&bytes).filter(|record| record.key == key) else {
            return Lookup::Damaged(format!("the record {} is damaged", path.display()));
        };
        for output in &record.outputs {
            for part in &output.parts {
                if let Err(what) = self.verify(part.object) {
                    return Lookup::Damaged(what);
                }
            }
        }
        Lookup::Hit(Box::new(record))
    }

    /// The key document of a record, without looking at its objects.
    pub fn document(&self, key: Digest) -> Option<Document> {
        unseal(&fs::read(self.record_path(key)).ok()?).map(|record| record.document)
    }

    /// How many bytes the objects of a record take; `None` if there is no such record.
    pub fn size(&self, key: Digest) -> Option<u64> {
        let record = unseal(&fs::read(self.record_path(key)).ok()?)?;
        let parts = record.outputs.iter().flat_map(|output| &output.parts);
        let objects: BTreeSet<Digest> = parts.map(|part| part.object).collect();
        let sizes = objects.into_iter().flat_map(|object| {
            let files = disk::files_below(&self.object(object)).unwrap_or_default();
            files.into_iter().filter_map(|(_, path)| fs::metadata(path).ok()).map(|file| file.len())
        });
        Some(sizes.sum())
    }

    /// Takes a record away, so that its step runs again; gives what it said.
    pub fn withdraw(&self, key: Digest) -> io::Result<Option<Record>> {
        let path = self.record_path(key);
        let record = fs::read(&path).ok().and_then(|bytes| unseal(&bytes));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(record),
        }
    }

    fn verify(&self, object: Digest) -> Result<(), String> {
        if self.verified.borrow().contains(&object) {
            return Ok(());
        }
        let folder = self.object(object);
        let found = disk::folder_digest(&folder)
            .map_err(|error| format!("the object {} cannot be read: {error}", folder.display()))?;
        if found != object {
            return Err(format!("the object {} is damaged", folder.display()));
        }
        self.verified.borrow_mut().insert(object);
        Ok(())
    }

    /// Moves a record and its damaged objects out of the way, so that the step can run again.
    pub fn set_aside(&self, key: Digest) -> io::Result<()> {
        let path = self.record_path(key);
        let objects: Vec<Digest> = fs::read(&path)
            .ok()
            .and_then(|bytes| unseal(&bytes))
            .map(|record| {
                record
                    .outputs
                    .iter()
                    .flat_map(|output| &output.parts)
                    .map(|part| part.object)
                    .collect()
            })
            .unwrap_or_default();
        self.bury(&path)?;
        for object in objects {
            if self.verify(object).is_err() {
                self.bury(&self.object(object))?;
            }
        }
        Ok(())
    }

    fn bury(&self, path: &Path) -> io::Result<()> {
        let damaged = self.root.join("damaged");
        fs::create_dir_all(&damaged)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match fs::rename(path, damaged.join(format!("{}-{name}", disk::nonce()))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Stores what a step made. The objects are there when this returns; the record is not.
    pub fn put(&self, name: &str, value: &Value) -> Result<OutputRecord, StepError> {
        let parts = codec::parts(value)
            .into_iter()
            .map(|(name, part)| self.put_part(name, &part))
            .collect::<Result<_, _>>()?;
        Ok(OutputRecord { name: name.to_string(), ty: codec::word(value.ty()).to_string(), parts })
    }

    fn put_part(&self, name: Option<String>, value: &Value) -> Result<PartRecord, StepError> {
        let temporary = self.root.join("temporary").join(disk::nonce());
        let stored = (|| {
            fs::create_dir_all(&temporary).map_err(|error| io_error(&temporary, &error))?;
            let mut file = None;
            if let Value::Folder(from) = value {
                if from.is_file() {
                    let only = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    fs::copy(from, temporary.join(&only))
                        .map_err(|error| io_error(from, &error))?;
                    file = Some(only);
                } else {
                    disk::copy_tree(from, &temporary).map_err(|error| io_error(from, &error))?;
                }
            } else {
                codec::write(value, &temporary)?;
            }
            disk::sync_tree(&temporary).map_err(|error| io_error(&temporary, &error))?;
            let object =
                disk::folder_digest(&temporary).map_err(|error| io_error(&temporary, &error))?;
            self.settle(&temporary, object).map_err(|error| io_error(&temporary, &error))?;
            let content = codec::digest(value)?.unwrap_or(object);
            Ok(PartRecord { name, content, object, file })
        })();
        // Left only after a failure, or if the object was there already.
        let _ = fs::remove_dir_all(&temporary);
        stored
    }

    /// Gives a finished temporary its name. An equal object that is there already wins, unless it
    /// is damaged.
    fn settle(&self, temporary: &Path, object: Digest) -> io::Result<()> {
        let target = self.object(object);
        let folder = target.parent().unwrap_or(&self.root).to_path_buf();
        fs::create_dir_all(&folder)?;
        if target.exists() && self.verify(object).is_err() {
            self.bury(&target)?;
        }
        match fs::rename(temporary, &target) {
            Ok(()) => disk::sync_folder(&folder)?,
            Err(_) if target.exists() => {}
            Err(error) => return Err(error),
        }
        self.verified.borrow_mut().insert(object);
        Ok(())
    }

    /// Writes a record if there is none under its key.
    pub fn publish(&self, record: &Record) -> Result<Published, StepError> {
        let path = self.record_path(record.key);
        let folder = path.parent().unwrap_or(&self.root).to_path_buf();
        let temporary = folder.join(format!(".{}.tmp", disk::nonce()));
        let outcome = (|| {
            fs::create_dir_all(&folder)?;
            disk::write_whole(&temporary, &seal(record)?)?;
            let linked = match fs::hard_link(&temporary, &path) {
                Err(error) if !path.exists() && error.kind() != io::ErrorKind::AlreadyExists => {
                    // A file system without hard links: the rename is as atomic, but may replace.
                    fs::rename(&temporary, &path)
                }
                other => other,
            };
            disk::sync_folder(&folder)?;
            Ok(linked.is_ok())
        })();
        let _ = fs::remove_file(&temporary);
        match outcome.map_err(|error: io::Error| io_error(&path, &error))? {
            true => Ok(Published::Ours),
            false => match self.lookup(record.key) {
                Lookup::Hit(theirs) => Ok(Published::Theirs(theirs)),
                _ => Err(StepError::new(
                    Code::E0701,
                    format!(
                        "{}: another process's record is there and cannot be read",
                        path.display()
                    ),
                )),
            },
        }
    }

    /// Loads the only part of an output.
    pub fn load_alone(&self, output: &OutputRecord) -> Result<Value, StepError> {
        let ty = output.port_type().ok_or_else(|| {
            StepError::internal(format!("`{}` is of an unknown type `{}`", output.name, output.ty))
        })?;
        match output.parts.as_slice() {
            [part] => self.load_part(ty, part),
            _ => Err(StepError::internal(format!("`{}` has several parts", output.name))),
        }
    }

    fn load_part(&self, ty: PortType, part: &PartRecord) -> Result<Value, StepError> {
        self.verify(part.object).map_err(|what| StepError::new(Code::E0701, what))?;
        let folder = self.object(part.object);
        match &part.file {
            Some(name) => Ok(Value::Folder(folder.join(name))),
            None => codec::read(ty, &folder),
        }
    }
}

fn seal(record: &Record) -> io::Result<Vec<u8>> {
    let record = serde_json::to_value(record).map_err(io::Error::other)?;
    let digest = Digest::of(record.to_string().as_bytes());
    serde_json::to_vec_pretty(&Sealed { digest, record }).map_err(io::Error::other)
}

fn unseal(bytes: &[u8]) -> Option<Record> {
    let sealed: Sealed = serde_json::from_slice(bytes).ok()?;
    if Digest::of(sealed.record.to_string().as_bytes()) != sealed.digest {
        return None;
    }
    serde_json::from_value(sealed.record).ok()
}

pub fn io_error(path: &Path, error: &io::Error) -> StepError {
    let error = StepError::new(Code::E0701, error.to_string().to_lowercase()).at(path, None);
    match error.message.contains("no space") {
        true => {
            error.help("free some space and run the same command again: what is finished is kept")
        }
        false => error,
    }
}
