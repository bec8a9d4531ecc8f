//! Every fault, as a client meets it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Exchange, Home, KEY, SECRET, now_ms, order};

/// Whether an order of this client id exists at the exchange.
fn exists(exchange: &Exchange, link_id: &str) -> bool {
    let query = format!("category=linear&orderLinkId={link_id}");
    let list = exchange.get("/v5/order/realtime", &query).result();
    !list["list"].as_array().unwrap().is_empty()
}

#[test]
fn requests_fail_before_or_after_they_are_applied() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let cases = [
        (json!({"kind": "error_before", "status": 503}), 503, false),
        (json!({"kind": "error_after", "status": 500}), 500, true),
        (json!({"kind": "forbidden"}), 403, false),
        (json!({"kind": "too_many_requests"}), 429, false),
    ];
    for (index, (mut fault, status, applied)) in cases.into_iter().enumerate() {
        fault["scope"] = json!("/v5/order/create");
        exchange.fault(&fault);
        let link_id = format!("fault-{index}");
        let reply = exchange.create(&link_id, "Buy", "10", "1.9");
        assert_eq!(reply.status, status, "{fault}");
        assert_eq!(exists(&exchange, &link_id), applied, "{fault}");
        assert_eq!(
            exchange
                .create(&format!("{link_id}-next"), "Buy", "10", "1.9")
                .code(),
            0
        );
    }
    assert_eq!(
        exchange.admin("/admin/faults"),
        json!({"faults": []}),
        "all used up"
    );
}

#[test]
fn a_dropped_response_closes_the_connection_and_leaves_the_order() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    exchange.fault(&json!({"kind": "drop_response", "scope": "/v5/order/create", "count": 2}));
    for link_id in ["lost-1", "lost-2"] {
        let body = order(link_id, "Buy", "10", "1.9");
        let reply = exchange.try_post((KEY, SECRET), "/v5/order/create", &body);
        assert!(reply.is_err(), "{reply:?}");
        assert!(exists(&exchange, link_id));
    }
    assert_eq!(exchange.create("heard", "Buy", "10", "1.9").code(), 0);
}

#[test]
fn a_delay_holds_the_answer_and_not_the_order() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.private_socket(&["order"]);
    exchange.fault(&json!({"kind": "delay", "delay_ms": 600, "scope": "/v5/order/create"}));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| {
            exchange.create("late", "Buy", "10", "1.9").result();
            begin.elapsed()
        });
        assert_eq!(socket.next_of("order")["orderLinkId"], "late");
        assert!(
            begin.elapsed() < Duration::from_millis(600),
            "the stream waited, too"
        );
        assert!(answered.join().unwrap() >= Duration::from_millis(600));
    });
}

#[test]
fn a_silent_socket_stays_open_until_all_is_cleared() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.private_socket(&["order"]);
    exchange.fault(&json!({"kind": "silent_socket", "scope": "/v5/private"}));
    exchange.create("unheard", "Buy", "10", "1.9").result();
    socket.send(&json!({"op": "ping"}));
    assert!(
        socket.is_quiet_for(Duration::from_millis(400)),
        "it neither speaks nor closes"
    );
    exchange
        .http("DELETE", exchange.admin, "/admin/faults", &[], "")
        .unwrap();
    exchange.create("heard", "Buy", "10", "1.9").result();
    assert_eq!(socket.next_of("order")["orderLinkId"], "heard");
}

#[test]
fn a_cut_socket_ends_and_only_within_its_scope() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut private = exchange.private_socket(&["order"]);
    let mut public = exchange.socket("/v5/public/linear");
    exchange.fault(&json!({"kind": "cut_socket", "scope": "/v5/private"}));
    assert!(private.try_next().is_err());
    assert_eq!(public.ask(&json!({"op": "ping"}))["ret_msg"], "pong");
}

