//! The `paper-exchange` binary: arguments in, exit code out.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use paper_exchange::config::{Args, Config};
use paper_exchange::run;

/// Wrong arguments or configuration.
const EXIT_USAGE: u8 = 2;

/// It started, or tried to, and could not go on.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let config = match Config::check(Args::parse()) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                complain(&format!("error: {problem}"));
            }
            complain("see --help");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: start the runtime: {error}"));
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            let mut source = error.source();
            while let Some(cause) = source {
                complain(&format!("  because: {cause}"));
                source = cause.source();
            }
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn complain(message: &str) {
    // Where standard error is closed, nobody can be told.
    let _ = writeln!(std::io::stderr(), "{message}");
}
