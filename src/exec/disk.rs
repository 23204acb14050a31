//! Files that survive a crash: temporary, synced, renamed. Digests of files and folders.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::base::{Digest, Hasher};

/// Files are hashed in parts of this size, side by side. Part of every file's digest.
const CHUNK: u64 = 4 << 20;

/// A name that no other process and no other call uses.
pub fn nonce() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut hasher = Hasher::new("nonce");
    hasher.number(u64::from(std::process::id()));
    hasher.number(now.as_nanos() as u64);
    hasher.number(COUNTER.fetch_add(1, Ordering::Relaxed));
    // Two containers can share a clock and a process number; not the address space layout as well.
    hasher.number(&raw const COUNTER as u64);
    hasher.finish().short()
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".{}.tmp", nonce()));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(folder)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes renames in a folder durable. Where folders cannot be synced, that is all right.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(file) => {
            let _ = file.sync_all();
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs every file and folder below.
pub fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Every file below a folder, by its path there with `/`, sorted.
pub fn files_below(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if entry.path().is_dir() {
                walk(&entry.path(), &name, found)?;
            } else {
                found.push((name, entry.path()));
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found)?;
    found.sort();
    Ok(found)
}

/// The digest of a file's bytes.
pub fn file_digest(path: &Path) -> io::Result<Digest> {
    let length = fs::metadata(path)?.len();
    let chunks: Vec<Digest> = (0..length.div_ceil(CHUNK).max(1))
        .into_par_iter()
        .map(|chunk| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(chunk * CHUNK))?;
            let mut bytes = Vec::with_capacity(CHUNK.min(length) as usize);
            file.take(CHUNK).read_to_end(&mut bytes)?;
            Ok(Digest::of(&bytes))
        })
        .collect::<io::Result<_>>()?;
    let mut hasher = Hasher::new("file 1");
    hasher.number(length);
    chunks.iter().for_each(|chunk| {
        hasher.digest(chunk);
    });
    Ok(hasher.finish())
}

/// The digest of a folder: names and bytes of all files below it.
pub fn folder_digest(folder: &Path) -> io::Result<Digest> {
    let files = files_below(folder)?;
    let digests: Vec<Digest> =
        files.par_iter().map(|(_, path)| file_digest(path)).collect::<io::Result<_>>()?;
    let mut hasher = Hasher::new("folder 1");
    for ((name, _), digest) in files.iter().zip(&digests) {
        hasher.text(name).digest(digest);
    }
    Ok(hasher.finish())
}

/// Copies a folder with everything below it.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (name, path) in files_below(from)? {
        let target = to.join(&name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&path, &target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_digest_sees_names_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a"), "1").unwrap();
        fs::write(folder.path().join("b"), "2").unwrap();
        let first = folder_digest(folder.path()).unwrap();
        fs::write(folder.path().join("b"), "3").unwrap();
        let second = folder_digest(folder.path()).unwrap();
        fs::write(folder.path().join("b"), "2").unwrap();
        fs::rename(folder.path().join("sub/a"), folder.path().join("sub/c")).unwrap();
        let third = folder_digest(folder.path()).unwrap();
        assert!(first != second && first != third && second != third);
        let copy = tempfile::tempdir().unwrap();
        copy_tree(folder.path(), &copy.path().join("copy")).unwrap();
        assert_eq!(folder_digest(&copy.path().join("copy")).unwrap(), third);
    }

    #[test]
    fn long_files_are_hashed_in_parts_and_every_byte_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut bytes = vec![7u8; CHUNK as usize * 2 + 5];
        fs::write(&path, &bytes).unwrap();
        let first = file_digest(&path).unwrap();
        assert_eq!(first, file_digest(&path).unwrap());
        *bytes.last_mut().unwrap() = 8;
        fs::write(&path, &bytes).unwrap();
        assert_ne!(first, file_digest(&path).unwrap());
    }
}
