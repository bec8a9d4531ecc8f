//! Who may open the files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Findings;

/// The most files that are looked at.
const FILES_MAX: usize = 10_000;

/// Looks at the modes and owners of everything below a folder. Gives back what is open to others.
pub(super) fn look(folder: &Path, findings: &mut Findings) -> BTreeSet<PathBuf> {
    let mut open = BTreeSet::new();
    let owner = match fs::symlink_metadata(folder) {
        Ok(metadata) => metadata.uid(),
        Err(cause) => {
            findings.error(
                format!("{} is not readable: {cause}", folder.display()),
                "name the folder that has the keys",
            );
            return open;
        }
    };
    let mut waiting = vec![folder.to_owned()];
    let mut count: usize = 0;
    while let Some(path) = waiting.pop() {
        count = count.saturating_add(1);
        if count > FILES_MAX {
            findings.warning(
                format!("{} has more than {FILES_MAX} files", folder.display()),
                "keep nothing but keys in it",
            );
            return open;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        one(&path, &metadata, owner, &mut open, findings);
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten();
            waiting.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        }
        left_over(&path, findings);
    }
    open
}

fn one(
    path: &Path,
    metadata: &fs::Metadata,
    owner: u32,
    open: &mut BTreeSet<PathBuf>,
    findings: &mut Findings,
) {
    let shown = path.display();
    let mode = metadata.mode() & 0o7777;
    if metadata.is_symlink() {
        findings.error(
            format!("{shown} is a link: nobody knows who may open what it points to"),
            format!("put the file itself in place of {shown}"),
        );
    } else if mode & 0o077 != 0 {
        open.insert(path.to_owned());
        let right = if metadata.is_dir() { "700" } else { "600" };
        findings.error(
            format!("{shown} is open to others (mode {mode:04o})"),
            format!("chmod {right} {shown}"),
        );
    }
    if metadata.uid() != owner {
        findings.error(
            format!(
                "{shown} belongs to user {}, and the folder to {owner}",
                metadata.uid()
            ),
            format!("chown {owner} {shown}"),
        );
    }
}

/// What a command that was interrupted left behind may hold keys.
fn left_over(path: &Path, findings: &mut Findings) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".new") || name.contains(".partial-") {
        findings.warning(
            format!(
                "{} was left by a command that was interrupted",
                path.display()
            ),
            format!("run that command again, or rm -r {}", path.display()),
        );
    }
}
