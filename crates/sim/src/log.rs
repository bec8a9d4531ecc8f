//! Disks: what was appended, and how much of it survives a crash.

use audit_core::{Entry, RECORD_HEAD_LENGTH};
use portcullis_domain::Hash;

use crate::random::Random;

/// A file that is only appended to.
#[derive(Debug)]
pub struct Disk<T> {
    pub entries: Vec<T>,
    /// So many of them survive whatever happens.
    pub synced: usize,
    /// When the sync that was asked for last is done; they finish in order.
    pub sync_at: u64,
}

impl<T> Default for Disk<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            synced: 0,
            sync_at: 0,
        }
    }
}

impl<T> Disk<T> {
    /// The process is gone: of what was not synced, some may have reached the disk. How many
    /// entries are lost.
    pub fn crash(&mut self, random: &mut Random) -> usize {
        let unsynced = self.entries.len() - self.synced;
        let kept = random.between(0, unsynced as u64) as usize;
        self.entries.truncate(self.synced + kept);
        // What a restart reads it also syncs before it goes on.
        self.synced = self.entries.len();
        unsynced - kept
    }
}

/// Takes whole records apart into the payloads of entries.
pub fn payloads(mut records: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, _)) = records.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let end = RECORD_HEAD_LENGTH + length;
        let Some((record, rest)) = records.split_at_checked(end) else {
            break;
        };
        out.push(
            record
                .get(RECORD_HEAD_LENGTH..)
                .unwrap_or_default()
                .to_vec(),
        );
        records = rest;
    }
    out
}

/// An entry of a payload, with its hash.
pub fn entry(payload: &[u8]) -> Option<(Entry<'_>, Hash)> {
    let (rest, _mac) = payload.split_last_chunk::<32>()?;
    let (bytes, hash) = rest.split_last_chunk::<32>()?;
    Some((Entry::read(bytes)?, Hash(*hash)))
}
