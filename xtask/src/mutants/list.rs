//! The list of checks that are removed.
//!
//! ```toml
//! [[mutant]]                       # one check
//! name = "mac"                     # of letters, digits and hyphens
//! check = "the tag fits the bytes" # completes "without the check that …"
//! file = "crates/wire/src/verify.rs"
//! from = '''…'''                   # the exact text, once in the file
//! to = '''…'''                     # what stands there in the copy; asks gone("mac")
//! cells = ["nats-server/place"]    # at least one of them turns red; empty for one half of a pair
//! behind = ["receipt"]             # optional: what else would have to go
//! elsewhere = "path: test_name"    # optional, without cells: no cell reaches it, but this test does
//!
//! [[pair]]                         # checks that stand behind one another, removed together
//! name = "replay"
//! removes = ["window", "duplicate"]
//! check = "…"
//! cells = ["…"]
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// Where the list is.
pub const FILE: &str = "crates/attack/mutants.toml";

/// The whole list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// One check each.
    pub mutant: Vec<Mutant>,
    /// Several checks each.
    #[serde(default)]
    pair: Vec<Pair>,
}

/// A check, and the text that removes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What the copy calls it.
    pub name: String,
    check: String,
    /// Where it stands.
    pub file: String,
    /// Its exact text.
    pub from: String,
    /// What stands there in the copy.
    pub to: String,
    #[serde(default)]
    cells: Vec<String>,
    #[serde(default)]
    behind: Vec<String>,
    #[serde(default)]
    elsewhere: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    name: String,
    removes: Vec<String>,
    check: String,
    cells: Vec<String>,
}

/// What is run at once: a mutant, or a pair of them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What is gone, in words.
    pub check: String,
    /// The mutants that are switched on.
    pub removes: Vec<String>,
    /// The cells that may turn red.
    pub cells: Vec<String>,
    /// The mutants that stand behind this one.
    pub behind: Vec<String>,
}

impl List {
    /// Reads and checks the list.
    pub fn load(root: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).with_context(|| format!("read {FILE}"))?;
        let mut names = BTreeSet::new();
        let mutants = list.mutant.iter().map(|mutant| &mutant.name);
        for name in mutants.chain(list.pair.iter().map(|pair| &pair.name)) {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            ensure!(
                !name.is_empty() && name.bytes().all(plain),
                "{name:?} has other characters than letters, digits and hyphens"
            );
            ensure!(names.insert(name.as_str()), "{name} is in {FILE} twice");
        }
        let known: BTreeSet<&str> = list.mutant.iter().map(|one| one.name.as_str()).collect();
        let paired: BTreeSet<&str> = list
            .pair
            .iter()
            .flat_map(|pair| pair.removes.iter().map(String::as_str))
            .collect();
        for mutant in &list.mutant {
            let Mutant {
                name,
                to,
                cells,
                elsewhere,
                ..
            } = mutant;
            ensure!(
                to.contains(&format!("gone(\"{name}\")")),
                "the text of {name} does not ask whether it is gone"
            );
            ensure!(
                !cells.is_empty() || elsewhere.is_some() || paired.contains(name.as_str()),
                "{name} names no cell and is in no pair"
            );
            ensure!(
                cells.is_empty() || elsewhere.is_none(),
                "{name} names cells, and a test because there are none"
            );
            for other in &mutant.behind {
                ensure!(
                    known.contains(other.as_str()),
                    "{name} is before {other}, which is none"
                );
            }
        }
        for pair in &list.pair {
            ensure!(!pair.cells.is_empty(), "{} names no cell", pair.name);
            for name in &pair.removes {
                ensure!(
                    known.contains(name.as_str()),
                    "{} removes {name}, which is none",
                    pair.name
                );
            }
        }
        Ok(list)
    }

    /// What there is to run: everything, or what is named.
    pub fn entries(&self, only: &[String]) -> Result<Vec<Entry>> {
        let singles = self.mutant.iter().map(|mutant| Entry {
            name: mutant.name.clone(),
            check: mutant.check.clone(),
            removes: vec![mutant.name.clone()],
            cells: mutant.cells.clone(),
            behind: mutant.behind.clone(),
        });
        let pairs = self.pair.iter().map(|pair| Entry {
            name: pair.name.clone(),
            check: pair.check.clone(),
            removes: pair.removes.clone(),
            cells: pair.cells.clone(),
            behind: Vec::new(),
        });
        let mut entries: Vec<Entry> = singles
            .chain(pairs)
            .filter(|entry| !entry.cells.is_empty())
            .collect();
        if let Some(missing) = only
            .iter()
            .find(|name| !entries.iter().any(|entry| entry.name == **name))
        {
            bail!("{FILE} has no entry {missing:?} that can be run by itself");
        }
        entries.retain(|entry| only.is_empty() || only.contains(&entry.name));
        Ok(entries)
    }

    /// The checks that no cell reaches: each in words, its file, and the test that shows it.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.mutant.iter().filter_map(|mutant| {
            let test = mutant.elsewhere.as_deref()?;
            Some((mutant.check.as_str(), mutant.file.as_str(), test))
        })
    }

    /// The files that an entry changes.
    pub fn files_of(&self, entry: &Entry) -> Vec<String> {
        let changed = self
            .mutant
            .iter()
            .filter(|mutant| entry.removes.contains(&mutant.name));
        changed.map(|mutant| mutant.file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[mutant]]
        name = "mac"
        check = "the tag fits"
        file = "a.rs"
        from = "if bad {"
        to = 'if !gone("mac") && bad {'
    "#;

    fn problem(text: &str) -> String {
        format!("{:#}", List::parse(text).unwrap_err())
    }

    #[test]
    fn a_mutant_is_run_by_itself_or_in_a_pair() {
        assert!(problem(&format!("{ONE}cells = []")).contains("names no cell"));
        let pair =
            "\n[[pair]]\nname = \"both\"\nremoves = [\"mac\"]\ncheck = \"x\"\ncells = [\"a/b\"]";
        let list = List::parse(&format!("{ONE}cells = []{pair}")).unwrap();
        let names: Vec<_> = list
            .entries(&[])
            .unwrap()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(names, ["both"]);
        assert!(list.entries(&["mac".into()]).is_err());
    }

    #[test]
    fn the_test_that_is_named_for_a_check_without_a_cell_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (check, _, named) in List::load(&root).unwrap().elsewhere() {
            let (path, test) = named.split_once(": ").unwrap();
            let text = std::fs::read_to_string(root.join(path)).unwrap();
            assert!(text.contains(&format!("fn {test}(")), "{check}: {named}");
        }
    }

    #[test]
    fn what_is_written_twice_or_names_nothing_is_refused() {
        let cells = "cells = [\"a/b\"]";
        assert!(problem(&format!("{ONE}{cells}{ONE}{cells}")).contains("twice"));
        let text = ONE.replace("gone(\"mac\")", "gone(\"mcc\")");
        assert!(problem(&format!("{text}{cells}")).contains("does not ask"));
        assert!(problem(&format!("{ONE}{cells}\nbehind = [\"x\"]")).contains("which is none"));
        let pair =
            "\n[[pair]]\nname = \"both\"\nremoves = [\"x\"]\ncheck = \"x\"\ncells = [\"a/b\"]";
        assert!(problem(&format!("{ONE}{cells}{pair}")).contains("which is none"));
    }
}
