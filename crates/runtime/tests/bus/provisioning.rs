//! The streams of facts are created once and never changed.

use std::time::Duration;

use crate::common::service;
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
