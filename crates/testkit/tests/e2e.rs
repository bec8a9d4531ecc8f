//! The whole stack, with the real bus and the real binaries: what the exchange did, what execution
//! booked and what audit recorded are the same to the last decimal, also when every process is
//! killed in turn under load.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/feed.rs"]
mod feed;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/load.rs"]
mod load;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Stack, wait_for};
use tempfile::TempDir;

use crate::accounts::{EXCHANGE_RATES, assert_all_agree, settings_for_load};
use crate::load::Load;

const PROPOSALS: u64 = 1_000;

/// Copies the settings into a folder, with replacements.
type Settings = fn(&Path, &[(&str, &str, &str)]) -> PathBuf;

fn start(folder: &Path, settings: Settings) -> Stack {
    let recording = feed::recording(folder);
    let feed = format!("--feed=replay:{}", recording.display());
    let mut arguments = vec![feed.as_str()];
    arguments.extend(EXCHANGE_RATES);
    Stack::start(&settings_for_load(folder, settings, &[]), &arguments)
}

#[test]
fn a_thousand_proposals_and_three_accounts_of_them_agree() {
    let folder = TempDir::new().unwrap();
    let mut stack = start(folder.path(), support::settings);
    let identity = stack.folder().join("identity/strategy-sample");
    let sent = Load::start(&identity, &stack.bus(), PROPOSALS, 100).finish();
    assert_eq!(sent, PROPOSALS);
    let fills = assert_all_agree(&stack, "undisturbed").fills.len();
    assert!(fills > 500, "most proposals trade: {fills} fills");
    stack.stop();
}

#[test]
fn every_process_is_killed_in_turn_under_load_and_the_accounts_still_agree() {
    let folder = TempDir::new().unwrap();
    let mut stack = start(folder.path(), support::settings_with_slow_breakers);
    let identity = stack.folder().join("identity/strategy-sample");
    let load = Load::start(&identity, &stack.bus(), PROPOSALS, 20);
    let parts = [
        "brain",
        "risk-guard",
        "execution",
        "signer",
        "audit",
        "market-data",
        "paper-exchange",
        "nats-server",
    ];
    for part in parts {
        let before = load.sent();
        stack.kill_and_wait(part);
        stack.wait_until_trading(Duration::from_secs(60));
        wait_for("the load goes on", Duration::from_secs(30), || {
            (load.sent() > before + 20).then_some(())
        });
        assert!(load.sent() < PROPOSALS, "{part} was killed under load");
    }
    load.finish();
    assert_all_agree(&stack, "killed in turn");
    stack.stop();
}
