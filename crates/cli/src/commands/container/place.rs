//! Puts files where only their owner may read them.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::folder::{private_file, private_folder};

/// The longest file of an identity.
const FILE_LENGTH_MAX: u64 = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many files there were.
    pub files: usize,
    /// How many of them were not there yet, or were different.
    pub changed: usize,
}

impl Copied {
    /// This and that.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            changed: self.changed.saturating_add(other.changed),
        }
    }
}

/// Copies the files of one folder, and none below it, into another that is made if it is missing.
/// What begins with a dot is left out: there, a mounted secret has its versions. A file that is there
/// already and the same is left alone; another is replaced, whole or not at all.
pub fn copy(from: &Path, to: &Path) -> io::Result<Copied> {
    close(to)?;
    let mut copied = Copied::default();
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = from.join(&name);
        // A mounted secret is a link to its present version: the target counts.
        if !fs::metadata(&path)?.is_file() {
            continue;
        }
        copied = copied.and(copy_file(&path, &to.join(&name))?);
    }
    if copied.changed > 0 {
        fs::File::open(to)?.sync_all()?;
    }
    Ok(copied)
}

/// Copies one file, as [`copy`] does.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<Copied> {
    let bytes = read(from)?;
    let is_private = fs::metadata(to).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    let same = is_private && read(to).is_ok_and(|present| present == bytes);
    if !same {
        private_folder(to.parent().unwrap_or(Path::new(".")))?;
        private_file(to, &bytes)?;
    }
    Ok(Copied {
        files: 1,
        changed: usize::from(!same),
    })
}

/// Makes the folder if it is missing, and closes it to everybody but its owner: a new volume is
/// open.
pub fn close(folder: &Path) -> io::Result<()> {
    private_folder(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut file = fs::File::open(path)?.take(FILE_LENGTH_MAX.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_LENGTH_MAX {
        let problem = format!("{} is longer than {FILE_LENGTH_MAX} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_mounted_secret_becomes_private_files_without_its_versions() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("secret"), root.path().join("open"));
        fs::create_dir_all(from.join("..2026")).unwrap();
        fs::write(from.join("..2026/bundle.sealed"), "sealed").unwrap();
        fs::set_permissions(
            from.join("..2026/bundle.sealed"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        symlink("..2026", from.join("..data")).unwrap();
        symlink("..data/bundle.sealed", from.join("bundle.sealed")).unwrap();
        fs::create_dir(from.join("folder")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o777)).unwrap();

        assert_eq!(copy(&from, &to).unwrap().files, 1);
        assert_eq!(fs::read(to.join("bundle.sealed")).unwrap(), b"sealed");
        assert_eq!(
            fs::read_dir(&to).unwrap().count(),
            1,
            "no version, no folder"
        );
        assert_eq!((mode(&to), mode(&to.join("bundle.sealed"))), (0o700, 0o600));
    }

    #[test]
    fn a_file_that_is_no_secret_by_its_length_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir(&from).unwrap();
        let file = fs::File::create(from.join("core")).unwrap();
        file.set_len(FILE_LENGTH_MAX + 1).unwrap();
        let problem = copy(&from, &root.path().join("to")).unwrap_err();
        assert!(problem.to_string().contains("longer than"), "{problem}");
    }
}
