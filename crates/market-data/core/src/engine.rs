//! The state machine.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

mod history;

use portcullis_domain::{Book, Span, Symbol, Timestamp};
use portcullis_venue::bybit::reply::{
    Bars, DepthUpdate, List, PublicMessage, PublicTrade, RecentTrade,
};
use portcullis_wire::Text;
use portcullis_wire::messages::Trade;
use portcullis_wire::risk::Closes;

use crate::ladder::{Flaw, Ladder};
use crate::minutes::Minutes;
use crate::tape::Tape;

/// The shortest time between two books of one instrument.
const BOOK_INTERVAL: Span = Span::from_millis(50);
/// A book of which nothing was heard for so long is asked for again: a snapshot either brings what
/// was missed or confirms that the market is quiet.
const SILENCE: Span = Span::from_secs(3);
/// When no book was heard of for so long, the connection is dead, whatever it looks like.
const SILENCE_OF_ALL: Span = Span::from_secs(10);
/// Without a book for so long, an instrument is missing.
const MISSING: Span = Span::from_secs(5);
/// The shortest time between two subscriptions to one book, so that a venue that sends nonsense is
/// not answered with a flood.
const RESUBSCRIBE_INTERVAL: Span = Span::from_secs(1);
/// The most trades that are published between two ticks.
const TRADES_PER_TICK_MAX: u32 = 100;
/// So many unreadable messages in a row, and it is not the venue's stream.
const UNREADABLE_MAX: u32 = 20;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection was made, and every topic was asked for on it.
    Connected,
    /// The connection is gone.
    Disconnected {
        /// Why, in words.
        detail: Text,
    },
    /// The stream said something.
    Message(PublicMessage),
    /// The stream said something that is no message of it.
    Unreadable {
        /// Why, in words.
        detail: Text,
    },
    /// The venue answered with the bars of the last minutes.
    Minutes {
        /// Of what they were asked for.
        symbol: Symbol,
        /// When it answered, by its clock.
        answered_at: Timestamp,
        /// What it answered.
        bars: Bars,
    },
    /// The venue answered with the latest trades.
    Trades {
        /// Of what they were asked for.
        symbol: Symbol,
        /// What it answered, the latest first.
        trades: List<RecentTrade>,
    },
    /// There is no answer to a request, and none will come.
    Unanswered {
        /// To which.
        request: Request,
        /// Why, in words.
        detail: Text,
    },
    /// Time passes; every 10 ms or so.
    Tick,
}

/// What is asked of the venue apart from its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The bars of the last minutes.
    Minutes(Symbol),
    /// The latest trades.
    Trades(Symbol),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Publish a book.
    Book(Book),
    /// Publish a trade.
    Trade(Trade),
    /// Publish the closes of the last minutes.
    Closes(Closes),
    /// Ask the venue; [`Input::Minutes`], [`Input::Trades`] or [`Input::Unanswered`] must follow.
    Ask(Request),
    /// Give the subscription to a book up and ask for it again: a snapshot follows.
    Resubscribe(Symbol),
    /// Cut the connection and make another.
    Reconnect,
    /// Tell an operator.
    Warning(Text),
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Updates of books that were applied.
    pub updates: u64,
    /// Updates for which there was no book to apply them to.
    pub updates_ignored: u64,
    /// Books that were published.
    pub books: u64,
    /// Trades that were published.
    pub trades: u64,
    /// Trades that were left out because too many came at once.
    pub trades_dropped: u64,
    /// Closes that were published.
    pub closes: u64,
    /// Requests that had no answer, or none that is of use.
    pub unanswered: u64,
    /// Books that were dropped because an update was missing or made no sense.
    pub flaws: u64,
    /// Subscriptions that were asked for again.
    pub resubscriptions: u64,
    /// Connections that were lost or given up.
    pub disconnections: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Requests that the venue did not grant.
    pub requests_refused: u64,
}

/// The order books of one connection to the venue.
#[derive(Clone, Debug)]
pub struct MarketData {
    is_connected: bool,
    /// When any book was last heard of, or the connection made.
    heard_at: Timestamp,
    streams: BTreeMap<Symbol, Stream>,
    trades_in_tick: u32,
    unreadable_in_a_row: u32,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    ladder: Option<Ladder>,
    /// Whether the book changed since it was last published.
    is_changed: bool,
    published_at: Option<Timestamp>,
    /// When something of it was last applied.
    heard_at: Timestamp,
    /// When it was last subscribed to.
    asked_at: Timestamp,
    /// Whether its book was dropped and it has to be subscribed to again.
    is_flawed: bool,
    tape: Tape,
    minutes: Minutes,
}

