//! Execution's journal: an entry for each step, with its length and a checksum, so that a crash may
//! tear the last one anywhere.

use execution_core::Record;
use portcullis_domain::EnvelopeId;
use portcullis_wire::{Sealed, codec};
use sha2::{Digest, Sha256};

use crate::log::Disk;
use crate::random::Random;
use crate::sure;

/// The longest record, in bytes.
const RECORD_LENGTH_MAX: usize = 4_096;
/// The first bytes of SHA-256 stand for the CRC of the real journal.
const CHECKSUM_LENGTH: usize = 4;
/// The longest run of bytes of a torn entry that did not arrive though later ones did.
const HOLE_MAX: u64 = 64;

/// One entry of execution's journal.
#[derive(Clone, Debug)]
pub enum Entry {
    /// What a step changed, encoded as on disk, and what it announces.
    Step {
        records: Vec<Vec<u8>>,
        facts: Vec<Sealed>,
    },
    /// The stream has all facts before this number.
    Acknowledged { before: u64 },
    /// The journal begun anew: the whole state, and the facts that the stream may lack, of which the
    /// first has this number. It replaces whatever came before it, all at once.
    Begun {
        first: u64,
        records: Vec<Vec<u8>>,
        facts: Vec<Sealed>,
    },
}

/// The entry that was being written when the process died.
#[derive(Debug)]
pub struct Torn {
    /// What of it is on disk.
    pub bytes: Vec<u8>,
    /// All of it.
    pub whole: Vec<u8>,
}

impl Entry {
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let records: &[Vec<u8>] = match self {
            Self::Step { records, .. } | Self::Begun { records, .. } => records,
            Self::Acknowledged { .. } => &[],
        };
        let decode = |bytes: &Vec<u8>| sure(codec::decode(bytes, RECORD_LENGTH_MAX), "a record");
        records.iter().map(decode)
    }

    /// The bytes on disk: length, checksum, content.
    pub fn encoded(&self) -> Vec<u8> {
        let content = self.content();
        let mut bytes = length(content.len()).to_vec();
        bytes.extend(checksum(&content));
        bytes.extend(content);
        bytes
    }

    /// The entry that these bytes are; `None` unless they are a whole and correct one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let length = reader.length()?;
        let sum = reader.take(CHECKSUM_LENGTH)?;
        let content = reader.take(length)?;
        (checksum(content) == sum && reader.0.is_empty())
            .then(|| Self::content_of(content))
            .flatten()
    }

    /// What a reader makes of these bytes that believes whatever it can decode.
    pub fn read_believing(bytes: &[u8]) -> Option<Self> {
        Self::content_of(bytes.get(4 + CHECKSUM_LENGTH..)?)
    }

    fn content(&self) -> Vec<u8> {
        match self {
            Self::Step { records, facts } => {
                let mut content = vec![0];
                content.extend(step(records, facts));
                content
            }
            Self::Begun {
                first,
                records,
                facts,
            } => {
                let mut content = vec![2];
                content.extend(first.to_be_bytes());
                content.extend(step(records, facts));
                content
            }
            Self::Acknowledged { before } => {
                let mut content = vec![1];
                content.extend(before.to_be_bytes());
                content
            }
        }
    }

    /// As far as it goes.
    fn content_of(content: &[u8]) -> Option<Self> {
        let mut reader = Reader(content);
        let [kind] = reader.array()?;
        if kind == 1 {
            let before = u64::from_be_bytes(reader.array()?);
            return Some(Self::Acknowledged { before });
        }
        let first = match kind {
            2 => Some(u64::from_be_bytes(reader.array()?)),
            _ => None,
        };
        let (mut records, mut facts) = (Vec::new(), Vec::new());
        for _ in 0..reader.length()? {
            let Some(record) = reader.counted() else {
                break;
            };
            if codec::decode::<Record>(record, RECORD_LENGTH_MAX).is_err() {
                break;
            }
            records.push(record.to_vec());
        }
        while let Some(fact) = reader.fact() {
            facts.push(fact);
        }
        match first {
            Some(first) => Some(Self::Begun {
                first,
                records,
                facts,
            }),
            None => {
                (!records.is_empty() || !facts.is_empty()).then_some(Self::Step { records, facts })
            }
        }
    }
}

