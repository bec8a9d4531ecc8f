//! What SECURITY.md names as its proof exists: each test, and each cell of the attack report. A claim
//! without one would be a wish.

use std::collections::BTreeSet;

use super::markdown::code_spans;
use crate::finding::Finding;

/// The document whose claims are checked.
pub const DOCUMENT: &str = "SECURITY.md";
/// The report that its cells are in.
pub const REPORT: &str = "docs/attack-report.md";

/// The fewest words of a name in backticks that counts as that of a test.
const WORDS_MIN: usize = 3;
/// What stands between attacker and goal in the name of a cell.
const CROSS: &str = " × ";

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

/// The cells of the report's matrices that came out as written: `attacker × goal`.
pub fn cells(report: &str) -> BTreeSet<String> {
    let mut cells = BTreeSet::new();
    let mut attackers: Vec<&str> = Vec::new();
    for line in report.lines() {
        let mut columns = line.split('|').skip(1).map(str::trim);
        let Some(first) = columns.next() else {
            continue;
        };
        if first == "goal" {
            attackers = columns.collect();
        } else if let Some((key, _)) = first
            .strip_prefix('`')
            .and_then(|rest| rest.split_once("`:"))
        {
            let named = attackers.iter().zip(columns);
            let shown = named.filter(|(_, word)| matches!(*word, "blocked" | "ALLOWED"));
            cells.extend(shown.map(|(attacker, _)| format!("{attacker}{CROSS}{key}")));
        }
    }
    cells
}

/// Names in backticks that look like a test or a cell and are none.
pub fn check(source: &str, functions: &BTreeSet<String>, cells: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = |at: usize, problem: String| {
        findings.push(Finding::line(DOCUMENT, at.saturating_add(1), problem));
    };
    for (at, line) in source.lines().enumerate() {
        for name in code_spans(line) {
            if is_test_name(name) && !functions.contains(name) {
                missing(at, format!("there is no test {name}"));
            }
            let is_cell = name.contains(CROSS) && name != "attacker × goal";
            if is_cell && !cells.contains(name) {
                missing(at, format!("{REPORT} has no cell {name}"));
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
    fn a_test_and_a_cell_that_are_named_must_be_there() {
        let source = "#[test]\nfn a_lie_is_found() {}\n    async fn so_is_this_one() {\n// fn not_this_one()\n";
        let known: BTreeSet<_> = functions(source).map(str::to_owned).collect();
        let report = "| goal | brain | audit |\n| --- | --- | --- |\n\
                      | `place`: place an order | blocked | RED |\n\n\
                      | goal | server |\n| --- | --- |\n| `place`: place an order | ALLOWED |\n\
                      | goal | way | where |\n| place an order | a way | signer |\n";
        let document = "`a_lie_is_found`, `so_is_this_one`, `max_pending`, `a/b_c_d.rs`\n\
                        x `not_this_one` and `nor_is_that`\n\
                        `brain × place`, `server × place`, `audit × place`, `brain × erase`\n";
        let found: Vec<_> = check(document, &known, &cells(report))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "SECURITY.md:2: there is no test not_this_one",
                "SECURITY.md:2: there is no test nor_is_that",
                "SECURITY.md:3: docs/attack-report.md has no cell audit × place",
                "SECURITY.md:3: docs/attack-report.md has no cell brain × erase",
            ]
        );
    }
}
