//! Follows the server's log from file to file.
//!
//! ```text
//!  nats.log ── renamed by the server ──▶ nats.log.2026.11.22.07.44.03.546578000
//!     └── begun anew                        └── read to its end first
//! ```
//!
//! A file is known by its first line, which has the server's process and the time to the microsecond,
//! not by its name or its inode: so it is found again after it was renamed, copied and cut off, or
//! restored elsewhere. Files come in the order of their first lines.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use audit_core::{BusFollowing, BusPlace, BusSaid};

use super::line::{self, Accounts};

/// The longest line that is read. The server bounds what a client sends to 4 KiB, and writes at most
/// four characters for each byte of two such texts.
const LINE_LENGTH_MAX: usize = 64 << 10;
/// So much is read at once.
const CHUNK_LENGTH: usize = 256 << 10;
/// So much of the first line tells a file from others.
const HEAD_LENGTH_MAX: usize = 4 << 10;
/// How often the folder is read again while its files are being renamed.
const LOOKS_MAX: usize = 10;
/// More files than the server keeps.
const FILES_MAX: usize = 1_000;

/// A line to record, or that another file begins.
pub type Said = (BusSaid, BusPlace);

/// How it stands after a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is more to read.
    More,
    /// Everything is read.
    UpToDate,
    /// There is no log to read.
    Missing,
    /// The file that should be the log is not one of the bus server.
    Foreign,
}

/// Reads the server's log.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    accounts: Accounts,
    /// The byte behind the last whole line that was read.
    place: Option<BusPlace>,
    open: Option<Open>,
    /// There was nothing at the first look, so nothing that comes later is old.
    from_start: bool,
    buffer: Vec<u8>,
}

/// A file of the log.
#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    node: (u64, u64),
    /// What the next byte to read belongs to: the beginning of a line that is too long.
    overlong: Option<String>,
    /// The next byte to read.
    offset: u64,
}

/// A file that could be one of the log.
struct Candidate {
    file: File,
    name: OsString,
    is_current: bool,
    /// Its beginning.
    place: BusPlace,
    metadata: Metadata,
}

impl Follower {
    /// Follows the log at `path` from behind `place`; from its present end when there is none.
    pub fn new(path: &Path, accounts: Accounts, place: Option<BusPlace>) -> Self {
        Self {
            path: path.into(),
            accounts,
            place,
            open: None,
            from_start: false,
            buffer: Vec::new(),
        }
    }

    /// Reads what is new, at most so much at a time.
    ///
    /// # Errors
    /// What the system says when a file cannot be read.
    pub fn look(&mut self, said: &mut Vec<Said>) -> io::Result<Look> {
        if self.is_other_content()? {
            self.open = None;
        }
        if self.open.is_none() {
            match self.find(said)? {
                Ok(open) => self.open = Some(open),
                Err(look) => return Ok(look),
            }
        }
        if self.read(said)? {
            return Ok(Look::More);
        }
        let Some(open) = &self.open else {
            return Ok(Look::Missing);
        };
        match fs::metadata(&self.path) {
            Ok(now) if node(&now) == open.node => return Ok(Look::UpToDate),
            Ok(_) => {}
            // Between renaming one file and beginning the next, or deleted: the open one still grows.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Look::Missing),
            Err(cause) => return Err(cause),
        }
        let Some(next) = self.next()? else {
            return Ok(Look::Missing);
        };
        // The server closes a file before it begins the next: this is all that it will ever have.
        while self.read(said)? {}
        self.begin(next, BusFollowing::NextFile, said);
        Ok(Look::More)
    }

    /// Whether the open file was cut off, and perhaps filled again, since it was read last.
    fn is_other_content(&self) -> io::Result<bool> {
        let (Some(open), Some(place)) = (&self.open, &self.place) else {
            return Ok(false);
        };
        let length = open.file.metadata()?.len();
        if length <= open.offset {
            return Ok(length < open.offset);
        }
        Ok(head(&open.file)?.is_none_or(|first| first.file != place.file))
    }

    /// Finds the file to go on with, and where in it.
    fn find(&mut self, said: &mut Vec<Said>) -> io::Result<Result<Open, Look>> {
        let mut candidates = self.candidates()?;
        let Some(place) = self.place else {
            return self.find_first(candidates, said);
        };
        let known = candidates
            .iter()
            .position(|candidate| candidate.place.file == place.file);
        if let Some(known) = known {
            let candidate = candidates.swap_remove(known);
            // What was there is not there any more, though the file still begins as it did.
            if candidate.metadata.len() >= place.end {
                return Ok(Ok(candidate.open(place.end)));
            }
            let end = last_line_end(&candidate.file, candidate.metadata.len())?;
            let place = BusPlace { end, ..place };
            self.place = Some(place);
            said.push((BusSaid::Following(BusFollowing::Lost), place));
            return Ok(Ok(candidate.open(end)));
        }
        match self.next()? {
            Some(later) => {
                self.begin(later, BusFollowing::Lost, said);
                Ok(self.open.take().ok_or(Look::Missing))
            }
            None => Ok(Err(self.why_none())),
        }
    }

    /// The very first look: what is there is old.
    fn find_first(
        &mut self,
        candidates: Vec<Candidate>,
        said: &mut Vec<Said>,
    ) -> io::Result<Result<Open, Look>> {
        let current = candidates
            .into_iter()
            .find(|candidate| candidate.is_current);
        let Some(current) = current else {
            self.from_start = true;
            return Ok(Err(self.why_none()));
        };
        let end = if self.from_start {
            0
        } else {
            last_line_end(&current.file, current.metadata.len())?
        };
        let place = BusPlace {
            end,
            ..current.place
        };
        self.place = Some(place);
        said.push((BusSaid::Following(BusFollowing::Begins), place));
        Ok(Ok(current.open(end)))
    }

