//! What everybody sees of one instrument: its book, its trades and its bars.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::book::Book;
use super::order::{PublicTrade, TickDirection};
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
    bars: BTreeMap<TimeMs, Bar>,
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
        if let Some(mark) = self.mark() {
            self.bar(now, mark, Decimal::ZERO);
        }
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

    /// The latest trades, latest first.
    pub(crate) fn recent_trades(&self, limit: usize) -> impl Iterator<Item = &PublicTrade> {
        self.trades.iter().rev().take(limit)
    }

    /// Bars of `interval_ms`, latest first, that start within the two times.
    pub(crate) fn bars(
        &self,
        interval_ms: i64,
        start: TimeMs,
        end: TimeMs,
        limit: usize,
    ) -> Vec<(TimeMs, Bar)> {
        let interval_ms = interval_ms.max(MINUTE_MS);
        let mut merged: BTreeMap<TimeMs, Bar> = BTreeMap::new();
        for (minute, bar) in &self.bars {
            let begin = minute.div_euclid(interval_ms).saturating_mul(interval_ms);
            merged
                .entry(begin)
                .and_modify(|earlier| *earlier = earlier.then(*bar))
                .or_insert(*bar);
        }
        merged
            .into_iter()
            .rev()
            .filter(|(at, _)| (start..=end).contains(at))
            .take(limit)
            .collect()
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
