//! The WebSocket streams over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Home, KEY, OTHER_SECRET, SECRET, Socket, now_ms};

#[test]
fn answers_operations_in_the_documented_words() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut public = exchange.socket("/v5/public/linear");
    let pong = public.ask(&json!({"op": "ping", "req_id": "7"}));
    assert_eq!(
        (
            &pong["success"],
            &pong["ret_msg"],
            &pong["op"],
            &pong["req_id"]
        ),
        (&json!(true), &json!("pong"), &json!("ping"), &json!("7"))
    );
    let refused = public.ask(&json!({"op": "subscribe", "args": ["orderbook.50.NOUSDT"]}));
    assert_eq!(refused["success"], false);
    assert_eq!(
        refused["ret_msg"],
        "error:handler not found,topic:orderbook.50.NOUSDT"
    );
    let refused = public.ask(&json!({"op": "dance"}));
    assert_eq!(refused["success"], false);
    public.send(&json!({"op": "subscribe", "args": ["publicTrade.XRPUSDT"], "req_id": "a"}));
    let accepted = public.next();
    assert_eq!(
        (&accepted["success"], &accepted["op"], &accepted["req_id"]),
        (&json!(true), &json!("subscribe"), &json!("a"))
    );
    let mut private = exchange.socket("/v5/private");
    let pong = private.ask(&json!({"op": "ping", "req_id": "8"}));
    assert_eq!(
        (&pong["op"], &pong["req_id"]),
        (&json!("pong"), &json!("8"))
    );
    assert!(
        pong["args"][0].as_str().unwrap().parse::<i64>().is_ok(),
        "{pong}"
    );
}

#[test]
fn a_private_socket_needs_a_good_login() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.socket("/v5/private");
    let refused = socket.ask(&json!({"op": "subscribe", "args": ["order"]}));
    assert_eq!(refused["ret_msg"], "Request not authorized");
    assert_eq!(
        socket.login(KEY, OTHER_SECRET, now_ms() + 5_000)["success"],
        false
    );
    assert_eq!(
        socket.login(KEY, SECRET, now_ms() - 1)["success"],
        false,
        "expired"
    );
    assert_eq!(socket.login(KEY, SECRET, now_ms() + 5_000)["success"], true);
    let accepted = socket.ask(&json!({"op": "subscribe", "args": ["order"]}));
    assert_eq!(accepted["success"], true);
}

#[test]
fn tells_an_order_from_new_to_filled_with_its_execution_position_and_wallet() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let topics = ["order", "execution", "position", "wallet"];
    let mut socket = exchange.private_socket(&topics);
    exchange.create("told", "Buy", "1500", "2.0002").result();
    let mut told: Vec<(String, Value)> = Vec::new();
    while told.last().is_none_or(|(topic, _)| topic != "wallet") {
        let message = socket.next();
        let topic = message["topic"].as_str().unwrap().to_owned();
        told.push((topic, message["data"][0].clone()));
    }
    let shown: Vec<String> = told
        .iter()
        .map(|(topic, data)| match topic.as_str() {
            "order" => format!(
                "order {} {}",
                data["orderStatus"].as_str().unwrap(),
                data["cumExecQty"].as_str().unwrap()
            ),
            "execution" => format!(
                "fill {}@{} left {}",
                data["execQty"].as_str().unwrap(),
                data["execPrice"].as_str().unwrap(),
                data["leavesQty"].as_str().unwrap()
            ),
            "position" => format!(
                "position {} {}",
                data["side"].as_str().unwrap(),
                data["size"].as_str().unwrap()
            ),
            _ => format!(
                "wallet {}",
                data["coin"][0]["walletBalance"].as_str().unwrap()
            ),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "order New 0",
            "fill 1000@2.0001 left 500",
            "fill 500@2.0002 left 0",
            "order Filled 1500",
            "position Buy 1500",
            // 100000 - (2000.1 + 1000.1) * 0.00055
            "wallet 99998.34989",
        ]
    );
}

