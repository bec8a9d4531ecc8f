//! What the fuzz targets share: a place on disk, a way to take inputs apart, and second opinions on
//! formats, written from their descriptions and not from the code under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portcullis_wire::{Frame, Header, VERSION};
use tempfile::TempDir;

pub mod log;

/// A folder that vanishes with the value, in memory where the system has a place for that: a target
/// that writes files should wait for no disk.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("portcullis-fuzz-")
        .tempdir_in(place);
    folder.expect("a folder in memory or for temporary files")
}

/// Writes a file of mode 0600, as everything here expects its files.
pub fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file in the scratch folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode for it");
}

/// Takes an input apart; what is not there any more is zero or empty.
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    pub fn place(&mut self, below: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number.checked_rem(below).unwrap_or_default()
    }

    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The one spelling of a frame: MessagePack with the shortest form of everything.
pub fn frame_in_full(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, 4);
    number(&mut out, VERSION);
    bytes(&mut out, frame.header);
    bytes(&mut out, frame.body);
    array(&mut out, frame.seals.len());
    for (key, tag) in &frame.seals {
        array(&mut out, 2);
        text(&mut out, key);
        bytes(&mut out, tag);
    }
    out
}

/// The one spelling of a header.
pub fn header_in_full(header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, 13);
    text(&mut out, header.realm.as_str());
    text(&mut out, &header.kind);
    text(&mut out, &header.subject);
    text(&mut out, header.source.as_str());
    array(&mut out, header.audience.len());
    for audience in &header.audience {
        text(&mut out, audience.as_str());
    }
    bytes(&mut out, &header.id.0);
    for value in [
        header.boot,
        header.seq,
        header.issued_at.0,
        header.expires_at.0,
    ] {
        number(&mut out, value);
    }
    bytes(&mut out, &header.correlation.0);
    match &header.causation {
        Some(id) => bytes(&mut out, &id.0),
        None => rmp::encode::write_nil(&mut out).expect("room"),
    }
    text(&mut out, &header.traceparent);
    out
}

fn array(out: &mut Vec<u8>, length: usize) {
    rmp::encode::write_array_len(out, length as u32).expect("room");
}

fn number(out: &mut Vec<u8>, value: u64) {
    rmp::encode::write_uint(out, value).expect("room");
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    rmp::encode::write_bin(out, value).expect("room");
}

fn text(out: &mut Vec<u8>, value: &str) {
    rmp::encode::write_str(out, value).expect("room");
}

/// A record as a journal and an audit log keep it: length and CRC-32C, big-endian, before the bytes.
pub fn with_checksum(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u32).to_be_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), record);
    [&length, checksum.to_be_bytes().as_slice(), record].concat()
}

/// Fails if an error or a word of somebody else's could do harm where it is printed.
pub fn assert_printable(said: &str) {
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

/// Everything that an error says, with its causes.
pub fn chain_of(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(": ");
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}
