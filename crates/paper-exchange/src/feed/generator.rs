//! A seeded market: a random walk with a spread, the same for the same seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;

use super::Step;
use crate::engine::book::{BookUpdate, Level};
use crate::engine::order::Side;
use crate::instrument::Instrument;

/// Levels of each side.
const LEVELS: i64 = 100;

/// Levels next to the spread that every step names, so that what was consumed there comes back.
const FRESH_LEVELS: usize = 5;

/// Steps for which a level further away keeps its quantity.
const KEPT_STEPS: u64 = 10;

/// A random walk of one instrument.
#[derive(Debug)]
pub(crate) struct Generator {
    instrument: Instrument,
    interval: Duration,
    seed: u64,
    random: u64,
    step: u64,
    /// Middle of the book and where it began, in ticks.
    mid: i64,
    start: i64,
    /// Ticks between two levels, and the largest move of one step.
    gap: i64,
    bids: BTreeMap<i64, Decimal>,
    asks: BTreeMap<i64, Decimal>,
}

impl Generator {
    pub(crate) fn new(instrument: Instrument, seed: u64, interval: Duration) -> Self {
        let ticks = instrument.start_price.checked_div(instrument.tick_size);
        let start = ticks
            .and_then(|ticks| i64::try_from(ticks.trunc()).ok())
            .unwrap_or(10_000);
        let start = start.max(1_000);
        Self {
            interval,
            seed,
            random: seed,
            step: 0,
            mid: start,
            start,
            gap: start.div_euclid(50_000).max(1),
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            instrument,
        }
    }

    /// The next number of SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.random)
    }

    /// A number from 0 to `bound - 1`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next_random().checked_rem(bound).unwrap_or(0)
    }

    /// One step of the walk, pulled back once it is further than a tenth from its start.
    fn walk(&mut self) {
        let reach = self.gap.saturating_mul(2);
        let width = u64::try_from(reach.saturating_mul(2).saturating_add(1)).unwrap_or(1);
        let mut shift = i64::try_from(self.below(width))
            .unwrap_or(0)
            .saturating_sub(reach);
        let away = self.mid.saturating_sub(self.start);
        if away.saturating_mul(10).saturating_abs() > self.start {
            shift = -(shift.saturating_abs().saturating_mul(away.signum()));
        }
        self.mid = self
            .mid
            .saturating_add(shift)
            .max(LEVELS.saturating_mul(self.gap));
    }

    fn price(&self, ticks: i64) -> Decimal {
        Decimal::from(ticks) * self.instrument.tick_size
    }

    /// Between 2,000 and 50,000 USDT of base coin.
    fn quantity(&self, side: Side, ticks: i64) -> Decimal {
        let era = self.step.checked_div(KEPT_STEPS).unwrap_or(0);
        let key = self.seed ^ scramble(u64::try_from(ticks).unwrap_or(0)) ^ (era << 32);
        let key = scramble(match side {
            Side::Buy => key,
            Side::Sell => !key,
        });
        let value = Decimal::from(2_000 + key % 48_000);
        let qty = value.checked_div(self.price(ticks)).unwrap_or(Decimal::ONE);
        self.instrument.qty_floor(qty).max(self.instrument.min_qty)
    }

    fn side(&self, side: Side, touch: i64) -> BTreeMap<i64, Decimal> {
        (0..LEVELS)
            .map(|index| {
                let away = index.saturating_mul(self.gap);
                match side {
                    Side::Buy => touch.saturating_sub(away),
                    Side::Sell => touch.saturating_add(away),
                }
            })
            .filter(|ticks| *ticks > 0)
            .map(|ticks| (ticks, self.quantity(side, ticks)))
            .collect()
    }

    fn changes(
        &self,
        old: &BTreeMap<i64, Decimal>,
        new: &BTreeMap<i64, Decimal>,
        side: Side,
    ) -> Vec<Level> {
        let fresh: Vec<i64> = match side {
            Side::Buy => new.keys().rev().take(FRESH_LEVELS).copied().collect(),
            Side::Sell => new.keys().take(FRESH_LEVELS).copied().collect(),
        };
        let gone = old
            .keys()
            .filter(|ticks| !new.contains_key(ticks))
            .map(|ticks| (self.price(*ticks), Decimal::ZERO));
        let here = new
            .iter()
            .filter(|(ticks, qty)| old.get(ticks) != Some(qty) || fresh.contains(ticks))
            .map(|(ticks, qty)| (self.price(*ticks), *qty));
        gone.chain(here).collect()
    }

    /// Half of the steps trade a little at the best price.
    fn trades(&mut self, bid: i64, ask: i64) -> Vec<(Side, Decimal, Decimal)> {
        if self.below(2) == 0 {
            return Vec::new();
        }
        let (side, ticks) = if self.below(2) == 0 {
            (Side::Buy, ask)
        } else {
            (Side::Sell, bid)
        };
        let qty = self.quantity(side, ticks) / Decimal::TEN;
        let qty = self.instrument.qty_floor(qty).max(self.instrument.min_qty);
        vec![(side, self.price(ticks), qty)]
    }
}

impl Iterator for Generator {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let first = self.step == 0;
        if !first {
            self.walk();
        }
        // Levels lie on a fixed grid, so that they stay where they are while the middle moves.
        let bid = self.mid.div_euclid(self.gap).saturating_mul(self.gap);
        let wide = i64::try_from(self.below(3)).unwrap_or(0).saturating_add(1);
        let ask = bid.saturating_add(self.gap.saturating_mul(wide));
        let (bids, asks) = (self.side(Side::Buy, bid), self.side(Side::Sell, ask));
        let update = BookUpdate {
            snapshot: first,
            bids: self.changes(&self.bids, &bids, Side::Buy),
            asks: self.changes(&self.asks, &asks, Side::Sell),
        };
        (self.bids, self.asks) = (bids, asks);
        self.step = self.step.saturating_add(1);
        let wait = if first { Duration::ZERO } else { self.interval };
        Some(Step {
            wait,
            update,
            trades: self.trades(bid, ask),
        })
    }
}

/// SplitMix64's finaliser.
pub(super) fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::book::Book;

    fn steps(symbol: &str, seed: u64, count: usize) -> Vec<Step> {
        let instrument = Instrument::built_in(symbol);
        Generator::new(instrument, seed, Duration::from_millis(100))
            .take(count)
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_market_and_another_seed_another() {
        assert_eq!(steps("BTCUSDT", 7, 50), steps("BTCUSDT", 7, 50));
        assert_ne!(steps("BTCUSDT", 7, 50), steps("BTCUSDT", 8, 50));
    }

    #[test]
    fn the_book_is_never_crossed_and_stays_on_tick_and_step() {
        for symbol in ["BTCUSDT", "XRPUSDT", "ANYUSDT"] {
            let instrument = Instrument::built_in(symbol);
            let mut book = Book::default();
            for step in steps(symbol, 3, 2_000) {
                book.update(&step.update);
                let (bid, _) = book.best_market(Side::Buy).unwrap();
                let (ask, _) = book.best_market(Side::Sell).unwrap();
                assert!(bid < ask, "{symbol}: {bid} {ask}");
                for (price, qty) in step.update.bids.iter().chain(&step.update.asks) {
                    assert_eq!(instrument.price_floor(*price), *price);
                    assert_eq!(instrument.qty_floor(*qty), *qty);
                }
            }
            let mid = book.mid().unwrap();
            let start = instrument.start_price;
            let away = (mid - start).abs() / start;
            assert!(
                away < Decimal::new(15, 2),
                "{symbol} went {away} from its start"
            );
        }
    }
}
