//! The probe that looks at the real disk: where files lie, what their headers say, what a model hub
//! has. Remembered for as long as the program is checked and run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::Settings;
use crate::base::suggest;
use crate::data::read::{SourceFile, find_files, probe};
use crate::data::{DataError, Header, ReadOptions};
use crate::step::{Missing, Place, Probe};

/// By repository and revision, with weights or without.
type Snapshots = BTreeMap<(String, String, bool), Result<PathBuf, Missing>>;
type Headers = BTreeMap<(PathBuf, String), Result<Arc<Header>, DataError>>;

pub struct DiskProbe {
    /// The program's folder first.
    data: Vec<PathBuf>,
    models: Vec<PathBuf>,
    headers: RefCell<Headers>,
    snapshots: RefCell<Snapshots>,
}

impl DiskProbe {
    /// `folder`: the program's.
    pub fn new(folder: &Path, settings: &Settings) -> Self {
        let roots = |more: &[PathBuf]| {
            std::iter::once(folder.to_path_buf()).chain(more.iter().cloned()).collect()
        };
        Self {
            data: roots(&settings.data),
            models: roots(&settings.models),
            headers: RefCell::default(),
            snapshots: RefCell::default(),
        }
    }
}

impl Probe for DiskProbe {
    fn locate(&self, path: &str, place: Place) -> Result<Vec<PathBuf>, Missing> {
        match place {
            Place::Data => find_files(path, &self.data).map_err(missing),
            Place::Models => {
                let found =
                    self.models.iter().map(|root| root.join(path)).find(|path| path.exists());
                found.map(|path| vec![path]).ok_or_else(|| absent(path, &self.models))
            }
        }
    }

    fn nearest(&self, path: &str, place: Place) -> Option<String> {
        match place {
            Place::Data => find_files(path, &self.data).err()?.nearest,
            Place::Models => near(path, &self.models),
        }
    }

    fn header(&self, path: &Path, options: &ReadOptions) -> Result<Arc<Header>, DataError> {
        let name = (path.to_path_buf(), format!("{options:?}"));
        if let Some(known) = self.headers.borrow().get(&name) {
            return known.clone();
        }
        let file = SourceFile::from(path.to_path_buf());
        let found = probe(&[("table".to_string(), vec![file])], options).and_then(|mut headers| {
            headers.swap_remove("table").map(Arc::new).ok_or_else(|| {
                DataError::new(crate::data::Fault::Format, "the file has no table").file(path)
            })
        });
        self.headers.borrow_mut().insert(name, found.clone());
        found
    }

    fn snapshot(
        &self,
        repo: &str,
        revision: &str,
        token: Option<&str>,
        weights: bool,
    ) -> Result<PathBuf, Missing> {
        let name = (repo.to_string(), revision.to_string(), weights);
        if let Some(known) = self.snapshots.borrow().get(&name) {
            return known.clone();
        }
        let found = {
            let token = token.and_then(|variable| std::env::var(variable).ok());
            let hub = crate::data::hub::Hub::from_env().with_token(token);
            hub.snapshot(repo, revision, weights).map(|found| found.folder).map_err(missing)
        };
        self.snapshots.borrow_mut().insert(name, found.clone());
        found
    }
}

fn missing(error: DataError) -> Missing {
    let place = match (&error.file, error.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    Missing { message: format!("{place}{}", error.message), help: error.help }
}

/// A folder that lies where `path` is sought and has a similar name.
fn near(path: &str, roots: &[PathBuf]) -> Option<String> {
    let wanted = Path::new(path);
    let name = wanted.file_name()?.to_string_lossy().into_owned();
    roots.iter().find_map(|root| {
        let folder = root.join(wanted.parent().unwrap_or(Path::new("")));
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let found = suggest::nearest(&name, names.iter().map(String::as_str))?;
        Some(wanted.with_file_name(found).display().to_string())
    })
}

/// A folder of models that is nowhere: what is there under a similar name.
fn absent(path: &str, roots: &[PathBuf]) -> Missing {
    let message = format!("{path}: the folder does not exist");
    if let Some(near) = near(path, roots) {
        return Missing { message, help: Some(format!("did this mean `{near}`?")) };
    }
    let sought: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    Missing {
        message,
        help: Some(format!(
            "it was sought in {}; `FTRUN_MODELS` and `paths.models` of ftrun.toml name more folders",
            sought.join(", ")
        )),
    }
}
