//! The file of signed checkpoints beside the segments.
//!
//! ```text
//!  checkpoints.log = record …      record = u32be(len) ‖ u32be(crc32c) ‖ signed checkpoint
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_domain::Hash;
use portcullis_wire::messages::Checkpoint;
use portcullis_wire::{Signed, codec};

use super::segment::{checksum, to_u64};
use super::walk::PAUSE;
use super::{LogError, Problem};

/// The name of the file.
pub const NAME: &str = "checkpoints.log";
/// Length and checksum.
const HEAD_LENGTH: usize = 8;
/// The longest signed checkpoint; they have about 200 bytes.
const LENGTH_MAX: usize = 1_024;

/// Reads the checkpoints that the file has when it is opened, from the first to the last.
#[derive(Debug)]
struct Checkpoints {
    path: PathBuf,
    file: File,
    length: u64,
    offset: u64,
    patience: Duration,
}

impl Checkpoints {
    fn open(folder: &Path, patience: Duration) -> Result<Self, LogError> {
        let path = folder.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let problem = Problem::CheckpointsMissing;
                return Err(LogError::Damaged {
                    entry: 0,
                    path,
                    offset: 0,
                    problem,
                });
            }
            Err(cause) => return Err(LogError::io("open checkpoints", &path, cause)),
        };
        let metadata = file.metadata();
        let length = metadata
            .map_err(|cause| LogError::io("open checkpoints", &path, cause))?
            .len();
        Ok(Self {
            path,
            file,
            length,
            offset: 0,
            patience,
        })
    }

    /// The next one; `None` at the end.
    fn next(&mut self) -> Result<Option<Signed<Checkpoint>>, LogError> {
        if self.offset >= self.length {
            return Ok(None);
        }
        let until = Instant::now() + self.patience;
        let mut record = self.record(self.length)?;
        while record.is_none() && Instant::now() < until {
            std::thread::sleep(PAUSE);
            // A writer may be at it, and finish it beyond the length that the file had.
            record = self.record(u64::MAX)?;
        }
        let left = self.length.saturating_sub(self.offset);
        let Some(bytes) = record else {
            // The last one may be unfinished; one in the middle is damaged.
            let is_last = left <= to_u64(LENGTH_MAX.saturating_add(HEAD_LENGTH));
            let problem = if is_last {
                Problem::CheckpointUnfinished
            } else {
                Problem::CheckpointMalformed
            };
            return Err(self.damaged(0, problem));
        };
        let signed = codec::decode(&bytes, LENGTH_MAX);
        let signed = signed.map_err(|_| self.damaged(0, Problem::CheckpointMalformed))?;
        self.offset = self
            .offset
            .saturating_add(to_u64(HEAD_LENGTH.saturating_add(bytes.len())));
        Ok(Some(signed))
    }

    /// The bytes of the next one; `None` when there is no whole and correct one before `limit`.
    fn record(&self, limit: u64) -> Result<Option<Vec<u8>>, LogError> {
        let mut buffer = vec![0; HEAD_LENGTH.saturating_add(LENGTH_MAX)];
        let read = self.file.read_at(&mut buffer, self.offset);
        let read = read.map_err(|cause| LogError::io("read checkpoints", &self.path, cause))?;
        let left = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let there = buffer.get(..read.min(left)).unwrap_or_default();
        let Some(([a, b, c, d, e, f, g, h], rest)) = there.split_first_chunk::<HEAD_LENGTH>()
        else {
            return Ok(None);
        };
        let length = [*a, *b, *c, *d];
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let bytes = rest.get(..size).filter(|bytes| {
            !bytes.is_empty() && checksum(length, bytes) == u32::from_be_bytes([*e, *f, *g, *h])
        });
        Ok(bytes.map(<[u8]>::to_vec))
    }

    fn damaged(&self, entry: u64, problem: Problem) -> LogError {
        LogError::Damaged {
            entry,
            path: self.path.clone(),
            offset: self.offset,
            problem,
        }
    }
}

/// What the checkpoints state about a log, compared with it while it is followed.
#[derive(Debug)]
pub struct Stated {
    checkpoints: Checkpoints,
    /// Whether an unfinished last checkpoint is the end and not an error.
    lenient: bool,
    /// Where the next checkpoint begins.
    at: u64,
    next: Option<(Checkpoint, Signed<Checkpoint>)>,
    last: Option<(Checkpoint, Signed<Checkpoint>)>,
    count: u64,
}

impl Stated {
    /// For a reader: every checkpoint must be whole; a writer that is at work gets `patience`.
    pub fn open(folder: &Path, patience: Duration) -> Result<Self, LogError> {
        Self::begin(folder, patience, false)
    }

    /// For the writer after a crash: the last checkpoint may be unfinished.
    pub fn open_after_crash(folder: &Path) -> Result<Self, LogError> {
        Self::begin(folder, Duration::ZERO, true)
    }

