//! Decides whether a request to the venue is signed.
//!
//! ```text
//!  SignRequest + permit ──▶ ┌──────┐ ──▶ records, durable before anything else
//!  Heartbeat            ──▶ │ step │ ──▶ latch, on disk before it is told
//!  Kill                 ──▶ └──────┘ ──▶ answer: sign this text, or the reason why not
//! ```
//!
//! The text to sign is derived here from the order that the brain sealed; what execution sends is
//! only compared with it. Secrets are deliberately absent: the shell signs what this crate says.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod counts;
mod effects;
mod engine;
mod ledger;

pub use counts::Counts;
pub use effects::{Answer, Decision, Effects, EnclosedPermit, Fault, Input};
pub use engine::{Config, Engine, LOGIN_LIFETIME_MAX, SKEW_MAX};
pub use ledger::Record;
