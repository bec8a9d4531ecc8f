//! Decides how a permitted order gets done exactly once.
//!
//! ```text
//!  permit, receipt, signature ──▶ ┌──────┐ ──▶ records, durable first
//!  venue's answers and events ──▶ │ step │ ──▶ facts, sent once durable
//!  heartbeat, book, kill, tick ─▶ └──────┘ ──▶ requests: sign, place, cancel, query, reconcile
//! ```
//!
//! State changes only through [`Record`]s, so replaying the journal gives the state that wrote it.
//! What is not recorded is worth nothing after a crash: heartbeats, prices, and what an order that
//! has not left yet was waiting for.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod apply;
mod confirm;
mod engine;
mod gate;
pub mod hard_limits;
mod input;
mod ledger;
mod lifecycle;
mod orders;
mod reconcile;
mod record;
mod snapshot;
mod upkeep;

pub use engine::{Execution, Fault, ForeignOrders, Settings};
pub use input::{
    Effect, Effects, Input, Movement, MovementKind, PlaceOutcome, QueryOutcome, Requests, Ticket,
    VenueOrder, VenueState,
};
pub use record::Record;
pub use snapshot::{Kept, KeptState};