    fn begin(folder: &Path, patience: Duration, lenient: bool) -> Result<Self, LogError> {
        let checkpoints = Checkpoints::open(folder, patience)?;
        let (next, last) = (None, None);
        let mut stated = Self {
            checkpoints,
            lenient,
            at: 0,
            next,
            last,
            count: 0,
        };
        stated.load()?;
        Ok(stated)
    }

    fn load(&mut self) -> Result<(), LogError> {
        self.at = self.checkpoints.offset;
        let signed = match self.checkpoints.next() {
            Err(LogError::Damaged {
                problem: Problem::CheckpointUnfinished,
                ..
            }) if self.lenient => None,
            other => other?,
        };
        let Some(signed) = signed else { return Ok(()) };
        let checkpoint = signed.read_unverified();
        let checkpoint = checkpoint.map_err(|_| self.damaged(0, Problem::CheckpointMalformed))?;
        let before = self.last.as_ref().map_or(0, |(last, _)| last.size);
        if checkpoint.size <= before {
            let size = checkpoint.size;
            return Err(self.damaged(size, Problem::CheckpointOrder { size }));
        }
        self.count = self.count.saturating_add(1);
        self.next = Some((checkpoint, signed));
        Ok(())
    }

    /// Compares the entry `number` with the checkpoint that ends with it, if there is one, and has
    /// `check` look at its signature.
    pub fn compare(
        &mut self,
        number: u64,
        hash: Hash,
        check: impl Fn(&Signed<Checkpoint>) -> Result<(), Problem>,
    ) -> Result<(), LogError> {
        let ends_here = |next: &&(Checkpoint, _)| next.0.size == number.saturating_add(1);
        let Some((checkpoint, signed)) = self.next.as_ref().filter(ends_here) else {
            return Ok(());
        };
        check(signed).map_err(|problem| self.damaged(number, problem))?;
        if checkpoint.head != hash {
            let size = checkpoint.size;
            return Err(self.damaged(number, Problem::CheckpointHead { size }));
        }
        self.last = self.next.take();
        self.load()
    }

    /// The checkpoint that the log, which ended after `size` entries, does not reach.
    pub fn beyond(&self, size: u64) -> Result<(), LogError> {
        match &self.next {
            Some((beyond, _)) => Err(self.damaged(size, Problem::Shorter { size: beyond.size })),
            None => Ok(()),
        }
    }

    /// The last checkpoint.
    pub fn last(&self) -> Option<&(Checkpoint, Signed<Checkpoint>)> {
        self.last.as_ref()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Where the next one goes.
    pub fn end(&self) -> u64 {
        self.checkpoints.offset
    }

    /// An error at the checkpoint that was read last.
    pub fn damaged(&self, entry: u64, problem: Problem) -> LogError {
        let path = self.checkpoints.path.clone();
        LogError::Damaged {
            entry,
            path,
            offset: self.at,
            problem,
        }
    }
}

/// Appends checkpoints.
#[derive(Debug)]
pub struct CheckpointFile {
    file: File,
    path: PathBuf,
    offset: u64,
}

impl CheckpointFile {
    /// Makes an empty file where none may be yet.
    pub fn create(folder: &Path) -> Result<(), LogError> {
        let path = folder.join(NAME);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match file.and_then(|file| file.sync_all()) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|cause| LogError::io("make checkpoints", &path, cause)),
        }
    }

    /// Continues the file at `offset` and cuts off what stands there.
    pub fn open(folder: &Path, offset: u64) -> Result<Self, LogError> {
        let path = folder.join(NAME);
        let error = |cause| LogError::io("open checkpoints", &path, cause);
        let file = OpenOptions::new().write(true).open(&path).map_err(error)?;
        if file.metadata().map_err(error)?.len() != offset {
            file.set_len(offset).map_err(error)?;
            file.sync_all().map_err(error)?;
        }
        Ok(Self { file, path, offset })
    }

    /// Appends one, and returns when it is on disk.
    pub fn append(&mut self, signed: &[u8]) -> Result<(), LogError> {
        let error = |cause| LogError::io("append to checkpoints", &self.path, cause);
        let too_long = |_| error(io::Error::from(io::ErrorKind::InvalidInput));
        let length = u32::try_from(signed.len()).map_err(too_long)?.to_be_bytes();
        let mut record = Vec::with_capacity(HEAD_LENGTH.saturating_add(signed.len()));
        record.extend(length);
        record.extend(checksum(length, signed).to_be_bytes());
        record.extend(signed);
        self.file
            .write_all_at(&record, self.offset)
            .map_err(error)?;
        self.file.sync_data().map_err(error)?;
        self.offset = self.offset.saturating_add(to_u64(record.len()));
        Ok(())
    }
}
