//! What the exchange did, what execution booked and what audit recorded, and whether that is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::verify;
use portcullis_domain::{Exposure, Fill, OrderStatus, Reason};
use portcullis_wire::messages::{Decision, ExecutionReport, Outcome, PermitTaken, Verdict};
use serde_json::Value;

use crate::support::{Stack, wait_for};

/// How long the three may take until they agree.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How long audit may take to finish a write that is looked at meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of each execution: its order, its side, its price, quantity and fee.
pub type Fills = BTreeMap<String, (String, String, String, String, String)>;
/// Of each order: how it stands and how much of it filled.
type Orders = BTreeMap<String, (OrderStatus, String)>;

/// What they agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// Every execution.
    pub fills: Fills,
    /// The orders at the exchange.
    pub orders: BTreeSet<String>,
    /// Who refused how often for what reason.
    pub refused: BTreeMap<String, u64>,
    /// What audit's log holds.
    pub report: verify::Report,
}

/// Everything that is told by audit's log.
#[derive(Default)]
struct Recorded {
    fills: Fills,
    reports: Orders,
    permits: BTreeSet<String>,
    refused: BTreeMap<String, u64>,
}

impl Recorded {
    fn refuse(&mut self, by: &str, reason: Reason) {
        let count = self.refused.entry(format!("{by}: {reason}"));
        *count.or_default() += 1;
    }
}

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

