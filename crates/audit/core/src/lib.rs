//! Decides what is recorded, in which order, and what is said about it once it is on disk.
//!
//! ```text
//!  fact, from either path ──▶ ┌──────┐ ──▶ records, durable first
//!  refused bytes ───────────▶ │ step │
//!  line of the bus server ──▶ │      │
//!  "so much is durable" ────▶ │      │ ──▶ receipts, acknowledgements, checkpoints
//!  tick ────────────────────▶ └──────┘
//! ```
//!
//! Facts come on two paths: at once from the bus, and completely from the stream. What one path
//! lost, the other brings; what neither brings is recorded as a gap. Nothing is receipted or
//! acknowledged before it is durable. A source that falls silent without a word is on record too:
//! so look facts that somebody keeps back together with all that come after them.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod bus;
mod chain;
mod entry;
mod input;
mod ledger;
mod limiter;
mod line;
mod own;
mod position;
mod recorder;
mod recovery;
mod silence;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]
mod tests;

pub use bus::{BusClient, BusDenial, BusEvent, BusFollowing, BusPlace, BusSaid};
pub use chain::{
    Appended, Broken, Chain, ChainError, ChainKey, Follower, HASHES_LENGTH, RECORD_HEAD_LENGTH,
    RECORD_LENGTH_MAX, RECORD_LENGTH_MIN, fact_digest,
};
pub use entry::{Draft, ENTRY_LENGTH_MAX, Entry, Kind};
pub use input::{Alert, Effects, Fact, Fault, Input, Path, ReceiptDue};
pub use own::Own;
pub use position::{Misplaced, Place, Position, Positions};
pub use recorder::{Core, Counts, Settings};
pub use recovery::{Recovery, RecoveryError};
