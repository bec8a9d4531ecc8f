//! Wires that are cut, a bus and an exchange that restart, and answers that never come.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::support::wait_for;

/// Longer than the heartbeat counts, and than execution waits until it cancels.
const SILENCE: Duration = Duration::from_secs(6);

fn pause(millis: u64) {
    std::thread::park_timeout(Duration::from_millis(millis));
}

#[test]
fn cut_connections_lose_nothing_and_send_nothing_twice() {
    let harness = Harness::start();
    for round in 0..5_u64 {
        assert!(harness.bus.cut() >= 5, "every service is on the bus");
        pause(100 + 70 * round);
        harness.venue.cut();
        pause(130 * round);
        harness.trade(20);
    }
    for (wire, answers) in [(&harness.venue, 1), (&harness.venue, 5), (&harness.bus, 5)] {
        wire.cut_answers(answers);
        wait_for("answers are cut", Duration::from_secs(30), || {
            (wire.answers_to_cut() == 0).then_some(())
        });
        harness.wait_until_orders_leave("answers were cut");
    }
    for wire in [&harness.bus, &harness.venue] {
        wire.silence(true);
        std::thread::park_timeout(SILENCE);
        let left = harness.venue.placed_count();
        pause(500);
        assert_eq!(
            harness.venue.placed_count(),
            left,
            "orders leave in silence"
        );
        // What was held back comes now, late, unless the other side has given up.
        wire.silence(false);
        harness.wait_until_orders_leave("a silence");
    }
    harness.finish("cut connections");
}

/// Asks a part to end, as an operator who updates it does, and waits until it runs again.
fn restart(harness: &Harness, part: &str) {
    harness.trade(20);
    let before = harness.stack.pid(part).expect("it runs");
    let asked = Command::new("kill")
        .args(["-TERM", &before.to_string()])
        .status();
    assert!(asked.unwrap().success());
    wait_for("it starts again", Duration::from_secs(30), || {
        harness.stack.pid(part).filter(|pid| *pid != before)
    });
    harness.wait_until_orders_leave(&format!("{part} restarted"));
}

/// Asks the exchange for a fault and waits until it has happened as often as it should.
fn fault(harness: &Harness, fault: &Value) {
    harness.trade(20);
    harness.stack.fault(fault);
    wait_for("the fault to happen", Duration::from_secs(60), || {
        let waiting = harness.stack.exchange("/admin/faults");
        waiting["faults"].as_array()?.is_empty().then_some(())
    });
    harness.wait_until_orders_leave(&fault.to_string());
}

#[test]
fn a_bus_and_an_exchange_that_restart_or_fail_lose_nothing_and_are_sent_nothing_twice() {
    let harness = Harness::start();
    for part in [
        "nats-server",
        "paper-exchange",
        "nats-server",
        "paper-exchange",
    ] {
        restart(&harness, part);
    }
    let create = "/v5/order/create";
    let faults = [
        json!({"kind": "drop_response", "scope": create, "count": 3}),
        json!({"kind": "delay", "delay_ms": 4_000, "scope": create}),
        json!({"kind": "error_after", "scope": create, "count": 2}),
        json!({"kind": "error_before", "scope": create, "count": 2}),
        json!({"kind": "too_many_requests", "scope": create, "count": 2}),
        json!({"kind": "partial_fill", "share": "0.5", "count": 5}),
        json!({"kind": "reject_order", "count": 2}),
        json!({"kind": "duplicate_event", "scope": "execution*", "count": 5}),
        json!({"kind": "reorder_event", "scope": "order*", "count": 5}),
    ];
    for asked in &faults {
        fault(&harness, asked);
        eprintln!("recovered from {asked}");
    }
    // The account is read when the stream was cut; that answer is lost, too.
    harness
        .stack
        .fault(&json!({"kind": "drop_response", "scope": "/v5/order/realtime"}));
    fault(
        &harness,
        &json!({"kind": "cut_socket", "scope": "/v5/private"}),
    );
    harness.finish("restarts and faults");
}
