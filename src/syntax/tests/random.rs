//! Random texts: nothing makes the parser or the formatter fail, and laying out changes no meaning.

use proptest::prelude::*;

use super::super::build::{Rule, recognise};
use super::super::{format, parse_value};
use super::{SENTIMENT, read, read_all};
use crate::base::{Code, SourceId};

/// Reads and lays out whatever it is; places lie within the text.
fn survive(text: &str) {
    let (_, diags) = read(text);
    for diag in &diags {
        for span in
            diag.labels.iter().map(|label| label.span).chain(diag.fix.as_ref().map(|fix| fix.span))
        {
            assert!(text.get(span.start..span.end).is_some(), "{text:?}\n{diag:?}");
        }
    }
    let _ = parse_value(SourceId(0), text);
    // The parser, which reads item by item, accepts what the grammar says of a whole file.
    let whole = recognise(Rule::file, text).is_ok();
    assert!(whole || !diags.is_empty(), "{text:?}");
    let of_form = [Code::E0002, Code::E0007, Code::E0008, Code::E0009, Code::E0101];
    assert!(
        !whole || diags.iter().all(|diag| !of_form.contains(&diag.code)),
        "{text:?}\n{diags:?}"
    );
    match format(text) {
        Ok(laid) => stays(text, &laid),
        Err(found) => assert_eq!(found, diags),
    }
}

fn stays(text: &str, laid: &str) {
    let ast = read_all(text);
    let (again, diags) = read(laid);
    assert!(diags.is_empty(), "{text:?}\n{laid:?}\n{diags:?}");
    assert!(ast.same_meaning(&again), "{text:?}\n{laid:?}\n{ast:#?}\n{again:#?}");
    assert_eq!(format(laid).as_deref(), Ok(laid), "from {text:?}");
    // No sign is lost; commas come and go with lines, `##` that documents nothing becomes `#`.
    let signs = |text: &str| {
        let mut signs: Vec<char> =
            text.chars().filter(|c| !c.is_whitespace() && !",#".contains(*c)).collect();
        signs.sort_unstable();
        signs
    };
    assert_eq!(signs(text.trim_start_matches('\u{feff}')), signs(laid), "{text:?}\n{laid:?}");
}

/// Pieces of which programs and their faults are made.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "ftp 1\n",
        "param ",
        "secret ",
        "seed 3\n",
        "load-data ",
        "train ",
        "sweep s { }\n",
        "x",
        "y_1",
        "é",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "=",
        "==",
        ",",
        ".",
        "..",
        ":",
        ";",
        "-",
        "+",
        "*",
        "/",
        "<",
        ">=",
        "!=",
        "%",
        "&&",
        "'",
        "\"",
        "\"\"\"",
        "r\"",
        "\\",
        "1",
        "2e-5",
        "3 epochs",
        "6%",
        "\"a\"",
        "true",
        "None",
        "and",
        "or",
        "not",
        "in",
        "env(\"A\")",
        "# c\n",
        "## d\n",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\u{a0}",
        "\n  ",
        "train t {\n",
        "\n}\n",
        "a = 1\n",
        "b = f(1, c = 2)",
        "\u{feff}",
        "expect a.b < 1\n",
        "import \"a\" as b\n",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

