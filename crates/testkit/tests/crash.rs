//! Crashes, stops and cut wires on real processes under load. Whatever happens, the exchange, execution
//! and audit agree afterwards on every order and every fill, nothing is sent twice or late, and audit's
//! log verifies without a gap. The disk that is full is in `bad_input.rs`.
//!
//! `PORTCULLIS_CRASH_KILLS` and `PORTCULLIS_CRASH_SEED` choose how often and when processes are killed;
//! `cargo xtask crash` sets them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/feed.rs"]
mod feed;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/load.rs"]
mod load;
#[path = "support/proxy.rs"]
mod proxy;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

#[path = "crash/harness.rs"]
mod harness;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/network.rs"]
mod network;
#[path = "crash/stops.rs"]
mod stops;
