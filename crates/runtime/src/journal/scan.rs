//! Reads a journal from its beginning and finds where it ends.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::RECORD_LENGTH_MAX;

/// The most bytes that are written between two syncs.
pub(super) const GROUP_LENGTH_MAX: usize = 256 << 10;
/// Length and checksum.
pub(super) const PREFIX_LENGTH: usize = 8;

/// What a journal holds.
pub(super) struct Scanned {
    pub records: Vec<Vec<u8>>,
    /// Where the next record goes.
    pub end: u64,
    /// How many bytes from there on are not zero as they should be.
    pub torn: u64,
}

pub(super) enum ScanError {
    Io(io::Error),
    Damaged(u64),
}

impl From<io::Error> for ScanError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Length and checksum of a record.
pub(super) fn prefix(length: u32, bytes: &[u8]) -> [u8; PREFIX_LENGTH] {
    let length = length.to_be_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), bytes);
    let mut prefix = [0; PREFIX_LENGTH];
    for (byte, value) in prefix
        .iter_mut()
        .zip(length.into_iter().chain(checksum.to_be_bytes()))
    {
        *byte = value;
    }
    prefix
}

pub(super) fn scan(file: &mut File) -> Result<Scanned, ScanError> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(1 << 20, &mut *file);
    let mut records = Vec::new();
    let mut end = 0_u64;
    while let Some(record) = read_record(&mut reader)? {
        let length = record.len().saturating_add(PREFIX_LENGTH);
        end = end.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        records.push(record);
    }
    drop(reader);
    let torn = last_nonzero(file, end)?;
    let group = u64::try_from(GROUP_LENGTH_MAX).unwrap_or(u64::MAX);
    if torn > group {
        Err(ScanError::Damaged(end))
    } else {
        Ok(Scanned { records, end, torn })
    }
}

/// The next record; `None` where there is no whole and correct one.
fn read_record(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; PREFIX_LENGTH];
    if !read_whole(reader, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, ..] = head;
    let length = u32::from_be_bytes([a, b, c, d]);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size == 0 || size > RECORD_LENGTH_MAX {
        return Ok(None);
    }
    let mut record = vec![0; size];
    let whole = read_whole(reader, &mut record)?;
    Ok((whole && prefix(length, &record) == head).then_some(record))
}

fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// How many bytes from `from` on lie before and at the last one that is not zero.
fn last_nonzero(file: &mut File, from: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut buffer = vec![0; 1 << 16];
    let (mut at, mut last) = (0_u64, 0_u64);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(last);
        }
        let nonzero = buffer.iter().take(read).rposition(|byte| *byte != 0);
        if let Some(position) = nonzero {
            let position = u64::try_from(position).unwrap_or(u64::MAX);
            last = at.saturating_add(position).saturating_add(1);
        }
        at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

/// Overwrites a torn tail with zeroes, so that nothing of it can be taken for a record later.
pub(super) fn cut(file: &File, end: u64, torn: u64) -> io::Result<()> {
    let length = usize::try_from(torn).map_err(io::Error::other)?;
    file.write_all_at(&vec![0; length], end)?;
    file.sync_data()
}
