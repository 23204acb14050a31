//! `load-data`: files to tables. Reading is in `data::read`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::check::{CheckCx, Missing, Place, Probe};
use super::columns::{column_shapes, label_shape, report_fault, report_missing};
use super::run::{Event, RunCx, StepError};
use super::shape::{LabelShape, Shape, TableShape};
use super::value::{Report, Value};
use super::{Output, Step};
use crate::base::Code;
use crate::data::read::{
    ColumnRef, Encoding, Missing as MissingRows, Quote, SourceFile, TagScheme, read_tables,
};
use crate::data::tagging::Scheme;
use crate::data::{ColumnType, DataError, Fault, Labels, ReadOptions, count_shared, shared};
use crate::schema::{Map, OneOrMany, Or, PortType};
use crate::{params, variants};

params! {
    /// Files that follow each other as one table.
    pub struct Files {
        /// A path, a pattern such as `data/*.csv`, or a list of them. Sought beside the program,
        /// then in `paths.data` of `ftrun.toml` and in `FTRUN_DATA`.
        path: OneOrMany<String>, free, main;
    }
}

params! {
    /// Names of labels from a file.
    pub struct LabelFile {
        /// Line k, counted from 0, names label k.
        path: String, free, main;
    }
}

variants! {
    /// a source of rows
    pub enum Source {
        /// Files on this machine.
        Files(Files) = "files",
        /// Text files of which each holds one column: row k is line k of all of them.
        Parallel(Parallel) = "parallel",
    }
}

params! {
    /// Text files of which each holds one column, as `parallel({ text = "a.txt", label = "b.txt" })`.
    pub struct Parallel {
        /// Role or name of a column → its file.
        files: Map<String>, main;
    }
}

/// One file, or a pattern of several, of a source.
struct Part<'a> {
    /// The path of the argument that names it.
    argument: String,
    pattern: &'a str,
    /// The one column that it holds.
    column: Option<&'a str>,
}

impl Source {
    /// What it reads; `path` is that of its argument.
    fn parts(&self, path: &str) -> Vec<Part<'_>> {
        match self {
            Source::Files(files) => {
                let patterns = files.path.0.as_slice();
                let argument = |at: usize| match patterns.len() {
                    1 => format!("{path}.path"),
                    _ => format!("{path}.path.{at}"),
                };
                patterns
                    .iter()
                    .enumerate()
                    .map(|(at, pattern)| Part { argument: argument(at), pattern, column: None })
                    .collect()
            }
            Source::Parallel(parallel) => parallel
                .files
                .0
                .iter()
                .map(|(column, pattern)| Part {
                    argument: format!("{path}.files.{column}"),
                    pattern,
                    column: Some(column),
                })
                .collect(),
        }
    }
}

variants! {
    /// a source of label names
    pub enum LabelNames {
        /// A text file with one name a line.
        Files(LabelFile) = "files",
    }
}

variants! {
    /// a file format
    pub enum FileFormat {
        /// Fields between commas, quoted with `"` where needed.
        Csv = "csv",
        /// Fields between tabs, without quotes.
        Tsv = "tsv",
        /// One JSON object a line, or one array of objects.
        Jsonl = "jsonl",
        /// Apache Parquet.
        Parquet = "parquet",
        /// Apache Arrow IPC.
        Arrow = "arrow",
        /// One word a line with its tag behind a tab or blanks, an empty line between sentences.
        Conll = "conll",
        /// CoNLL-U: ten columns, of which `form` is the word and `upos` its tag.
        Conllu = "conllu",
        /// The JSON of SQuAD 1 and 2; a `.json` file laid out like it is recognised.
        Squad = "squad",
        /// Every line is a row with the one column `text`.
        Text = "text",
    }
}

variants! {
    /// a way to quote fields
    pub enum NoQuote {
        /// Quotes are ordinary characters.
        None = "none",
    }
}

variants! {
    /// a character encoding
    pub enum TextEncoding {
        /// UTF-8, with or without a byte order mark.
        Utf8 = "utf8",
        /// ISO 8859-1.
        Latin1 = "latin1",
    }
}

variants! {
    /// what happens to rows in which a column with a role has no value
    pub enum MissingValues {
        /// They are an error with file and line.
        Error = "error",
        /// They are left out, and counted.
        Drop = "drop",
        /// They stay: a missing text is empty, a missing label is not learned from.
        Keep = "keep",
    }
}

