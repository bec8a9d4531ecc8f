//! What survives: `kill -9` under load, a torn journal, a full disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::{Home, order};

const STATE: [&str; 2] = ["--state", "state"];

fn state_args(home: &Home) -> (String, String) {
    (
        STATE[0].to_owned(),
        home.path(STATE[1]).to_str().unwrap().to_owned(),
    )
}

#[test]
fn every_answered_order_and_every_fill_survives_kill_9() {
    let home = Home::new();
    let (flag, directory) = state_args(&home);
    let mut answered: Vec<(String, String)> = Vec::new();
    let mut executions: Vec<Value> = Vec::new();
    for round in 0..4 {
        let mut exchange = home.start_still(&[&flag, &directory]);
        let kept = exchange.admin("/admin/executions")["executions"]
            .as_array()
            .unwrap()
            .clone();
        for known in &executions {
            assert!(kept.contains(known), "round {round} lost {known}");
        }
        for (link_id, order_id) in &answered {
            let query = format!("category=linear&orderLinkId={link_id}");
            let open = exchange.get("/v5/order/realtime", &query).result();
            assert_eq!(
                open["list"][0]["orderId"],
                json!(order_id),
                "round {round} lost {link_id}"
            );
        }
        let killed = AtomicBool::new(false);
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let (exchange, killed) = (&exchange, &killed);
                    scope.spawn(move || {
                        let mut heard = Vec::new();
                        for index in 0.. {
                            if killed.load(Ordering::Acquire) {
                                break;
                            }
                            let link_id = format!("r{round}-w{worker}-{index}");
                            // Every third takes, the others rest.
                            let price = if index % 3 == 0 { "2.0001" } else { "1.9" };
                            let body = order(&link_id, "Buy", "5", price);
                            let key = (support::KEY, support::SECRET);
                            let Ok(reply) = exchange.try_post(key, "/v5/order/create", &body)
                            else {
                                break;
                            };
                            if reply.status != 200 || reply.code() != 0 {
                                break;
                            }
                            let id = reply.result()["orderId"].as_str().unwrap().to_owned();
                            heard.push((link_id, id));
                        }
                        heard
                    })
                })
                .collect();
            // Strike in the middle of the load, once some of it has been answered.
            while exchange.admin("/admin/orders")["orders"]
                .as_array()
                .unwrap()
                .len()
                < (round + 1) * 60
            {
                std::thread::yield_now();
            }
            executions = exchange.admin("/admin/executions")["executions"]
                .as_array()
                .unwrap()
                .clone();
            exchange.signal(9);
            killed.store(true, Ordering::Release);
            for worker in workers {
                heard.extend(worker.join().unwrap());
            }
        });
        assert!(!heard.is_empty());
        answered.extend(heard);
        exchange.wait();
    }
    let exchange = home.start_still(&[&flag, &directory]);
    let state = exchange.admin("/admin/state");
    let desk = state["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|account| account["account"] == "desk")
        .unwrap()
        .clone();
    let all = exchange.admin("/admin/executions")["executions"]
        .as_array()
        .unwrap()
        .clone();
    let bought: i64 = all
        .iter()
        .map(|fill| fill["qty"].as_str().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(
        desk["positions"][0]["size"],
        json!(bought.to_string()),
        "position = sum of fills"
    );
    let ids: std::collections::BTreeSet<_> =
        all.iter().map(|fill| fill["execId"].to_string()).collect();
    assert_eq!(
        ids.len(),
        all.len(),
        "no execution id twice, over all restarts"
    );
    for (link_id, _) in answered.iter().take(20) {
        assert_eq!(
            exchange.create(link_id, "Buy", "5", "1.9").code(),
            110072,
            "{link_id} was reused"
        );
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_said_so() {
    let home = Home::new();
    let (flag, directory) = state_args(&home);
    let mut exchange = home.start_still(&[&flag, &directory]);
    exchange.create("kept", "Buy", "10", "1.9").result();
    exchange.signal(9);
    exchange.wait();
    let journal = home.path("state/journal.jsonl");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&journal)
        .unwrap();
    let torn = b"0123456789abcdef [{\"event\":\"acc";
    file.write_all(torn).unwrap();
    let exchange = home.start_still(&[&flag, &directory]);
    let said = format!("\"torn_bytes\":{}", torn.len());
    assert!(exchange.log().contains(&said), "{}", exchange.log());
    let open = exchange
        .get("/v5/order/realtime", "category=linear&settleCoin=USDT")
        .result();
    assert_eq!(open["list"].as_array().unwrap().len(), 1);
    exchange.create("next", "Buy", "10", "1.9").result();
}

#[test]
fn a_damaged_journal_stops_the_start() {
    let home = Home::new();
    let (flag, directory) = state_args(&home);
    let mut exchange = home.start_still(&[&flag, &directory]);
    exchange.create("kept", "Buy", "10", "1.9").result();
    exchange.signal(15);
    assert_eq!(exchange.wait().code(), Some(0));
    let journal = home.path("state/journal.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let book = home.still_book();
    let output = home
        .command(&["--replay", book.to_str().unwrap(), &flag, &directory])
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is damaged at line 1"), "{error}");
}

#[test]
fn a_full_disk_stops_the_exchange_and_loses_nothing_that_was_answered() {
    let home = Home::new();
    let (flag, directory) = state_args(&home);
    let book = home.still_book();
    let inner = home.command(&["--replay", book.to_str().unwrap(), &flag, &directory]);
    // A file size limit is how a disk fills for one process alone.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    let mut exchange = home.spawn(command);
    let mut answered = 0;
    for index in 0.. {
        let body = order(&format!("fill-{index}"), "Buy", "10", "1.9");
        let key = (support::KEY, support::SECRET);
        match exchange.try_post(key, "/v5/order/create", &body) {
            Ok(reply) if reply.status == 200 && reply.code() == 0 => answered += 1,
            _ => break,
        }
        assert!(index < 1_000, "the limit never struck");
    }
    assert_eq!(exchange.wait().code(), Some(1));
    let log = exchange.log();
    assert!(
        log.contains("append to") && log.contains("free space on that disk"),
        "{log}"
    );
    let exchange = home.start_still(&[&flag, &directory]);
    let orders = exchange.admin("/admin/orders")["orders"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(orders, answered, "answered orders, and no other");
}

#[test]
fn two_exchanges_never_share_a_state_directory() {
    let home = Home::new();
    let (flag, directory) = state_args(&home);
    let _exchange = home.start_still(&[&flag, &directory]);
    let book = home.still_book();
    let output = home
        .command(&["--replay", book.to_str().unwrap(), &flag, &directory])
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("another exchange uses the state directory"),
        "{error}"
    );
}
