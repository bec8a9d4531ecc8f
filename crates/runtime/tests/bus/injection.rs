//! A reply subject is a subject that the *server* publishes on, and it never checks whether the one
//! who named it could. Accounts keep such answers at home; here each known way out is tried.

use crate::raw::RawConnection;
use portcullis_testkit::bus::{BusServer, wait_until};

struct Attack {
    server: BusServer,
    provisioner: RawConnection,
}

impl Attack {
    async fn prepare() -> Self {
        let server = BusServer::start().await;
        let mut provisioner = RawConnection::connect(&server, "provisioner");
        provisioner.say("SUB _INBOX.provisioner.> 1\r\n");
        Self {
            server,
            provisioner,
        }
    }

    /// How many facts a source's stream has, and how many consumers.
    fn stream(&mut self, source: &str) -> (u64, u64) {
        let info = self.ask(&format!("$JS.API.STREAM.INFO.FACTS_{source}"));
        let number = |name: &str| info["state"][name].as_u64().unwrap();
        (number("messages"), number("consumer_count"))
    }

    /// How many facts were given out by the consumer.
    fn delivered(&mut self) -> u64 {
        let info = self.ask("$JS.API.CONSUMER.INFO.FACTS_EXECUTION.audit");
        info["delivered"]["consumer_seq"].as_u64().unwrap()
    }

    fn ask(&mut self, subject: &str) -> serde_json::Value {
        let first = self
            .provisioner
            .publish(subject, "_INBOX.provisioner.x", "");
        assert_eq!(first.errors, Vec::<String>::new());
        let message = match first.messages.into_iter().next() {
            Some(message) => message,
            None => crate::common::until_message(&mut self.provisioner),
        };
        serde_json::from_slice(&message.payload).unwrap()
    }

    /// A fact in the stream, made by its rightful publisher.
    fn record_fact(&mut self) {
        let before = self.stream("EXECUTION").0;
        let mut execution = RawConnection::connect(&self.server, "execution");
        assert!(
            execution
                .publish("evt.execution.notice", "", "fact")
                .errors
                .is_empty()
        );
        wait_until("the fact in the stream", || {
            self.stream("EXECUTION").0 == before + 1
        });
    }
}

/// Listens as `victim`, and at the end expects `marker` from its rightful publisher to be the first
/// that comes.
fn victim(server: &BusServer, name: &str, subject: &str) -> RawConnection {
    let mut victim = RawConnection::connect(server, name);
    let answer = victim.say(&format!("SUB {subject} 1\r\n"));
    assert_eq!(answer.errors, Vec::<String>::new());
    victim
}