variants! {
    /// how tags name entities
    pub enum TagForm {
        /// The tags stay as they are.
        AsIs = "as_is",
        /// `B` only where an entity follows another one of its type.
        Iob1 = "iob1",
        /// Every entity begins with `B`.
        Iob2 = "iob2",
        /// `B I E`, and `S` for a single word; also called BIOES.
        Iobes = "iobes",
        /// `B I L`, and `U` for a single word.
        Bilou = "bilou",
    }
}

/// A column by its name in the file, or by its number counted from 0.
type ColumnName = Or<String, usize>;

params! {
    /// Reads tables from files.
    ///
    /// Columns get roles (`text`, `text_pair`, `label`, `id`, …) by which later steps find them;
    /// every other column keeps its name. A row without a column `id` is numbered. Labels that are
    /// names or whole numbers are classes, numbers with a decimal point are values, lists are
    /// several labels a row; class names are sorted, numbers by value, over all sources together. A
    /// row that cannot be read is an error with its file and line.
    ///
    /// The roles `words` and `tags` hold lists of one length: a sentence and the tag of each word.
    /// `question`, `context` and `answers` are an extractive question; where the answers begin is a
    /// column `answer_starts`, counted in characters, and a question without answers is one that
    /// its context does not answer. `choices` holds a list, or is given as a list of columns, and
    /// `label` is the right choice: its number counted from 0, its letter or its text.
    pub struct LoadData {
        /// The files, or a map from names of tables to their files.
        source: Or<Source, Map<Source>>;
        /// By the extension, also under `.gz`, if it is left out.
        format: Option<FileFormat>;
        /// Role or new name → the column's name in the file, or its number counted from 0. For
        /// `choices` also a list of columns.
        columns: Map<Or<ColumnName, Vec<ColumnName>>> = Map(Vec::new());
        /// Whether the first row holds the names. Without it: yes, unless a column is given by number.
        header: Option<bool>;
        /// One character between fields. A comma for csv, a tab for tsv.
        delimiter: Option<String>;
        /// The character around quoted fields, or `none`. `"` for csv, none for tsv.
        quote: Option<Or<NoQuote, String>>;
        /// Of text files.
        encoding: TextEncoding = TextEncoding::Utf8;
        /// The names of the labels, or of the tags, in their order. A whole number k in the data
        /// means name k, counted from 0.
        labels: Option<Or<Vec<String>, LabelNames>>;
        /// What stands between several labels of a row, such as `","`.
        label_separator: Option<String>;
        /// Rows without a text or a label.
        missing: MissingValues = MissingValues::Error;
        /// What `tags` are rewritten as. Left out: IOB1 becomes IOB2, all else stays.
        scheme: Option<TagForm>;
        /// Only so many rows from the start of every table.
        limit: Option<usize>, in (1, i64::MAX);
    }
}

impl LoadData {
    /// The name of each table, and what it is read from. One table has no name.
    fn sources(&self) -> Vec<(String, Vec<Part<'_>>)> {
        match &self.source {
            Or::First(source) => vec![(String::new(), source.parts("source"))],
            Or::Second(map) => map
                .0
                .iter()
                .map(|(name, source)| (name.clone(), source.parts(&format!("source.{name}"))))
                .collect(),
        }
    }

