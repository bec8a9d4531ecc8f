//! What the server lets each principal do: exactly what the table of subjects says.

use std::collections::BTreeSet;

use crate::raw::RawConnection;
use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::{
    MONITOR, PROVISIONER, development_roster, principals, receives, subjects_of,
};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::TABLE;

/// What nobody on the bus may publish, whatever the table says, and what audit alone may.
const CONSUMER_CALLS: [&str; 4] = [
    "JS.STORE.API.CONSUMER.INFO.FACTS.audit",
    "JS.STORE.API.CONSUMER.MSG.NEXT.FACTS.audit",
    "$JS.ACK.FACTS.audit.1.1.1.1.0",
    "$JS.ACK._.hash.FACTS.audit.1.1.1.1.0.token",
];
const NOBODY_PUBLISHES: [&str; 22] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.FACTS",
    "$JS.API.STREAM.UPDATE.FACTS",
    "$JS.API.STREAM.DELETE.FACTS",
    "$JS.API.STREAM.PURGE.FACTS",
    "$JS.API.STREAM.MSG.DELETE.FACTS",
    "$JS.API.STREAM.MSG.GET.FACTS",
    "$JS.API.DIRECT.GET.FACTS",
    "$JS.API.CONSUMER.CREATE.FACTS.thief",
    "$JS.API.CONSUMER.DURABLE.CREATE.FACTS.thief",
    "$JS.API.CONSUMER.DELETE.FACTS.audit",
    "$JS.API.CONSUMER.MSG.NEXT.FACTS.audit",
    "JS.STORE.API.STREAM.PURGE.FACTS",
    "JS.STORE.API.STREAM.DELETE.FACTS",
    "JS.STORE.API.CONSUMER.CREATE.FACTS.thief",
    "JS.STORE.API.CONSUMER.DELETE.FACTS.audit",
    "JS.STORE.API.CONSUMER.MSG.NEXT.FACTS.thief",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.ACCOUNT.STORE.CONNZ",
    "_R_.guessed",
    "_INBOX.somebody.guessed",
    "evt.execution.fill.nobody",
];
const NOBODY_SUBSCRIBES: [&str; 14] = [
    "echo.*",
    ">",
    "*",
    "cmd.>",
    "cmd.*.*",
    "evt.>",
    "evt.execution.fill.*",
    "data.>",
    "ops.*",
    "_INBOX.>",
    "_INBOX.*.>",
    "_R_.>",
    "$JS.>",
    "$SYS.>",
];

fn denied(errors: &[String], half: &str) -> BTreeSet<String> {
    errors
        .iter()
        .filter(|error| error.contains("Permissions Violation") && error.contains(half))
        .map(|error| error.split('"').nth(1).unwrap().to_owned())
        .collect()
}

fn table_subjects() -> Vec<(usize, String)> {
    let roster = development_roster();
    let rows = TABLE.iter().enumerate();
    rows.flat_map(|(index, row)| {
        subjects_of(row, &roster)
            .into_iter()
            .map(move |subject| (index, subject))
    })
    .collect()
}

#[test]
fn everybody_may_publish_what_the_table_says_and_nothing_else() {
    let server = BusServer::start_bare(development_roster());
    let (mut allowed_count, mut denied_count) = (0, 0);
    for name in principals(server.roster()) {
        let is_audit = Role::of(&name) == Some(Role::Audit);
        let mut expected = BTreeSet::new();
        let mut lines = String::new();
        let mut attempt = |subject: &str, may: bool| {
            lines.push_str(&format!("PUB {subject} 0\r\n\r\n"));
            if may {
                allowed_count += 1;
            } else {
                denied_count += 1;
                expected.insert(subject.to_owned());
            }
        };
        for (row, subject) in table_subjects() {
            attempt(&subject, TABLE[row].may_publish(&name, &subject));
        }
        for subject in NOBODY_PUBLISHES {
            attempt(subject, false);
        }
        for subject in CONSUMER_CALLS {
            attempt(subject, is_audit);
        }
        for other in principals(server.roster()) {
            attempt(&format!("_INBOX.{other}.guessed"), false);
            attempt(&format!("echo.{other}"), name == other);
        }
        let answer = RawConnection::connect(&server, name.as_str()).say(&lines);
        assert_eq!(denied(&answer.errors, "for Publish"), expected, "{name}");
    }
    assert!(allowed_count >= TABLE.len(), "{allowed_count} allowed");
    assert!(denied_count > 400, "{denied_count} denied");
}

