//! Money that moves without a trade: transfers and funding, by the admin endpoint.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use support::{Exchange, Home, Reply};

const LOG: &str = "/v5/account/transaction-log";

fn move_money(exchange: &Exchange, body: &Value) -> Reply {
    let body = body.to_string();
    exchange
        .http("POST", exchange.admin, "/admin/movements", &[], &body)
        .unwrap()
}

fn moved(exchange: &Exchange, body: &Value) -> Value {
    let reply = move_money(exchange, body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["id"].clone()
}

fn transfer(amount: &str) -> Value {
    json!({"account": "desk", "kind": "transfer", "amount": amount})
}

fn funding(amount: &str) -> Value {
    json!({"account": "desk", "kind": "funding", "symbol": "XRPUSDT", "amount": amount})
}

fn wallet(exchange: &Exchange) -> Decimal {
    let query = "accountType=UNIFIED";
    let wallet = exchange.get("/v5/account/wallet-balance", query).result();
    let coin = &wallet["list"][0]["coin"][0];
    coin["walletBalance"].as_str().unwrap().parse().unwrap()
}

fn log(exchange: &Exchange, query: &str) -> Vec<Value> {
    let log = exchange.get(LOG, query).result();
    log["list"].as_array().unwrap().clone()
}

#[test]
fn the_log_explains_every_change_of_the_wallet_and_survives_kill_9() {
    let home = Home::new();
    let state = home.path("state");
    let args = ["--state", state.to_str().unwrap()];
    let mut exchange = home.start_still(&args);
    let mut wallets = exchange.private_socket(&["wallet"]);
    let paid_in = moved(&exchange, &transfer("500"));
    let pushed = wallets.next_of("wallet");
    assert_eq!(pushed["coin"][0]["walletBalance"], "100500");
    exchange.create("take", "Buy", "50", "2.0001").result();
    moved(&exchange, &funding("-1.25"));
    moved(&exchange, &transfer("-100.5"));

    let all = log(&exchange, "accountType=UNIFIED&currency=USDT&limit=50");
    let shown: Vec<_> = all
        .iter()
        .map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap().to_owned();
            (word("type"), word("change"), word("symbol"))
        })
        .collect();
    let row = |kind: &str, change: &str, symbol: &str| {
        (kind.to_owned(), change.to_owned(), symbol.to_owned())
    };
    assert_eq!(
        shown,
        [
            row("TRANSFER_OUT", "-100.5", ""),
            row("SETTLEMENT", "-1.25", "XRPUSDT"),
            // 50 × 2.0001 × 0.00055
            row("TRADE", "-0.05500275", "XRPUSDT"),
            row("TRANSFER_IN", "500", ""),
        ]
    );
    assert_eq!(all[3]["id"], paid_in);
    let changes = all.iter().map(|entry| -> Decimal {
        let change = entry["change"].as_str().unwrap();
        change.parse().unwrap()
    });
    let sum: Decimal = changes.sum();
    assert_eq!(wallet(&exchange), Decimal::from(100_000) + sum);

    exchange.signal(9);
    exchange.wait();
    let exchange = home.start_still(&args);
    let query = "accountType=UNIFIED&currency=USDT&limit=50";
    assert_eq!(log(&exchange, query), all);
    assert_eq!(wallet(&exchange), Decimal::from(100_000) + sum);
}

#[test]
fn the_log_comes_in_pages_and_by_kind_and_time() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let before = support::now_ms();
    for amount in ["1", "2", "3", "4", "5"] {
        moved(&exchange, &transfer(amount));
    }
    moved(&exchange, &funding("0.5"));
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("accountType=UNIFIED&type=TRANSFER_IN&limit=2&cursor={cursor}");
        let page = exchange.get(LOG, &query).result();
        let list = page["list"].as_array().unwrap();
        seen.extend(list.iter().map(|entry| entry["change"].clone()));
        page["nextPageCursor"]
            .as_str()
            .unwrap()
            .clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
    let since = |from: i64| log(&exchange, &format!("startTime={from}")).len();
    assert_eq!(since(before), 6);
    assert_eq!(since(support::now_ms() + 60_000), 0);
    // A transfer belongs to no category.
    assert_eq!(log(&exchange, "category=linear").len(), 1);
    assert_eq!(log(&exchange, "currency=BTC").len(), 0);
    assert_eq!(exchange.get(LOG, "accountType=SPOT").code(), 10001);
}

#[test]
fn a_movement_that_makes_no_sense_is_refused() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    for bad in [
        json!({"account": "nobody", "kind": "transfer", "amount": "1"}),
        json!({"account": "desk", "kind": "gift", "amount": "1"}),
        json!({"account": "desk", "kind": "funding", "amount": "1"}),
        json!({"account": "desk", "kind": "funding", "symbol": "NONE", "amount": "1"}),
        json!({"account": "desk", "kind": "transfer", "symbol": "XRPUSDT", "amount": "1"}),
        transfer("0"),
        transfer("0.000000001"),
        transfer("2000000000000"),
        json!({"account": "desk", "kind": "transfer", "amount": 1}),
        json!({"account": "desk", "kind": "transfer", "amount": "1", "more": 1}),
    ] {
        let reply = move_money(&exchange, &bad);
        assert_eq!(reply.status, 400, "{bad}: {}", reply.body);
    }
    assert_eq!(wallet(&exchange), Decimal::from(100_000));
}
