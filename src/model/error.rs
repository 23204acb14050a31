//! What can go wrong with a model's files: lower case, what was found, in which file, a way out.

use std::fmt;
use std::path::{Path, PathBuf};

/// A model cannot be read, built or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    /// The file that is at fault, where there is one.
    pub file: Option<PathBuf>,
    pub message: String,
    /// One sentence: the way out.
    pub help: Option<String>,
}

pub type Result<T> = std::result::Result<T, ModelError>;

impl ModelError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { file: None, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the file, unless a more exact place is known already.
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file.get_or_insert_with(|| file.to_path_buf());
        self
    }

    pub fn io(file: &Path, error: &std::io::Error) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "this file does not exist".to_string(),
            _ => format!("this file cannot be read or written: {error}"),
        };
        Self::new(message).in_file(file)
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ModelError {}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        Self::new(error.to_string())
    }
}
