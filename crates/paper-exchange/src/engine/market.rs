//! What everybody sees of one instrument: its book, its trades and its bars.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::book::Book;
use super::order::{PublicTrade, Side, TickDirection};
use crate::clock::TimeMs;
use crate::instrument::Instrument;

/// Public trades kept for `recent-trade`.
const TRADES_MAX: usize = 1_000;

/// One-minute bars kept: a week.
const BARS_MAX: usize = 10_080;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// One minute of trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
    /// In base coin.
    pub volume: Decimal,
    /// In USDT.
    pub turnover: Decimal,
}

impl Bar {
    /// A bar in which nothing traded, at one price.
    pub(crate) fn flat(price: Decimal) -> Self {
        Self {
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Decimal::ZERO,
            turnover: Decimal::ZERO,
        }
    }

    /// This bar followed by a later one.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            open: self.open,
            high: self.high.max(later.high),
            low: self.low.min(later.low),
            close: later.close,
            volume: self.volume + later.volume,
            turnover: self.turnover + later.turnover,
        }
    }
}

/// One instrument and all that is public about it.
#[derive(Debug)]
pub(crate) struct Market {
    pub instrument: Instrument,
    pub book: Book,
    /// Counts changes of the book.
    pub update_id: u64,
    /// When the book last changed; 0 before the first.
    pub updated_ms: TimeMs,
    last: Option<Decimal>,
    direction: TickDirection,
    trades: VecDeque<PublicTrade>,
    /// Made of trades alone, as the venue's are; a minute without one has none.
    bars: BTreeMap<TimeMs, Bar>,
}

/// What happened to an instrument before the exchange knew it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Minutes that are over, by when they began.
    pub bars: Vec<(TimeMs, Bar)>,
    /// Time, taker's side, price, quantity; oldest first, none before the first bar.
    pub trades: Vec<(TimeMs, Side, Decimal, Decimal)>,
}

