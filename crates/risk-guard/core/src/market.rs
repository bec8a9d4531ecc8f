//! What is known of one instrument's market.

use alloc::collections::VecDeque;

use portcullis_domain::{
    Book, Figure, Price, Quantity, Span, Timestamp, VolatilityError, annualised,
};
use portcullis_wire::Verified;
use portcullis_wire::messages::{Closes, Trade};

/// So many of the last trades tell how large a trade is.
const TRADES: usize = 60;
/// A trade older than this says nothing about the present.
const TRADE_AGE_MAX: Span = Span::from_secs(600);
/// The last minute that is over may be this far back: a venue takes some seconds to close one.
const CLOSES_AGE_MINUTES_MAX: u64 = 2;
/// Microseconds of a minute.
const MINUTE: u64 = 60_000_000;

/// A book and its middle.
#[derive(Clone, Debug)]
pub struct Quote {
    pub book: Verified<Book>,
    pub mid: Price,
    /// When it was sealed, or received if its sender's clock is ahead.
    pub known_at: Timestamp,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Market {
    quote: Option<Quote>,
    /// The issue of the last book, even of one that had no middle.
    book_issued_at: Timestamp,
    trades: VecDeque<Quantity>,
    average: Option<Quantity>,
    last: Option<(Price, Timestamp)>,
    volatility: Option<(u64, Figure)>,
    /// The last minute that a sample was taken of.
    sampled: u64,
}

impl Market {
    /// Takes a newer book; whether it counts.
    pub fn book(&mut self, now: Timestamp, book: Verified<Book>) -> bool {
        let issued_at = book.header().issued_at;
        if issued_at < self.book_issued_at {
            return false;
        }
        self.book_issued_at = issued_at;
        // A book without a middle is news too: the old one no longer holds.
        self.quote = book.message().mid().map(|mid| Quote {
            mid,
            known_at: issued_at.min(now),
            book,
        });
        true
    }

    /// The last book.
    pub const fn quote(&self) -> Option<&Quote> {
        self.quote.as_ref()
    }

    /// Takes a trade of anybody.
    pub fn trade(&mut self, now: Timestamp, trade: &Trade) {
        // What comes late, such as the venue's history after a start, is no newer last price.
        let at = trade.venue_time.min(now);
        if self.last.is_none_or(|(_, last)| at >= last) {
            self.last = Some((trade.price, at));
        }
        if self.trades.len() >= TRADES {
            self.trades.pop_front();
        }
        self.trades.push_back(trade.quantity);
        self.average = average(&self.trades);
    }

    /// The price of the last trade, if it is young enough.
    pub fn last(&self, now: Timestamp) -> Option<Price> {
        let (price, at) = self.last?;
        (now.since(at) <= TRADE_AGE_MAX).then_some(price)
    }

    /// How large the last trades were on average, if the last of them is young enough.
    pub fn average_trade(&self, now: Timestamp) -> Option<Quantity> {
        self.last(now)?;
        self.average
    }

    /// Takes the closes of the last half hour.
    ///
    /// # Errors
    /// [`VolatilityError`] when they do not tell a volatility; what was known stays and grows old.
    pub fn closes(&mut self, now: Timestamp, closes: &Closes) -> Result<(), VolatilityError> {
        // A minute that is not over has no close; taken, it would shut out those that are.
        if closes.minute >= now.0.checked_div(MINUTE).unwrap_or(0) {
            return Ok(());
        }
        let known = self.volatility.map(|(minute, _)| minute);
        // They come once a second and change once a minute.
        if known.is_some_and(|minute| closes.minute <= minute) {
            return Ok(());
        }
        self.volatility = Some((closes.minute, annualised(&closes.closes)?));
        Ok(())
    }

    /// The annualised volatility of the last half hour, in basis points, if it is known.
    pub fn volatility(&self, now: Timestamp) -> Option<Figure> {
        let (minute, volatility) = self.volatility?;
        let present = now.0.checked_div(MINUTE)?;
        let is_young = present.saturating_sub(minute) <= CLOSES_AGE_MINUTES_MAX;
        // A close of the future is none.
        (is_young && minute < present).then_some(volatility)
    }

    /// One sample a minute, a little after its beginning, when the close of the one before is known:
    /// whether it is due.
    pub fn is_sample_due(&mut self, now: Timestamp) -> bool {
        const AFTER: Span = Span::from_secs(15);
        let minute = now.minus(AFTER).0.checked_div(MINUTE).unwrap_or(0);
        let is_first = self.sampled == 0;
        let is_due = minute > self.sampled;
        if is_due {
            self.sampled = minute;
        }
        is_due && !is_first
    }
}

fn average(trades: &VecDeque<Quantity>) -> Option<Quantity> {
    let mut sum: Option<Quantity> = None;
    for trade in trades {
        sum = Some(match sum {
            Some(sum) => sum.plus(*trade).ok()?,
            None => *trade,
        });
    }
    sum?.divided(u32::try_from(trades.len()).ok()?)
}
