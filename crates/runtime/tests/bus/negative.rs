//! What nobody may do, tried by everybody on one real server: every principal with every subject,
//! the interface of the streams, headers that ask the server for favours, and wildcards. On each
//! connection something allowed is tried too, so that a connection that is dead or denies
//! everything fails the test.

use std::collections::{BTreeMap, BTreeSet};

use crate::actor::Actor;
use crate::common::denied;
use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::{
    MONITOR, PROVISIONER, Roster, facts_streams, heard_as, principals, receives, subjects_of,
};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::TABLE;

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
