//! Bad input to the real binaries: each gets a clear error with the next step, or a refusal that
//! reaches audit; nothing is traded, and nothing that was recorded is lost.
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
#[expect(dead_code, reason = "other tests look for the secrets in bundles")]
#[path = "../src/bundle.rs"]
mod bundle;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/load.rs"]
mod load;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

#[path = "bad_input/disk.rs"]
mod disk;
#[path = "bad_input/envelopes.rs"]
mod envelopes;
#[path = "bad_input/exchange.rs"]
mod exchange;
#[path = "bad_input/start.rs"]
mod start;

use audit::verify;
use portcullis_domain::Hash;
use support::{Setup, Stack, root, settings};
use tempfile::TempDir;

/// The hash of every entry of audit's log.
fn recorded(stack: &Stack) -> Vec<Hash> {
    let entries = verify::entries(&stack.audit_log()).unwrap();
    entries.map(|entry| entry.unwrap().hash).collect()
}

/// How many orders the exchange was ever asked to place.
fn placed(stack: &Stack) -> usize {
    let requests = stack.exchange("/admin/requests");
    requests["createRequests"].as_object().unwrap().len()
}

/// Executions at the exchange.
fn executed(stack: &Stack) -> usize {
    let executions = stack.exchange("/admin/executions");
    executions["executions"].as_array().unwrap().len()
}

#[test]
fn a_running_stack_refuses_what_is_not_right_and_trades_nothing() {
    let folder = TempDir::new().unwrap();
    // The trader has keys, and is in no table.
    let brain = std::fs::read_to_string(root().join("config/brain.toml")).unwrap();
    let table = &brain[brain.find("[strategies.trader]").unwrap()..];
    let setup = Setup {
        config: settings(folder.path(), &[("brain.toml", table, "")]),
        arguments: exchange::arguments(folder.path()),
        ..Setup::default()
    };
    let mut stack = Stack::start_in(folder, setup);
    let before = recorded(&stack);
    assert!(!before.is_empty());

    envelopes::are_refused_and_put_on_record(&stack);
    envelopes::of_an_unknown_strategy_are_refused(&stack);
    start::the_wrong_identity_is_not_admitted(&stack);
    start::an_unusable_api_key_is_refused(&stack);
    exchange::away_at_start_is_waited_for(&stack);

    assert_eq!(
        (placed(&stack), executed(&stack)),
        (0, 0),
        "nothing is traded"
    );
    stack.stop();
    assert!(
        recorded(&stack).starts_with(&before),
        "a recorded entry is lost"
    );
    verify::verify(&stack.audit_log(), &verify::Options::default()).unwrap();
}
