//! From raw columns to tables: roles, types of untyped cells, missing values, labels, row ids.

use super::cells::{TEXT_ROLES, as_role, named, numbers_are_names, shown, type_cells};
use super::raw::{Raw, RawColumn};
use super::records::{
    LIST_ROLES, as_list, check_tags, choose, place_answers, tags_as_texts, together,
};
use super::{ColumnRef, Missing, ReadOptions, TagScheme, format_of};
use crate::base::suggest;
use crate::data::column::{ColumnData, ColumnType};
use crate::data::error::{DataError, Fault, Result};
use crate::data::labels::{Labels, is_missing};
use crate::data::table::{Origin, ROLES, Table, Tables, no_column};
use crate::data::tagging::{Scheme, convert, detect, foreign};
use std::path::PathBuf;

/// A file, and how messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub name: String,
    /// The column whose values are the lines of this file; the other columns of a row are on the same
    /// line of the files beside it. None: the file holds whole rows.
    pub column: Option<String>,
}

impl From<PathBuf> for SourceFile {
    fn from(path: PathBuf) -> Self {
        let name = path.display().to_string();
        Self { path, name, column: None }
    }
}

/// What reading found beside the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows that `missing = drop` left out, for each table.
    pub dropped: Vec<(String, u64)>,
    /// Answers that stand elsewhere in their contexts than was said, and were found.
    pub moved_answers: u64,
    /// Tags that break the rules of their scheme.
    pub broken_tags: u64,
    /// Things that are no errors and that a user wants to know.
    pub notes: Vec<String>,
    /// What was changed on the way, as is usual.
    pub changes: Vec<String>,
}

/// Reads one table from files that follow each other.
pub fn read_table(files: &[SourceFile], options: &ReadOptions) -> Result<Table> {
    let sources = [("table".to_string(), files.to_vec())];
    let (mut tables, _) = read_tables(&sources, options)?;
    tables
        .swap_remove("table")
        .ok_or_else(|| DataError::new(Fault::NotFound, "there is no file to read"))
}

/// Reads named tables that belong together: their label names are found over all of them.
pub fn read_tables(
    sources: &[(String, Vec<SourceFile>)],
    options: &ReadOptions,
) -> Result<(Tables, ReadReport)> {
    let mut parts = Vec::with_capacity(sources.len());
    for (name, files) in sources {
        let mut gathered = Gathered::default();
        for file in files {
            let there = if file.column.is_some() { 0 } else { gathered.raw.rows() };
            let left = options.limit.map(|limit| limit.saturating_sub(there));
            if left == Some(0) {
                break;
            }
            let options = options.of_column(file.column.as_deref());
            let format = format_of(&file.path, &options)
                .map_err(|error| DataError { file: Some(file.name.clone()), ..error })?;
            gathered.add((format.read)(&file.path, &file.name, &options, left)?, file)?;
        }
        parts.push((name.clone(), gathered));
    }
    finish(parts, options)
}

/// The rows of the files of one source.
#[derive(Default)]
pub(super) struct Gathered {
    pub raw: Raw,
    pub origin: Origin,
}

impl Gathered {
    /// Puts a file's rows behind those that are there, or its one column beside them.
    pub fn add(&mut self, raw: Raw, file: &SourceFile) -> Result<()> {
        match &file.column {
            Some(_) => self.beside(raw, &file.name),
            None => self.behind(raw, &file.name),
        }
    }

    /// Line k of every file belongs to row k.
    fn beside(&mut self, raw: Raw, file: &str) -> Result<()> {
        match self.origin.files.first() {
            None => {
                self.origin.files.push(file.to_string());
                self.origin.places = raw.lines.iter().map(|line| (0, *line)).collect();
                self.raw.lines = raw.lines;
            }
            Some(first) if raw.lines.len() != self.raw.lines.len() => {
                let (found, wanted) = (raw.lines.len(), self.raw.lines.len());
                let message = format!("the file has {found} lines, {first} beside it has {wanted}");
                return Err(DataError::new(Fault::Format, message)
                    .file(file)
                    .help("row k is line k of every file of `parallel`"));
            }
            Some(_) => {}
        }
        self.raw.names.extend(raw.names);
        self.raw.columns.extend(raw.columns);
        Ok(())
    }

