//! What steps on tables share: columns and labels as shapes, and how faults in data are reported.

use super::check::{CheckCx, Missing, Place};
use super::shape::{ColumnShape, ColumnType as ShapeType, LabelShape, TableShape};
use crate::base::Code;
use crate::data::{ColumnType, DataError, Labels};

/// Columns as the checker keeps them.
pub fn column_shapes(columns: &[(String, ColumnType)]) -> Vec<ColumnShape> {
    let shape = |(name, ty): &(String, ColumnType)| ColumnShape {
        name: name.clone(),
        ty: match ty {
            ColumnType::Text => ShapeType::Text,
            ColumnType::Int => ShapeType::Int,
            ColumnType::Float => ShapeType::Float,
            ColumnType::Bool => ShapeType::Bool,
            ColumnType::List(_) => ShapeType::List,
            ColumnType::Other(_) => ShapeType::Unknown,
        },
    };
    columns.iter().map(shape).collect()
}

/// Columns as operations on tables know them; `None` where they are not known.
pub fn table_columns(shape: &TableShape) -> Option<Vec<(String, ColumnType)>> {
    let column = |column: &ColumnShape| {
        let ty = match column.ty {
            ShapeType::Text => ColumnType::Text,
            ShapeType::Int => ColumnType::Int,
            ShapeType::Float => ColumnType::Float,
            ShapeType::Bool => ColumnType::Bool,
            ShapeType::List => ColumnType::List(Box::new(ColumnType::Text)),
            ShapeType::Unknown => ColumnType::Other("a value of unknown type".to_string()),
        };
        (column.name.clone(), ty)
    };
    Some(shape.columns.as_ref()?.iter().map(column).collect())
}

/// Labels as the checker keeps them; names only if no row can hold others.
pub fn label_shape(labels: &Labels, complete: bool) -> LabelShape {
    match labels {
        Labels::Unknown => LabelShape::Unknown,
        Labels::Values => LabelShape::Values,
        Labels::Answers => LabelShape::Answers,
        Labels::Classes { names, declared } => {
            LabelShape::Classes((complete || *declared).then(|| names.clone()))
        }
        Labels::Multi { names, declared } => {
            LabelShape::Multi((complete || *declared).then(|| names.clone()))
        }
        Labels::Tags { names, declared } => {
            LabelShape::Tags((complete || *declared).then(|| names.clone()))
        }
    }
}

/// Reports a fault in data at an argument. Where it knows a nearer name of a column, the argument
/// can be replaced by it.
pub fn report_fault(cx: &mut CheckCx, path: &str, error: DataError) {
    let place = match (&error.file, error.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    let code = error.fault.code();
    let mut diag = cx.diag(code, path, format!("{place}{}", error.message));
    diag.help = error.help;
    if let Some(nearest) = &error.nearest
        && code == Code::E0404
        && path.starts_with("columns.")
    {
        let span = cx.places.at(path);
        diag = diag.fix(span, format!("{nearest:?}"));
    }
    cx.push(diag);
}

/// Reports a file that is not there at the argument that names it; a similar name can be pasted.
pub fn report_missing(cx: &mut CheckCx, path: &str, file: &str, missing: Missing) {
    let mut diag = cx.diag(Code::E0401, path, missing.message);
    diag.help = missing.help;
    if let Some(nearest) = cx.probe.nearest(file, Place::Data) {
        diag = diag.fix(cx.places.at(path), format!("{nearest:?}"));
    }
    cx.push(diag);
}
