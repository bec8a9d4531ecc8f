//! One segment file: its name, and its records one after the other.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use audit_core::{RECORD_HEAD_LENGTH, RECORD_LENGTH_MAX, RECORD_LENGTH_MIN};

use super::Problem;

/// Small enough to stay in a processor's cache, so that checksum and hashes read it only once from
/// memory.
const BUFFER_LENGTH: usize = 256 << 10;

/// The checksum of a record: CRC-32C (RFC 3720) of its length and its payload.
pub fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// The path of the segment that begins with entry `first`.
pub fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("segment-{first:020}.log"))
}

/// Every segment in a folder, with the entry it begins with, in order.
pub fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let digits = name.to_str().and_then(|name| {
            name.strip_prefix("segment-")?
                .strip_suffix(".log")
                .filter(|digits| digits.len() == 20)
        });
        let first = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        segments.extend(first.map(|first| (first, file.path())));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub enum Step {
    /// A whole record; its payload is at this place of the buffer.
    Record(Range<usize>),
    /// Zeroes where a length would be.
    End,
    /// Something else.
    Unfit(Problem),
}

/// Reads a segment from its beginning.
#[derive(Debug)]
pub struct Scan {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the file the buffer begins.
    base: u64,
    offset: u64,
}

impl Scan {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let buffer = vec![0; BUFFER_LENGTH];
        Ok(Self {
            file,
            buffer,
            start: 0,
            end: 0,
            base: 0,
            offset: 0,
        })
    }

    /// Where in the file the last step was.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn payload(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Looks at the place after the last whole record; passes a whole record.
    pub fn step(&mut self) -> io::Result<Step> {
        self.offset = self.base.saturating_add(to_u64(self.start));
        self.fill(RECORD_HEAD_LENGTH)?;
        let head = self
            .here(RECORD_HEAD_LENGTH)
            .first_chunk::<RECORD_HEAD_LENGTH>();
        let Some([a, b, c, d, e, f, g, h]) = head.copied() else {
            // Fewer bytes are left than a record begins with.
            return Ok(Step::End);
        };
        let (length, stated) = ([a, b, c, d], u32::from_be_bytes([e, f, g, h]));
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if size == 0 {
            return Ok(Step::End);
        }
        let whole = size.saturating_add(RECORD_HEAD_LENGTH);
        if !(RECORD_LENGTH_MIN..=RECORD_LENGTH_MAX).contains(&whole) {
            return Ok(Step::Unfit(Problem::Length(size)));
        }
        self.fill(whole)?;
        let begin = self.start.saturating_add(RECORD_HEAD_LENGTH);
        let range = begin..self.start.saturating_add(whole);
        if range.end > self.end {
            return Ok(Step::Unfit(Problem::Length(size)));
        }
        if checksum(length, self.payload(range.clone())) != stated {
            return Ok(Step::Unfit(Problem::Checksum));
        }
        self.start = range.end;
        Ok(Step::Record(range))
    }

    /// Forgets what was read ahead: a writer may have gone on.
    pub fn reload(&mut self) {
        self.base = self.base.saturating_add(to_u64(self.start));
        self.start = 0;
        self.end = 0;
    }

    /// Everything from the last step on, without the zeroes at the end of the file.
    pub fn rest(&self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        let mut nonzero = 0;
        let mut chunk = vec![0; BUFFER_LENGTH];
        loop {
            let at = self.offset.saturating_add(to_u64(rest.len()));
            let read = self.file.read_at(&mut chunk, at)?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            // All of it at once first: most of a segment's end is zeroes.
            if bytes.iter().fold(0, |sum, byte| sum | byte) != 0
                && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
            {
                nonzero = rest.len().saturating_add(last).saturating_add(1);
            }
            rest.extend_from_slice(bytes);
        }
        rest.truncate(nonzero);
        Ok(rest)
    }

    fn here(&self, length: usize) -> &[u8] {
        let available = self.buffer.get(self.start..self.end).unwrap_or_default();
        available.get(..length).unwrap_or_default()
    }

    /// Reads ahead until `length` bytes are there or the file ends.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        if self.end.saturating_sub(self.start) >= length {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.base = self.base.saturating_add(to_u64(self.start));
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        while self.end < length {
            let at = self.base.saturating_add(to_u64(self.end));
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.file.read_at(room, at) {
                Ok(0) => break,
                Ok(read) => self.end = self.end.saturating_add(read),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

pub fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
