//! Every core in one thread, from one seed, with an oracle of what must never happen.
//!
//! ```text
//!            ┌────────── one queue of events by (time, number) ──────────┐
//!  seed ──▶  │  brain  risk-guard  execution  signer  audit   (the cores) │ ──▶ oracle, each step
//!            │  bus · clocks · disks · stream of facts · venue · market   │ ──▶ trace hash, coverage
//!            └───────────────────────────────────────────────────────────┘
//! ```
//!
//! The five cores are the ones that ship; their messages are really sealed and opened, the signer's
//! HMAC and audit's Ed25519 are real. Everything around them is simulated: the bus loses, delays and
//! repeats, disks lose what was not synced, clocks differ, processes die between any two effects, the
//! venue takes requests and does not answer. The shells here are small copies of the real ones: the
//! order in which they act is part of what is tested.
//!
//! Which faults occur and when follows from the seed, so that a failure is a number:
//! `cargo xtask sim --seed <n>` shows its whole story. What is checked, what is not, and how the checks themselves are checked is in
//! `docs/simulation.md`.

mod accounts;
mod audit;
mod bus;
mod cast;
mod clocks;
mod events;
mod execution;
mod faults;
mod journal;
mod log;
mod market;
mod meddling;
mod money;
mod oracle;
mod planted;
mod quiescence;
mod random;
mod recovery;
mod requests;
mod runner;
mod sabotage;
mod services;
mod settings;
mod steps;
mod surroundings;
mod trace;
mod venue;
mod world;

pub use planted::{Bug, Found, find};
pub use runner::{Seeds, Tally};
pub use settings::Options;
pub use trace::{Coverage, Violation};
pub use world::{Report, World};

/// Runs one seed to its end.
///
/// # Errors
/// [`Violation`]: what must never happen did.
pub fn run(options: Options) -> Result<Report, Box<Violation>> {
    World::new(options).run()
}

/// What cannot fail unless the simulation itself is wrong.
#[expect(
    clippy::panic,
    reason = "serves tests only: a simulation that is wrong must not go on"
)]
fn sure<T, E: std::fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}
