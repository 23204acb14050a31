//! Programs with faults: every one is reported, at its place, and what is proposed removes it.

use super::super::ast::Item;
use super::{SENTIMENT, applied, faults, read};
use crate::base::Code;

/// The program with one piece of it replaced.
fn broken(from: &str, to: &str) -> String {
    assert!(SENTIMENT.contains(from), "{from}");
    SENTIMENT.replacen(from, to, 1)
}

#[test]
fn four_faults_in_four_steps_give_four_errors() {
    let text = broken("sentence\", label", "sentence, label")
        .replace("head   = seq", "head   seq")
        .replace("max_length = 128", "max_length = = 128")
        .replace("\n}\n\neval", "\n\neval");
    assert_eq!(faults(&text), ["11 E0003", "16 E0007", "27 E0007", "31 E0002"]);
}

#[test]
fn a_missing_brace_is_reported_at_the_block_left_open_and_the_rest_is_read() {
    let text = broken("\n}\n\nload-model", "\n\nload-model");
    let (ast, diags) = read(&text);
    assert_eq!(diags.len(), 1, "{diags:#?}");
    let diag = &diags[0];
    assert_eq!(diag.code, Code::E0002);
    let place = |index: usize| {
        let span = diag.labels[index].span;
        &text[span.start..]
    };
    assert!(text[..diag.span().start].ends_with("load-data reviews "));
    assert!(place(0).starts_with('{') && place(1).starts_with("load"));
    assert_eq!(ast.steps().count(), 7);
    assert!(ast.steps().all(|step| !step.damaged));
}

#[test]
fn the_rest_of_a_step_is_read_behind_a_fault_in_it() {
    let text = broken("max_length = 128", "max_length = [1 ? 2]");
    let (ast, diags) = read(&text);
    assert!(!diags.is_empty());
    let step = ast.steps().find(|step| step.name.value == "tokens").expect("the step");
    let names: Vec<&str> = step.args.iter().map(|arg| arg.name.value.as_str()).collect();
    assert!(
        names.starts_with(&["data", "tokenizer"]) && names.ends_with(&["overflow"]),
        "{names:?}"
    );
    assert!(step.damaged);
}

/// Every sign of a valid program is left out in turn.
#[test]
fn one_missing_sign_gives_few_messages_and_mostly_its_own_repair() {
    let (mut missing, mut single, mut repaired) = (0, 0, 0);
    for (at, sign) in SENTIMENT.char_indices().filter(|(_, sign)| "{}[]()=\"".contains(*sign)) {
        let mut text = SENTIMENT.to_string();
        text.remove(at);
        let (_, diags) = read(&text);
        if diags.is_empty() {
            continue; // It stood in a comment.
        }
        missing += 1;
        // Without its quote `"#1 …` becomes a comment, which takes brackets with it.
        assert!(diags.len() <= 5, "without `{sign}` at {at}\n{diags:#?}");
        if let [diag] = diags.as_slice() {
            single += 1;
            repaired +=
                usize::from(applied(&text, diag).is_some_and(|mended| faults(&mended).is_empty()));
        }
    }
    assert!(single * 100 >= missing * 90, "{single} of {missing}");
    assert!(repaired * 100 >= missing * 80, "{repaired} of {missing}");
}

#[test]
fn items_of_later_editions_get_one_message_each() {
    let text = "ftp 1\n\
                sweep search {\n  vary = { a = 1 when b == 2 }\n}\ncompare verdict { x = 1 }\n\
                eval e { model = small.t }\n";
    let (ast, diags) = read(text);
    let codes: Vec<Code> = diags.iter().map(|diag| diag.code).collect();
    assert_eq!(codes, [Code::E0102; 2]);
    let names: Vec<&str> = ast.unread.iter().map(|name| name.value.as_str()).collect();
    assert_eq!(names, ["search", "verdict"]);
    assert_eq!(ast.steps().count(), 1);
}

