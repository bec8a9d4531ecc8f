//! The trades of an instrument, in order: those from before the connection first, then what the
//! stream brings.
//!
//! After a connection was made, the stream's trades wait a moment for the list of the latest ones, so
//! that a reader never sees time go backwards.

use alloc::collections::VecDeque;

use portcullis_domain::{Span, Symbol, Timestamp};
use portcullis_venue::bybit::reply::PublicTrade;

use crate::asking::Asking;

/// How many of the latest trades are asked for.
pub const TRADES_ASKED: usize = 60;
/// How long the stream's trades wait for the latest ones at most.
const WAIT_MAX: Span = Span::from_secs(2);
/// How many trades may wait.
const WAITING_MAX: usize = 500;

/// The trades of one instrument that were not published yet.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    waiting: VecDeque<PublicTrade>,
    asking: Asking,
    /// Since when the latest trades are waited for.
    since: Option<Timestamp>,
    /// When the newest of the published trades was made, by the venue's clock.
    newest: Option<Timestamp>,
}

impl Tape {
    /// When the latest trades are asked for.
    pub const fn asking(&mut self) -> &mut Asking {
        &mut self.asking
    }

    /// A connection was made: the latest trades are asked for, and waited for.
    pub const fn connected(&mut self, now: Timestamp) {
        self.asking.ask_at(now);
        self.since = Some(now);
    }

    /// Takes a trade of the stream; `false` when too many wait.
    pub fn push(&mut self, trade: PublicTrade) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push_back(trade);
        }
        has_room
    }

    /// Takes the latest trades: those that are about this instrument, newer than everything that was
    /// published, and not among what the stream brought in the meantime.
    pub fn take(&mut self, symbol: Symbol, latest: impl IntoIterator<Item = PublicTrade>) {
        self.asking.answered();
        self.since = None;
        for trade in latest.into_iter().take(TRADES_ASKED) {
            let is_new = self.newest.is_none_or(|newest| trade.venue_time > newest)
                && self.waiting.iter().all(|known| known.id != trade.id);
            if trade.symbol == symbol && is_new {
                self.waiting.push_front(trade);
            }
        }
        // A stable sort: trades of one millisecond stay as the venue listed them.
        self.waiting
            .make_contiguous()
            .sort_by_key(|trade| trade.venue_time);
    }

    /// There is no answer: the stream's trades do not wait for it. Whether it is the first failure in
    /// a row.
    pub fn failed(&mut self, now: Timestamp) -> bool {
        self.since = None;
        self.asking.failed(now)
    }

    /// The next trade to publish, if any may be.
    pub fn next(&mut self, now: Timestamp) -> Option<PublicTrade> {
        if self.since.is_some_and(|since| now.since(since) < WAIT_MAX) {
            return None;
        }
        self.since = None;
        let trade = self.waiting.pop_front()?;
        self.newest = self.newest.max(Some(trade.venue_time));
        Some(trade)
    }

    /// Drops what waits; how many trades that were.
    pub fn clear(&mut self) -> u64 {
        self.since = None;
        let dropped = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.waiting.clear();
        dropped
    }

    /// Whether nothing waits, neither trades nor for them.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.since.is_none()
    }
}
