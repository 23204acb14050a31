//! The user's guide of the language: every program in it is read and is laid out as `fmt` would.

use super::super::format;
use super::{faults, read_all};

const GUIDE: &str = include_str!("../../../docs/language.md");

/// The blocks under "```ftp", and those under "```ftp wrong".
fn blocks(fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// Fragments of a program stand in the guide without the edition line.
fn whole(block: &str) -> String {
    if block.starts_with("ftp ") { block.to_string() } else { format!("ftp 1\n\n{block}") }
}

#[test]
fn every_program_of_the_guide_is_read_and_laid_out() {
    let blocks = blocks("```ftp");
    assert!(blocks.len() >= 8, "{}", blocks.len());
    for block in blocks {
        let text = whole(&block);
        read_all(&text);
        assert_eq!(format(&text).expect("no faults"), text);
    }
}

#[test]
fn what_the_guide_calls_wrong_is_refused() {
    let blocks = blocks("```ftp wrong");
    assert!(!blocks.is_empty());
    for block in blocks {
        assert!(!faults(&whole(&block)).is_empty(), "{block}");
    }
}

#[test]
fn no_block_of_the_guide_is_of_another_kind_unnoticed() {
    for line in GUIDE.lines().filter(|line| line.starts_with("```") && *line != "```") {
        assert!(
            ["```ftp", "```ftp wrong", "```sh", "```yaml", "```text"].contains(&line),
            "{line}"
        );
    }
}
