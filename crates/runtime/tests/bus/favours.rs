//! What one identity could ask of the server at another's cost: its message ids, its stream, its
//! commands.

use std::collections::BTreeSet;

use crate::actor::Actor;
use crate::common::{denied, number_of, until_message};
use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::{
    FACTS_BYTES_MAX, PROVISIONER, account, development_roster, facts_streams, subjects_of,
};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::subjects::{Delivery, TABLE};

#[tokio::test(flavor = "multi_thread")]
async fn no_message_id_of_one_source_is_taken_from_another() {
    let server = BusServer::start().await;
    let mut brain = Actor::connect(&server, "brain");
    let mut execution = Actor::connect(&server, "execution");
    let id = "Nats-Msg-Id: 0123456789abcdef0123456789abcdef";
    let poison = brain.ask("evt.brain.notice", id, "poison");
    assert_eq!(poison["stream"], "FACTS_BRAIN", "{poison}");
    let real = execution.ask("evt.execution.notice", id, "real");
    assert_eq!(real["stream"], "FACTS_EXECUTION", "{real}");
    assert_eq!(real.get("duplicate"), None, "{real}");
    // The server does look at the id: its own source's second one is not stored.
    let again = execution.ask("evt.execution.notice", id, "again");
    assert_eq!(again["duplicate"], true, "{again}");
    let mut provisioner = Actor::connect(&server, PROVISIONER);
    let info = provisioner.ask("$JS.API.STREAM.INFO.FACTS_EXECUTION", "", "");
    assert_eq!(number_of(&info, "/state/messages"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_takes_anything_out_of_a_stream_or_into_another() {
    let server = BusServer::start().await;
    let mut execution = Actor::connect(&server, "execution");
    let stored = execution.ask("evt.execution.notice", "", "first");
    assert_eq!(stored["seq"], 1, "{stored}");
    for (header, code) in [
        ("Nats-Rollup: all", 10_111),
        ("Nats-Rollup: sub", 10_111),
        ("Nats-TTL: 1s", 10_166),
        ("Nats-Expected-Stream: FACTS_BRAIN", 10_060),
        ("Nats-Expected-Last-Sequence: 7", 10_071),
        ("Nats-Expected-Last-Msg-Id: 7", 10_070),
        ("Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1", 10_174),
        ("Nats-Incr: +1", 10_168),
        (
            "Nats-Schedule: @at 2030-01-01T00:00:00Z\r\nNats-Schedule-Target: evt.execution.fill.sample",
            10_188,
        ),
    ] {
        let answer = execution.ask("evt.execution.notice", header, "favour");
        assert_eq!(
            number_of(&answer, "/error/err_code"),
            code,
            "{header}: {answer}"
        );
    }
    let stored = execution.ask("evt.execution.notice", "", "second");
    assert_eq!(stored["seq"], 2, "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_a_message_cannot_be_sent_where_its_sender_cannot() {
    let server = BusServer::start().await;
    let mut victim = Actor::connect(&server, "execution");
    victim.raw.say("SUB cmd.execution.execute 1\r\n");
    let mut brain = Actor::connect(&server, "brain");
    let trace = "Nats-Trace-Dest: cmd.execution.execute";
    let answer = brain.send("cmd.risk-guard.evaluate", "", trace, "order");
    let trace = BTreeSet::from(["cmd.execution.execute".to_owned()]);
    assert_eq!(denied(&answer.errors, "Publish"), trace, "{answer:?}");
    brain.still_works();
    let mut guard = Actor::connect(&server, "risk-guard");
    assert!(
        guard
            .send("cmd.execution.execute", "", "", "marker")
            .errors
            .is_empty()
    );
    assert_eq!(until_message(&mut victim.raw).payload, b"marker");
}

/// The provisioner is a job, but its identity may be stolen too.
#[tokio::test(flavor = "multi_thread")]
async fn not_even_the_provisioner_sends_facts_elsewhere_or_changes_a_stream() {
    let server = BusServer::start().await;
    let mut victim = Actor::connect(&server, "execution");
    victim.raw.say("SUB cmd.execution.execute 1\r\n");
    let mut provisioner = Actor::connect(&server, PROVISIONER);
    let info = "$JS.API.STREAM.INFO.FACTS_BRAIN";
    let before = provisioner.ask(info, "", "");

    let push = r#"{"stream_name":"FACTS_BRAIN","config":{"durable_name":"audit",
        "deliver_subject":"cmd.execution.execute","ack_policy":"none","deliver_policy":"all"}}"#;
    let create = "$JS.API.CONSUMER.CREATE.FACTS_BRAIN.audit";
    let answer = provisioner.ask(create, "", push);
    assert!(answer.get("error").is_some(), "{answer}");
    for config in [
        r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.notice"],"max_msgs":1,"storage":"file","max_bytes":1024}"#,
        r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.>"],"republish":{"src":">","dest":"cmd.>"},"storage":"file","max_bytes":1024}"#,
        r#"{"name":"THIEF","subjects":["evt.brain.notice"],"storage":"file","max_bytes":1024}"#,
    ] {
        let answer = provisioner.ask("$JS.API.STREAM.CREATE.FACTS_BRAIN", "", config);
        assert!(answer.get("error").is_some(), "{answer}");
    }
    let after = provisioner.ask(info, "", "");
    for part in ["config", "state"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    // Whatever is in the streams, execution first hears its rightful commander.
    let mut brain = Actor::connect(&server, "brain");
    brain.ask("evt.brain.notice", "", "fact");
    let mut guard = Actor::connect(&server, "risk-guard");
    assert!(
        guard
            .send("cmd.execution.execute", "", "", "marker")
            .errors
            .is_empty()
    );
    assert_eq!(until_message(&mut victim.raw).payload, b"marker");
}

/// On a server that was never provisioned, a stolen provisioner may make what it likes of the
/// names it has; still no account imports anything that a consumer could deliver to.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_consumer_of_the_store_reaches_no_other_account() {
    let server = BusServer::start_bare(development_roster());
    let mut victim = Actor::connect(&server, "execution");
    victim.raw.say("SUB cmd.execution.execute 1\r\n");
    let mut provisioner = Actor::connect(&server, PROVISIONER);
    let stream = r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.notice"],"storage":"file","max_bytes":65536,"max_consumers":1}"#;
    let made = provisioner.ask("$JS.API.STREAM.CREATE.FACTS_BRAIN", "", stream);
    assert_eq!(made.get("error"), None, "{made}");
    let push = r#"{"stream_name":"FACTS_BRAIN","config":{"durable_name":"audit","name":"audit",
        "deliver_subject":"cmd.execution.execute","ack_policy":"none","deliver_policy":"all"}}"#;
    let made = provisioner.ask("$JS.API.CONSUMER.CREATE.FACTS_BRAIN.audit", "", push);
    assert_eq!(made.get("error"), None, "{made}");
    let mut brain = Actor::connect(&server, "brain");
    brain.ask("evt.brain.notice", "", "fact");
    // Delivery needs somebody in its own account who listens; nobody can.
    let mut guard = Actor::connect(&server, "risk-guard");
    assert!(
        guard
            .send("cmd.execution.execute", "", "", "marker")
            .errors
            .is_empty()
    );
    assert_eq!(until_message(&mut victim.raw).payload, b"marker");
    wait_until("the fact in the stream", || {
        let info = provisioner.ask("$JS.API.STREAM.INFO.FACTS_BRAIN", "", "");
        number_of(&info, "/state/messages") == 1
    });
}

/// The accounts' names are the streams' names, and every fact has exactly one stream.
#[test]
fn every_fact_is_captured_once_by_the_stream_of_its_source() {
    let roster = development_roster();
    let streams = facts_streams(&roster);
    let rows = TABLE.iter().flat_map(|row| {
        let subjects = subjects_of(row, &roster).into_iter();
        subjects.map(move |subject| (row, subject))
    });
    for (row, subject) in rows {
        let in_streams = streams
            .iter()
            .filter(|stream| stream.subjects.contains(&subject));
        let names: Vec<_> = in_streams.map(|stream| stream.name.as_str()).collect();
        let source = PrincipalName::new(row.publisher.name());
        match row.delivery {
            Delivery::Stream => {
                assert_eq!(
                    names,
                    [format!("FACTS_{}", account(&source.unwrap()))],
                    "{subject}"
                );
            }
            Delivery::Core => assert!(names.is_empty(), "{subject}"),
        }
    }
    let shares: i64 = streams.iter().map(|stream| stream.bytes_max).sum();
    assert_eq!(shares, FACTS_BYTES_MAX);
}
