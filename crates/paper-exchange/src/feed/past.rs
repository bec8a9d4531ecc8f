//! The hour before a market was there: clients that ask for the last minutes or the latest trades get
//! an answer at once, as from a venue that has been open for years.

use rust_decimal::Decimal;

use super::generator::scramble;
use crate::clock::TimeMs;
use crate::engine::market::{Bar, Past};
use crate::engine::order::Side;
use crate::instrument::Instrument;

/// Minutes of the past that have a bar.
const MINUTES: i64 = 60;

/// Trades of the past, one a second.
const TRADES: i64 = 60;

const MINUTE_MS: i64 = 60_000;

/// The largest move of one minute, in millionths. Moves are spread evenly up to it, so that a minute
/// has a standard deviation of 1,200 / sqrt(3) = 693 millionths, which is 50 % in the 525,600 minutes
/// of a year.
const MOVE_MAX_MILLIONTHS: u64 = 1_200;

/// The past of an instrument that ends at a price; the same for the same seed.
pub(crate) fn past(instrument: &Instrument, seed: u64, now: TimeMs, price: Decimal) -> Past {
    let mut dice = Dice(instrument.symbol.bytes().fold(seed, |mixed, byte| {
        scramble(mixed.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte))
    }));
    let tick = instrument.tick_size;
    let last = instrument.price_floor(price).max(tick);
    let current = now.div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS);
    let mut bars = Vec::new();
    let mut close = last;
    // Backwards, so that the walk ends where it must.
    for ago in 1..=MINUTES {
        let open = dice.moved(close);
        let open = instrument.price_floor(open).max(tick);
        let (above, below) = (Decimal::from(dice.below(4)), Decimal::from(dice.below(4)));
        let volume = dice.quantity(instrument, close, 100_000, 900_000);
        let bar = Bar {
            open,
            high: open.max(close) + above * tick,
            low: (open.min(close) - below * tick).max(tick),
            close,
            volume,
            turnover: volume * close,
        };
        bars.push((current.saturating_sub(ago.saturating_mul(MINUTE_MS)), bar));
        close = open;
    }
    bars.reverse();
    let trades = (0..TRADES)
        .rev()
        .map(|ago| {
            let side = if dice.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let qty = dice.quantity(instrument, last, 200, 5_000);
            (
                now.saturating_sub(ago.saturating_mul(1_000)),
                side,
                last,
                qty,
            )
        })
        .collect();
    Past { bars, trades }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    /// A number from 0 to `bound - 1`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0).checked_rem(bound).unwrap_or(0)
    }

    /// The price a minute away.
    fn moved(&mut self, price: Decimal) -> Decimal {
        let span = MOVE_MAX_MILLIONTHS.saturating_mul(2).saturating_add(1);
        let shift = Decimal::from(self.below(span)) - Decimal::from(MOVE_MAX_MILLIONTHS);
        price + price * shift / Decimal::from(1_000_000)
    }

    /// Base coin worth between the two amounts of USDT.
    fn quantity(&mut self, instrument: &Instrument, price: Decimal, min: u64, max: u64) -> Decimal {
        let value = Decimal::from(min.saturating_add(self.below(max.saturating_sub(min))));
        let qty = value.checked_div(price).unwrap_or(Decimal::ONE);
        instrument.qty_floor(qty).max(instrument.min_qty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimeMs = 1_733_011_234_567;

    fn of(symbol: &str, seed: u64) -> Past {
        let instrument = Instrument::built_in(symbol);
        past(&instrument, seed, NOW, instrument.start_price)
    }

    #[test]
    fn the_same_seed_gives_the_same_past_and_another_seed_or_symbol_another() {
        assert_eq!(of("BTCUSDT", 7), of("BTCUSDT", 7));
        assert_ne!(of("BTCUSDT", 7), of("BTCUSDT", 8));
        let shape = |past: Past| -> Vec<bool> {
            past.bars
                .iter()
                .map(|(_, bar)| bar.open < bar.close)
                .collect()
        };
        assert_ne!(shape(of("BTCUSDT", 7)), shape(of("ETHUSDT", 7)));
    }

    #[test]
    fn the_past_is_an_hour_without_a_gap_that_ends_at_the_price() {
        let past = of("BTCUSDT", 7);
        assert_eq!(past.bars.len(), 60);
        let begins: Vec<_> = past.bars.iter().map(|(at, _)| *at).collect();
        assert_eq!(begins.last(), Some(&(1_733_011_200_000 - MINUTE_MS)));
        for ((earlier, before), (later, after)) in past.bars.iter().zip(past.bars.iter().skip(1)) {
            assert_eq!(later - earlier, MINUTE_MS);
            assert_eq!(before.close, after.open);
        }
        for (_, bar) in &past.bars {
            assert!(bar.low <= bar.open.min(bar.close) && bar.open.max(bar.close) <= bar.high);
        }
        let start = Decimal::from(60_000);
        assert_eq!(past.bars.last().unwrap().1.close, start);
        assert_eq!(past.trades.len(), 60);
        assert_eq!(past.trades.last().unwrap().0, NOW);
        assert!(past.trades.is_sorted_by_key(|(at, ..)| *at));
        assert!(past.trades.iter().all(|(_, _, price, _)| *price == start));
    }

    #[test]
    fn a_past_has_the_volatility_of_an_ordinary_day() {
        for symbol in ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ANYUSDT"] {
            for seed in 0..50 {
                let past = of(symbol, seed);
                let last: Vec<_> = past.bars.iter().rev().take(30).collect();
                // The root of a year's minutes times the mean square, in hundredths, squared.
                let mut squares = Decimal::ZERO;
                for (_, bar) in last {
                    let moved = (bar.close - bar.open) / bar.open;
                    squares += moved * moved;
                }
                let variance = squares / Decimal::from(30) * Decimal::from(525_600);
                let bounds = Decimal::new(9, 2)..=Decimal::new(64, 2);
                assert!(bounds.contains(&variance), "{symbol} {seed}: {variance}");
            }
        }
    }
}