impl Market {
    pub(crate) fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            book: Book::default(),
            update_id: 0,
            updated_ms: 0,
            last: None,
            direction: TickDirection::ZeroPlus,
            trades: VecDeque::new(),
            bars: BTreeMap::new(),
        }
    }

    /// Notes that the book changed.
    pub(crate) fn touched(&mut self, now: TimeMs) {
        self.update_id = self.update_id.saturating_add(1);
        self.updated_ms = now;
    }

    /// The mark price: the middle of the market data, down to a tick. The venue's mark follows an
    /// index of other venues, which nobody has here.
    pub(crate) fn mark(&self) -> Option<Decimal> {
        self.book
            .mid()
            .map(|mid| self.instrument.price_floor(mid))
            .or(self.last)
    }

    /// Price of the last trade, or the mark before the first.
    pub(crate) fn last(&self) -> Option<Decimal> {
        self.last.or_else(|| self.mark())
    }

    /// How the last trade moved the price.
    pub(crate) fn direction(&self) -> TickDirection {
        self.direction
    }

    /// The direction a trade at `price` has.
    pub(crate) fn direction_of(&self, price: Decimal) -> TickDirection {
        self.direction.next(self.last.unwrap_or(price), price)
    }

    /// Takes a trade.
    pub(crate) fn traded(&mut self, trade: &PublicTrade) {
        self.direction = trade.direction;
        self.last = Some(trade.price);
        self.bar(trade.time_ms, trade.price, trade.qty);
        if self.trades.len() >= TRADES_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade.clone());
    }

    fn bar(&mut self, now: TimeMs, price: Decimal, qty: Decimal) {
        let start = now.div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS);
        let mut next = Bar::flat(price);
        next.volume = qty;
        next.turnover = price * qty;
        let bar = self.bars.get(&start).map_or(next, |bar| bar.then(next));
        self.bars.insert(start, bar);
        while self.bars.len() > BARS_MAX {
            self.bars.pop_first();
        }
    }

    /// Whether nothing traded yet, now or in a past that was given.
    pub(crate) fn has_no_past(&self) -> bool {
        self.bars.is_empty()
    }

    /// Takes the bars of a past.
    pub(crate) fn remember(&mut self, bars: Vec<(TimeMs, Bar)>) {
        self.bars.extend(bars);
    }

    /// The latest trades, latest first.
    pub(crate) fn recent_trades(&self, limit: usize) -> impl Iterator<Item = &PublicTrade> {
        self.trades.iter().rev().take(limit)
    }

    /// Bars of `interval_ms`, latest first, that start within the two times. The venue has a bar for
    /// every minute up to now: one without a trade stays at the close before it.
    pub(crate) fn bars(
        &self,
        now: TimeMs,
        interval_ms: i64,
        start: TimeMs,
        end: TimeMs,
        limit: usize,
    ) -> Vec<(TimeMs, Bar)> {
        let interval_ms = interval_ms.max(MINUTE_MS);
        let mut merged: BTreeMap<TimeMs, Bar> = BTreeMap::new();
        for (minute, bar) in self.minutes(now) {
            let begin = minute.div_euclid(interval_ms).saturating_mul(interval_ms);
            merged
                .entry(begin)
                .and_modify(|earlier| *earlier = earlier.then(bar))
                .or_insert(bar);
        }
        merged
            .into_iter()
            .rev()
            .filter(|(at, _)| (start..=end).contains(at))
            .take(limit)
            .collect()
    }

    /// Every minute of the last week up to now, oldest first, from the first one with a trade on.
    fn minutes(&self, now: TimeMs) -> impl Iterator<Item = (TimeMs, Bar)> {
        let last = now.div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS);
        let week = i64::try_from(BARS_MAX)
            .unwrap_or(0)
            .saturating_mul(MINUTE_MS);
        let oldest = last.saturating_sub(week).saturating_add(MINUTE_MS);
        let before = self.bars.range(..oldest).next_back();
        let first = self.bars.range(oldest..).next().map(|(at, _)| *at);
        let mut at = if before.is_some() {
            Some(oldest)
        } else {
            first
        };
        let mut close = before.map(|(_, bar)| bar.close);
        std::iter::from_fn(move || {
            let minute = at.filter(|at| *at <= last)?;
            at = minute.checked_add(MINUTE_MS);
            let bar = self.bars.get(&minute).copied();
            let bar = bar.or_else(|| close.map(Bar::flat))?;
            close = Some(bar.close);
            Some((minute, bar))
        })
    }

    /// The last 24 hours as one bar; `None` before anything happened.
    pub(crate) fn day(&self, now: TimeMs) -> Option<Bar> {
        let mut bars = self
            .bars
            .range(now.saturating_sub(DAY_MS)..)
            .map(|(_, bar)| *bar);
        let first = bars.next()?;
        Some(bars.fold(first, Bar::then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TimeMs = 1_733_011_200_000;

    fn trade(market: &mut Market, time_ms: TimeMs, price: i64) {
        market.traded(&PublicTrade {
            symbol: market.instrument.symbol.clone(),
            trade_id: time_ms.to_string(),
            side: Side::Buy,
            price: Decimal::from(price),
            qty: Decimal::ONE,
            time_ms,
            direction: TickDirection::Plus,
            cross_seq: 1,
        });
    }

    fn closes(market: &Market, now: TimeMs, minutes: i64) -> Vec<(i64, i64)> {
        let bars = market.bars(now, minutes * MINUTE_MS, 0, now, 1_000);
        let close = |bar: Bar| i64::try_from(bar.close).unwrap();
        bars.into_iter()
            .map(|(at, bar)| ((at - START) / MINUTE_MS, close(bar)))
            .collect()
    }

    #[test]
    fn a_minute_without_a_trade_stays_at_the_close_before_it() {
        let mut market = Market::new(Instrument::built_in("BTCUSDT"));
        assert_eq!(closes(&market, START, 1), []);
        trade(&mut market, START + 10, 5);
        trade(&mut market, START + 20, 7);
        trade(&mut market, START + 3 * MINUTE_MS, 9);
        let now = START + 5 * MINUTE_MS + 1;
        assert_eq!(
            closes(&market, now, 1),
            [(5, 9), (4, 9), (3, 9), (2, 7), (1, 7), (0, 7)]
        );
        assert_eq!(closes(&market, now, 3), [(3, 9), (0, 7)]);
        let flat = market.bars(now, MINUTE_MS, START + MINUTE_MS, START + MINUTE_MS, 9);
        assert_eq!(flat, [(START + MINUTE_MS, Bar::flat(Decimal::from(7)))]);
    }

    #[test]
    fn a_week_after_the_last_trade_its_price_still_counts() {
        let mut market = Market::new(Instrument::built_in("BTCUSDT"));
        trade(&mut market, START, 5);
        let now = START + 8 * DAY_MS;
        let bars = market.bars(now, MINUTE_MS, 0, now, usize::MAX);
        assert_eq!(bars.len(), BARS_MAX);
        assert!(bars.iter().all(|(_, bar)| bar.close == Decimal::from(5)));
    }
}
