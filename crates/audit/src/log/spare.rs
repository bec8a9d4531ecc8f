//! The next segment, filled with zeroes while nobody waits for it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread::JoinHandle;

use super::LogError;

const NAME: &str = "spare.segment";
const CHUNK: usize = 1 << 20;

/// A segment in the making.
#[derive(Debug)]
pub struct Spare(Option<JoinHandle<Result<File, LogError>>>);

impl Spare {
    /// Starts to make one, on a thread of its own.
    pub fn start(folder: &Path, bytes: u64) -> Self {
        let folder = folder.to_owned();
        let thread = std::thread::Builder::new().name("audit-spare".into());
        // Without a thread the error comes when the segment is needed.
        Self(thread.spawn(move || make(&folder, bytes)).ok())
    }

    /// The finished segment.
    pub fn take(&mut self) -> Result<File, LogError> {
        let made = self.0.take().and_then(|thread| thread.join().ok());
        made.unwrap_or_else(|| {
            let cause = io::Error::other("the thread that fills it did not run");
            Err(LogError::io("make", Path::new(NAME), cause))
        })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Whether it could be made does not matter any more; that it stopped does.
            let _ = thread.join();
        }
    }
}

/// Makes the spare segment anew: written zeroes rather than reserved space, because blocks that are
/// written for the first time would make every sync change metadata.
pub fn make(folder: &Path, bytes: u64) -> Result<File, LogError> {
    let path = folder.join(NAME);
    let error = |cause| LogError::io("fill", &path, cause);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600);
    let file = options.open(&path).map_err(error)?;
    let zeroes = vec![0; CHUNK];
    let mut offset = 0;
    while offset < bytes {
        let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(CHUNK);
        let chunk = zeroes.get(..left.min(CHUNK)).unwrap_or_default();
        file.write_all_at(chunk, offset).map_err(error)?;
        offset = offset.saturating_add(super::to_u64(chunk.len()));
    }
    file.sync_all().map_err(error)?;
    Ok(file)
}

/// Makes the spare segment part of the log, never in place of another one.
pub fn adopt(folder: &Path, path: &Path, file: File) -> Result<File, LogError> {
    let spare = folder.join(NAME);
    fs::hard_link(&spare, path).map_err(|cause| LogError::io("name segment", path, cause))?;
    fs::remove_file(&spare).map_err(|cause| LogError::io("rename", &spare, cause))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| LogError::io("sync folder", folder, cause))?;
    Ok(file)
}
