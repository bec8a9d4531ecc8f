//! An append-only file of records that survives a crash at any moment.
//!
//! ```text
//!  append ──▶ queue ──▶ writer thread: one write and one fdatasync a group ──▶ Durable resolves
//!
//!  file   = record … then zeroes, grown in steps so that a sync moves data and no metadata
//!  record = length: u32be ‖ crc: u32be ‖ bytes;  crc = CRC-32C of (length ‖ bytes)
//! ```
//!
//! A group is at most [`scan::GROUP_LENGTH_MAX`] bytes, and only the last group of a file can be
//! torn. So a bad record with nothing but zeroes a group's length further is a torn tail and is cut
//! off; with data there it is damage in the middle, and the journal is refused.
//!
//! After any error of the disk nothing is appended again: what a failed fsync left behind is
//! unknown, and trying once more may succeed without having written anything.

mod scan;
mod writer;

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use portcullis_domain::KillCause;
use tokio::sync::oneshot;

use crate::{Latch, StateDir, file};
use writer::Queue;

/// The longest record: a whole frame and a kilobyte around it.
pub const RECORD_LENGTH_MAX: usize = 65_536 + 1_024;
/// What is said, and latched, when a journal is missing.
pub const LOST: &str = "the journal is gone, although the service ran before";
/// The most bytes that may wait for the disk.
const QUEUE_LENGTH_MAX: usize = 64 << 20;

/// Why a journal cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, locked or read.
    #[error("open journal {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// It is gone although the service ran before, and the disk does not keep the latch for that.
    #[error("latch the kill switch, as journal {path} is gone")]
    Lost {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error("journal {0} is in use by another process")]
    InUse(PathBuf),
    /// A record in the middle is not what was written.
    #[error("journal {path} is damaged at byte {offset}, and records follow")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
    },
    /// The disk failed; nothing is appended any more.
    #[error("write journal {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// A record is empty or longer than [`RECORD_LENGTH_MAX`].
    #[error("a record of {0} bytes does not fit the journal")]
    Length(usize),
    /// More is waiting for the disk than may.
    #[error("journal is not keeping up: {QUEUE_LENGTH_MAX} bytes wait for the disk")]
    Behind,
    /// The journal was closed.
    #[error("journal is closed")]
    Closed,
}

impl JournalError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Open { path, .. } => format!("make {} readable and writable", path.display()),
            Self::Lost { path, .. } => format!(
                "free or replace the disk that holds {}, and restore the journal from a backup",
                path.display()
            ),
            Self::InUse(path) => format!("stop the process that has {} open", path.display()),
            Self::Damaged { path, .. } => {
                format!(
                    "restore {} from a backup; nothing was changed in it",
                    path.display()
                )
            }
            Self::Write { path, .. } => format!(
                "free or replace the disk that holds {}, then start again; what was recorded is \
                 intact",
                path.display()
            ),
            Self::Length(_) | Self::Behind | Self::Closed => "start the service again".into(),
        }
    }
}

/// The journal that a service keeps in its state folder, as it found it at its start.
#[derive(Debug)]
pub struct Kept {
    /// Open for appending.
    pub journal: Journal,
    /// Every record in it.
    pub records: Vec<Vec<u8>>,
    /// Whether one was there before and is gone: the kill switch is latched then.
    pub lost: bool,
    /// How many bytes of a torn tail were cut off.
    pub torn: u64,
}