/// A valid gap at a place where line breaks mean nothing.
fn gap() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", " ", "  ", "\n", " # c\n ", "\n\n ## d\n", "\r\n"])
        .prop_map(String::from)
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "model", "learning_rate", "_x1", "epochs", "reviews"])
        .prop_map(String::from)
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "1_000",
        "2e-5",
        "0.5",
        "6%",
        "3 epochs",
        "true",
        "\"a # b\"",
        "r\"\\d\"",
        "\"\"\"\n  a\n  \"\"\"",
        "tuned",
        "tokens.train",
        ".text",
        ".\"#1 String\"",
        "[]",
        "{}",
        "f()",
        "\"\\u{e9}\\n\"",
    ])
    .prop_map(String::from);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let values = prop::collection::vec((inner.clone(), gap(), gap()), 1..4).boxed();
        let named = prop::collection::vec((word(), gap(), inner.clone(), gap()), 1..4).boxed();
        prop_oneof![
            (values.clone(), any::<bool>()).prop_map(|(values, trailing)| {
                let values: Vec<String> =
                    values.into_iter().map(|(v, a, b)| format!("{a}{v}{b}")).collect();
                format!("[{}{}]", values.join(","), if trailing { "," } else { "" })
            }),
            (word(), values).prop_map(|(name, values)| {
                let values: Vec<String> =
                    values.into_iter().map(|(v, a, b)| format!("{a}{v}{b}")).collect();
                format!("{name}({})", values.join(","))
            }),
            (named.clone(), any::<bool>()).prop_map(|(named, commas)| {
                let entries: Vec<String> =
                    named.into_iter().map(|(n, a, v, b)| format!("{n}{a}={b}{v}")).collect();
                format!("{{ {} }}", entries.join(if commas { ", " } else { "\n" }))
            }),
            (word(), named).prop_map(|(name, named)| {
                let args: Vec<String> =
                    named.into_iter().map(|(n, a, v, b)| format!("{a}{n} = {v}{b}")).collect();
                format!("{name}({})", args.join(", "))
            }),
            (
                inner.clone(),
                gap(),
                prop::sample::select(vec!["+", "-", "*", "/", "or", "and"]),
                gap(),
                inner.clone()
            )
                .prop_map(|(a, before, operator, behind, b)| {
                    format!("({a}) {before}{operator}{behind} ({b})")
                }),
            (inner.clone(), prop::sample::select(vec!["==", "<", ".."]), inner.clone())
                .prop_map(|(a, operator, b)| format!("({a}) {operator} -({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

fn program() -> impl Strategy<Value = String> {
    let argument = (
        word(),
        gap(),
        value(),
        prop::sample::select(vec!["\n", ",", " ,\n", " # t\n", "\n\n\n", "\n ## d\n"]),
    )
        .prop_map(|(name, gap, value, separator)| format!("{name} ={gap}{value}{separator}"));
    let step = (
        prop::sample::select(vec!["train", "load-data", "eval"]),
        word(),
        gap(),
        prop::collection::vec(argument, 0..5),
        gap(),
    )
        .prop_map(|(kind, name, gap, args, end)| {
            format!("{kind} {name}{gap}{{{end}{}}}", args.concat())
        });
    let param = (word(), value(), any::<bool>()).prop_map(|(name, value, ranged)| {
        format!("param {name}: float = {value}{}", if ranged { " in 1..2" } else { "" })
    });
    let item = prop_oneof![
        3 => step,
        1 => param,
        1 => value().prop_map(|value| format!("seed {value}")),
        1 => Just("secret token = env(\"A\")".to_string()),
        1 => (word(), gap(), prop::sample::select(vec!["6%", "-2e-5", "1_000", "least"]))
            .prop_map(|(name, gap, limit)| format!("expect {name}.report.n <= {gap}{limit}")),
    ];
    let between =
        prop::sample::select(vec!["\n", "\n\n\n", " # t\n", "\n## doc\n", "\n# c\n\n", "\r\n"]);
    prop::collection::vec((between, item), 0..5).prop_map(|items| {
        let items: String = items.into_iter().map(|(gap, item)| format!("{gap}{item}")).collect();
        format!("ftp 1{items}\n")
    })
}

/// `PROPTEST_CASES` asks for more than the usual number.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(512), failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn any_soup_is_survived(text in soup()) {
        survive(&text);
        survive(&format!("ftp 1\n{text}"));
        survive(&format!("ftp 1\ntrain t {{ x = {text}\n}}\n"));
    }

    #[test]
    fn any_mutation_is_survived(
        at in 0..SENTIMENT.len(),
        length in 0usize..12,
        piece in prop_oneof![Just(String::new()), soup().prop_map(|s| s.chars().take(6).collect())],
    ) {
        let mut text = SENTIMENT.to_string();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &piece);
        survive(&text);
    }

    #[test]
    fn laying_out_changes_no_meaning(text in program()) {
        let (_, diags) = read(&text);
        prop_assert!(diags.is_empty(), "{}\n{:#?}", text, diags);
        survive(&text);
    }

    #[test]
    fn what_is_proposed_never_fails_to_apply(at in 0..SENTIMENT.len(), length in 1usize..4) {
        let mut text = SENTIMENT.to_string();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, "");
        let (_, diags) = read(&text);
        for diag in &diags {
            if let Some(mended) = super::applied(&text, diag) {
                let (_, after) = read(&mended);
                let same = after.iter().filter(|other| other.code == diag.code && other.span() == diag.span());
                prop_assert!(
                    same.count() == 0 || after.len() < diags.len(),
                    "{}\n{:#?}\n{:#?}", text, diag, after
                );
            }
        }
    }
}