fn expect_marker_first(victim: &mut RawConnection, server: &BusServer, from: &str, subject: &str) {
    let mut rightful = RawConnection::connect(server, from);
    assert!(rightful.publish(subject, "", "marker").errors.is_empty());
    let first = crate::common::until_message(victim);
    assert_eq!(
        String::from_utf8_lossy(&first.payload),
        "marker",
        "injected: {first:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_data_cannot_be_delivered_into_a_command() {
    let mut attack = Attack::prepare().await;
    attack.record_fact();
    let mut execution = victim(&attack.server, "execution", "cmd.execution.execute");
    let mut audit = RawConnection::connect(&attack.server, "audit");
    let pull = r#"{"batch":1,"expires":1000000000}"#;
    let request = "JS.STORE.API.CONSUMER.MSG.NEXT.FACTS_EXECUTION.audit";
    assert!(
        audit
            .publish(request, "cmd.execution.execute", pull)
            .errors
            .is_empty()
    );
    // Asked for in order: the fact comes to the second request only if the first one got nothing.
    audit.say("SUB _INBOX.audit.> 1\r\n");
    let own = audit.publish(request, "_INBOX.audit.x", pull);
    let own = own.messages.into_iter().next();
    let own = own.unwrap_or_else(|| crate::common::until_message(&mut audit));
    assert_eq!(String::from_utf8_lossy(&own.payload), "fact");
    assert_eq!(attack.delivered(), 1);
    expect_marker_first(
        &mut execution,
        &attack.server,
        "risk-guard",
        "cmd.execution.execute",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_cannot_be_delivered_into_a_command() {
    let mut attack = Attack::prepare().await;
    let mut brain = victim(&attack.server, "brain", "cmd.brain.propose.sample");
    let mut execution = RawConnection::connect(&attack.server, "execution");
    let sent = execution.publish("evt.execution.notice", "cmd.brain.propose.sample", "fact");
    assert!(sent.errors.is_empty());
    wait_until("the fact in the stream", || {
        attack.stream("EXECUTION").0 == 1
    });
    expect_marker_first(
        &mut brain,
        &attack.server,
        "strategy-sample",
        "cmd.brain.propose.sample",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_be_turned_into_a_request_to_the_store() {
    let mut attack = Attack::prepare().await;
    attack.record_fact();
    let mut brain = RawConnection::connect(&attack.server, "brain");
    let targets = [
        "$JS.API.STREAM.PURGE.FACTS_EXECUTION",
        "$JS.API.STREAM.DELETE.FACTS_EXECUTION",
        "$JS.API.CONSUMER.DELETE.FACTS_EXECUTION.audit",
        "JS.STORE.API.CONSUMER.MSG.NEXT.FACTS_EXECUTION.audit",
        "$JS.API.CONSUMER.CREATE.FACTS_EXECUTION.thief",
    ];
    for (index, target) in targets.iter().enumerate() {
        assert!(
            brain
                .publish("evt.brain.notice", target, "{}")
                .errors
                .is_empty()
        );
        wait_until("the notice in the stream", || {
            attack.stream("BRAIN").0 == 1 + index as u64
        });
    }
    attack.record_fact();
    for (source, facts) in [("BRAIN", targets.len() as u64), ("EXECUTION", 2)] {
        assert_eq!(
            attack.stream(source),
            (facts, 1),
            "something was lost or added"
        );
    }
    assert_eq!(attack.delivered(), 0, "facts were given out to somebody");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_be_turned_into_a_fact() {
    let mut attack = Attack::prepare().await;
    attack.record_fact();
    let mut audit = RawConnection::connect(&attack.server, "audit");
    for reply in [
        "evt.execution.notice",
        "evt.brain.notice",
        "$JS.API.STREAM.PURGE.FACTS_EXECUTION",
    ] {
        let request = "JS.STORE.API.CONSUMER.INFO.FACTS_EXECUTION.audit";
        assert!(audit.publish(request, reply, "").errors.is_empty());
        // Answered in order: when our own answer has come, theirs was given too.
        audit.say("SUB _INBOX.audit.> 1\r\n");
        let own = audit.publish(request, "_INBOX.audit.x", "");
        if own.messages.is_empty() {
            crate::common::until_message(&mut audit);
        }
    }
    attack.record_fact();
    assert_eq!(attack.stream("EXECUTION").0, 2, "an answer became a fact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_sees_everything_of_its_own_sees_nothing_of_others() {
    let attack = Attack::prepare().await;
    // Stream data asked to an inbox of somebody else stays in the account of who asked.
    let mut execution = RawConnection::connect(&attack.server, "execution");
    execution.say("SUB _INBOX.execution.> 1\r\n");
    let mut audit = RawConnection::connect(&attack.server, "audit");
    let request = "JS.STORE.API.CONSUMER.INFO.FACTS_EXECUTION.audit";
    assert!(
        audit
            .publish(request, "_INBOX.execution.x", "")
            .errors
            .is_empty()
    );
    let own = execution.publish("evt.execution.notice", "_INBOX.execution.own", "fact");
    let first = own.messages.into_iter().next();
    let first = first.unwrap_or_else(|| crate::common::until_message(&mut execution));
    assert_eq!(first.subject, "_INBOX.execution.own");
}
