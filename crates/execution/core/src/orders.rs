//! The orders, each in exactly one state, with indexes so that no question needs a scan.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use portcullis_domain::{
    Exposure, Hash, Order, OrderId, OrderStatus, Quantity, Symbol, Timestamp, Usd,
    VenueExecutionId, VenueOrderId,
};

use crate::confirm::{Confirmed, Watch};
use crate::hard_limits::order_notional_max;
use crate::input::{Ticket, VenueState};

/// How many ended orders are remembered, for late fills and duplicates.
const ENDED_MAX: usize = 50_000;

/// What an order that has not left yet is waiting for. Worth nothing after a restart.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    pub durable: bool,
    /// The digest that the receipt must name.
    pub fact: Option<Hash>,
    pub receipt: bool,
    pub ticket: Option<Ticket>,
}

/// Where an order stands.
#[derive(Clone, Debug)]
pub enum State {
    /// Taken; nothing has left.
    Accepted(Waiting),
    /// The request left and is not answered.
    Sent {
        /// The time stamp in it, in milliseconds since the epoch.
        timestamp_ms: u64,
    },
    /// Nobody here knows whether the venue has it.
    InDoubt(Doubt),
    /// The venue has it.
    Open,
    /// Nothing more can come of it.
    Ended(OrderStatus),
}

/// What was tried to learn what became of an order.
#[derive(Clone, Copy, Debug)]
pub struct Doubt {
    /// From when on the venue can no longer take the request.
    pub settled_at: Timestamp,
    pub asked: u32,
    pub ask_at: Timestamp,
    /// When the venue first said, after `settled_at`, that it does not know the order.
    pub not_found_at: Option<Timestamp>,
}

/// One order.
#[derive(Clone, Debug)]
pub struct Entry {
    pub order: Order,
    pub accepted_at: Timestamp,
    pub expires_at: Timestamp,
    /// When it was over; `None` where that was before a restart.
    pub ended_at: Option<Timestamp>,
    pub state: State,
    pub venue_order: Option<VenueOrderId>,
    pub filled: Exposure,
    pub executions: BTreeSet<VenueExecutionId>,
    /// By which ways the venue said that it has it. Worth nothing after a restart.
    pub confirmed: Confirmed,
    /// The wait for more of that; `None` when it is over, or nothing left yet.
    pub watch: Option<Watch>,
    /// The venue says it is over; the fills that make up this quantity may still be on their way.
    pub closing: Option<Closing>,
}

/// How an order ends once its fills are complete.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    pub state: VenueState,
    pub filled: Exposure,
    pub since: Timestamp,
}

impl Entry {
    pub const fn new(order: Order, expires_at: Timestamp, accepted_at: Timestamp) -> Self {
        Self {
            order,
            accepted_at,
            expires_at,
            ended_at: None,
            state: State::Accepted(Waiting {
                durable: false,
                fact: None,
                receipt: false,
                ticket: None,
            }),
            venue_order: None,
            filled: Exposure::FLAT,
            executions: BTreeSet::new(),
            confirmed: Confirmed {
                answer: false,
                stream: false,
                query: false,
                account: false,
            },
            watch: None,
            closing: None,
        }
    }

    pub const fn status(&self) -> OrderStatus {
        match &self.state {
            State::Accepted(_) => OrderStatus::Accepted,
            State::Sent { .. } => OrderStatus::Sent,
            State::InDoubt(_) => OrderStatus::Unknown,
            State::Open => OrderStatus::Open,
            State::Ended(status) => *status,
        }
    }

    pub const fn is_live(&self) -> bool {
        !matches!(self.state, State::Ended(_))
    }

    /// What may still fill; `None` when nothing may.
    pub fn remaining(&self) -> Option<Quantity> {
        match self.filled.size() {
            Some(filled) => self.order.quantity.minus(filled),
            None => Some(self.order.quantity),
        }
    }

    /// What it is worth at its limit price; what cannot be computed is worth the most.
    pub fn notional(&self) -> Usd {
        let notional = self.order.limit_price.notional(self.order.quantity);
        notional.unwrap_or(order_notional_max())
    }

    /// Whether this fill was booked before.
    pub fn has(&self, execution: &VenueExecutionId) -> bool {
        self.executions.contains(execution)
    }

    pub fn add(&mut self, execution: VenueExecutionId, filled: Exposure) {
        self.executions.insert(execution);
        self.filled = filled;
    }
}

/// All orders.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    entries: BTreeMap<OrderId, Entry>,
    /// Oldest first, for what is shown.
    live: BTreeSet<(Timestamp, OrderId)>,
    live_by_symbol: BTreeMap<Symbol, u64>,
    accepted: BTreeSet<(Timestamp, OrderId)>,
    doubtful: BTreeSet<OrderId>,
    doubtful_by_symbol: BTreeMap<Symbol, u64>,
    closing: BTreeSet<OrderId>,
    /// By when they want to be looked at.
    watched: BTreeSet<(Timestamp, OrderId)>,
    overdue_by_symbol: BTreeMap<Symbol, u64>,
    ended: VecDeque<OrderId>,
}

