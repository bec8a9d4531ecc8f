//! What was seen before on one channel of one source.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use portcullis_domain::EnvelopeId;

/// How far behind the newest sequence number a message may still come.
const WIDTH: u64 = 1_024;

/// How a message relates to what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Never seen.
    Fresh,
    /// The same id, place and bytes as one seen before.
    Duplicate,
    /// Of a start of the source before the newest one seen.
    EarlierStart,
    /// An old place, or a known id or place with other bytes.
    Replay,
}

#[derive(Clone, Copy)]
struct Seen {
    seq: u64,
    id: EnvelopeId,
    tag: [u8; 32],
}

/// The last 1,024 places of a channel.
pub struct Window {
    boot: u64,
    newest: u64,
    slots: Vec<Option<Seen>>,
    ids: BTreeMap<EnvelopeId, u64>,
}

impl Window {
    /// A window that takes whatever comes first as its beginning.
    pub fn new(boot: u64) -> Self {
        let width = usize::try_from(WIDTH).unwrap_or(usize::MAX);
        Self {
            boot,
            newest: 0,
            slots: vec![None; width],
            ids: BTreeMap::new(),
        }
    }

    /// Records a message and says how it relates to the earlier ones. `tag` is the verified tag:
    /// equal tags under one key mean equal bytes.
    pub fn record(&mut self, boot: u64, seq: u64, id: EnvelopeId, tag: [u8; 32]) -> Novelty {
        if boot < self.boot {
            return Novelty::EarlierStart;
        }
        if seq == 0 {
            return Novelty::Replay;
        }
        if boot > self.boot {
            // The source started again; its earlier messages are refused from here on, but an id
            // stays taken.
            let ids = core::mem::take(&mut self.ids);
            *self = Self::new(boot);
            self.ids = ids;
        }
        let slot = usize::try_from(seq % WIDTH).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(slot) else {
            return Novelty::Replay;
        };
        if let Some(seen) = slot.filter(|seen| seen.seq == seq) {
            let same = seen.id == id && seen.tag == tag;
            return if same {
                Novelty::Duplicate
            } else {
                Novelty::Replay
            };
        }
        let too_old = seq.saturating_add(WIDTH) <= self.newest;
        if too_old || self.ids.contains_key(&id) {
            return Novelty::Replay;
        }
        if let Some(evicted) = slot.replace(Seen { seq, id, tag }) {
            self.ids.remove(&evicted.id);
        }
        self.ids.insert(id, seq);
        while self.ids.len() > self.slots.len().saturating_mul(2) {
            // Ids of earlier boots are only kept while there is room.
            self.ids.pop_first();
        }
        self.newest = self.newest.max(seq);
        Novelty::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EnvelopeId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        EnvelopeId(bytes)
    }

    #[test]
    fn tells_fresh_duplicate_and_replay_apart() {
        let mut window = Window::new(5);
        let cases = [
            (5, 1, id(1), [1; 32], Novelty::Fresh),
            (5, 1, id(1), [1; 32], Novelty::Duplicate),
            (5, 1, id(1), [2; 32], Novelty::Replay),
            (5, 2, id(1), [1; 32], Novelty::Replay),
            (5, 2_000, id(3), [3; 32], Novelty::Fresh),
            (5, 976, id(4), [4; 32], Novelty::Replay),
            (5, 977, id(4), [4; 32], Novelty::Fresh),
            (4, 3_000, id(5), [5; 32], Novelty::EarlierStart),
            (5, 0, id(6), [6; 32], Novelty::Replay),
            (6, 1, id(7), [7; 32], Novelty::Fresh),
            (5, 2_001, id(8), [8; 32], Novelty::EarlierStart),
            (6, 2, id(3), [3; 32], Novelty::Replay),
        ];
        for (index, (boot, seq, id, tag, expected)) in cases.into_iter().enumerate() {
            assert_eq!(window.record(boot, seq, id, tag), expected, "case {index}");
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let mut window = Window::new(1);
        for n in 1..10_000 {
            assert_eq!(
                window.record(n / 100 + 1, n, id(n), [0; 32]),
                Novelty::Fresh
            );
        }
        assert!(window.ids.len() <= 2_048);
    }
}
