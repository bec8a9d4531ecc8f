//! What nobody may do, tried by everybody on one real server: every principal with every subject,
//! the interface of the streams, headers that ask the server for favours, and wildcards. On each
//! connection something allowed is tried too, so that a connection that is dead or denies
//! everything fails the test.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{denied, number_of, until_message};
use crate::raw::{Answer, RawConnection};
use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::{
    MONITOR, PROVISIONER, Roster, account, facts_streams, heard_as, principals, receives,
    subjects_of,
};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, TABLE};
use serde_json::Value;

/// Calls of the streams' interface that nobody has, with the stream's name at `{}`.
const STREAM_CALLS: [&str; 26] = [
    "STREAM.INFO.{}",
    "STREAM.CREATE.{}",
    "STREAM.UPDATE.{}",
    "STREAM.DELETE.{}",
    "STREAM.PURGE.{}",
    "STREAM.MSG.GET.{}",
    "STREAM.MSG.DELETE.{}",
    "STREAM.SNAPSHOT.{}",
    "STREAM.RESTORE.{}",
    "STREAM.PEER.REMOVE.{}",
    "STREAM.LEADER.STEPDOWN.{}",
    "DIRECT.GET.{}",
    "DIRECT.GET.{}.evt.execution.notice",
    "CONSUMER.NAMES.{}",
    "CONSUMER.LIST.{}",
    "CONSUMER.CREATE.{}",
    "CONSUMER.CREATE.{}.thief",
    "CONSUMER.CREATE.{}.audit",
    "CONSUMER.CREATE.{}.thief.evt.execution.notice",
    "CONSUMER.DURABLE.CREATE.{}.thief",
    "CONSUMER.DELETE.{}.audit",
    "CONSUMER.PAUSE.{}.audit",
    "CONSUMER.RESET.{}.audit",
    "CONSUMER.UNPIN.{}.audit",
    "CONSUMER.MSG.NEXT.{}.thief",
    "CONSUMER.INFO.{}.thief",
];
const ACCOUNT_CALLS: [&str; 5] = [
    "INFO",
    "STREAM.NAMES",
    "STREAM.LIST",
    "STREAM.CREATE.THIEF",
    "ACCOUNT.PURGE.STORE",
];
const NOBODY_PUBLISHES: [&str; 16] = [
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.CONNZ",
    "$SYS.REQ.SERVER.X.RELOAD",
    "$SYS.REQ.SERVER.X.KICK",
    "$SYS.REQ.ACCOUNT.STORE.CONNZ",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.ACCOUNT.STORE.CONNECT",
    "$SRV.PING",
    "$KV.anything.key",
    "$O.anything.C.chunk",
    "_R_.guessed",
    "_INBOX.somebody.guessed",
    "evt.execution.fill.nobody",
    "cmd.brain.propose.nobody",
    "ops.kill.operator-dev",
    "ops.resume",
];
const NOBODY_SUBSCRIBES: [&str; 24] = [
    ">",
    "*",
    "*.>",
    "cmd.>",
    "cmd.*.*",
    "cmd.brain.propose.*",
    "evt.>",
    "evt.*.notice",
    "evt.execution.fill.*",
    "evt.brain.decision.>",
    "data.>",
    "data.bybit.*.book",
    "ops.>",
    "ops.*",
    "ops.kill.*",
    "echo.*",
    "_INBOX.>",
    "_INBOX.*.>",
    "_INBOX.somebody.>",
    "_R_.>",
    "$JS.>",
    "$JS.EVENT.ADVISORY.>",
    "$SYS.>",
    "$SRV.>",
];

/// What was tried and what came of it.
#[derive(Default)]
struct Tally {
    allowed: usize,
    denied: usize,
}

impl Tally {
    fn add(&mut self, attempts: &BTreeMap<String, bool>) {
        let may = attempts.values().filter(|may| **may).count();
        self.allowed += may;
        self.denied += attempts.len() - may;
    }
}

/// One principal with its one connection.
struct Actor {
    name: PrincipalName,
    raw: RawConnection,
}

impl Actor {
    fn connect(server: &BusServer, name: &str) -> Self {
        Self {
            name: PrincipalName::new(name).unwrap(),
            raw: RawConnection::connect(server, name),
        }
    }

    /// Exactly what may not be done is denied, and what is sent to oneself still comes.
    fn expect(&mut self, half: &str, attempts: &BTreeMap<String, bool>) {
        let lines = attempts
            .keys()
            .enumerate()
            .map(|(sid, subject)| match half {
                "Publish" => format!("PUB {subject} 0\r\n\r\n"),
                _ => format!("SUB {subject} {}\r\n", sid + 100),
            });
        let answer = self.raw.say(&lines.collect::<String>());
        let expected = attempts.iter().filter(|(_, may)| !**may);
        let expected: BTreeSet<String> = expected.map(|(subject, _)| subject.clone()).collect();
        let name = self.name;
        assert_eq!(denied(&answer.errors, half), expected, "{name} {half}");
        assert_eq!(answer.errors.len(), expected.len(), "{name} {half}");
        self.still_works();
    }

