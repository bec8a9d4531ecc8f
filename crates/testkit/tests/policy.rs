//! Brain, risk-guard and execution run one risk policy, or nothing is traded: whoever reads another
//! digest than its own says so, and it is over without a restart when the digests agree again.
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

use std::path::Path;
use std::time::Duration;

use audit::verify;
use portcullis_domain::Hash;
use portcullis_runtime::policy;
use portcullis_wire::messages::Notice;
use serde_json::Value;
use support::{Setup, Stack, settings, wait_for};
use tempfile::TempDir;

const BUY: [&str; 5] = ["order", "buy", "XRPUSDT", "--quantity", "20"];
const SERVICES: [&str; 3] = ["brain", "risk-guard", "execution"];
/// Who runs another policy, and with it who notices whom.
const CASES: [(&str, &[(&str, &str)]); 3] = [
    (
        "risk-guard",
        &[
            ("brain", "risk-guard"),
            ("execution", "risk-guard"),
            ("risk-guard", "execution"),
        ],
    ),
    (
        "execution",
        &[
            ("brain", "execution"),
            ("risk-guard", "execution"),
            ("execution", "risk-guard"),
        ],
    ),
    ("brain", &[("brain", "risk-guard"), ("brain", "execution")]),
];

#[test]
fn while_one_service_runs_another_policy_nothing_is_traded_and_everybody_says_who_runs_what() {
    let folder = TempDir::new().unwrap();
    let setup = Setup {
        config: settings(folder.path(), &[]),
        ..Setup::default()
    };
    let path = setup.config.join("risk-policy.toml");
    let stack = Stack::start_in(folder, setup);
    let agreed = std::fs::read_to_string(&path).unwrap();
    let other = agreed.replace("orders_open_max = 1000\n", "orders_open_max = 999\n");
    let (_, hash) = policy::load(&path).unwrap();
    trades(&stack);
    for (service, witnesses) in CASES {
        let processes = SERVICES.map(|name| stack.pid(name));
        let placed = placed(&stack);
        let other_hash = restart_with(&stack, service, &path, &other);
        assert_ne!(other_hash, hash, "the file is another policy");
        for (witness, seen) in witnesses {
            let runs = if *seen == service { other_hash } else { hash };
            alerts(&stack, witness, seen, runs);
        }
        let status = stack.wait_for_status("the brain says why", |status| {
            let brain = &status["services"]["brain"];
            brain["ready"] == false && brain["detail"].as_str().unwrap().contains(" runs policy ")
        });
        assert_eq!(status["standing"], "waiting", "{status}");
        let policies = |name: &str| status["services"][name]["policy"].clone();
        assert_eq!(policies(service), Value::String(other_hash.to_string()));

        let (exit, order) = stack.portcullis(&BUY);
        assert_ne!(exit, 0, "{service}: {order}");
        assert!(order.to_string().contains("POLICY_MISMATCH"), "{order}");
        assert_eq!(self::placed(&stack), placed, "{service}: nothing is placed");

        restart_with(&stack, service, &path, &agreed);
        stack.wait_until_trading(Duration::from_secs(60));
        for (witness, seen) in witnesses {
            agrees(&stack, witness, seen);
        }
        for (name, before) in SERVICES.iter().zip(processes) {
            let same = stack.pid(name) == before;
            assert_eq!(same, *name != service, "{name} was restarted, or not");
        }
        trades(&stack);
    }
    on_record(&stack, hash);
}

fn trades(stack: &Stack) {
    let (exit, order) = stack.portcullis(&BUY);
    let standing = order["standing"].as_str();
    assert_eq!((exit, standing), (0, Some("over")), "{order}");
}

/// How many orders the exchange was ever asked to place.
fn placed(stack: &Stack) -> usize {
    let requests = stack.exchange("/admin/requests");
    requests["createRequests"].as_object().unwrap().len()
}

fn restart_with(stack: &Stack, service: &str, path: &Path, text: &str) -> Hash {
    std::fs::write(path, text).unwrap();
    stack.kill_and_wait(service);
    policy::load(path).unwrap().1
}

/// Waits until a service is not ready because another runs this policy, and counts it.
fn alerts(stack: &Stack, witness: &str, seen: &str, runs: Hash) {
    let digits: String = runs.to_string().chars().take(12).collect();
    let words = format!("{seen} runs policy {digits}");
    let what = format!("{witness} says that {words}");
    wait_for(&what, Duration::from_secs(30), || {
        let ready = stack.health(witness, "/readyz")?;
        (ready.status == 503 && ready.body.contains(&words)).then_some(())
    });
    let metrics = stack.health(witness, "/metrics").unwrap().body;
    let gauge = format!("portcullis_policy_mismatch{{service=\"{seen}\"}} 1");
    assert!(metrics.contains(&gauge), "{witness} counts {seen}");
}

/// Waits until a service is ready again and counts no mismatch.
fn agrees(stack: &Stack, witness: &str, seen: &str) {
    let gauge = format!("portcullis_policy_mismatch{{service=\"{seen}\"}} 0");
    let what = format!("{witness} agrees with {seen}");
    wait_for(&what, Duration::from_secs(30), || {
        let ready = stack.health(witness, "/readyz")?;
        let metrics = stack.health(witness, "/metrics")?;
        (ready.status == 200 && metrics.body.contains(&gauge)).then_some(())
    });
}

/// Audit has each alert and each end of one.
fn on_record(stack: &Stack, agreed: Hash) {
    let mut notices = Vec::new();
    for entry in verify::entries(&stack.audit_log()).unwrap() {
        let entry = entry.unwrap();
        let witness = entry.subject.strip_prefix("evt.");
        let Some(witness) = witness.and_then(|rest| rest.strip_suffix(".notice")) else {
            continue;
        };
        let notice: Notice = verify::read_unsealed(&entry.content).unwrap().1;
        if let Notice::Policy { service, runs, own } = notice {
            let seen = service.as_str().to_owned();
            notices.push((witness.to_owned(), seen, runs == own, own == agreed));
        }
    }
    for (service, witnesses) in CASES {
        // Who was restarted itself tells of the others before it is restarted once more.
        for (witness, seen) in witnesses {
            let alert = (
                (*witness).to_owned(),
                (*seen).to_owned(),
                false,
                *witness != service,
            );
            assert!(notices.contains(&alert), "{alert:?} in {notices:?}");
            if *witness != service {
                let end = (alert.0, alert.1, true, true);
                assert!(notices.contains(&end), "{end:?} in {notices:?}");
            }
        }
    }
    let once = ("execution".to_owned(), "risk-guard".to_owned(), false, true);
    let count = notices.iter().filter(|notice| **notice == once).count();
    assert_eq!(count, 1, "told once, and not with every heartbeat");
}
