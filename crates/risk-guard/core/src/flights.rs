//! Orders that were permitted, until it is known what became of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use portcullis_domain::{BreakerKey, Exposure, Order, OrderId, Span, StrategyId, Timestamp, Venue};

/// By then the venue must have confirmed an order.
pub const CONFIRMED_WITHIN: Span = Span::from_secs(10);
/// The most orders that are followed; no more are permitted then.
const FLIGHTS_MAX: usize = 20_000;

/// One order.
#[derive(Clone, Debug)]
pub struct Flight {
    pub strategy: StrategyId,
    pub venue: Venue,
    /// How often a breaker had changed when it was permitted.
    pub generation: u64,
    /// The breakers that it is the probe of.
    pub probes: Vec<BreakerKey>,
    /// Whether execution said anything of it.
    pub is_taken: bool,
    /// Whether it was said already that the venue confirmed it, or did not in time.
    pub is_confirmed: bool,
    /// How much of it filled.
    pub filled: Exposure,
    permitted_at: Timestamp,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Flights {
    orders: BTreeMap<OrderId, Flight>,
    /// Those that nobody confirmed yet, the oldest first.
    unconfirmed: BTreeSet<(Timestamp, OrderId)>,
}

impl Flights {
    /// Whether one more could not be followed.
    pub fn is_full(&self) -> bool {
        self.orders.len() >= FLIGHTS_MAX
    }

    /// An order is permitted.
    pub fn begin(
        &mut self,
        order: &Order,
        generation: u64,
        probes: Vec<BreakerKey>,
        now: Timestamp,
    ) {
        self.unconfirmed.insert((now, order.id));
        self.orders.insert(
            order.id,
            Flight {
                strategy: order.strategy,
                venue: order.venue,
                generation,
                probes,
                is_taken: false,
                is_confirmed: false,
                filled: Exposure::FLAT,
                permitted_at: now,
            },
        );
    }

    /// The order of that id.
    pub fn get_mut(&mut self, order: OrderId) -> Option<&mut Flight> {
        self.orders.get_mut(&order)
    }

    /// It is known whether the venue confirmed it in time. `false` if it was known before.
    pub fn confirm(&mut self, order: OrderId) -> bool {
        let Some(flight) = self.orders.get_mut(&order) else {
            return false;
        };
        self.unconfirmed.remove(&(flight.permitted_at, order));
        !core::mem::replace(&mut flight.is_confirmed, true)
    }

    /// Nothing more can come of it.
    pub fn end(&mut self, order: OrderId) {
        if let Some(flight) = self.orders.remove(&order) {
            self.unconfirmed.remove(&(flight.permitted_at, order));
        }
    }

    /// Orders that the venue should have confirmed by now; each is told once.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<Flight> {
        let late = |at: &Timestamp| now.since(*at) > CONFIRMED_WITHIN;
        let mut overdue = Vec::new();
        while let Some((at, id)) = self.unconfirmed.first().copied() {
            if !late(&at) {
                break;
            }
            self.unconfirmed.remove(&(at, id));
            if let Some(flight) = self.orders.get_mut(&id) {
                flight.is_confirmed = true;
                let flight = flight.clone();
                if !flight.is_taken {
                    // Its permit was lost, and has expired.
                    self.orders.remove(&id);
                }
                overdue.push(flight);
            }
        }
        overdue
    }
}