    /// Columns go together by name.
    fn behind(&mut self, mut raw: Raw, file: &str) -> Result<()> {
        let number = self.origin.files.len() as u32;
        self.origin.files.push(file.to_string());
        self.origin.places.extend(raw.lines.iter().map(|line| (number, *line)));
        if number == 0 {
            self.raw = raw;
            return Ok(());
        }
        let first = self.origin.files.first().cloned().unwrap_or_default();
        let unmatched = raw.names.iter().find(|name| !self.raw.names.contains(name));
        if let Some(name) = unmatched {
            return Err(DataError::new(
                Fault::Column,
                format!("the file has a column `{name}`, which {first} has not"),
            )
            .file(file)
            .subject(name));
        }
        for (name, column) in self.raw.names.iter().zip(self.raw.columns.iter_mut()) {
            let Some(at) = raw.names.iter().position(|found| found == name) else {
                return Err(DataError::new(
                    Fault::Column,
                    format!("the file has no column `{name}`, which {first} has"),
                )
                .file(file)
                .subject(name));
            };
            let more = std::mem::replace(&mut raw.columns[at], RawColumn::Cells(Vec::new()));
            column.append(more, name, file)?;
        }
        self.raw.lines.append(&mut raw.lines);
        Ok(())
    }

    fn at(&self, row: usize, error: DataError) -> DataError {
        let place = self.origin.places.get(row);
        match place.and_then(|(file, line)| Some((self.origin.files.get(*file as usize)?, *line))) {
            Some((file, line)) => error.file(file).line(u64::from(line)),
            None => error,
        }
    }
}

/// Roles that may be empty without anything being wrong.
const OPTIONAL_ROLES: &[&str] = &["id", "group", "answer_starts"];

/// A table on its way: its name, the rows of its files, its columns so far.
type Part = (String, Gathered, Vec<(String, ColumnData)>);

/// Makes tables of what the files hold.
pub(super) fn finish(
    parts: Vec<(String, Gathered)>,
    options: &ReadOptions,
) -> Result<(Tables, ReadReport)> {
    let mut report = ReadReport::default();
    let mut typed: Vec<Part> = Vec::new();
    for (name, mut gathered) in parts {
        let columns = roles(&mut gathered, options, &mut report)?;
        typed.push((name, gathered, columns));
    }
    agree_on_ids(&mut typed);
    let declared = options.labels.as_deref();
    let mut most_choices = 0;
    for (_, gathered, columns) in &mut typed {
        let choices = choose(columns, declared).map_err(|(row, error)| gathered.at(row, error))?;
        most_choices = most_choices.max(choices);
    }
    let labels = match most_choices {
        0 => name_labels(&mut typed, declared)?,
        // The classes are the places of the choices, whichever were right.
        most => Labels::Classes {
            names: (0..most).map(|place| place.to_string()).collect(),
            declared: true,
        },
    };
    let labelled =
        typed.iter().any(|(_, _, columns)| columns.iter().any(|(name, _)| name == "label"));
    let declared = declared.filter(|_| !labelled);
    let tags = name_tags(&mut typed, declared, options.scheme, &mut report)?;

    let mut tables = Tables::new();
    for (name, gathered, mut columns) in typed {
        let rows = gathered.raw.rows();
        let kept = kept_rows(&gathered, &mut columns, options)?;
        if !columns.iter().any(|(name, _)| name == "id") {
            let numbers = (0..rows as i64).map(Some).collect();
            columns.push(("id".to_string(), ColumnData::Int(numbers)));
        }
        let has = |wanted: &str| columns.iter().any(|(name, _)| name == wanted);
        let own = match (has("label"), has("tags")) {
            (true, _) => labels.clone(),
            (false, true) => tags.clone(),
            (false, false) => Labels::Unknown,
        };
        let plain = Table::from_columns(columns)?;
        let mut table = Table::from_frame(plain.frame, own, gathered.origin);
        if let Some(kept) = kept {
            report.dropped.push((name.clone(), (rows - kept.len()) as u64));
            table = table.take(&kept)?;
        }
        tables.insert(name, table);
    }
    missing_classes(&tables, &labels, &mut report);
    Ok((tables, report))
}

