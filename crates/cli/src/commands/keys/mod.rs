//! `portcullis keys`: the keys of a realm, from their making to their end.
//!
//! ```text
//!  arguments ──▶ key store (bundles, roots) ──▶ the bus's configuration ──▶ SIGHUP to the bus
//!                                                                              │
//!  what is seen on the bus: new epochs, dropped connections ◀── services ◀─────┘
//! ```
//!
//! Nothing here prints a key: what is shown comes from public facts and from names.

mod change;
mod doctor;
mod effect;
mod init;
mod powers;
mod report;
mod server;
mod show;

use std::path::Path;

use clap::Subcommand;

use crate::exit::Outcome;
use crate::output::Output;

pub use init::make_realm;
pub use server::{keep as keep_server, write_for as write_server_config};

/// What can be done with the keys of a realm.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a realm: an authority, an epoch and the bundle of every principal
    Init(Box<init::Init>),
    /// Show every principal's keys, or one principal's; never a secret
    Show(show::Show),
    /// Make new keys while everything runs: everybody's link keys, or one principal's everything
    Rotate(change::Rotate),
    /// Take every right away from a principal, now
    Revoke(change::Revoke),
    /// Write the bus's configuration with the keys that count now, and reload it where it runs here
    Apply(change::Apply),
    /// Look for everything that is wrong with the keys
    Doctor(doctor::Doctor),
}

/// Runs one of them.
///
/// # Errors
/// What stood in the way, with the next step.
pub async fn run(keys: &Keys, dir: Option<&Path>, output: &Output) -> Outcome {
    match keys {
        Keys::Init(init) => init::run(init, dir, output),
        Keys::Show(show) => show::run(show, dir, output),
        Keys::Rotate(rotate) => change::rotate(rotate, dir, output).await,
        Keys::Revoke(revoke) => change::revoke(revoke, dir, output).await,
        Keys::Apply(apply) => change::apply(apply, dir, output),
        Keys::Doctor(doctor) => doctor::run(doctor, dir, output),
    }
}
