//! Decides whether an order may go ahead.
//!
//! ```text
//!  order ───────────────▶ ┌──────┐ ──▶ verdict, always, with every rule that it met
//!  book, trades, closes ▶ │      │ ──▶ permit around the order, where every rule agrees
//!  status, reports ─────▶ │ step │ ──▶ records: breakers, halts, limits, posture
//!  operators' commands ─▶ │      │ ──▶ notices: what changed, and who did it
//!  kill, tick ──────────▶ └──────┘ ──▶ heartbeat
//! ```
//!
//! Each rule is a small file of its own under `rules`, and an order meets them in `judge`. What
//! cannot be established is denied: a missing, late or unreadable input is a reason, never a pass.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod breakers;
mod desk;
mod flights;
mod guard;
mod halts;
mod input;
mod judge;
mod limits;
mod market;
mod outcomes;
mod portfolio;
mod posture;
mod record;
mod rules;
mod stakes;
mod status;
mod strategies;
mod trail;
mod window;

pub use breakers::Saved;
pub use guard::RiskGuard;
pub use input::{Effects, Fault, Input, Judgement, Settings};
pub use record::Record;