/// Gives columns the names of their roles and untyped cells a type.
fn roles(
    gathered: &mut Gathered,
    options: &ReadOptions,
    report: &mut ReadReport,
) -> Result<Vec<(String, ColumnData)>> {
    let names = gathered.raw.names.clone();
    let file = gathered.origin.files.first().cloned().unwrap_or_default();
    let mut taken = vec![false; names.len()];
    // Name in the table → the places of its columns: several for a list of columns.
    let mut columns: Vec<(String, Vec<usize>)> = Vec::new();
    for (role, column) in &options.columns {
        let mut places = Vec::new();
        for (number, one) in column.each().iter().enumerate() {
            let at = locate(one, &names, options).map_err(|error| {
                let listed = matches!(column, ColumnRef::Several(_));
                let subject = if listed { format!("{role}.{number}") } else { role.clone() };
                error.file(&file).subject(subject)
            })?;
            if let Some(slot) = taken.get_mut(at) {
                *slot = true;
            }
            places.push(at);
        }
        columns.push((role.clone(), places));
    }
    for (role, at) in &gathered.raw.roles {
        let given = columns.iter().any(|(name, _)| name == role);
        if let Some(slot) = taken.get_mut(*at)
            && !given
            && !*slot
        {
            *slot = true;
            columns.push(((*role).to_string(), vec![*at]));
        }
    }
    for (at, name) in names.iter().enumerate() {
        let spare = matches!(gathered.raw.columns.get(at), Some(RawColumn::Spare));
        if spare || taken.get(at).copied().unwrap_or(false) {
            continue;
        }
        if let Some((role, others)) = columns.iter().find(|(role, _)| role == name) {
            let others = others.iter().filter_map(|at| names.get(*at)).map(String::as_str);
            return Err(DataError::new(
                Fault::Column,
                format!(
                    "the file's own column `{name}` and {}, which is mapped to it, would have one name",
                    suggest::list(others)
                ),
            )
            .file(&file)
            .subject(role)
            .help(format!("give the own column a name too: `columns = {{ {name} = …, other_{name} = \"{name}\" }}`")));
        }
        columns.push((name.clone(), vec![at]));
    }
    let mut typed: Vec<(String, ColumnData)> = Vec::with_capacity(columns.len());
    for (name, places) in columns {
        let raw: Vec<&RawColumn> =
            places.iter().filter_map(|at| gathered.raw.columns.get(*at)).collect();
        let data = match raw.as_slice() {
            [RawColumn::Cells(cells)] => {
                type_cells(&name, cells, options).map_err(|(row, error)| gathered.at(row, error))?
            }
            [RawColumn::Typed(data)] => {
                as_role(&name, data.clone(), options).map_err(|error| error.file(&file))?
            }
            [RawColumn::Unread(what)] if ROLES.contains(&name.as_str()) => {
                return Err(DataError::new(
                    Fault::Column,
                    format!("column `{name}` holds {what}, which is not read"),
                )
                .file(&file)
                .subject(&name)
                .help("store it as text, integers, floats, booleans, or lists of these"));
            }
            [RawColumn::Unread(what)] => {
                report.notes.push(format!("{file}: column `{name}` is left out, it holds {what}"));
                continue;
            }
            several => {
                let cells: Option<Vec<_>> = several.iter().map(|raw| raw.cells()).collect();
                together(&cells.ok_or_else(|| {
                    DataError::new(
                        Fault::Column,
                        format!("the columns of `{name}` are not all text"),
                    )
                    .file(&file)
                    .subject(&name)
                })?)
            }
        };
        if !LIST_ROLES.contains(&name.as_str()) {
            typed.push((name, data));
            continue;
        }
        let (data, starts) = as_list(&name, data).map_err(|(row, error)| match row {
            Some(row) => gathered.at(row, error),
            None => error.file(&file),
        })?;
        typed.push((name, data));
        typed.extend(starts.map(|starts| ("answer_starts".to_string(), starts)));
    }
    check_tags(&typed).map_err(|(row, error)| gathered.at(row, error))?;
    report.moved_answers += place_answers(&mut typed, options.missing)
        .map_err(|(row, error)| gathered.at(row, error))?;
    gathered.raw.columns.clear();
    Ok(typed)
}

/// The place of a column among those of the file.
fn locate(column: &ColumnRef, names: &[String], options: &ReadOptions) -> Result<usize> {
    match column {
        ColumnRef::Name(wanted) => {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                let error = no_column(wanted, names.iter().map(String::as_str));
                match options.has_header() {
                    true => error,
                    false => error.help("the file is read without a header: give the column by its number, counted from 0"),
                }
            })
        }
        ColumnRef::Number(number) if *number < names.len() => Ok(*number),
        ColumnRef::Number(number) => Err(DataError::new(
            Fault::Column,
            format!("there is no column {number}; there are {}, counted from 0", names.len()),
        )),
        ColumnRef::Several(_) => {
            Err(DataError::new(Fault::Column, "a list of columns holds no other list"))
        }
    }
}

