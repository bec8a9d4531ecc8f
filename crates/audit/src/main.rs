//! Audit: records every fact, and gives receipts for what is on disk.
//!
//! ```text
//!  bus, stream ─▶ shell: verify ─▶ core: step ─▶ writer: disk ─▶ core ─▶ bus: receipts, checkpoints
//! ```
//!
//! Deliberately absent: any command to anybody, and any way to change or remove an entry.

use std::process::ExitCode;

use audit::{config, shell};
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = config::Arguments::parse();
    portcullis_runtime::exit::run("audit", || shell::run(arguments))
}
