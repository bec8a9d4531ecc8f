//! Processes that stand still for longer than any heartbeat and any lease, and then go on.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Harness, PARTS, RECOVERY_MAX};
use crate::support::wait_for;

/// Longer than an order lives, than a heartbeat counts and than the venue waits for a request.
const STILL: Duration = Duration::from_secs(6);
/// After this nothing can leave, whoever stands still: no order lives longer.
const ORDERS_OVER_AFTER: Duration = Duration::from_millis(2_500);
/// Without a heartbeat nothing new leaves after one second; the rest is what the machine may take.
const HEARTBEAT_OVER_AFTER: Duration = Duration::from_millis(1_500);
/// The least time after which execution may cancel for want of a heartbeat.
const CANCELS_AFTER: Duration = Duration::from_secs(5);

fn signal(harness: &Harness, part: &str, signal: &str) {
    let process = harness.stack.pid(part).expect("it runs").to_string();
    let sent = Command::new("kill").args([signal, &process]).status();
    assert!(sent.unwrap().success(), "kill {signal} {part}");
}

fn wait_since(begun: Instant, span: Duration) {
    while let Some(left) = span.checked_sub(begun.elapsed()) {
        std::thread::park_timeout(left);
    }
}

/// Lets a part stand still and looks that nothing leaves for want of it.
fn stand_still(harness: &Harness, part: &str) {
    harness.trade(40);
    signal(harness, part, "-STOP");
    let begun = Instant::now();
    let over_after = if part == "risk-guard" {
        HEARTBEAT_OVER_AFTER
    } else {
        ORDERS_OVER_AFTER
    };
    wait_since(begun, over_after);
    let left = harness.venue.placed_count();
    wait_since(begun, STILL);
    let later = harness.venue.placed_count();
    assert_eq!(later, left, "orders leave while {part} stands still");
    signal(harness, part, "-CONT");
    harness.wait_until_orders_leave(&format!("{part} stood still"));
}

#[test]
fn whoever_stands_still_stops_trading_and_nothing_is_sent_late_when_it_goes_on() {
    let harness = Harness::start();
    for part in PARTS {
        stand_still(&harness, part);
        eprintln!("{part} stood still and went on");
    }
    harness.finish("stood still in turn");
}

#[test]
fn without_risk_guard_nothing_new_leaves_after_a_second_and_all_is_cancelled_after_five() {
    let harness = Harness::start();
    wait_for("an order that rests", RECOVERY_MAX, || {
        (harness.open_at_exchange() > 0).then_some(())
    });
    signal(&harness, "risk-guard", "-STOP");
    let begun = Instant::now();
    wait_since(begun, HEARTBEAT_OVER_AFTER);
    let left = harness.venue.placed_count();
    wait_since(begun, CANCELS_AFTER - Duration::from_secs(1));
    assert!(harness.open_at_exchange() > 0, "cancelled before its time");
    wait_for("everything is cancelled", Duration::from_secs(5), || {
        (harness.open_at_exchange() == 0).then_some(())
    });
    let took = begun.elapsed();
    assert!(
        took >= CANCELS_AFTER - Duration::from_millis(300),
        "{took:?}"
    );
    assert_eq!(harness.venue.placed_count(), left, "nothing new left");
    eprintln!("cancelled {took:?} after risk-guard was stopped");
    signal(&harness, "risk-guard", "-CONT");
    harness.wait_until_orders_leave("risk-guard went on");
    harness.finish("risk-guard stood still");
}
