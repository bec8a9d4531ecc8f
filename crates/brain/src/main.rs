//! The brain: turns proposals of registered strategies into orders.
//!
//! ```text
//!  bus ─▶ shell: verify ─▶ core: step ─▶ shell ─▶ bus: orders, decisions
//! ```
//!
//! Deliberately absent: any way to reach execution or a venue. An order that it sends is worth
//! nothing without risk-guard's permit around it.

use std::process::ExitCode;

use clap::Parser;
use portcullis_runtime::exit;

mod config;
mod shell;

fn main() -> ExitCode {
    let arguments = config::Arguments::parse();
    exit::run("brain", || shell::run(arguments))
}