#[test]
fn categorised_topics_and_other_accounts_get_their_own_only() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut mine = exchange.private_socket(&["order.linear"]);
    let mut theirs = exchange.socket("/v5/private");
    theirs.login(support::OTHER_KEY, OTHER_SECRET, now_ms() + 5_000);
    theirs.ask(&json!({"op": "subscribe", "args": ["order", "execution", "position", "wallet"]}));
    exchange.create("mine", "Buy", "10", "2.0001").result();
    assert_eq!(mine.next_of("order.linear")["orderLinkId"], "mine");
    assert!(
        theirs.is_quiet_for(Duration::from_millis(300)),
        "another account's events leaked"
    );
}

/// A book kept from a stream, as a client would.
#[derive(Default)]
struct Kept {
    bids: BTreeMap<String, String>,
    asks: BTreeMap<String, String>,
    u: u64,
}

impl Kept {
    /// Takes a message; panics when a delta does not follow.
    fn take(&mut self, message: &Value) {
        let data = &message["data"];
        let u = data["u"].as_u64().unwrap();
        if message["type"] == "snapshot" {
            *self = Self::default();
        } else {
            assert_eq!(u, self.u + 1, "a gap in u");
        }
        self.u = u;
        for (side, levels) in [(&mut self.bids, &data["b"]), (&mut self.asks, &data["a"])] {
            for level in levels.as_array().unwrap() {
                let (price, qty) = (level[0].as_str().unwrap(), level[1].as_str().unwrap());
                if qty == "0" {
                    assert!(side.remove(price).is_some(), "{price} was not there");
                } else {
                    side.insert(price.to_owned(), qty.to_owned());
                }
            }
        }
    }

    fn of(result: &Value) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let side = |levels: &Value| {
            let levels = levels.as_array().unwrap().iter();
            levels
                .map(|level| {
                    (
                        level[0].as_str().unwrap().to_owned(),
                        level[1].as_str().unwrap().to_owned(),
                    )
                })
                .collect()
        };
        (side(&result["b"]), side(&result["a"]))
    }
}

fn subscribed(socket: &mut Socket, topic: &str) {
    let reply = socket.ask(&json!({"op": "subscribe", "args": [topic]}));
    assert_eq!(reply["success"], true, "{reply}");
}

#[test]
fn a_book_kept_from_deltas_equals_the_book_by_rest() {
    for depth in [1, 50, 200, 500] {
        let home = Home::new();
        // A market that moves often, and then stands still because its recording has ended.
        let path = home.path("moving.data");
        let mut file = std::fs::File::create(&path).unwrap();
        for step in 0..60_u64 {
            let kind = if step == 0 { "snapshot" } else { "delta" };
            let level = |side: u64, index: u64| {
                let ticks = if side == 0 {
                    19_999 - index
                } else {
                    20_001 + index
                };
                let qty = if step > 0 && index > 0 && (step + index).is_multiple_of(5) {
                    0
                } else {
                    (step * 7 + index) % 90 + 1
                };
                json!([
                    format!("{}.{:04}", ticks / 10_000, ticks % 10_000),
                    qty.to_string()
                ])
            };
            let chosen = |side| -> Vec<Value> {
                (0..600)
                    .filter(|index| step == 0 || *index == 0 || index % 60 == step)
                    .map(|index| level(side, index))
                    .collect()
            };
            let line = json!({
                "topic": "orderbook.500.XRPUSDT", "type": kind, "ts": 1_000 + step * 20,
                "data": {"s": "XRPUSDT", "b": chosen(0), "a": chosen(1), "u": step, "seq": step},
            });
            writeln!(file, "{line}").unwrap();
        }
        let exchange = home.start(&["--replay", path.to_str().unwrap()]);
        let mut socket = exchange.socket("/v5/public/linear");
        subscribed(&mut socket, &format!("orderbook.{depth}.XRPUSDT"));
        let mut kept = Kept::default();
        let target = format!("/v5/market/orderbook?category=linear&symbol=XRPUSDT&limit={depth}");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut messages = 0;
        loop {
            if !socket.is_quiet_for_message(&mut kept, &mut messages) {
                continue;
            }
            let rest = Kept::of(&exchange.public(&target).result());
            if exchange.log().contains("the recording has ended")
                && (kept.bids.clone(), kept.asks.clone()) == rest
            {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "depth {depth}: kept {:?} {:?}, REST {rest:?}",
                kept.bids,
                kept.asks
            );
        }
        assert!(messages > 1, "depth {depth} sent no delta");
        assert!(kept.bids.len() <= depth, "depth {depth}");
    }
}