/// A journal that is open for appending. Dropping it writes what is still waiting.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Journal {
    /// Opens a journal, making it if it is missing, and returns every record in it. A torn tail is
    /// cut off and reported in the log: nothing in it was ever acknowledged.
    ///
    /// # Errors
    /// [`JournalError`]; the file is left as it was, except for a torn tail.
    pub fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let (journal, records, _) = Self::open_torn(path)?;
        Ok((journal, records))
    }

    fn open_torn(path: &Path) -> Result<(Self, Vec<Vec<u8>>, u64), JournalError> {
        let open_error = |cause| JournalError::Open {
            path: path.into(),
            cause: Arc::new(cause),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(open_error)?;
        lock(&file, path)?;
        // A new journal that a crash left unfinished.
        match std::fs::remove_file(writer::next_path(path)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(open_error(cause)),
            Ok(()) | Err(_) => {}
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        file::sync_directory(parent.unwrap_or(Path::new("."))).map_err(open_error)?;
        let scan::Scanned { records, end, torn } =
            scan::scan(&mut file).map_err(|failed| match failed {
                scan::ScanError::Io(cause) => open_error(cause),
                scan::ScanError::Damaged(offset) => JournalError::Damaged {
                    path: path.into(),
                    offset,
                },
            })?;
        if torn > 0 {
            tracing::warn!(path = %path.display(), at = end, bytes = torn, "cut off a torn tail");
            scan::cut(&file, end, torn).map_err(open_error)?;
        }
        let allocated = file.metadata().map_err(open_error)?.len();
        let queue = Arc::new(Queue::new(path));
        let thread =
            writer::spawn(path, file, end, allocated, Arc::clone(&queue)).map_err(open_error)?;
        Ok((
            Self {
                queue,
                thread: Some(thread),
            },
            records,
            torn,
        ))
    }

    /// Opens the journal of a service. One that is missing although the service ran before took with
    /// it what was done before: nobody may take that for a first start, so the kill switch is latched
    /// on disk before the new file exists.
    ///
    /// # Errors
    /// [`JournalError`] as for [`Journal::open`], and [`JournalError::Lost`].
    pub fn keep(state: &StateDir, name: &str, latch: &Latch) -> Result<Kept, JournalError> {
        let path = state.join(name);
        let lost = state.has_run_before() && !path.exists();
        if lost {
            tracing::error!(path = %path.display(), "{LOST}");
            latch
                .trigger(KillCause::Inconsistent, LOST)
                .map_err(|cause| JournalError::Lost {
                    path: path.clone(),
                    cause: Arc::new(cause),
                })?;
        }
        let (journal, records, torn) = Self::open_torn(&path)?;
        Ok(Kept {
            journal,
            records,
            lost,
            torn,
        })
    }

    /// Appends records, in order. The result resolves once they and everything before them is on
    /// disk. Nothing needs to wait for it for that to happen.
    pub fn append(&self, records: Vec<Vec<u8>>) -> Durable {
        let (sender, receiver) = oneshot::channel();
        match self.queue.push(records, Some(sender)) {
            Ok(()) => Durable(State::Waiting(receiver)),
            Err(error) => Durable(State::Failed(Some(error))),
        }
    }

    /// Begins the journal anew with these records, in place of everything before; what is appended from
    /// now on follows them. A crash leaves the old journal or the new one, each whole. The result
    /// resolves once the new one is on disk.
    pub fn replace(&self, records: Vec<Vec<u8>>) -> Durable {
        let (sender, receiver) = oneshot::channel();
        match self.queue.replace(records, sender) {
            Ok(()) => Durable(State::Waiting(receiver)),
            Err(error) => Durable(State::Failed(Some(error))),
        }
    }

    /// Appends records that nobody waits for; they are written with the next group, or when the
    /// journal is closed.
    ///
    /// # Errors
    /// [`JournalError`] when the journal takes no more records.
    pub fn append_lazy(&self, records: Vec<Vec<u8>>) -> Result<(), JournalError> {
        self.queue.push(records, None)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to write.
            let _ = thread.join();
        }
    }
}

/// Resolves when what was appended is on disk.
#[derive(Debug)]
#[must_use = "nothing is known to be on disk until this resolves"]
pub struct Durable(State);

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Result<(), JournalError>>),
    Failed(Option<JournalError>),
}

impl Future for Durable {
    type Output = Result<(), JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waiting(receiver) => {
                let outcome = ready!(Pin::new(receiver).poll(context));
                Poll::Ready(outcome.unwrap_or(Err(JournalError::Closed)))
            }
            State::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(JournalError::Closed))),
        }
    }
}

impl Durable {
    /// Waits on this thread, for callers without a runtime.
    ///
    /// # Errors
    /// [`JournalError`] when the records are not on disk.
    pub fn wait(self) -> Result<(), JournalError> {
        match self.0 {
            State::Waiting(receiver) => receiver
                .blocking_recv()
                .unwrap_or(Err(JournalError::Closed)),
            State::Failed(error) => Err(error.unwrap_or(JournalError::Closed)),
        }
    }
}

/// What a journal holds, where it ends and how many bytes of a torn tail follow; `None` for a damaged
/// one. For the fuzz target alone: to open a journal is to make room for more than a megabyte, which
/// cannot be done for every input.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn scanned(file: &mut File) -> io::Result<Option<(Vec<Vec<u8>>, u64, u64)>> {
    match scan::scan(file) {
        Ok(scan::Scanned { records, end, torn }) => Ok(Some((records, end, torn))),
        Err(scan::ScanError::Damaged(_)) => Ok(None),
        Err(scan::ScanError::Io(cause)) => Err(cause),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::InUse(path.into())),
        Err(std::fs::TryLockError::Error(cause)) => Err(JournalError::Open {
            path: path.into(),
            cause: Arc::new(cause),
        }),
    }
}

#[cfg(test)]
mod tests;
