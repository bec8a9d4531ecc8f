//! The book of one instrument: the market-data quantities, what of them our accounts have
//! consumed, and the queue of our accounts' resting orders.

use std::collections::BTreeMap;
use std::iter::Peekable;

use rust_decimal::Decimal;

use super::order::Side;

/// One price and the quantity there.
pub(crate) type Level = (Decimal, Decimal);

/// A change of the market-data book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BookUpdate {
    /// The book starts over with these levels.
    pub snapshot: bool,
    /// Absolute quantities; 0 removes the level.
    pub bids: Vec<Level>,
    /// Absolute quantities; 0 removes the level.
    pub asks: Vec<Level>,
}

/// Most levels a side that a feed may fill.
const LEVELS_MAX: usize = 10_000;

/// Quantities and the queue of one side.
#[derive(Debug, Default)]
struct Half {
    /// What the market data offers and nobody here has consumed since its last update.
    market: BTreeMap<Decimal, Decimal>,
    /// Our orders: price, then priority, then the order's place among all orders.
    resting: BTreeMap<Decimal, Queue>,
}

/// Resting orders of one price, first come first served.
#[derive(Debug, Default)]
struct Queue {
    total: Decimal,
    orders: BTreeMap<u64, u64>,
}

/// Somebody on the other side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counterparty {
    /// The market-data book, at this price with at most this quantity.
    Market { price: Decimal, qty: Decimal },
    /// A resting order of ours, by its place among all orders.
    Resting { price: Decimal, order: u64 },
}

impl Counterparty {
    pub(crate) fn price(self) -> Decimal {
        match self {
            Self::Market { price, .. } | Self::Resting { price, .. } => price,
        }
    }
}

/// The book of one instrument.
#[derive(Debug, Default)]
pub(crate) struct Book {
    bids: Half,
    asks: Half,
}

impl Book {
    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Takes a change of the market data; a level named in it is whole again.
    pub(crate) fn update(&mut self, update: &BookUpdate) {
        for (half, levels) in [
            (&mut self.bids, &update.bids),
            (&mut self.asks, &update.asks),
        ] {
            if update.snapshot {
                half.market.clear();
            }
            for (price, qty) in levels {
                if qty.is_zero() {
                    half.market.remove(price);
                } else if half.market.len() < LEVELS_MAX || half.market.contains_key(price) {
                    half.market.insert(*price, *qty);
                }
            }
        }
    }

    /// Puts an order of ours at the end of its price's queue (or back to its own place).
    pub(crate) fn rest(
        &mut self,
        side: Side,
        price: Decimal,
        priority: u64,
        order: u64,
        leaves: Decimal,
    ) {
        let queue = self.half_mut(side).resting.entry(price).or_default();
        if queue.orders.insert(priority, order).is_none() {
            queue.total += leaves;
        }
    }

    /// Takes an order of ours out of the queue.
    pub(crate) fn withdraw(&mut self, side: Side, price: Decimal, priority: u64, leaves: Decimal) {
        let resting = &mut self.half_mut(side).resting;
        let Some(queue) = resting.get_mut(&price) else {
            return;
        };
        if queue.orders.remove(&priority).is_some() {
            queue.total -= leaves;
        }
        if queue.orders.is_empty() {
            resting.remove(&price);
        }
    }

    /// Notes that a resting order was executed for `qty` and still rests.
    pub(crate) fn shrink(&mut self, side: Side, price: Decimal, qty: Decimal) {
        if let Some(queue) = self.half_mut(side).resting.get_mut(&price) {
            queue.total -= qty;
        }
    }

    /// Notes that `qty` of the market data at a price is gone until its next update.
    pub(crate) fn consume(&mut self, side: Side, price: Decimal, qty: Decimal) {
        let market = &mut self.half_mut(side).market;
        if let Some(left) = market.get_mut(&price) {
            *left -= qty;
            if *left <= Decimal::ZERO {
                market.remove(&price);
            }
        }
    }

    /// The best price that market data alone offers on a side.
    pub(crate) fn best_market(&self, side: Side) -> Option<Level> {
        let market = &self.half(side).market;
        let best = match side {
            Side::Buy => market.last_key_value(),
            Side::Sell => market.first_key_value(),
        };
        best.map(|(price, qty)| (*price, *qty))
    }

    /// The first of our resting orders on a side: price, then place among all orders.
    pub(crate) fn best_resting(&self, side: Side) -> Option<(Decimal, u64)> {
        let resting = &self.half(side).resting;
        let best = match side {
            Side::Buy => resting.last_key_value(),
            Side::Sell => resting.first_key_value(),
        };
        best.and_then(|(price, queue)| {
            queue
                .orders
                .first_key_value()
                .map(|(_, order)| (*price, *order))
        })
    }

    /// Who would trade first with somebody taking from `side`. At one price the market data came
    /// first: its time of arrival is unknown, and the later place is the honest assumption.
    pub(crate) fn best(&self, side: Side) -> Option<Counterparty> {
        let market = self
            .best_market(side)
            .map(|(price, qty)| Counterparty::Market { price, qty });
        let resting = self
            .best_resting(side)
            .map(|(price, order)| Counterparty::Resting { price, order });
        match (market, resting) {
            (Some(market), Some(resting)) => {
                let resting_is_better = match side {
                    Side::Buy => resting.price() > market.price(),
                    Side::Sell => resting.price() < market.price(),
                };
                Some(if resting_is_better { resting } else { market })
            }
            (market, resting) => market.or(resting),
        }
    }

