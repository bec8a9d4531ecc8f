//! The guard as a whole, fed with messages that were really sealed.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agreement;
mod breakers;
mod commands;
mod controls;
mod judgement;
mod permits;
mod properties;
mod replay;
mod scene;
