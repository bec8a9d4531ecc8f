//! The thread that writes a journal.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::scan::{GROUP_LENGTH_MAX, PREFIX_LENGTH, prefix};
use super::{JournalError, QUEUE_LENGTH_MAX, RECORD_LENGTH_MAX};
use crate::file;

/// By how much the file grows.
const STEP: u64 = 4 << 20;
/// The file grows when less than this is left: between two groups, while nobody waits.
const LEFT_MIN: u64 = 1 << 20;

type Waiter = oneshot::Sender<Result<(), JournalError>>;

enum Item {
    Record(Vec<u8>),
    /// A new journal, in place of everything before.
    Journal(Vec<Vec<u8>>),
    /// Everything before it is waited for.
    Waiter(Waiter),
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    waiters: usize,
    closed: bool,
    failed: Option<JournalError>,
}

pub(super) struct Queue {
    path: PathBuf,
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            waiting: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Takes all of the records or none.
    pub(super) fn push(
        &self,
        records: Vec<Vec<u8>>,
        waiter: Option<Waiter>,
    ) -> Result<(), JournalError> {
        let mut bytes = 0_usize;
        for record in &records {
            if record.is_empty() || record.len() > RECORD_LENGTH_MAX {
                return Err(JournalError::Length(record.len()));
            }
            bytes = bytes
                .saturating_add(record.len())
                .saturating_add(PREFIX_LENGTH);
        }
        let mut waiting = self.lock();
        if let Some(error) = &waiting.failed {
            return Err(error.clone());
        }
        if waiting.closed {
            return Err(JournalError::Closed);
        }
        let total = waiting.bytes.saturating_add(bytes);
        if total > QUEUE_LENGTH_MAX {
            return Err(JournalError::Behind);
        }
        waiting.bytes = total;
        waiting.items.extend(records.into_iter().map(Item::Record));
        if let Some(waiter) = waiter {
            waiting.items.push_back(Item::Waiter(waiter));
            waiting.waiters = waiting.waiters.saturating_add(1);
            drop(waiting);
            self.wake.notify_one();
        } else if total > QUEUE_LENGTH_MAX / 2 {
            // Nobody waits, but memory is not the place for so much.
            drop(waiting);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes a whole new journal, or nothing. It is as long as whoever keeps the journal lets its state
    /// become, and not counted among what waits: it takes the place of what is on disk already.
    pub(super) fn replace(
        &self,
        records: Vec<Vec<u8>>,
        waiter: Waiter,
    ) -> Result<(), JournalError> {
        let fits = |record: &&Vec<u8>| !record.is_empty() && record.len() <= RECORD_LENGTH_MAX;
        if let Some(record) = records.iter().find(|record| !fits(record)) {
            return Err(JournalError::Length(record.len()));
        }
        let mut waiting = self.lock();
        if let Some(error) = &waiting.failed {
            return Err(error.clone());
        }
        if waiting.closed {
            return Err(JournalError::Closed);
        }
        waiting.items.push_back(Item::Journal(records));
        waiting.items.push_back(Item::Waiter(waiter));
        waiting.waiters = waiting.waiters.saturating_add(1);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group: bytes for `buffer` and who waits for them, perhaps a new journal to be begun
    /// before. `None` when all is written and the journal is closed.
    fn next_group(&self, buffer: &mut Vec<u8>) -> Option<Group> {
        let mut waiting = self.lock();
        while waiting.waiters == 0 && !waiting.closed && waiting.bytes <= QUEUE_LENGTH_MAX / 2 {
            waiting = self
                .wake
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        buffer.clear();
        let mut waiters = Vec::new();
        let mut journal = None;
        while let Some(item) = waiting.items.pop_front() {
            match item {
                Item::Record(record) => {
                    let length = record.len().saturating_add(PREFIX_LENGTH);
                    if buffer.len().saturating_add(length) > GROUP_LENGTH_MAX {
                        waiting.items.push_front(Item::Record(record));
                        break;
                    }
                    push(buffer, &record);
                    waiting.bytes = waiting.bytes.saturating_sub(length);
                }
                // What comes before belongs to the old journal.
                Item::Journal(records) if !buffer.is_empty() => {
                    waiting.items.push_front(Item::Journal(records));
                    break;
                }
                Item::Journal(records) => journal = Some(records),
                Item::Waiter(waiter) => {
                    waiting.waiters = waiting.waiters.saturating_sub(1);
                    waiters.push(waiter);
                }
            }
        }
        let finished = waiting.closed && buffer.is_empty() && waiters.is_empty();
        (!finished).then_some(Group { journal, waiters })
    }

    /// From now on every append fails with this error.
    fn fail(&self, cause: io::Error) -> JournalError {
        let error = JournalError::Write {
            path: self.path.clone(),
            cause: Arc::new(cause),
        };
        let mut waiting = self.lock();
        waiting.failed = Some(error.clone());
        let items = std::mem::take(&mut waiting.items);
        waiting.bytes = 0;
        waiting.waiters = 0;
        drop(waiting);
        for item in items {
            if let Item::Waiter(waiter) = item {
                // Whoever waited may have gone.
                let _ = waiter.send(Err(error.clone()));
            }
        }
        error
    }
}

/// What is written with one sync.
struct Group {
    /// A new journal that comes before it.
    journal: Option<Vec<Vec<u8>>>,
    /// Who waits for it.
    waiters: Vec<Waiter>,
}

struct Writer {
    path: PathBuf,
    file: File,
    end: u64,
    allocated: u64,
}

impl Writer {
    fn write(&mut self, group: &[u8]) -> io::Result<()> {
        let length = u64::try_from(group.len()).map_err(io::Error::other)?;
        let end = self.end.saturating_add(length);
        while self.allocated < end {
            self.grow()?;
        }
        self.file.write_all_at(group, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Writes zeroes rather than reserving space: blocks that are written for the first time would
    /// make every sync change metadata.
    fn grow(&mut self) -> io::Result<()> {
        let step = usize::try_from(STEP).map_err(io::Error::other)?;
        self.file.write_all_at(&vec![0; step], self.allocated)?;
        self.file.sync_all()?;
        self.allocated = self.allocated.saturating_add(STEP);
        Ok(())
    }

    /// Begins a new journal with these records. The old one is there, whole, until the new one is.
    fn replace(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        let mut fresh = Self {
            path: self.path.clone(),
            file: create_next(&self.path)?,
            end: 0,
            allocated: 0,
        };
        fresh.file.try_lock()?;
        let mut buffer = Vec::with_capacity(GROUP_LENGTH_MAX);
        for record in records {
            let length = record.len().saturating_add(PREFIX_LENGTH);
            if buffer.len().saturating_add(length) > GROUP_LENGTH_MAX {
                fresh.put(&buffer)?;
                buffer.clear();
            }
            push(&mut buffer, record);
        }
        fresh.put(&buffer)?;
        while fresh.is_nearly_full() {
            fresh.grow()?;
        }
        fresh.file.sync_all()?;
        std::fs::rename(next_path(&self.path), &self.path)?;
        let parent = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        file::sync_directory(parent.unwrap_or(Path::new(".")))?;
        *self = fresh;
        Ok(())
    }

    /// Writes without a sync, into room that is not yet there.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end = self
            .end
            .saturating_add(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        self.allocated = self.end;
        Ok(())
    }

    fn is_nearly_full(&self) -> bool {
        self.allocated.saturating_sub(self.end) < LEFT_MIN
    }
}

/// Where the next journal is made.
pub(super) fn next_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn create_next(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(next_path(path))
}

/// Appends a record with its length and checksum.
fn push(buffer: &mut Vec<u8>, record: &[u8]) {
    // No record is longer than RECORD_LENGTH_MAX.
    let head = prefix(u32::try_from(record.len()).unwrap_or(u32::MAX), record);
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(record);
}

pub(super) fn spawn(
    path: &Path,
    file: File,
    end: u64,
    allocated: u64,
    queue: Arc<Queue>,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer {
        path: path.into(),
        file,
        end,
        allocated,
    };
    if writer.is_nearly_full() {
        writer.grow()?;
    }
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || run(&mut writer, &queue))
}

fn run(writer: &mut Writer, queue: &Queue) {
    let mut buffer = Vec::with_capacity(GROUP_LENGTH_MAX);
    while let Some(Group { journal, waiters }) = queue.next_group(&mut buffer) {
        let begun = journal.map_or(Ok(()), |records| writer.replace(&records));
        let written = begun.and_then(|()| {
            if buffer.is_empty() {
                Ok(())
            } else {
                writer.write(&buffer)
            }
        });
        let outcome = written.map_err(|cause| queue.fail(cause));
        for waiter in waiters {
            // Whoever waited may have gone.
            let _ = waiter.send(outcome.clone());
        }
        let failed = match outcome {
            Ok(()) if writer.is_nearly_full() => writer.grow().err().map(|cause| queue.fail(cause)),
            Ok(()) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "journal stopped");
            return;
        }
    }
}
