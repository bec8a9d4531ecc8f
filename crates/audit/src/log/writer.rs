//! The thread that writes the log.
//!
//! ```text
//!  append ──▶ queue ──▶ writer thread: whatever waits is one group ──▶ Progress::Durable(size)
//! ```
//!
//! While one group is synced, the core computes the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use super::{GROUP_LENGTH_MAX, Log, LogError};

/// So many pieces may wait for the disk; whoever has more waits itself.
const WAITING_MAX: usize = 256;
/// So many written buffers are kept to be filled again.
const BUFFERS_MAX: usize = 4;

/// How far the log is on disk.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many entries are.
    Durable(u64),
    /// The disk failed; nothing is written any more.
    Failed(Arc<LogError>),
}

/// The writer has stopped; its [`Progress`] says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log writer has stopped")]
pub struct WriterGone;

/// Buffers that were written and may be filled again: large ones are dear to make anew.
type Buffers = Arc<Mutex<Vec<Vec<u8>>>>;

enum Work {
    Records(Vec<u8>),
    Checkpoint(Vec<u8>),
}

/// A log with a thread of its own. What was appended before the writer is dropped is still written.
#[derive(Debug)]
pub struct Writer {
    sender: Option<mpsc::Sender<Work>>,
    progress: watch::Receiver<Progress>,
    buffers: Buffers,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub fn start(log: Log) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (said, progress) = watch::channel(Progress::Durable(log.size()));
        let buffers = Buffers::default();
        let returned = Arc::clone(&buffers);
        let thread = std::thread::Builder::new().name("audit-writer".into());
        let thread = thread.spawn(move || write(log, receiver, &said, &returned))?;
        Ok(Self {
            sender: Some(sender),
            progress,
            buffers,
            thread: Some(thread),
        })
    }

    /// An empty buffer for the next records, used before where there is one.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    /// Hands over whole records, in order. Waits only while too much waits for the disk.
    ///
    /// # Errors
    /// [`WriterGone`] once the disk has failed.
    pub async fn append(&self, records: Vec<u8>) -> Result<(), WriterGone> {
        self.send(Work::Records(records)).await
    }

    /// Hands over a signed checkpoint in its canonical encoding.
    ///
    /// # Errors
    /// [`WriterGone`] once the disk has failed.
    pub async fn append_checkpoint(&self, signed: Vec<u8>) -> Result<(), WriterGone> {
        self.send(Work::Checkpoint(signed)).await
    }

    /// As [`Writer::append`], for callers outside of an asynchronous runtime.
    ///
    /// # Errors
    /// [`WriterGone`] once the disk has failed.
    pub fn append_blocking(&self, records: Vec<u8>) -> Result<(), WriterGone> {
        let sender = self.sender.as_ref().ok_or(WriterGone)?;
        sender
            .blocking_send(Work::Records(records))
            .map_err(|_| WriterGone)
    }

    /// How far the log is on disk, and from then on whenever that changes.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    async fn send(&self, work: Work) -> Result<(), WriterGone> {
        let sender = self.sender.as_ref().ok_or(WriterGone)?;
        sender.send(work).await.map_err(|_| WriterGone)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The thread ends when all is written; it has said how far it came.
            let _ = thread.join();
        }
    }
}

fn write(
    mut log: Log,
    mut receiver: mpsc::Receiver<Work>,
    said: &watch::Sender<Progress>,
    buffers: &Mutex<Vec<Vec<u8>>>,
) {
    let mut work = receiver.blocking_recv();
    while let Some(first) = work.take() {
        let mut group = Vec::new();
        let mut checkpoint = None;
        let mut next = Some(first);
        while let Some(piece) = next.take() {
            match piece {
                Work::Records(records) if group.is_empty() => group = records,
                Work::Records(records) => group.extend_from_slice(&records),
                // A checkpoint may only follow what it is over.
                Work::Checkpoint(signed) => checkpoint = Some(signed),
            }
            if checkpoint.is_none() && group.len() < GROUP_LENGTH_MAX {
                next = receiver.try_recv().ok();
            }
        }
        let mut written = log.append(&mut group);
        if written.is_ok() {
            said.send_replace(Progress::Durable(log.size()));
            // Nobody waits for the checkpoint.
            written = checkpoint.map_or(Ok(()), |signed| log.append_checkpoint(&signed));
        }
        if let Err(error) = written {
            receiver.close();
            said.send_replace(Progress::Failed(Arc::new(error)));
            return;
        }
        if group.capacity() <= GROUP_LENGTH_MAX.saturating_mul(2) {
            group.clear();
            let mut kept = buffers.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < BUFFERS_MAX {
                kept.push(group);
            }
        }
        work = receiver.blocking_recv();
    }
}