/// Gives labels their declared names, or types that agree, and says what they mean.
fn name_labels(typed: &mut [Part], declared: Option<&[String]>) -> Result<Labels> {
    match declared {
        None => agree(typed),
        Some(names) => replace_by_names(typed, "label", names)?,
    }
    let label_columns: Vec<&ColumnData> = columns_of(typed, "label").collect();
    Labels::of(&label_columns, declared)
}

/// Gives tags that are numbers their names, brings their scheme in order, and collects the names:
/// the declared ones as long as these are all, else those that occur.
fn name_tags(
    typed: &mut [Part],
    declared: Option<&[String]>,
    scheme: TagScheme,
    report: &mut ReadReport,
) -> Result<Labels> {
    match declared {
        Some(names) => replace_by_names(typed, "tags", names)?,
        None => {
            for (_, _, columns) in typed.iter_mut() {
                for (_, data) in columns.iter_mut().filter(|(name, _)| name == "tags") {
                    *data = tags_as_texts(data.clone());
                }
            }
        }
    }
    let found = detect(tag_lists(typed));
    let wanted = match (scheme, found) {
        (TagScheme::Usual, Some((Scheme::Iob1, _))) => Some(Scheme::Iob2),
        (TagScheme::To(wanted), None) => {
            if let Some(tag) = tag_lists(typed).find_map(foreign) {
                let text = format!(
                    "the tag `{tag}` names no entity, so tags cannot be rewritten as {}",
                    wanted.name()
                );
                return Err(DataError::new(Fault::Label, text).subject("scheme"));
            }
            None
        }
        (TagScheme::To(wanted), Some((scheme, broken))) => {
            (scheme != wanted || broken > 0).then_some(wanted)
        }
        _ => None,
    };
    if let Some((scheme, broken)) = found {
        report.broken_tags = broken;
        if broken > 0 {
            let verb = if broken == 1 { "tag breaks" } else { "tags break" };
            report.changes.push(format!("{broken} {verb} the rules of {}", scheme.name()));
        }
        if let Some(wanted) = wanted {
            report.changes.push(format!(
                "the tags are {} and were rewritten as {}; `scheme = as_is` leaves them",
                scheme.name(),
                wanted.name()
            ));
        }
    }
    if let Some(wanted) = wanted {
        for (_, _, columns) in typed.iter_mut() {
            for (_, data) in columns.iter_mut().filter(|(name, _)| name == "tags") {
                if let ColumnData::Texts(rows) = data {
                    rows.iter_mut().flatten().for_each(|tags| *tags = convert(tags, wanted));
                }
            }
        }
    }
    let columns: Vec<&ColumnData> = columns_of(typed, "tags").collect();
    let found = Labels::of_tags(&columns);
    Ok(match declared {
        Some(declared) if found.names().iter().all(|name| declared.contains(name)) => {
            Labels::Tags { names: declared.to_vec(), declared: true }
        }
        _ => found,
    })
}

/// Replaces the labels in the columns `role` of all tables by their declared names.
fn replace_by_names(typed: &mut [Part], role: &str, names: &[String]) -> Result<()> {
    let numbers_are_names = numbers_are_names(columns_of(typed, role), names);
    for (_, gathered, columns) in typed.iter_mut() {
        for (_, data) in columns.iter_mut().filter(|(name, _)| name == role) {
            *data = named(data, names, numbers_are_names)
                .map_err(|(row, error)| gathered.at(row, error))?;
        }
    }
    Ok(())
}

/// The columns of one name, of every table that has it.
fn columns_of<'a>(
    typed: &'a [Part],
    wanted: &'a str,
) -> impl Iterator<Item = &'a ColumnData> + Clone {
    let all = typed.iter().flat_map(|(_, _, columns)| columns);
    all.filter(move |(name, _)| name == wanted).map(|(_, data)| data)
}

/// The tags of every row of every table that has some.
fn tag_lists(typed: &[Part]) -> impl Iterator<Item = &[String]> + Clone {
    columns_of(typed, "tags")
        .filter_map(|data| match data {
            ColumnData::Texts(rows) => Some(rows),
            _ => None,
        })
        .flat_map(|rows| rows.iter().flatten().map(Vec::as_slice))
}