fn count(totals: &mut BTreeMap<Symbol, u64>, symbol: Symbol, up: bool) {
    let total = totals.entry(symbol).or_default();
    *total = if up {
        total.saturating_add(1)
    } else {
        total.saturating_sub(1)
    };
}

impl Orders {
    pub fn get(&self, id: &OrderId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub fn insert(&mut self, entry: Entry) {
        self.index(&entry, true);
        self.entries.insert(entry.order.id, entry);
    }

    /// Changes an order and keeps the indexes true; `None` when there is no such order.
    pub fn update<T>(&mut self, id: &OrderId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entry = self.entries.remove(id)?;
        self.index(&entry, false);
        let was_live = entry.is_live();
        let result = change(&mut entry);
        self.index(&entry, true);
        if was_live && !entry.is_live() {
            self.ended.push_back(*id);
        }
        self.entries.insert(*id, entry);
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
            && let Some(entry) = self.entries.remove(&oldest)
        {
            self.index(&entry, false);
        }
        Some(result)
    }

    fn index(&mut self, entry: &Entry, add: bool) {
        let id = entry.order.id;
        let symbol = entry.order.symbol;
        if entry.is_live() {
            let key = (entry.accepted_at, id);
            if add {
                self.live.insert(key)
            } else {
                self.live.remove(&key)
            };
            count(&mut self.live_by_symbol, symbol, add);
        }
        if let Some(watch) = entry.watch {
            let key = (watch.due, id);
            if add {
                self.watched.insert(key)
            } else {
                self.watched.remove(&key)
            };
            if watch.is_overdue() {
                count(&mut self.overdue_by_symbol, symbol, add);
            }
        }
        if entry.is_live() && entry.closing.is_some() {
            if add {
                self.closing.insert(id)
            } else {
                self.closing.remove(&id)
            };
        }
        match entry.state {
            State::Accepted(_) => {
                let key = (entry.expires_at, id);
                if add {
                    self.accepted.insert(key)
                } else {
                    self.accepted.remove(&key)
                };
            }
            State::InDoubt(_) => {
                if add {
                    self.doubtful.insert(id)
                } else {
                    self.doubtful.remove(&id)
                };
                count(&mut self.doubtful_by_symbol, symbol, add);
            }
            State::Sent { .. } | State::Open | State::Ended(_) => {}
        }
    }

    /// Orders that are not over, oldest first.
    pub fn live(&self) -> impl Iterator<Item = &Entry> {
        self.live.iter().filter_map(|(_, id)| self.entries.get(id))
    }

    pub fn live_count(&self) -> u64 {
        u64::try_from(self.live.len()).unwrap_or(u64::MAX)
    }

    /// Instruments with orders that are not over.
    pub fn live_symbols(&self) -> impl Iterator<Item = Symbol> {
        self.live_by_symbol
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(symbol, _)| *symbol)
    }

    /// Orders that wait to leave, the first to expire first.
    pub fn accepted(&self) -> impl Iterator<Item = &Entry> {
        self.accepted
            .iter()
            .filter_map(|(_, id)| self.entries.get(id))
    }

    pub fn doubtful(&self) -> impl Iterator<Item = &Entry> {
        self.doubtful.iter().filter_map(|id| self.entries.get(id))
    }

    pub fn doubtful_count(&self) -> u64 {
        u64::try_from(self.doubtful.len()).unwrap_or(u64::MAX)
    }

    pub fn doubtful_in(&self, symbol: Symbol) -> u64 {
        self.doubtful_by_symbol.get(&symbol).copied().unwrap_or(0)
    }

    /// Orders that wait for confirmations.
    pub fn watched_count(&self) -> u64 {
        u64::try_from(self.watched.len()).unwrap_or(u64::MAX)
    }

    /// Orders of an instrument that were not confirmed in time.
    pub fn overdue_in(&self, symbol: Symbol) -> u64 {
        self.overdue_by_symbol.get(&symbol).copied().unwrap_or(0)
    }

    /// Orders that were not confirmed in time.
    pub fn overdue(&self) -> impl Iterator<Item = &Entry> {
        let any = self.overdue_by_symbol.values().any(|count| *count > 0);
        let watched = self.watched().take_while(move |_| any);
        watched.filter(|entry| entry.watch.is_some_and(|watch| watch.is_overdue()))
    }

    /// Orders that wait for confirmations, the first to be looked at first.
    pub fn watched(&self) -> impl Iterator<Item = &Entry> {
        self.watched
            .iter()
            .filter_map(|(_, id)| self.entries.get(id))
    }

    /// The first order that wants to be looked at by now.
    pub fn watched_until(&self, now: Timestamp) -> Option<(OrderId, Watch)> {
        let (due, id) = self.watched.first()?;
        let watch = self.entries.get(id)?.watch?;
        (*due <= now).then_some((*id, watch))
    }

    /// Orders that are over, in the order in which they ended; as many as are remembered.
    pub fn ended(&self) -> impl Iterator<Item = &Entry> {
        self.ended.iter().filter_map(|id| self.entries.get(id))
    }

    pub fn closing(&self) -> impl Iterator<Item = &Entry> {
        self.closing.iter().filter_map(|id| self.entries.get(id))
    }
}
