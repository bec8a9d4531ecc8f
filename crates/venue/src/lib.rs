//! What is said to a venue, byte for byte, and how its answers are read.
//!
//! Execution writes requests with this crate and the signer derives them again with the same
//! functions, so that a signature can only ever be made for what an order says.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

pub mod bybit;
pub mod placement;
pub mod retry;
