//! What values become.

use super::super::ast::*;
use super::super::parse_value;
use super::read_all;
use crate::base::{Code, SourceId};

fn value(text: &str) -> ExprKind {
    match parse_value(SourceId(0), text) {
        Ok(expr) => expr.kind,
        Err(diag) => panic!("{text}: {diag:?}"),
    }
}

fn refused(text: &str) -> Code {
    parse_value(SourceId(0), text).map_err(|diag| diag.code).expect_err(text)
}

/// The structure of an expression with all its parentheses.
fn shape(text: &str) -> String {
    fn show(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Number(number) => number.text.clone(),
            ExprKind::Column(name) => format!(".{name}"),
            ExprKind::Path(words) => {
                words.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(".")
            }
            ExprKind::Range { low, high } => format!("({} .. {})", show(low), show(high)),
            ExprKind::Not(inner) => format!("(not {})", show(inner)),
            ExprKind::Negate(inner) => format!("(-{})", show(inner)),
            ExprKind::Binary { operator, left, right } => {
                format!("({} {} {})", show(left), operator.value.as_str(), show(right))
            }
            other => format!("{other:?}"),
        }
    }
    parse_value(SourceId(0), text).map(|expr| show(&expr)).unwrap_or_else(|diag| diag.message)
}

#[test]
fn numbers_keep_value_and_spelling() {
    let number = |value, text: &str| ExprKind::Number(Number { value, text: text.to_string() });
    assert_eq!(value("1_000"), number(NumberValue::Int(1000), "1_000"));
    assert_eq!(value("-3"), number(NumberValue::Int(-3), "-3"));
    assert_eq!(value("2e-5"), number(NumberValue::Float(2e-5), "2e-5"));
    assert_eq!(value("1E3"), number(NumberValue::Float(1000.0), "1E3"));
    assert_eq!(
        value("9223372036854775807"),
        number(NumberValue::Int(i64::MAX), "9223372036854775807")
    );
    for text in [
        "9223372036854775808",
        "1e999",
        "nan",
        "inf",
        "-Infinity",
        "0x10",
        "1__0",
        "1_",
        "1e",
        ".5",
        "5.",
    ] {
        assert_eq!(refused(text), Code::E0004, "{text}");
    }
}

#[test]
fn shares_are_the_nearest_float_to_the_decimal() {
    let fraction = |text| match value(text) {
        ExprKind::Share(share) => share.fraction,
        other => panic!("{other:?}"),
    };
    assert_eq!(fraction("6%"), 0.06);
    assert_eq!(fraction("0.1%"), 0.001);
    assert_eq!(fraction("1e-1%"), 0.001);
    assert_eq!(fraction("-5%"), -0.05);
}

#[test]
fn any_word_is_a_unit_and_words_of_the_language_are_none() {
    for unit in ["epochs", "epoch", "updates", "steps", "tokens", "hours"] {
        match value(&format!("3 {unit}")) {
            ExprKind::Quantity { amount, unit: found } => {
                assert_eq!((amount.value, found.value.as_str()), (NumberValue::Int(3), unit));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shape(".a > 3 and .b"), "((.a > 3) and .b)");
}

#[test]
fn strings_have_escapes_raw_ones_have_none_and_long_ones_lose_their_indentation() {
    let string = |text| match value(text) {
        ExprKind::String(string) => string,
        other => panic!("{other:?}"),
    };
    assert_eq!(string(r#""a\tb\"\u{e9}""#), "a\tb\"é");
    assert_eq!(string(r#"r"\d+\s""#), r"\d+\s");
    assert_eq!(string("\"\"\"\n    one\n      two\n    \"\"\""), "one\n  two");
    assert_eq!(string("\"\"\"\"\"\""), "");
}

#[test]
fn operators_bind_as_in_python() {
    assert_eq!(shape(".a + 2 * .b - 1"), "((.a + (2 * .b)) - 1)");
    assert_eq!(shape("not .a == 1 or .b and .c"), "((not (.a == 1)) or (.b and .c))");
    assert_eq!(shape("- .a * 2"), "((-.a) * 2)");
    assert_eq!(shape("(.a or .b) and .c"), "((.a or .b) and .c)");
    assert_eq!(shape("-1 .. 2 + 3"), "(-1 .. (2 + 3))");
    assert_eq!(shape("1..2"), "(1 .. 2)");
    assert_eq!(shape(".a\n  and .b"), "(.a and .b)");
    for text in ["1 < 2 < 3", "1 .. 2 .. 3", "1 == not .a"] {
        assert_eq!(refused(text), Code::E0001, "{text}");
    }
}

#[test]
fn references_variants_and_columns_are_told_apart() {
    assert!(matches!(value("tokens.report.truncated"), ExprKind::Path(words) if words.len() == 3));
    assert!(matches!(value("accuracy"), ExprKind::Path(words) if words.len() == 1));
    assert!(
        matches!(value("f1(average = macro,)"), ExprKind::Call { args, .. } if args.len() == 1)
    );
    assert!(matches!(value(".\"#1 String\""), ExprKind::Column(name) if name == "#1 String"));
    assert!(matches!(value(".größe"), ExprKind::Column(name) if name == "größe"));
    assert!(
        matches!(value("{ \"a b\" = 1, c = [] }"), ExprKind::Map(entries) if entries.len() == 2)
    );
}

#[test]
fn steps_keep_their_documentation_places_and_order() {
    let text = "## About the file.\nftp 1\n## more\n\n## one\n## two\ntrain t {\n  ## rows\n  batch = 32  ## no documentation\n  x = 1\n}\n";
    let ast = read_all(text);
    assert_eq!(ast.docs, ["About the file."]);
    let step = ast.steps().next().expect("a step");
    assert_eq!(step.docs, ["more", "one", "two"]);
    assert_eq!(step.args[0].docs, ["rows"]);
    assert!(step.args[1].docs.is_empty());
    let place = |span: crate::base::Span| &text[span.start..span.end];
    assert_eq!(place(step.kind.span), "train");
    assert_eq!(place(step.args[1].value.span), "1");
    assert!(place(step.span).starts_with("train") && place(step.body).ends_with('}'));
}

#[test]
fn an_argument_can_be_added_to_every_step() {
    for body in [
        "{}",
        "{ }",
        "{ a = 1 }",
        "{ a = 1, }",
        "{a = 1}",
        "{\n}",
        "{ # c\n}",
        "{\n  a = 1\n}",
        "{\n  a = 1, # c\n  # d\n}",
        "{\n  a = [\n    1,\n  ]\n}",
        "{ a = 1\n}",
        "{\n a = 1 }",
    ] {
        let text = format!("ftp 1\neval e {body}\nseed 3\n");
        let ast = read_all(&text);
        let step = ast.steps().next().expect("a step");
        let fix = step.insert_argument("new = 2");
        let mut longer = text.clone();
        longer.replace_range(fix.span.start..fix.span.end, &fix.replacement);
        let again = read_all(&longer);
        let names: Vec<&str> =
            again.steps().flat_map(|step| &step.args).map(|arg| arg.name.value.as_str()).collect();
        assert_eq!(names.len(), step.args.len() + 1, "{longer}");
        assert_eq!(names.last(), Some(&"new"), "{longer}");
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let plain = read_all(super::SENTIMENT);
    let windows = format!("\u{FEFF}{}", super::SENTIMENT.replace('\n', "\r\n"));
    assert!(plain.same_meaning(&read_all(&windows)));
    assert_eq!(plain.items.len(), 11);
}