#[test]
fn events_come_twice_or_out_of_order() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.private_socket(&["order"]);
    exchange.fault(&json!({"kind": "duplicate_event", "scope": "order"}));
    exchange.create("twice", "Buy", "10", "1.9").result();
    let (first, second) = (socket.next(), socket.next());
    assert_eq!(first, second, "the same message, id included");
    exchange.fault(&json!({"kind": "reorder_event", "scope": "order"}));
    exchange.create("swapped", "Buy", "10", "2.0001").result();
    let states: Vec<_> = (0..2)
        .map(|_| socket.next_of("order")["orderStatus"].clone())
        .collect();
    assert_eq!(states, [json!("Filled"), json!("New")]);
    exchange.fault(&json!({"kind": "reorder_event", "scope": "order"}));
    exchange.create("alone", "Buy", "10", "1.9").result();
    assert_eq!(
        socket.next_of("order")["orderLinkId"],
        "alone",
        "late, but not lost"
    );
}

#[test]
fn a_skipped_delta_leaves_a_gap_in_u() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.socket("/v5/public/linear");
    socket.ask(&json!({"op": "subscribe", "args": ["orderbook.50.XRPUSDT"]}));
    let snapshot = socket.next()["data"]["u"].as_u64().unwrap();
    exchange.fault(&json!({"kind": "skip_delta", "scope": "orderbook.50.XRPUSDT"}));
    exchange.create("skipped", "Buy", "10", "1.9999").result();
    assert!(socket.is_quiet_for(Duration::from_millis(200)));
    exchange.create("sent", "Buy", "10", "1.9999").result();
    assert_eq!(socket.next()["data"]["u"], snapshot + 2);
}

#[test]
fn orders_fill_in_part_or_are_rejected_after_acceptance() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.private_socket(&["order"]);
    exchange.fault(&json!({"kind": "partial_fill", "share": "0.3"}));
    exchange.create("part", "Buy", "10", "2.0001").result();
    assert_eq!(socket.next_of("order")["orderStatus"], "New");
    let part = socket.next_of("order");
    assert_eq!(
        (&part["orderStatus"], &part["cumExecQty"]),
        (&json!("PartiallyFilled"), &json!("3"))
    );
    exchange.fault(&json!({"kind": "reject_order"}));
    exchange.create("rejected", "Buy", "10", "2.0001").result();
    assert_eq!(socket.next_of("order")["orderStatus"], "New");
    let rejected = socket.next_of("order");
    assert_eq!(
        (&rejected["orderStatus"], &rejected["rejectReason"]),
        (&json!("Rejected"), &json!("EC_Others"))
    );
}

#[test]
fn a_skewed_clock_shows_in_the_time_and_refuses_honest_requests() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let id = exchange.fault(&json!({"kind": "clock_skew", "skew_ms": -2_000}));
    let time = exchange.public("/v5/market/time").json()["time"]
        .as_i64()
        .unwrap();
    assert!((time + 2_000 - now_ms()).abs() < 1_000, "{time}");
    assert_eq!(exchange.get("/v5/account/info", "").code(), 10002);
    exchange
        .http(
            "DELETE",
            exchange.admin,
            &format!("/admin/faults/{id}"),
            &[],
            "",
        )
        .unwrap();
    assert_eq!(exchange.get("/v5/account/info", "").code(), 0);
}

#[test]
fn faults_are_listed_cleared_and_checked() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let id = exchange.fault(&json!({"kind": "delay", "delay_ms": 5, "scope": "/v5/*", "count": 9}));
    let listed = exchange.admin("/admin/faults");
    assert_eq!(
        listed["faults"],
        json!([{"id": id, "kind": "delay", "delay_ms": 5, "scope": "/v5/*", "count": 9, "remaining": 9}])
    );
    for bad in [
        json!({"kind": "earthquake"}),
        json!({"kind": "delay"}),
        json!({"kind": "delay", "delay_ms": 1, "count": 0}),
        json!({"kind": "drop_response", "scopes": "/v5"}),
    ] {
        let reply = exchange
            .http(
                "POST",
                exchange.admin,
                "/admin/faults",
                &[],
                &bad.to_string(),
            )
            .unwrap();
        assert_eq!(reply.status, 400, "{bad}: {}", reply.body);
    }
}

#[test]
fn without_the_admin_option_there_is_no_admin_endpoint() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    assert_eq!(
        exchange.public("/admin/faults").status,
        404,
        "not on the public listener"
    );
}
