//! Everything that claims to work with the bus, against the real server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod actor;
mod admission;
mod client;
mod common;
mod facts;
mod favours;
mod floods;
mod injection;
mod limits;
mod negative;
mod permissions;
mod provisioning;
mod raw;
mod revocation;
mod rights;
mod rotation;
mod services;
