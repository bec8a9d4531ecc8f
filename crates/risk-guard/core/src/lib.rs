//! Decides whether an order may go ahead.
//!
//! ```text
//!  order ───────────────▶ ┌──────┐ ──▶ verdict, always
//!  book, status, report ▶ │ step │ ──▶ permit around the order, where every rule agrees
//!  kill, tick ──────────▶ └──────┘ ──▶ heartbeat
//! ```
//!
//! Each rule is a small file of its own under `rules`. What cannot be established is denied: a
//! missing, late or unreadable input is a reason, never a pass.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod guard;
mod input;
mod rules;

pub use guard::RiskGuard;
pub use input::{Effects, Fault, Input, Judgement, Settings};
