//! Who is revoked is out, and nobody else stops for it, in whatever order server and bundles change.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::common::{count, recv, service, until_count};
use portcullis_domain::{PrincipalName, Span};
use portcullis_runtime::identity::store::{Options, Rotation, Store};
use portcullis_runtime::identity::{IdentityError, make};
use portcullis_runtime::nats_config::{OperatorId, Roster, development_roster};
use portcullis_runtime::{Client, Inbox, Service, StartError};
use portcullis_testkit::bundle;
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::messages::Kill;
use portcullis_wire::principal::{Brain, Execution, Operator, Principal, RiskGuard};
use portcullis_wire::subjects::KILL;
use portcullis_wire::{Realm, Received, Text, command};
use toml::Value;

const ALICE: &str = "operator-alice";
const BOB: &str = "operator-bob";

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn store(server: &BusServer) -> Store {
    Store::open(&server.folder().join("identity"), None).unwrap()
}

fn roster_of(realm: &str, operators: &[&str]) -> Roster {
    let dev = development_roster();
    let operators = operators.iter().map(|id| OperatorId::new(id).unwrap());
    let (strategies, symbols) = (dev.strategies().to_vec(), dev.symbols().to_vec());
    let realm = Realm::new(realm).unwrap();
    Roster::new(realm, strategies, operators.collect(), symbols).unwrap()
}

async fn two_operators() -> BusServer {
    let server = BusServer::start_bare(roster_of("dev", &["alice", "bob"]));
    server.provision().await;
    server
}

async fn client<P: Principal>(server: &BusServer, name: &str) -> Client<P> {
    Client::connect(&server.identity(name), &server.url())
        .await
        .unwrap()
}

/// Has an operator stop everything, and says whether the command counts where it is heard.
async fn stopped<P: Principal>(
    by: &Client<Operator>,
    reader: &Client<P>,
    inbox: &mut Inbox,
) -> Result<PrincipalName, &'static str> {
    let identity = by.identity();
    let command = Kill {
        realm: identity.realm,
        operator: identity.name,
        reason: Text::lossy("drill"),
        at: by.now(),
    };
    let signed = identity.signing.as_ref().unwrap().sign(&command).unwrap();
    by.publish(&KILL, None, &signed, None, None).unwrap();
    let raw = recv(inbox).await;
    let command = reader.open(&KILL, &raw).map(Received::either).unwrap();
    let keys = reader.identity().trust.operator_keys();
    command::verify(&command, identity.realm, &keys)
        .map(|kill| kill.operator)
        .map_err(|refusal| refusal.code())
}

/// That it neither ended nor went deaf: whoever was denied something cannot even listen.
async fn goes_on<P: Principal>(client: &Client<P>) {
    drop(client.listen(&[(KILL.row, None)], 8).await.unwrap());
    let mut shutdown = client.shutdown();
    let ended = tokio::time::timeout(Duration::ZERO, shutdown.wait()).await;
    assert!(ended.is_err(), "{ended:?}");
}