/// Every execution at the exchange.
pub fn fills_at_exchange(stack: &Stack) -> Fills {
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

/// Every order at the exchange; each is there once.
fn orders_at_exchange(stack: &Stack) -> Orders {
    let listed = stack.exchange("/admin/orders");
    let mut orders = Orders::new();
    for order in listed["orders"].as_array().unwrap() {
        let link = text(&order["orderLinkId"]);
        let status = match order["orderStatus"].as_str().unwrap() {
            "New" | "PartiallyFilled" => OrderStatus::Open,
            "Filled" => OrderStatus::Filled,
            "Cancelled" | "PartiallyFilledCanceled" => OrderStatus::Cancelled,
            "Rejected" => OrderStatus::Rejected,
            other => panic!("an order stands at {other}"),
        };
        let filled = plain(order["cumExecQty"].as_str().unwrap());
        let before = orders.insert(link.clone(), (status, filled));
        assert!(before.is_none(), "order {link} is at the exchange twice");
    }
    orders
}

fn recorded(log: &Path) -> Recorded {
    let mut recorded = Recorded::default();
    let mut said = Vec::new();
    for entry in verify::entries(log).unwrap() {
        let entry = entry.unwrap();
        if entry.subject.starts_with("evt.execution.fill.") {
            let (_, fill) = verify::read_unsealed::<Fill>(&entry.content).unwrap();
            let booked = (
                fill.order.to_string(),
                fill.side.to_string(),
                plain(&fill.price.to_string()),
                plain(&fill.quantity.to_string()),
                plain(&fill.fee.to_string()),
            );
            let execution = fill.execution.to_string();
            let before = recorded.fills.insert(execution, booked.clone());
            assert!(before.is_none(), "a fill is announced once: {booked:?}");
        } else if entry.subject.starts_with("evt.execution.report.") {
            let (_, report) = verify::read_unsealed::<ExecutionReport>(&entry.content).unwrap();
            let filled = report
                .filled
                .map_or_else(|| "0".into(), |it| it.to_string());
            if let Some(reason) = report.reason {
                recorded.refuse("execution", reason);
            }
            let standing = (report.status, plain(&filled));
            said.push(((entry.boot, entry.seq), report.order.to_string(), standing));
        } else if entry.subject.starts_with("evt.brain.decision.") {
            let (_, decision) = verify::read_unsealed::<Decision>(&entry.content).unwrap();
            if let Outcome::Refused(reason) = decision.outcome {
                recorded.refuse("brain", reason);
            }
        } else if entry.subject.starts_with("evt.risk-guard.verdict.") {
            let (_, verdict) = verify::read_unsealed::<Verdict>(&entry.content).unwrap();
            if let Outcome::Refused(reason) = verdict.outcome {
                recorded.refuse("risk-guard", reason);
            }
        } else if entry.subject == "evt.execution.permit" {
            let (_, taken) = verify::read_unsealed::<PermitTaken>(&entry.content).unwrap();
            recorded.permits.insert(taken.order.to_string());
        }
    }
    // The log keeps them as they came; what a dead start had not sent comes after it.
    said.sort_by_key(|(place, ..)| *place);
    let last = said
        .into_iter()
        .map(|(_, order, standing)| (order, standing));
    recorded.reports = last.collect();
    recorded
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

/// What differs between the exchange's orders and the last that audit recorded of each.
fn differences(exchange: &Orders, recorded: &Recorded) -> Vec<String> {
    let mut found = Vec::new();
    for (order, at_exchange) in exchange {
        if !recorded.permits.contains(order) {
            found.push(format!(
                "{order} is at the exchange, and audit has no permit"
            ));
        }
        let said = recorded.reports.get(order);
        if said != Some(at_exchange) {
            found.push(format!(
                "{order} is {at_exchange:?}, and audit has {said:?}"
            ));
        }
    }
    for (order, said) in &recorded.reports {
        let never_there = matches!(said.0, OrderStatus::Refused | OrderStatus::Rejected);
        if !exchange.contains_key(order) && !never_there {
            found.push(format!("{order} is {said:?}, and not at the exchange"));
        }
    }
    found
}

/// The exchange, execution and audit agree on every order and every fill, to the last decimal, as soon
/// as nothing is under way any more; audit's log, in the folder where it is found, verifies.
pub fn assert_agree_with(stack: &Stack, log: &Path, what: &str) -> Agreed {
    let mut last = Vec::new();
    let mut poll = || {
        let (_, status) = stack.portcullis(&["status"]);
        let (fills, orders) = (fills_at_exchange(stack), orders_at_exchange(stack));
        let recorded = recorded(log);
        last = differences(&orders, &recorded);
        let open = orders
            .values()
            .filter(|(status, _)| *status == OrderStatus::Open);
        let numbers = [
            ("open", &status["orders_open"], open.count()),
            ("in doubt", &status["orders_unknown"], 0),
            ("fills", &status["fills"], fills.len()),
        ];
        for (name, said, there) in numbers {
            if said.as_u64() != u64::try_from(there).ok() {
                last.push(format!("{name}: execution says {said}, there are {there}"));
            }
        }
        if recorded.fills != fills {
            let (one, other) = (recorded.fills.len(), fills.len());
            last.push(format!("fills: {one} in audit, {other} at the exchange"));
        }
        let refused = recorded.refused;
        last.is_empty().then_some((status, fills, orders, refused))
    };
    let begun = std::time::Instant::now();
    let settled = loop {
        match poll() {
            Some(settled) => break Some(settled),
            None if begun.elapsed() > SETTLE_MAX => break None,
            None => std::thread::park_timeout(Duration::from_millis(100)),
        }
    };
    let Some((status, fills, orders, refused)) = settled else {
        panic!("{what}: after {SETTLE_MAX:?} they do not agree: {last:#?}");
    };
    assert_eq!(
        position_in_status(&status),
        positions_of(&fills),
        "execution's book"
    );
    assert_sent_once(stack);
    let options = verify::Options {
        patience: PATIENCE,
        ..verify::Options::default()
    };
    let report = verify::verify(log, &options).unwrap();
    eprintln!(
        "{what}: {} orders at the exchange, {} fills, {} entries in the log, {} gaps, {} violations",
        orders.len(),
        fills.len(),
        report.entries,
        report.gaps,
        report.violations,
    );
    assert_eq!(report.violations, 0);
    // What came late after all is named as a gap, and no longer as missing.
    let missing: Vec<_> = report
        .sources
        .iter()
        .filter(|start| start.missing > 0)
        .collect();
    assert!(missing.is_empty(), "facts are lost: {missing:?}");
    assert!(!fills.is_empty(), "something was traded");
    Agreed {
        fills,
        orders: orders.into_keys().collect(),
        refused,
        report,
    }
}

/// The same with audit's log where it usually is.
pub fn assert_agree(stack: &Stack, what: &str) -> Agreed {
    assert_agree_with(stack, &stack.audit_log(), what)
}

/// The exchange counts anew when it is killed; twice is wrong in any case.
fn assert_sent_once(stack: &Stack) {
    let requests = stack.exchange("/admin/requests");
    let requests = requests["createRequests"].as_object().unwrap();
    let twice: Vec<_> = requests
        .iter()
        .filter(|(_, count)| count.as_u64() > Some(1))
        .collect();
    assert!(twice.is_empty(), "each order was sent once: {twice:?}");
}

/// Everything is cancelled, and then the three agree.
pub fn assert_all_agree(stack: &Stack, what: &str) -> Agreed {
    let (exit, killed) = stack.portcullis(&["kill", "--reason", "end of the test"]);
    assert_eq!(exit, 0, "{killed}");
    wait_for("nothing open", SETTLE_MAX, || {
        let (_, status) = stack.portcullis(&["status"]);
        (status["orders_open"] == 0).then_some(())
    });
    assert_agree(stack, what)
}

/// The folder with the repository's settings, with the rates that a load needs.
pub fn settings_for_load(
    folder: &Path,
    settings: impl Fn(&Path, &[(&str, &str, &str)]) -> PathBuf,
    more: &[(&str, &str, &str)],
) -> PathBuf {
    let proposals = "proposals_per_second_max = ";
    let orders = "orders_per_second_max = ";
    let (slow, fast) = (format!("{proposals}50"), format!("{proposals}500"));
    let (few, many) = (format!("{orders}100"), format!("{orders}500"));
    let mut changes = vec![
        ("brain.toml", slow.as_str(), fast.as_str()),
        ("risk-guard.toml", &few, &many),
        ("signer.toml", &few, &many),
    ];
    changes.extend_from_slice(more);
    settings(folder, &changes)
}

/// What the exchange allows, for a load.
pub const EXCHANGE_RATES: [&str; 4] = [
    "--exchange-argument=--order-rate-per-second=1000",
    "--exchange-argument=--query-rate-per-second=1000",
    "--exchange-argument=--address-rate-per-5s=100000",
    "--exchange-argument=--open-orders-max=5000",
];