    fn still_works(&mut self) {
        let name = self.name;
        let lines =
            format!("UNSUB 9\r\nSUB echo.{name} 9\r\nPUB echo.{name} 4\r\nmark\r\nUNSUB 9\r\n");
        let answer = self.raw.say(&lines);
        assert_eq!(answer.errors, Vec::<String>::new(), "{name}");
        let came = answer
            .messages
            .iter()
            .any(|message| message.payload == b"mark");
        assert!(came, "{name} does not hear itself: {answer:?}");
    }

    /// What the server answers, in this principal's own inbox.
    fn ask(&mut self, subject: &str, headers: &str, body: &str) -> Value {
        let inbox = format!("_INBOX.{}.answer", self.name);
        self.raw.say(&format!("SUB {inbox} 8\r\n"));
        let mut answer = self.send(subject, &inbox, headers, body);
        assert_eq!(answer.errors, Vec::<String>::new(), "{subject}");
        let message = answer.messages.pop();
        let message = message.unwrap_or_else(|| until_message(&mut self.raw));
        self.raw.say("UNSUB 8\r\n");
        serde_json::from_slice(&message.payload).unwrap()
    }

    fn send(&mut self, subject: &str, reply: &str, headers: &str, body: &str) -> Answer {
        if headers.is_empty() {
            return self.raw.publish(subject, reply, body);
        }
        let head = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        let (head_length, length) = (head.len(), head.len() + body.len());
        self.raw.say(&format!(
            "HPUB {subject} {reply} {head_length} {length}\r\n{head}{body}\r\n"
        ))
    }
}

fn table_subjects(roster: &Roster) -> Vec<(usize, String)> {
    let rows = TABLE.iter().enumerate();
    let subjects = rows.flat_map(|(index, row)| {
        let subjects = subjects_of(row, roster).into_iter();
        subjects.map(move |subject| (index, subject))
    });
    subjects.collect()
}

/// What audit alone may ask and say to its consumers.
fn consumer_calls(roster: &Roster) -> Vec<String> {
    let calls = facts_streams(roster).into_iter().flat_map(|stream| {
        let name = stream.name;
        [
            format!("JS.STORE.API.CONSUMER.INFO.{name}.audit"),
            format!("JS.STORE.API.CONSUMER.MSG.NEXT.{name}.audit"),
            format!("$JS.ACK.{name}.audit.1.1.1.1.0"),
            format!("$JS.ACK._.hash.{name}.audit.1.1.1.1.0.token"),
        ]
    });
    calls.collect()
}

fn stream_calls(roster: &Roster) -> Vec<String> {
    let mut calls = Vec::new();
    for prefix in ["$JS.API", "JS.STORE.API"] {
        for stream in facts_streams(roster) {
            let of_stream = STREAM_CALLS
                .iter()
                .map(|call| call.replace("{}", &stream.name));
            calls.extend(of_stream.map(|call| format!("{prefix}.{call}")));
        }
        calls.extend(ACCOUNT_CALLS.iter().map(|call| format!("{prefix}.{call}")));
    }
    calls
}

fn publishes(roster: &Roster, name: &PrincipalName) -> BTreeMap<String, bool> {
    let mut attempts = BTreeMap::new();
    for (row, subject) in table_subjects(roster) {
        let may = TABLE[row].may_publish(name, &subject);
        attempts.insert(subject, may);
    }
    for subject in consumer_calls(roster) {
        attempts.insert(subject, Role::of(name) == Some(Role::Audit));
    }
    for subject in stream_calls(roster) {
        attempts.insert(subject, false);
    }
    for subject in NOBODY_PUBLISHES {
        attempts.insert(subject.into(), false);
    }
    for other in principals(roster) {
        attempts.insert(format!("_INBOX.{other}.guessed"), false);
        attempts.insert(format!("echo.{other}"), *name == other);
    }
    attempts.insert("$SYS.REQ.USER.INFO".into(), true);
    attempts
}

