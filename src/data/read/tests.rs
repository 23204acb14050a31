//! Reading as a whole: options together, several files, and the real data sets where they are.

use super::*;
use crate::data::column::{ColumnData, ColumnType};
use crate::data::labels::{Labels, Targets};
use crate::data::table::{Table, Tables};
use std::io::Write;

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(super) fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> SourceFile {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    SourceFile { path, name: name.to_string(), column: None }
}

pub(super) fn columns(pairs: &[(&str, &str)]) -> Vec<(String, ColumnRef)> {
    pairs
        .iter()
        .map(|(role, column)| {
            let column = match column.parse() {
                Ok(number) => ColumnRef::Number(number),
                Err(_) => ColumnRef::Name(column.to_string()),
            };
            (role.to_string(), column)
        })
        .collect()
}

pub(super) fn names(table: &Table) -> Vec<String> {
    table.columns().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn columns_get_roles_and_rows_get_ids_and_places() {
    let folder = folder();
    let one = write(&folder, "a.csv", "sentence,label,part\nfine,1,x\nbad,0,y\n");
    let two = write(&folder, "b.csv", "label,sentence,part\n1,\"two\nlines\",z\n0,no,\n");
    let options = ReadOptions { columns: columns(&[("text", "sentence")]), ..Default::default() };
    let table = read_table(&[one, two], &options).unwrap();
    assert_eq!(names(&table), ["text", "label", "part", "id"]);
    assert_eq!(table.rows(), 4);
    assert_eq!(table.texts("text").unwrap(), ["fine", "bad", "two\nlines", "no"]);
    assert_eq!(table.ids(), ["0", "1", "2", "3"]);
    assert_eq!(table.place(0), Some(("a.csv", 2)));
    assert_eq!(table.place(3), Some(("b.csv", 4)));
    assert_eq!(table.labels().names(), ["0", "1"]);
    assert_eq!(table.targets().unwrap(), Targets::Class(vec![1, 0, 1, 0]));
}

#[test]
fn types_of_cells_are_found_over_all_rows() {
    let folder = folder();
    let file = write(&folder, "a.csv", "a,b,c,d,e\n1,1,x,True,007\n2,2.5,3,false,1\n,,,,\n");
    let table = read_table(&[file], &ReadOptions::default()).unwrap();
    let types: Vec<ColumnType> = table.columns().into_iter().map(|(_, found)| found).collect();
    use ColumnType::{Bool, Float, Int, Text};
    assert_eq!(types, [Int, Float, Text, Bool, Text, Int]);
    assert_eq!(table.column("b").unwrap(), ColumnData::Float(vec![Some(1.0), Some(2.5), None]));
}

#[test]
fn wrong_columns_are_named_with_the_nearest() {
    let folder = folder();
    let file = write(&folder, "a.csv", "sentence,label\nx,1\n");
    let read = |columns| {
        read_table(std::slice::from_ref(&file), &ReadOptions { columns, ..Default::default() })
    };
    let error = read(columns(&[("text", "sentense")])).unwrap_err();
    assert_eq!(error.fault, Fault::Column);
    assert_eq!(error.nearest.as_deref(), Some("sentence"));
    assert_eq!(error.subject.as_deref(), Some("text"));
    let error = read(columns(&[("text", "7")])).unwrap_err();
    assert!(error.message.contains("no column 7"));
    let error = read(columns(&[("label", "sentence")])).unwrap_err();
    assert!(error.message.contains("one name"), "{error}");
}

#[test]
fn missing_values_are_refused_dropped_or_kept() {
    let folder = folder();
    let file = write(&folder, "a.csv", "text,label,other\na,1,\n,0,x\nb,,y\n");
    let read = |missing| {
        read_table(std::slice::from_ref(&file), &ReadOptions { missing, ..Default::default() })
    };
    let error = read(Missing::Error).unwrap_err();
    assert_eq!((error.line, error.fault), (Some(3), Fault::Row));
    let dropped = read(Missing::Drop).unwrap();
    assert_eq!(dropped.texts("text").unwrap(), ["a"]);
    let kept = read(Missing::Keep).unwrap();
    assert_eq!(kept.texts("text").unwrap(), ["a", "", "b"]);
    assert_eq!(kept.targets().unwrap(), Targets::Class(vec![1, 0, -100]));
}

#[test]
fn declared_names_replace_numbers_and_refuse_others() {
    let folder = folder();
    let file = write(&folder, "a.tsv", "x\t0\ny\t1\n");
    let options = |labels: &[&str]| ReadOptions {
        columns: columns(&[("text", "0"), ("label", "1")]),
        labels: Some(labels.iter().map(|name| name.to_string()).collect()),
        ..Default::default()
    };
    let table = read_table(std::slice::from_ref(&file), &options(&["bad", "good"])).unwrap();
    assert_eq!(table.texts("label").unwrap(), ["bad", "good"]);
    assert_eq!(table.targets().unwrap(), Targets::Class(vec![0, 1]));
    let swapped = read_table(std::slice::from_ref(&file), &options(&["1", "0"])).unwrap();
    assert_eq!(swapped.targets().unwrap(), Targets::Class(vec![1, 0]));
    let error = read_table(std::slice::from_ref(&file), &options(&["only"])).unwrap_err();
    assert_eq!((error.fault, error.line), (Fault::Label, Some(2)));
}

/// The numbers of one table may all be names where those of another show that they are places.
#[test]
fn whether_numbers_are_names_is_found_over_all_tables() {
    let folder = folder();
    let names: Vec<String> = ["1", "2", "3"].map(String::from).to_vec();
    let labels = |train: &str, test: &str, extension: &str| {
        let file = |name: &str, text: &str| write(&folder, &format!("{name}.{extension}"), text);
        let sources = [
            ("train".to_string(), vec![file("train", train)]),
            ("test".to_string(), vec![file("test", test)]),
        ];
        let options = ReadOptions { labels: Some(names.clone()), ..Default::default() };
        let (tables, _) = read_tables(&sources, &options)?;
        Ok(["train", "test"].map(|table| tables[table].targets().unwrap()))
    };
    let class = |classes: &[i64]| Targets::Class(classes.to_vec());
    let places = labels("text,label\na,0\nb,1\nc,2\nd,1\n", "text,label\na,1\nb,2\nc,1\n", "csv");
    assert_eq!(places.unwrap(), [class(&[0, 1, 2, 1]), class(&[1, 2, 1])]);
    let themselves = labels("text,label\na,3\nb,1\n", "text,label\na,1\nb,2\n", "csv");
    assert_eq!(themselves.unwrap(), [class(&[2, 0]), class(&[0, 1])]);
    let lists = labels(
        "{\"text\": \"a\", \"label\": [0, 2]}\n",
        "{\"text\": \"a\", \"label\": [1]}\n",
        "jsonl",
    );
    let multi = |values: &[f32]| Targets::Multi { classes: 3, values: values.to_vec() };
    assert_eq!(lists.unwrap(), [multi(&[1.0, 0.0, 1.0]), multi(&[0.0, 1.0, 0.0])]);
    // Texts are names in any case, so the number 0 beside them is a wrong one.
    let mixed: Result<[Targets; 2], DataError> = labels(
        "{\"text\": \"a\", \"label\": \"1\"}\n",
        "{\"text\": \"a\", \"label\": 0}\n",
        "jsonl",
    );
    assert_eq!(mixed.unwrap_err().fault, Fault::Label);
}

#[test]
fn ids_keep_their_spelling() {
    let folder = folder();
    let papers = write(&folder, "a.csv", "text,id\na,1706.03760\nb,1810.04805\n");
    let numbers = write(&folder, "b.csv", "text,id\nc,12\n");
    let one = |file: &SourceFile| {
        read_table(std::slice::from_ref(file), &ReadOptions::default()).unwrap()
    };
    assert_eq!(one(&papers).ids(), ["1706.03760", "1810.04805"]);
    assert_eq!(one(&numbers).column_type("id"), Some(ColumnType::Int));
    let typed = write(&folder, "c.jsonl", "{\"text\": \"a\", \"id\": 1810.04805}\n");
    assert_eq!(one(&typed).ids(), ["1810.04805"]);
    let lists = write(&folder, "d.jsonl", "{\"text\": \"a\", \"id\": [1, 2]}\n");
    assert_eq!(one(&lists).ids(), ["[1,2]"]);
    let sources = [("train".to_string(), vec![papers]), ("test".to_string(), vec![numbers])];
    let (tables, _) = read_tables(&sources, &ReadOptions::default()).unwrap();
    let all = Table::concat(&[&tables["train"], &tables["test"]]).unwrap();
    assert_eq!(all.ids(), ["1706.03760", "1810.04805", "12"]);
}

#[test]
fn one_long_line_is_probed_in_every_text_format() {
    let folder = folder();
    let line = "한국어 ".repeat(100_000);
    let object = format!("{{\"text\": \"{line}\"}}");
    for (name, text) in [
        ("a.txt", line.clone()),
        ("a.csv", format!("text\n{line}")),
        ("a.tsv", format!("text\n{line}")),
        ("a.jsonl", object.clone()),
        ("b.jsonl", format!("[{object}]")),
        ("c.jsonl", format!("{object}\n{object}\n")),
    ] {
        let sources = [("train".to_string(), vec![write(&folder, name, &text)])];
        let header = &probe(&sources, &ReadOptions::default()).unwrap()["train"];
        let (tables, _) = read_tables(&sources, &ReadOptions::default()).unwrap();
        assert_eq!(header.columns, tables["train"].columns(), "{name}");
    }
}

/// A column that is null throughout one shard has no type there, nor have lists that are all empty.
#[test]
fn shards_with_nothing_in_a_column_are_read_with_the_others() {
    let folder = folder();
    let bare = write(&folder, "a.jsonl", "{\"text\": \"a\", \"n\": null, \"list\": []}\n");
    let full = write(&folder, "b.jsonl", "{\"text\": \"b\", \"n\": 2, \"list\": [1]}\n");
    for files in [[bare.clone(), full.clone()], [full, bare]] {
        let table = read_table(&files, &ReadOptions::default()).unwrap();
        assert_eq!(table.column_type("n"), Some(ColumnType::Int));
        assert_eq!(table.column_type("list"), Some(ColumnType::List(Box::new(ColumnType::Int))));
    }
}

#[test]
fn a_word_among_scores_is_a_fault_with_its_line() {
    let folder = folder();
    let mut text = String::from("text,label\n");
    for row in 0..30 {
        text.push_str(&format!(
            "t{row},{}\n",
            if row == 20 { "oops".into() } else { format!("{row}.5") }
        ));
    }
    let file = write(&folder, "a.csv", &text);
    let error = read_table(&[file], &ReadOptions::default()).unwrap_err();
    assert_eq!((error.fault, error.line), (Fault::Label, Some(22)));
}

#[test]
fn several_labels_in_a_cell_are_split() {
    let folder = folder();
    let file = write(&folder, "a.tsv", "x\t4,27\ny\t\nz\t4\n");
    let options = ReadOptions {
        columns: columns(&[("text", "0"), ("label", "1")]),
        label_separator: Some(",".into()),
        ..Default::default()
    };
    let table = read_table(&[file], &options).unwrap();
    assert_eq!(
        table.labels(),
        &Labels::Multi { names: vec!["4".into(), "27".into()], declared: false }
    );
    assert_eq!(
        table.targets().unwrap(),
        Targets::Multi { classes: 2, values: vec![1.0, 1.0, 0.0, 0.0, 1.0, 0.0] }
    );
}

#[test]
fn tables_of_one_step_share_their_label_names() {
    let folder = folder();
    let sources = [
        ("train".to_string(), vec![write(&folder, "a.csv", "text,label\nx,1\ny,2\n")]),
        ("test".to_string(), vec![write(&folder, "b.csv", "text,label\nx,other\n")]),
    ];
    let (tables, report) = read_tables(&sources, &ReadOptions::default()).unwrap();
    assert_eq!(tables["train"].labels().names(), ["1", "2", "other"]);
    assert_eq!(tables["test"].targets().unwrap(), Targets::Class(vec![2]));
    assert!(report.notes[0].contains("`other`"));
}

#[test]
fn every_format_reads_back_what_was_written() {
    let folder = folder();
    let json = "{\"text\": \"é \\\"q\\\"\", \"label\": \"a\", \"n\": 1, \"x\": 0.5, \"ok\": true, \"tags\": [\"p\", \"q\"]}\n\
                {\"text\": \"two\\nlines\", \"label\": \"b\", \"n\": null, \"x\": 1e-3, \"ok\": false, \"tags\": []}\n";
    let table = read_table(&[write(&folder, "a.jsonl", json)], &ReadOptions::default()).unwrap();
    for extension in ["parquet", "arrow", "jsonl"] {
        let path = folder.path().join(format!("again.{extension}"));
        crate::data::write(&table, &path).unwrap();
        let again = read_table(&[path.into()], &ReadOptions::default()).unwrap();
        assert_eq!(again.digest().unwrap(), table.digest().unwrap(), "{extension}");
    }
    let plain = table.select(&["text", "label", "n", "x", "ok", "id"].map(String::from)).unwrap();
    for extension in ["csv", "tsv"] {
        let path = folder.path().join(format!("again.{extension}"));
        if extension == "tsv" {
            assert!(crate::data::write(&plain, &path).unwrap_err().message.contains("line break"));
            continue;
        }
        crate::data::write(&plain, &path).unwrap();
        let again = read_table(&[path.into()], &ReadOptions::default()).unwrap();
        // Delimited text writes booleans as words, which read back as booleans.
        assert_eq!(again.digest().unwrap(), plain.digest().unwrap(), "{extension}");
    }
}

#[test]
fn our_own_tables_round_trip_exactly() {
    let folder = folder();
    let file = write(&folder, "a.csv", "text,label\nx,1\ny,0\n");
    let table = read_table(&[file], &ReadOptions::default()).unwrap().take(&[1]).unwrap();
    let path = folder.path().join("table.arrow");
    table.write_ipc(&path).unwrap();
    let again = Table::read_ipc(&path).unwrap();
    assert_eq!(again.digest().unwrap(), table.digest().unwrap());
    assert_eq!(again.labels(), table.labels());
    assert_eq!(again.place(0), Some(("a.csv", 3)));
    let bytes = std::fs::read(&path).unwrap();
    again.write_ipc(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    for cut in [0, 8, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Table::read_ipc(&path).is_err(), "{cut}");
    }
    // A wrong byte anywhere is an error or other values, and never a crash.
    for at in (0..bytes.len()).step_by(7) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x55;
        std::fs::write(&path, &wrong).unwrap();
        let _ = Table::read_ipc(&path);
    }
}

