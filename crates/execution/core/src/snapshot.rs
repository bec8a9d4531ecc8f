//! The whole state as records, so that a journal need not keep every change there ever was.
//!
//! Replaying these records into an execution without history gives the state that wrote them, as far
//! as records ever give one: what is worth nothing after a restart is not among them.

use alloc::vec::Vec;

use portcullis_domain::{
    Exposure, Hash, Order, OrderStatus, Price, StrategyId, Symbol, Timestamp, Usd,
    VenueExecutionId, VenueOrderId,
};
use portcullis_wire::Text;
use serde::{Deserialize, Serialize};

use crate::engine::{Execution, Fault};
use crate::orders::{Doubt, Entry, State};
use crate::record::Record;

/// A part of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kept {
    /// The account as a whole.
    Ledger {
        /// Cash flow of all fills, fees and funding.
        cash: Usd,
        /// How many fills there were.
        fills: u64,
        /// The last equity on record.
        equity: Usd,
        /// See [`Record::CashBegan`], with the transfers since.
        cash_base: Option<Usd>,
        /// When both accounts last agreed.
        agreed_at: Option<Timestamp>,
    },
    /// The day in force.
    Day {
        /// Days since the epoch.
        number: u64,
        /// The equity that its loss is measured from.
        baseline: Usd,
        /// The highest equity since it began.
        peak: Usd,
        /// The tightest limit that was in force.
        limit: Option<Usd>,
        /// See [`Record::DayBegan`].
        chain: Hash,
    },
    /// A position.
    Holding {
        /// Of what.
        symbol: Symbol,
        /// How much.
        position: Exposure,
        /// What it cost, signed like it.
        cost: Usd,
        /// The last price.
        last: Option<Price>,
    },
    /// What a strategy has.
    Strategy {
        /// Which.
        strategy: StrategyId,
        /// Cash flow of its fills and fees.
        cash: Usd,
        /// Its last equity on record.
        recorded: Usd,
        /// The equity that its day's loss is measured from.
        baseline: Usd,
    },
    /// A position of a strategy.
    Share {
        /// Whose.
        strategy: StrategyId,
        /// Of what.
        symbol: Symbol,
        /// How much.
        position: Exposure,
    },
    /// An order, of which the fills follow.
    Order {
        /// The order.
        order: Order,
        /// When it was taken.
        accepted_at: Timestamp,
        /// When its permission ends.
        expires_at: Timestamp,
        /// The venue's id of it.
        venue_order: Option<VenueOrderId>,
        /// How much of it filled.
        filled: Exposure,
        /// Where it stands.
        state: KeptState,
    },
    /// Fills of the order before, which were booked.
    Executions(Vec<VenueExecutionId>),
    /// A movement that was booked.
    Movement {
        /// When, by the venue's clock.
        at: Timestamp,
        /// The venue's id of it.
        id: Text,
    },
}

impl Kept {
    /// The most fills of an order in one record, so that it stays below 1,024 bytes as any other.
    pub const EXECUTIONS_MAX: usize = 16;
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeptState {
    /// Taken; nothing has left.
    Accepted,
    /// The request left.
    Sent {
        /// The time stamp in it, in milliseconds since the epoch.
        timestamp_ms: u64,
    },
    /// In doubt.
    InDoubt {
        /// From when on the venue can no longer take the request.
        settled_at: Timestamp,
    },
    /// The venue has it.
    Open,
    /// Nothing more can come of it.
    Ended(OrderStatus),
}

impl Execution {
    /// The whole state, as the records of a journal that begins with it.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut kept = Vec::new();
        self.ledger.keep(&mut kept, self.agreed_at);
        let movements = self.movements.iter();
        kept.extend(movements.map(|(at, id)| Kept::Movement {
            at: *at,
            id: id.clone(),
        }));
        // In the order in which they ended, as the oldest are forgotten first.
        for entry in self.orders.ended().chain(self.orders.live()) {
            keep_order(&mut kept, entry);
        }
        let samples = self.ledger.day.samples();
        let samples = samples.map(|(at, equity)| Record::Sampled { at, equity });
        kept.into_iter().map(Record::Kept).chain(samples).collect()
    }

    pub(crate) fn restore(&mut self, kept: &Kept) -> Result<(), Fault> {
        match kept {
            Kept::Ledger { agreed_at, .. } => {
                self.agreed_at = *agreed_at;
                self.ledger.restore(kept);
            }
            Kept::Day { .. }
            | Kept::Holding { .. }
            | Kept::Strategy { .. }
            | Kept::Share { .. } => {
                self.ledger.restore(kept);
            }
            Kept::Movement { at, id } => {
                self.movements.insert((*at, id.clone()));
            }
            Kept::Order {
                order,
                accepted_at,
                expires_at,
                venue_order,
                filled,
                state,
            } => {
                let mut entry = Entry::new(order.clone(), *expires_at, *accepted_at);
                entry.venue_order = *venue_order;
                entry.filled = *filled;
                self.restore_order(entry, *state)?;
            }
            Kept::Executions(executions) => {
                let id = self.restored.ok_or(Fault::Snapshot)?;
                self.change(&id, |entry| entry.executions.extend(executions))?;
            }
        }
        Ok(())
    }

    fn restore_order(&mut self, entry: Entry, state: KeptState) -> Result<(), Fault> {
        let id = entry.order.id;
        self.restored = Some(id);
        let ended = matches!(state, KeptState::Ended(_));
        if !ended {
            self.ledger
                .open(&entry.order)
                .map_err(|_| Fault::Overflow)?;
            self.release(&entry.order, entry.filled.size())?;
        }
        self.orders.insert(entry);
        self.change(&id, |entry| entry.state = state.into())
    }
}

impl From<KeptState> for State {
    fn from(kept: KeptState) -> Self {
        match kept {
            KeptState::Accepted => Self::Accepted(crate::orders::Waiting::default()),
            KeptState::Sent { timestamp_ms } => Self::Sent { timestamp_ms },
            // Whoever is in doubt after a restart asks at once, and anew.
            KeptState::InDoubt { settled_at } => Self::InDoubt(Doubt {
                settled_at,
                asked: 0,
                ask_at: Timestamp(0),
                not_found_at: None,
            }),
            KeptState::Open => Self::Open,
            KeptState::Ended(status) => Self::Ended(status),
        }
    }
}

fn keep_order(kept: &mut Vec<Kept>, entry: &Entry) {
    let state = match &entry.state {
        State::Accepted(_) => KeptState::Accepted,
        State::Sent { timestamp_ms } => KeptState::Sent {
            timestamp_ms: *timestamp_ms,
        },
        State::InDoubt(doubt) => KeptState::InDoubt {
            settled_at: doubt.settled_at,
        },
        State::Open => KeptState::Open,
        State::Ended(status) => KeptState::Ended(*status),
    };
    kept.push(Kept::Order {
        order: entry.order.clone(),
        accepted_at: entry.accepted_at,
        expires_at: entry.expires_at,
        venue_order: entry.venue_order,
        filled: entry.filled,
        state,
    });
    let executions: Vec<VenueExecutionId> = entry.executions.iter().copied().collect();
    let parts = executions.chunks(Kept::EXECUTIONS_MAX);
    kept.extend(parts.map(|part| Kept::Executions(part.to_vec())));
}
