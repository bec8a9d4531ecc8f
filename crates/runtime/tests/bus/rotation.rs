//! Keys are exchanged while real processes exchange messages over the real server.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{count, http_get, recv, service, until_count};
use portcullis_domain::{Hash, KillState, PrincipalName, Side, Span, Symbol, TimeInForce, Usd};
use portcullis_runtime::identity::make;
use portcullis_runtime::identity::store::{Rotation, Store};
use portcullis_runtime::nats_config::{Roster, development_roster};
use portcullis_runtime::{Client, ConnectError, Inbox, Service, StartError};
use portcullis_testkit::bundle;
use portcullis_testkit::bus::{BusServer, PATIENCE, wait_until};
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Proposal, Size};
use portcullis_wire::principal::{Brain, Execution, Principal, RiskGuard, Strategy};
use portcullis_wire::subjects::{EXECUTION_STATUS, HEARTBEAT, PROPOSAL};
use portcullis_wire::{Realm, Refusal};

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn store(server: &BusServer) -> Store {
    Store::open(&server.folder().join("identity"), None).unwrap()
}

async fn client<P: Principal>(server: &BusServer, name: &str) -> Client<P> {
    Client::connect(&server.identity(name), &server.url())
        .await
        .unwrap()
}

/// What a thief has: a copy of a bundle as it is now, with its key.
fn stolen(server: &BusServer, name: &str) -> PathBuf {
    let copy = server.folder().join(format!("stolen-{name}"));
    fs::DirBuilder::new().mode(0o700).create(&copy).unwrap();
    for file in ["bundle.sealed", "bundle.key"] {
        fs::copy(server.identity(name).join(file), copy.join(file)).unwrap();
    }
    copy
}

fn heartbeat(number: u64) -> Heartbeat {
    let mut policy = [0; 32];
    policy[..8].copy_from_slice(&number.to_be_bytes());
    Heartbeat {
        kill: KillState::Armed,
        policy: Hash(policy),
        posture: portcullis_domain::Posture::Normal,
    }
}

/// Which one it was.
fn number_of(heartbeat: &Heartbeat) -> u64 {
    u64::from_be_bytes(heartbeat.policy.0[..8].try_into().unwrap())
}

/// A message that is for its readers' eyes only.
fn status(number: u64) -> ExecutionStatus {
    ExecutionStatus {
        policy: Hash([0; 32]),
        day: 0,
        loss: "0".parse::<Usd>().unwrap(),
        loss_max: "1000".parse::<Usd>().unwrap(),
        orders_open: number,
        ..portcullis_testkit::accounts::status()
    }
}

/// Sends a heartbeat and says what its reader thinks of its seal.
async fn judged<P: Principal>(
    sender: &Client<RiskGuard>,
    reader: &Client<P>,
    inbox: &mut Inbox,
) -> Result<u32, Refusal> {
    sender
        .publish(&HEARTBEAT, None, &heartbeat(1), None, None)
        .unwrap();
    let raw = recv(inbox).await;
    let opened = reader.open(&HEARTBEAT, &raw);
    let judged = reader.open_fact(&HEARTBEAT, &raw);
    // What the thief sent of a later start may have shut the original out; that is another check.
    assert!(judged.is_ok() || opened.is_none());
    judged.map(|verified| verified.epoch())
}

/// As [`judged`], again and again until the connection stands and the answer is this one.
async fn until_judged<P: Principal>(
    sender: &Client<RiskGuard>,
    reader: &Client<P>,
    inbox: &mut Inbox,
    expected: Result<u32, Refusal>,
) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let sent = sender.publish(&HEARTBEAT, None, &heartbeat(1), None, None);
        let next = tokio::time::timeout(Duration::from_millis(200), inbox.recv());
        if sent.is_ok()
            && let Ok(Some(raw)) = next.await
        {
            let judged = reader.open_fact(&HEARTBEAT, &raw);
            if judged.map(|verified| verified.epoch()) == expected {
                return;
            }
        }
        assert!(std::time::Instant::now() < deadline, "never {expected:?}");
    }
}

