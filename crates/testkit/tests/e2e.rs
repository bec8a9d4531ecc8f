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

#[path = "support/feed.rs"]
mod feed;
#[path = "support/load.rs"]
mod load;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::verify;
use portcullis_domain::{Exposure, Fill};
use serde_json::Value;
use support::{Stack, wait_for};
use tempfile::TempDir;

use crate::load::Load;

const PROPOSALS: u64 = 1_000;

/// Copies the settings into a folder, with replacements.
type Settings = fn(&Path, &[(&str, &str, &str)]) -> PathBuf;

fn start(folder: &Path, settings: Settings) -> Stack {
    let recording = feed::recording(folder);
    let feed = format!("--feed=replay:{}", recording.display());
    let arguments = [
        feed.as_str(),
        "--exchange-argument=--order-rate-per-second=1000",
        "--exchange-argument=--query-rate-per-second=1000",
        "--exchange-argument=--address-rate-per-5s=100000",
        "--exchange-argument=--open-orders-max=5000",
    ];
    // With the rates that a load needs.
    let proposals = "proposals_per_second_max = ";
    let orders = "orders_per_second_max = ";
    let rates = [
        (
            "brain.toml",
            format!("{proposals}50"),
            format!("{proposals}500"),
        ),
        (
            "risk-guard.toml",
            format!("{orders}100"),
            format!("{orders}500"),
        ),
        (
            "signer.toml",
            format!("{orders}100"),
            format!("{orders}500"),
        ),
    ];
    let rates = rates
        .each_ref()
        .map(|(file, from, to)| (*file, from.as_str(), to.as_str()));
    Stack::start(&settings(folder, &rates), &arguments)
}

type Fills = BTreeMap<String, (String, String, String, String, String)>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A decimal without trailing zeroes, so that 1.50 and 1.5 are the same number.
fn plain(number: &str) -> String {
    let trimmed = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if trimmed == "-0" {
        "0".into()
    } else {
        trimmed.into()
    }
}

fn fills_at_exchange(stack: &Stack) -> Fills {
    let executions = stack.exchange("/admin/executions");
    let fills = executions["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fill| {
            let of = |key: &str| text(&fill[key]);
            let numbers = (plain(&of("price")), plain(&of("qty")), plain(&of("fee")));
            let side = of("side").to_lowercase();
            (
                of("execId"),
                (of("orderLinkId"), side, numbers.0, numbers.1, numbers.2),
            )
        });
    fills.collect()
}

fn log(stack: &Stack) -> PathBuf {
    stack.folder().join("state/audit/log")
}

fn fills_in_audit(stack: &Stack) -> Fills {
    let mut fills = Fills::new();
    for entry in verify::entries(&log(stack)).unwrap() {
        let entry = entry.unwrap();
        if !entry.subject.starts_with("evt.execution.fill.") {
            continue;
        }
        let (_, fill) = verify::read_unsealed::<Fill>(&entry.content).unwrap();
        let recorded = (
            fill.order.to_string(),
            fill.side.to_string(),
            plain(&fill.price.to_string()),
            plain(&fill.quantity.to_string()),
            plain(&fill.fee.to_string()),
        );
        let before = fills.insert(fill.execution.to_string(), recorded.clone());
        assert!(before.is_none(), "a fill is announced once: {recorded:?}");
    }
    fills
}

/// What all fills add up to.
fn positions_of(fills: &Fills) -> Exposure {
    fills
        .values()
        .fold(Exposure::FLAT, |position, (_, side, _, quantity, _)| {
            let quantity = quantity.parse().unwrap();
            if side == "buy" {
                position.bought(quantity)
            } else {
                position.sold(quantity)
            }
            .unwrap()
        })
}

fn position_in_status(status: &Value) -> Exposure {
    let positions = status["positions"].as_array().unwrap();
    let of = positions
        .iter()
        .find(|position| position["symbol"] == "XRPUSDT");
    of.map_or(Exposure::FLAT, |position| {
        text(&position["position"]).parse().unwrap()
    })
}

/// Everything is cancelled, and then three accounts of the same day agree.
fn assert_all_agree(stack: &Stack, what: &str) {
    let (exit, killed) = stack.portcullis(&["kill", "--reason", "end of the test"]);
    assert_eq!(exit, 0, "{killed}");
    let (status, exchange) = wait_for("nothing open or in doubt", Duration::from_secs(60), || {
        let (_, status) = stack.portcullis(&["status"]);
        let exchange = fills_at_exchange(stack);
        let settled = status["orders_open"] == 0
            && status["orders_unknown"] == 0
            && status["fills"].as_u64() == Some(exchange.len() as u64);
        settled.then_some((status, exchange))
    });
    let audit = wait_for("audit has every fill", Duration::from_secs(30), || {
        let audit = fills_in_audit(stack);
        (audit.len() >= exchange.len()).then_some(audit)
    });
    assert_eq!(audit, exchange, "audit's fills and the exchange's");
    assert_eq!(
        position_in_status(&status),
        positions_of(&exchange),
        "execution's book"
    );

    let requests = stack.exchange("/admin/requests");
    let requests = requests["createRequests"].as_object().unwrap();
    // The exchange counts anew when it is killed; twice is wrong in any case.
    let twice: Vec<_> = requests
        .iter()
        .filter(|(_, count)| count.as_u64() > Some(1))
        .collect();
    assert!(twice.is_empty(), "each order was sent once: {twice:?}");
    let report = verify::verify(&log(stack), &verify::Options::default()).unwrap();
    eprintln!(
        "{what}: {} orders at the exchange, {} fills, {} entries in the log, {} gaps, {} violations",
        requests.len(),
        exchange.len(),
        report.entries,
        report.gaps,
        report.violations,
    );
    assert_eq!(report.violations, 0);
    assert!(!exchange.is_empty(), "something was traded");
}

#[test]
fn a_thousand_proposals_and_three_accounts_of_them_agree() {
    let folder = TempDir::new().unwrap();
    let mut stack = start(folder.path(), support::settings);
    let identity = stack.folder().join("identity/strategy-sample");
    let sent = Load::start(&identity, &stack.bus(), PROPOSALS, 100).finish();
    assert_eq!(sent, PROPOSALS);
    assert_all_agree(&stack, "undisturbed");
    let fills = fills_at_exchange(&stack).len();
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
