//! The exchange's own dead man's switch: orders of an account whose sockets are gone.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Exchange, Home, OTHER_KEY, OTHER_SECRET, order};

const PATH: &str = "/v5/order/disconnected-cancel-all";
const TOPICS: [&str; 2] = ["order.linear", "dcp.future"];

fn protect(exchange: &Exchange, window_s: u64) {
    let body = json!({"product": "DERIVATIVES", "timeWindow": window_s});
    exchange.post(PATH, &body).result();
}

fn order_at(exchange: &Exchange, link_id: &str) -> Value {
    let orders = exchange.admin("/admin/orders");
    let orders = orders["orders"].as_array().unwrap();
    let found = orders.iter().find(|order| order["orderLinkId"] == link_id);
    found.unwrap().clone()
}

fn is_open(exchange: &Exchange, link_id: &str) -> bool {
    order_at(exchange, link_id)["orderStatus"] == "New"
}

#[test]
fn orders_of_an_account_whose_last_socket_is_gone_are_cancelled_after_its_window() {
    let home = Home::new();
    let mut exchange = home.start_still(&[]);
    protect(&exchange, 3);
    exchange.create("ours", "Buy", "10", "1.9").result();
    let theirs = order("theirs", "Buy", "10", "1.9");
    let other = (OTHER_KEY, OTHER_SECRET);
    exchange
        .try_post(other, "/v5/order/create", &theirs)
        .unwrap()
        .result();
    let first = exchange.private_socket(&TOPICS);
    let second = exchange.private_socket(&TOPICS);
    let unwatching = exchange.private_socket(&["order.linear"]);
    drop(first);
    drop(second);
    let gone = Instant::now();
    exchange.until("our order cancelled", |exchange| !is_open(exchange, "ours"));
    assert!(gone.elapsed() >= Duration::from_millis(2_900), "too early");
    assert_eq!(order_at(&exchange, "ours")["cancelType"], "CancelByDCP");
    assert!(is_open(&exchange, "theirs"), "of another account");
    drop(unwatching);
}

#[test]
fn nothing_is_cancelled_while_one_socket_stays_or_comes_back_in_time() {
    let home = Home::new();
    let mut exchange = home.start_still(&[]);
    protect(&exchange, 3);
    let watching = exchange.private_socket(&TOPICS);
    exchange.create("rests", "Buy", "10", "1.9").result();
    let mut cut = exchange.private_socket(&TOPICS);
    drop(watching);
    // Every reconnection starts the time anew: together they last longer than the window.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        drop(cut);
        exchange.until("the loss noticed", |exchange| {
            exchange.admin("/admin/state")["sockets"] == 0
        });
        cut = exchange.private_socket(&TOPICS);
        assert!(
            is_open(&exchange, "rests"),
            "cancelled while a socket was there"
        );
    }
    drop(cut);
    exchange.until("the order cancelled", |exchange| {
        !is_open(exchange, "rests")
    });
}

#[test]
fn the_window_survives_kill_9_and_a_start_counts_as_a_loss() {
    let home = Home::new();
    let state = home.path("state");
    let args = ["--state", state.to_str().unwrap()];
    let mut exchange = home.start_still(&args);
    protect(&exchange, 3);
    exchange.create("left", "Buy", "10", "1.9").result();
    exchange.signal(9);
    exchange.wait();
    let mut exchange = home.start_still(&args);
    let info = exchange.get("/v5/account/query-dcp-info", "").result();
    assert_eq!(info["dcpInfos"][0]["timeWindow"], "3");
    exchange.until("the order cancelled", |exchange| !is_open(exchange, "left"));
}

#[test]
fn a_window_out_of_bounds_and_other_products_are_refused() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    for body in [
        json!({"product": "DERIVATIVES", "timeWindow": 2}),
        json!({"product": "DERIVATIVES", "timeWindow": 301}),
        json!({"product": "DERIVATIVES"}),
        json!({"product": "SPOT", "timeWindow": 10}),
        json!({"timeWindow": 10}),
    ] {
        assert_eq!(exchange.post(PATH, &body).code(), 10001, "{body}");
    }
    let info = exchange.get("/v5/account/query-dcp-info", "").result();
    assert_eq!(info["dcpInfos"], json!([]));
}