/// Makes the label columns of tables that belong together hold one type: digits beside names are
/// names, whole numbers beside fractions are values.
fn agree(typed: &mut [Part]) {
    let types: Vec<ColumnType> = columns_of(typed, "label").map(ColumnData::column_type).collect();
    let text = types.contains(&ColumnType::Text);
    let float = types.contains(&ColumnType::Float);
    let texts = types.contains(&ColumnType::List(Box::new(ColumnType::Text)));
    for (_, _, columns) in typed.iter_mut() {
        for (_, data) in columns.iter_mut().filter(|(name, _)| name == "label") {
            match data {
                ColumnData::Int(values) if text => *data = ColumnData::Text(shown(values.clone())),
                ColumnData::Int(values) if float => {
                    *data = ColumnData::Float(
                        values.iter().map(|value| value.map(|value| value as f64)).collect(),
                    );
                }
                ColumnData::Ints(values) if texts => {
                    *data = ColumnData::Texts(
                        values
                            .iter()
                            .map(|list| {
                                list.as_ref().map(|list| list.iter().map(i64::to_string).collect())
                            })
                            .collect(),
                    );
                }
                _ => {}
            }
        }
    }
}

/// Ids that are texts in one table are texts in all, so that the tables can follow each other.
fn agree_on_ids(typed: &mut [Part]) {
    let is_text = |data: &ColumnData| data.column_type() == ColumnType::Text;
    if !columns_of(typed, "id").any(is_text) {
        return;
    }
    for (_, _, columns) in typed.iter_mut() {
        for (_, data) in columns.iter_mut().filter(|(name, _)| name == "id") {
            if let ColumnData::Int(values) = data {
                *data = ColumnData::Text(shown(std::mem::take(values)));
            }
        }
    }
}

/// Applies `missing`: the rows that stay, or `None` for all of them.
fn kept_rows(
    gathered: &Gathered,
    columns: &mut [(String, ColumnData)],
    options: &ReadOptions,
) -> Result<Option<Vec<u32>>> {
    let rows = gathered.raw.rows();
    let is_role = |name: &str| ROLES.contains(&name) && !OPTIONAL_ROLES.contains(&name);
    let absent: Vec<(&String, &ColumnData)> = columns
        .iter()
        .filter(|(name, data)| is_role(name) && (0..rows).any(|row| is_missing(data, row)))
        .map(|(name, data)| (name, data))
        .collect();
    if absent.is_empty() {
        return Ok(None);
    }
    match options.missing {
        Missing::Error => {
            let first = (0..rows).find_map(|row| {
                absent.iter().find(|(_, data)| is_missing(data, row)).map(|(name, _)| (row, *name))
            });
            let (row, name) = first.unwrap_or((0, absent[0].0));
            Err(gathered.at(
                row,
                DataError::new(Fault::Row, format!("the row has no `{name}`"))
                    .subject(name)
                    .help("`missing = drop` leaves such rows out, `missing = keep` keeps them"),
            ))
        }
        Missing::Drop => Ok(Some(
            (0..rows)
                .filter(|row| !absent.iter().any(|(_, data)| is_missing(data, *row)))
                .map(|row| row as u32)
                .collect(),
        )),
        Missing::Keep => {
            for (name, data) in columns.iter_mut() {
                if let ColumnData::Text(values) = data
                    && TEXT_ROLES.contains(&name.as_str())
                {
                    values.iter_mut().filter(|value| value.is_none()).for_each(|value| {
                        *value = Some(String::new());
                    });
                }
            }
            Ok(None)
        }
    }
}

/// Notes classes that the first table (the one to train on) never shows.
fn missing_classes(tables: &Tables, labels: &Labels, report: &mut ReadReport) {
    let train = tables.get("train").or_else(|| tables.values().next());
    let Some(train) = train.filter(|table| tables.len() > 1 && table.has("label")) else { return };
    let Ok(column) = train.column("label") else { return };
    let Ok(shown) = Labels::of(&[&column], None) else { return };
    let absent: Vec<&str> = labels
        .names()
        .iter()
        .filter(|name| !shown.names().contains(name))
        .map(String::as_str)
        .collect();
    if !absent.is_empty() && !shown.names().is_empty() {
        report.notes.push(format!("no row to train on has the label {}", suggest::list(absent)));
    }
}
