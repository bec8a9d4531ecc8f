//! The last part of the report; the rest is the attack suite's.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Outcome;
use super::list::List;

/// The report.
pub const FILE: &str = "docs/attack-report.md";
/// What begins the part that is written here.
const MUTATIONS: &str = "\n## Mutations\n";

/// Writes the list into the report.
pub fn write(root: &Path, list: &List, outcomes: &[Outcome]) -> Result<()> {
    let path = root.join(FILE);
    let page = fs::read_to_string(&path)
        .with_context(|| format!("read {FILE}; `cargo xtask attack` makes it"))?;
    let page = inserted(&page, &section(list, outcomes));
    fs::write(&path, page).with_context(|| format!("write {FILE}"))
}

fn inserted(page: &str, section: &str) -> String {
    let before = page.split(MUTATIONS).next().unwrap_or_default();
    format!("{before}{MUTATIONS}{section}")
}

fn section(list: &List, outcomes: &[Outcome]) -> String {
    let killed = outcomes.iter().filter(|one| one.is_killed()).count();
    let mut out = format!(
        "\n{killed} of {} removals turned a cell red. Each was made in a copy of the sources, with \
         the real stack built from it.\n\n\
         | removed: the check that … | in | cell that turned red | what was seen | behind it |\n\
         | --- | --- | --- | --- | --- |\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let files: Vec<String> = outcome
            .files
            .iter()
            .map(|file| format!("`{file}`"))
            .collect();
        let (cells, seen) = match (&outcome.problem, outcome.red.first_key_value()) {
            (Some(problem), _) => ("**not judged**".to_owned(), problem.clone()),
            (None, Some((_, seen))) => {
                let cells: Vec<&str> = outcome.red.keys().map(String::as_str).collect();
                (cells.join(", "), seen.clone())
            }
            (None, None) => (
                "**none**".to_owned(),
                format!("as before: {}", outcome.unchanged.join(", ")),
            ),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            plain(&outcome.check),
            files.join(", "),
            plain(&cells),
            plain(&seen),
            plain(&outcome.behind.join(", "))
        );
    }
    let elsewhere: Vec<_> = list.elsewhere().collect();
    if !elsewhere.is_empty() {
        out.push_str(
            "\nNo cell reaches these, because what they stop cannot be brought about in a short run, or \
             because another check stops the way to them. A test each shows them instead:\n\n\
             | the check that … | in | test |\n| --- | --- | --- |\n",
        );
        for (check, file, test) in elsewhere {
            let test = test.split_once(": ").map_or_else(
                || format!("`{test}`"),
                |(path, name)| format!("`{path}`: `{name}`"),
            );
            let _ = writeln!(out, "| {} | `{file}` | {test} |", plain(check));
        }
    }
    out.push('\n');
    out
}

/// What cannot end a place of the table.
fn plain(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn outcome(red: &[(&str, &str)]) -> Outcome {
        let red = red
            .iter()
            .map(|(cell, seen)| ((*cell).into(), (*seen).into()));
        Outcome {
            name: "mac".into(),
            check: "the tag fits".into(),
            files: vec!["a.rs".into()],
            red: red.collect::<BTreeMap<_, _>>(),
            unchanged: vec!["x/y".into()],
            behind: Vec::new(),
            problem: None,
        }
    }

    #[test]
    fn only_the_last_part_changes() {
        let page = inserted("head\n\n## A\n", "new\n");
        assert_eq!(page, "head\n\n## A\n\n## Mutations\nnew\n");
        assert_eq!(
            inserted(&page, "newer\n"),
            "head\n\n## A\n\n## Mutations\nnewer\n"
        );
    }

    #[test]
    fn one_that_turned_nothing_red_is_said_as_plainly() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let list = List::load(&root).unwrap();
        let outcomes = [outcome(&[("a/b", "an order | went out")]), outcome(&[])];
        let text = section(&list, &outcomes);
        assert!(text.contains("1 of 2 removals"));
        assert!(text.contains("| a/b | an order / went out |"));
        assert!(text.contains("| **none** | as before: x/y |"));
    }
}
