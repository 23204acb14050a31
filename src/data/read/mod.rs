//! Reading users' files into tables: which format, which columns, which labels. One file per
//! format; `raw` holds what they give, `encoding` turns bytes into text, `finish` makes the table.

mod cells;
mod conll;
mod delimited;
mod encoding;
mod finish;
mod ipc;
mod json_lines;
mod lines;
mod narrow;
mod parquet;
mod probe;
mod raw;
mod records;
mod squad;

pub(super) use ipc::guarded;

pub use encoding::{Encoding, read_text};
pub use finish::{ReadReport, SourceFile, read_table, read_tables};
pub use probe::{Header, LabelSample, header, probe};

use super::error::{DataError, Fault, Result};
use super::tagging::Scheme;
use crate::base::suggest;
use raw::Raw;
use std::path::{Path, PathBuf};

/// Which column of a file is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnRef {
    Name(String),
    /// Counted from 0.
    Number(usize),
    /// Several columns whose values are a list together.
    Several(Vec<ColumnRef>),
}

impl std::fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColumnRef::Name(name) => f.write_str(name),
            ColumnRef::Number(number) => write!(f, "{number}"),
            ColumnRef::Several(columns) => {
                let names: Vec<String> = columns.iter().map(ColumnRef::to_string).collect();
                write!(f, "[{}]", names.join(", "))
            }
        }
    }
}

impl ColumnRef {
    /// The columns meant, one by one.
    pub(in crate::data) fn each(&self) -> &[ColumnRef] {
        match self {
            ColumnRef::Several(columns) => columns,
            one => std::slice::from_ref(one),
        }
    }
}

/// What happens to tags that name entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TagScheme {
    /// IOB1 becomes IOB2, everything else stays.
    #[default]
    Usual,
    /// They stay as they are.
    AsIs,
    /// They become this scheme.
    To(Scheme),
}

/// What happens to a row in which a mapped column has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It is an error with its file and line.
    #[default]
    Error,
    /// The row is left out, and counted.
    Drop,
    /// The row stays.
    Keep,
}

/// How a quoted field is written in delimited text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Every character is ordinary, as in GLUE's files.
    None,
    /// This character opens and closes a field; doubled inside, it stands for itself.
    Char(u8),
}

/// How to read files. The defaults read what the extension promises.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// A format's name; by the extension where it is `None`.
    pub format: Option<String>,
    /// Name in the table → column of the file. Other columns keep their names.
    pub columns: Vec<(String, ColumnRef)>,
    /// Whether the first row holds names. By default yes, unless a column is given by number.
    pub header: Option<bool>,
    /// By default a comma for csv, a tab for tsv.
    pub delimiter: Option<u8>,
    /// By default `"` for csv, none for tsv.
    pub quote: Option<Quote>,
    pub encoding: Encoding,
    /// The names of the classes in order; an integer k in the label column means name k.
    pub labels: Option<Vec<String>>,
    /// Splits the label column into several labels a row.
    pub label_separator: Option<String>,
    pub missing: Missing,
    /// Of the column `tags`.
    pub scheme: TagScheme,
    /// Only the first rows.
    pub limit: Option<usize>,
    /// Every line is a value of this column, whatever the extension.
    pub line_column: Option<String>,
}

impl ReadOptions {
    /// The same for a file whose lines are one column, where there is one.
    pub fn of_column(&self, column: Option<&str>) -> ReadOptions {
        match column {
            None => self.clone(),
            Some(column) => ReadOptions {
                line_column: Some(column.to_string()),
                format: Some("text".to_string()),
                ..self.clone()
            },
        }
    }

    fn has_header(&self) -> bool {
        self.header.unwrap_or_else(|| {
            let mut all = self.columns.iter().flat_map(|(_, column)| column.each());
            !all.any(|column| matches!(column, ColumnRef::Number(_)))
        })
    }

    /// Whether a column of a file is part of the table although not all of them are: it is named
    /// in `columns`, or it plays a role that no other is given for.
    fn asks_for(&self, at: usize, name: &str, roles: &[(&'static str, usize)]) -> bool {
        let mut given = self.columns.iter().flat_map(|(_, column)| column.each());
        given.any(|column| match column {
            ColumnRef::Name(wanted) => wanted == name,
            ColumnRef::Number(number) => *number == at,
            ColumnRef::Several(_) => false,
        }) || roles.iter().any(|(role, place)| {
            *place == at && !self.columns.iter().any(|(given, _)| given == role)
        })
    }
}

/// A file format: how a file of it becomes named columns.
pub struct Format {
    pub name: &'static str,
    /// Extensions without the dot, in lower case; also under `.gz` where `text`.
    pub extensions: &'static [&'static str],
    /// One line for the documentation.
    pub about: &'static str,
    /// Whether the file is text, so that it may be compressed and has an encoding.
    text: bool,
    /// Reads at most `limit` rows. `name`: the file, as messages show it.
    read: ReadFile,
    /// The same for the first rows, without reading the file whole, and how many rows there are:
    /// exactly, or about.
    peek: PeekFile,
}

type ReadFile = fn(&Path, &str, &ReadOptions, Option<usize>) -> Result<Raw>;
type PeekFile = fn(&Path, &str, &ReadOptions, usize) -> Result<(Raw, Count)>;

/// How many rows a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Exactly(u64),
    About(u64),
}

