//! Every shell script passes shellcheck.

use anyhow::{Context as _, Result, bail, ensure};

use crate::finding::Finding;
use crate::workspace::Workspace;

/// Where `./scripts/tools test` puts the pinned version.
const PINNED: &str = ".tools/venv/bin/shellcheck";

/// Runs shellcheck over every script that git tracks or would track.
pub fn check_workspace(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut scripts = Vec::new();
    for path in workspace.files()? {
        let bytes = std::fs::read(workspace.root.join(&path)).unwrap_or_default();
        if is_shell_script(&path, &bytes) {
            scripts.push(path);
        }
    }
    ensure!(!scripts.is_empty(), "found no shell script to check");

    let pinned = workspace.root.join(PINNED);
    let program = if pinned.exists() {
        pinned.to_string_lossy().into_owned()
    } else {
        "shellcheck".into()
    };
    let output = workspace
        .command(&program)?
        .args(["--format=gcc", "--external-sources", "--"])
        .args(&scripts)
        .output()
        .context("start shellcheck; ./scripts/tools test installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Finding> = said.lines().filter_map(parse).collect();
    // 0: nothing to say; 1: findings. Anything else means that it did not do its work.
    match output.status.code() {
        Some(0) | Some(1) if output.status.success() == findings.is_empty() => Ok(findings),
        _ => bail!(
            "shellcheck failed: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn is_shell_script(path: &str, bytes: &[u8]) -> bool {
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    path.ends_with(".sh")
        || (first.starts_with("#!")
            && first
                .split(['/', ' '])
                .any(|word| matches!(word, "sh" | "bash")))
}

/// `path:line:column: level: message [SC1234]`.
fn parse(line: &str) -> Option<Finding> {
    let (path, rest) = line.split_once(':')?;
    let (number, rest) = rest.split_once(':')?;
    let (_column, message) = rest.split_once(": ")?;
    Some(Finding::line(path, number.parse().ok()?, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_script_by_its_first_line_or_its_name() {
        assert!(is_shell_script("scripts/up", b"#!/usr/bin/env bash\n"));
        assert!(is_shell_script("a", b"#!/bin/sh -e\n"));
        assert!(is_shell_script("a.sh", b""));
        assert!(!is_shell_script("a", b"#!/usr/bin/env python3\n"));
        assert!(!is_shell_script("a.md", b"bash\n"));
    }

    #[test]
    fn reads_what_shellcheck_says() {
        let finding = parse("scripts/up:3:7: warning: x is unused [SC2034]").unwrap();
        assert_eq!(
            finding.to_string(),
            "scripts/up:3: warning: x is unused [SC2034]"
        );
        assert_eq!(parse("not a finding"), None);
    }
}
