//! Market-data: publishes the venue's order books and trades, and holds no key of the venue.

use std::process::ExitCode;

use clap::Parser as _;
use market_data::{config, shell};

fn main() -> ExitCode {
    let arguments = config::Arguments::parse();
    portcullis_runtime::exit::run("market-data", || shell::run(arguments))
}
