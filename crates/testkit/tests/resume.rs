//! A stack that is stopped in order goes on from what is on its disks.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use audit::verify;
use portcullis_domain::Hash;
use serde_json::Value;
use support::{Stack, http, root};

fn entries(stack: &Stack) -> Vec<Hash> {
    let entries = verify::entries(&stack.audit_log()).unwrap();
    entries.map(|entry| entry.unwrap().hash).collect()
}

/// What the stack must not forget.
fn account(status: &Value) -> (Value, Value) {
    let positions = status["positions"].as_array().unwrap().iter();
    let held = positions.map(|held| (&held["symbol"], &held["position"]));
    (
        serde_json::json!(held.collect::<Vec<_>>()),
        status["fills"].clone(),
    )
}

/// A price far below the market, where an order rests.
fn resting_price(stack: &Stack) -> String {
    let path = "/v5/market/orderbook?category=linear&symbol=XRPUSDT&limit=1";
    let answer = http(stack.port("exchange"), "GET", path, "").unwrap();
    let book: Value = serde_json::from_str(&answer.body).unwrap();
    let best = book["result"]["b"][0][0].as_str().unwrap();
    let (whole, fraction) = best.split_once('.').unwrap_or((best, ""));
    let ticks: u64 = format!("{whole}{fraction:0<4}").parse().unwrap();
    let ticks = ticks * 97 / 100;
    format!("{}.{:04}", ticks / 10_000, ticks % 10_000)
}

fn open_at_exchange(stack: &Stack) -> usize {
    let orders = stack.exchange("/admin/orders");
    let orders = orders["orders"].as_array().unwrap().iter();
    let open = |order: &&Value| {
        matches!(
            order["orderStatus"].as_str(),
            Some("New" | "PartiallyFilled")
        )
    };
    orders.filter(open).count()
}

#[test]
fn a_stack_goes_on_where_it_was_stopped_and_stays_killed() {
    let mut stack = Stack::start(&root().join("config"), &[]);
    for quantity in ["20", "10"] {
        let buy = ["order", "buy", "XRPUSDT", "--quantity", quantity];
        let (exit, order) = stack.portcullis(&buy);
        assert_eq!(
            (exit, order["standing"].as_str()),
            (0, Some("over")),
            "{order}"
        );
    }
    let price = resting_price(&stack);
    let rest = [
        "order",
        "buy",
        "XRPUSDT",
        "--quantity",
        "15",
        "--tif",
        "gtc",
        "--price",
        &price,
    ];
    for _ in 0..2 {
        let (exit, order) = stack.portcullis(&rest);
        assert_eq!(
            (exit, order["standing"].as_str()),
            (0, Some("resting")),
            "{order}"
        );
    }
    assert_eq!(open_at_exchange(&stack), 2);
    let before = stack.wait_for_status("two orders rest", |status| status["orders_open"] == 2);
    let account_before = account(&before);
    assert!(account_before.1.as_u64() >= Some(2), "{before}");

    // Ctrl-C: what rests is cancelled, and what is left open is said.
    assert_eq!(stack.interrupt(), Some(0), "{}", stack.log());
    let said = stack.log();
    for line in [
        "stop execution: it cancels what is open",
        "stopped. Left open at the exchange:",
        "  position XRPUSDT 30",
        "The next start goes on from there.",
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    assert!(!said.contains("  order "), "an order is left open:\n{said}");
    let recorded = entries(&stack);
    verify::verify(&stack.audit_log(), &verify::Options::default()).unwrap();

    // The same folder again.
    stack.start_again();
    stack.wait_until_trading(Duration::from_secs(60));
    let status = stack.portcullis(&["status"]).1;
    assert_eq!(account(&status), account_before, "positions and fills");
    assert_eq!(status["orders_open"], 0, "{status}");
    assert_eq!(open_at_exchange(&stack), 0);
    let sell = ["order", "sell", "XRPUSDT", "--quantity", "12"];
    let (exit, order) = stack.portcullis(&sell);
    assert_eq!(exit, 0, "it trades again: {order}");
    let (exit, killed) = stack.portcullis(&["kill", "--reason", "end of the day"]);
    assert_eq!(exit, 0, "{killed}");
    let before = stack.wait_for_status("the sale is booked", |status| {
        account(status).1.as_u64() > account_before.1.as_u64()
    });
    stack.stop();
    let grown = entries(&stack);
    assert!(
        grown.starts_with(&recorded),
        "an entry of the first run is lost"
    );
    assert!(grown.len() > recorded.len());

    // Pulled stays pulled.
    stack.start_again();
    let status = stack.wait_for_status("everybody knows that it is killed", |status| {
        let brain = status["services"]["brain"]["detail"].as_str();
        brain.is_some_and(|detail| detail.starts_with("kill switch"))
    });
    assert_eq!(status["standing"], "stopped", "{status}");
    for service in ["risk-guard", "execution", "signer"] {
        assert_eq!(status["services"][service]["kill"], "TRIGGERED", "{status}");
    }
    assert_eq!(account(&status), account(&before));
    let (exit, order) = stack.portcullis(&sell);
    assert_eq!(
        (exit, order["reason"].as_str()),
        (3, Some("KILL_SWITCH")),
        "{order}"
    );
    stack.stop();
    let last = entries(&stack);
    assert!(last.starts_with(&grown) && last.len() > grown.len());
    let report = verify::verify(&stack.audit_log(), &verify::Options::default()).unwrap();
    assert_eq!((report.gaps, report.violations), (0, 0), "{report:?}");
    for source in ["execution", "brain", "risk-guard", "signer"] {
        let starts = report.sources.iter();
        let starts = starts.filter(|start| start.source.as_str() == source);
        assert_eq!(starts.count(), 3, "{source} started three times");
    }
}

/// With a journal went the day's loss, or what was signed before; with a latch, whether it was
/// pulled. Nobody may take that for a first start.
#[test]
fn what_a_service_must_remember_and_lost_pulls_the_kill_switch() {
    let lost = [
        ("execution", "journal"),
        ("signer", "signatures.journal"),
        ("risk-guard", "latch.toml"),
    ];
    let mut stack = Stack::start(&root().join("config"), &[]);
    stack.stop();
    for (service, file) in lost {
        let path = stack.folder().join("state").join(service).join(file);
        std::fs::remove_file(&path).unwrap();
    }
    stack.start_again();
    let status = stack.wait_for_status("all three say that they are killed", |status| {
        lost.iter()
            .all(|(service, _)| status["services"][service]["kill"].as_str() == Some("TRIGGERED"))
    });
    assert_eq!(status["standing"], "stopped", "{status}");
    let (exit, order) = stack.portcullis(&["order", "buy", "XRPUSDT", "--quantity", "20"]);
    assert_ne!(exit, 0, "nothing is traded: {order}");
    assert_eq!(open_at_exchange(&stack), 0);
}
