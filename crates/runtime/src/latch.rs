//! The kill switch of one service, on its own disk.
//!
//! Only a whole, readable file that says ARMED lets orders pass. Anything else is TRIGGERED, so the
//! file begins with a checksum of the rest: a part of it, or an edited one, is no latch.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::{KillCause, KillState};
use portcullis_wire::Text;
use serde::{Deserialize, Serialize};

use crate::{Clock, StateDir, file};

const FILE: &str = "latch.toml";
const LENGTH_MAX: usize = 4_096;

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    state: KillState,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<KillCause>,
    detail: Text,
    at_us: u64,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    now: Mutex<Position>,
    /// One writer at a time; not the lock above, so that nobody who asks waits for the disk.
    writing: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Position {
    state: KillState,
    cause: Option<KillCause>,
    detail: Text,
    /// Whether the disk says so too.
    kept: bool,
}

/// The latch of one service. Clones are the same latch.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Inner>);

impl Latch {
    /// Reads the latch of a service. A missing or damaged file is a triggered latch, with the cause
    /// [`KillCause::LatchUnreadable`].
    #[must_use]
    pub fn open(state: &StateDir) -> Self {
        let path = state.join(FILE);
        let position = match read(&path) {
            Ok(OnDisk {
                state: KillState::Armed,
                detail,
                ..
            }) => Position {
                state: KillState::Armed,
                cause: None,
                detail,
                kept: true,
            },
            Ok(OnDisk { state, detail, .. }) => {
                tracing::warn!(%state, detail = detail.as_str(), "kill switch is latched");
                Position {
                    state,
                    cause: Some(KillCause::AlreadyLatched),
                    detail,
                    kept: true,
                }
            }
            Err(problem) => {
                tracing::error!(path = %path.display(), problem, "latch is unreadable: triggered");
                Position {
                    state: KillState::Triggered,
                    cause: Some(KillCause::LatchUnreadable),
                    detail: Text::lossy(&problem),
                    kept: false,
                }
            }
        };
        Self(Arc::new(Inner {
            path,
            now: Mutex::new(position),
            writing: Mutex::new(()),
        }))
    }