#[test]
fn damaged_and_foreign_files_are_errors() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow"] {
        for text in ["", "PAR1", "ARROW1\0\0 garbage garbage PAR1PAR1"] {
            let file = write(&folder, name, text);
            assert!(read_table(&[file], &ReadOptions::default()).is_err(), "{name} {text:?}");
        }
    }
    let file = write(&folder, "noextension", "a\n");
    let error = read_table(&[file], &ReadOptions::default()).unwrap_err();
    assert!(error.help.unwrap().contains("format ="));
}

#[test]
fn gzip_limit_latin1_and_globs() {
    let folder = folder();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(b"text,label\ncaf\xE9,a\nb,b\nc,a\n").unwrap();
    std::fs::write(folder.path().join("x1.csv.gz"), packer.finish().unwrap()).unwrap();
    std::fs::write(folder.path().join("x2.csv"), "text,label\nlast,b\n").unwrap();
    let roots = [std::path::PathBuf::from("nowhere"), folder.path().to_path_buf()];
    let files: Vec<SourceFile> =
        find_files("x*.csv*", &roots).unwrap().into_iter().map(Into::into).collect();
    assert_eq!(files.len(), 2);
    let options = ReadOptions { encoding: Encoding::Latin1, ..Default::default() };
    let table = read_table(&files, &options).unwrap();
    assert_eq!(table.texts("text").unwrap(), ["café", "b", "c", "last"]);
    let limited = ReadOptions { limit: Some(2), ..options.clone() };
    assert_eq!(read_table(&files, &limited).unwrap().rows(), 2);
    let error = read_table(&files, &ReadOptions::default()).unwrap_err();
    assert_eq!((error.fault, error.line), (Fault::Encoding, Some(2)));
    let error = find_files("x3.csv", &roots).unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("x2.csv"));
    assert!(find_files("y*.csv", &roots).is_err());
}

