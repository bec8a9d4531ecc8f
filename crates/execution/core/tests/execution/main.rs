//! What execution decides, told through `step`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod agreement;
mod bench;
mod guard;
mod lifecycle;
mod limits;
mod money;
mod snapshot;
mod stops;
