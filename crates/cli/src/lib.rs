//! The `portcullis` command: what a developer or an operator asks of a stack.
//!
//! ```text
//!  arguments ──▶ commands ──▶ bus (as operator-dev or strategy-trader) ──▶ View ──▶ Output
//!                   └──▶ dev: makes identities, starts and watches the processes of a local stack
//! ```
//!
//! Deliberately absent: a way around the services. An order is a proposal like any other, and the
//! kill command is a signed message that each service checks itself.

pub mod advice;
pub mod command;
pub mod commands;
pub mod confirm;
pub mod exit;
pub mod feed;
pub mod folder;
pub mod output;
pub mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{End, Failure, Outcome};
use crate::output::{Colour, Output};

const EXAMPLES: &str = "\
EXAMPLES
  Start a whole stack on this machine, with a realistic exchange and a sample strategy:
    ./scripts/up
  In another terminal:
    portcullis status                                       may it trade, and how close is the stop?
    portcullis order buy XRPUSDT --notional 50              propose an order as a trader
    portcullis orders                                       what is open or in doubt
    portcullis limits                                       what is allowed, and what is used of it
    portcullis breakers                                     what stands in the way, and who must act
    portcullis explain b5aefe41                             why an order passed or did not, rule by rule
    portcullis halt strategy:sample --reason \"strange fills\" let nothing new of it through
    portcullis kill --reason \"strange fills\"                stop everything, now
    portcullis audit verify                                 prove that the record is whole
    portcullis keys doctor                                  is anything wrong with the keys?

EXIT CODES
  0 done, and acknowledged by everybody who had to   1 failed   2 wrong arguments or configuration
  3 refused   7 outcome unknown   8 done in part, or it awaits a second person";

/// Where a help page lists what every command takes.
const COMMON: &str = "Options of every command";

/// Portcullis stands between trading bots and money.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Write JSON to stdout: decimals are strings, and `schema` names the form
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
    /// Development folder with the identities [default: the nearest .portcullis from here upwards]
    #[arg(long, global = true, help_heading = COMMON, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Address of the bus [default: that of the stack which was started from the folder]
    #[arg(long, global = true, help_heading = COMMON, value_name = "URL", env = "PORTCULLIS_BUS")]
    bus: Option<String>,
    /// When to colour
    #[arg(long, global = true, help_heading = COMMON, value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make identities for, start and watch a local stack
    #[command(subcommand)]
    Dev(commands::dev::Dev),
    /// Show whether it may trade, how close the stop is, and how every service is
    Status(commands::status::Status),
    /// Propose an order as the trader, and follow its way
    #[command(subcommand)]
    Order(commands::order::Order),
    /// List the orders that are open or in doubt
    Orders(commands::orders::Orders),
    /// Stop everything: nothing new is sent, and what is open is cancelled
    Kill(commands::kill::Kill),
    /// Show every limit and what is used of it, or set one
    Limits(commands::limits::Limits),
    /// Show circuit breakers, halts and what awaits approval, or open or close a breaker
    Breakers(commands::breakers::Breakers),
    /// Let nothing new of a part through, or end that
    Halt(commands::halt::Halt),
    /// Let a strategy go on that was suspended for repeating itself
    Release(commands::release::Release),
    /// Let more through again after a drawdown
    #[command(subcommand)]
    Posture(commands::posture::Posture),
    /// Approve another person's command, after it is shown
    Approve(commands::approve::Approve),
    /// Say why an order passed or did not, rule by rule, from the audit log
    Explain(commands::explain::Explain),
    /// Verify the audit log, or read its end
    #[command(subcommand)]
    Audit(commands::audit::Audit),
    /// Make, show, rotate, revoke and check the keys of a realm
    #[command(subcommand)]
    Keys(commands::keys::Keys),
    /// Ask a service how it is, over HTTP; for a container without a shell
    Healthcheck(commands::healthcheck::Healthcheck),
    /// Prepare a deployment in containers
    #[command(subcommand)]
    Container(commands::container::Container),
}

/// Runs the command of this process.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let output = Output::new(common.json, common.color);
    match run(&common, command, &output) {
        Ok(end) => end.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.end.into()
        }
    }
}

fn run(common: &Common, command: Command, output: &Output) -> Outcome {
    if let Command::Dev(commands::dev::Dev::RunChild(child)) = &command {
        // Before any thread is made: this process becomes another program.
        return commands::dev::run_child(child);
    }
    if let Command::Healthcheck(healthcheck) = &command {
        // Asked every few seconds in every container: no threads for it.
        return commands::healthcheck::run(healthcheck, output);
    }
    // Children are told when the thread that started them ends: everything that starts them runs on
    // this one, which lasts as long as the process.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|cause| {
            let next_step = "free some memory or threads on this machine";
            Failure::caused(
                End::Failed,
                "start the asynchronous runtime",
                cause,
                next_step,
            )
        })?;
    let (dir, bus) = (common.dir.as_deref(), common.bus.as_deref());
    runtime.block_on(async {
        match command {
            Command::Dev(dev) => commands::dev::run(dev, dir, output).await,
            Command::Status(status) => commands::status::run(&status, dir, bus, output).await,
            Command::Order(order) => commands::order::run(&order, dir, bus, output).await,
            Command::Orders(orders) => commands::orders::run(&orders, dir, bus, output).await,
            Command::Kill(kill) => commands::kill::run(&kill, dir, bus, output).await,
            Command::Limits(limits) => commands::limits::run(&limits, dir, bus, output).await,
            Command::Breakers(breakers) => {
                commands::breakers::run(&breakers, dir, bus, output).await
            }
            Command::Halt(halt) => commands::halt::run(&halt, dir, bus, output).await,
            Command::Release(release) => commands::release::run(&release, dir, bus, output).await,
            Command::Posture(posture) => commands::posture::run(&posture, dir, bus, output).await,
            Command::Approve(approve) => commands::approve::run(&approve, dir, bus, output).await,
            Command::Explain(explain) => commands::explain::run(&explain, dir, output),
            Command::Audit(audit) => commands::audit::run(&audit, dir, output),
            Command::Keys(keys) => commands::keys::run(&keys, dir, output).await,
            Command::Healthcheck(healthcheck) => commands::healthcheck::run(&healthcheck, output),
            Command::Container(container) => {
                commands::container::run(&container, bus, output).await
            }
        }
    })
}