#[test]
fn probing_finds_what_reading_finds() {
    let folder = folder();
    let mut text = String::from("sentence,label\n");
    for row in 0..5000 {
        text.push_str(&format!("sentence number {row},{}\n", row % 3));
    }
    let sources = [("train".to_string(), vec![write(&folder, "a.csv", &text)])];
    let options = ReadOptions { columns: columns(&[("text", "sentence")]), ..Default::default() };
    let header = &probe(&sources, &options).unwrap()["train"];
    let (tables, _) = read_tables(&sources, &options).unwrap();
    assert_eq!(header.columns, tables["train"].columns());
    assert_eq!(header.labels.labels.names(), ["0", "1", "2"]);
    assert!(!header.labels.complete);
    let Count::About(rows) = header.rows else { panic!("{:?}", header.rows) };
    assert!((4500..5500).contains(&rows), "{rows}");
    let limited = ReadOptions { limit: Some(10), ..options };
    assert_eq!(probe(&sources, &limited).unwrap()["train"].rows, Count::Exactly(10));
}

#[test]
fn a_table_does_not_depend_on_how_it_was_put_together() {
    let folder = folder();
    let file = write(&folder, "a.csv", "text,label\na,1\nb,0\nc,1\n");
    let table = read_table(&[file], &ReadOptions::default()).unwrap();
    let one = table.take(&[0]).unwrap();
    let rest = table.take(&[1, 2]).unwrap();
    let joined = Table::concat(&[&one, &rest]).unwrap();
    assert_eq!(joined.digest().unwrap(), table.digest().unwrap());
    assert_eq!(joined.place(2), table.place(2));
    let mut bytes = [Vec::new(), Vec::new()];
    joined.to_ipc(&mut bytes[0], true).unwrap();
    Table::concat(&[&one, &rest]).unwrap().to_ipc(&mut bytes[1], true).unwrap();
    assert_eq!(bytes[0], bytes[1]);
    assert_ne!(table.take(&[1, 0, 2]).unwrap().digest().unwrap(), table.digest().unwrap());
}