    /// All options but the label names.
    fn options(&self) -> ReadOptions {
        let byte = |text: &String| text.bytes().next();
        ReadOptions {
            format: self.format.as_ref().map(|format| {
                match format {
                    FileFormat::Csv => "csv",
                    FileFormat::Tsv => "tsv",
                    FileFormat::Jsonl => "jsonl",
                    FileFormat::Parquet => "parquet",
                    FileFormat::Arrow => "arrow",
                    FileFormat::Conll => "conll",
                    FileFormat::Conllu => "conllu",
                    FileFormat::Squad => "squad",
                    FileFormat::Text => "text",
                }
                .to_string()
            }),
            columns: self
                .columns
                .0
                .iter()
                .map(|(role, column)| {
                    let one = |column: &ColumnName| match column {
                        Or::First(name) => ColumnRef::Name(name.clone()),
                        Or::Second(number) => ColumnRef::Number(*number),
                    };
                    let column = match column {
                        Or::First(column) => one(column),
                        Or::Second(columns) => {
                            ColumnRef::Several(columns.iter().map(one).collect())
                        }
                    };
                    (role.clone(), column)
                })
                .collect(),
            header: self.header,
            delimiter: self.delimiter.as_ref().and_then(byte),
            quote: self.quote.as_ref().map(|quote| match quote {
                Or::First(NoQuote::None) => Quote::None,
                Or::Second(text) => byte(text).map_or(Quote::None, Quote::Char),
            }),
            encoding: match self.encoding {
                TextEncoding::Utf8 => Encoding::Utf8,
                TextEncoding::Latin1 => Encoding::Latin1,
            },
            labels: match &self.labels {
                Some(Or::First(names)) => Some(names.clone()),
                _ => None,
            },
            label_separator: self.label_separator.clone(),
            missing: match self.missing {
                MissingValues::Error => MissingRows::Error,
                MissingValues::Drop => MissingRows::Drop,
                MissingValues::Keep => MissingRows::Keep,
            },
            scheme: match self.scheme {
                None => TagScheme::Usual,
                Some(TagForm::AsIs) => TagScheme::AsIs,
                Some(TagForm::Iob1) => TagScheme::To(Scheme::Iob1),
                Some(TagForm::Iob2) => TagScheme::To(Scheme::Iob2),
                Some(TagForm::Iobes) => TagScheme::To(Scheme::Iobes),
                Some(TagForm::Bilou) => TagScheme::To(Scheme::Bilou),
            },
            limit: self.limit,
            line_column: None,
        }
    }

    fn label_file(&self, probe: &dyn Probe) -> Result<Option<PathBuf>, Missing> {
        match &self.labels {
            Some(Or::Second(LabelNames::Files(file))) => {
                Ok(probe.locate(&file.path, Place::Data)?.into_iter().next())
            }
            _ => Ok(None),
        }
    }

    /// The files of a part, with the names under which messages show them: as written, or for a
    /// pattern the file's own name behind the pattern's folder.
    fn files(probe: &dyn Probe, part: &Part<'_>) -> Result<Vec<SourceFile>, Missing> {
        let pattern = part.pattern;
        let found = probe.locate(pattern, Place::Data)?;
        let alone = found.len() == 1 && !pattern.contains(['*', '?', '[']);
        let folder = std::path::Path::new(pattern).parent().filter(|_| !alone);
        if part.column.is_some() && found.len() != 1 {
            let message = format!("`{pattern}` stands for {} files, a column is one", found.len());
            return Err(Missing { message, help: None });
        }
        Ok(found
            .into_iter()
            .map(|path| {
                let name = match (folder, path.file_name()) {
                    (Some(folder), Some(file)) => folder.join(file).display().to_string(),
                    _ => pattern.to_string(),
                };
                SourceFile { path, name, column: part.column.map(str::to_string) }
            })
            .collect())
    }

    fn check_arguments(&self, cx: &mut CheckCx) {
        if let Some(text) = &self.delimiter
            && (text.len() != 1 || text == "\n")
        {
            let diag = cx
                .diag(Code::E0205, "delimiter", format!("{text:?} is not one ASCII character"))
                .help("fields are separated by one character, such as `delimiter = \";\"` or `\"\\t\"`");
            cx.push(diag);
        }
        if let Some(Or::Second(text)) = &self.quote
            && text.len() != 1
        {
            let diag = cx
                .diag(Code::E0205, "quote", format!("{text:?} is not one ASCII character"))
                .help("`quote = none` reads quotes as ordinary characters");
            cx.push(diag);
        }
        if self.label_separator.as_ref().is_some_and(String::is_empty) {
            let diag = cx
                .diag(Code::E0205, "label_separator", "an empty string separates nothing")
                .help("for instance `label_separator = \",\"`");
            cx.push(diag);
        }
        if let Some(Or::First(names)) = &self.labels {
            if names.is_empty() {
                let diag = cx
                    .diag(Code::E0205, "labels", "an empty list names no label")
                    .help("without `labels` the names are found in the data");
                cx.push(diag);
            }
            for (at, name) in names.iter().enumerate() {
                if names.iter().take(at).any(|earlier| earlier == name) {
                    let path = format!("labels.{at}");
                    let diag = cx
                        .diag(Code::E0209, &path, format!("the label `{name}` is named twice"))
                        .help("every class has a name of its own");
                    cx.push(diag);
                }
            }
        }
        if let Or::Second(map) = &self.source
            && map.0.is_empty()
        {
            let diag = cx
                .diag(Code::E0205, "source", "an empty map names no table")
                .help("for instance `{ train = files(\"train.csv\") }`");
            cx.push(diag);
        }
        for (role, column) in &self.columns.0 {
            if let Or::Second(columns) = column
                && (role != "choices" || columns.is_empty())
            {
                let diag = cx
                    .diag(
                        Code::E0209,
                        &format!("columns.{role}"),
                        format!("`{role}` is one column"),
                    )
                    .help("several columns together are the `choices` of a row");
                cx.push(diag);
            }
        }
        if self.header == Some(false) {
            for (role, column) in &self.columns.0 {
                if let Or::First(Or::First(name)) = column
                    && name.parse::<usize>().is_err()
                {
                    let diag = cx
                        .diag(Code::E0209, &format!("columns.{role}"), format!("`{name}` is a name, and with `header = false` the columns have none"))
                        .help("without a header a column is given by its number, counted from 0");
                    cx.push(diag);
                }
            }
        }
    }
}

