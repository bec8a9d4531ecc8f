//! The top of an order book.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{Price, Quantity, Side, Symbol, Timestamp};

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// What rests there.
    pub quantity: Quantity,
}

/// The best levels of both sides, best first. Built only by [`Book::new`], so it is never crossed,
/// never out of order and never longer than [`Book::LEVELS_MAX`] a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Levels", into = "Levels")]
pub struct Book(Levels);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Levels {
    symbol: Symbol,
    bids: Vec<Level>,
    asks: Vec<Level>,
    sequence: u64,
    venue_time: Timestamp,
}

/// Why levels are not a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookError {
    /// A side has no level: there is no price to go by.
    Empty,
    /// A side has more than [`Book::LEVELS_MAX`] levels.
    TooDeep,
    /// The levels of a side are not strictly best first.
    OutOfOrder,
    /// The best bid is not below the best ask.
    Crossed,
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a side of the book is empty",
            Self::TooDeep => "the book has too many levels",
            Self::OutOfOrder => "the levels are not best first",
            Self::Crossed => "the book is crossed",
        })
    }
}

impl core::error::Error for BookError {}

impl Book {
    /// The most levels of a side.
    pub const LEVELS_MAX: usize = 50;

    /// Checks and builds a book. `sequence` is the venue's update number, `venue_time` the venue's
    /// clock.
    ///
    /// # Errors
    /// [`BookError`] when the levels are not a book.
    pub fn new(
        symbol: Symbol,
        bids: Vec<Level>,
        asks: Vec<Level>,
        sequence: u64,
        venue_time: Timestamp,
    ) -> Result<Self, BookError> {
        Self::try_from(Levels {
            symbol,
            bids,
            asks,
            sequence,
            venue_time,
        })
    }

    /// What is traded.
    #[must_use]
    pub const fn symbol(&self) -> Symbol {
        self.0.symbol
    }

    /// The buyers, highest first.
    #[must_use]
    pub fn bids(&self) -> &[Level] {
        &self.0.bids
    }

    /// The sellers, lowest first.
    #[must_use]
    pub fn asks(&self) -> &[Level] {
        &self.0.asks
    }

    /// The venue's update number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// When the venue made it, by its clock.
    #[must_use]
    pub const fn venue_time(&self) -> Timestamp {
        self.0.venue_time
    }

    /// The best price that somebody offers to an order of this side: the lowest ask for a buyer.
    #[must_use]
    pub fn best_for(&self, side: Side) -> Option<Price> {
        let levels = match side {
            Side::Buy => &self.0.asks,
            Side::Sell => &self.0.bids,
        };
        levels.first().map(|level| level.price)
    }

    /// Halfway between the best bid and the best ask.
    #[must_use]
    pub fn mid(&self) -> Option<Price> {
        self.best_for(Side::Buy)?
            .middle(self.best_for(Side::Sell)?)
            .ok()
    }
}

impl TryFrom<Levels> for Book {
    type Error = BookError;

    fn try_from(levels: Levels) -> Result<Self, BookError> {
        let (bids, asks) = (&levels.bids, &levels.asks);
        let (Some(bid), Some(ask)) = (bids.first(), asks.first()) else {
            return Err(BookError::Empty);
        };
        if bids.len() > Self::LEVELS_MAX || asks.len() > Self::LEVELS_MAX {
            return Err(BookError::TooDeep);
        }
        let falls = bids
            .iter()
            .zip(bids.iter().skip(1))
            .all(|(a, b)| a.price > b.price);
        let rises = asks
            .iter()
            .zip(asks.iter().skip(1))
            .all(|(a, b)| a.price < b.price);
        if !falls || !rises {
            return Err(BookError::OutOfOrder);
        }
        if bid.price >= ask.price {
            return Err(BookError::Crossed);
        }
        Ok(Self(levels))
    }
}

impl From<Book> for Levels {
    fn from(book: Book) -> Self {
        book.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn level(price: &str) -> Level {
        Level {
            price: price.parse().unwrap(),
            quantity: "1".parse().unwrap(),
        }
    }

    fn build(bids: Vec<Level>, asks: Vec<Level>) -> Result<Book, BookError> {
        Book::new(Symbol::new("XRPUSDT").unwrap(), bids, asks, 1, Timestamp(1))
    }

    #[test]
    fn refuses_levels_that_are_no_book() {
        let cases = [
            (vec![], vec![level("2")], BookError::Empty),
            (vec![level("1")], vec![], BookError::Empty),
            (vec![level("2")], vec![level("2")], BookError::Crossed),
            (
                vec![level("1"), level("1")],
                vec![level("2")],
                BookError::OutOfOrder,
            ),
            (
                vec![level("1")],
                vec![level("3"), level("2")],
                BookError::OutOfOrder,
            ),
            (vec![level("1"); 51], vec![level("3")], BookError::TooDeep),
        ];
        for (bids, asks, expected) in cases {
            assert_eq!(build(bids, asks), Err(expected));
        }
    }

    #[test]
    fn the_middle_lies_halfway() {
        let book = build(vec![level("1")], vec![level("2")]).unwrap();
        assert_eq!(book.mid(), Some("1.5".parse().unwrap()));
        assert_eq!(book.best_for(Side::Buy), Some("2".parse().unwrap()));
        assert_eq!(book.best_for(Side::Sell), Some("1".parse().unwrap()));
    }
}
