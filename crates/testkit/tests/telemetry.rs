//! What the running stack says about itself: one trace from proposal to fill, counters for each hop
//! and each refusal, health, and logs; none of it with a secret in it, none of it able to hold up an
//! order.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests spoil bundles with the rest of it")]
#[path = "../src/bundle.rs"]
mod bundle;
#[path = "support/collector.rs"]
mod collector;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use collector::{Collector, Span};
use portcullis_runtime::Client;
use portcullis_wire::messages::{SignAction, SignRequest};
use portcullis_wire::principal::Execution;
use portcullis_wire::subjects::SIGN;
use serde_json::{Value, json};
use support::{Setup, Stack, settings, wait_for};
use tempfile::TempDir;

const SERVICES: [&str; 6] = [
    "market-data",
    "audit",
    "signer",
    "risk-guard",
    "execution",
    "brain",
];
const BUY: [&str; 5] = ["order", "buy", "XRPUSDT", "--quantity", "20"];

#[test]
fn the_stack_tells_how_it_is_and_no_secret() {
    let collector = Collector::start();
    let folder = TempDir::new().unwrap();
    // Risk-guard is the stricter one, so that it has something to refuse.
    let limit = "order_notional_max = ";
    let (from, to) = (format!("{limit}\"5000\""), format!("{limit}\"1500\""));
    let setup = Setup {
        config: settings(folder.path(), &[("risk-policy.toml", &from, &to)]),
        arguments: vec![format!("--otlp={}", collector.url())],
        // The most that anybody would ever have written down.
        environment: vec![("RUST_LOG", "debug")],
        ..Setup::default()
    };
    let mut stack = Stack::start_in(folder, setup);

    one_trace_from_proposal_to_fill(&stack, &collector);
    every_hop_and_every_refusal_is_counted(&stack);
    everybody_is_alive_and_ready(&stack);
    a_collector_that_never_answers_holds_up_nothing(&stack, &collector);
    let secrets = secrets(&stack.folder());
    the_signer_counts_what_it_refuses(&stack);
    nobody_tells_a_secret(&stack, &secrets);
    stack.stop();
    logs_are_json_without_secrets(&stack, &secrets);
}

fn one_trace_from_proposal_to_fill(stack: &Stack, collector: &Collector) {
    let (exit, order) = stack.portcullis(&BUY);
    assert_eq!(
        (exit, order["standing"].as_str()),
        (0, Some("over")),
        "{order}"
    );
    assert!(!order["fills"].as_array().unwrap().is_empty(), "{order}");
    // Each span with the one that caused it; the proposal's own span is the trader's.
    let expected = BTreeSet::from([
        ("portcullis-brain", "brain.decide", ""),
        ("portcullis-risk-guard", "risk-guard.judge", "brain.decide"),
        ("portcullis-execution", "execution.take", "risk-guard.judge"),
        ("portcullis-audit", "audit.receipt", "execution.take"),
        ("portcullis-signer", "sign", "execution.take"),
        ("portcullis-execution", "execution.send", "execution.take"),
        ("portcullis-execution", "execution.fill", "execution.take"),
    ]);
    let spans = wait_for("the whole trace", Duration::from_secs(20), || {
        let all = collector.spans();
        let fill = all.iter().find(|span| span.name == "execution.fill")?;
        let of_it = all.iter().filter(|span| span.trace == fill.trace);
        let of_it: Vec<Span> = of_it.cloned().collect();
        let names: BTreeSet<_> = of_it.iter().map(|span| span.name.clone()).collect();
        (names.len() >= expected.len()).then_some(of_it)
    });
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "every span has its own id");
    let edge = |span: &Span| {
        let parent = by_id.get(&span.parent).map_or("", |parent| &parent.name);
        (span.service.clone(), span.name.clone(), parent.to_owned())
    };
    let seen: BTreeSet<_> = spans.iter().map(edge).collect();
    let seen: BTreeSet<_> = seen
        .iter()
        .map(|(service, name, parent)| (service.as_str(), name.as_str(), parent.as_str()))
        .collect();
    assert_eq!(seen, expected);
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| !by_id.contains_key(&span.parent))
        .collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(
        roots[0].parent.len(),
        8,
        "the trader began the trace: {:?}",
        roots[0]
    );
}

