//! The append-only journal of accepted events.
//!
//! One line is one commit: the first 16 hex digits of the SHA-256 of the rest, a space, and a
//! JSON array of records. A commit is synced before anything in it is answered, so a damaged
//! last line was never answered and is cut off; a damaged line before a sound one was, and stops
//! the start.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::engine::Event;

const FILE: &str = "journal.jsonl";
const LOCK: &str = "lock";
const DIGEST_LEN: usize = 16;

/// Largest journal read back at start, in bytes.
const SIZE_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error("create the state directory {}; check that its parent exists and may be written", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    #[error("open {}; check that the state directory may be read and written", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("another exchange uses the state directory {}; stop it, or give --state another directory", .0.display())]
    Locked(PathBuf),
    #[error("read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is {size} bytes, more than the {SIZE_MAX} that are read back; move it away and start anew", .path.display())]
    TooLarge { path: PathBuf, size: u64 },
    #[error("{} is damaged at line {line}, before sound lines; restore it from a copy, or move it away and start anew", .path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("append to {}; nothing since the last answer was kept; free space on that disk and start again", .0.display())]
    Append(PathBuf, #[source] io::Error),
}

/// An open journal, locked for this process.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Held for its lock.
    _lock: File,
}

/// What a journal held at start.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub events: Vec<Event>,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
}

impl Journal {
    /// Opens or creates the journal of a state directory and reads it back.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Recovered), JournalError> {
        std::fs::create_dir_all(directory)
            .map_err(|cause| JournalError::Directory(directory.to_owned(), cause))?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        let fail = |cause| JournalError::Open(path.clone(), cause);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        if size > SIZE_MAX {
            return Err(JournalError::TooLarge { path, size });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|cause| JournalError::Read(path.clone(), cause))?;
        let (events, sound) = decode(&bytes).map_err(|line| JournalError::Damaged {
            path: path.clone(),
            line,
        })?;
        let sound = u64::try_from(sound).unwrap_or(u64::MAX);
        let torn_bytes = size.saturating_sub(sound);
        if torn_bytes > 0 {
            file.set_len(sound).map_err(fail)?;
            file.seek(SeekFrom::End(0)).map_err(fail)?;
        }
        file.sync_all().map_err(fail)?;
        // The name itself must survive, too.
        File::open(directory)
            .and_then(|entry| entry.sync_all())
            .map_err(fail)?;
        Ok((
            Self {
                path,
                file,
                _lock: lock,
            },
            Recovered { events, torn_bytes },
        ))
    }

    /// Appends one commit and waits until it is on the disk.
    pub(crate) fn commit(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let fail = |cause| JournalError::Append(self.path.clone(), cause);
        let line = encode(events).map_err(|cause| fail(io::Error::other(cause)))?;
        self.file.write_all(&line).map_err(fail)?;
        self.file.sync_data().map_err(fail)
    }
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|cause| JournalError::Open(path.clone(), cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked(directory.to_owned())),
        Err(TryLockError::Error(cause)) => Err(JournalError::Open(path, cause)),
    }
}

fn digest(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(DIGEST_LEN);
    for byte in Sha256::digest(body).iter().take(DIGEST_LEN / 2) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn encode(events: &[Event]) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(events)?;
    let mut line = digest(&body).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&body);
    line.push(b'\n');
    Ok(line)
}

/// The events of all sound lines and how many bytes those are, or the number of the first
/// damaged line that has a sound one after it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Vec<Event>, usize), usize> {
    let mut events = Vec::new();
    let mut sound = 0_usize;
    let mut damaged = None;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match decode_line(line) {
            Some(commit) => {
                if let Some(line) = damaged {
                    return Err(line);
                }
                events.extend(commit);
                sound = sound.saturating_add(line.len());
            }
            None => damaged = damaged.or(Some(index.saturating_add(1))),
        }
    }
    Ok((events, sound))
}

fn decode_line(line: &[u8]) -> Option<Vec<Event>> {
    let line = line.strip_suffix(b"\n")?;
    let (claimed, rest) = line.split_at_checked(DIGEST_LEN)?;
    let body = rest.strip_prefix(b" ")?;
    if digest(body).as_bytes() != claimed {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn opened(account: &str) -> Event {
        Event::Opened {
            account: account.to_owned(),
            balance: Decimal::new(12_345, 2),
        }
    }

    #[test]
    fn gives_back_what_was_committed() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, recovered) = Journal::open(directory.path()).unwrap();
        assert!(recovered.events.is_empty());
        journal.commit(&[opened("a"), opened("b")]).unwrap();
        journal.commit(&[opened("c")]).unwrap();
        drop(journal);
        let (_journal, recovered) = Journal::open(directory.path()).unwrap();
        assert_eq!(
            recovered.events,
            vec![opened("a"), opened("b"), opened("c")]
        );
        assert_eq!(recovered.torn_bytes, 0);
    }

    #[test]
    fn cuts_off_a_torn_tail_at_every_length_and_goes_on() {
        let whole = encode(&[opened("b")]).unwrap();
        for kept in 1..whole.len() {
            let directory = tempfile::tempdir().unwrap();
            let (mut journal, _) = Journal::open(directory.path()).unwrap();
            journal.commit(&[opened("a")]).unwrap();
            journal.file.write_all(&whole[..kept]).unwrap();
            drop(journal);
            let (mut journal, recovered) = Journal::open(directory.path()).unwrap();
            assert_eq!(
                recovered.events,
                vec![opened("a")],
                "{kept} bytes of the second commit"
            );
            assert_eq!(recovered.torn_bytes, kept as u64);
            journal.commit(&[opened("c")]).unwrap();
            drop(journal);
            let (_journal, recovered) = Journal::open(directory.path()).unwrap();
            assert_eq!(recovered.events, vec![opened("a"), opened("c")]);
        }
    }

    #[test]
    fn refuses_damage_before_a_sound_line() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.commit(&[opened("a")]).unwrap();
        journal.commit(&[opened("b")]).unwrap();
        drop(journal);
        let path = directory.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[DIGEST_LEN + 5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Journal::open(directory.path()).unwrap_err();
        assert!(
            matches!(error, JournalError::Damaged { line: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn refuses_a_directory_that_another_exchange_uses() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Journal::open(directory.path()).unwrap();
        let error = Journal::open(directory.path()).unwrap_err();
        assert!(matches!(error, JournalError::Locked(_)), "{error}");
    }
}