/// What a fragment holds is read like the items of a program, so that one fault does not hide the next.
#[test]
fn faults_in_fragments_are_found_one_by_one() {
    let (ast, diags) = read(
        "ftp 1\nfragment f(m: model, r: float = ?) {\n  train t { model = m, a = }\n  seed 3\n  eval e {\n    b = 1\n  use g inner { m = m }\n}\nuse f small { m = }\nseed 4\n",
    );
    let codes: Vec<&str> = diags.iter().map(|diag| diag.code.as_str()).collect();
    assert_eq!(codes, ["E0001", "E0008", "E0107", "E0002", "E0008"], "{diags:#?}");
    assert!(matches!(ast.items.last(), Some(Item::Seed(_))));
    let (ast, diags) = read("ftp 1\nfragment f() {\n  train t { a = 1 }\n\nseed 3\n");
    assert_eq!(diags.iter().map(|diag| diag.code.as_str()).collect::<Vec<_>>(), ["E0002"]);
    assert!(matches!(&ast.items[..], [Item::Fragment(f), Item::Seed(_)] if f.items.len() == 1));
    let mended = applied("ftp 1\nfragment f() {\n  train t { a = 1 }\n\nseed 3\n", &diags[0]);
    assert!(mended.is_some_and(|text| faults(&text).is_empty()));
}

#[test]
fn a_fault_in_a_step_does_not_hide_its_name() {
    let (ast, _) = read("ftp 1\ntrain t {\n  a = ?\n}\nparam p: int = ?\n");
    assert!(matches!(&ast.items[..], [Item::Step(step)] if step.damaged && step.name.value == "t"));
    assert_eq!(ast.unread[0].value, "p");
}

