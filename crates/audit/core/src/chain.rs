//! The chain: each entry's hash covers the entry before it.
//!
//! ```text
//!  entry_hash = SHA-256("portcullis/audit-entry/v1\0" ‖ u64be(len entry) ‖ entry)
//!  mac        = HMAC-SHA256(chain key, "portcullis/mac/v1\0" ‖ entry_hash)
//!  record     = u32be(len payload) ‖ u32be(crc32c payload) ‖ payload
//!  payload    = entry ‖ entry_hash ‖ mac
//! ```
//!
//! The entry itself begins with its number and the hash of the entry before it. The checksum only
//! tells a torn write from damage, so the file layer fills it in.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_domain::Hash;
use sha2::{Digest as _, Sha256};

use crate::entry::{Draft, ENTRY_LENGTH_MAX, ENTRY_LENGTH_MIN, Entry};

const ENTRY_DOMAIN: &[u8] = b"portcullis/audit-entry/v1\0";
/// Short enough that domain and hash are one block of SHA-256.
const MAC_DOMAIN: &[u8] = b"portcullis/mac/v1\0";

/// Length and checksum before the payload, in bytes.
pub const RECORD_HEAD_LENGTH: usize = 8;
/// Entry hash and MAC at the end of the payload, in bytes.
pub const HASHES_LENGTH: usize = 64;
/// The longest record, in bytes.
pub const RECORD_LENGTH_MAX: usize = RECORD_HEAD_LENGTH + ENTRY_LENGTH_MAX + HASHES_LENGTH;
/// The shortest record, in bytes.
pub const RECORD_LENGTH_MIN: usize = RECORD_HEAD_LENGTH + ENTRY_LENGTH_MIN + HASHES_LENGTH;

/// SHA-256 of a fact's whole frame, as a receipt states it.
#[must_use]
pub fn fact_digest(frame: &[u8]) -> Hash {
    Hash(Sha256::digest(frame).into())
}

pub(crate) fn entry_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(ENTRY_DOMAIN);
    hasher.update(u64::try_from(entry.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// Audit's own key of the chain: without it nobody continues the log.
#[derive(Clone)]
pub struct ChainKey(Hmac<Sha256>);

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(…)")
    }
}

impl ChainKey {
    /// From the bytes of a key file.
    ///
    /// # Errors
    /// [`ChainError::Key`], which HMAC has for no length of key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ChainError> {
        Hmac::new_from_slice(bytes)
            .map(Self)
            .map_err(|_| ChainError::Key)
    }

    fn mac(&self, hash: &Hash) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(MAC_DOMAIN);
        mac.update(&hash.0);
        mac
    }
}

/// Why an entry could not be appended. The chain is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A part is longer than the format allows.
    #[error("entry is larger than the format allows")]
    TooLarge,
    /// The log has 2^64 entries.
    #[error("log has no number left for another entry")]
    Full,
    /// The key is none.
    #[error("not a key")]
    Key,
}

/// What became of an appended entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number, from 0.
    pub index: u64,
    /// The hash of the entry before it.
    pub previous: Hash,
    /// Its own hash.
    pub hash: Hash,
}

/// The growing end of the log.
#[derive(Clone, Debug)]
pub struct Chain {
    key: ChainKey,
    size: u64,
    head: Hash,
}

impl Chain {
    /// The end of an empty log.
    #[must_use]
    pub const fn new(key: ChainKey) -> Self {
        Self {
            key,
            size: 0,
            head: Hash([0; 32]),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the last entry; zeroes without one.
    #[must_use]
    pub const fn head(&self) -> Hash {
        self.head
    }

    /// Appends a whole record to `out`, with a checksum of zero for the file layer to fill in. The
    /// entry is hashed once.
    ///
    /// # Errors
    /// [`ChainError`]; `out` and the chain are as they were.
    pub fn append(&mut self, draft: &Draft<'_>, out: &mut Vec<u8>) -> Result<Appended, ChainError> {
        let size = self.size.checked_add(1).ok_or(ChainError::Full)?;
        let start = out.len();
        out.reserve(
            RECORD_LENGTH_MIN
                .saturating_add(draft.content.len())
                .saturating_add(128),
        );
        out.extend_from_slice(&[0; RECORD_HEAD_LENGTH]);
        let begin = out.len();
        let written = draft.write(self.size, &self.head, out);
        let (Some(()), Some(entry)) = (written, out.get(begin..)) else {
            out.truncate(start);
            return Err(ChainError::TooLarge);
        };
        let length = entry.len().saturating_add(HASHES_LENGTH);
        let length = u32::try_from(length)
            .map_err(|_| ChainError::TooLarge)?
            .to_be_bytes();
        let hash = entry_hash(entry);
        if let Some(place) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<4>) {
            *place = length;
        }
        out.extend_from_slice(&hash.0);
        out.extend_from_slice(&self.key.mac(&hash).finalize().into_bytes());
        let appended = Appended {
            index: self.size,
            previous: self.head,
            hash,
        };
        self.size = size;
        self.head = hash;
        Ok(appended)
    }
}

/// Why a record does not continue the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not an entry with its hashes.
    #[error("it is not in the format of an entry")]
    Format,
    /// Another entry is due here: one is missing, doubled or out of its place.
    #[error("it has number {found}, where number {expected} is due")]
    Index {
        /// Which is due.
        expected: u64,
        /// Which it says it is.
        found: u64,
    },
    /// It was made to follow another entry.
    #[error("it does not follow the entry before it")]
    Previous,
    /// Its hash is not that of its bytes.
    #[error("its hash is not that of its bytes")]
    Hash,
    /// Its MAC was not made with the chain key.
    #[error("its MAC does not fit the chain key")]
    Mac,
}

