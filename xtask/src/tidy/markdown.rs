//! Every path that a document names exists.

use super::Paths;
use crate::finding::Finding;

/// Folders of the root, beside those that exist, whose mention means a path of the repository.
const TOP_FOLDERS: [&str; 11] = [
    ".cargo", ".ci", ".config", "config", "crates", "deploy", "docs", "fuzz", "nats", "scripts",
    "xtask",
];

/// Checks the paths in backticks (from the root), after `./` in code blocks, and in links (from
/// the document's own folder).
pub fn check(path: &str, source: &str, paths: &Paths) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fence: Option<&str> = None;
    for (at, line) in source.lines().enumerate() {
        let start = line.trim_start();
        let opens = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        match (fence, opens) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        let mut missing = Vec::new();
        if fence.is_some() {
            let words = line
                .split_whitespace()
                .filter(|word| word.starts_with("./"));
            missing.extend(words.filter_map(|word| missing_path(word, paths)));
        } else {
            for span in code_spans(line) {
                let words = span.split_whitespace();
                missing.extend(words.filter_map(|word| missing_path(word, paths)));
            }
            missing.extend(links(line).filter_map(|link| missing_link(path, link, paths)));
        }
        for name in missing {
            findings.push(Finding::line(
                path,
                at + 1,
                format!("{name} does not exist"),
            ));
        }
    }
    findings
}

/// What stands between backticks.
pub fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What stands in `](…)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link)
}

/// The path that a word names, if it looks like one of the repository and is not there.
fn missing_path(word: &str, paths: &Paths) -> Option<String> {
    let word = word.trim_matches(['"', '\'', '(', ')', ',', ';']);
    let word = word.split("::").next().unwrap_or(word);
    let word = word.split(['#', ':']).next().unwrap_or(word);
    let word = word
        .strip_prefix("./")
        .unwrap_or(word)
        .trim_end_matches('.');
    let (top, _) = word.split_once('/')?;
    let is_path = TOP_FOLDERS.contains(&top) || paths.is_top_folder(top);
    // `<name>`, `{a,b}` and `$NAME` stand for something else.
    if !is_path || word.contains(['<', '{', '$', '…']) || word.contains("...") {
        return None;
    }
    let exists = if word.contains('*') {
        paths.matches(word)
    } else {
        paths.contains(word)
    };
    (!exists).then(|| word.to_owned())
}

/// The target of a link, from the root, if it is a file that is not there.
fn missing_link(document: &str, link: &str, paths: &Paths) -> Option<String> {
    let link = link.split_whitespace().next().unwrap_or_default();
    let target = link.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => document
            .rsplit_once('/')
            .map_or(Vec::new(), |(folder, _)| folder.split('/').collect()),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Some(format!("{link} (outside the repository)"));
                }
            }
            _ => parts.push(part),
        }
    }
    let resolved = parts.join("/");
    (!resolved.is_empty() && !paths.contains(&resolved)).then_some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(document: &str, source: &str) -> Vec<String> {
        let files = [
            "crates/wire/src/lib.rs",
            "docs/risk.md",
            "scripts/up",
            "README.md",
        ];
        let paths = Paths::new(&files.map(str::to_owned));
        check(document, source, &paths)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn accepts_paths_that_exist() {
        let source = "See `crates/wire/src/lib.rs`, `crates/wire/`, `crates/*/src/*.rs:12`,\n\
                      `./scripts/up --json`, `crates/wire/src/lib.rs::seal`,\n\
                      [risk](docs/risk.md#limits), [top](#top) and [web](https://example.org/a).\n\
                      ```sh\n./scripts/up\n```\n";
        assert_eq!(check_one("README.md", source), [""; 0]);
        assert_eq!(
            check_one("docs/risk.md", "[up](../README.md) [here](risk.md)\n"),
            [""; 0]
        );
    }

    #[test]
    fn what_is_no_path_of_the_repository_passes() {
        let source = "`and/or`, `text/plain`, `crates/<name>/src`, `config/{a,b}.toml`, `a/b`\n";
        assert_eq!(check_one("README.md", source), [""; 0]);
    }

    #[test]
    fn refuses_a_path_in_backticks_that_does_not_exist() {
        for (source, missing) in [
            ("x\n`crates/gone/src/lib.rs`\n", "crates/gone/src/lib.rs"),
            ("x\n`docs/gone.md`, and `docs/risk.md`.\n", "docs/gone.md"),
            ("x\n`deploy/kubernetes`\n", "deploy/kubernetes"),
            ("x\nrun `./scripts/down --now`\n", "scripts/down"),
            ("x\n`crates/*/tests`\n", "crates/*/tests"),
        ] {
            assert_eq!(
                check_one("docs/risk.md", source),
                [format!("docs/risk.md:2: {missing} does not exist")]
            );
        }
    }

    #[test]
    fn refuses_a_command_in_a_code_block_that_does_not_exist() {
        let found = check_one("README.md", "```sh\n./scripts/down\n```\n");
        assert_eq!(found, ["README.md:2: scripts/down does not exist"]);
    }

    #[test]
    fn refuses_a_link_that_leads_nowhere() {
        let found = check_one("docs/risk.md", "[a](gone.md) [b](../../x)\n");
        assert_eq!(
            found,
            [
                "docs/risk.md:1: docs/gone.md does not exist",
                "docs/risk.md:1: ../../x (outside the repository) does not exist"
            ]
        );
    }
}
