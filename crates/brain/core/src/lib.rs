//! Decides which proposals become orders.
//!
//! ```text
//!  proposal ────────────────────────▶ ┌──────┐ ──▶ decision, always
//!  book, heartbeat, status ─────────▶ │ step │ ──▶ order, sized and priced
//!  report, verdict, tick ───────────▶ └──────┘ ──▶ notices
//! ```
//!
//! A strategy is who its envelope says it is; what it may do stands in the registry. An order that
//! was passed on counts against its strategy's budget until execution has accounted for it.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod brain;
mod input;
mod known;
mod registry;
mod sizing;

pub use brain::Brain;
pub use input::{Decided, Effects, Fault, Ignored, Input, Settings};
pub use registry::Strategy;