    /// Everything on `side` that somebody taking up to `limit` could have.
    pub(crate) fn available(&self, side: Side, limit: Decimal) -> Decimal {
        let half = self.half(side);
        match side {
            Side::Buy => {
                half.market
                    .range(limit..)
                    .map(|(_, qty)| *qty)
                    .sum::<Decimal>()
                    + half
                        .resting
                        .range(limit..)
                        .map(|(_, queue)| queue.total)
                        .sum::<Decimal>()
            }
            Side::Sell => {
                half.market
                    .range(..=limit)
                    .map(|(_, qty)| *qty)
                    .sum::<Decimal>()
                    + half
                        .resting
                        .range(..=limit)
                        .map(|(_, queue)| queue.total)
                        .sum::<Decimal>()
            }
        }
    }

    /// The best `depth` levels of a side, best first, market data and resting orders together.
    pub(crate) fn top(&self, side: Side, depth: usize) -> Vec<Level> {
        let half = self.half(side);
        let market = half.market.iter().map(|(price, qty)| (*price, *qty));
        let resting = half
            .resting
            .iter()
            .map(|(price, queue)| (*price, queue.total));
        match side {
            Side::Buy => merge(market.rev(), resting.rev(), |a, b| a > b, depth),
            Side::Sell => merge(market, resting, |a, b| a < b, depth),
        }
    }

    /// The best price of a side, whoever offers it.
    pub(crate) fn touch(&self, side: Side) -> Option<Level> {
        self.top(side, 1).first().copied()
    }

    /// Halfway between the best prices of the market data; `None` while a side is empty.
    pub(crate) fn mid(&self) -> Option<Decimal> {
        let (bid, _) = self.best_market(Side::Buy)?;
        let (ask, _) = self.best_market(Side::Sell)?;
        Some((bid + ask) / Decimal::TWO)
    }
}

fn merge(
    first: impl Iterator<Item = Level>,
    second: impl Iterator<Item = Level>,
    better: impl Fn(Decimal, Decimal) -> bool,
    depth: usize,
) -> Vec<Level> {
    let mut first: Peekable<_> = first.peekable();
    let mut second: Peekable<_> = second.peekable();
    let mut levels = Vec::with_capacity(depth.min(64));
    while levels.len() < depth {
        let next = match (first.peek().copied(), second.peek().copied()) {
            (Some(one), Some(other)) if one.0 == other.0 => {
                first.next();
                second.next();
                (one.0, one.1 + other.1)
            }
            (Some(one), Some(other)) if better(one.0, other.0) => {
                first.next();
                one
            }
            (Some(_) | None, Some(other)) => {
                second.next();
                other
            }
            (Some(one), None) => {
                first.next();
                one
            }
            (None, None) => break,
        };
        levels.push(next);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, qty: i64) -> Level {
        (Decimal::from(price), Decimal::from(qty))
    }

    fn book() -> Book {
        let mut book = Book::default();
        book.update(&BookUpdate {
            snapshot: true,
            bids: vec![level(99, 5), level(98, 7)],
            asks: vec![level(101, 4), level(102, 6)],
        });
        book
    }

    #[test]
    fn consumed_quantity_stays_gone_until_its_level_is_updated() {
        let mut book = book();
        book.consume(Side::Sell, Decimal::from(101), Decimal::from(4));
        assert_eq!(book.best_market(Side::Sell), Some(level(102, 6)));
        book.update(&BookUpdate {
            snapshot: false,
            bids: vec![],
            asks: vec![level(102, 3)],
        });
        assert_eq!(
            book.best_market(Side::Sell),
            Some(level(102, 3)),
            "101 was not named"
        );
        book.update(&BookUpdate {
            snapshot: false,
            bids: vec![],
            asks: vec![level(101, 9)],
        });
        assert_eq!(book.best_market(Side::Sell), Some(level(101, 9)));
    }

    #[test]
    fn shows_resting_orders_together_with_the_market() {
        let mut book = book();
        book.rest(Side::Buy, Decimal::from(99), 1, 1, Decimal::from(2));
        book.rest(Side::Buy, Decimal::from(100), 2, 2, Decimal::from(1));
        assert_eq!(
            book.top(Side::Buy, 3),
            vec![level(100, 1), level(99, 7), level(98, 7)]
        );
        book.withdraw(Side::Buy, Decimal::from(100), 2, Decimal::from(1));
        assert_eq!(book.top(Side::Buy, 1), vec![level(99, 7)]);
    }

    #[test]
    fn at_one_price_the_market_goes_first_and_then_the_earlier_order() {
        let mut book = book();
        book.rest(Side::Sell, Decimal::from(101), 8, 80, Decimal::from(2));
        book.rest(Side::Sell, Decimal::from(101), 7, 70, Decimal::from(2));
        assert_eq!(
            book.best(Side::Sell),
            Some(Counterparty::Market {
                price: Decimal::from(101),
                qty: Decimal::from(4)
            })
        );
        book.consume(Side::Sell, Decimal::from(101), Decimal::from(4));
        assert_eq!(
            book.best(Side::Sell),
            Some(Counterparty::Resting {
                price: Decimal::from(101),
                order: 70
            })
        );
    }

    #[test]
    fn counts_what_lies_within_a_limit() {
        let mut book = book();
        book.rest(Side::Sell, Decimal::from(102), 1, 1, Decimal::from(10));
        assert_eq!(
            book.available(Side::Sell, Decimal::from(101)),
            Decimal::from(4)
        );
        assert_eq!(
            book.available(Side::Sell, Decimal::from(102)),
            Decimal::from(20)
        );
        assert_eq!(
            book.available(Side::Buy, Decimal::from(99)),
            Decimal::from(5)
        );
    }
}