#[test]
fn everybody_may_subscribe_to_what_the_table_says_and_nothing_else() {
    let server = BusServer::start_bare(development_roster());
    let (mut allowed_count, mut denied_count) = (0, 0);
    for name in principals(server.roster()) {
        let mut expected = BTreeSet::new();
        let mut lines = String::new();
        let mut sid = 0;
        let mut attempt = |subject: &str, may: bool| {
            sid += 1;
            lines.push_str(&format!("SUB {subject} {sid}\r\n"));
            if may {
                allowed_count += 1;
            } else {
                denied_count += 1;
                expected.insert(subject.to_owned());
            }
        };
        for (row, subject) in table_subjects() {
            attempt(&subject, receives(TABLE[row], &name, &subject));
        }
        for subject in NOBODY_SUBSCRIBES {
            attempt(subject, false);
        }
        for other in principals(server.roster()) {
            let waits_for_answers = Role::SERVICES
                .iter()
                .any(|role| Role::of(&name) == Some(*role));
            attempt(
                &format!("_INBOX.{other}.x"),
                name == other && waits_for_answers,
            );
            attempt(&format!("echo.{other}"), name == other);
        }
        let answer = RawConnection::connect(&server, name.as_str()).say(&lines);
        assert_eq!(
            denied(&answer.errors, "for Subscription"),
            expected,
            "{name}"
        );
    }
    assert!(allowed_count > TABLE.len(), "{allowed_count} allowed");
    assert!(denied_count > 300, "{denied_count} denied");
}

#[test]
fn provisioner_and_monitor_have_no_part_in_the_table() {
    let server = BusServer::start_bare(development_roster());
    for name in [PROVISIONER, MONITOR] {
        let mut raw = RawConnection::connect(&server, name);
        let mut subjects: BTreeSet<String> = table_subjects()
            .into_iter()
            .map(|(_, subject)| subject)
            .collect();
        for subject in [
            "$JS.API.STREAM.DELETE.FACTS",
            "$JS.API.STREAM.UPDATE.FACTS",
            "$JS.API.STREAM.PURGE.FACTS",
            "$JS.API.STREAM.CREATE.OTHER",
            "$JS.API.CONSUMER.CREATE.FACTS.thief",
            "$JS.API.CONSUMER.CREATE.FACTS.audit.evt.brain.notice",
            "$JS.API.CONSUMER.DELETE.FACTS.audit",
            "$JS.API.CONSUMER.MSG.NEXT.FACTS.audit",
            "$SYS.REQ.SERVER.X.RELOAD",
            "$SYS.REQ.SERVER.X.KICK",
            "$JS.API.ACCOUNT.PURGE.STORE",
        ] {
            subjects.insert(subject.into());
        }
        let publishes: String = subjects
            .iter()
            .map(|s| format!("PUB {s} 0\r\n\r\n"))
            .collect();
        assert_eq!(
            denied(&raw.say(&publishes).errors, "for Publish"),
            subjects,
            "{name}"
        );
        subjects.extend(NOBODY_SUBSCRIBES.map(String::from));
        let subscribes = subjects.iter().enumerate();
        let subscribes: String = subscribes
            .map(|(sid, s)| format!("SUB {s} {sid}\r\n"))
            .collect();
        assert_eq!(
            denied(&raw.say(&subscribes).errors, "for Subscription"),
            subjects,
            "{name}"
        );
    }
}

#[test]
fn brain_cannot_reach_execution() {
    let server = BusServer::start_bare(development_roster());
    let mut execution = RawConnection::connect(&server, "execution");
    let listening = execution.say(
        "SUB cmd.execution.execute 1\r\nSUB cmd.execution.signature 2\r\nSUB cmd.execution.receipt 3\r\n",
    );
    assert_eq!(listening.errors, Vec::<String>::new());
    let mut brain = RawConnection::connect(&server, "brain");
    for subject in [
        "cmd.execution.execute",
        "cmd.execution.signature",
        "cmd.execution.receipt",
    ] {
        let answer = brain.publish(subject, "", "forged");
        assert_eq!(
            answer.errors,
            [format!(
                "-ERR 'Permissions Violation for Publish to \"{subject}\"'"
            )]
        );
    }
    server.wait_for_log("Publish Violation");
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("Publish Violation"))
        .unwrap();
    assert!(line.contains(server.nkey("brain")), "{line}");
    assert!(line.contains("cmd.execution.execute"), "{line}");

    // What may come does, and is the first to.
    let mut guard = RawConnection::connect(&server, "risk-guard");
    assert!(
        guard
            .publish("cmd.execution.execute", "", "permit")
            .errors
            .is_empty()
    );
    let arrived = crate::common::until_message(&mut execution);
    assert_eq!(
        (arrived.subject.as_str(), arrived.payload.as_slice()),
        ("cmd.execution.execute", &b"permit"[..])
    );
}

#[test]
fn a_strategy_hears_nothing_of_another() {
    let server = BusServer::start_bare(development_roster());
    let mut trader = RawConnection::connect(&server, "strategy-trader");
    let answer =
        trader.say("SUB evt.execution.fill.trader 1\r\nSUB evt.execution.fill.sample 2\r\n");
    assert_eq!(
        denied(&answer.errors, "for Subscription"),
        BTreeSet::from(["evt.execution.fill.sample".into()])
    );
    let mut execution = RawConnection::connect(&server, "execution");
    execution.publish("evt.execution.fill.sample", "", "not yours");
    execution.publish("evt.execution.fill.trader", "", "yours");
    assert_eq!(crate::common::until_message(&mut trader).payload, b"yours");
}

#[test]
fn names_are_those_of_the_accounts() {
    let name = PrincipalName::new("strategy-mean-reversion").unwrap();
    assert_eq!(
        portcullis_runtime::nats_config::account(&name),
        "STRATEGY_MEAN_REVERSION"
    );
}
