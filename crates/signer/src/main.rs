//! The signer: whether these exact bytes are what the permitted order says, and if so, their
//! signature.

mod config;
mod release;
mod shell;

use std::process::ExitCode;

use clap::Parser;
use portcullis_runtime::{ServiceArgs, exit};

/// Signs what a permitted order says, and nothing else
#[derive(Parser)]
#[command(name = "signer", version)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run(
        "signer",
        || async move { shell::run(&arguments.service).await },
    )
}
