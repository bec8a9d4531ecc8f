//! One source: its starts, how far each is recorded, and what is held back.

use alloc::collections::BTreeMap;

use portcullis_domain::{Hash, Timestamp};

use crate::input::Fact;
use crate::position::Position;

/// So many of the newest facts of a start are remembered with their hashes, so that the same place
/// with other bytes is noticed.
const RECENT_MAX: usize = 1_024;
/// So many ranges of a start may be missing and still be filled late.
pub const MISSING_MAX: usize = 1_024;
/// So many starts of a source are remembered.
pub const LINES_MAX: usize = 16;

/// Where a recorded fact stands in the log; enough to compute its hash again from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub index: u64,
    pub received_at: Timestamp,
    pub previous: Hash,
    pub hash: Hash,
}

/// A recorded fact and the paths it has come on.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    pub recorded: Recorded,
    pub live: bool,
    pub stream: bool,
}

/// A fact that came before its turn.
#[derive(Clone, Debug)]
pub struct Held {
    pub fact: Fact,
    pub received_at: Timestamp,
}

/// One start of one source.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub position: Position,
    pub held: BTreeMap<u64, Held>,
    pub recent: BTreeMap<u64, Recent>,
    /// When the due place last moved.
    pub advanced_at: Timestamp,
}

impl Line {
    pub fn remember(&mut self, seq: u64, recent: Recent) {
        self.recent.insert(seq, recent);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }

    /// The first fact that is held back, and since when a hole before it stands still.
    pub fn hole(&self) -> Option<(u64, Timestamp)> {
        let (seq, held) = self.held.first_key_value()?;
        Some((*seq, held.received_at.max(self.advanced_at)))
    }
}

/// One source.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub lines: BTreeMap<u64, Line>,
    /// The newest start that is not remembered any more.
    pub forgotten: Option<u64>,
    /// How many facts are held back, over all starts.
    pub held: usize,
    /// And their bytes.
    pub held_bytes: usize,
}

impl Source {
    /// Why a fact of this start is not taken at all; `None` when it is.
    pub fn refuses(&self, boot: u64, by_stream: bool) -> Option<&'static str> {
        if self.lines.contains_key(&boot) {
            return None;
        }
        let newest = self.lines.last_key_value().map(|(newest, _)| *newest);
        let oldest = self.lines.first_key_value().map(|(oldest, _)| *oldest);
        let is_full = self.lines.len() >= LINES_MAX;
        if self.forgotten.is_some_and(|forgotten| boot <= forgotten)
            || (is_full && oldest.is_some_and(|oldest| boot < oldest))
        {
            return Some("FORGOTTEN_BOOT");
        }
        // A source publishes nothing of an earlier start, but the stream may still bring it.
        let is_backwards = newest.is_some_and(|newest| boot < newest);
        (is_backwards && !by_stream).then_some("BOOT_BACKWARDS")
    }

    pub fn hold(&mut self, boot: u64, held: Held) {
        let seq = held.fact.header.seq;
        self.held = self.held.saturating_add(1);
        self.held_bytes = self.held_bytes.saturating_add(held.fact.frame.len());
        if let Some(line) = self.lines.get_mut(&boot) {
            line.held.insert(seq, held);
        }
    }

    /// The held fact whose turn it is.
    pub fn release(&mut self, boot: u64) -> Option<Held> {
        let line = self.lines.get_mut(&boot)?;
        let held = line.held.remove(&line.position.next())?;
        self.held = self.held.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(held.fact.frame.len());
        Some(held)
    }
}
