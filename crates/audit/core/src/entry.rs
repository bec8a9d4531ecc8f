//! The canonical bytes of one entry.
//!
//! ```text
//!  entry = version u8 ‖ kind u8 ‖ index u64 ‖ received_at u64 ‖ previous_hash 32
//!        ‖ boot u64 ‖ seq u64 ‖ envelope id 16
//!        ‖ u16 length ‖ subject ‖ u16 length ‖ source ‖ u32 length ‖ content
//! ```
//!
//! All numbers are big-endian. Every entry has exactly one spelling.

use alloc::vec::Vec;

use portcullis_domain::{EnvelopeId, Hash, PrincipalName, Timestamp};
use portcullis_wire::FRAME_LENGTH_MAX;

/// The version of the entry format.
const VERSION: u8 = 1;
/// Everything before the subject.
const FIXED_LENGTH: usize = 82;
/// The longest subject, in bytes; the same as in an envelope.
const SUBJECT_LENGTH_MAX: usize = 96;
const SOURCE_LENGTH_MAX: usize = 32;
/// The longest entry, in bytes.
pub const ENTRY_LENGTH_MAX: usize =
    FIXED_LENGTH + 2 + SUBJECT_LENGTH_MAX + 2 + SOURCE_LENGTH_MAX + 4 + FRAME_LENGTH_MAX;
/// The shortest entry: names of one byte, no content.
pub(crate) const ENTRY_LENGTH_MIN: usize = FIXED_LENGTH + 3 + 3 + 4;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sealed frame of a fact, byte for byte.
    Fact,
    /// Something that audit itself has to say: an [`Own`](crate::Own) in its canonical encoding.
    Own,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Fact => 1,
            Self::Own => 2,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Fact),
            2 => Some(Self::Own),
            _ => None,
        }
    }
}

/// What an entry will say, before it has its place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// When it was received, by audit's clock.
    pub received_at: Timestamp,
    /// What it holds.
    pub kind: Kind,
    /// The subject it came on; `audit.…` for audit's own.
    pub subject: &'a str,
    /// Who sealed it.
    pub source: &'a PrincipalName,
    /// Which start of the source it comes from.
    pub boot: u64,
    /// Its place among all facts of that start, from 1.
    pub seq: u64,
    /// The envelope's id; zeroes for audit's own.
    pub id: EnvelopeId,
    /// The frame, or audit's own words.
    pub content: &'a [u8],
}

/// An entry as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number, from 0.
    pub index: u64,
    /// When it was received, by audit's clock.
    pub received_at: Timestamp,
    /// The hash of the entry before it; zeroes for the first.
    pub previous: Hash,
    /// What it holds.
    pub kind: Kind,
    /// The subject it came on; `audit.…` for audit's own.
    pub subject: &'a str,
    /// Who sealed it.
    pub source: PrincipalName,
    /// Which start of the source it comes from.
    pub boot: u64,
    /// Its place among all facts of that start, from 1.
    pub seq: u64,
    /// The envelope's id; zeroes for audit's own.
    pub id: EnvelopeId,
    /// The frame, or audit's own words.
    pub content: &'a [u8],
}

impl Draft<'_> {
    /// Appends the canonical bytes; `None`, with `out` as it was, when a part is too long.
    pub(crate) fn write(&self, index: u64, previous: &Hash, out: &mut Vec<u8>) -> Option<()> {
        let source = self.source.as_str();
        if self.subject.is_empty()
            || self.subject.len() > SUBJECT_LENGTH_MAX
            || self.content.len() > FRAME_LENGTH_MAX
        {
            return None;
        }
        let subject_length = u16::try_from(self.subject.len()).ok()?;
        let source_length = u16::try_from(source.len()).ok()?;
        let content_length = u32::try_from(self.content.len()).ok()?;
        out.extend_from_slice(&[VERSION, self.kind.code()]);
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&self.received_at.0.to_be_bytes());
        out.extend_from_slice(&previous.0);
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&subject_length.to_be_bytes());
        out.extend_from_slice(self.subject.as_bytes());
        out.extend_from_slice(&source_length.to_be_bytes());
        out.extend_from_slice(source.as_bytes());
        out.extend_from_slice(&content_length.to_be_bytes());
        out.extend_from_slice(self.content);
        Some(())
    }
}

impl<'a> Entry<'a> {
    /// Reads the canonical bytes; `None` when they are not such an entry and nothing else.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version, kind] = take_array(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let entry = Self {
            kind: Kind::of(kind)?,
            index: u64::from_be_bytes(take_array(&mut rest)?),
            received_at: Timestamp(u64::from_be_bytes(take_array(&mut rest)?)),
            previous: Hash(take_array(&mut rest)?),
            boot: u64::from_be_bytes(take_array(&mut rest)?),
            seq: u64::from_be_bytes(take_array(&mut rest)?),
            id: EnvelopeId(take_array(&mut rest)?),
            subject: take_text(&mut rest, SUBJECT_LENGTH_MAX)?,
            source: PrincipalName::new(take_text(&mut rest, SOURCE_LENGTH_MAX)?).ok()?,
            content: {
                let length = u32::from_be_bytes(take_array(&mut rest)?);
                take(&mut rest, usize::try_from(length).ok()?)?
            },
        };
        rest.is_empty().then_some(entry)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8], length_max: usize) -> Option<&'a str> {
    let length = usize::from(u16::from_be_bytes(take_array(rest)?));
    if length == 0 || length > length_max {
        return None;
    }
    core::str::from_utf8(take(rest, length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let source = PrincipalName::new("brain").unwrap();
        let draft = Draft {
            received_at: Timestamp(5),
            kind: Kind::Fact,
            subject: "evt.brain.notice",
            source: &source,
            boot: 7,
            seq: 1,
            id: EnvelopeId([3; 16]),
            content: b"frame",
        };
        let mut out = Vec::new();
        draft.write(9, &Hash([8; 32]), &mut out).unwrap();
        out
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let bytes = written();
        let entry = Entry::read(&bytes).unwrap();
        assert_eq!(
            (entry.index, entry.received_at, entry.previous),
            (9, Timestamp(5), Hash([8; 32]))
        );
        assert_eq!(
            (entry.subject, entry.source.as_str(), entry.content),
            ("evt.brain.notice", "brain", &b"frame"[..])
        );
        assert_eq!(
            (entry.boot, entry.seq, entry.id, entry.kind),
            (7, 1, EnvelopeId([3; 16]), Kind::Fact)
        );
        assert_eq!(bytes.len(), FIXED_LENGTH + 2 + 16 + 2 + 5 + 4 + 5);
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let bytes = written();
        for length in 0..bytes.len() {
            assert_eq!(Entry::read(&bytes[..length]), None, "cut at {length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Entry::read(&longer), None);
        for (at, value) in [(0, 2), (1, 0), (1, 3), (83, 0)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Entry::read(&other), None, "byte {at} = {value}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let source = PrincipalName::new("brain").unwrap();
        let long = [0; FRAME_LENGTH_MAX + 1];
        let draft = Draft {
            received_at: Timestamp(0),
            kind: Kind::Fact,
            subject: "s",
            source: &source,
            boot: 1,
            seq: 1,
            id: EnvelopeId([0; 16]),
            content: &long,
        };
        let mut out = Vec::new();
        assert_eq!(draft.write(0, &Hash([0; 32]), &mut out), None);
        assert!(out.is_empty());
    }
}
