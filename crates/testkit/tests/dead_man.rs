//! The venue's own dead man's switch, with the real stack: what rests is cancelled when execution is
//! gone for good, and stays when it comes back in time.
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
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Stack, http, wait_for};
use tempfile::TempDir;

fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
    assert!(sent.unwrap().success(), "kill {signal} {process}");
}

/// Places an order far below the market, where it rests.
fn rest(stack: &Stack) {
    let path = "/v5/market/orderbook?category=linear&symbol=XRPUSDT&limit=1";
    let answer = http(stack.port("exchange"), "GET", path, "").unwrap();
    let book: Value = serde_json::from_str(&answer.body).unwrap();
    let best = book["result"]["b"][0][0].as_str().unwrap();
    let (whole, fraction) = best.split_once('.').unwrap_or((best, ""));
    let ticks: u64 = format!("{whole}{fraction:0<4}").parse().unwrap();
    let ticks = ticks * 97 / 100;
    let price = format!("{}.{:04}", ticks / 10_000, ticks % 10_000);
    let (exit, order) = stack.portcullis(&[
        "order",
        "buy",
        "XRPUSDT",
        "--quantity",
        "15",
        "--tif",
        "gtc",
        "--price",
        &price,
    ]);
    let standing = order["standing"].as_str();
    assert_eq!((exit, standing), (0, Some("resting")), "{order}");
}

/// State and kind of end of the one order.
fn order(stack: &Stack) -> (String, String) {
    let orders = stack.exchange("/admin/orders");
    let order = &orders["orders"][0];
    let word = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
    (word("orderStatus"), word("cancelType"))
}

#[test]
fn the_venue_cancels_what_rests_once_execution_is_gone_for_good_and_not_before() {
    let folder = TempDir::new().unwrap();
    let recording = feed::recording(folder.path());
    let feed = format!("--feed=replay:{}", recording.display());
    let window = [(
        "execution.toml",
        "disconnect_cancel_s = 10",
        "disconnect_cancel_s = 6",
    )];
    let config = support::settings(folder.path(), &window);
    let stack = Stack::start(&config, &[feed.as_str()]);
    rest(&stack);

    // Back in time: it still rests, however long one waits for the account to be compared.
    stack.kill_and_wait("execution");
    stack.wait_until_trading(Duration::from_secs(60));
    assert_eq!(order(&stack).0, "New");

    // Nobody starts it again: the venue is on its own.
    signal(stack.supervisor(), "-STOP");
    signal(stack.pid("execution").unwrap(), "-KILL");
    let ended = wait_for("the venue to cancel", Duration::from_secs(30), || {
        Some(order(&stack)).filter(|(state, _)| state != "New")
    });
    signal(stack.supervisor(), "-CONT");
    assert_eq!(ended, ("Cancelled".to_owned(), "CancelByDCP".to_owned()));

    // Execution comes back, finds out, and trades on.
    stack.wait_for_status("execution knows", |status| {
        status["standing"] == "trading" && status["orders_open"] == 0
    });
}
