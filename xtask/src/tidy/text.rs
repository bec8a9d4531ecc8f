//! Rules for every file that people write.

use std::collections::BTreeMap;

use crate::finding::Finding;

/// More lines than this belong in two files.
const LINES_MAX: usize = 600;

/// Spelled in two halves, so that this file passes its own check.
const MARKERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// White space, line ends, conflict markers and notes about unfinished work.
pub fn check(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.split('\n').enumerate() {
        let number = at + 1;
        let mut add = |problem: &str| findings.push(Finding::line(path, number, problem));
        if line.ends_with('\r') {
            add("the line ends in CR LF; use LF");
        } else if line.ends_with([' ', '\t']) {
            add("white space at the end of the line");
        }
        if line.starts_with(concat!("<<<<", "<<< ")) || line.starts_with(concat!(">>>>", ">>> ")) {
            add("a conflict marker");
        }
        for marker in MARKERS.iter().filter(|marker| has_word(line, marker)) {
            add(&format!(
                "{marker}: finish it, or file it where work is planned"
            ));
        }
    }
    if !source.is_empty() && !source.ends_with('\n') {
        findings.push(Finding::file(path, "the last line has no end"));
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

/// Long files, and exceptions that nobody needs any more.
pub fn check_lengths(
    lengths: &BTreeMap<&str, usize>,
    exceptions: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, lines) in lengths.iter().filter(|(_, lines)| **lines > LINES_MAX) {
        if !exceptions.contains_key(*path) {
            let problem = format!(
                "{lines} lines, more than {LINES_MAX}; split it by room, or give a reason in \
                 [tidy.long_files] of arch.toml"
            );
            findings.push(Finding::file(*path, problem));
        }
    }
    for (path, reason) in exceptions {
        let problem = match lengths.get(path.as_str()) {
            _ if reason.trim().is_empty() => "has no reason",
            None => "is not a file that tidy measures; remove it",
            Some(lines) if *lines <= LINES_MAX => "is short enough; remove it",
            Some(_) => continue,
        };
        let problem = format!("[tidy.long_files] \"{path}\" {problem}");
        findings.push(Finding::file("arch.toml", problem));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_one(findings: &[Finding], line: Option<usize>, part: &str) {
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].line, line);
        assert!(findings[0].problem.contains(part), "{findings:?}");
    }

    #[test]
    fn accepts_a_clean_file_and_an_empty_one() {
        assert_eq!(check("a.md", "One.\n\nTwo.\n"), []);
        assert_eq!(check("a.md", ""), []);
    }

    #[test]
    fn refuses_stray_white_space_and_line_ends() {
        assert_one(&check("a.md", "a\nb \n"), Some(2), "white space");
        assert_one(&check("a.md", "a\t\n"), Some(1), "white space");
        assert_one(&check("a.md", "a\r\nb\n"), Some(1), "CR LF");
        assert_one(&check("a.md", "a\nb"), None, "no end");
    }

    #[test]
    fn refuses_a_conflict_marker() {
        let text = ["<<<<<<", "< HEAD\n"].concat();
        assert_one(&check("a.md", &text), Some(1), "conflict");
    }

    #[test]
    fn refuses_notes_about_unfinished_work() {
        for marker in MARKERS {
            assert_one(
                &check("a.py", &format!("x = 1  # {marker}: later\n")),
                Some(1),
                marker,
            );
        }
    }

    #[test]
    fn a_marker_inside_another_word_passes() {
        let text = ["mktemp XX", "XXXX and TO", "DOS and my_FIX", "ME_x\n"].concat();
        assert_eq!(check("a.sh", &text), []);
    }

    #[test]
    fn refuses_a_long_file_without_a_reason() {
        let lengths = BTreeMap::from([("a.rs", LINES_MAX + 1), ("b.rs", LINES_MAX)]);
        let findings = check_lengths(&lengths, &BTreeMap::new());
        assert_one(&findings, None, "split it");
        assert_eq!(findings[0].place, "a.rs");
        let reasons = BTreeMap::from([("a.rs".to_owned(), "one table".to_owned())]);
        assert_eq!(check_lengths(&lengths, &reasons), []);
    }

    #[test]
    fn refuses_an_exception_that_nobody_needs() {
        let lengths = BTreeMap::from([("a.rs", LINES_MAX), ("b.rs", LINES_MAX + 1)]);
        for (path, reason, part) in [
            ("a.rs", "one table", "short enough"),
            ("gone.rs", "one table", "not a file"),
            ("b.rs", " ", "no reason"),
        ] {
            let reasons = BTreeMap::from([
                ("b.rs".to_owned(), "one table".to_owned()),
                (path.to_owned(), reason.to_owned()),
            ]);
            assert_one(&check_lengths(&lengths, &reasons), None, part);
        }
    }
}
