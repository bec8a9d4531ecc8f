//! The shell around `execution-core`: the venue connector, the journal and the event loop.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use execution_core::hard_limits;

mod account;
pub mod bybit;
mod call;
mod config;
mod events;
pub mod history;
mod perform;
mod shell;
mod tally;
mod told;
mod venue;

/// Prints the compiled-in limits and their digest, for whoever writes or checks a risk policy.
fn show_hard_limits() -> ExitCode {
    let mut text = String::new();
    for line in hard_limits::lines() {
        text.push_str(line);
        text.push('\n');
    }
    let text = format!("{text}sha256 {}\n", hard_limits::digest());
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Reads the arguments and runs until asked to end; the exit code is that of
/// [`portcullis_runtime::exit::run`].
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().skip(1).eq(["--hard-limits"]) {
        return show_hard_limits();
    }
    let arguments = config::Arguments::parse();
    portcullis_runtime::exit::run("execution", || shell::run(arguments))
}
