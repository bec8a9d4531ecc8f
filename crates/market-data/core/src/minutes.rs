//! The closes of an instrument's last minutes: when they are asked for, what of an answer counts, and
//! when they are published.
//!
//! The whole small list is asked for each minute. Closes that were put together here from trades
//! would be as good as the stream was, and nobody could tell.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use portcullis_domain::{Span, Symbol, Timestamp};
use portcullis_venue::bybit::reply::Bars;
use portcullis_wire::risk::Closes;

use crate::asking::Asking;

/// One minute.
const MINUTE: Span = Span::from_secs(60);
/// How many bars are asked for: the closes that are wanted, the minute that is not over, and one more
/// that may not be settled yet.
pub const BARS_ASKED: usize = Closes::MINUTES + 2;
/// A minute is over for us when the venue's clock is so far past it: its answer may have been put
/// together a moment before its time stamp.
const SETTLED: Span = Span::from_secs(1);
/// How long after the end of a minute its close is asked for.
const ASK_AFTER: Span = Span::from_secs(3);
/// How long after the end of a minute the list without it still counts, so that a failed request or
/// two do not show. A minute in thirty-one moves a volatility little.
const GRACE: Span = Span::from_secs(15);
/// How far the venue's clock may be ahead of ours.
const AHEAD_MAX: Span = Span::from_secs(5);
/// The shortest time between two publications, for readers that came late.
const INTERVAL: Span = Span::from_secs(1);

/// The closes of one instrument.
#[derive(Clone, Debug, Default)]
pub struct Minutes {
    closes: Option<Closes>,
    asking: Asking,
    published_at: Option<Timestamp>,
}

/// Why a list of bars is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is about something else.
    Symbol(Symbol),
    /// A bar begins within a minute.
    Unaligned(Timestamp),
    /// A bar does not follow on the one before it, counting backwards from the newest.
    Gap {
        /// The minute that was due.
        due: u64,
        /// The minute that came.
        came: u64,
    },
    /// No minute of it is over.
    Empty,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(symbol) => write!(f, "the answer is about {symbol}"),
            Self::Unaligned(at) => write!(f, "a bar begins within a minute, at {}", at.as_millis()),
            Self::Gap { due, came } => write!(f, "minute {came} came where {due} was due"),
            Self::Empty => f.write_str("no minute is over"),
        }
    }
}

impl Minutes {
    /// When they are asked for.
    pub const fn asking(&mut self) -> &mut Asking {
        &mut self.asking
    }

    /// Takes the venue's answer. A list that ends too early counts as a failed request: it is asked
    /// for again soon.
    pub fn take(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        answered_at: Timestamp,
        bars: &Bars,
    ) -> Result<(), Unusable> {
        let closes = closes_of(symbol, answered_at, bars)?;
        if closes.minute.saturating_add(1) >= minute_of(now) {
            self.asking.answered();
            self.asking.ask_at(next_minute(now).plus(ASK_AFTER));
        } else {
            self.asking.failed(now);
        }
        // A list that ends earlier than the one that is good now came from a server that lags behind.
        let is_new = self
            .current(now)
            .is_none_or(|known| known.minute < closes.minute);
        if is_new {
            self.published_at = None;
            self.closes = Some(closes);
        }
        Ok(())
    }

    /// The closes to publish, where it is time for it and they are not too old.
    pub fn publish(&mut self, now: Timestamp) -> Option<Closes> {
        let is_due = self.published_at.is_none_or(|at| now.since(at) >= INTERVAL);
        let closes = self.current(now).filter(|_| is_due)?.clone();
        self.published_at = Some(now);
        Some(closes)
    }

    /// The closes, while they are not too old.
    pub fn current(&self, now: Timestamp) -> Option<&Closes> {
        self.closes
            .as_ref()
            .filter(|closes| is_current(closes.minute, now))
    }

    /// What is wrong, for people; `None` while the closes are not too old.
    pub fn problem(&self, now: Timestamp) -> Option<String> {
        if self.current(now).is_some() {
            return None;
        }
        Some(self.closes.as_ref().map_or_else(
            || "none came yet".to_string(),
            |closes| {
                format!(
                    "they end with minute {} where {} is the last",
                    closes.minute,
                    minute_of(now).saturating_sub(1)
                )
            },
        ))
    }
}

/// The minutes that are over, oldest first. The venue lists the newest first.
fn closes_of(symbol: Symbol, answered_at: Timestamp, bars: &Bars) -> Result<Closes, Unusable> {
    if bars.symbol != symbol {
        return Err(Unusable::Symbol(bars.symbol));
    }
    let unfinished = minute_of(answered_at.minus(SETTLED));
    let mut due: Option<u64> = None;
    let mut newest = None;
    let mut closes = Vec::new();
    for bar in bars.list.iter() {
        let minute = minute_of(bar.begins_at);
        if begin_of(minute) != bar.begins_at {
            return Err(Unusable::Unaligned(bar.begins_at));
        }
        if let Some(due) = due.filter(|due| *due != minute) {
            return Err(Unusable::Gap { due, came: minute });
        }
        due = Some(minute.saturating_sub(1));
        if minute < unfinished && closes.len() < Closes::MINUTES {
            newest = newest.or(Some(minute));
            closes.push(bar.close);
        }
    }
    closes.reverse();
    newest.map_or(Err(Unusable::Empty), |minute| {
        Ok(Closes {
            symbol,
            minute,
            closes,
        })
    })
}

/// Whether a list that ends with this minute ends with the last one that is over.
fn is_current(minute: u64, now: Timestamp) -> bool {
    let oldest = minute_of(now.minus(GRACE));
    let latest = minute_of(now.plus(AHEAD_MAX));
    (oldest..=latest).contains(&minute.saturating_add(1))
}

const fn minute_of(at: Timestamp) -> u64 {
    at.0 / MINUTE.0
}

const fn begin_of(minute: u64) -> Timestamp {
    Timestamp(minute.saturating_mul(MINUTE.0))
}

const fn next_minute(now: Timestamp) -> Timestamp {
    begin_of(minute_of(now).saturating_add(1))
}
