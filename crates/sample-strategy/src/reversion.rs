//! What to propose, from books, answers and the time: the same answer for the same input, always.

use std::collections::BTreeMap;

use portcullis_domain::{
    Book, Exposure, Fill, OrderId, OrderStatus, Price, Quantity, Side, Span, Timestamp,
};
use portcullis_wire::messages::ExecutionReport;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::config::Settings;

/// An order that nobody ever answered is counted as open for so long; a proposal lives 2 s.
const UNANSWERED: Span = Span::from_secs(5);
/// After a refusal that side rests for so long, instead of being refused again and again.
const REST: Span = Span::from_secs(3);
/// Decimal places of the average, beyond those of any price.
const AVERAGE_PLACES: u32 = 16;

/// One proposal to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Which way.
    pub side: Side,
    /// How much.
    pub quantity: Quantity,
    /// The worst price: the best of the other side right now.
    pub limit_price: Price,
}

/// An order that is under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    side: Side,
    /// What may fill of it in all.
    quantity: Quantity,
    /// What the fills so far add up to.
    filled: Option<Quantity>,
    /// When it is given up, unless somebody answers before.
    until: Option<Timestamp>,
}

impl UnderWay {
    /// What may still fill.
    fn left(&self) -> Option<Quantity> {
        match self.filled {
            None => Some(self.quantity),
            Some(filled) => self.quantity.minus(filled),
        }
    }
}

/// Mean reversion in one instrument.
#[derive(Debug)]
pub struct Reversion {
    settings: Settings,
    average: Option<Decimal>,
    books: u32,
    position: Exposure,
    under_way: BTreeMap<OrderId, UnderWay>,
    rests_until: BTreeMap<Side, Timestamp>,
}

impl Reversion {
    /// With no position and no opinion yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            average: None,
            books: 0,
            position: Exposure::FLAT,
            under_way: BTreeMap::new(),
            rests_until: BTreeMap::new(),
        }
    }

    /// Takes a book in, and says what to propose, if anything.
    pub fn book(&mut self, now: Timestamp, book: &Book) -> Option<Intent> {
        let mid = book.mid()?;
        self.under_way
            .retain(|_, order| order.until.is_none_or(|until| now < until));
        let before = self.average;
        self.observe(mid)?;
        // An average over too few books is only the last price.
        if self.books < self.settings.average_books {
            return None;
        }
        self.decide(now, book, mid, before?)
    }

    /// A proposal was made; the order will have this id.
    pub fn proposed(&mut self, now: Timestamp, order: OrderId, intent: Intent) {
        let Intent { side, quantity, .. } = intent;
        let until = Some(now.plus(UNANSWERED));
        self.under_way.insert(
            order,
            UnderWay {
                side,
                quantity,
                filled: None,
                until,
            },
        );
    }

    /// The brain or risk-guard let an order pass: its end will be reported.
    pub fn passed(&mut self, order: OrderId) {
        if let Some(order) = self.under_way.get_mut(&order) {
            order.until = None;
        }
    }

    /// An order was refused; nothing comes of it.
    pub fn refused(&mut self, now: Timestamp, order: OrderId) {
        if let Some(UnderWay { side, .. }) = self.under_way.remove(&order) {
            self.rests_until.insert(side, now.plus(REST));
        }
    }

    /// Execution said where an order stands.
    pub fn report(&mut self, now: Timestamp, report: &ExecutionReport) {
        match report.status {
            OrderStatus::Accepted
            | OrderStatus::Sent
            | OrderStatus::Unknown
            | OrderStatus::Open => {
                self.passed(report.order);
            }
            OrderStatus::Rejected | OrderStatus::Refused => self.refused(now, report.order),
            OrderStatus::Filled | OrderStatus::Cancelled => self.ended(now, report),
        }
    }

    /// An order of ours filled. An amount that cannot be computed leaves the position as it is;
    /// the limits of the services hold all the same.
    pub fn fill(&mut self, fill: &Fill) {
        if let Ok(position) = fill.side.applied(self.position, fill.quantity) {
            self.position = position;
        }
        let Some(order) = self.under_way.get_mut(&fill.order) else {
            return;
        };
        order.filled = match order.filled {
            None => Some(fill.quantity),
            Some(filled) => filled.plus(fill.quantity).ok(),
        };
        if order.left().is_none() {
            self.under_way.remove(&fill.order);
        }
    }

    /// The position, from the fills since the start.
    pub fn position(&self) -> Exposure {
        self.position
    }

    /// An order is over. Its last fills may be told of later: until then they count as open.
    fn ended(&mut self, now: Timestamp, report: &ExecutionReport) {
        let Some(order) = self.under_way.get_mut(&report.order) else {
            return;
        };
        let left = match report.filled {
            None => None,
            Some(filled) => {
                order.quantity = filled;
                order.until = Some(now.plus(UNANSWERED));
                order.left()
            }
        };
        if left.is_none() {
            self.under_way.remove(&report.order);
        }
    }

    /// The exponential moving average: it goes 2 / (n + 1) of the way to each new price.
    fn observe(&mut self, mid: Price) -> Option<()> {
        let mid = mid.get();
        self.books = self.books.saturating_add(1);
        let average = match self.average {
            None => mid,
            Some(average) => {
                let way = mid.checked_sub(average)?.checked_mul(Decimal::TWO)?;
                let share = Decimal::from(self.settings.average_books).checked_add(Decimal::ONE)?;
                average.checked_add(way.checked_div(share)?)?
            }
        };
        let places = RoundingStrategy::MidpointNearestEven;
        self.average = Some(average.round_dp_with_strategy(AVERAGE_PLACES, places));
        Some(())
    }

    fn decide(&self, now: Timestamp, book: &Book, mid: Price, average: Decimal) -> Option<Intent> {
        if self.under_way.len() >= self.settings.in_flight_max {
            return None;
        }
        let held = self
            .position
            .get()
            .checked_div(self.settings.position_max.get())?;
        // The more is held, the lower the price that counts as fair, and the sooner it is sold.
        let shift = ratio(self.settings.skew.get()).checked_mul(held)?;
        let fair = average.checked_mul(Decimal::ONE.checked_sub(shift)?)?;
        let away = fair.checked_mul(ratio(self.settings.threshold.get()))?;
        let side = if mid.get() >= fair.checked_add(away)? {
            Side::Sell
        } else if mid.get() <= fair.checked_sub(away)? {
            Side::Buy
        } else {
            return None;
        };
        if self
            .rests_until
            .get(&side)
            .is_some_and(|until| now < *until)
            || !self.has_room(side)
        {
            return None;
        }
        let limit_price = book.best_for(side)?;
        Some(Intent {
            side,
            quantity: self.settings.quantity,
            limit_price,
        })
    }

    /// Whether one more order of that side keeps within the largest position, with everything that
    /// is under way on that side filled.
    fn has_room(&self, side: Side) -> bool {
        let same = self.under_way.values().filter(|order| order.side == side);
        let open = same.filter_map(UnderWay::left);
        let worst = open
            .chain([self.settings.quantity])
            .try_fold(self.position, |position, quantity| {
                side.applied(position, quantity)
            });
        let Ok(worst) = worst else { return false };
        let against = match side {
            Side::Buy => worst.is_long(),
            Side::Sell => worst.is_short(),
        };
        !against
            || worst
                .size()
                .is_none_or(|size| size <= self.settings.position_max)
    }
}

/// Basis points as a ratio.
fn ratio(bps: u32) -> Decimal {
    Decimal::new(i64::from(bps), 4)
}

#[cfg(test)]
mod tests;
