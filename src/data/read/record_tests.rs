//! Reading sentences, questions and choices as a whole, and the real data sets where they are.

use super::tests::{columns, folder, names, shared, write};
use super::*;
use crate::data::column::ColumnData;
use crate::data::table::Table;

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
