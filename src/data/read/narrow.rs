//! Whole numbers of 8 and 16 bits. Polars has columns of them with features alone that nothing else
//! here needs, so they are taken from the arrays that such columns are made of.

use crate::data::column::ColumnData;
use polars::prelude::ArrowDataType;
use polars_arrow::array::{Array, ListArray, PrimitiveArray};
use polars_arrow::offset::Offset;
use polars_arrow::types::NativeType;

/// Whether a column holds them, or lists of them.
pub(super) fn is_narrow(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as Arrow;
    let single =
        |dtype: &_| matches!(dtype, Arrow::Int8 | Arrow::Int16 | Arrow::UInt8 | Arrow::UInt16);
    match dtype {
        Arrow::List(inner) | Arrow::LargeList(inner) => single(&inner.dtype),
        dtype => single(dtype),
    }
}

/// The first `rows` values of a column's arrays as `i64`; `None` for arrays of anything else, and
/// for lists with missing elements.
pub(super) fn widened(arrays: &[Box<dyn Array>], rows: usize) -> Option<ColumnData> {
    fn all<T>(
        arrays: &[Box<dyn Array>],
        rows: usize,
        read: fn(&dyn Array) -> Option<Vec<T>>,
    ) -> Option<Vec<T>> {
        let mut values = Vec::new();
        for array in arrays {
            values.extend(read(array.as_ref())?);
        }
        values.truncate(rows);
        Some(values)
    }
    match arrays.first().map(|array| array.dtype()) {
        Some(ArrowDataType::List(_)) => all(arrays, rows, lists::<i32>).map(ColumnData::Ints),
        Some(ArrowDataType::LargeList(_)) => all(arrays, rows, lists::<i64>).map(ColumnData::Ints),
        _ => all(arrays, rows, numbers).map(ColumnData::Int),
    }
}

fn numbers(array: &dyn Array) -> Option<Vec<Option<i64>>> {
    fn of<T: NativeType + Into<i64>>(array: &dyn Array) -> Option<Vec<Option<i64>>> {
        let values = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
        Some(values.iter().map(|value| value.map(|value| (*value).into())).collect())
    }
    of::<i8>(array)
        .or_else(|| of::<i16>(array))
        .or_else(|| of::<u8>(array))
        .or_else(|| of::<u16>(array))
}

fn lists<O: Offset>(array: &dyn Array) -> Option<Vec<Option<Vec<i64>>>> {
    let lists = array.as_any().downcast_ref::<ListArray<O>>()?;
    lists
        .iter()
        .map(|list| match list {
            None => Some(None),
            Some(list) => numbers(list.as_ref())?.into_iter().collect::<Option<_>>().map(Some),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::data::column::ColumnData;
    use crate::data::read::{ReadOptions, SourceFile, read_table};
    use std::path::Path;

    /// By pyarrow 26.0.1, two rows a batch: the least or the greatest number of each width, nothing,
    /// 7; beside them lists of 8 bits, a column of nulls, lists of nothing, objects of 8 bits.
    #[test]
    fn whole_numbers_of_every_width_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/read/fixtures");
        for name in ["narrow.parquet", "narrow.arrow"] {
            let file = SourceFile::from(folder.join(name));
            let table = read_table(std::slice::from_ref(&file), &ReadOptions::default()).unwrap();
            let first = [("i8", -128), ("i16", -32_768), ("u8", 255), ("u16", 65_535)];
            for (column, first) in first {
                let expected = ColumnData::Int(vec![Some(first), None, Some(7)]);
                assert_eq!(table.column(column).unwrap(), expected, "{name} {column}");
            }
            let lists = ColumnData::Ints(vec![Some(vec![1, 2]), Some(vec![]), None]);
            assert_eq!(table.column("list").unwrap(), lists, "{name}");
            assert_eq!(table.column("none").unwrap(), ColumnData::Text(vec![None; 3]), "{name}");
            let empty = ColumnData::Texts(vec![Some(vec![]), None, Some(vec![])]);
            assert_eq!(table.column("empty").unwrap(), empty, "{name}");
            if name.ends_with("parquet") {
                let objects = ["{\"a\":1}", "{\"a\":-2}", "{\"a\":3}"];
                assert_eq!(table.texts("object").unwrap(), objects);
            }
            let limited = ReadOptions { limit: Some(1), ..Default::default() };
            assert_eq!(read_table(&[file], &limited).unwrap().rows(), 1, "{name}");
        }
    }
}
