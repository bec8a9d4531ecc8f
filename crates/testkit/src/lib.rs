//! What tests share: a small deployment whose principals seal and open for real and, with the
//! feature `bus`, a real bus server.
//!
//! Without that feature nothing here touches a disk, a clock or a bus, so that cores can be tested
//! with it.
pub mod accounts;
#[cfg(feature = "bus")]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "this only runs in tests, where a failure must end the test"
)]
pub mod bundle;
#[cfg(feature = "bus")]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this only runs in tests, where a failure must end the test"
)]
pub mod bus;
#[expect(
    clippy::panic,
    reason = "this only runs in tests, where a failure must end the test"
)]
pub mod policies;
pub mod seals;

pub use seals::World;