trait Quiet {
    fn is_quiet_for_message(&mut self, kept: &mut Kept, messages: &mut u32) -> bool;
}

impl Quiet for Socket {
    /// Takes the next message if one comes soon; answers whether none did.
    fn is_quiet_for_message(&mut self, kept: &mut Kept, messages: &mut u32) -> bool {
        match self.next_within(Duration::from_millis(150)) {
            Some(message) => {
                kept.take(&message);
                *messages += 1;
                false
            }
            None => true,
        }
    }
}

#[test]
fn level_1_is_repeated_as_a_snapshot_with_the_same_u() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.socket("/v5/public/linear");
    subscribed(&mut socket, "orderbook.1.XRPUSDT");
    let first = socket.next();
    let second = socket.next();
    assert_eq!(
        (&first["type"], &second["type"]),
        (&json!("snapshot"), &json!("snapshot"))
    );
    assert_eq!(first["data"], second["data"]);
}

#[test]
fn our_orders_show_in_the_public_book_trades_and_ticker() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut book = exchange.socket("/v5/public/linear");
    subscribed(&mut book, "orderbook.50.XRPUSDT");
    assert_eq!(book.next()["type"], "snapshot");
    exchange.create("shown", "Buy", "25", "2.0000").result();
    let delta = book.next();
    assert_eq!(
        (&delta["data"]["b"], &delta["data"]["a"]),
        (&json!([["2.0000", "25"], ["1.9950", "0"]]), &json!([]))
    );
    let mut public = exchange.socket("/v5/public/linear");
    subscribed(&mut public, "publicTrade.XRPUSDT");
    subscribed(&mut public, "tickers.XRPUSDT");
    let ticker = public.next();
    assert_eq!(
        (&ticker["type"], &ticker["data"]["bid1Price"]),
        (&json!("snapshot"), &json!("2.0000"))
    );
    exchange.create("hits", "Sell", "25", "2.0000").result();
    let trade = public.next_of("publicTrade.XRPUSDT");
    assert_eq!(
        (&trade["p"], &trade["v"], &trade["S"]),
        (&json!("2.0000"), &json!("25"), &json!("Sell"))
    );
    let ticker = loop {
        let message = public.next();
        if message["topic"] == "tickers.XRPUSDT" {
            break message;
        }
    };
    assert_eq!(
        (&ticker["type"], &ticker["data"]["bid1Price"]),
        (&json!("delta"), &json!("1.9999"))
    );
    assert_eq!(ticker["data"]["symbol"], "XRPUSDT");
}

#[test]
fn unsubscribing_ends_a_stream_and_too_many_topics_are_refused() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.private_socket(&["order"]);
    let reply = socket.ask(&json!({"op": "unsubscribe", "args": ["order"]}));
    assert_eq!(
        (&reply["success"], &reply["op"]),
        (&json!(true), &json!("unsubscribe"))
    );
    exchange.create("unheard", "Buy", "10", "1.9").result();
    assert!(socket.is_quiet_for(Duration::from_millis(300)));
    let mut public = exchange.socket("/v5/public/linear");
    let many: Vec<_> = (0..2_000).map(|_| "publicTrade.XRPUSDT").collect();
    let reply = public.ask(&json!({"op": "subscribe", "args": many}));
    assert_eq!(
        reply["success"], false,
        "more than 21000 characters of args"
    );
}

#[test]
fn an_oversized_message_ends_the_socket() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let mut socket = exchange.socket("/v5/public/linear");
    socket.send(&json!({"op": "ping", "req_id": "x".repeat(70_000)}));
    assert!(socket.try_next().is_err());
}
