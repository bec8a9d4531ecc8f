//! The copy of the workspace in which checks can be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::VARIABLE;
use super::list::{List, Mutant};
use crate::workspace::Workspace;

/// The crate that everything which checks anything depends on.
const HOME: &str = "crates/domain/src/lib.rs";

/// Copies what git tracks or would track, with every text of the list in its place. A file that is
/// there already and the same is left alone, so that cargo builds only what changed.
pub fn copy(workspace: &Workspace, list: &List, to: &Path) -> Result<()> {
    let mut changed = changed_files(&workspace.root, list)?;
    let files = workspace.files()?;
    for name in &files {
        let from = workspace.root.join(name);
        if from.is_dir() {
            continue;
        }
        let bytes = match changed.remove(name.as_str()) {
            Some(text) => text.into_bytes(),
            None => fs::read(&from).with_context(|| format!("read {name}"))?,
        };
        let path = to.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            continue;
        }
        let folder = path.parent().unwrap_or(to);
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        let mode = fs::metadata(&from).with_context(|| format!("look at {name}"))?;
        fs::set_permissions(&path, mode.permissions())
            .with_context(|| format!("set the mode of {name}"))?;
    }
    if let Some(name) = changed.keys().next() {
        bail!("git does not track {name}");
    }
    let kept: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    forget(to, to, &kept)
}

/// Removes from the copy what the workspace has no more.
fn forget(root: &Path, folder: &Path, kept: &BTreeSet<&str>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("list the copy")?.path();
        if path.is_dir() {
            forget(root, &path, kept)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        if !kept.contains(&*name) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The whole text of every file that the list changes.
pub fn changed_files(root: &Path, list: &List) -> Result<BTreeMap<String, String>> {
    let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in &list.mutant {
        by_file.entry(&mutant.file).or_default().push(mutant);
    }
    let read =
        |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"));
    let mut changed = BTreeMap::new();
    for (name, mutants) in by_file {
        let text = apply(&read(name)?, &mutants).with_context(|| format!("change {name}"))?;
        changed.insert(name.to_owned(), text);
    }
    let home = match changed.remove(HOME) {
        Some(text) => text,
        None => read(HOME)?,
    };
    changed.insert(HOME.to_owned(), format!("{home}{}", switch()));
    Ok(changed)
}

/// What the copy's innermost crate has and the product does not.
fn switch() -> String {
    format!(
        r#"
/// Whether this check is gone.
#[must_use]
pub fn gone(check: &str) -> bool {{
    extern crate std;
    static CHECKS: std::sync::OnceLock<std::string::String> = std::sync::OnceLock::new();
    let checks = CHECKS.get_or_init(|| std::env::var("{VARIABLE}").unwrap_or_default());
    !checks.is_empty() && checks.split(',').any(|gone| gone == check)
}}
"#
    )
}

/// Replaces each text, which must stand in the file exactly once and touch no other.
fn apply(text: &str, mutants: &[&Mutant]) -> Result<String> {
    let mut places: Vec<(usize, &Mutant)> = Vec::new();
    for mutant in mutants {
        let mut found = text.match_indices(&mutant.from);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => places.push((at, mutant)),
            (None, _) => bail!("the text of {} is not there", mutant.name),
            (Some(_), Some(_)) => bail!("the text of {} is there more than once", mutant.name),
        }
    }
    places.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    let mut end = 0;
    for (at, mutant) in places {
        let Some(between) = text.get(end..at) else {
            bail!(
                "the text of {} overlaps with the one before it",
                mutant.name
            );
        };
        out.push_str(between);
        // The home of the switch does not know itself under its own name.
        let home = match mutant.file.strip_prefix("crates/domain/") {
            Some(_) => "crate",
            None => "portcullis_domain",
        };
        out.push_str(&mutant.to.replace("gone(\"", &format!("{home}::gone(\"")));
        end = at.saturating_add(mutant.from.len());
    }
    out.push_str(text.get(end..).unwrap_or_default());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(mutants: &[(&str, &str)]) -> List {
        let text: Vec<String> = mutants
            .iter()
            .map(|(name, from)| {
                format!(
                    "[[mutant]]\nname = \"{name}\"\ncheck = \"c\"\nfile = \"f\"\nfrom = '{from}'\n\
                     to = 'gone(\"{name}\")'\ncells = [\"a/b\"]\n"
                )
            })
            .collect();
        toml::from_str(&text.join("\n")).unwrap()
    }

    fn applied(text: &str, mutants: &[(&str, &str)]) -> Result<String> {
        apply(text, &list(mutants).mutant.iter().collect::<Vec<_>>())
    }

    #[test]
    fn every_text_is_replaced_where_it_stands() {
        let got = applied("one two three", &[("c", "three"), ("a", "one")]).unwrap();
        assert_eq!(
            got,
            "portcullis_domain::gone(\"a\") two portcullis_domain::gone(\"c\")"
        );
    }

    #[test]
    fn a_text_that_is_absent_doubled_or_overlapping_is_an_error() {
        let problem =
            |mutants: &[(&str, &str)]| applied("one two two", mutants).unwrap_err().to_string();
        assert!(problem(&[("a", "four")]).contains("is not there"));
        assert!(problem(&[("a", "two")]).contains("more than once"));
        assert!(problem(&[("a", "one t"), ("b", "one")]).contains("overlaps"));
    }

    #[test]
    fn the_list_fits_the_sources_that_are_here() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let list = List::load(&root).unwrap();
        let changed = changed_files(&root, &list).unwrap();
        assert!(changed[HOME].contains("pub fn gone("));
        for mutant in &list.mutant {
            assert!(changed[&mutant.file].contains(&format!("gone(\"{}\")", mutant.name)));
        }
    }

    #[test]
    fn the_product_has_no_such_switch() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::load().unwrap();
        for name in workspace.files().unwrap() {
            if name.ends_with(".rs") && !name.starts_with("xtask/") {
                let text = fs::read_to_string(root.join(&name)).unwrap_or_default();
                assert!(!text.contains(VARIABLE), "{name}");
            }
        }
    }
}