    /// The file that begins after the open one.
    fn next(&self) -> io::Result<Option<Candidate>> {
        let Some(place) = self.place else {
            return Ok(None);
        };
        // A file that is renamed while the folder is read may be missed under both of its names, and the one
        // after it would be taken for the next: so it is the next only when it is so twice.
        let mut first = self.first_after(place)?;
        for _ in 0..LOOKS_MAX {
            let second = self.first_after(place)?;
            let file =
                |candidate: &Option<Candidate>| candidate.as_ref().map(|found| found.place.file);
            if file(&first) == file(&second) {
                return Ok(second);
            }
            first = second;
        }
        Ok(None)
    }

    fn first_after(&self, place: BusPlace) -> io::Result<Option<Candidate>> {
        let mut candidates = self.candidates()?.into_iter();
        Ok(candidates.find(|candidate| candidate.place.began > place.began))
    }

    fn begin(&mut self, candidate: Candidate, following: BusFollowing, said: &mut Vec<Said>) {
        let place = candidate.place;
        self.place = Some(place);
        said.push((BusSaid::Following(following), place));
        self.open = Some(candidate.open(0));
    }

    fn why_none(&self) -> Look {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > 0 => Look::Foreign,
            Ok(_) | Err(_) => Look::Missing,
        }
    }

    /// Every file that begins as a log of the server does and whose name begins as the log's, in the
    /// order in which they were begun.
    fn candidates(&self) -> io::Result<Vec<Candidate>> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let entries = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut rotated = name.to_owned();
        rotated.push(".");
        let mut candidates = Vec::new();
        for entry in entries {
            let found = entry?.file_name();
            let is_current = found == name;
            let is_rotated = found
                .as_encoded_bytes()
                .starts_with(rotated.as_encoded_bytes());
            if !(is_current || is_rotated) || candidates.len() >= FILES_MAX {
                continue;
            }
            match Candidate::open_file(&folder.join(&found), found, is_current) {
                Ok(candidate) => candidates.extend(candidate),
                // The server deletes the oldest when it has enough.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        candidates.sort_by(|a, b| (a.place.began, &a.name).cmp(&(b.place.began, &b.name)));
        Ok(candidates)
    }

    /// Reads a piece of the open file; says whether there may be more.
    fn read(&mut self, said: &mut Vec<Said>) -> io::Result<bool> {
        let (Some(open), Some(place)) = (&mut self.open, &mut self.place) else {
            return Ok(false);
        };
        self.buffer.resize(CHUNK_LENGTH, 0);
        let length = read_at(&open.file, &mut self.buffer, open.offset)?;
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (bytes, after) = rest.split_at(at);
            rest = after.get(1..).unwrap_or_default();
            open.offset = open.offset.saturating_add(to_u64(at)).saturating_add(1);
            place.end = open.offset;
            let found = match open.overlong.take() {
                Some(begins) => line::overlong(&begins),
                None if at > LINE_LENGTH_MAX => line::overlong(&begins(bytes)),
                None => line::read(&String::from_utf8_lossy(bytes), &self.accounts),
            };
            said.extend(found.map(|found| (found, *place)));
        }
        // A line without an end is read again when it has one, unless it is too long to be kept.
        if rest.len() > LINE_LENGTH_MAX || open.overlong.is_some() {
            open.overlong.get_or_insert_with(|| begins(rest));
            open.offset = open.offset.saturating_add(to_u64(rest.len()));
        }
        Ok(length == CHUNK_LENGTH)
    }
}

impl Candidate {
    fn open_file(path: &Path, name: OsString, is_current: bool) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(head(&file)?.map(|place| Self {
            file,
            name,
            is_current,
            place,
            metadata,
        }))
    }

    fn open(self, offset: u64) -> Open {
        Open {
            file: self.file,
            node: node(&self.metadata),
            overlong: None,
            offset,
        }
    }
}

/// The beginning of a file; `None` when its first line is not whole, or none of the server's.
fn head(file: &File) -> io::Result<Option<BusPlace>> {
    let mut buffer = vec![0; HEAD_LENGTH_MAX];
    let length = read_at(file, &mut buffer, 0)?;
    let read = buffer.get(..length).unwrap_or_default();
    let end = read.iter().position(|byte| *byte == b'\n');
    // A file that was cut off may begin with any line, however long.
    let end = end.or((length == HEAD_LENGTH_MAX).then_some(length));
    let line = end.and_then(|end| read.get(..end));
    Ok(line.and_then(|line| {
        let began = line::time(&String::from_utf8_lossy(line))?;
        Some(BusPlace::first(began, line))
    }))
}

/// The byte behind the last whole line.
fn last_line_end(file: &File, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_LENGTH];
    let from = length.saturating_sub(to_u64(CHUNK_LENGTH));
    let read = read_at(file, &mut buffer, from)?;
    let last = buffer.get(..read).and_then(|read| {
        let at = read.iter().rposition(|byte| *byte == b'\n')?;
        Some(from.saturating_add(to_u64(at)).saturating_add(1))
    });
    Ok(last.unwrap_or(from))
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset.saturating_add(to_u64(length))) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(length)
}

fn begins(line: &[u8]) -> String {
    let kept = line.get(..HEAD_LENGTH_MAX.min(line.len()));
    String::from_utf8_lossy(kept.unwrap_or_default()).into_owned()
}

fn node(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
