//! Every service of the real stack is heard of while nothing happens, and missed when it is not.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[path = "support/feed.rs"]
mod feed;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use audit::verify::{self, OwnedEntry};
use portcullis_wire::messages::Notice;
use support::{Stack, wait_for};
use tempfile::TempDir;

const SOURCES: [&str; 5] = ["brain", "execution", "market-data", "risk-guard", "signer"];

fn entries(stack: &Stack) -> Vec<OwnedEntry> {
    let entries = verify::entries(&stack.audit_log()).unwrap();
    entries.map_while(Result::ok).collect()
}

/// Who has shown a sign of life, with the number of its start.
fn alive(stack: &Stack) -> BTreeSet<(String, u64)> {
    let entries = entries(stack).into_iter();
    let alive = entries.filter(|entry| {
        entry.subject.ends_with(".notice")
            && verify::read_unsealed::<Notice>(&entry.content).unwrap().1 == Notice::Alive
    });
    alive
        .map(|entry| (entry.source.to_string(), entry.boot))
        .collect()
}

/// The silences on the record, in audit's own words.
fn silences(stack: &Stack) -> Vec<String> {
    let own = entries(stack).into_iter();
    own.filter(|entry| entry.subject == "audit.silence")
        .map(|entry| format!("{:?}", entry.own().unwrap()))
        .collect()
}

fn signal(stack: &Stack, service: &str, signal: &str) {
    let process = stack.pid(service).unwrap().to_string();
    let sent = Command::new("kill").args([signal, &process]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn every_service_is_heard_of_while_nothing_happens_and_missed_when_it_is_not() {
    let folder = TempDir::new().unwrap();
    let recording = feed::recording(folder.path());
    let feed = format!("--feed=replay:{}", recording.display());
    let name = "silence_timeout_ms = ";
    // Just above the 20 s after which a service with nothing to say speaks.
    let limit = (format!("{name}60000"), format!("{name}24000"));
    let limit = [("audit.toml", limit.0.as_str(), limit.1.as_str())];
    let config = support::settings(folder.path(), &limit);
    let stack = Stack::start(&config, &[feed.as_str()]);

    let first = wait_for(
        "a sign of life of everybody",
        Duration::from_secs(60),
        || {
            let alive = alive(&stack);
            let sources: BTreeSet<&str> = alive.iter().map(|(source, _)| source.as_str()).collect();
            sources.iter().eq(SOURCES.iter()).then_some(alive)
        },
    );
    assert_eq!(silences(&stack), [""; 0]);

    // Execution's places hold over a sudden end, with its signs of life among them.
    stack.kill_and_wait("execution");
    signal(&stack, "signer", "-STOP");
    let missed = wait_for("the silence of the signer", Duration::from_secs(60), || {
        let silences = silences(&stack);
        (!silences.is_empty()).then_some(silences)
    });
    signal(&stack, "signer", "-CONT");
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(
        missed.iter().all(|one| one.contains("signer")),
        "{missed:?}"
    );
    let starts = |alive: &BTreeSet<(String, u64)>| {
        let execution = alive.iter().filter(|(source, _)| source == "execution");
        execution.count()
    };
    assert_eq!(starts(&first), 1);
    wait_for(
        "execution's next start to speak",
        Duration::from_secs(60),
        || (starts(&alive(&stack)) == 2).then_some(()),
    );
    let report = verify::verify(&stack.audit_log(), &verify::Options::default()).unwrap();
    assert_eq!(report.gaps, 0, "{report:?}");
}