    /// Makes the armed latch of a new service in its state folder; part of making its identity.
    ///
    /// # Errors
    /// When there is one already: nothing is ever armed again this way.
    pub fn arm_new(state_folder: &Path) -> io::Result<()> {
        file::make_directory(state_folder)?;
        if state_folder.join(crate::state::BOOT_FILE).exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the service has run with this state: a latch that was lost stays triggered",
            ));
        }
        let armed = OnDisk {
            state: KillState::Armed,
            cause: None,
            detail: Text::lossy("armed when its identity was made"),
            at_us: Clock::system().now().0,
        };
        file::create(&state_folder.join(FILE), &render(&armed)?)
    }

    /// What it is.
    #[must_use]
    pub fn state(&self) -> KillState {
        self.position().state
    }

    /// What pulled it, if anything did.
    #[must_use]
    pub fn cause(&self) -> Option<KillCause> {
        self.position().cause
    }

    /// Why, in words.
    #[must_use]
    pub fn detail(&self) -> Text {
        self.position().detail
    }

    /// Pulls it. It is triggered from this call on, whether or not the disk keeps it; a latch that
    /// is triggered already stays as it is.
    ///
    /// # Errors
    /// When the disk does not keep it: a restart may then find it armed, which an operator must
    /// know.
    pub fn trigger(&self, cause: KillCause, detail: &str) -> io::Result<()> {
        let detail = Text::lossy(detail);
        {
            let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
            if now.state != KillState::Triggered || now.cause == Some(KillCause::LatchUnreadable) {
                *now = Position {
                    state: KillState::Triggered,
                    cause: Some(cause),
                    detail,
                    kept: false,
                };
            }
        }
        let _one_writer = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Position {
            state,
            cause,
            detail,
            kept,
        } = self.position();
        if kept {
            return Ok(());
        }
        let on_disk = OnDisk {
            state,
            cause,
            detail,
            at_us: Clock::system().now().0,
        };
        file::replace(&self.0.path, &render(&on_disk)?)?;
        self.0
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept = true;
        Ok(())
    }

    fn position(&self) -> Position {
        self.0
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read(path: &Path) -> Result<OnDisk, String> {
    let file = File::open(path).map_err(|cause| cause.to_string())?;
    let bytes = file::read_bounded(file, LENGTH_MAX).map_err(|cause| cause.to_string())?;
    let bytes = bytes.ok_or("is too long")?;
    let text = std::str::from_utf8(&bytes).map_err(|cause| cause.to_string())?;
    let (check, rest) = text.split_once('\n').ok_or("is damaged")?;
    if check != checksum(rest) {
        return Err("is damaged".into());
    }
    toml::from_str(rest).map_err(|cause| cause.message().to_owned())
}

fn checksum(rest: &str) -> String {
    format!("# crc32c {:08x}", crc32c::crc32c(rest.as_bytes()))
}

fn render(on_disk: &OnDisk) -> io::Result<Vec<u8>> {
    let rest = toml::to_string(on_disk).map_err(io::Error::other)?;
    Ok(format!("{}\n{rest}", checksum(&rest)).into_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        (folder, state)
    }

    #[test]
    fn only_an_armed_file_is_armed() {
        let (_folder, state) = state();
        Latch::arm_new(state.path()).unwrap();
        let latch = Latch::open(&state);
        assert_eq!((latch.state(), latch.cause()), (KillState::Armed, None));
    }

    #[test]
    fn a_missing_or_damaged_file_is_triggered() {
        let (_folder, state) = state();
        let latch = Latch::open(&state);
        let unreadable = (KillState::Triggered, Some(KillCause::LatchUnreadable));
        assert_eq!((latch.state(), latch.cause()), unreadable);
        Latch::arm_new(state.path()).unwrap();
        let whole = fs::read(state.join(FILE)).unwrap();
        let mut damaged = vec![
            Vec::new(),
            vec![b'x'; LENGTH_MAX + 1],
            b"state = 1".to_vec(),
        ];
        damaged.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
        damaged.push([&whole[..], b"extra = 1\n"].concat());
        for bytes in damaged {
            fs::write(state.join(FILE), &bytes).unwrap();
            let latch = Latch::open(&state);
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!((latch.state(), latch.cause()), unreadable, "{text}");
        }
    }

    #[test]
    fn a_trigger_survives_a_restart_with_its_reason() {
        let (_folder, state) = state();
        Latch::arm_new(state.path()).unwrap();
        let latch = Latch::open(&state);
        latch.trigger(KillCause::Operator, "drill").unwrap();
        assert_eq!(
            (latch.state(), latch.cause()),
            (KillState::Triggered, Some(KillCause::Operator))
        );
        latch.trigger(KillCause::HardLoss, "later").unwrap();
        assert_eq!(
            latch.cause(),
            Some(KillCause::Operator),
            "the first cause stays"
        );
        let again = Latch::open(&state);
        assert_eq!(
            (again.state(), again.cause(), again.detail().as_str()),
            (
                KillState::Triggered,
                Some(KillCause::AlreadyLatched),
                "drill"
            )
        );
    }

    #[test]
    fn it_is_triggered_even_when_the_disk_does_not_keep_it_and_says_so_each_time() {
        let (folder, state) = state();
        Latch::arm_new(state.path()).unwrap();
        let latch = Latch::open(&state);
        fs::remove_dir_all(folder.path().join("state")).unwrap();
        for _ in 0..2 {
            assert!(latch.trigger(KillCause::Operator, "drill").is_err());
            assert_eq!(latch.state(), KillState::Triggered);
        }
    }

    #[test]
    fn nothing_is_armed_twice() {
        let (_folder, state) = state();
        Latch::arm_new(state.path()).unwrap();
        Latch::open(&state)
            .trigger(KillCause::Operator, "drill")
            .unwrap();
        assert!(Latch::arm_new(state.path()).is_err());
        assert_eq!(Latch::open(&state).state(), KillState::Triggered);
    }
}
