//! Risk-guard: judges every order, and holds the licence to trade.
//!
//! ```text
//!  bus ─▶ shell: verify ─▶ core: step ─▶ shell ─▶ bus: permits, verdicts, heartbeats
//!                                          └───▶ disk: latch, breakers, halts, limits
//! ```
//!
//! Deliberately absent: any way to make an order, and any way to arm the kill switch again.

use std::process::ExitCode;

use clap::Parser;
use portcullis_runtime::exit;

mod config;
mod history;
mod shell;

fn main() -> ExitCode {
    let arguments = config::Arguments::parse();
    exit::run("risk-guard", || shell::run(arguments))
}