impl Step for LoadData {
    const NAME: &'static str = "load-data";
    const VERSION: u32 = 4;
    const OUTPUTS: &'static [Output] = &[Output {
        name: "table",
        ty: PortType::Tables,
        doc: "The table, or the tables under the names of their sources.",
    }];
    const REPORT: &'static [&'static str] =
        &["rows", "dropped", "classes", "moved_answers", "broken_tags", "shared"];
    const EXAMPLE: &'static str = "load-data reviews {\n  source  = { train = files(\"train.tsv\"), test = files(\"test.tsv\") }\n  columns = { text = \"sentence\", label = \"label\" }\n}";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        self.check_arguments(cx);
        let mut options = self.options();
        match self.label_file(cx.probe) {
            Ok(Some(path)) => match cx.probe.label_names(&path) {
                Ok(names) => options.labels = Some(names),
                Err(error) => report_fault(cx, "labels.path", error),
            },
            Ok(None) => {}
            Err(missing) => {
                let written = match &self.labels {
                    Some(Or::Second(LabelNames::Files(file))) => file.path.as_str(),
                    _ => "",
                };
                report_missing(cx, "labels.path", written, missing);
            }
        }
        if !cx.reports.is_empty() {
            // What the files say depends on arguments that are wrong.
            return vec![("table", self.unknown())];
        }
        let mut tables = Vec::new();
        let mut reported: Vec<(Code, String)> = Vec::new();
        // Of every file, the first table that has it and where that is written.
        let mut readers: BTreeMap<PathBuf, (String, String)> = BTreeMap::new();
        for (name, parts) in self.sources() {
            let mut shape: Option<Seen> = None;
            for part in &parts {
                let path = part.argument.clone();
                let files = match Self::files(cx.probe, part) {
                    Ok(files) => files,
                    Err(missing) => {
                        report_missing(cx, &path, part.pattern, missing);
                        continue;
                    }
                };
                let options = options.of_column(part.column);
                for file in files {
                    let first = readers
                        .entry(file.path.clone())
                        .or_insert_with(|| (name.clone(), path.clone()));
                    if first.0 != name {
                        let message = format!(
                            "the tables `{}` and `{name}` both have the rows of {}",
                            first.0, file.name
                        );
                        let diag = cx
                            .diag(Code::W0103, &path, message)
                            .here("the same file")
                            .also(cx.places.at(&first.1), format!("it is part of `{}`", first.0))
                            .help("what is measured on rows seen in training is too good");
                        cx.push(diag);
                    }
                    match cx.probe.header(&file.path, &options) {
                        Ok(header) => {
                            let labels = header.labels.labels.clone();
                            let complete = header.labels.complete;
                            shape = Some(match shape.take() {
                                Some((mut columns, known, before)) if part.column.is_some() => {
                                    let new = |(name, _): &&(String, _)| {
                                        columns.iter().all(|(known, _)| known != name)
                                    };
                                    let more: Vec<_> =
                                        header.columns.iter().filter(new).cloned().collect();
                                    columns.extend(more);
                                    (columns, joined(known, labels), before && complete)
                                }
                                None => (header.columns.clone(), labels, complete),
                                Some((columns, known, before)) => {
                                    check_same(cx, &path, &file.name, &columns, &header.columns);
                                    (columns, joined(known, labels), before && complete)
                                }
                            });
                        }
                        Err(error) => {
                            let mut error = DataError { file: Some(file.name.clone()), ..error };
                            let subject = error.subject.take();
                            let role = subject.as_ref().filter(|subject| {
                                let role = subject.split_once('.').map_or("", |(role, _)| role);
                                self.columns.get(subject).is_some()
                                    || matches!(self.columns.get(role), Some(Or::Second(_)))
                            });
                            // One wrong column is one mistake, however many files lack it; and a
                            // label without a name is one of the names.
                            let place = match role {
                                Some(role) => format!("columns.{role}"),
                                None if subject.as_deref() == Some("scheme") => {
                                    "scheme".to_string()
                                }
                                None if error.fault == Fault::Label && self.labels.is_some() => {
                                    "labels".to_string()
                                }
                                None => path.clone(),
                            };
                            let key = (error.fault.code(), place.clone());
                            if !reported.contains(&key) {
                                report_fault(cx, &place, error);
                                reported.push(key);
                            }
                        }
                    }
                }
            }
            tables.push((name, shape));
        }
        // The names of classes are found over all tables together.
        let mut all = Labels::Unknown;
        let mut complete = true;
        for (columns, labels, whole) in tables.iter().filter_map(|(_, shape)| shape.as_ref()) {
            if columns.iter().any(|(name, _)| is_target(name)) {
                all = joined(all, labels.clone());
                complete &= whole;
            }
        }
        let shapes: Vec<(String, TableShape)> = tables
            .into_iter()
            .map(|(name, shape)| {
                let shape = match shape {
                    None => TableShape { columns: None, labels: LabelShape::Unknown },
                    Some((columns, _, _)) => {
                        let has_label = columns.iter().any(|(name, _)| is_target(name));
                        TableShape {
                            columns: Some(column_shapes(&columns)),
                            labels: if has_label {
                                label_shape(&all, complete)
                            } else {
                                LabelShape::Absent
                            },
                        }
                    }
                };
                (name, shape)
            })
            .collect();
        vec![("table", self.arranged(shapes))]
    }

    fn externals(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        let mut files: Vec<PathBuf> = self.label_file(probe)?.into_iter().collect();
        for (_, parts) in self.sources() {
            for part in parts {
                files.extend(probe.locate(part.pattern, Place::Data)?);
            }
        }
        Ok(files)
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let lost = |missing: Missing| {
            let error = StepError::new(Code::E0401, missing.message);
            match missing.help {
                Some(help) => error.help(help),
                None => error,
            }
        };
        let mut options = self.options();
        if let Some(path) = self.label_file(cx.probe).map_err(lost)? {
            options.labels = Some(cx.probe.label_names(&path)?);
        }
        if let Some(quick) = cx.quick {
            options.limit = Some(options.limit.unwrap_or(usize::MAX).min(quick.rows));
        }
        let mut sources = Vec::new();
        for (name, parts) in self.sources() {
            let mut files = Vec::new();
            for part in parts {
                files.extend(
                    Self::files(cx.probe, &part)
                        .map_err(|missing| lost(missing).argument(&part.argument))?,
                );
            }
            sources.push((name, files));
        }
        cx.control.event(Event::Phase { name: "reading", total: None });
        let (tables, read) = read_tables(&sources, &options)?;
        for note in &read.notes {
            cx.control.event(Event::Warning { message: note.clone() });
        }
        for change in &read.changes {
            cx.control.event(Event::Note { message: change.clone() });
        }
        if read.moved_answers > 0 {
            cx.control.event(Event::Warning {
                message: format!(
                    "{} answers stood elsewhere in their contexts than was said, and were found",
                    read.moved_answers
                ),
            });
        }
        for (name, dropped) in read.dropped.iter().filter(|(_, dropped)| *dropped > 0) {
            let of = if name.is_empty() { String::new() } else { format!(" of `{name}`") };
            cx.control.event(Event::Note {
                message: format!("{dropped} rows{of} without a value were left out"),
            });
        }
        let found = shared(&tables)?;
        for shared in &found {
            cx.control.event(Event::Warning { message: shared.to_string() });
        }
        let rows: usize = tables.values().map(|table| table.rows()).sum();
        let dropped: u64 = read.dropped.iter().map(|(_, dropped)| dropped).sum();
        let classes = tables.values().map(|table| table.labels().names().len()).max().unwrap_or(0);
        let report = Report::from([
            ("rows".to_string(), rows as f64 + dropped as f64),
            ("dropped".to_string(), dropped as f64),
            ("classes".to_string(), classes as f64),
            ("moved_answers".to_string(), read.moved_answers as f64),
            ("broken_tags".to_string(), read.broken_tags as f64),
            ("shared".to_string(), count_shared(&found) as f64),
        ]);
        let value = match &self.source {
            Or::First(_) => {
                let table = tables.into_iter().next().map(|(_, table)| table);
                Value::Table(table.ok_or_else(|| StepError::internal("nothing was read"))?.into())
            }
            Or::Second(_) => Value::Tables(tables.into()),
        };
        Ok(vec![("table", value), ("report", Value::Report(report.into()))])
    }
}

