//! What can be wrong with data. The engine knows no spans: an error names the file and the line,
//! and, where one exists, the argument that asked for what is not there.

use crate::base::Code;
use std::fmt;
use std::path::Path;

/// Which kind of fault it is. Steps choose the code of their diagnostic by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A file or folder is not there, or a pattern matches nothing.
    NotFound,
    /// A file is there and cannot be read, or not be written.
    Unreadable,
    /// Bytes that the encoding does not know.
    Encoding,
    /// The form of a file: an unknown format, a header that is missing, a damaged parquet file.
    Format,
    /// A row that does not fit: number of fields, bad JSON, a value that is missing.
    Row,
    /// A column that is not there, is there twice, or has the wrong type.
    Column,
    /// A label that is no label.
    Label,
    /// An expression over columns, or an operation on a table.
    Operation,
    /// A split that cannot be made.
    Split,
    /// A tokenizer, or a text that it cannot encode.
    Tokenizer,
    /// The hub, or its cache.
    Hub,
}

impl Fault {
    /// The code under which it is reported.
    pub fn code(self) -> Code {
        match self {
            Fault::NotFound => Code::E0401,
            Fault::Unreadable | Fault::Encoding | Fault::Format => Code::E0402,
            Fault::Row => Code::E0403,
            Fault::Column => Code::E0404,
            Fault::Operation => Code::E0405,
            Fault::Label => Code::E0407,
            Fault::Split => Code::E0408,
            Fault::Tokenizer => Code::E0507,
            Fault::Hub => Code::E0701,
        }
    }
}

/// A fault in data, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataError {
    pub fault: Fault,
    /// The file, as the user would name it.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Lower case, one sentence without a full stop.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// The name that was asked for: a role of `columns`, a column, a file.
    pub subject: Option<String>,
    /// What it may have meant.
    pub nearest: Option<String>,
}

pub type Result<T, E = DataError> = std::result::Result<T, E>;

impl DataError {
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            file: None,
            line: None,
            message: message.into(),
            help: None,
            subject: None,
            nearest: None,
        }
    }

    /// The file, shown as it was given.
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.file = Some(file.as_ref().display().to_string());
        self
    }

    /// The line, counted from 1.
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub fn nearest(mut self, nearest: Option<&str>) -> Self {
        self.nearest = nearest.map(str::to_string);
        self
    }

    /// A failure of the operating system on `file`.
    pub fn io(file: impl AsRef<Path>, error: &std::io::Error) -> Self {
        let fault = match error.kind() {
            std::io::ErrorKind::NotFound => Fault::NotFound,
            _ => Fault::Unreadable,
        };
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "the file does not exist".to_string(),
            std::io::ErrorKind::PermissionDenied => "reading the file is not permitted".to_string(),
            _ => error.to_string().to_lowercase(),
        };
        DataError::new(fault, message).file(file)
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DataError {}