/// Each line: the code, the text of a program behind its edition line.
const FAULTS: &[(Code, &str)] = &[
    (Code::E0001, "eval a { x = b.c(1) }"),
    (Code::E0001, "eval a { x = 1 < 2 < 3 }"),
    (Code::E0001, "eval a { x = @ }"),
    (Code::E0001, "eval a { x =\u{a0}1 }"),
    (Code::E0002, "eval a { x = [1, 2 }"),
    (Code::E0002, "eval a {\n  x = f(1\n  y = 2\n}"),
    (Code::E0002, "eval a { x = f(1] }"),
    (Code::E0002, "eval a { x = 1 }\n}"),
    (Code::E0002, "eval a { x = 1\nseed 3"),
    (Code::E0002, "param x: int = 3 in [1, 2"),
    (Code::E0002, "eval a {\n  x = files\"b\")\n  y = 1\n}"),
    (Code::E0002, "eval a {\n  x = 1, 2]\n  y = 1\n}"),
    (Code::E0002, "eval a {\n  x =  b = 1, c = 2 }\n  y = 1\n}"),
    (Code::E0002, "eval a {\n  x = 1\n}\n  y = 1\n}"),
    (Code::E0003, "eval a { x = \"b }"),
    (Code::E0003, "eval a {\n  x = files(\"b, \"c\")\n}"),
    (Code::E0003, "eval a { x = \"C:\\data\" }"),
    (Code::E0003, "eval a {\n  x = \"\"\"b\n}"),
    (Code::E0004, "eval a { x = 3epochs }"),
    (Code::E0004, "eval a { x = .5 }"),
    (Code::E0004, "eval a { x = 1__000 }"),
    (Code::E0004, "eval a { x = 6 % }"),
    (Code::E0004, "eval a { x = 1e999 }"),
    (Code::E0004, "eval a { x = NaN }"),
    (Code::E0007, "eval a { x: 1 }"),
    (Code::E0007, "eval a { x == 1 }"),
    (Code::E0007, "eval a { x 1 }"),
    (Code::E0007, "eval a { x { y = 1 } }"),
    (Code::E0007, "eval a { x = filter(.y = 1) }"),
    (Code::E0007, "eval a { x = f(y: 1) }"),
    (Code::E0007, "eval a { x = { \"y\": 1 } }"),
    (Code::E0007, "eval a {\n  optimizer adamw {\n    rate = 1\n  }\n}"),
    (Code::E0007, "param x: int 3"),
    (Code::E0007, "secret x env(\"X\")"),
    (Code::E0008, "eval a { x = }"),
    (Code::E0008, "eval a { x = f(y = ) }"),
    (Code::E0008, "eval a { x = [1,,2] }"),
    (Code::E0008, "eval a { x }"),
    (Code::E0008, "eval a { x = 1 + }"),
    (Code::E0008, "eval a { x = tokens. }"),
    (Code::E0008, "param x: int ="),
    (Code::E0009, "eval a { x = [1 2] }"),
    (Code::E0009, "eval a { x = 1 y = 2 }"),
    (Code::E0009, "eval a { x = f(1\n  2) }"),
    (Code::E0009, "eval a { x = some words }"),
    (Code::E0009, "eval a { x = 1 } eval b { y = 2 }"),
    (Code::E0010, "eval a { x = 'b' }"),
    (Code::E0010, "eval a { x = “b” }"),
    (Code::E0010, "eval a { x = True, y = False }"),
    (Code::E0010, "eval a { x = None }"),
    (Code::E0010, "eval a {\n  x = 1;\n  y = 2;\n}"),
    (Code::E0010, "eval a {\n  x = 1 // why\n  y = 2\n}"),
    (Code::E0010, "eval a { x = .b && !.c || .d }"),
    (Code::E0010, "// comment\nseed 3"),
    (Code::E0010, "eval a { x = +3 }"),
    (Code::E0101, "eval {\n  x = 1\n}"),
    (Code::E0101, "tuned = train {\n  x = 1\n}"),
    (Code::E0101, "train tuned\n  x = 1\n}"),
    (Code::E0101, "train tuned"),
    (Code::E0101, "parm rate: float = 1.0"),
    (Code::E0101, "rate: float = 1.0"),
    (Code::E0101, "x = 1"),
    (Code::E0101, "17"),
    (Code::E0101, "fragment f(m: model)"),
    (Code::E0101, "use f"),
    (Code::E0101, "use f small"),
    (Code::E0104, "import \"a.ftp\" shared"),
    (Code::E0104, "fragment f m: model { eval a {} }"),
    (Code::E0107, "fragment f() {\n  param a: int = 3\n}"),
    (Code::E0102, "sweep s { vary = {} }"),
    (Code::E0103, "eval my-step { x = 1 }"),
    (Code::E0103, "eval \"my step\" { x = 1 }"),
    (Code::E0103, "eval a { learning-rate = 1 }"),
    (Code::E0103, "eval a { \"x\" = 1 }"),
    (Code::E0103, "eval a { größe = 1 }"),
    (Code::E0103, "eval a { x = größe }"),
    (Code::E0103, "eval größe { x = 1 }"),
    (Code::E0103, "param größe: int = 1"),
    (Code::E0103, "param seed: int = 3"),
    (Code::E0103, "param my-rate: int = 3"),
    (Code::E0103, "seed x { y = 1 }"),
    (Code::E0104, "expect 3 < tokens.report.rows"),
    (Code::E0104, "expect tokens.report.rows"),
    (Code::E0104, "expect tokens.report.rows != 3"),
    (Code::E0104, "expect"),
    (Code::E0008, "expect tokens.report.rows <"),
    (Code::E0104, "param x int = 3"),
    (Code::E0104, "param x: int = 3 in 5"),
    (Code::E0104, "secret x = \"abc\""),
    (Code::E0104, "seed = 17"),
    (Code::E0104, "param = 3"),
];