/// Where the real data sets lie, if they are there.
pub(super) fn shared() -> Option<PathBuf> {
    let folder = std::env::var("FTRUN_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let data = folder.join("data");
    if data.is_dir() {
        return Some(data);
    }
    println!("skipped: the real data sets are not at {}", data.display());
    None
}

#[test]
fn the_real_data_sets_have_the_rows_they_are_said_to_have() {
    let Some(data) = shared() else { return };
    let read = |file: &str, options: &ReadOptions| -> Table {
        let started = std::time::Instant::now();
        let sources = [("train".to_string(), vec![data.join(file).into()])];
        let (tables, _): (Tables, _) =
            read_tables(&sources, options).unwrap_or_else(|error| panic!("{error}"));
        let read = started.elapsed();
        let started = std::time::Instant::now();
        let header = &probe(&sources, options).unwrap()["train"];
        let table = tables["train"].clone();
        println!(
            "{file}: {} rows in {read:?}, probed in {:?}: {header:?}",
            table.rows(),
            started.elapsed()
        );
        assert_eq!(header.columns, table.columns(), "{file}");
        table
    };
    let tsv = |pairs| ReadOptions {
        format: Some("tsv".into()),
        columns: columns(pairs),
        ..Default::default()
    };
    let csv = |pairs| ReadOptions { columns: columns(pairs), ..Default::default() };

    let sst2 = tsv(&[("text", "sentence")]);
    assert_eq!(read("sst2/train.tsv", &sst2).rows(), 67_349);
    assert_eq!(read("sst2/dev.tsv", &sst2).rows(), 872);
    assert_eq!(read("sst2/test_unlabeled.tsv", &sst2).rows(), 1821);
    assert_eq!(read("sst2/train_sentences.tsv", &sst2).rows(), 6920);
    assert_eq!(read("sst2/dev.tsv", &sst2).labels().names(), ["0", "1"]);

    let mrpc = tsv(&[("text", "#1 String"), ("text_pair", "#2 String"), ("label", "Quality")]);
    assert_eq!(read("mrpc/train.tsv", &mrpc).rows(), 3667);
    assert_eq!(read("mrpc/dev.tsv", &mrpc).rows(), 408);
    assert_eq!(read("mrpc/msr_paraphrase_test.txt", &mrpc).rows(), 1725);

    let stsb = csv(&[("text", "0"), ("text_pair", "1"), ("label", "2")]);
    for (file, rows) in [("train", 5749), ("dev", 1500), ("test", 1379)] {
        let table = read(&format!("stsb/{file}.csv"), &stsb);
        assert_eq!(table.rows(), rows);
        assert_eq!(table.labels(), &Labels::Values);
    }

    let names = read_label_names(&data.join("go_emotions/labels.txt")).unwrap();
    assert_eq!(names.len(), 28);
    let emotions = ReadOptions {
        labels: Some(names),
        label_separator: Some(",".into()),
        ..tsv(&[("text", "0"), ("label", "1"), ("id", "2")])
    };
    let mut several = Vec::new();
    for (file, rows) in [("train", 20_000), ("dev", 5426), ("test", 5427)] {
        let table = read(&format!("go_emotions/{file}.tsv"), &emotions);
        assert_eq!(table.rows(), rows);
        let Targets::Multi { classes, values } = table.targets().unwrap() else { panic!() };
        several.push(values.chunks(classes).filter(|row| row.iter().sum::<f32>() > 1.0).count());
    }
    assert_eq!(several, [3271, 878, 837]);

    let rte = tsv(&[("text", "sentence1"), ("text_pair", "sentence2")]);
    assert_eq!(read("rte/train.tsv", &rte).rows(), 2490);
    assert_eq!(read("rte/dev.tsv", &rte).labels().names(), ["entailment", "not_entailment"]);
    let snli = tsv(&[("text", "premise"), ("text_pair", "hypothesis")]);
    assert_eq!(read("snli/validation.tsv", &snli).rows(), 9842);
    assert_eq!(read("snli/test.tsv", &snli).rows(), 9824);
    let news = tsv(&[("text", "0"), ("label", "1")]);
    assert_eq!(read("ag_news/train.tsv", &news).rows(), 10_001);
    assert_eq!(read("ag_news/test.tsv", &news).rows(), 7600);
    let official = csv(&[("label", "0"), ("text", "2"), ("title", "1")]);
    assert_eq!(read("ag_news/test_official.csv", &official).rows(), 7600);
    let spam = tsv(&[("label", "0"), ("text", "1")]);
    assert_eq!(read("sms_spam/SMSSpamCollection", &spam).rows(), 5574);
    assert_eq!(read("scitldr/dev.jsonl", &ReadOptions::default()).rows(), 619);
    assert_eq!(read("self_instruct_seed/seed_tasks.jsonl", &ReadOptions::default()).rows(), 175);
    assert_eq!(
        read(
            "multi30k_en_de/val.en.gz",
            &ReadOptions { format: Some("text".into()), ..Default::default() }
        )
        .rows(),
        1014
    );
}

#[test]
fn files_beside_each_other_are_columns() {
    let folder = tempfile::tempdir().unwrap();
    let beside = |name: &str, text: &str, column: &str| SourceFile {
        column: Some(column.to_string()),
        ..write(&folder, name, text)
    };
    let text = beside("text.txt", "a, b\n\"c\nd\n", "text");
    let label = beside("label.txt", "1\n0\n1\n", "label");
    let table = read_table(&[text.clone(), label.clone()], &ReadOptions::default()).unwrap();
    assert_eq!(table.texts("text").unwrap(), ["a, b", "\"c", "d"]);
    assert_eq!(table.targets().unwrap(), Targets::Class(vec![1, 0, 1]));
    let limit = ReadOptions { limit: Some(2), ..ReadOptions::default() };
    assert_eq!(read_table(&[text.clone(), label], &limit).unwrap().rows(), 2);
    let short = beside("short.txt", "1\n", "label");
    let error = read_table(&[text, short], &ReadOptions::default()).unwrap_err();
    assert!(error.message.contains("1 lines") && error.message.contains("has 3"), "{error}");
}
