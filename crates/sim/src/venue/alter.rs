//! Somebody else changes an order of execution's at the venue.

use execution_core::VenueOrder;
use portcullis_domain::{OrderId, Price, Quantity, Symbol, VenueOrderId};

use super::{Resting, Venue, VenueState, listing};
use crate::random::Random;

/// The largest change of a price, in ticks.
const TICKS_MAX: u64 = 300;

impl Venue {
    /// Changes the quantity or the price of an order that rests.
    pub fn alter(&mut self, random: &mut Random) -> Option<(OrderId, Symbol)> {
        let resting = self.orders.values();
        let untouched = resting.filter(|order| order.is_open() && !order.is_altered());
        let untouched: Vec<VenueOrderId> = untouched.map(|order| order.venue_order).collect();
        let id = (!untouched.is_empty()).then(|| random.pick(&untouched))?;
        let order = self.orders.get_mut(&id)?;
        if random.chance(500) {
            let by = random.between(1, TICKS_MAX) as i64;
            order.price += if random.chance(500) { by } else { -by };
        } else {
            let most = (2 * order.ordered.0).unsigned_abs();
            let least = (order.filled + 1).unsigned_abs();
            order.steps = random.between(least, most) as i64;
        }
        let (altered, order, symbol) = (order.is_altered(), order.id, order.symbol);
        self.push_order(id);
        altered.then_some((order, symbol))
    }

    /// Somebody cancels that order.
    pub fn cancel(&mut self, order: &OrderId) {
        if let Some(id) = self.by_link.get(order).copied() {
            self.end(id, VenueState::Cancelled);
        }
    }

    /// Whether the venue tells here of an order that is not what it was when it came.
    pub fn tells_of_alteration(&self, told: &VenueOrder) -> bool {
        let ordered = self.ordered(told);
        ordered.is_some_and(|(quantity, price)| {
            told.quantity != quantity || told.limit_price != Some(price)
        })
    }

    /// Quantity and price of an order as it came.
    pub fn ordered(&self, told: &VenueOrder) -> Option<(Quantity, Price)> {
        let order = self.orders.get(&told.venue_order)?;
        let (steps, price) = order.ordered;
        let listing = listing(order.symbol);
        Some((listing.quantity(steps), listing.price(price)))
    }
}

impl Resting {
    pub(super) const fn is_altered(&self) -> bool {
        let (steps, price) = self.ordered;
        self.steps != steps || self.price != price
    }

    /// How much of it may fill. Of an order that somebody made larger not all that was ordered does:
    /// what would fill beyond that nobody ordered, and execution stops for good.
    pub(super) const fn fillable(&self) -> i64 {
        let most = if self.steps > self.ordered.0 {
            self.ordered.0 - 1
        } else {
            self.steps
        };
        most - self.filled
    }
}
