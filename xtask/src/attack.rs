//! Builds everything and runs the attack suite.

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// The suite.
pub const PROGRAM: &str = "attack";

/// Plays every cell, or only these; whether each came out as it must. With `write` the report is
/// written too.
pub fn run(workspace: &Workspace, cells: &[String], json: bool, write: bool) -> Result<bool> {
    // The services too: the suite starts them.
    let build = ["build", "--locked", "--workspace", "--bins"];
    let built = workspace.command("cargo")?.args(build).status();
    if !built.context("start cargo build")?.success() {
        return Ok(false);
    }
    let mut suite = workspace.command(
        &workspace
            .target
            .join("debug")
            .join(PROGRAM)
            .to_string_lossy(),
    )?;
    suite.args(cells.iter().flat_map(|cell| ["--cell", cell]));
    for (flag, wanted) in [("--json", json), ("--write", write)] {
        if wanted {
            suite.arg(flag);
        }
    }
    let status = suite.status().context("start the attack suite")?;
    Ok(status.success())
}
