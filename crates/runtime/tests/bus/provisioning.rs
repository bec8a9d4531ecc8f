//! The streams of facts are created once and never changed.

use std::time::Duration;

use crate::common::{service, until_message};
use crate::raw::RawConnection;
use portcullis_domain::{StrategyId, Symbol};
use portcullis_runtime::nats_config::{OperatorId, PROVISIONER, Roster, development_roster};
use portcullis_runtime::provision::{ProvisionError, provision};
use portcullis_runtime::{BusError, Service};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::Realm;
use portcullis_wire::principal::Audit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisioning_again_changes_nothing_and_another_roster_is_refused() {
    let server = BusServer::start().await;
    server.provision().await;
    let other = Roster::new(
        Realm::new("dev").unwrap(),
        vec![StrategyId::new("sample").unwrap()],
        vec![OperatorId::new("dev").unwrap()],
        vec![Symbol::new("BTCUSDT").unwrap()],
    )
    .unwrap();
    let error = provision(&server.identity(PROVISIONER), &server.url(), &other)
        .await
        .unwrap_err();
    let ProvisionError::Differs { what, difference } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (what.as_str(), difference.as_str()),
        ("stream FACTS_EXECUTION", "subjects")
    );
    // It is still what it was.
    server.provision().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_can_provision() {
    let server = BusServer::start_bare(development_roster());
    let (identity, url, roster) = (server.identity("audit"), server.url(), development_roster());
    let outcome = provision(&identity, &url, &roster);
    let outcome = tokio::time::timeout(Duration::from_secs(30), outcome).await;
    let error = outcome.unwrap().unwrap_err();
    assert!(matches!(error, ProvisionError::Refused { .. }), "{error:?}");
}

/// Whoever has the provisioner's identity can put a filter on a consumer. Then audit says so,
/// instead of waiting for facts that never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_hides_facts_is_not_read_from() {
    let server = BusServer::start().await;
    let audit: Service<Audit> = service(&server, "audit").await;
    drop(audit.facts_consumer().await.unwrap());
    let mut provisioner = RawConnection::connect(&server, PROVISIONER);
    provisioner.say("SUB _INBOX.provisioner.> 1\r\n");
    let filtered = r#"{"stream_name":"FACTS_BRAIN","config":{"durable_name":"audit","name":"audit",
        "deliver_policy":"all","ack_policy":"explicit","ack_wait":5000000000,"max_deliver":-1,
        "replay_policy":"instant","max_ack_pending":1000,"max_batch":256,
        "filter_subject":"evt.brain.decision.sample"}}"#;
    let create = "$JS.API.CONSUMER.CREATE.FACTS_BRAIN.audit";
    let mut answer = provisioner.publish(create, "_INBOX.provisioner.x", filtered);
    assert_eq!(answer.errors, Vec::<String>::new());
    let message = answer.messages.pop();
    let message = message.unwrap_or_else(|| until_message(&mut provisioner));
    let answer: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(
        answer.get("error"),
        None,
        "the server would not do it: {answer}"
    );
    let error = audit.facts_consumer().await.unwrap_err().to_string();
    assert!(
        error.contains("FACTS_BRAIN exists with another filter"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_stream_there_is_no_consumer_and_it_is_said() {
    let server = BusServer::start_bare(development_roster());
    let audit: Service<Audit> = service(&server, "audit").await;
    let error = audit.facts_consumer().await.unwrap_err();
    assert!(
        matches!(error, BusError::Stream(_) | BusError::TimedOut),
        "{error:?}"
    );
}
