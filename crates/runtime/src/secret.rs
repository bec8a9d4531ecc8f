//! Reads secrets from files. A secret is never an argument or an environment variable.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::file;

/// 64 digits, and room for a line end.
const HEX_KEY_LENGTH_MAX: usize = 128;

/// Why a secret file was not accepted. No variant holds any of its bytes.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such file.
    #[error("secret {0} is missing")]
    Missing(PathBuf),
    /// It could not be read.
    #[error("read secret {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// It is a directory, a pipe or the like.
    #[error("secret {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Its group or everybody may open it.
    #[error("secret {path} is open to others (mode {mode:04o})")]
    OpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing is in it.
    #[error("secret {0} is empty")]
    Empty(PathBuf),
    /// More is in it than a secret of that kind has.
    #[error("secret {path} is longer than {limit} bytes")]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The most bytes.
        limit: usize,
    },
    /// It is not what such a secret looks like.
    #[error("secret {path} is not {expected}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should have been.
        expected: &'static str,
    },
}

impl SecretError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Missing(path) | Self::Read { path, .. } | Self::NotAFile(path) => {
                format!(
                    "put the secret into {} (mode 0600, owned by the service)",
                    path.display()
                )
            }
            Self::OpenToOthers { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Empty(path) | Self::TooLong { path, .. } | Self::Malformed { path, .. } => {
                format!(
                    "make {} anew; it does not hold the secret it is named for",
                    path.display()
                )
            }
        }
    }
}

/// Reads a secret of 1 to `length_max` bytes.
///
/// # Errors
/// [`SecretError`] when the file is missing, readable by anybody but its owner, empty or too long.
pub fn read_secret(path: &Path, length_max: usize) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_secret_where(path, length_max, |metadata| {
        !file::is_open_to_others(metadata)
    })
}

fn read_secret_where(
    path: &Path,
    length_max: usize,
    is_closed: impl FnOnce(&Metadata) -> bool,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let read_error = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => SecretError::Missing(path.into()),
        _ => SecretError::Read {
            path: path.into(),
            cause,
        },
    };
    let file = File::open(path).map_err(read_error)?;
    // The open file is asked, not the path, so that nobody can exchange it in between.
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile(path.into()));
    }
    if !is_closed(&metadata) {
        let mode = metadata.mode() & 0o7777;
        return Err(SecretError::OpenToOthers {
            path: path.into(),
            mode,
        });
    }
    let bytes = file::read_bounded(file, length_max).map_err(read_error)?;
    let bytes = bytes.map(Zeroizing::new);
    let bytes = bytes.ok_or_else(|| SecretError::TooLong {
        path: path.into(),
        limit: length_max,
    })?;
    if bytes.is_empty() {
        Err(SecretError::Empty(path.into()))
    } else {
        Ok(bytes)
    }
}

/// Reads a secret of 32 bytes, written as 64 hexadecimal digits and perhaps a line end.
///
/// # Errors
/// As [`read_secret`], and [`SecretError::Malformed`] when it is anything else.
pub fn read_hex_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    hex_key(path, &read_secret(path, HEX_KEY_LENGTH_MAX)?)
}

/// As [`read_hex_key`], for a credential that systemd handed to the unit. Where it gives the unit's
/// user access by an access control list, the mode shows that as a right of the group; the file is
/// then root's, and so is its group.
pub(crate) fn read_credential_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let is_closed = |metadata: &Metadata| {
        let of_root = metadata.uid() == 0 && metadata.gid() == 0 && metadata.mode() & 0o037 == 0;
        of_root || !file::is_open_to_others(metadata)
    };
    hex_key(
        path,
        &read_secret_where(path, HEX_KEY_LENGTH_MAX, is_closed)?,
    )
}

fn hex_key(path: &Path, bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| parse_hex_key(text.trim_ascii_end()))
        .ok_or_else(|| SecretError::Malformed {
            path: path.into(),
            expected: "64 hexadecimal digits",
        })
}

/// Reads 64 hexadecimal digits.
pub(crate) fn parse_hex_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    portcullis_domain::Hash::from_hex(text)
        .ok()
        .map(|hash| Zeroizing::new(hash.0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_secret_that_others_may_open_is_refused_with_what_to_do() {
        for mode in [0o640, 0o604, 0o660, 0o601, 0o620] {
            let (_folder, path) = secret(b"secret", mode);
            let error = read_secret(&path, 100).unwrap_err();
            assert!(
                matches!(error, SecretError::OpenToOthers { .. }),
                "{mode:o}: {error:?}"
            );
            assert_eq!(error.next_step(), format!("chmod 600 {}", path.display()));
            assert!(!format!("{error} {error:?}").contains("b\"secret\""));
        }
        for mode in [0o600, 0o400] {
            let (_folder, path) = secret(b"secret", mode);
            assert_eq!(*read_secret(&path, 100).unwrap(), b"secret");
        }
    }

    #[test]
    fn missing_empty_too_long_and_odd_files_are_refused() {
        let (folder, path) = secret(b"", 0o600);
        assert!(matches!(read_secret(&path, 9), Err(SecretError::Empty(_))));
        fs::write(&path, b"0123456789").unwrap();
        assert!(matches!(
            read_secret(&path, 9),
            Err(SecretError::TooLong { limit: 9, .. })
        ));
        assert!(read_secret(&path, 10).is_ok());
        let missing = folder.path().join("missing");
        assert!(matches!(
            read_secret(&missing, 9),
            Err(SecretError::Missing(_))
        ));
        assert!(matches!(
            read_secret(folder.path(), 9),
            Err(SecretError::NotAFile(_))
        ));
    }

    #[test]
    fn a_key_is_64_digits_and_perhaps_a_line_end() {
        let digits = "0123456789abcdef".repeat(4);
        for text in [digits.clone(), format!("{digits}\n")] {
            let (_folder, path) = secret(text.as_bytes(), 0o600);
            assert_eq!(read_hex_key(&path).unwrap()[..2], [0x01, 0x23]);
        }
        for text in [
            &digits[..62],
            "zz",
            &format!("{digits}00"),
            &format!(" {digits}"),
        ] {
            let (_folder, path) = secret(text.as_bytes(), 0o600);
            let error = read_hex_key(&path).unwrap_err();
            assert!(
                matches!(error, SecretError::Malformed { .. }),
                "{text:?}: {error:?}"
            );
        }
    }
}
