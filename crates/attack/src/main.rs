//! `cargo xtask attack`: runs the suite, prints the table, writes the page.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use portcullis_attack::stage::Stage;
use portcullis_attack::suite::{Selection, run};
use portcullis_attack::{report, stack};

/// Plays the attacker with stolen bundles against the real stack.
#[derive(Parser)]
struct Arguments {
    /// Only this attacker, such as `brain`; may be given several times
    #[arg(long, value_name = "NAME")]
    attacker: Vec<String>,
    /// Only this goal, such as `place`; may be given several times
    #[arg(long, value_name = "NAME")]
    goal: Vec<String>,
    /// Only this cell, such as `brain/place`; may be given several times
    #[arg(long, value_name = "CELL")]
    cell: Vec<String>,
    /// One JSON object a cell and line
    #[arg(long)]
    json: bool,
    /// Print the page instead of the lines
    #[arg(long)]
    markdown: bool,
    /// Write the page to docs/attack-report.md
    #[arg(long, conflicts_with_all = ["attacker", "goal", "cell"])]
    write: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let selection = Selection {
        attackers: arguments.attacker.clone(),
        goals: arguments.goal.clone(),
        cells: arguments.cell.clone(),
    };
    let quiet = arguments.json || arguments.markdown;
    let mut stage = Stage::start()?;
    let cells = run(&mut stage, &selection, |cell| {
        if !quiet {
            println!("{}", report::line(cell));
        }
        // At once: what comes after may end the suite, and what was seen stays seen.
        if arguments.json
            && let Ok(line) = serde_json::to_string(cell)
        {
            println!("{line}");
        }
    })?;
    stage.check_log()?;
    if arguments.markdown {
        println!("{}", report::page(&cells));
    }
    let (shown, red) = report::summary(&cells);
    if !quiet {
        println!(
            "{} cells: {shown} blocked or allowed as written, {red} red",
            cells.len()
        );
    }
    if arguments.write {
        let path = stack::root().join(report::PATH);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, report::replace_page(&kept, &report::page(&cells)))?;
    }
    Ok(if red == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
