//! Builds everything and kills processes of the real stack at random moments.

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Kills so many from this seed, or from one that the time chooses and that is printed; whether all
/// accounts agreed afterwards.
pub fn run(workspace: &Workspace, kills: u64, seed: Option<u64>) -> Result<bool> {
    // The services too: the test starts them.
    let build = ["build", "--locked", "--workspace", "--bins"];
    let built = workspace.command("cargo")?.args(build).status();
    if !built.context("start cargo build")?.success() {
        return Ok(false);
    }
    let mut test = workspace.command("cargo")?;
    test.args(["test", "--locked", "--package", "portcullis-testkit"])
        .args(["--test", "crash", "--", "--exact", "--nocapture"])
        .arg("kills::processes_are_killed_at_random_moments_under_load_and_all_accounts_agree")
        .env("PORTCULLIS_CRASH_KILLS", kills.to_string());
    if let Some(seed) = seed {
        test.env("PORTCULLIS_CRASH_SEED", seed.to_string());
    }
    let status = test.status().context("start the crash test")?;
    Ok(status.success())
}
