//! A small strategy that trades both ways, to see a stack at work and to start one's own from.
//!
//! ```text
//!  books ───────────────▶ ┌───────────┐
//!  fills, refusals ─────▶ │ Reversion │ ──▶ proposals
//!  time ────────────────▶ └───────────┘
//! ```
//!
//! It believes that a price returns to its recent average: it buys below and sells above, the less
//! the more it already holds. Strategies hold no limits that matter: whatever this one proposes, the
//! brain, risk-guard and execution judge it by theirs.

mod config;
mod reversion;
mod shell;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

const EXAMPLES: &str = "\
EXAMPLES
  sample-strategy --config config/sample-strategy.toml --identity .portcullis/identity/strategy-sample
  sample-strategy --config … --identity … --count 100 --per-second 20

EXIT CODES
  0 stopped by a signal, or all --count proposals were made   1 could not go on
  2 wrong arguments, settings or identity";

/// A small strategy that trades both ways: mean reversion with bounded inventory
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Settings of the strategy (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder with the strategy's keys and certificates (mode 0700)
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// Address of the bus
    #[arg(
        long,
        value_name = "URL",
        env = "PORTCULLIS_BUS",
        default_value = "tls://127.0.0.1:4222"
    )]
    bus: String,
    /// The most proposals in a second
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    per_second: u32,
    /// Stop after so many proposals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    portcullis_runtime::exit::run("sample-strategy", || shell::run(arguments))
}
