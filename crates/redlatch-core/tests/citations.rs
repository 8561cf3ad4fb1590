//! Each rule of the protocol is cited where it is implemented, and by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const RULES: u32 = 18;

#[test]
fn every_rule_is_cited_in_the_source() {
    // The crate's documentation lists all of them, which is no implementation.
    assert_eq!(uncited("src", &["lib.rs"]), []);
}

#[test]
fn every_rule_is_cited_by_a_test() {
    assert_eq!(uncited("tests", &["citations.rs"]), []);
}

#[test]
fn the_documentation_lists_every_rule_once() {
    let docs = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<u32> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("//! | R")?.split_once(" |")?.0.parse().ok())
        .collect();
    assert_eq!(listed, Vec::from_iter(1..=RULES));
}

/// The canaries: R1 is not cited by R12, nor any rule by a word that ends like one.
#[test]
fn only_whole_names_of_rules_are_citations() {
    assert_eq!(cited("R1"), BTreeSet::from([1]));
    assert_eq!(cited("(R12), R3: R4."), BTreeSet::from([3, 4, 12]));
    assert_eq!(cited("`R6` R7\nR8"), BTreeSet::from([6, 7, 8]));
    assert_eq!(cited("OR1 R R19 R0 R123 xR5 R2_a R9b"), BTreeSet::new());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rules that no file below `folder` cites, but for the files with these names.
fn uncited(folder: &str, except: &[&str]) -> Vec<u32> {
    let mut text = String::new();
    read_all(&root().join(folder), except, &mut text);
    let cited = cited(&text);
    (1..=RULES).filter(|rule| !cited.contains(rule)).collect()
}

fn read_all(folder: &Path, except: &[&str], text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of this crate") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            read_all(&path, except, text);
        } else if !except.contains(&name.as_str())
            && [".rs", ".lua"].iter().any(|e| name.ends_with(e))
        {
            text.push_str(&fs::read_to_string(&path).expect("text"));
            text.push('\n');
        }
    }
}

fn cited(text: &str) -> BTreeSet<u32> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let rules = words.filter_map(|word| word.strip_prefix('R')?.parse().ok());
    rules.filter(|rule| (1..=RULES).contains(rule)).collect()
}