fn subscribes(roster: &Roster, name: &PrincipalName) -> BTreeMap<String, bool> {
    let mut attempts = BTreeMap::new();
    let everybody = principals(roster);
    for (row, subject) in table_subjects(roster) {
        let row = TABLE[row];
        let may = receives(row, name, &subject);
        for publisher in everybody.iter().filter(|p| row.may_publish(p, &subject)) {
            let heard = heard_as(row, &subject, publisher);
            attempts.entry(subject.clone()).or_insert(false);
            attempts.insert(heard, may);
        }
    }
    for subject in NOBODY_SUBSCRIBES {
        attempts.insert(subject.into(), false);
    }
    for other in everybody {
        attempts.insert(format!("_INBOX.{other}.x"), *name == other);
        attempts.insert(format!("echo.{other}"), *name == other);
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let server = BusServer::start().await;
    let mut tally = Tally::default();
    for name in principals(server.roster()) {
        let mut actor = Actor::connect(&server, name.as_str());
        for (half, attempts) in [
            ("Publish", publishes(server.roster(), &name)),
            ("Subscription", subscribes(server.roster(), &name)),
        ] {
            actor.expect(half, &attempts);
            tally.add(&attempts);
        }
        let mut queues = BTreeMap::new();
        for subject in ["cmd.execution.execute", "evt.audit.checkpoint", ">"] {
            let row = TABLE.iter().find(|row| row.pattern == subject);
            let may = row.is_some_and(|row| receives(row, &name, subject));
            queues.insert(format!("{subject} {}", name.as_str()), may);
        }
        let lines = queues.keys().enumerate();
        let lines = lines.map(|(sid, subject)| format!("SUB {subject} {}\r\n", sid + 900));
        let answer = actor.raw.say(&lines.collect::<String>());
        let may_not = queues.values().filter(|may| !**may).count();
        assert_eq!(
            answer.errors.len(),
            may_not,
            "{name} in a queue: {:?}",
            answer.errors
        );
        actor.still_works();
        tally.add(&queues);
    }
    for name in [PROVISIONER, MONITOR] {
        let mut actor = Actor::connect(&server, name);
        let (publishes, subscribes) = of_a_job(server.roster(), name);
        if name == PROVISIONER {
            actor.expect("Publish", &publishes);
            actor.expect("Subscription", &subscribes);
        } else {
            monitor(&mut actor, &publishes, &subscribes);
        }
        tally.add(&publishes);
        tally.add(&subscribes);
    }
    let Tally { allowed, denied } = tally;
    println!(
        "{} checks: {denied} denied, {allowed} allowed",
        allowed + denied
    );
    assert!(
        allowed > 200 && denied > 2_000,
        "{allowed} allowed, {denied} denied"
    );
}

/// Provisioner and monitor have no part in the table.
fn of_a_job(roster: &Roster, name: &str) -> (BTreeMap<String, bool>, BTreeMap<String, bool>) {
    let nobody = PrincipalName::new(name).unwrap();
    let mut publishes = publishes(roster, &nobody);
    let mut subscribes = subscribes(roster, &nobody);
    publishes.insert(format!("echo.{name}"), name == PROVISIONER);
    publishes.insert("$SYS.REQ.USER.INFO".into(), name == PROVISIONER);
    subscribes.insert(format!("_INBOX.{name}.x"), true);
    let may: BTreeSet<String> = if name == PROVISIONER {
        let streams = facts_streams(roster).into_iter().flat_map(|stream| {
            let name = stream.name;
            [
                format!("$JS.API.STREAM.INFO.{name}"),
                format!("$JS.API.STREAM.CREATE.{name}"),
                format!("$JS.API.CONSUMER.CREATE.{name}.audit"),
            ]
        });
        streams.chain(["$JS.API.INFO".to_owned()]).collect()
    } else {
        BTreeSet::new()
    };
    for (subject, allowed) in &mut publishes {
        *allowed |= may.contains(subject);
    }
    (publishes, subscribes)
}

/// The monitor has no subject of its own: that it works shows in an answer.
fn monitor(
    actor: &mut Actor,
    publishes: &BTreeMap<String, bool>,
    subscribes: &BTreeMap<String, bool>,
) {
    let lines = publishes
        .keys()
        .map(|subject| format!("PUB {subject} 0\r\n\r\n"));
    let answer = actor.raw.say(&lines.collect::<String>());
    let all: BTreeSet<String> = publishes.keys().cloned().collect();
    assert_eq!(denied(&answer.errors, "Publish"), all, "{MONITOR}");
    let lines = subscribes.keys().enumerate();
    let lines = lines.map(|(sid, subject)| format!("SUB {subject} {}\r\n", sid + 100));
    let answer = actor.raw.say(&lines.collect::<String>());
    let all: BTreeSet<String> = subscribes
        .iter()
        .filter(|(_, may)| !**may)
        .map(|(subject, _)| subject.clone())
        .collect();
    assert_eq!(denied(&answer.errors, "Subscription"), all, "{MONITOR}");
    let health = actor.ask("$SYS.REQ.SERVER.PING.HEALTHZ", "", "");
    assert_eq!(health["data"]["status"], "ok", "{health}");
}

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
    let server = BusServer::start_bare(portcullis_runtime::nats_config::development_roster());
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
    let roster = portcullis_runtime::nats_config::development_roster();
    let streams = facts_streams(&roster);
    for (row, subject) in table_subjects(&roster) {
        let row = TABLE[row];
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
    assert_eq!(shares, portcullis_runtime::nats_config::FACTS_BYTES_MAX);
}
