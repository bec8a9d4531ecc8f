//! Facts reach their readers and the stream, through the real server.

use std::time::Duration;

use crate::common::{fill, recv, service};
use portcullis_runtime::{BusError, Client, Service};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::principal::{Audit, Execution, Operator, RiskGuard, Strategy};
use portcullis_wire::subjects::FILL;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_publish_reaches_the_stream_and_every_reader_and_is_acknowledged() {
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let operator: Client<Operator> =
        Client::connect(&server.identity("operator-dev"), &server.url())
            .await
            .unwrap();
    let sample: Client<Strategy> =
        Client::connect(&server.identity("strategy-sample"), &server.url())
            .await
            .unwrap();

    let lines = [(FILL.row, Some("sample"))];
    let mut at_guard = guard.listen(&lines, 8).await.unwrap();
    let mut at_operator = operator.listen(&lines, 8).await.unwrap();
    let mut at_sample = sample.listen(&lines, 8).await.unwrap();
    let mut at_audit = audit.facts_consumer().await.unwrap();

    let fill = fill(1);
    let sealed = execution
        .fact(&FILL, Some("sample"), &fill, None, None)
        .unwrap();

    for (inbox, client) in [
        (&mut at_guard, "risk-guard"),
        (&mut at_operator, "operator"),
        (&mut at_sample, "strategy"),
    ] {
        let raw = recv(inbox).await;
        assert_eq!(raw.subject, "evt.execution.fill.sample", "{client}");
        assert_eq!(&raw.bytes[..], &sealed.frame[..], "{client}");
    }
    let (raw, acknowledger) = tokio::time::timeout(Duration::from_secs(10), at_audit.recv())
        .await
        .unwrap();
    assert_eq!(&raw.bytes[..], &sealed.frame[..]);
    assert_eq!(audit.open_fact(&FILL, &raw).unwrap().message(), &fill);
    assert_eq!(acknowledger.sequence(), 1);
    acknowledger.confirm().await.unwrap();

    let mut acknowledged = execution.facts_acknowledged();
    let done = acknowledged.wait_for(|count| *count == 1);
    tokio::time::timeout(Duration::from_secs(10), done)
        .await
        .unwrap()
        .unwrap();

    // Each reader got it once: the next thing that comes is the next fact.
    let next = execution
        .fact(&FILL, Some("sample"), &crate::common::fill(2), None, None)
        .unwrap();
    for inbox in [&mut at_guard, &mut at_operator, &mut at_sample] {
        assert_eq!(&recv(inbox).await.bytes[..], &next.frame[..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fact_is_lost_or_stored_twice_when_the_server_is_killed_again_and_again() {
    const FACTS: u64 = 600;
    let mut server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let mut sent = Vec::new();
    for number in 0..FACTS {
        if number % 150 == 100 {
            server.kill();
        }
        if number % 150 == 140 {
            server.restart();
        }
        let sealed = execution
            .fact(&FILL, Some("sample"), &fill(number), None, None)
            .unwrap();
        sent.push((sealed.id, sealed.seq));
        tokio::task::yield_now().await;
    }
    let mut acknowledged = execution.facts_acknowledged();
    let done = acknowledged.wait_for(|count| *count == FACTS);
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .unwrap()
        .unwrap();

    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    let mut stored = Vec::new();
    while stored.len() < sent.len() {
        let next = tokio::time::timeout(Duration::from_secs(10), facts.recv());
        let (raw, acknowledger) = next.await.unwrap();
        let fact = audit.open_fact(&FILL, &raw).unwrap();
        stored.push((fact.id(), fact.header().seq));
        assert_eq!(acknowledger.sequence(), stored.len() as u64);
        acknowledger.acknowledge().await.unwrap();
    }
    // What the client library held when a connection broke comes first after it.
    stored.sort_by_key(|(_, seq)| *seq);
    assert!(stored == sent, "lost or stored twice: {stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_refuses_and_uses_up_no_place() {
    let mut server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    server.kill();
    let mut last = 0;
    let refused = loop {
        match execution.fact(&FILL, Some("sample"), &fill(last), None, None) {
            Ok(sealed) => last = sealed.seq,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, BusError::OutboxFull(8_192)),
        "{refused:?}"
    );
    assert!(!execution.has_room_for_facts());
    server.restart();
    let mut acknowledged = execution.facts_acknowledged();
    let done = acknowledged.wait_for(|count| *count == last);
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .unwrap()
        .unwrap();
    let next = execution
        .fact(&FILL, Some("sample"), &fill(last), None, None)
        .unwrap();
    assert_eq!(next.seq, last + 1, "refused facts left no gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_of_an_earlier_process_is_acknowledged_and_stored_once() {
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let sealed = execution
        .fact(&FILL, Some("sample"), &fill(1), None, None)
        .unwrap();
    acknowledged(&execution, 1).await;
    // As after a crash: what the journal holds is handed over again.
    execution.fact_again(sealed.clone()).unwrap();
    acknowledged(&execution, 2).await;
    assert_eq!(alarms(&execution).await, 0);
    // Without saying so, it is somebody else who knew our id.
    execution.fact_sealed(sealed).unwrap();
    acknowledged(&execution, 3).await;
    assert_eq!(alarms(&execution).await, 1);

    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    execution
        .fact(&FILL, Some("sample"), &fill(2), None, None)
        .unwrap();
    let mut executions = Vec::new();
    for _ in 0..2 {
        let (raw, _) = tokio::time::timeout(Duration::from_secs(10), facts.recv())
            .await
            .unwrap();
        executions.push(audit.open_fact(&FILL, &raw).unwrap().message().execution);
    }
    assert_eq!(executions, [fill(1).execution, fill(2).execution]);
}

/// A service whose outbox was full when it ended must be able to start again: what is open at the
/// venue waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_an_earlier_process_are_taken_however_many_they_are() {
    let mut server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    server.kill();
    let sealed = execution
        .seal(&FILL, Some("sample"), &fill(1), None, None)
        .unwrap();
    for _ in 0..8_200 {
        execution.fact_again(sealed.clone()).unwrap();
    }
    assert!(!execution.has_room_for_facts(), "no new work before them");
    // What this start has to say is taken beside them.
    execution.fact_sealed(sealed).unwrap();
}

/// Waits until the stream has acknowledged so many facts, earlier processes' ones included.
async fn acknowledged(execution: &Service<Execution>, count: u64) {
    let begun = std::time::Instant::now();
    while counted(execution, "portcullis_facts_acknowledged_total").await < count {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{count} acknowledgements"
        );
    }
}

async fn counted(execution: &Service<Execution>, name: &str) -> u64 {
    let text = crate::common::http_get(execution.health_address(), "/metrics")
        .await
        .1;
    crate::common::metric(&text, name).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_reach_the_stream_in_the_order_of_their_places_however_they_are_handed_over() {
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let seal = |number| {
        execution
            .seal(&FILL, Some("sample"), &fill(number), None, None)
            .unwrap()
    };
    let (first, second, third) = (seal(1), seal(2), seal(3));
    for sealed in [third, first, second] {
        execution.fact_sealed(sealed).unwrap();
    }
    let mut through = execution.facts_acknowledged();
    let done = through.wait_for(|place| *place == 3);
    tokio::time::timeout(Duration::from_secs(10), done)
        .await
        .unwrap()
        .unwrap();

    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    for place in 1..=3 {
        let next = tokio::time::timeout(Duration::from_secs(10), facts.recv());
        let (raw, _) = next.await.unwrap();
        assert_eq!(audit.open_fact(&FILL, &raw).unwrap().header().seq, place);
    }
}

async fn alarms(execution: &Service<Execution>) -> u64 {
    counted(execution, "portcullis_facts_duplicate_alarm_total").await
}
