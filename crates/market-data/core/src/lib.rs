//! Puts the venue's order books together, and publishes none that may be wrong.
//!
//! ```text
//!  snapshot, delta ──▶ ┌──────┐ ──▶ books: the best levels, at most one in 50 ms an instrument
//!  trades          ──▶ │ step │ ──▶ trades, bounded; the latest ones first, after a connection
//!  minutes, latest ──▶ │      │ ──▶ closes of the last minutes, once a second an instrument
//!  link up, down   ──▶ │      │ ──▶ ask: for the minutes and the latest trades
//!  tick            ──▶ │      │ ──▶ subscribe again: after a gap, nonsense or silence
//!                      └──────┘ ──▶ connect again: after a longer silence
//! ```
//!
//! A book that missed an update is no book: it is dropped at once, and what readers have of it grows
//! too old by itself. So do closes: a list with a gap, or one that lacks the last minute, is not
//! published.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod asking;
mod engine;
mod ladder;
mod minutes;
mod tape;

pub use engine::{Counts, Effect, Input, MarketData, Request};
pub use ladder::{LEVELS_MAX, LEVELS_PUBLISHED};
pub use minutes::BARS_ASKED;
pub use tape::TRADES_ASKED;
