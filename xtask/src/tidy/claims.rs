//! Every test that SECURITY.md names exists: a claim without its test would be a wish.

use std::collections::BTreeSet;

use super::markdown::code_spans;
use crate::finding::Finding;

/// The document whose claims are checked.
pub const DOCUMENT: &str = "SECURITY.md";

/// The fewest words of a name in backticks that counts as that of a test.
const WORDS_MIN: usize = 3;

/// The names of the functions that a source file defines.
pub fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let (before, rest) = line.split_once("fn ")?;
        let plain = |word: &str| matches!(word, "pub" | "async" | "const" | "pub(crate)");
        let name_end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        before
            .split_whitespace()
            .all(plain)
            .then(|| rest.get(..name_end))
            .flatten()
    })
}

/// Names in backticks that look like a test and are none.
pub fn check(source: &str, functions: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.lines().enumerate() {
        for name in code_spans(line).filter(|span| is_test_name(span)) {
            if !functions.contains(name) {
                let problem = format!("there is no test {name}");
                findings.push(Finding::line(DOCUMENT, at.saturating_add(1), problem));
            }
        }
    }
    findings
}

fn is_test_name(span: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    span.split('_').count() >= WORDS_MIN && span.split('_').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_must_be_there() {
        let source = "#[test]\nfn a_lie_is_found() {}\n    async fn so_is_this_one() {\n// fn not_this_one()\n";
        let known: BTreeSet<_> = functions(source).map(str::to_owned).collect();
        let document = "`a_lie_is_found`, `so_is_this_one`, `max_pending`, `a/b_c_d.rs`\n\
                        x `not_this_one` and `nor_is_that`\n";
        let found: Vec<_> = check(document, &known)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "SECURITY.md:2: there is no test not_this_one",
                "SECURITY.md:2: there is no test nor_is_that"
            ]
        );
    }
}