#[test]
fn every_fault_has_its_code() {
    for (code, text) in FAULTS {
        let (_, diags) = read(&format!("ftp 1\n{text}\n"));
        assert!(
            !diags.is_empty() && diags.iter().all(|diag| diag.code == *code),
            "{text}\n{diags:#?}"
        );
    }
    for text in [
        "",
        "seed 3\n",
        "ftp 2\nseed 3\n",
        "ftp one\n",
        "ftp 1 seed 3\n",
        "ftp 1\nftp 1\n",
        "ftp\n",
        "seed 3\nftp 1\n",
    ] {
        let (_, diags) = read(text);
        assert!(diags.iter().any(|diag| diag.code == Code::E0006), "{text}\n{diags:#?}");
    }
}

/// Applying it leaves one message less, and the one it belongs to is gone.
#[test]
fn what_is_proposed_removes_the_fault() {
    let mut proposals = 0;
    for (_, text) in FAULTS {
        for text in [
            format!("ftp 1\n{text}\n"),
            format!("ftp 1\nseed 1\n{text}\nload-data z {{ y = 3 }}\n"),
        ] {
            let (_, diags) = read(&text);
            for diag in &diags {
                let Some(mended) = applied(&text, diag) else { continue };
                proposals += 1;
                let (_, after) = read(&mended);
                assert!(after.len() < diags.len(), "{text}\n{diag:#?}\n{mended}\n{after:#?}");
            }
        }
    }
    assert!(proposals > 80, "{proposals}");
}

#[test]
fn a_faultless_neighbour_is_untouched_by_every_fault() {
    for (_, text) in FAULTS {
        let text = format!(
            "ftp 1\nload-data before {{\n  y = 1\n}}\n{text}\n\nload-data behind {{\n  y = 2\n}}\n"
        );
        let (ast, _) = read(&text);
        for name in ["before", "behind"] {
            assert!(
                ast.steps()
                    .any(|step| step.name.value == name && step.args.len() == 1 && !step.damaged),
                "{name}: {text}\n{ast:#?}"
            );
        }
    }
}

#[test]
fn brackets_too_deep_are_refused_and_exhaust_nothing() {
    for count in [65, 1_000, 300_000] {
        for sign in ["[", "(", "{ a = ", "f(", "not ", "- ", "[(", "1 + ", ".a == "] {
            let text = format!("ftp 1\neval a {{ x = {} }}\nseed 3\n", sign.repeat(count));
            let (ast, diags) = read(&text);
            assert!(!diags.is_empty(), "{sign}");
            assert!(ast.items.iter().any(|item| matches!(item, Item::Seed(_))), "{sign} {count}");
        }
    }
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    assert_eq!(faults(&format!("ftp 1\neval a {{ x = {deep} }}\n")), [] as [&str; 0]);
    let deeper = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    assert_eq!(faults(&format!("ftp 1\neval a {{ x = {deeper} }}\n")), ["2 E0005"]);
    let long = vec!["1"; 5_000].join(" + ");
    assert_eq!(faults(&format!("ftp 1\neval a {{ x = {long} }}\n")), ["2 E0005"]);
}

#[test]
fn large_texts_take_time_in_proportion() {
    let started = std::time::Instant::now();
    let megabyte = |piece: &str| format!("ftp 1\n{}", piece.repeat(1_000_000 / piece.len()));
    for piece in [
        "eval a { x = 1 }\n",
        "eval a {\n  x = 1\n",
        ")",
        "}\n",
        "eval a }\n",
        "a-",
        "\"\"\" ",
        "\"a\n",
        "x = ;\n",
        "eval a { x = 'b' }\n",
        "param x: int = [\n",
        "# c\n",
    ] {
        read(&megabyte(piece));
    }
    let list = format!("ftp 1\neval a {{ x = [{}] }}\n", "1, ".repeat(300_000));
    assert_eq!(faults(&list).len(), 0);
    let faulty = format!("ftp 1\neval a {{\n{}}}\n", "  x = [1 2]\n".repeat(50_000));
    assert_eq!(read(&faulty).1.len(), 50_000);
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}
