//! Measures, each figure against the bare thing beside it in the same run. Started by
//! `cargo xtask bench`.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]
#![expect(clippy::float_arithmetic, reason = "measurements, no money")]

mod audit_log;
mod bare;
mod execution;
mod figure;
mod path;
mod recovery;
mod risk;
mod rotation;
mod seal;
#[expect(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "the fixture of the end-to-end tests, which panics when the stack does not start"
)]
#[path = "../../../crates/testkit/tests/support/mod.rs"]
mod stack;

use std::path::Path;

use anyhow::Result;
use clap::Parser;

use crate::figure::Figure;

/// Measures speed and memory, each figure against the bare operation in the same run.
#[derive(Parser)]
struct Arguments {
    /// Only the benchmarks of this name
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    name: Option<String>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

const NAMES: [&str; 8] = [
    "seal",
    "rotation",
    "risk",
    "execution",
    "recovery",
    "audit",
    "path",
    "memory",
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A temporary folder may be memory, where a sync costs nothing.
    let scratch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&scratch)?;
    for name in NAMES {
        if arguments
            .name
            .as_deref()
            .is_some_and(|wanted| wanted != name)
        {
            continue;
        }
        let figures: Vec<Figure> = match name {
            "seal" => seal::run()?,
            "rotation" => rotation::run()?,
            "risk" => risk::run()?,
            "execution" => execution::run()?,
            "recovery" => recovery::run(&scratch)?,
            "audit" => audit_log::run(&scratch)?,
            "path" => path::run(&scratch, false)?,
            _ => path::run(&scratch, true)?,
        };
        for figure in figures {
            if arguments.json {
                println!("{}", serde_json::to_string(&figure)?);
            } else {
                println!("{}", figure.line());
            }
        }
    }
    Ok(())
}