/// What is on disk of these entries: the last journal begun anew replaced what was before it.
pub fn in_force(entries: &[Entry]) -> &[Entry] {
    let begun = |entry: &Entry| matches!(entry, Entry::Begun { .. });
    let at = entries.iter().rposition(begun).unwrap_or(0);
    entries.get(at..).unwrap_or_default()
}

fn step(records: &[Vec<u8>], facts: &[Sealed]) -> Vec<u8> {
    let mut content = length(records.len()).to_vec();
    for record in records {
        content.extend(length(record.len()));
        content.extend(record);
    }
    for fact in facts {
        content.extend(length(fact.subject.len()));
        content.extend(fact.subject.bytes());
        content.extend(fact.id.0);
        content.extend(fact.seq.to_be_bytes());
        content.extend(length(fact.frame.len()));
        content.extend(&fact.frame);
    }
    content
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn fact(&mut self) -> Option<Sealed> {
        Some(Sealed {
            subject: String::from_utf8(self.counted()?.to_vec()).ok()?,
            id: EnvelopeId(self.array()?),
            seq: u64::from_be_bytes(self.array()?),
            frame: self.counted()?.to_vec(),
        })
    }
}

fn length(of: usize) -> [u8; 4] {
    sure(u32::try_from(of), "a length").to_be_bytes()
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let sum = Sha256::digest(content);
    sure(sum.first_chunk().copied().ok_or("short"), "a checksum")
}

/// The process is gone: of what was not synced, some entries may have reached the disk, and a part of
/// the next one. How many are lost, and what is left of that one.
pub fn crash(disk: &mut Disk<Entry>, random: &mut Random) -> (usize, Option<Torn>) {
    let unsynced: Vec<Entry> = disk.entries.iter().skip(disk.synced).cloned().collect();
    let lost = disk.crash(random);
    let next = unsynced.get(unsynced.len() - lost);
    // A journal that is begun anew is written beside the old one and takes its place all at once.
    let torn = next.filter(|entry| !matches!(entry, Entry::Begun { .. }));
    let torn = torn.filter(|_| random.chance(600)).map(|entry| {
        let whole = entry.encoded();
        let bytes = tear(&whole, random);
        Torn { bytes, whole }
    });
    (lost, torn)
}

/// Cut off at any byte, or all there but for a hole: a disk writes its blocks in any order.
fn tear(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let at = random.between(0, whole.len() as u64) as usize;
    if random.chance(700) {
        bytes.truncate(at);
    } else {
        let hole = random.between(1, HOLE_MAX) as usize;
        bytes
            .iter_mut()
            .skip(at)
            .take(hole)
            .for_each(|byte| *byte = 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let record = Record::DayBegan {
            day: 20_717,
            baseline: portcullis_domain::Usd::ZERO,
            chain: portcullis_domain::Hash([5; 32]),
        };
        Entry::Step {
            records: vec![codec::encode(&record).unwrap()],
            facts: vec![Sealed {
                subject: "evt.execution.notice".to_owned(),
                id: EnvelopeId([7; 16]),
                seq: 3,
                frame: vec![1, 2, 3],
            }],
        }
    }

    #[test]
    fn a_whole_entry_is_read_and_a_torn_one_is_not_wherever_it_was_torn() {
        let Entry::Step { records, facts } = entry() else {
            unreachable!()
        };
        let begun = Entry::Begun {
            first: 3,
            records,
            facts,
        };
        for entry in [entry(), Entry::Acknowledged { before: 9 }, begun] {
            let whole = entry.encoded();
            assert_eq!(Entry::read(&whole).unwrap().encoded(), whole);
            for length in 0..whole.len() {
                assert!(Entry::read(&whole[..length]).is_none(), "{length}");
            }
            let mut random = Random::new(1);
            for _ in 0..1_000 {
                let torn = tear(&whole, &mut random);
                assert_eq!(Entry::read(&torn).is_some(), torn == whole);
            }
        }
    }
}
