//! What the venue is asked for apart from its stream, and what becomes of the answers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use portcullis_domain::{Symbol, Timestamp};
use portcullis_venue::bybit::reply::{Bars, List, RecentTrade};
use portcullis_wire::Text;
use portcullis_wire::messages::Trade;

use super::{Counts, Effect, MarketData, Request, Stream, TRADES_PER_TICK_MAX, count, warning};

impl MarketData {
    /// The instruments without closes that are new enough, and what is the matter with them.
    pub fn without_closes(&self, now: Timestamp) -> impl Iterator<Item = (Symbol, String)> {
        self.streams
            .iter()
            .filter_map(move |(symbol, stream)| Some((*symbol, stream.minutes.problem(now)?)))
    }

    pub(super) fn latest(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        trades: List<RecentTrade>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.streams.get_mut(&symbol) else {
            return;
        };
        let trades = trades.into_iter().map(|RecentTrade(trade)| trade);
        stream.tape.take(symbol, trades);
        if self.is_connected {
            play(
                stream,
                now,
                &mut self.trades_in_tick,
                &mut self.counts,
                effects,
            );
        }
    }

    pub(super) fn minutes(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        answered_at: Timestamp,
        bars: &Bars,
        effects: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.streams.get_mut(&symbol) else {
            return;
        };
        match stream.minutes.take(now, symbol, answered_at, bars) {
            Ok(()) => publish_closes(stream, now, &mut self.counts, effects),
            Err(unusable) => {
                let detail = Text::lossy(&unusable.to_string());
                self.unanswered(now, Request::Minutes(symbol), &detail, effects);
            }
        }
    }

    /// A venue that does not answer is said once, until it does.
    pub(super) fn unanswered(
        &mut self,
        now: Timestamp,
        request: Request,
        detail: &Text,
        effects: &mut Vec<Effect>,
    ) {
        let (symbol, what) = match request {
            Request::Minutes(symbol) => (symbol, "closes"),
            Request::Trades(symbol) => (symbol, "latest trades"),
        };
        let Some(stream) = self.streams.get_mut(&symbol) else {
            return;
        };
        count(&mut self.counts.unanswered);
        let is_first = match request {
            Request::Minutes(_) => stream.minutes.asking().failed(now),
            Request::Trades(_) => stream.tape.failed(now),
        };
        if is_first {
            effects.push(warning(&format!("no {what} of {symbol}: {detail}")));
        }
    }
}

/// Asks for whatever is due.
pub(super) fn ask(symbol: Symbol, stream: &mut Stream, now: Timestamp, effects: &mut Vec<Effect>) {
    if stream.tape.asking().is_due(now) {
        effects.push(Effect::Ask(Request::Trades(symbol)));
    }
    if stream.minutes.asking().is_due(now) {
        effects.push(Effect::Ask(Request::Minutes(symbol)));
    }
}

/// Publishes the closes, unless that was done a moment ago or they are too old.
pub(super) fn publish_closes(
    stream: &mut Stream,
    now: Timestamp,
    counts: &mut Counts,
    effects: &mut Vec<Effect>,
) {
    if let Some(closes) = stream.minutes.publish(now) {
        count(&mut counts.closes);
        effects.push(Effect::Closes(closes));
    }
}

/// Publishes the trades that may be, up to the bound of this tick.
pub(super) fn play(
    stream: &mut Stream,
    now: Timestamp,
    in_tick: &mut u32,
    counts: &mut Counts,
    effects: &mut Vec<Effect>,
) {
    while *in_tick < TRADES_PER_TICK_MAX {
        let Some(trade) = stream.tape.next(now) else {
            return;
        };
        *in_tick = in_tick.saturating_add(1);
        count(&mut counts.trades);
        effects.push(Effect::Trade(Trade {
            symbol: trade.symbol,
            side: trade.side,
            price: trade.price,
            quantity: trade.quantity,
            venue_time: trade.venue_time,
        }));
    }
}
