//! The log on disk: segments of records, and signed checkpoints beside them.
//!
//! ```text
//!  log/ segment-00000000000000000000.log   the first entry's number; zero-filled beforehand, so
//!       segment-00000000000000031415.log   that a sync moves data and no metadata
//!       spare.segment                      the next segment, not yet part of the log
//!       checkpoints.log
//! ```
//!
//! A group of records is one write and one `fdatasync`. After any error of the disk nothing is
//! written again: what a failed sync left behind is unknown, and trying once more may succeed
//! without having written anything.

mod checkpoints;
mod segment;
mod spare;
mod tail;
mod walk;
mod writer;

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit_core::{
    Broken, Chain, ChainKey, Draft, Misplaced, RECORD_HEAD_LENGTH, RECORD_LENGTH_MAX, Recovery,
};
use portcullis_wire::Verifying;

pub(crate) use checkpoints::Stated;
pub(crate) use walk::Walker;
pub use writer::{Progress, Writer, WriterGone};

use checkpoints::CheckpointFile;
use segment::{checksum, to_u64};
use spare::Spare;
use walk::End;

/// The size of a segment unless the settings say otherwise: 16 MiB.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// The most bytes that are written between two syncs: 1 MiB.
pub const GROUP_LENGTH_MAX: usize = 1 << 20;

/// What is wrong at one place of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A length that no record has, or one that goes beyond the file.
    #[error("a record of {0} bytes cannot stand here")]
    Length(usize),
    /// The checksum does not fit.
    #[error("the record's checksum does not fit its bytes")]
    Checksum,
    /// The entry does not continue the chain.
    #[error("the entry does not continue the chain: {0}")]
    Broken(Broken),
    /// The entry does not continue its source's facts.
    #[error("the entry does not continue its source's facts: {0}")]
    Misplaced(Misplaced),
    /// The entry says other things than the envelope in it.
    #[error("the entry does not say the same as the envelope in it")]
    Envelope,
    /// Bytes where only zeroes may be.
    #[error("there are bytes behind the last record")]
    Trailing,
    /// An unfinished write, as a crash leaves it.
    #[error("{0} bytes of an unfinished write follow the last record")]
    Unfinished(u64),
    /// A segment is missing.
    #[error("the segment with this entry is missing; the next one begins with entry {found}")]
    Missing {
        /// Which entry the next segment begins with.
        found: u64,
    },
    /// There are segments, but no file of checkpoints.
    #[error("the file of checkpoints is missing")]
    CheckpointsMissing,
    /// A checkpoint is not one.
    #[error("the checkpoint is damaged")]
    CheckpointMalformed,
    /// The last checkpoint was not written to its end, as a crash leaves it.
    #[error("the last checkpoint is unfinished")]
    CheckpointUnfinished,
    /// A checkpoint's signature is not audit's.
    #[error("the checkpoint is not signed with audit's key")]
    CheckpointSignature,
    /// The last checkpoint's key is none of those that were given.
    #[error(
        "the last checkpoint is signed with a key that the log names, and not with one of the keys \
         that were given"
    )]
    CheckpointKey,
    /// What an entry names as audit's key is none.
    #[error("the entry names a key that is none")]
    Key,
    /// A checkpoint does not come after the one before it.
    #[error("the checkpoint over {size} entries does not come after the one before it")]
    CheckpointOrder {
        /// How many entries it is over.
        size: u64,
    },
    /// A checkpoint states another hash than the log has.
    #[error("the checkpoint over {size} entries states another hash than the log has")]
    CheckpointHead {
        /// How many entries it is over.
        size: u64,
    },
    /// The log is shorter than a checkpoint says.
    #[error("the log ends here, but a checkpoint is over {size} entries: entries were lost")]
    Shorter {
        /// How many entries it is over.
        size: u64,
    },
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk did not do what it was told.
    #[error("{action} {path}")]
    Io {
        /// What it was told.
        action: &'static str,
        /// About which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The log is not what was written.
    #[error("audit log is damaged at entry {entry}, byte {offset} of {path}: {problem}")]
    Damaged {
        /// The number of the entry that is not as it was written.
        entry: u64,
        /// In which file.
        path: PathBuf,
        /// At which byte the record begins.
        offset: u64,
        /// What is wrong there.
        problem: Problem,
    },
    /// There is no log.
    #[error("{0} holds no audit log")]
    Empty(PathBuf),
    /// A record that does not fit into a segment, or is none.
    #[error("record does not fit into a segment of {0} bytes")]
    Record(u64),
    /// An entry that does not fit the format.
    #[error("append an entry")]
    Append(#[source] audit_core::ChainError),
    /// An earlier error left the end of the log unknown.
    #[error("log has failed before and takes no more entries")]
    Failed,
}

impl LogError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Io { path, .. } => format!(
                "check the disk that holds {} (space, permissions, its own error log), then start \
                 audit again",
                path.display()
            ),
            Self::Damaged { path, .. } => format!(
                "do not repair or delete {}: keep a copy of the whole folder as evidence, find out \
                 who or what changed it, and restore the folder from its last good copy",
                path.display()
            ),
            Self::Empty(path) => {
                format!(
                    "name the folder that has the segment files, not {}",
                    path.display()
                )
            }
            Self::Record(_) | Self::Append(_) => "make the segments larger".into(),
            Self::Failed => "see the first error, then start audit again".into(),
        }
    }
}

