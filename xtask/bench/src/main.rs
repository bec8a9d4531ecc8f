//! Measures, each figure against the bare thing beside it in the same run. Started by
//! `cargo xtask bench`.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks on standard output")]

mod figure;
mod seal;

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

const NAMES: [&str; 1] = ["seal"];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    for name in NAMES {
        if arguments.name.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let figures: Vec<Figure> = match name {
            _ => seal::run()?,
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
