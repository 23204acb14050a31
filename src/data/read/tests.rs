//! Reading as a whole: options together, several files, and the real data sets where they are.

use super::*;
use crate::data::column::{ColumnData, ColumnType};
use crate::data::labels::{Labels, Targets};
use crate::data::table::{Table, Tables};
use std::io::Write;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> SourceFile {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    SourceFile { path, name: name.to_string(), column: None }
}

fn columns(pairs: &[(&str, &str)]) -> Vec<(String, ColumnRef)> {
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

fn names(table: &Table) -> Vec<String> {
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
fn shared() -> Option<PathBuf> {
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

/// The words or tags of every row, joined by blanks.
fn sentences(table: &Table, column: &str) -> Vec<String> {
    match table.column(column).unwrap() {
        ColumnData::Texts(rows) => {
            rows.into_iter().map(|row| row.unwrap_or_default().join(" ")).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn sentences_are_read_with_their_tags_and_iob1_becomes_iob2() {
    let folder = folder();
    let train = write(&folder, "a.conll", "EU\tI-ORG\nrejects\tO\n\nA\tI-X\nB\tB-X\n");
    let test = write(&folder, "b.txt", "Peter\tI-PER\nBlackburn\tI-PER\n");
    let sources = [("train".to_string(), vec![train]), ("test".to_string(), vec![test])];
    let read = |options: ReadOptions| {
        let options = ReadOptions { format: Some("conll".into()), ..options };
        read_tables(&sources, &options).unwrap()
    };
    let (tables, report) = read(ReadOptions::default());
    assert_eq!(names(&tables["train"]), ["words", "tags", "id"]);
    assert_eq!(sentences(&tables["train"], "words"), ["EU rejects", "A B"]);
    assert_eq!(sentences(&tables["train"], "tags"), ["B-ORG O", "B-X B-X"]);
    assert_eq!(sentences(&tables["test"], "tags"), ["B-PER I-PER"]);
    assert_eq!(tables["train"].place(1), Some(("a.conll", 4)));
    let tags = ["B-ORG", "B-PER", "B-X", "I-PER", "O"];
    assert_eq!(tables["test"].labels().names(), tags);
    assert!(report.changes[0].contains("IOB1"), "{:?}", report.changes);
    let train = tables["train"].select(&["tags".to_string()]).unwrap();
    assert_eq!(train.labels().names(), tags);
    assert!(tables["train"].select(&["words".to_string()]).unwrap().labels().names().is_empty());
    assert_eq!(train.inferred_labels().unwrap().names(), ["B-ORG", "B-X", "O"]);

    let numbered = ReadOptions { columns: columns(&[("tags", "1")]), ..Default::default() };
    let (tables, report) = read(ReadOptions { scheme: TagScheme::AsIs, ..numbered.clone() });
    assert_eq!(sentences(&tables["train"], "tags"), ["I-ORG O", "I-X B-X"]);
    assert_eq!((report.changes.len(), report.broken_tags), (0, 0));
    let (tables, _) = read(ReadOptions { scheme: TagScheme::To(Scheme::Iobes), ..numbered });
    assert_eq!(sentences(&tables["test"], "tags"), ["B-PER E-PER"]);
}

/// As Hugging Face's data sets are stored: tags are numbers, and the names are known elsewhere.
#[test]
fn lists_of_words_and_tags_are_read_from_every_format() {
    let folder = folder();
    let file = write(
        &folder,
        "a.jsonl",
        "{\"tokens\": [\"EU\", \"rejects\"], \"ner_tags\": [1, 0]}\n{\"tokens\": [\"it\"], \"ner_tags\": [0]}\n",
    );
    let options = ReadOptions {
        columns: columns(&[("words", "tokens"), ("tags", "ner_tags")]),
        labels: Some(["O", "B-ORG", "I-ORG"].map(String::from).to_vec()),
        ..Default::default()
    };
    let table = read_table(&[file], &options).unwrap();
    assert_eq!(sentences(&table, "tags"), ["B-ORG O", "O"]);
    assert_eq!(table.labels().names(), ["O", "B-ORG", "I-ORG"]);
    for name in ["b.parquet", "b.arrow"] {
        let path = folder.path().join(name);
        crate::data::write(&table, &path).unwrap();
        let again = read_table(&[path.into()], &ReadOptions::default()).unwrap();
        assert_eq!(sentences(&again, "words"), sentences(&table, "words"), "{name}");
        assert_eq!(sentences(&again, "tags"), sentences(&table, "tags"), "{name}");
    }
    let bad = write(&folder, "c.jsonl", "{\"words\": [\"a\"], \"tags\": [\"O\", \"O\"]}\n");
    let error = read_table(&[bad], &ReadOptions::default()).unwrap_err();
    assert_eq!((error.fault, error.line), (Fault::Row, Some(1)));
    let bad = write(&folder, "d.csv", "words,label\nit rains,1\n");
    let error = read_table(&[bad], &ReadOptions::default()).unwrap_err();
    assert!(error.message.contains("not lists of texts"), "{error}");
}

#[test]
fn answers_come_with_their_places_whatever_holds_them() {
    let folder = folder();
    let rows = "{\"question\": \"what?\", \"context\": \"é tea\", \"answers\": {\"text\": [\"tea\"], \"answer_start\": [3]}}\n\
                {\"question\": \"why?\", \"context\": \"é tea\", \"answers\": {\"text\": [], \"answer_start\": []}}\n";
    let file = write(&folder, "a.jsonl", rows);
    let sources = [("train".to_string(), vec![file])];
    let (tables, report) = read_tables(&sources, &ReadOptions::default()).unwrap();
    let table = &tables["train"];
    assert_eq!(sentences(table, "answers"), ["tea", ""]);
    let starts = ColumnData::Ints(vec![Some(vec![2]), Some(vec![])]);
    assert_eq!(table.column("answer_starts").unwrap(), starts);
    assert_eq!(report.moved_answers, 1);

    let flat = write(&folder, "b.csv", "question,context,answer,at\nwhat?,tea and tea,tea,8\n");
    let pairs = [("answers", "answer"), ("answer_starts", "at")];
    let options = ReadOptions { columns: columns(&pairs), ..Default::default() };
    let table = read_table(&[flat], &options).unwrap();
    assert_eq!(table.column("answer_starts").unwrap(), ColumnData::Ints(vec![Some(vec![8])]));
}

/// A file that pyarrow wrote, as Hugging Face stores SQuAD; its rows lie in two groups.
#[test]
fn answers_of_parquet_are_structs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/data/answers.parquet");
    let sources = [("train".to_string(), vec![path.into()])];
    let (tables, report) = read_tables(&sources, &ReadOptions::default()).unwrap();
    let table = &tables["train"];
    assert_eq!(sentences(table, "answers"), ["Tea", "ice ice is", ""]);
    let starts = ColumnData::Ints(vec![Some(vec![0]), Some(vec![12, 12]), Some(vec![])]);
    assert_eq!(table.column("answer_starts").unwrap(), starts);
    assert_eq!((report.moved_answers, report.notes.len()), (0, 0));
    let header = &probe(&sources, &ReadOptions { limit: Some(1), ..Default::default() }).unwrap();
    assert_eq!(header["train"].columns, table.columns());
}

#[test]
fn choices_and_the_right_one() {
    let folder = folder();
    let file = write(
        &folder,
        "a.csv",
        "context,one,two,three,answer\nx,tea,ice,snow,B\ny,a,b,c,a\nz,red,green,,green\n",
    );
    let list = ["one", "two", "three"].map(|name| ColumnRef::Name(name.to_string()));
    let mut given = columns(&[("label", "answer")]);
    given.push(("choices".to_string(), ColumnRef::Several(list.to_vec())));
    let options = ReadOptions { columns: given, ..Default::default() };
    let table = read_table(&[file], &options).unwrap();
    assert_eq!(names(&table), ["label", "choices", "context", "id"]);
    assert_eq!(sentences(&table, "choices"), ["tea ice snow", "a b c", "red green"]);
    assert_eq!(table.column("label").unwrap(), ColumnData::Int(vec![Some(1), Some(0), Some(1)]));
    assert_eq!(table.labels().names(), ["0", "1", "2"]);
    let lists = write(&folder, "b.jsonl", "{\"choices\": [\"a\", \"b\"], \"label\": 2}\n");
    let error = read_table(&[lists], &ReadOptions::default()).unwrap_err();
    assert_eq!((error.fault, error.line), (Fault::Label, Some(1)));
}

/// The numbers of sentences, words and questions that their `SOURCE.md` counts.
#[test]
fn the_real_sentences_and_questions_are_all_there() {
    let Some(data) = shared() else { return };
    let read = |file: &str| {
        let sources = [("train".to_string(), vec![data.join(file).into()])];
        let (mut tables, report) = read_tables(&sources, &ReadOptions::default()).unwrap();
        let header = &probe(&sources, &ReadOptions::default()).unwrap()["train"];
        let table = tables.swap_remove("train").unwrap();
        assert_eq!(header.columns, table.columns(), "{file}");
        (table, report, header.rows)
    };
    let words = |table: &Table| match table.column("words").unwrap() {
        ColumnData::Texts(rows) => rows.iter().flatten().map(Vec::len).sum::<usize>(),
        other => panic!("{other:?}"),
    };
    for (file, rows, count) in [
        ("wnut17/wnut17train.conll", 3394, 62_730),
        ("wnut17/emerging.dev.conll", 1009, 15_733),
        ("wnut17/emerging.test.annotated", 1287, 23_394),
    ] {
        let (table, report, _) = read(file);
        assert_eq!((table.rows(), words(&table)), (rows, count), "{file}");
        assert_eq!((table.labels().names().len(), report.broken_tags), (13, 0), "{file}");
        assert!(report.changes.is_empty(), "{file}: {:?}", report.changes);
    }
    for (part, rows) in [("train", 2509), ("dev", 2001), ("test", 2077)] {
        let (table, _, _) = read(&format!("ud_english_ewt/en_ewt-ud-{part}.conllu"));
        assert_eq!((table.rows(), table.labels().names().len()), (rows, 17), "{part}");
        assert!(table.ids()[0].contains('-'), "{part}: {}", table.ids()[0]);
    }
    for (part, rows, unanswerable) in [("train", 4611, 2427), ("dev", 1467, 741)] {
        let (table, report, count) = read(&format!("squad_v2/{part}.json"));
        assert_eq!((table.rows(), count), (rows, Count::Exactly(rows as u64)), "{part}");
        assert_eq!(report.moved_answers, 0);
        let ColumnData::Texts(answers) = table.column("answers").unwrap() else { panic!() };
        let empty = answers.iter().flatten().filter(|answers| answers.is_empty()).count();
        assert_eq!(empty, unanswerable, "{part}");
    }
}