impl MarketData {
    /// Books of these instruments, none of which is known yet.
    #[must_use]
    pub fn new(symbols: impl IntoIterator<Item = Symbol>) -> Self {
        Self {
            is_connected: false,
            heard_at: Timestamp::default(),
            streams: symbols
                .into_iter()
                .map(|symbol| (symbol, Stream::new()))
                .collect(),
            trades_in_tick: 0,
            unreadable_in_a_row: 0,
            counts: Counts::default(),
        }
    }

    /// Takes in what happened and says what to do, in this order.
    #[must_use]
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Connected => self.connected(now, &mut effects),
            Input::Disconnected { detail } => self.disconnected(&detail, &mut effects),
            Input::Message(message) => self.message(now, message, &mut effects),
            Input::Unreadable { detail } => self.unreadable(&detail, &mut effects),
            Input::Minutes {
                symbol,
                answered_at,
                bars,
            } => self.minutes(now, symbol, answered_at, &bars, &mut effects),
            Input::Trades { symbol, trades } => self.latest(now, symbol, trades, &mut effects),
            Input::Unanswered { request, detail } => {
                self.unanswered(now, request, &detail, &mut effects);
            }
            Input::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether there is a connection.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The instruments that have had no book for a while; the moment that it takes to get a fresh
    /// snapshot does not count.
    pub fn missing(&self, now: Timestamp) -> impl Iterator<Item = Symbol> {
        let is_missing =
            move |stream: &Stream| stream.ladder.is_none() && now.since(stream.heard_at) >= MISSING;
        self.streams
            .iter()
            .filter(move |(_, stream)| is_missing(stream))
            .map(|(symbol, _)| *symbol)
    }

    fn connected(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.is_connected = true;
        self.heard_at = now;
        self.unreadable_in_a_row = 0;
        for (symbol, stream) in &mut self.streams {
            stream.asked(now);
            stream.tape.connected(now);
            stream.minutes.asking().ask_at(now);
            history::ask(*symbol, stream, now, effects);
        }
    }

    fn disconnected(&mut self, detail: &Text, effects: &mut Vec<Effect>) {
        if !self.is_connected {
            return;
        }
        self.is_connected = false;
        count(&mut self.counts.disconnections);
        for stream in self.streams.values_mut() {
            stream.forget();
            let dropped = stream.tape.clear();
            self.counts.trades_dropped = self.counts.trades_dropped.saturating_add(dropped);
        }
        effects.push(warning(&format!("market data stream lost: {detail}")));
    }

    fn message(&mut self, now: Timestamp, message: PublicMessage, effects: &mut Vec<Effect>) {
        // What still comes from a connection that was given up says nothing about the next one.
        if !self.is_connected {
            return;
        }
        self.unreadable_in_a_row = 0;
        match message {
            PublicMessage::Depth(update) => self.depth(now, &update, effects),
            PublicMessage::Trades(trades) => {
                for trade in trades {
                    self.trade(now, trade, effects);
                }
            }
            PublicMessage::Answered { success: true, .. } => {}
            PublicMessage::Answered {
                success: false,
                operation,
                message,
            } => {
                count(&mut self.counts.requests_refused);
                let detail = format!("the venue refused to {operation:?}: {message}");
                effects.push(warning(&detail));
            }
        }
    }

    fn depth(&mut self, now: Timestamp, update: &DepthUpdate, effects: &mut Vec<Effect>) {
        let Some(stream) = self.streams.get_mut(&update.symbol) else {
            count(&mut self.counts.updates_ignored);
            return;
        };
        let applied = if update.snapshot {
            Ladder::from_snapshot(update).map(|ladder| stream.ladder = Some(ladder))
        } else if let Some(ladder) = &mut stream.ladder {
            ladder.apply(update)
        } else {
            count(&mut self.counts.updates_ignored);
            return;
        };
        match applied {
            Ok(()) => {
                count(&mut self.counts.updates);
                self.heard_at = now;
                stream.heard_at = now;
                stream.is_changed = true;
                stream.is_flawed = false;
                publish(update.symbol, stream, now, &mut self.counts, effects);
            }
            Err(flaw) => {
                count(&mut self.counts.flaws);
                stream.forget();
                stream.is_flawed = true;
                let detail = flawed(update.symbol, flaw);
                effects.push(detail);
                resubscribe(update.symbol, stream, now, &mut self.counts, effects);
            }
        }
    }

