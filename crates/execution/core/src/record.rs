//! What the journal holds. Replaying all records in order gives the state that wrote them.

use alloc::vec::Vec;

use portcullis_domain::{
    Fill, Hash, Order, OrderId, OrderStatus, StrategyId, Timestamp, Usd, VenueOrderId,
};
use serde::{Deserialize, Serialize};

use crate::input::Movement;
use crate::snapshot::Kept;

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A permit was taken: from here on the order may be at the venue as far as a restart knows.
    Accepted {
        /// The order.
        order: Order,
        /// When its permission ends.
        expires_at: Timestamp,
        /// When it was taken.
        at: Timestamp,
    },
    /// The request is leaving.
    Sent {
        /// Which order.
        order: OrderId,
        /// The time stamp in the request, in milliseconds since the epoch.
        timestamp_ms: u64,
    },
    /// Nobody here knows whether the venue has it.
    InDoubt {
        /// Which order.
        order: OrderId,
        /// Since when.
        at: Timestamp,
    },
    /// The venue has it.
    Opened {
        /// Which order.
        order: OrderId,
        /// The venue's id of it.
        venue_order: VenueOrderId,
    },
    /// A fill, booked once.
    Filled(Fill),
    /// Nothing more can come of it.
    Ended {
        /// Which order.
        order: OrderId,
        /// How it ended.
        status: OrderStatus,
    },
    /// A UTC day began, with this equity to measure its loss against.
    DayBegan {
        /// Days since the epoch.
        day: u64,
        /// The equity that the day's loss is measured from.
        baseline: Usd,
        /// SHA-256 over this and every earlier beginning of a day: none is written twice, or left out.
        chain: Hash,
    },
    /// A limit of the day's loss was in force: until the day is over no looser one is.
    LimitSeen(Usd),
    /// The equity at a moment, for the loss of the last 24 hours.
    Sampled {
        /// When.
        at: Timestamp,
        /// As in [`Record::Equity`].
        equity: Usd,
    },
    /// The venue moved money without a fill.
    Moved(Movement),
    /// Both accounts were compared for the first time: the venue's cash before anything of this journal.
    CashBegan(Usd),
    /// Both accounts agreed; what the venue moved before need not be asked for again.
    Agreed {
        /// When the venue was asked.
        at: Timestamp,
    },
    /// The equity a moment ago, kept so that a day that begins while the process is down has a
    /// baseline.
    Equity {
        /// Cash flow of all fills and fees, plus the positions at their marks.
        equity: Usd,
        /// The same of each strategy of which it changed, at most [`Record::STRATEGIES_MAX`] of them.
        strategies: Vec<(StrategyId, Usd)>,
    },
    /// A part of the state, in a journal that was begun anew.
    Kept(Kept),
}

impl Record {
    /// The most strategies in one [`Record::Equity`]: with them it stays below 1,024 bytes, as any
    /// other record; what is more takes another one.
    pub const STRATEGIES_MAX: usize = 8;
}
