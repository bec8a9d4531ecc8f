//! Every manifest takes its versions and lints from the root, and the root keeps the lints.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use crate::finding::Finding;
use crate::walls;

/// A member inherits lints and versions.
pub fn check_member(path: &str, text: &str) -> Result<Vec<Finding>> {
    let manifest: Table = toml::from_str(text).with_context(|| format!("read {path}"))?;
    let mut findings = Vec::new();
    if !inherits(manifest.get("lints")) {
        let problem = "the lints that guard money do not apply; add [lints] workspace = true";
        findings.push(Finding::file(path, problem));
    }
    check_tables(path, &manifest, &mut findings);
    let targets = manifest.get("target").and_then(Value::as_table);
    for target in targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table)
    {
        check_tables(path, target, &mut findings);
    }
    Ok(findings)
}

fn check_tables(path: &str, holder: &Table, findings: &mut Vec<Finding>) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let table = holder.get(kind).and_then(Value::as_table);
        for (name, value) in table.into_iter().flatten() {
            if !inherits(Some(value)) {
                let problem = format!(
                    "{kind}.{name} must be {{ workspace = true }}: versions stand in the root \
                     manifest only"
                );
                findings.push(Finding::file(path, problem));
            }
        }
    }
}

fn inherits(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

/// The root denies what it must, and offers no dependency that nobody uses.
pub fn check_root(text: &str, used: &BTreeSet<String>) -> Result<Vec<Finding>> {
    const PATH: &str = "Cargo.toml";
    let manifest: Table = toml::from_str(text).context("read the root Cargo.toml")?;
    let workspace = manifest
        .get("workspace")
        .context("the root Cargo.toml has no [workspace]")?;
    let mut findings = Vec::new();

    let lints = workspace.get("lints");
    for (tool, lint) in walls::LINTS {
        let table = lints.and_then(|lints| lints.get(*tool));
        let level = table.and_then(|table| table.get(*lint)).and_then(level);
        if !matches!(level, Some("deny" | "forbid")) {
            let problem = format!("[workspace.lints.{tool}] must deny {lint}: it guards money");
            findings.push(Finding::file(PATH, problem));
        }
    }

    let offered = workspace.get("dependencies").and_then(Value::as_table);
    for (key, value) in offered.into_iter().flatten() {
        let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
        let ours = value.get("path").is_some();
        if !ours && !used.contains(name) {
            let problem = format!("[workspace.dependencies] offers {key}, which nobody uses");
            findings.push(Finding::file(PATH, problem));
        }
    }
    Ok(findings)
}

/// `lint = "deny"` or `lint = { level = "deny", priority = 1 }`.
fn level(lint: &Value) -> Option<&str> {
    lint.as_str()
        .or_else(|| lint.get("level").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(findings: &[Finding]) -> String {
        findings
            .iter()
            .map(|finding| format!("{}\n", finding.problem))
            .collect()
    }

    #[test]
    fn accepts_a_member_that_inherits_everything() {
        let text = "[dependencies]\nserde.workspace = true\n\
                    toml = { workspace = true, features = [\"parse\"] }\n[lints]\nworkspace = true\n";
        assert_eq!(check_member("Cargo.toml", text).unwrap(), []);
    }

    #[test]
    fn refuses_a_member_without_the_lints() {
        for text in [
            "[package]\n",
            "[lints]\nworkspace = false\n",
            "[lints.clippy]\ntodo = \"allow\"\n",
        ] {
            let findings = check_member("Cargo.toml", text).unwrap();
            assert!(
                problems(&findings).contains("lints that guard money"),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_a_version_outside_the_root() {
        for text in [
            "[dependencies]\nserde = \"1\"\n",
            "[dev-dependencies]\nserde = { version = \"1\" }\n",
            "[build-dependencies]\nserde = { path = \"../serde\" }\n",
            "[target.'cfg(unix)'.dependencies]\nserde = \"1\"\n",
        ] {
            let text = format!("{text}[lints]\nworkspace = true\n");
            let findings = check_member("Cargo.toml", &text).unwrap();
            assert!(
                problems(&findings).contains("dependencies.serde must be"),
                "{text}"
            );
        }
    }

    fn root(lint_level: &str) -> String {
        let of_tool = |tool: &str| -> String {
            let lints = walls::LINTS.iter().filter(|(of, _)| *of == tool);
            lints
                .map(|(_, lint)| format!("{lint} = {lint_level}\n"))
                .collect()
        };
        let (clippy, rust) = (of_tool("clippy"), of_tool("rust"));
        format!("[workspace.lints.clippy]\n{clippy}[workspace.lints.rust]\n{rust}")
    }

    #[test]
    fn accepts_a_root_that_denies_the_lints() {
        for level in [
            "\"deny\"",
            "\"forbid\"",
            "{ level = \"deny\", priority = 1 }",
        ] {
            assert_eq!(check_root(&root(level), &BTreeSet::new()).unwrap(), []);
        }
    }

    #[test]
    fn refuses_a_root_that_softens_a_lint() {
        let findings = check_root(&root("\"warn\""), &BTreeSet::new()).unwrap();
        assert_eq!(findings.len(), walls::LINTS.len());
    }

    #[test]
    fn refuses_a_dependency_on_offer_that_nobody_uses() {
        let text = format!(
            "[workspace.dependencies]\nserde = \"1\"\nidle = \"1\"\nours = {{ path = \"ours\" }}\n{}",
            root("\"deny\"")
        );
        let used = BTreeSet::from(["serde".to_owned()]);
        let findings = check_root(&text, &used).unwrap();
        assert_eq!(
            problems(&findings),
            "[workspace.dependencies] offers idle, which nobody uses\n"
        );
    }
}
