//! Puts the venue's order books together, and publishes none that may be wrong.
//!
//! ```text
//!  snapshot, delta ──▶ ┌──────┐ ──▶ books: the best levels, at most one in 50 ms an instrument
//!  trades          ──▶ │ step │ ──▶ trades, bounded
//!  link up, down   ──▶ │      │ ──▶ subscribe again: after a gap, nonsense or silence
//!  tick            ──▶ └──────┘ ──▶ connect again: after a longer silence
//! ```
//!
//! A book that missed an update is no book: it is dropped at once, and what readers have of it grows
//! too old by itself.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod engine;
mod ladder;

pub use engine::{Counts, Effect, Input, MarketData};
pub use ladder::{LEVELS_MAX, LEVELS_PUBLISHED};