    fn trade(&mut self, now: Timestamp, trade: PublicTrade, effects: &mut Vec<Effect>) {
        let is_full = self.trades_in_tick >= TRADES_PER_TICK_MAX;
        let is_taken = self.streams.get_mut(&trade.symbol).is_some_and(|stream| {
            // A trade waits only behind the latest ones from before the connection.
            if is_full && stream.tape.is_idle() {
                return false;
            }
            let is_taken = stream.tape.push(trade);
            history::play(
                stream,
                now,
                &mut self.trades_in_tick,
                &mut self.counts,
                effects,
            );
            is_taken
        });
        if !is_taken {
            count(&mut self.counts.trades_dropped);
        }
    }

    /// What cannot be read may have been an update. The next update of that book shows it by its
    /// number, and silence shows it where no other follows.
    fn unreadable(&mut self, detail: &Text, effects: &mut Vec<Effect>) {
        if !self.is_connected {
            return;
        }
        count(&mut self.counts.unreadable);
        self.unreadable_in_a_row = self.unreadable_in_a_row.saturating_add(1);
        if self.unreadable_in_a_row >= UNREADABLE_MAX {
            effects.push(Effect::Reconnect);
            let said = format!("{UNREADABLE_MAX} unreadable messages in a row, the last: {detail}");
            self.disconnected(&Text::lossy(&said), effects);
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.trades_in_tick = 0;
        for (symbol, stream) in &mut self.streams {
            history::ask(*symbol, stream, now, effects);
            history::publish_closes(stream, now, &mut self.counts, effects);
        }
        if !self.is_connected {
            return;
        }
        if now.since(self.heard_at) >= SILENCE_OF_ALL {
            effects.push(Effect::Reconnect);
            let said = format!("no book was heard of for {SILENCE_OF_ALL}");
            self.disconnected(&Text::lossy(&said), effects);
            return;
        }
        for (symbol, stream) in &mut self.streams {
            history::play(
                stream,
                now,
                &mut self.trades_in_tick,
                &mut self.counts,
                effects,
            );
            let heard_or_asked_at = stream.heard_at.max(stream.asked_at);
            if stream.is_flawed || now.since(heard_or_asked_at) >= SILENCE {
                resubscribe(*symbol, stream, now, &mut self.counts, effects);
            } else {
                publish(*symbol, stream, now, &mut self.counts, effects);
            }
        }
    }
}

impl Stream {
    /// Nothing is known yet, and the closes are asked for at once: they need no connection.
    fn new() -> Self {
        let mut stream = Self::default();
        stream.minutes.asking().ask_at(Timestamp::default());
        stream
    }

    /// It was subscribed to, so a snapshot will come; what was known does not count any more.
    fn asked(&mut self, now: Timestamp) {
        self.forget();
        self.asked_at = now;
        self.is_flawed = false;
    }

    fn forget(&mut self) {
        self.ladder = None;
        self.is_changed = false;
    }
}

/// Asks for a book again, unless that was done a moment ago; the next tick tries again then.
fn resubscribe(
    symbol: Symbol,
    stream: &mut Stream,
    now: Timestamp,
    counts: &mut Counts,
    effects: &mut Vec<Effect>,
) {
    if now.since(stream.asked_at) >= RESUBSCRIBE_INTERVAL {
        stream.asked(now);
        count(&mut counts.resubscriptions);
        effects.push(Effect::Resubscribe(symbol));
    }
}

/// Publishes a book that changed, unless one was published a moment ago. A book with an empty side
/// has no price to go by: readers see the last one grow old.
fn publish(
    symbol: Symbol,
    stream: &mut Stream,
    now: Timestamp,
    counts: &mut Counts,
    effects: &mut Vec<Effect>,
) {
    let is_due = stream
        .published_at
        .is_none_or(|at| now.since(at) >= BOOK_INTERVAL);
    if !stream.is_changed || !is_due {
        return;
    }
    let Some(Ok(book)) = stream.ladder.as_ref().map(|ladder| ladder.top(symbol)) else {
        return;
    };
    stream.is_changed = false;
    stream.published_at = Some(now);
    count(&mut counts.books);
    effects.push(Effect::Book(book));
}

fn flawed(symbol: Symbol, flaw: Flaw) -> Effect {
    warning(&format!("order book of {symbol} dropped: {flaw}"))
}

fn warning(text: &str) -> Effect {
    Effect::Warning(Text::lossy(text))
}

const fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}