/// The metrics of a service, each line without its comment lines.
fn metrics(stack: &Stack, name: &str) -> String {
    let answer = stack.health(name, "/metrics").unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

/// The sum of a metric over all lines that begin with this text.
fn total(metrics: &str, begin: &str) -> u64 {
    let values = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(begin);
        rest.is_some_and(|rest| rest.starts_with([' ', '{', ',', '}']) || begin.contains('{'))
    });
    values
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn every_hop_and_every_refusal_is_counted(stack: &Stack) {
    // One refusal by the brain, one by risk-guard, one by the venue.
    let (exit, order) = stack.portcullis(&["order", "buy", "XRPUSDT", "--notional", "2600"]);
    assert_eq!(
        (exit, order["reason"].as_str()),
        (3, Some("BUDGET_EXCEEDED")),
        "{order}"
    );
    let (exit, order) = stack.portcullis(&["order", "buy", "XRPUSDT", "--notional", "2000"]);
    assert_eq!(
        (exit, order["refused_by"].as_str()),
        (3, Some("risk-guard")),
        "{order}"
    );
    let reason = order["reason"].as_str().unwrap();
    let by_guard = format!("portcullis_risk_guard_refusals_total{{reason=\"{reason}\"}}");
    stack.fault(&json!({ "kind": "reject_order" }));
    let (exit, refused) = stack.portcullis(&BUY);
    assert_eq!(
        (exit, refused["refused_by"].as_str()),
        (3, Some("the venue")),
        "{refused}"
    );
    let reason = refused["reason"].as_str().unwrap();
    let by_venue = format!("portcullis_refusals_total{{reason=\"{reason}\"}}");
    let counted = [
        (
            "market-data",
            "portcullis_market_data_published_total{kind=\"book\"}",
        ),
        (
            "market-data",
            "portcullis_market_data_published_total{kind=\"trade\"}",
        ),
        (
            "market-data",
            "portcullis_market_data_published_total{kind=\"closes\"}",
        ),
        ("brain", "portcullis_brain_orders_total"),
        (
            "brain",
            "portcullis_brain_refusals_total{reason=\"BUDGET_EXCEEDED\"}",
        ),
        ("risk-guard", "portcullis_risk_guard_permits_total"),
        ("risk-guard", by_guard.as_str()),
        ("execution", "portcullis_execution_permits_total"),
        ("execution", "portcullis_execution_sent_total"),
        ("execution", "portcullis_execution_fills_total"),
        ("execution", by_venue.as_str()),
        (
            "signer",
            "portcullis_signatures_total{action=\"place\",result=\"signed\"}",
        ),
        ("audit", "portcullis_audit_receipts_total"),
        ("audit", "portcullis_audit_entries_total"),
    ];
    for (service, name) in counted {
        wait_for(
            &format!("{service} counts {name}"),
            Duration::from_secs(5),
            || (total(&metrics(stack, service), name) > 0).then_some(()),
        );
    }
}

fn everybody_is_alive_and_ready(stack: &Stack) {
    // The refused order made the venue look troubled for a moment.
    stack.wait_until_trading(Duration::from_secs(30));
    for service in SERVICES {
        let alive = stack.health(service, "/healthz").unwrap();
        assert_eq!(
            (alive.status, alive.body.as_str()),
            (200, "alive\n"),
            "{service}"
        );
        wait_for(
            &format!("{service} is ready"),
            Duration::from_secs(10),
            || {
                let ready = stack.health(service, "/readyz")?;
                (ready.status == 200).then_some(())
            },
        );
    }
}

