//! What should not be in a committed file.

mod claims;
mod leaks;
mod markdown;
mod rust;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::finding::Finding;
use crate::workspace::Workspace;

/// Every tidiness check over the real workspace.
pub fn check_workspace(workspace: &Workspace) -> Result<Vec<Finding>> {
    let arch = Arch::load(workspace)?;
    let files = workspace.files()?;
    let paths = Paths::new(&files);
    let mut findings = Vec::new();
    let mut lengths = BTreeMap::new();
    let mut functions = BTreeSet::new();
    for path in &files {
        let full = workspace.root.join(path);
        if full
            .symlink_metadata()
            .with_context(|| format!("look at {path}"))?
            .is_file()
        {
            let bytes = std::fs::read(&full).with_context(|| format!("read {path}"))?;
            if path.ends_with(".rs") {
                let source = String::from_utf8_lossy(&bytes);
                functions.extend(claims::functions(&source).map(str::to_owned));
            }
            let file = check_file(path, &bytes, &paths);
            findings.extend(file.findings);
            if let Some(lines) = file.lines {
                lengths.insert(path.as_str(), lines);
            }
        }
    }
    for extension in [".rs", ".md", ".toml"] {
        if !lengths.keys().any(|path| path.ends_with(extension)) {
            findings.push(Finding::file(
                ".",
                format!("there is no *{extension} file to check"),
            ));
        }
    }
    let document = std::fs::read_to_string(workspace.root.join(claims::DOCUMENT))
        .with_context(|| format!("read {}", claims::DOCUMENT))?;
    let report = std::fs::read_to_string(workspace.root.join(claims::REPORT))
        .with_context(|| format!("read {}", claims::REPORT))?;
    let cells = claims::cells(&report);
    findings.extend(claims::check(&document, &functions, &cells));
    findings.extend(text::check_lengths(&lengths, &arch.tidy.long_files));
    findings.sort();
    Ok(findings)
}

/// The files of the repository and the folders that they make.
pub struct Paths {
    known: BTreeSet<String>,
}

impl Paths {
    fn new(files: &[String]) -> Self {
        let mut known = BTreeSet::new();
        for file in files {
            known.insert(file.clone());
            for (at, _) in file.match_indices('/') {
                known.extend(file.get(..at).map(str::to_owned));
            }
        }
        Self { known }
    }

    /// Whether this is a file or a folder with files in it.
    fn contains(&self, path: &str) -> bool {
        self.known.contains(path.trim_end_matches('/'))
    }

    /// Whether anything matches; `*` stands for any part of one name.
    fn matches(&self, pattern: &str) -> bool {
        let pattern = pattern.trim_end_matches('/');
        self.known.iter().any(|path| glob(pattern, path))
    }

    /// Whether the root has a folder of this name.
    fn is_top_folder(&self, name: &str) -> bool {
        self.known.contains(name)
            && self.known.iter().any(|path| {
                path.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('/'))
            })
    }
}

fn glob(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut names = path.split('/');
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if glob_name(pattern, name) => {}
            _ => return false,
        }
    }
}

fn glob_name(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter_map(|at| rest.get(at..))
                .any(|rest| glob_name(after, rest))
        }),
    }
}

/// What one file gave.
struct Checked {
    findings: Vec<Finding>,
    /// Lines of a file that people write; absent for what machines write.
    lines: Option<usize>,
}

fn check_file(path: &str, bytes: &[u8], paths: &Paths) -> Checked {
    let Ok(source) = std::str::from_utf8(bytes) else {
        let lossy = String::from_utf8_lossy(bytes);
        return Checked {
            findings: leaks::check_keys(path, &lossy),
            lines: None,
        };
    };
    let mut findings = leaks::check(path, source);
    if is_written_by_machine(path) {
        return Checked {
            findings,
            lines: None,
        };
    }
    findings.extend(text::check(path, source));
    if path.ends_with(".rs") {
        findings.extend(rust::check(path, source));
    }
    if path.ends_with(".md") {
        findings.extend(markdown::check(path, source, paths));
    }
    Checked {
        findings,
        lines: Some(source.lines().count()),
    }
}

/// Recorded bytes must stay as they were recorded, and tools write lock files.
fn is_written_by_machine(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "golden" | "fixtures" | "recorded" | "corpus"))
        || path.ends_with(".lock")
        || path.ends_with("requirements.txt")
        || path.starts_with("scripts/requirements/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths::new(&["crates/wire/src/lib.rs".to_owned(), "README.md".to_owned()])
    }

    #[test]
    fn knows_files_and_the_folders_they_make() {
        let paths = paths();
        assert!(paths.contains("crates/wire/src/lib.rs"));
        assert!(paths.contains("crates/wire/"));
        assert!(!paths.contains("crates/wire/sr"));
        assert!(paths.is_top_folder("crates"));
        assert!(!paths.is_top_folder("README.md"));
    }

    #[test]
    fn a_star_stands_for_part_of_one_name() {
        let paths = paths();
        assert!(paths.matches("crates/*/src"));
        assert!(paths.matches("crates/w*e/src/*.rs"));
        assert!(!paths.matches("crates/*/tests"));
        assert!(!paths.matches("crates/*.rs"));
    }

    #[test]
    fn a_recorded_file_keeps_its_white_space_and_still_must_not_hold_a_path_of_one_machine() {
        let bad = ["trailing \n", "/ro", "ot/x\n"].concat();
        let golden = check_file("crates/wire/tests/golden/a.txt", bad.as_bytes(), &paths());
        assert_eq!(golden.findings.len(), 1, "{:?}", golden.findings);
        let written = check_file("crates/wire/tests/a.txt", bad.as_bytes(), &paths());
        assert_eq!(written.findings.len(), 2, "{:?}", written.findings);
    }

    #[test]
    fn a_file_that_is_not_text_is_searched_for_keys() {
        let seed = format!("SU{}", "A".repeat(56));
        let bytes = [&[0xff, 0xfe, b' '], seed.as_bytes()].concat();
        assert_eq!(check_file("a.bin", &bytes, &paths()).findings.len(), 1);
    }
}
