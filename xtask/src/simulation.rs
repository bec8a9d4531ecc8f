//! Builds the simulation, optimised, and runs it.

use anyhow::{Context as _, Result};
use clap::Args;

use crate::workspace::Workspace;

/// The package, and the program in it.
const PACKAGE: &str = "portcullis-sim";
const PROGRAM: &str = "sim";

/// What the simulation is asked for.
#[derive(Args)]
pub struct Arguments {
    /// How many seeds [default: 500, and with --planted at most 2000 for each bug].
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed [default: 0].
    #[arg(long, value_name = "S")]
    from: Option<u64>,
    /// Go on after a violation. If not, the seeds before it are still run to their end.
    #[arg(long, conflicts_with_all = ["seed", "planted"])]
    keep_going: bool,
    /// Print how often what occurred.
    #[arg(long)]
    coverage: bool,
    /// Only this seed, with its whole story.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from", "planted"])]
    seed: Option<u64>,
    /// With this bug planted, as `--planted` names it.
    #[arg(long, value_name = "NAME", requires = "seed")]
    bug: Option<String>,
    /// Plant one bug after another and print which seed found it. Exit code 1 if one was not found.
    #[arg(long)]
    planted: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs it; whether nothing was violated, or every planted bug was found.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    let build = [
        "build",
        "--locked",
        "--release",
        "--package",
        PACKAGE,
        "--bin",
        PROGRAM,
    ];
    let built = workspace.command("cargo")?.args(build).status();
    if !built.context("start cargo build")?.success() {
        return Ok(false);
    }
    let program = workspace.target.join("release").join(PROGRAM);
    let mut simulation = workspace.command(&program.to_string_lossy())?;
    for (option, number) in [
        ("--seeds", arguments.seeds),
        ("--from", arguments.from),
        ("--seed", arguments.seed),
    ] {
        simulation.args(number.map(|number| format!("{option}={number}")));
    }
    simulation.args(arguments.bug.iter().flat_map(|bug| ["--bug", bug]));
    for (flag, wanted) in [
        ("--keep-going", arguments.keep_going),
        ("--coverage", arguments.coverage),
        ("--planted", arguments.planted),
        ("--json", arguments.json),
    ] {
        if wanted {
            simulation.arg(flag);
        }
    }
    let status = simulation.status().context("start the simulation")?;
    Ok(status.success())
}