fn a_collector_that_never_answers_holds_up_nothing(stack: &Stack, collector: &Collector) {
    collector.go_deaf();
    for round in 0..3 {
        let began = Instant::now();
        let (exit, order) = stack.portcullis(&BUY);
        assert_eq!(
            (exit, order["standing"].as_str()),
            (0, Some("over")),
            "{order}"
        );
        assert!(!order["fills"].as_array().unwrap().is_empty(), "{order}");
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "order {round} took {:?}",
            began.elapsed()
        );
        wait_for("spans that nobody takes", Duration::from_secs(10), || {
            (collector.unanswered() > 0).then_some(())
        });
    }
}

/// Somebody with the keys of execution asks for a signature without a permit.
fn the_signer_counts_what_it_refuses(stack: &Stack) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = "portcullis_signatures_total{action=\"place\",result=\"";
    let refusals =
        |metrics: &str| total(metrics, refused) - total(metrics, &format!("{refused}signed"));
    assert_eq!(refusals(&metrics(stack, "signer")), 0);
    runtime.block_on(async {
        let identity = stack.folder().join("identity/execution");
        let client = Client::<Execution>::connect(&identity, &stack.bus())
            .await
            .unwrap();
        let request = SignRequest {
            action: SignAction::Place {
                permit: vec![0; 64],
            },
            timestamp_ms: client.now().0 / 1_000,
            payload: b"{}".to_vec(),
        };
        client.publish(&SIGN, None, &request, None, None).unwrap();
        client.flush().await.unwrap();
        client.close().await;
    });
    wait_for("the signer's refusal", Duration::from_secs(10), || {
        (refusals(&metrics(stack, "signer")) == 1).then_some(())
    });
    let envelopes = "portcullis_refused_envelopes_total{code=\"MALFORMED_FRAME\"";
    assert_eq!(
        total(&metrics(stack, "signer"), envelopes),
        1,
        "the permit was none"
    );
}

/// Everything in the folder that nobody else may know, with the file it is from.
fn secrets(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut secrets = bundle::secrets(&folder.join("identity"));
    secrets.extend(bundle::secrets(&folder.join("exchange")));
    let kinds: BTreeSet<_> = secrets
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    for kind in [
        "bundle.sealed",
        "bundle.key",
        "roots.key",
        "server.key",
        "trading.secret",
        "reading.secret",
    ] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
    // Every bundle has an NKey, a private key and link keys; some have signing seeds and secrets.
    assert!(secrets.len() > 100, "{}", secrets.len());
    secrets
}

fn assert_silent(place: &str, text: &str, secrets: &[(PathBuf, String)]) {
    for (path, secret) in secrets {
        // Never the secret itself in the message.
        assert!(
            !text.contains(secret),
            "{place} tells what is in {}",
            path.display()
        );
    }
}

fn nobody_tells_a_secret(stack: &Stack, secrets: &[(PathBuf, String)]) {
    for service in SERVICES {
        assert_silent(
            &format!("the metrics of {service}"),
            &metrics(stack, service),
            secrets,
        );
    }
    let mut processes = vec![("the supervisor", stack.supervisor())];
    for name in SERVICES.iter().chain(&["nats-server", "paper-exchange"]) {
        processes.push((name, stack.pid(name).unwrap()));
    }
    for (name, pid) in processes {
        for what in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{what}")).unwrap();
            assert!(!bytes.is_empty(), "{what} of {name}");
            let text = String::from_utf8_lossy(&bytes);
            assert_silent(&format!("the {what} of {name}"), &text, secrets);
        }
    }
}

fn logs_are_json_without_secrets(stack: &Stack, secrets: &[(PathBuf, String)]) {
    for name in SERVICES.iter().chain(&["paper-exchange"]) {
        let log = stack.log_of(name);
        assert!(log.lines().count() > 1, "{name} logs");
        for line in log.lines() {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{name} does not log JSON: {error}: {line}"));
            assert!(
                line["level"].is_string() && line["timestamp"].is_string(),
                "{line}"
            );
        }
        assert_silent(&format!("the log of {name}"), &log, secrets);
    }
    assert_silent("the log of the bus", &stack.log_of("nats-server"), secrets);
    assert_silent("the supervisor", &stack.log(), secrets);
}
