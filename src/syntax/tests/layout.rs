//! The formatter on programs written by hand.

use super::super::format;
use super::{SENTIMENT, read_all};

/// Laid out it is `wanted`, which stays as it is and means the same.
fn check(text: &str, wanted: &str) {
    let laid = format(text).expect("no faults");
    assert_eq!(laid, wanted);
    assert_eq!(format(&laid).expect("no faults"), laid);
    assert!(read_all(text).same_meaning(&read_all(&laid)));
}

#[test]
fn a_laid_out_program_stays_as_it_is() {
    check(SENTIMENT, SENTIMENT);
}

#[test]
fn blanks_indentation_and_alignment_are_set() {
    check(
        "ftp   1\n\n\n\nparam a:int=3 in 1..5\nparam longer :budget = 3   epochs\nseed  1\n\n\ntrain   t\n{\n\n model=  m\n\n\n\n\n  optimizer =adamw( learning_rate=1e-3,weight_decay = 0.1 )\n  x = [ 1 ,2 ]\n  y = {a=1}\n\n}\n",
        "ftp 1\n\nparam a:      int    = 3 in 1 .. 5\nparam longer: budget = 3 epochs\nseed 1\n\ntrain t {\n  model = m\n\n  optimizer = adamw(learning_rate = 1e-3, weight_decay = 0.1)\n  x         = [1, 2]\n  y         = { a = 1 }\n}\n",
    );
}

#[test]
fn comments_stay_where_they_belong() {
    check(
        "ftp 1 # edition\n# one\n\n## two\neval e { # head\n# in\na = 1 # trailing a\n## doc\nbb = 2, # trailing b\n  # tail\n} # behind\n# last",
        "ftp 1  # edition\n# one\n\n## two\neval e {  # head\n  # in\n  a  = 1  # trailing a\n  ## doc\n  bb = 2  # trailing b\n  # tail\n}  # behind\n# last\n",
    );
}

#[test]
fn fragments_hold_their_steps_one_step_deeper() {
    check(
        "ftp 1\nimport   \"a.ftp\"   as b\n## two steps\nfragment f(m:model,rate : float=5e-5 in 0 .. 1){ # head\n\n## first\ntrain t {\nmodel=m\n}\n  eval tested { model = t } # why\n\n\n use g inner { m=m }\n# tail\n}\nuse b.f small { m = encoder }\neval e { model = small.t }\nfragment none() {}\n",
        "ftp 1\nimport \"a.ftp\" as b\n## two steps\nfragment f(m: model, rate: float = 5e-5 in 0 .. 1) {  # head\n  ## first\n  train t {\n    model = m\n  }\n  eval tested { model = t }  # why\n\n  use g inner { m = m }\n  # tail\n}\nuse b.f small { m = encoder }\neval e { model = small.t }\nfragment none() {}\n",
    );
}

#[test]
fn lists_on_several_lines_get_one_value_a_line() {
    check(
        "ftp 1\neval e {\n  x = [a, b,\n    c(1) # why\n  ]\n  yy = f(\n    a = 1, bb = 2)\n}\n",
        "ftp 1\neval e {\n  x = [\n    a,\n    b,\n    c(1),  # why\n  ]\n  yy = f(\n    a  = 1,\n    bb = 2,\n  )\n}\n",
    );
}

#[test]
fn short_steps_stay_on_their_line_and_long_ones_do_not() {
    let long = "x".repeat(60);
    check(
        &format!(
            "ftp 1\neval a {{ x=1,y = 2 }}\nmetric b {{x=1}}\nsave c {{ one = {long}, two = {long} }}\nsave d {{ }}\n"
        ),
        &format!(
            "ftp 1\neval   a {{ x = 1, y = 2 }}\nmetric b {{ x = 1 }}\nsave c {{\n  one = {long}\n  two = {long}\n}}\nsave d {{}}\n"
        ),
    );
}

#[test]
fn signs_and_operators_are_told_apart() {
    check(
        "ftp 1\nprepare p {\n  do = [filter(.a>-3 and not(.b or .c)), derive({n=words( .text )-1*-2})]\n  r = -1..a.b.c\n  s = 6%\n  c = .\"x y\"\n}\n",
        "ftp 1\nprepare p {\n  do = [filter(.a > -3 and not (.b or .c)), derive({ n = words(.text) - 1 * -2 })]\n  r  = -1 .. a.b.c\n  s  = 6%\n  c  = .\"x y\"\n}\n",
    );
}

#[test]
fn line_breaks_and_comments_within_a_value_are_kept() {
    check(
        "ftp 1\neval e {\n  x = .a == 1 # why\n     or .b\n  # own\n  or .c\n  y =\n    3\n}\n",
        "ftp 1\neval e {\n  x = .a == 1  # why\n    or .b\n    # own\n    or .c\n  y = 3\n}\n",
    );
}

#[test]
fn strings_of_several_lines_are_not_touched() {
    check(
        "ftp 1\neval e {\n x = \"\"\"\n   a\n     b\n   \"\"\"\n y = r\"\\d\"\n}\n",
        "ftp 1\neval e {\n  x = \"\"\"\n   a\n     b\n   \"\"\"\n  y = r\"\\d\"\n}\n",
    );
}

#[test]
fn comments_at_odd_places_survive() {
    check(
        "ftp 1\neval e # one\n# two\n{ a # three\n = # four\n 1 # five\n , # six\n ## seven\n b = f( # eight\n ) }\n",
        "ftp 1\neval e {  # one\n  # two\n  a  # three\n    =  # four\n    1  # five\n  # six\n  ## seven\n  b = f(  # eight\n  )\n}\n",
    );
}

#[test]
fn a_program_with_faults_is_not_touched() {
    assert!(format("ftp 1\neval e { x = }\n").is_err());
}
