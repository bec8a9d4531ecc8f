//! Book streams: what was sent last, and the delta since.

use std::fmt::Write as _;

use crate::clock::TimeMs;
use crate::decimal::fixed;
use crate::engine::book::Level;
use crate::engine::market::Market;
use crate::engine::order::Side;

/// One `orderbook.{depth}.{symbol}` stream.
#[derive(Debug)]
pub(crate) struct DepthStream {
    depth: usize,
    /// Update id of the last message; every message has the next.
    pub u: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
    /// When the last message was made.
    sent_ms: TimeMs,
    changed: bool,
}

/// Level 1 is sent again after so long without a change, as a snapshot.
const REPEAT_MS: i64 = 3_000;

impl DepthStream {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth,
            u: 0,
            bids: Vec::new(),
            asks: Vec::new(),
            sent_ms: 0,
            changed: false,
        }
    }

    /// Notes that the book changed.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// Shortest time between two messages, in milliseconds (the venue's push frequency).
    fn interval_ms(&self) -> i64 {
        match self.depth {
            1 => 10,
            50 => 20,
            _ => 100,
        }
    }

    /// The next delta, when one is due.
    pub(crate) fn delta(&mut self, market: &Market, now: TimeMs, seq: u64) -> Option<String> {
        let due = now >= self.sent_ms.saturating_add(self.interval_ms()) || now < self.sent_ms;
        if !self.changed || !due {
            return None;
        }
        let bids = market.book.top(Side::Buy, self.depth);
        let asks = market.book.top(Side::Sell, self.depth);
        let bid_changes = changes(&self.bids, &bids, |a, b| a > b);
        let ask_changes = changes(&self.asks, &asks, |a, b| a < b);
        self.changed = false;
        if bid_changes.is_empty() && ask_changes.is_empty() {
            return None;
        }
        (self.bids, self.asks) = (bids, asks);
        self.sent_ms = now;
        self.u = self.u.saturating_add(1);
        Some(self.message(market, "delta", &bid_changes, &ask_changes, now, seq))
    }

    /// Level 1 again, when nothing changed for long.
    pub(crate) fn repeat(&mut self, market: &Market, now: TimeMs, seq: u64) -> Option<String> {
        let due = self.depth == 1 && now >= self.sent_ms.saturating_add(REPEAT_MS);
        if !due || self.u == 0 {
            return None;
        }
        self.sent_ms = now;
        Some(self.message(market, "snapshot", &self.bids, &self.asks, now, seq))
    }

    /// The whole stream as it stands, for a new subscriber; the next delta follows on it.
    pub(crate) fn snapshot(&mut self, market: &Market, now: TimeMs, seq: u64) -> String {
        if self.u == 0 {
            self.bids = market.book.top(Side::Buy, self.depth);
            self.asks = market.book.top(Side::Sell, self.depth);
            self.u = 1;
            self.sent_ms = now;
        }
        self.message(market, "snapshot", &self.bids, &self.asks, now, seq)
    }

    fn message(
        &self,
        market: &Market,
        kind: &str,
        bids: &[Level],
        asks: &[Level],
        now: TimeMs,
        seq: u64,
    ) -> String {
        let symbol = &market.instrument.symbol;
        let mut text = String::with_capacity(160 + 32 * (bids.len() + asks.len()));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"topic":"orderbook.{}.{symbol}","type":"{kind}","ts":{now},"data":{{"s":"{symbol}","b":["#,
            self.depth
        );
        levels(&mut text, market, bids);
        text.push_str(r#"],"a":["#);
        levels(&mut text, market, asks);
        let cts = market.updated_ms;
        let _ = write!(text, r#"],"u":{},"seq":{seq}}},"cts":{cts}}}"#, self.u);
        text
    }
}

fn levels(text: &mut String, market: &Market, levels: &[Level]) {
    let instrument = &market.instrument;
    for (index, (price, qty)) in levels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let price = instrument.price_text(*price);
        let qty = if qty.is_zero() {
            "0".to_owned()
        } else {
            fixed(*qty, instrument.qty_scale())
        };
        let _ = write!(text, r#"{comma}["{price}","{qty}"]"#);
    }
}

/// Levels of `new` that `old` lacks or has otherwise, and levels of `old` that are gone, with
/// quantity 0. Both are sorted, best first.
fn changes(
    old: &[Level],
    new: &[Level],
    better: impl Fn(rust_decimal::Decimal, rust_decimal::Decimal) -> bool,
) -> Vec<Level> {
    let mut found = Vec::new();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(was), Some(is)) if was.0 == is.0 => {
                if was.1 != is.1 {
                    found.push(**is);
                }
                old.next();
                new.next();
            }
            (Some(was), Some(is)) if better(was.0, is.0) => {
                found.push((was.0, rust_decimal::Decimal::ZERO));
                old.next();
            }
            (_, Some(is)) => {
                found.push(**is);
                new.next();
            }
            (Some(was), None) => {
                found.push((was.0, rust_decimal::Decimal::ZERO));
                old.next();
            }
            (None, None) => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::engine::book::BookUpdate;
    use crate::instrument::Instrument;

    fn level(price: i64, qty: i64) -> Level {
        (Decimal::from(price), Decimal::from(qty))
    }

    #[test]
    fn names_changed_new_and_vanished_levels_only() {
        let old = [level(5, 1), level(4, 1), level(3, 1)];
        let new = [level(6, 2), level(5, 1), level(3, 9)];
        assert_eq!(
            changes(&old, &new, |a, b| a > b),
            vec![level(6, 2), level(4, 0), level(3, 9)]
        );
    }

    #[test]
    fn a_snapshot_and_the_deltas_after_it_count_on_without_a_gap() {
        let mut market = Market::new(Instrument::built_in("XRPUSDT"));
        let mut update = BookUpdate {
            snapshot: true,
            bids: vec![level(2, 10)],
            asks: vec![level(3, 10)],
        };
        market.book.update(&update);
        let mut stream = DepthStream::new(50);
        let first = stream.snapshot(&market, 1_000, 7);
        assert!(
            first.contains(r#""b":[["2.0000","10"]],"a":[["3.0000","10"]],"u":1,"seq":7}"#),
            "{first}"
        );
        update.asks = vec![level(3, 4)];
        market.book.update(&update);
        stream.touch();
        assert_eq!(
            stream.delta(&market, 1_019, 8),
            None,
            "20 ms have not passed"
        );
        let delta = stream.delta(&market, 1_020, 8).unwrap();
        assert!(delta.contains(r#""type":"delta""#), "{delta}");
        assert!(
            delta.contains(r#""b":[],"a":[["3.0000","4"]],"u":2,"seq":8}"#),
            "{delta}"
        );
        assert_eq!(stream.delta(&market, 2_000, 9), None, "nothing changed");
    }
}
