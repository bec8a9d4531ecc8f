//! Plays the attacker with real stolen material against the real stack.
//!
//! ```text
//!            copy of a bundle ──▶ Thief ──▶ bus, exchange ──▶ services
//!                                   │                           │
//!  Outcome ◀── what was seen ◀── audit's log, the exchange, the bus's answers
//! ```
//!
//! One at a time the whole bundle of a principal is copied away, and a program of its own joins the
//! bus with it, beside the real service. For every goal it tries the best that this material allows.
//! A cell says *blocked* only when the refusal was seen and audit's log has an entry about it; after
//! every cell the exchange must hold nothing that audit has no permit for.

pub mod craft;
pub mod goals;
pub mod outcome;
pub mod puppet;
pub mod report;
pub mod server;
pub mod stage;
pub mod stolen;
pub mod suite;
pub mod tail;
pub mod team;
pub mod venue;
pub mod wire;
pub mod witness;

#[expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "the fixture of the end-to-end tests, which panics when the stack does not start"
)]
#[path = "../../testkit/tests/support/mod.rs"]
pub mod stack;
