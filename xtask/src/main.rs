//! Checks of the workspace itself: `cargo xtask --help`.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

mod arch;
mod attack;
mod attributes;
mod bench;
mod ci;
mod cores;
mod counts;
mod crash;
mod finding;
mod fuzz;
mod lexer;
mod mutants;
mod shell;
mod simulation;
mod tidy;
mod volatility;
mod walls;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::finding::Finding;
use crate::workspace::Workspace;

/// Checks of the workspace itself.
///
/// The rules that a reader must be able to rely on are checked here and not by eye. No check has
/// an off switch, and one that cannot find its subject or its tool fails.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask ci              everything that a change must pass (./scripts/test installs the tools first)
  cargo xtask ci fmt clippy   only these steps, while working
  cargo xtask arch            after adding a dependency: says which line arch.toml wants
  cargo xtask tidy            before committing
  cargo xtask bench seal      one benchmark, in about a minute once it is built
  cargo xtask attack --cell nats-server/place   one cell of the attack suite
  cargo xtask sim --seeds 1000       the simulation with faults; --planted puts its oracle to the test
  cargo xtask crash --kills 1000 --seed 7   the same moments again, as far as the machine allows
  cargo xtask volatility bars.csv.gz   what a limit of volatility would have cost";

const SIM_EXAMPLES: &str = "\
Examples:
  cargo xtask sim                          500 seeds from 0, as in every `cargo xtask ci`
  cargo xtask sim --seeds 10000 --from 500   ten thousand others
  cargo xtask sim --seed 610               the whole story of one
  cargo xtask sim --coverage               what occurred, and how often
  cargo xtask sim --planted                which seed finds which planted bug
  cargo xtask sim --seed 0 --bug ignores-receipt   the story of one that was found";

#[derive(Subcommand)]
enum Command {
    /// Run every step that a change must pass, in order, and count at the end.
    ///
    /// A failed step does not stop the later ones, except that nothing is tested which did not
    /// build. The last line is `N passed, N failed`: tests one by one, every other step as one.
    Ci {
        /// Run only these steps.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(ci::step_names()))]
        steps: Vec<String>,
    },
    /// Compare every manifest with arch.toml, and the sources of the cores with their rules.
    ///
    /// Refused: a dependency that arch.toml does not list, a line of it that nothing uses, a
    /// crate that does not inherit versions and lints, a banned package in Cargo.lock, and a
    /// core (crates/*/core, domain, venue, wire) that is not no_std, lacks its lints, or
    /// mentions std, hash maps or floats outside its tests.
    Arch,
    /// Look for what should not be in a committed file.
    ///
    /// Ignored tests, unfinished code and notes about it, lint exceptions without a reason, paths
    /// in Markdown that do not exist, paths of one machine, package registries, private keys,
    /// files that grew too long, stray whitespace and line ends. Looks at everything git tracks
    /// or would track.
    Tidy,
    /// Check every shell script with shellcheck.
    Shell,
    /// Measure, each figure against the bare operation beside it in the same run.
    ///
    /// Builds everything for release first. `path` and `memory` start the whole stack.
    Bench {
        /// Only this benchmark: seal, rotation, risk, execution, recovery, audit, path or memory.
        name: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Play the attacker with stolen material against the real stack: who can do what, and who sees it.
    ///
    /// With `--mutants`, remove one check after another from a copy of the sources and make sure
    /// that each time at least one cell turns red. That builds the copy first and takes a while.
    Attack {
        /// Only this cell, written ATTACKER/GOAL; may be given several times. No report is written.
        #[arg(long, value_name = "CELL", conflicts_with = "mutants")]
        cell: Vec<String>,
        /// Write docs/attack-report.md.
        #[arg(long, conflicts_with_all = ["cell", "mutants"])]
        write: bool,
        /// Remove one check after another.
        #[arg(long)]
        mutants: bool,
        /// Only this entry of crates/attack/mutants.toml; may be given several times. No report is
        /// written.
        #[arg(long, value_name = "NAME", requires = "mutants")]
        only: Vec<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Run every core in one thread, from one seed, while everything around them goes wrong.
    ///
    /// The seed decides which messages are lost, which process dies at which point of its journal,
    /// what the venue does, and when; after every step an oracle of its own checks that what must
    /// never happen did not. Ends with a count; a violation is told with its seed, the last events
    /// before it, and the command that plays it again to the last event. Exit code 1 then.
    ///
    /// With `--planted` the oracle is put to the test: one bug after another is planted, and each
    /// must be found, as what it is. See docs/simulation.md.
    #[command(after_help = SIM_EXAMPLES)]
    Sim(simulation::Arguments),
    /// Kill processes of the real stack at random moments under load, and compare all accounts.
    ///
    /// Execution most often, each again while it starts up. Afterwards the exchange, execution and audit
    /// must agree on every order and every fill.
    Crash {
        /// How many to kill.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
        kills: u64,
        /// What the moments follow from; printed, and chosen by the time where it is left out.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Show how often a limit of volatility would have stopped trading, from recorded bars.
    ///
    /// Works out the volatility of every minute as the guard does, and plays it to the circuit
    /// breaker of the policy with limits of 50, 100 and 150 %. See docs/volatility.md.
    Volatility {
        /// One-minute bars as CSV, also compressed with gzip: a heading with `timestamp` and `close`,
        /// the oldest bar first, times as `2022-01-31 23:59:00` in UTC.
        file: PathBuf,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: the check could not be made: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything passed.
fn run(command: &Command) -> Result<bool> {
    let workspace = Workspace::load()?;
    Ok(match command {
        Command::Ci { steps } => ci::run(&workspace, steps)?,
        Command::Arch => report("arch", &arch::check_workspace(&workspace)?),
        Command::Tidy => report("tidy", &tidy::check_workspace(&workspace)?),
        Command::Shell => report("shell", &shell::check_workspace(&workspace)?),
        Command::Bench { name, json } => bench::run(&workspace, name.as_deref(), *json)?,
        Command::Attack {
            mutants: true,
            only,
            json,
            ..
        } => mutants::run(&workspace, only, *json)?,
        Command::Attack {
            cell, json, write, ..
        } => attack::run(&workspace, cell, *json, *write)?,
        Command::Sim(arguments) => simulation::run(&workspace, arguments)?,
        Command::Crash { kills, seed } => crash::run(&workspace, *kills, *seed)?,
        Command::Volatility { file, json } => volatility::run(file, *json)?,
    })
}

/// Prints the findings of one check and says whether there were none.
fn report(check: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("{check}: ok"),
        1 => println!("{check}: 1 finding"),
        count => println!("{check}: {count} findings"),
    }
    findings.is_empty()
}
