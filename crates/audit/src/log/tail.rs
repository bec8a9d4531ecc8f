//! Tells the unfinished write of a crash from damage.
//!
//! A group of records is written into zeroes at once and synced once, and nobody is told of it
//! before. A crash leaves any of its sectors unwritten, that is, zero. So the last group may end
//! early or have holes of zeroes; whatever else does not fit was once complete, and is damage.

use audit_core::{RECORD_HEAD_LENGTH, RECORD_LENGTH_MAX, RECORD_LENGTH_MIN};

use super::GROUP_LENGTH_MAX;
use super::segment::{checksum, to_u64};

/// What a disk writes at once, at least.
const SECTOR: u64 = 512;
/// A shorter run of zeroes may be part of an entry.
const HOLE_MIN: usize = 64;

/// What follows the last whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// An unfinished write of so many bytes.
    Torn(u64),
    /// Damage.
    Damaged,
}

/// Judges `rest`, which begins at `offset` of the last segment, ends with its last byte that is
/// not zero, and does not begin with a whole record.
pub fn judge(rest: &[u8], offset: u64) -> Tail {
    if rest.is_empty() {
        return Tail::Clean;
    }
    let torn = Tail::Torn(to_u64(rest.len()));
    if rest.len() > GROUP_LENGTH_MAX {
        return Tail::Damaged;
    }
    let Some(length) = record_length(rest) else {
        // No length at all: its sector must be missing.
        let sector = to_usize(SECTOR.saturating_sub(offset % SECTOR));
        let is_hole = zeroes(rest) >= sector.min(rest.len());
        return if is_hole { torn } else { Tail::Damaged };
    };
    if !(RECORD_LENGTH_MIN..=RECORD_LENGTH_MAX).contains(&length) {
        return Tail::Damaged;
    }
    if length > rest.len() {
        // It ends early; but if whole records follow inside, it is its length that is wrong.
        let inside = (1..rest.len())
            .filter_map(|at| rest.get(at..))
            .any(is_whole_record);
        return if inside { Tail::Damaged } else { torn };
    }
    let record = rest.get(..length).unwrap_or_default();
    if has_hole(record, offset) {
        torn
    } else {
        Tail::Damaged
    }
}

/// The length of the record that begins here, as it says; `None` for zero.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let mut head = [0; 4];
    for (place, byte) in head.iter_mut().zip(bytes) {
        *place = *byte;
    }
    let length = to_usize(u64::from(u32::from_be_bytes(head)));
    (length > 0).then(|| length.saturating_add(RECORD_HEAD_LENGTH))
}

fn is_whole_record(bytes: &[u8]) -> bool {
    let Some(whole) = record_length(bytes) else {
        return false;
    };
    if !(RECORD_LENGTH_MIN..=RECORD_LENGTH_MAX).contains(&whole) {
        return false;
    }
    let Some(record) = bytes.get(..whole) else {
        return false;
    };
    let Some((head, payload)) = record.split_first_chunk::<RECORD_HEAD_LENGTH>() else {
        return false;
    };
    let [a, b, c, d, e, f, g, h] = *head;
    checksum([a, b, c, d], payload) == u32::from_be_bytes([e, f, g, h])
}

/// Whether a sector's part of the record, long enough not to be chance, is all zero.
fn has_hole(record: &[u8], offset: u64) -> bool {
    let mut rest = record;
    let mut at = offset;
    while !rest.is_empty() {
        let sector = to_usize(SECTOR.saturating_sub(at % SECTOR)).min(rest.len());
        let (part, later) = rest.split_at(sector);
        if part.len() >= HOLE_MIN && zeroes(part) == part.len() {
            return true;
        }
        at = at.saturating_add(to_u64(sector));
        rest = later;
    }
    false
}

fn zeroes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == 0).count()
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
