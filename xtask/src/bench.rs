//! Builds everything for release and runs the benchmarks.

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Runs the benchmarks; whether they ran, not whether every aim was met: that is in their lines.
pub fn run(workspace: &Workspace, name: Option<&str>, json: bool) -> Result<bool> {
    let cargo = |arguments: &[&str]| -> Result<bool> {
        let status = workspace.command("cargo")?.args(arguments).status();
        Ok(status
            .with_context(|| format!("start cargo {}", arguments.join(" ")))?
            .success())
    };
    // The services too: the benchmarks of the whole way start them.
    if !cargo(&["build", "--locked", "--release", "--workspace", "--bins"])? {
        return Ok(false);
    }
    let mut arguments = vec![
        "run",
        "--locked",
        "--release",
        "--quiet",
        "--package",
        "bench",
        "--",
    ];
    arguments.extend(name);
    if json {
        arguments.push("--json");
    }
    cargo(&arguments)
}
