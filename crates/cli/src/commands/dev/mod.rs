//! `portcullis dev`: a local stack, from its keys to its last order.

pub mod init;
mod probe;
mod process;
mod progress;
mod restart;
mod stack;
mod summary;
mod supervisor;
mod up;

use std::ffi::OsString;
use std::path::Path;

use clap::Subcommand;

use crate::exit::{End, Failure, Outcome};
use crate::output::Output;

pub use init::Init;
pub use probe::fetch;
pub use process::left_over;
pub use progress::Step;
pub use stack::{NATS, SERVICES, find_config};
pub use up::{Up, folder};

/// What can be done with a local stack.
#[derive(Debug, Subcommand)]
pub enum Dev {
    /// Make the identities of a local stack: certificates, keys and armed latches
    Init(Init),
    /// Start a local stack, watch it, and stop it in order on Ctrl-C
    Up(Box<Up>),
    /// Become another program that ends with this one's parent (used by `up`)
    #[command(hide = true)]
    RunChild(RunChild),
}

/// A program to become.
#[derive(Debug, clap::Args)]
pub struct RunChild {
    /// The process whose child this is
    #[arg(long)]
    parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Runs one of them.
///
/// # Errors
/// What stood in the way, with the next step.
pub async fn run(dev: Dev, dir: Option<&Path>, output: &Output) -> Outcome {
    match dev {
        Dev::Init(init) => init::run(&init, dir, output),
        Dev::Up(up) => up::run(&up, dir, output).await,
        Dev::RunChild(child) => run_child(&child),
    }
}

/// Becomes the program; returns only when that fails.
///
/// # Errors
/// Why it could not.
pub fn run_child(child: &RunChild) -> Outcome {
    process::become_child(child.parent, &child.program).map_err(|cause| Failure {
        end: End::Failed,
        problem: cause,
        next_step: "build the binaries: ./scripts/up".to_owned(),
    })?;
    Ok(End::Failed)
}
