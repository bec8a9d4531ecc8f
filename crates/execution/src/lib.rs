//! The shell around `execution-core`: the venue connector, the journal and the event loop.

use std::process::ExitCode;

use clap::Parser as _;

mod account;
pub mod bybit;
mod config;
mod events;
pub mod history;
mod perform;
mod shell;
mod tally;
mod venue;

/// Reads the arguments and runs until asked to end; the exit code is that of
/// [`portcullis_runtime::exit::run`].
#[must_use]
pub fn main() -> ExitCode {
    let arguments = config::Arguments::parse();
    portcullis_runtime::exit::run("execution", || shell::run(arguments))
}