fn holds<P: Principal>(client: &Client<P>, epoch: u32) -> bool {
    let identity = client.identity();
    identity.ring.epochs().any(|(_, held)| held.number == epoch)
}

const MESSAGES: u64 = 2_000;
/// Five hundred a second.
const PACE: Duration = Duration::from_millis(2);

/// Takes what comes until the last one; every number must come once and open.
async fn all_of<P: Principal>(
    reader: Client<P>,
    mut inbox: Inbox,
    open: impl Fn(&Client<P>, &portcullis_runtime::Raw) -> (u64, u32),
) -> Vec<u32> {
    let mut epochs = Vec::new();
    for expected in 1..=MESSAGES {
        let raw = recv(&mut inbox).await;
        let (number, epoch) = open(&reader, &raw);
        assert_eq!(number, expected, "one was lost");
        epochs.push(epoch);
    }
    epochs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_rotation_loses_nothing_and_refuses_nothing_and_then_ends_the_old_epoch() {
    let server = BusServer::start_bare(development_roster());
    let guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let execution: Client<Execution> = client(&server, "execution").await;
    let thief_folder = stolen(&server, "risk-guard");
    let heartbeats = execution
        .listen(&[(HEARTBEAT.row, None)], 8_192)
        .await
        .unwrap();
    let statuses = guard
        .listen(&[(EXECUTION_STATUS.row, None)], 8_192)
        .await
        .unwrap();
    let forth = tokio::spawn(all_of(execution.clone(), heartbeats, |reader, raw| {
        let opened = reader
            .open(&HEARTBEAT, raw)
            .expect("a heartbeat was refused");
        let fresh = opened.fresh().expect("a heartbeat came twice");
        (number_of(fresh.message()), fresh.epoch())
    }));
    let back = tokio::spawn(all_of(guard.clone(), statuses, |reader, raw| {
        let opened = reader
            .open(&EXECUTION_STATUS, raw)
            .expect("a status was refused");
        let fresh = opened.fresh().expect("a status came twice");
        (fresh.message().orders_open, fresh.epoch())
    }));
    let rhythm = Rotation {
        emergency: false,
        lead: Span::from_millis(2_000),
        overlap: Span::from_millis(2_500),
    };
    let mut pace = tokio::time::interval(PACE);
    for number in 1..=MESSAGES {
        pace.tick().await;
        if number == MESSAGES / 5 {
            let changed = store(&server).rotate(rhythm).unwrap();
            assert_eq!(changed.epoch, Some(2));
        }
        guard
            .publish(&HEARTBEAT, None, &heartbeat(number), None, None)
            .unwrap();
        execution
            .publish(&EXECUTION_STATUS, None, &status(number), None, None)
            .unwrap();
    }
    for epochs in [forth.await.unwrap(), back.await.unwrap()] {
        assert_eq!(
            epochs.iter().collect::<BTreeSet<_>>(),
            BTreeSet::from([&1, &2])
        );
        assert!(epochs.is_sorted(), "never back to the old epoch");
        let with_new = epochs.iter().filter(|epoch| **epoch == 2).count();
        assert!((100..1_600).contains(&with_new), "{with_new}");
    }

    let thief: Client<RiskGuard> = Client::connect(&thief_folder, &server.url()).await.unwrap();
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let refusal = loop {
        // Until the overlap is over the copy is as good as the original.
        match judged(&thief, &execution, &mut inbox).await {
            Ok(epoch) => assert_eq!(epoch, 1),
            Err(refusal) => break refusal,
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the old epoch does not end"
        );
    };
    assert_eq!(refusal, Refusal::RetiredKey);
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_emergency_an_old_copy_is_refused_by_whoever_has_reloaded() {
    let server = BusServer::start_bare(development_roster());
    let guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let execution: Client<Execution> = client(&server, "execution").await;
    let thief_folder = stolen(&server, "risk-guard");
    let thief: Client<RiskGuard> = Client::connect(&thief_folder, &server.url()).await.unwrap();
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    assert_eq!(judged(&thief, &execution, &mut inbox).await, Ok(1));
    store(&server).rotate(Rotation::emergency()).unwrap();
    execution.reload().await.unwrap();
    let refused = judged(&thief, &execution, &mut inbox).await;
    assert_eq!(refused, Err(Refusal::UnknownKey));
    guard.reload().await.unwrap();
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(2));
}

/// Whether the server admits a copy of an identity that has another's certificate, so that only its
/// NKey decides.
async fn refusal<P: Principal>(copy: &Path, server: &BusServer, of: &str) -> Option<StartError> {
    bundle::take(copy, &server.identity(of), &["certificate", "key"]);
    match Client::<P>::connect(copy, &server.url()).await {
        Ok(client) => {
            client.close().await;
            None
        }
        Err(error) => Some(error),
    }
}

fn is_not_admitted(refusal: Option<&StartError>) -> bool {
    matches!(
        refusal,
        Some(StartError::Connect(ConnectError::Refused { .. }))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nkey_and_certificate_are_exchanged_without_a_restart() {
    let mut server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Client<Execution> = client(&server, "execution").await;
    let thief = stolen(&server, "risk-guard");
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let (boot, old_key, old_pin) = (
        guard.boot(),
        server.nkey("risk-guard").to_owned(),
        server.pin("risk-guard"),
    );
    let disconnects = count(&guard, "portcullis_bus_disconnects_total").await;
    let rhythm = Rotation {
        emergency: false,
        lead: Span::from_millis(1_000),
        overlap: Span::from_millis(4_000),
    };
    store(&server)
        .rotate_principal_as(name("risk-guard"), rhythm)
        .unwrap();
    server.reload_identities();
    assert_ne!(
        (server.nkey("risk-guard"), server.pin("risk-guard")),
        (&*old_key, old_pin)
    );
    until_count(&guard, "portcullis_bus_disconnects_total", disconnects + 1).await;
    until_judged(&guard, &execution, &mut inbox, Ok(2)).await;
    // While both count the copy is admitted too.
    assert!(
        refusal::<RiskGuard>(&thief, &server, "execution")
            .await
            .is_none()
    );

    let identities = server.folder().join("identity");
    wait_until("the old key to count no more", || {
        make::public_nkeys(&identities).unwrap()[&name("risk-guard")].len() == 1
    });
    let disconnects = count(&guard, "portcullis_bus_disconnects_total").await;
    server.reload_identities();
    // Had it still used the old key, the server would have sent it away.
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(2));
    assert_eq!(
        count(&guard, "portcullis_bus_disconnects_total").await,
        disconnects
    );
    assert_eq!(guard.boot(), boot);
    let refused = refusal::<RiskGuard>(&thief, &server, "execution").await;
    assert!(is_not_admitted(refused.as_ref()), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_matter_who_reloads_first_the_server_or_the_client() {
    let mut server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Client<Execution> = client(&server, "execution").await;
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let disconnects = count(&guard, "portcullis_bus_disconnects_total").await;
    let at_once = Rotation {
        emergency: false,
        lead: Span(0),
        overlap: Span::from_secs(600),
    };
    store(&server)
        .rotate_principal_as(name("risk-guard"), at_once)
        .unwrap();
    wait_until("both to reload", || {
        holds(&guard, 2) && holds(&execution, 2)
    });
    // The server does not know the new key yet, so the old one has to do.
    until_count(&guard, "portcullis_bus_disconnects_total", disconnects + 1).await;
    until_judged(&guard, &execution, &mut inbox, Ok(2)).await;
    // A start between the two is admitted as well.
    let second: Client<RiskGuard> = client(&server, "risk-guard").await;
    second.close().await;
    // Now the server knows nothing but a third one.
    store(&server)
        .rotate_principal_as(name("risk-guard"), Rotation::emergency())
        .unwrap();
    server.reload_identities();
    wait_until("both to reload again", || {
        holds(&guard, 3) && holds(&execution, 3)
    });
    until_judged(&guard, &execution, &mut inbox, Ok(3)).await;
}

fn proposal() -> Proposal {
    Proposal {
        symbol: Symbol::new("BTCUSDT").unwrap(),
        side: Side::Buy,
        size: Size::Quantity("0.001".parse().unwrap()),
        limit_price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_revoked_is_refused_by_its_readers_and_then_by_the_server() {
    let mut server = BusServer::start_bare(development_roster());
    let brain: Client<Brain> = client(&server, "brain").await;
    let thief_folder = stolen(&server, "strategy-trader");
    let thief: Client<Strategy> = Client::connect(&thief_folder, &server.url()).await.unwrap();
    let mut inbox = brain
        .listen(&[(PROPOSAL.row, Some("trader"))], 64)
        .await
        .unwrap();
    let trader = Some("trader");
    thief
        .publish(&PROPOSAL, trader, &proposal(), None, None)
        .unwrap();
    assert!(brain.open(&PROPOSAL, &recv(&mut inbox).await).is_some());

    store(&server).revoke(name("strategy-trader")).unwrap();
    brain.reload().await.unwrap();
    // The server was told nothing: it stands for one that helps the thief.
    thief
        .publish(&PROPOSAL, trader, &proposal(), None, None)
        .unwrap();
    let raw = recv(&mut inbox).await;
    assert!(brain.open(&PROPOSAL, &raw).is_none());
    let refused = brain.open_fact(&PROPOSAL, &raw).unwrap_err();
    assert_eq!(refused, Refusal::UnknownKey);

    server.reload_identities();
    wait_until("the server to send it away", || !thief.is_connected());
    let refused = refusal::<Strategy>(&thief_folder, &server, "strategy-sample").await;
    assert!(is_not_admitted(refused.as_ref()), "{refused:?}");
    // The others go on.
    let sample: Client<Strategy> = client(&server, "strategy-sample").await;
    assert!(sample.is_connected() && brain.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_realms_on_one_server_cannot_read_each_others_messages() {
    let server = BusServer::start_bare(development_roster());
    let dev = development_roster();
    let staging = Roster::new(
        Realm::new("staging").unwrap(),
        dev.strategies().to_vec(),
        dev.operators().to_vec(),
        dev.symbols().to_vec(),
    );
    let other = server.folder().join("staging");
    make::make(&other, &staging.unwrap()).unwrap();
    // The server admits them: as if one bus served both.
    let admit = || {
        for principal in ["risk-guard", "execution"] {
            let from = server.identity(principal);
            bundle::take(&other.join(principal), &from, &["ca", "transport"]);
        }
    };
    admit();
    let staging_folder = |name: &str| other.join(name);
    let dev_guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let dev_execution: Client<Execution> = client(&server, "execution").await;
    let url = server.url();
    let guard: Client<RiskGuard> = Client::connect(&staging_folder("risk-guard"), &url)
        .await
        .unwrap();
    let execution: Client<Execution> = Client::connect(&staging_folder("execution"), &url)
        .await
        .unwrap();
    let mut dev_inbox = dev_execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();

    assert_eq!(
        judged(&dev_guard, &dev_execution, &mut dev_inbox).await,
        Ok(1)
    );
    let heard = execution.open_fact(&HEARTBEAT, &recv(&mut inbox).await);
    assert_eq!(heard.unwrap_err(), Refusal::BadSeal);
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(1));
    let heard = dev_execution.open_fact(&HEARTBEAT, &recv(&mut dev_inbox).await);
    assert_eq!(heard.unwrap_err(), Refusal::BadSeal);

    // In another epoch they have not even a key of the same name.
    let mut other_store = Store::open(&other, None).unwrap();
    other_store.rotate(Rotation::emergency()).unwrap();
    admit();
    guard.reload().await.unwrap();
    execution.reload().await.unwrap();
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(2));
    let heard = dev_execution.open_fact(&HEARTBEAT, &recv(&mut dev_inbox).await);
    assert_eq!(heard.unwrap_err(), Refusal::UnknownKey);

    // What is encrypted for its readers stays closed to those of the other realm.
    let mut statuses = dev_guard
        .listen(&[(EXECUTION_STATUS.row, None)], 64)
        .await
        .unwrap();
    execution
        .publish(&EXECUTION_STATUS, None, &status(7), None, None)
        .unwrap();
    assert!(
        dev_guard
            .open(&EXECUTION_STATUS, &recv(&mut statuses).await)
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_reloads_on_a_signal_and_keeps_its_keys_when_the_new_ones_do_not_open() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Client<Execution> = client(&server, "execution").await;
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let (reloads, failures) = (
        "portcullis_identity_reloads_total",
        "portcullis_identity_reload_failures_total",
    );
    let before = count(&guard, reloads).await;
    let hang_up = || {
        let pid = std::process::id().to_string();
        assert!(
            Command::new("kill")
                .args(["-HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    hang_up();
    // The test's other client is in the same process and counts too.
    until_count(&guard, reloads, before + 2).await;

    let bundle = server.identity("risk-guard").join("bundle.sealed");
    let whole = fs::read(&bundle).unwrap();
    fs::write(&bundle, &whole[..whole.len() - 1]).unwrap();
    until_count(&guard, failures, 1).await;
    assert!(guard.reload().await.is_err());
    assert_eq!(judged(&guard, &execution, &mut inbox).await, Ok(1));
    let (after, failed) = (count(&guard, reloads).await, count(&guard, failures).await);
    fs::write(&bundle, &whole).unwrap();
    until_count(&guard, reloads, after + 1).await;
    assert_eq!(count(&guard, failures).await, failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_learns_of_another_key_that_counts() {
    let server = BusServer::start_bare(development_roster());
    let execution: Client<Execution> = client(&server, "execution").await;
    let mut trust = execution.trust();
    let old = trust.borrow_and_update().audit.unwrap();
    let mut store = store(&server);
    store
        .rotate_principal_as(name("audit"), Rotation::emergency())
        .unwrap();
    let changed = tokio::time::timeout(PATIENCE, trust.changed());
    changed.await.unwrap().unwrap();
    let new = trust.borrow_and_update().audit.unwrap();
    assert_ne!(new, old);
    assert_eq!(execution.identity().trust.audit, Some(new));
    // Another epoch is no other trust.
    store.rotate(Rotation::emergency()).unwrap();
    execution.reload().await.unwrap();
    assert!(!trust.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_use_of_an_outdated_epoch_is_counted_and_ages_are_measured() {
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let thief_folder = stolen(&server, "risk-guard");
    let thief: Client<RiskGuard> = Client::connect(&thief_folder, &server.url()).await.unwrap();
    let mut inbox = execution
        .listen(&[(HEARTBEAT.row, None)], 64)
        .await
        .unwrap();
    let at_once = Rotation {
        emergency: false,
        lead: Span(0),
        overlap: Span::from_secs(600),
    };
    store(&server).rotate(at_once).unwrap();
    execution.reload().await.unwrap();
    assert_eq!(judged(&thief, &execution, &mut inbox).await, Ok(1));
    let outdated = "portcullis_outdated_epoch_total";
    assert_eq!(count(&execution, outdated).await, 0, "within the grace");
    let deadline = std::time::Instant::now() + PATIENCE;
    while count(&execution, outdated).await == 0 {
        assert_eq!(judged(&thief, &execution, &mut inbox).await, Ok(1));
        assert!(std::time::Instant::now() < deadline, "nobody notices");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = http_get(execution.health_address(), "/metrics").await.1;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(
        text.contains("portcullis_outdated_epoch_total{source=\"risk-guard\"}"),
        "{text}"
    );
    let day = 86_400.0;
    assert!((364.0 * day..366.0 * day).contains(&value("portcullis_certificate_expires_seconds")));
    assert!((0.0..0.01).contains(&value("portcullis_epoch_age_ratio")));
}