fn trusts_only_alice<P: Principal>(client: &Client<P>) -> bool {
    let identity = client.identity();
    identity.trust.operators.keys().eq([&name(ALICE)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_may_drop_an_operator_before_the_bundles_do() {
    let mut server = two_operators().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let alice: Client<Operator> = client(&server, ALICE).await;
    let mut kills = guard.listen(&[(KILL.row, None)], 8).await.unwrap();
    server.reload_for(roster_of("dev", &["alice"]));
    wait_until_denied(&guard).await;
    goes_on(&guard).await;
    assert_eq!(stopped(&alice, &guard, &mut kills).await, Ok(name(ALICE)));

    // A start between the two finds one operator less than its bundle has.
    let execution: Client<Execution> = client(&server, "execution").await;
    let mut heard = execution.listen(&[(KILL.row, None)], 8).await.unwrap();
    goes_on(&execution).await;
    let by_alice = stopped(&alice, &execution, &mut heard).await;
    assert_eq!(by_alice, Ok(name(ALICE)));

    store(&server).revoke(name(BOB)).unwrap();
    guard.reload().await.unwrap();
    execution.reload().await.unwrap();
    assert!(trusts_only_alice(&guard) && trusts_only_alice(&execution));
    // It does not ask for the revoked one's subject any more.
    goes_on(&guard).await;
    goes_on(&execution).await;
    let denials = "portcullis_bus_permission_denied_total";
    let before = count(&guard, denials).await;
    server.kill();
    wait_until("everybody to be alone", || {
        !guard.is_connected() && !execution.is_connected()
    });
    server.restart();
    wait_until("everybody to be back", || {
        guard.is_connected() && execution.is_connected()
    });
    goes_on(&guard).await;
    goes_on(&execution).await;
    assert_eq!(count(&guard, denials).await, before);
}

async fn wait_until_denied(guard: &Service<RiskGuard>) {
    until_count(guard, "portcullis_bus_operators_denied_total", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundles_may_drop_an_operator_before_the_server_does() {
    let mut server = two_operators().await;
    let guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let (alice, bob): (Client<Operator>, Client<Operator>) =
        (client(&server, ALICE).await, client(&server, BOB).await);
    let mut kills = guard.listen(&[(KILL.row, None)], 8).await.unwrap();
    assert_eq!(stopped(&bob, &guard, &mut kills).await, Ok(name(BOB)));
    store(&server).revoke(name(BOB)).unwrap();
    wait_until("the bundle to be read", || trusts_only_alice(&guard));
    assert_eq!(stopped(&alice, &guard, &mut kills).await, Ok(name(ALICE)));
    server.reload_for(roster_of("dev", &["alice"]));
    wait_until("the server to send bob away", || !bob.is_connected());
    goes_on(&guard).await;
    assert_eq!(stopped(&alice, &guard, &mut kills).await, Ok(name(ALICE)));
    let again: Client<RiskGuard> = client(&server, "risk-guard").await;
    goes_on(&again).await;
}

/// One that hears no operator at all can be stopped by nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_no_operator_any_more_ends() {
    let mut server = two_operators().await;
    let guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let _kills = guard.listen(&[(KILL.row, None)], 8).await.unwrap();
    store(&server).revoke(name(BOB)).unwrap();
    wait_until("the bundle to be read", || trusts_only_alice(&guard));
    let configuration = fs::read_to_string(server.configuration()).unwrap();
    let subscribes = "          \"ops.kill.operator-alice\"\n";
    assert!(configuration.contains(subscribes));
    server.reload(&configuration.replace(subscribes, ""));
    let mut shutdown = guard.shutdown();
    let ended = tokio::time::timeout(Duration::from_secs(10), shutdown.wait()).await;
    assert!(format!("{ended:?}").contains("operator-alice"), "{ended:?}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_operators_key_is_exchanged_both_stop_and_afterwards_the_new_one_does() {
    let server = two_operators().await;
    let guard: Client<RiskGuard> = client(&server, "risk-guard").await;
    let mut kills = guard.listen(&[(KILL.row, None)], 8).await.unwrap();
    // What the operator's machine still has when the rotation has come everywhere else.
    let earlier = server.folder().join("earlier");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(server.identity(ALICE))
        .arg(&earlier)
        .status();
    assert!(copied.unwrap().success());
    let earlier: Client<Operator> = Client::connect(&earlier, &server.url()).await.unwrap();
    let rhythm = Rotation {
        emergency: false,
        lead: Span(0),
        overlap: Span::from_secs(5),
    };
    store(&server)
        .rotate_principal_as(name(ALICE), rhythm)
        .unwrap();
    guard.reload().await.unwrap();
    let alice: Client<Operator> = client(&server, ALICE).await;
    let (old, new) = (earlier.identity(), alice.identity());
    let keys = [&new, &old].map(|of| of.signing.as_ref().unwrap().verifying());
    assert_ne!(keys[0], keys[1]);
    assert_eq!(guard.identity().trust.operator_keys()[&name(ALICE)], keys);
    assert_eq!(stopped(&earlier, &guard, &mut kills).await, Ok(name(ALICE)));
    assert_eq!(stopped(&alice, &guard, &mut kills).await, Ok(name(ALICE)));
    wait_until("the overlap to end", || {
        guard.identity().trust.operator_keys()[&name(ALICE)] == keys[..1]
    });
    assert_eq!(stopped(&alice, &guard, &mut kills).await, Ok(name(ALICE)));
}

/// Between loading the identity and being connected passes as long as the server needs to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_changes_during_the_start_is_not_missed() {
    let mut server = BusServer::start_bare(development_roster());
    server.kill();
    let place = TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    let (folder, url) = (server.identity("execution"), server.url());
    let starting = tokio::spawn(async move { Client::<Execution>::connect(&folder, &url).await });
    // It knocks, so it has loaded its identity.
    let knock = tokio::task::spawn_blocking(move || {
        place.accept().unwrap();
    });
    knock.await.unwrap();
    store(&server).rotate(Rotation::emergency()).unwrap();
    server.restart();
    let execution = starting.await.unwrap().unwrap();
    wait_until("the new epoch to be held", || {
        let identity = execution.identity();
        identity.ring.epochs().all(|(_, held)| held.number == 2)
    });
}

/// What the age of keys forbids is a start. Who runs with them has to hear of a revocation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_keys_beyond_their_age_end_no_reload() {
    let server = BusServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (identities, keys) = (folder.path().join("identity"), folder.path().join("keys"));
    let options = Options {
        epoch_life: Span::from_secs(3_600),
        bundle_keys: Some(&keys),
        realm_key: Some(&folder.path().join("realm.key")),
    };
    let roster = roster_of("prod", &["dev"]);
    Store::init(&identities, &roster, make::SERVER_NAMES, &options).unwrap();
    let (brain, key) = (identities.join("brain"), keys.join("brain.key"));
    change(&brain, &key, |here| {
        bundle::take(here, &server.identity("brain"), &["ca", "transport"]);
    });
    let url = server.url();
    let start = || Client::<Brain>::connect_with(&brain, Some(&key), &url);
    let client = start().await.unwrap();
    let knows_trader = || {
        let identity = client.identity();
        let links: Vec<_> = identity.ring.links().collect();
        links
            .iter()
            .any(|link| link.source == name("strategy-trader"))
    };
    assert!(knows_trader());
    change(&brain, &key, |here| {
        bundle::change(here, |text| {
            let links = text.get_mut("link").and_then(Value::as_array_mut).unwrap();
            links.retain(|link| link["source"].as_str() != Some("strategy-trader"));
            for link in links {
                link["made_at"] = Value::Integer(1);
            }
        });
    });
    let refused = start().await.unwrap_err();
    assert!(
        matches!(refused, StartError::Identity(IdentityError::TooOld { .. })),
        "{refused:?}"
    );
    client.reload().await.unwrap();
    assert!(!knows_trader());
}

/// Changes a bundle whose key lies elsewhere.
fn change(folder: &Path, key: &Path, change: impl FnOnce(&Path)) {
    let beside = folder.join("bundle.key");
    fs::copy(key, &beside).unwrap();
    change(folder);
    fs::remove_file(beside).unwrap();
}