/// Every format that can be read.
pub const FORMATS: &[Format] = &[
    delimited::CSV,
    delimited::TSV,
    json_lines::JSON_LINES,
    parquet::PARQUET,
    ipc::ARROW,
    conll::CONLL,
    conll::CONLLU,
    squad::SQUAD,
    lines::TEXT,
];

/// The format of a file: the one that was named, else the one of its extension.
pub fn format_of(path: &Path, options: &ReadOptions) -> Result<&'static Format> {
    if let Some(name) = &options.format {
        return FORMATS.iter().find(|format| format.name == name).ok_or_else(|| {
            let names = FORMATS.iter().map(|format| format.name);
            DataError::new(
                Fault::Format,
                format!("there is no format `{name}`; there are {}", suggest::list(names.clone())),
            )
            .subject(name)
            .nearest(suggest::nearest(name, names))
        });
    }
    let lower =
        path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let packed = lower.ends_with(".gz");
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    let extension = plain.rsplit_once('.').map(|(_, extension)| extension);
    FORMATS
        .iter()
        .filter(|format| format.text || !packed)
        .find(|format| extension.is_some_and(|extension| format.extensions.contains(&extension)))
        .ok_or_else(|| {
            let found = match extension {
                Some(extension) => format!("the extension `.{extension}` names no format"),
                None => "the file has no extension that names its format".to_string(),
            };
            DataError::new(Fault::Format, found).file(path).help(format!(
                "say `format = …`: one of {}",
                suggest::list(FORMATS.iter().map(|format| format.name))
            ))
        })
}

/// The files that a path or a pattern (`*`, `?`, `[…]`, `**`) names, sorted by name, sought beside
/// each of `roots` in turn; the first root that has any wins.
///
/// # Errors
/// Nothing is there under that name in any root.
pub fn find_files(pattern: &str, roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let is_pattern = pattern.contains(['*', '?', '[']);
    for root in roots {
        let path = root.join(pattern);
        // A file whose name holds a bracket is meant before the pattern that it might be.
        if path.is_file() {
            return Ok(vec![path]);
        }
        if is_pattern {
            let escaped = glob::Pattern::escape(&root.to_string_lossy());
            let full = if Path::new(pattern).is_absolute() || escaped.is_empty() {
                pattern.to_string()
            } else {
                format!("{escaped}/{pattern}")
            };
            let found = glob::glob(&full).map_err(|error| {
                DataError::new(
                    Fault::NotFound,
                    format!("the pattern `{pattern}` is broken: {error}"),
                )
                .subject(pattern)
            })?;
            let mut files: Vec<PathBuf> = found.flatten().filter(|path| path.is_file()).collect();
            files.sort();
            if !files.is_empty() {
                return Ok(files);
            }
        } else if path.is_dir() {
            return Err(DataError::new(Fault::NotFound, "is a folder, not a file")
                .file(pattern)
                .subject(pattern)
                .help(format!("name its files, as in `{}/*.csv`", pattern.trim_end_matches('/'))));
        }
    }
    let message = if is_pattern { "no file matches" } else { "the file does not exist" };
    let mut error = DataError::new(Fault::NotFound, message).file(pattern).subject(pattern);
    if let Some(near) = neighbour(pattern, roots) {
        error = error.nearest(Some(&near)).help(format!("did this mean `{near}`?"));
    } else if !roots.is_empty() && Path::new(pattern).is_relative() {
        let sought: Vec<String> =
            roots
                .iter()
                .map(|root| {
                    if root.as_os_str().is_empty() {
                        ".".into()
                    } else {
                        root.display().to_string()
                    }
                })
                .collect();
        error = error.help(format!("it was sought in {}", sought.join(", ")));
    }
    Err(error)
}

/// A file of the same folder with a similar name.
fn neighbour(pattern: &str, roots: &[PathBuf]) -> Option<String> {
    let path = Path::new(pattern);
    let wanted = path.file_name()?.to_string_lossy().to_string();
    for root in roots {
        let folder = root.join(path.parent().unwrap_or(Path::new("")));
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().to_string())
            .collect();
        names.sort();
        if let Some(near) = suggest::nearest(&wanted, names.iter().map(String::as_str)) {
            return Some(path.with_file_name(near).to_string_lossy().to_string());
        }
    }
    None
}

/// The names of a label file: line k (counted from 0) names class k.
pub fn read_label_names(path: &Path) -> Result<Vec<String>> {
    let text = read_text(path, &path.display().to_string(), Encoding::Utf8)?;
    let mut names: Vec<String> = text.lines().map(|line| line.trim_end().to_string()).collect();
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    for (at, name) in names.iter().enumerate() {
        let fault = |message: &str| {
            Err(DataError::new(Fault::Label, message).file(path).line(at as u64 + 1))
        };
        if name.is_empty() {
            return fault("an empty line stands where a label is named");
        }
        if names.iter().take(at).any(|earlier| earlier == name) {
            return fault(&format!("the label `{name}` is named twice"));
        }
    }
    if names.is_empty() {
        return Err(DataError::new(Fault::Label, "the file names no label").file(path));
    }
    Ok(names)
}

#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod tests;