impl LoadData {
    fn arranged(&self, mut shapes: Vec<(String, TableShape)>) -> Shape {
        match &self.source {
            Or::First(_) => Shape::Table(shapes.pop().map(|(_, shape)| shape).unwrap_or_default()),
            Or::Second(_) => Shape::Tables(shapes),
        }
    }

    /// What is known where the files could not be looked at.
    fn unknown(&self) -> Shape {
        let shape = TableShape { columns: None, labels: LabelShape::Unknown };
        self.arranged(self.sources().into_iter().map(|(name, ..)| (name, shape.clone())).collect())
    }
}

/// Files that follow each other have the same columns.
fn check_same(
    cx: &mut CheckCx,
    path: &str,
    file: &str,
    known: &[(String, ColumnType)],
    found: &[(String, ColumnType)],
) {
    let lacks = |one: &[(String, ColumnType)], two: &[(String, ColumnType)]| {
        two.iter()
            .map(|(name, _)| name)
            .find(|name| !one.iter().any(|(other, _)| other == *name))
            .cloned()
    };
    let (message, name) = match (lacks(found, known), lacks(known, found)) {
        (Some(name), _) => ("has no column", name),
        (None, Some(name)) => ("alone has a column", name),
        (None, None) => return,
    };
    let diag = cx
        .diag(Code::E0404, path, format!("{file}: the file {message} `{name}`"))
        .help("files that make one table have the same columns; tables of their own get names: `source = { first = files(…), second = files(…) }`");
    cx.push(diag);
}

