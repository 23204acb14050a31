//! Tables as Arrow files, tokens as safetensors, tokenizers as the files they came in.

use std::collections::BTreeMap;
use std::path::Path;

use super::unreadable;
use crate::base::{Code, Digest};
use crate::data::{DataError, Table, Tokenizer, Tokens};
use crate::step::run::StepError;
use crate::step::value::Stored;

const TABLE: &str = "table.arrow";
const TOKENS: &str = "tokens.safetensors";

fn step_error(error: DataError) -> StepError {
    StepError::new(Code::E0701, error.to_string())
}

impl Stored for Table {
    fn digest(&self) -> Result<Digest, StepError> {
        Table::digest(self).map_err(step_error)
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        self.write_ipc(&folder.join(TABLE)).map_err(step_error)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        Table::read_ipc(&folder.join(TABLE)).map_err(step_error)
    }
}

impl Stored for Tokens {
    fn digest(&self) -> Result<Digest, StepError> {
        Ok(Tokens::digest(self))
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        Tokens::write(self, &folder.join(TOKENS)).map_err(step_error)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        Tokens::read(&folder.join(TOKENS)).map_err(step_error)
    }
}

impl Stored for Tokenizer {
    fn digest(&self) -> Result<Digest, StepError> {
        Ok(self.content())
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        for (name, bytes) in self.files() {
            super::write_file(&folder.join(name), bytes)?;
        }
        Ok(())
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        let mut files = BTreeMap::new();
        let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, &e.to_string()))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, &error.to_string()))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, &e.to_string()))?;
            files.insert(name.to_string(), bytes);
        }
        Tokenizer::from_files(files).map_err(step_error)
    }
}