/// Follows an existing log, entry by entry.
#[derive(Clone, Debug)]
pub struct Follower {
    key: Option<ChainKey>,
    size: u64,
    head: Hash,
}

impl Follower {
    /// From the beginning of a log; without the key no MAC is checked, only the chain.
    #[must_use]
    pub const fn new(key: Option<ChainKey>) -> Self {
        Self {
            key,
            size: 0,
            head: Hash([0; 32]),
        }
    }

    /// How many entries held so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the last one; zeroes without one.
    #[must_use]
    pub const fn head(&self) -> Hash {
        self.head
    }

    /// Takes the payload of the next record.
    ///
    /// # Errors
    /// [`Broken`] when it does not continue what came before.
    pub fn follow<'a>(&mut self, payload: &'a [u8]) -> Result<(Entry<'a>, Hash), Broken> {
        let (rest, mac) = payload.split_last_chunk::<32>().ok_or(Broken::Format)?;
        let (bytes, stated) = rest.split_last_chunk::<32>().ok_or(Broken::Format)?;
        let entry = Entry::read(bytes).ok_or(Broken::Format)?;
        if entry.index != self.size {
            return Err(Broken::Index {
                expected: self.size,
                found: entry.index,
            });
        }
        if entry.previous != self.head {
            return Err(Broken::Previous);
        }
        let hash = entry_hash(bytes);
        if hash.0 != *stated {
            return Err(Broken::Hash);
        }
        if let Some(key) = &self.key {
            key.mac(&hash).verify_slice(mac).map_err(|_| Broken::Mac)?;
        }
        self.size = self.size.checked_add(1).ok_or(Broken::Format)?;
        self.head = hash;
        Ok((entry, hash))
    }

    /// The end of the followed log, to be continued with `key`.
    #[must_use]
    pub fn into_chain(self, key: ChainKey) -> Chain {
        Chain {
            key,
            size: self.size,
            head: self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use portcullis_domain::{EnvelopeId, PrincipalName, Timestamp};

    fn records(count: u64) -> Vec<Vec<u8>> {
        let mut chain = Chain::new(ChainKey::from_bytes(&[1; 32]).unwrap());
        let source = PrincipalName::new("brain").unwrap();
        (1..=count)
            .map(|number| {
                let draft = Draft {
                    received_at: Timestamp(number),
                    kind: Kind::Fact,
                    subject: "evt.brain.notice",
                    source: &source,
                    boot: 1,
                    seq: number,
                    id: EnvelopeId([0; 16]),
                    content: &number.to_be_bytes(),
                };
                let mut out = Vec::new();
                chain.append(&draft, &mut out).unwrap();
                out
            })
            .collect()
    }

    fn follow(records: &[Vec<u8>], key: [u8; 32]) -> Result<(u64, Hash), (u64, Broken)> {
        let mut follower = Follower::new(Some(ChainKey::from_bytes(&key).unwrap()));
        for record in records {
            let size = follower.size();
            follower
                .follow(&record[8..])
                .map_err(|broken| (size, broken))?;
        }
        Ok((follower.size(), follower.head()))
    }

    #[test]
    fn what_is_appended_can_be_followed() {
        let (size, head) = follow(&records(3), [1; 32]).unwrap();
        assert_eq!(size, 3);
        assert_ne!(head, Hash([0; 32]));
        for record in records(3) {
            let length = u32::from_be_bytes(record[..4].try_into().unwrap());
            assert_eq!(
                usize::try_from(length).unwrap() + RECORD_HEAD_LENGTH,
                record.len()
            );
        }
    }

    #[test]
    fn another_key_is_noticed() {
        assert_eq!(follow(&records(1), [2; 32]), Err((0, Broken::Mac)));
    }

    #[test]
    fn missing_doubled_and_exchanged_records_are_found_where_they_are() {
        let all = records(4);
        let cases: [(&[usize], u64, u64); 4] = [
            (&[1, 2], 0, 1),
            (&[0, 2, 3], 1, 2),
            (&[0, 1, 1], 2, 1),
            (&[0, 2, 1], 1, 2),
        ];
        for (order, expected, found) in cases {
            let chosen: Vec<_> = order.iter().map(|at| all[*at].clone()).collect();
            let broken = Broken::Index { expected, found };
            assert_eq!(
                follow(&chosen, [1; 32]),
                Err((expected, broken)),
                "{order:?}"
            );
        }
    }

    #[test]
    fn an_entry_of_another_log_is_noticed() {
        let mut all = records(2);
        let mut other = Chain::new(ChainKey::from_bytes(&[1; 32]).unwrap());
        let source = PrincipalName::new("signer").unwrap();
        let draft = Draft {
            received_at: Timestamp(0),
            kind: Kind::Fact,
            subject: "evt.signer.notice",
            source: &source,
            boot: 1,
            seq: 1,
            id: EnvelopeId([0; 16]),
            content: b"",
        };
        let mut spliced = Vec::new();
        other.append(&draft, &mut spliced).unwrap();
        spliced.clear();
        other.append(&draft, &mut spliced).unwrap();
        all[1] = spliced;
        assert_eq!(follow(&all, [1; 32]), Err((1, Broken::Previous)));
    }

    #[test]
    fn a_key_never_prints_itself() {
        let key = ChainKey::from_bytes(&[9; 32]).unwrap();
        assert_eq!(alloc::format!("{key:?}"), "ChainKey(…)");
    }
}
