//! The levels of one book, kept in step with the venue's by its update numbers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use portcullis_domain::{Book, BookError, Level, Price, Quantity, Symbol, Timestamp};
use portcullis_venue::bybit::reply::{DepthUpdate, LevelUpdate};

/// The most levels of a side: the deepest stream that the venue has for linear perpetuals.
pub const LEVELS_MAX: usize = 500;
/// How many levels of a side are published.
pub const LEVELS_PUBLISHED: usize = 25;

/// A whole book.
#[derive(Clone, Debug)]
pub struct Ladder {
    bids: BTreeMap<Price, Quantity>,
    asks: BTreeMap<Price, Quantity>,
    update: u64,
    venue_time: Timestamp,
}

/// Why a book cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An update did not follow on the one before it.
    Gap {
        /// The number that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
    /// The best bid is not below the best ask.
    Crossed,
    /// A side has more levels than the venue streams.
    TooDeep,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { due, came } => write!(f, "update {came} came where {due} was due"),
            Self::Crossed => f.write_str("the book is crossed"),
            Self::TooDeep => write!(f, "the book has more than {LEVELS_MAX} levels a side"),
        }
    }
}

impl Ladder {
    /// A book from a snapshot, whatever was known before.
    pub fn from_snapshot(snapshot: &DepthUpdate) -> Result<Self, Flaw> {
        let mut ladder = Self {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            update: snapshot.update,
            venue_time: snapshot.pushed_at,
        };
        ladder.take(snapshot)?;
        Ok(ladder)
    }

    /// Applies a delta. After an error the book is worth nothing.
    pub fn apply(&mut self, delta: &DepthUpdate) -> Result<(), Flaw> {
        if self.update.checked_add(1) != Some(delta.update) {
            let due = self.update.saturating_add(1);
            return Err(Flaw::Gap {
                due,
                came: delta.update,
            });
        }
        self.update = delta.update;
        self.venue_time = delta.pushed_at;
        self.take(delta)
    }

    fn take(&mut self, update: &DepthUpdate) -> Result<(), Flaw> {
        merge(&mut self.bids, &update.bids);
        merge(&mut self.asks, &update.asks);
        if self.bids.len() > LEVELS_MAX || self.asks.len() > LEVELS_MAX {
            return Err(Flaw::TooDeep);
        }
        let best = self.bids.last_key_value().zip(self.asks.first_key_value());
        match best {
            Some(((bid, _), (ask, _))) if bid >= ask => Err(Flaw::Crossed),
            Some(_) | None => Ok(()),
        }
    }

    /// The best levels as they are published. The time is when the stream confirmed the book, which
    /// on a quiet market is later than its last change.
    pub fn top(&self, symbol: Symbol) -> Result<Book, BookError> {
        let level = |(price, quantity): (&Price, &Quantity)| Level {
            price: *price,
            quantity: *quantity,
        };
        let bids: Vec<_> = self
            .bids
            .iter()
            .rev()
            .take(LEVELS_PUBLISHED)
            .map(level)
            .collect();
        let asks: Vec<_> = self.asks.iter().take(LEVELS_PUBLISHED).map(level).collect();
        Book::new(symbol, bids, asks, self.update, self.venue_time)
    }
}

fn merge(side: &mut BTreeMap<Price, Quantity>, updates: &[LevelUpdate]) {
    for LevelUpdate(price, quantity) in updates {
        match quantity {
            Some(quantity) => side.insert(*price, *quantity),
            None => side.remove(price),
        };
    }
}
