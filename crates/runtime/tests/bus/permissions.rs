//! What the server's denials look like, and that one tenant's data stays with it.

use std::collections::BTreeSet;

use crate::common::denied;
use crate::raw::RawConnection;
use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::development_roster;
use portcullis_testkit::bus::BusServer;

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
        denied(&answer.errors, "Subscription"),
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