/// What [`Log::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready for more.
    pub log: Log,
    /// The end of its chain.
    pub chain: Chain,
    /// What the core has to know of it.
    pub recovery: Recovery,
    /// How many bytes of an unfinished write were cut off.
    pub cut: u64,
}

/// A log that is being written. Only one process may have it open; the state folder's lock sees to
/// that.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    segment_bytes: u64,
    file: File,
    path: PathBuf,
    offset: u64,
    length: u64,
    size: u64,
    spare: Spare,
    checkpoints: CheckpointFile,
    has_failed: bool,
}

impl Log {
    /// Opens the log in `folder`, making it where there is none: follows it from its first entry,
    /// checks every hash, MAC and checkpoint, and cuts off what a crash left unfinished behind the
    /// last whole record. Anything else that does not fit is refused with its place.
    ///
    /// `signed_by` is audit's own public key; with it the last checkpoint's signature is checked.
    /// Where the log names the key of that checkpoint, which may be an earlier one, that one counts:
    /// nobody names a key in the log without the chain key.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(
        folder: &Path,
        segment_bytes: u64,
        key: &ChainKey,
        signed_by: Option<&Verifying>,
    ) -> Result<Opened, LogError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|cause| LogError::io("make folder", folder, cause))?;
        let mut walker = Walker::new(folder, Some(key.clone()), Duration::ZERO)?;
        if walker.is_empty() {
            // The file stands there before the first entry, so that its loss is noticed.
            CheckpointFile::create(folder)?;
            let file = spare::make(folder, segment_bytes)?;
            spare::adopt(folder, &segment::path_of(folder, 0), file)?;
            walker = Walker::new(folder, Some(key.clone()), Duration::ZERO)?;
        }
        let mut recovery = Recovery::default();
        let checkpoint_end = recover(folder, &mut walker, signed_by, &mut recovery)?;
        let (follower, end) = walker.into_end();
        let Some(End { path, offset, torn }) = end else {
            return Err(LogError::Empty(folder.into()));
        };
        let (file, length) = open_segment(&path, offset, torn)?;
        let log = Self {
            folder: folder.into(),
            segment_bytes,
            file,
            path,
            offset,
            length,
            size: follower.size(),
            spare: Spare::start(folder, segment_bytes),
            checkpoints: CheckpointFile::open(folder, checkpoint_end)?,
            has_failed: false,
        };
        Ok(Opened {
            log,
            chain: follower.into_chain(key.clone()),
            recovery,
            cut: torn,
        })
    }

    /// How many entries are on disk.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends whole records as [`Chain::append`] wrote them, fills in their checksums, and returns
    /// when they are on disk: one write and one `fdatasync`, unless they are more than a group or
    /// than the segment has room for.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing afterwards.
    pub fn append(&mut self, records: &mut [u8]) -> Result<(), LogError> {
        if self.has_failed {
            return Err(LogError::Failed);
        }
        let result = self.append_all(records);
        self.has_failed = result.is_err();
        result
    }

    /// Appends drafts as one group and returns when they are on disk: for tests and measurements.
    /// The service computes the chain in its core while the writer thread syncs the group before.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing afterwards.
    pub fn append_group(
        &mut self,
        chain: &mut Chain,
        drafts: &[Draft<'_>],
    ) -> Result<(), LogError> {
        let mut records = Vec::new();
        for draft in drafts {
            chain
                .append(draft, &mut records)
                .map_err(LogError::Append)?;
        }
        self.append(&mut records)
    }

    /// Appends a signed checkpoint (in its canonical encoding) and returns when it is on disk.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing afterwards.
    pub fn append_checkpoint(&mut self, signed: &[u8]) -> Result<(), LogError> {
        if self.has_failed {
            return Err(LogError::Failed);
        }
        let result = self.checkpoints.append(signed);
        self.has_failed = result.is_err();
        result
    }

    fn append_all(&mut self, records: &mut [u8]) -> Result<(), LogError> {
        let mut rest = records;
        while !rest.is_empty() {
            let room = usize::try_from(self.length.saturating_sub(self.offset));
            let room = room
                .unwrap_or(usize::MAX)
                .min(GROUP_LENGTH_MAX.max(RECORD_LENGTH_MAX));
            let (count, length) = seal_records(rest, room, self.segment_bytes)?;
            if count == 0 {
                self.rotate()?;
                continue;
            }
            let (group, later) = rest.split_at_mut(length);
            let error = |cause| LogError::io("append to segment", &self.path, cause);
            self.file.write_all_at(group, self.offset).map_err(error)?;
            self.file.sync_data().map_err(error)?;
            self.offset = self.offset.saturating_add(to_u64(length));
            self.size = self.size.saturating_add(count);
            rest = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        if self.offset == 0 {
            return Err(LogError::Record(self.segment_bytes));
        }
        let path = segment::path_of(&self.folder, self.size);
        self.file = spare::adopt(&self.folder, &path, self.spare.take()?)?;
        self.path = path;
        self.offset = 0;
        self.length = self.segment_bytes;
        self.spare = Spare::start(&self.folder, self.segment_bytes);
        Ok(())
    }
}

/// Fills in the checksums of as many records as fit into `room` bytes; says how many, and how long
/// they are together.
fn seal_records(
    records: &mut [u8],
    room: usize,
    segment_bytes: u64,
) -> Result<(u64, usize), LogError> {
    let malformed = || LogError::Record(segment_bytes);
    let (total, mut count, mut length) = (records.len(), 0_u64, 0_usize);
    let mut rest = records;
    while let Some((head, later)) = rest.split_first_chunk_mut::<RECORD_HEAD_LENGTH>() {
        let [a, b, c, d, ..] = *head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let (payload, later) = later.split_at_mut_checked(size).ok_or_else(malformed)?;
        let end = length
            .saturating_add(RECORD_HEAD_LENGTH)
            .saturating_add(size);
        if to_u64(end.saturating_sub(length)) > segment_bytes {
            return Err(malformed());
        }
        if end > room {
            return Ok((count, length));
        }
        let [e, f, g, h] = checksum([a, b, c, d], payload).to_be_bytes();
        *head = [a, b, c, d, e, f, g, h];
        (count, length) = (count.saturating_add(1), end);
        rest = later;
    }
    if length == total {
        Ok((count, length))
    } else {
        Err(malformed())
    }
}

/// Follows the whole log and compares it with its checkpoints; says where in their file the next
/// one goes.
fn recover(
    folder: &Path,
    walker: &mut Walker,
    signed_by: Option<&Verifying>,
    recovery: &mut Recovery,
) -> Result<u64, LogError> {
    let mut stated = Stated::open_after_crash(folder)?;
    // The key of the last checkpoint so far, if the log names it.
    let named = Cell::new(None);
    while let Some((entry, hash)) = walker.next()? {
        let number = entry.index;
        if let Err(misplaced) = recovery.observe(&entry, hash) {
            return Err(walker.damaged(number, Problem::Misplaced(misplaced)));
        }
        stated.compare(number, hash, |_| {
            named.set(recovery.key());
            Ok(())
        })?;
    }
    stated.beyond(walker.size())?;
    if let (Some((last, signed)), Some(present)) = (stated.last(), signed_by) {
        let named = named.get().map(|key| Verifying::from_bytes(&key.0));
        let named = named.transpose();
        let named = named.map_err(|_| stated.damaged(last.size, Problem::Key))?;
        let verified = signed.verify(&named.unwrap_or(*present));
        verified.map_err(|_| stated.damaged(last.size, Problem::CheckpointSignature))?;
    }
    Ok(stated.end())
}

fn open_segment(path: &Path, offset: u64, torn: u64) -> Result<(File, u64), LogError> {
    let error = |cause| LogError::io("open segment", path, cause);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    if torn > 0 {
        let zeroes =
            vec![0; usize::try_from(torn).map_err(|cause| error(io::Error::other(cause)))?];
        file.write_all_at(&zeroes, offset).map_err(error)?;
    }
    // What was read back may never have been synced: the process died before.
    file.sync_all().map_err(error)?;
    Ok((file, length))
}
