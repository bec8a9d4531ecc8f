//! The market: a random walk of one book for each instrument.

use portcullis_domain::{Book, Level, Symbol, Timestamp};

use crate::random::Random;
use crate::settings::{LISTINGS, Listing};
use crate::sure;

/// One instrument's prices, in ticks.
#[derive(Clone, Debug)]
pub struct Market {
    pub listing: Listing,
    pub mid: i64,
    pub half_spread: i64,
    sequence: u64,
}

impl Market {
    pub fn all() -> Vec<Self> {
        LISTINGS
            .iter()
            .map(|listing| Self {
                listing: *listing,
                mid: listing.mid_ticks,
                half_spread: (listing.mid_ticks / 5_000).max(1),
                sequence: 0,
            })
            .collect()
    }

    pub fn symbol(&self) -> Symbol {
        self.listing.symbol()
    }

    pub const fn bid(&self) -> i64 {
        self.mid - self.half_spread
    }

    pub const fn ask(&self) -> i64 {
        self.mid + self.half_spread
    }

    /// One step of the walk: at most `bps` of the price, and never far from where it began.
    pub fn walk(&mut self, random: &mut Random, bps: i64) {
        let most = (self.mid * bps / 10_000).max(1);
        let by = random.around(u32::try_from(most).unwrap_or(u32::MAX));
        let (low, high) = (self.listing.mid_ticks / 2, self.listing.mid_ticks * 2);
        self.mid = (self.mid + by).clamp(low, high);
    }

    /// The book right now.
    pub fn book(&mut self, random: &mut Random, venue_time: Timestamp) -> Book {
        self.sequence += 1;
        let mut side = |best: i64, direction: i64| -> Vec<Level> {
            (0..3)
                .map(|depth| Level {
                    price: self.listing.price(best + direction * depth),
                    quantity: self.listing.quantity(random.between(1_500, 5_000) as i64),
                })
                .collect()
        };
        let (bids, asks) = (
            side(self.mid - self.half_spread, -1),
            side(self.mid + self.half_spread, 1),
        );
        let book = Book::new(self.symbol(), bids, asks, self.sequence, venue_time);
        sure(book, "a book")
    }
}
