//! The folder of what a service must remember.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_wire::SKEW_MAX;

use crate::{Clock, file};

const LOCK: &str = "lock";
/// The file with the last boot number; it is there once a service has run with the folder.
pub(crate) const BOOT_FILE: &str = "boot";

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder cannot be made or read.
    #[error("open state folder {path}")]
    Open {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Others may read or write in it.
    #[error("state folder {0} is open to others")]
    OpenToOthers(PathBuf),
    /// Another instance is running on it.
    #[error("state folder {0} is in use by another instance")]
    InUse(PathBuf),
    /// The boot number is not a number.
    #[error("boot number in {0} is damaged")]
    BootDamaged(PathBuf),
    /// The last boot number lies ahead of the clock.
    #[error(
        "boot number in {path} is {seconds} s ahead of the clock: the clock went back, or was wrong \
         at an earlier start"
    )]
    BootAhead {
        /// Which file.
        path: PathBuf,
        /// How many whole seconds.
        seconds: u64,
    },
    /// The boot number cannot be read or written.
    #[error("keep boot number in {path}")]
    Boot {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl StateError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Open { path, .. } => format!("make {} writable for this service", path.display()),
            Self::OpenToOthers(path) => format!("chmod 700 {}", path.display()),
            Self::InUse(path) => {
                format!(
                    "stop the other instance, or give this one its own folder instead of {}",
                    path.display()
                )
            }
            Self::BootDamaged(path) => format!(
                "restore {} from a backup, or write the present time in microseconds into it",
                path.display()
            ),
            Self::BootAhead { seconds, .. } => format!(
                "set the clock right; if it is, start again in {} s, as readers refuse a start that \
                 lies in the future",
                seconds.saturating_add(1)
            ),
            Self::Boot { path, .. } => format!("check the disk that holds {}", path.display()),
        }
    }
}

/// A folder that only one running service uses. Clones share the lock.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    has_run: bool,
    _lock: Arc<File>,
}

impl StateDir {
    /// Opens the folder, making it (mode 0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// [`StateError`] when others may open it or another instance holds it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let open_error = |cause| StateError::Open {
            path: path.into(),
            cause,
        };
        file::make_directory(path).map_err(open_error)?;
        let metadata = std::fs::metadata(path).map_err(open_error)?;
        if file::is_open_to_others(&metadata) {
            return Err(StateError::OpenToOthers(path.into()));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(open_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(path.into())),
            Err(TryLockError::Error(cause)) => return Err(open_error(cause)),
        }
        Ok(Self {
            path: path.into(),
            has_run: path.join(BOOT_FILE).exists(),
            _lock: Arc::new(lock),
        })
    }

    /// Whether the service ran with this folder before the present start: what it recorded must then
    /// be there.
    #[must_use]
    pub fn has_run_before(&self) -> bool {
        self.has_run
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A number larger than at every earlier start, on disk before it is returned: the clock's, or
    /// the next after the last one where the clock went back a little.
    ///
    /// # Errors
    /// [`StateError`] when the last number is damaged or the new one cannot be kept: numbers that
    /// were used before would let old messages in again. When it is too far ahead of the clock too:
    /// nobody would take a message of this start before the clock has passed it.
    pub fn boot_number(&self) -> Result<u64, StateError> {
        let path = self.join(BOOT_FILE);
        let boot_error = |cause| StateError::Boot {
            path: path.clone(),
            cause,
        };
        let last = match File::open(&path) {
            Ok(file) => {
                let bytes = file::read_bounded(file, 32)
                    .map_err(boot_error)?
                    .unwrap_or_default();
                let text = String::from_utf8(bytes).unwrap_or_default();
                let number = text
                    .strip_suffix('\n')
                    .and_then(|digits| digits.parse().ok());
                number.ok_or_else(|| StateError::BootDamaged(path.clone()))?
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => 0,
            Err(cause) => return Err(boot_error(cause)),
        };
        // After the largest number there is no larger one, and the same one again is never right.
        let after =
            u64::checked_add(last, 1).ok_or_else(|| StateError::BootDamaged(path.clone()))?;
        let now = Clock::system().now();
        if after > now.plus(SKEW_MAX).0 {
            let seconds = after.saturating_sub(now.0) / 1_000_000;
            return Err(StateError::BootAhead { path, seconds });
        }
        let next = now.0.max(after);
        file::replace(&path, format!("{next}\n").as_bytes()).map_err(boot_error)?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn boot_numbers_grow_even_when_the_clock_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let first = state.boot_number().unwrap();
        let second = state.boot_number().unwrap();
        assert!(
            second > first && first > 1_700_000_000_000_000,
            "{first} {second}"
        );
        let ahead = Clock::system().now().0 + 1_500_000;
        fs::write(state.join(BOOT_FILE), format!("{ahead}\n")).unwrap();
        assert_eq!(state.boot_number().unwrap(), ahead + 1);
    }

    #[test]
    fn a_start_that_readers_would_take_for_the_future_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let kept = format!("{}\n", Clock::system().now().0 + 3_600_000_000);
        fs::write(state.join(BOOT_FILE), &kept).unwrap();
        let error = state.boot_number().unwrap_err();
        let StateError::BootAhead { seconds, .. } = &error else {
            panic!("{error:?}");
        };
        assert!((3_590..=3_600).contains(seconds), "{seconds}");
        assert!(error.next_step().contains("set the clock right"));
        assert_eq!(
            fs::read_to_string(state.join(BOOT_FILE)).unwrap(),
            kept,
            "the number is kept"
        );
    }

    #[test]
    fn a_damaged_boot_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        for text in [
            "",
            "12",
            "x\n",
            "-1\n",
            "99999999999999999999999999999999999999\n",
            "18446744073709551615\n",
        ] {
            fs::write(state.join(BOOT_FILE), text).unwrap();
            let error = state.boot_number().unwrap_err();
            assert!(
                matches!(error, StateError::BootDamaged(_)),
                "{text:?}: {error:?}"
            );
        }
    }

    #[test]
    fn a_second_instance_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateDir::open(&path).unwrap();
        assert!(matches!(
            StateDir::open(&path).unwrap_err(),
            StateError::InUse(_)
        ));
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn it_is_made_closed_to_others_and_refused_when_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        drop(StateDir::open(&path).unwrap());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let error = StateDir::open(&path).unwrap_err();
        assert!(matches!(error, StateError::OpenToOthers(_)), "{error:?}");
        assert_eq!(error.next_step(), format!("chmod 700 {}", path.display()));
    }
}