/// Whether a table's labels are those of this column.
fn is_target(column: &str) -> bool {
    matches!(column, "label" | "tags")
}

/// What the heads of a table's files show: columns, labels, and whether these are all labels.
type Seen = (Vec<(String, ColumnType)>, Labels, bool);

/// The labels of two files of which both hold some.
fn joined(one: Labels, two: Labels) -> Labels {
    let merge = |one: Vec<String>, two: Vec<String>| {
        let mut all = one;
        all.extend(two);
        all.sort();
        all.dedup();
        crate::data::sort_names(all)
    };
    match (one, two) {
        (Labels::Unknown, other) | (other, Labels::Unknown) => other,
        (Labels::Classes { names, declared: true }, _) => Labels::Classes { names, declared: true },
        (Labels::Multi { names, declared: true }, _) => Labels::Multi { names, declared: true },
        (Labels::Classes { names: one, .. }, Labels::Classes { names: two, .. }) => {
            Labels::Classes { names: merge(one, two), declared: false }
        }
        (Labels::Multi { names: one, .. }, Labels::Multi { names: two, .. }) => {
            Labels::Multi { names: merge(one, two), declared: false }
        }
        (Labels::Tags { names, declared: true }, _) => Labels::Tags { names, declared: true },
        (Labels::Tags { names: one, .. }, Labels::Tags { names: two, .. }) => {
            Labels::Tags { names: merge(one, two), declared: false }
        }
        // Whole numbers in one file and fractions in another are values.
        (Labels::Values, Labels::Classes { .. }) | (Labels::Classes { .. }, Labels::Values) => {
            Labels::Values
        }
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::read::FORMATS;
    use crate::schema::{Arg, Type};

    #[test]
    fn the_formats_of_the_language_are_those_that_can_be_read() {
        let Type::Variant(set) = FileFormat::ty() else { panic!("a variant type") };
        let names: Vec<&str> = set.names().collect();
        let readable: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names, readable);
    }
}
