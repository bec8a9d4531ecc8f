//! The key store: what a rotation and a revocation leave in every bundle, and that an interrupted one
//! is carried on.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "key_store/bundle_keys.rs"]
mod bundle_keys;
#[path = "key_store/urgency.rs"]
mod urgency;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_runtime::Clock;
use portcullis_runtime::identity::make;
use portcullis_runtime::identity::store::{
    EpochState, Facts, Inventory, Rotation, Store, StoreError,
};
use portcullis_runtime::identity::{Bundle, Identity};
use portcullis_runtime::nats_config::{certificate_pin, development_roster, principals};
use portcullis_runtime::sealed_file::SealedFileError;
use portcullis_testkit::bus::wait_until;
use tempfile::TempDir;

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let identities = folder.path().join("identity");
    make::make(&identities, &development_roster()).unwrap();
    (folder, identities)
}

fn bundle(identities: &Path, name: &str) -> Bundle {
    Bundle::open(&identities.join(name)).unwrap()
}

/// The epochs of all links of a bundle: number, from when it seals, when it retires.
fn epochs(bundle: &Bundle) -> BTreeSet<(u32, Timestamp, Option<Timestamp>)> {
    let epochs = bundle.links().iter().map(|held| held.epoch);
    epochs
        .map(|epoch| (epoch.number, epoch.seals_from, epoch.retires_at))
        .collect()
}

fn numbers(bundle: &Bundle) -> BTreeSet<u32> {
    bundle
        .links()
        .iter()
        .map(|held| held.epoch.number)
        .collect()
}

const SLOW: Rotation = Rotation {
    emergency: false,
    lead: Span::from_secs(3_600),
    overlap: Span::from_secs(7_200),
};
const AT_ONCE: Rotation = Rotation {
    emergency: false,
    lead: Span(0),
    overlap: Span(0),
};

#[test]
fn after_a_rotation_everybody_holds_both_epochs_with_the_same_moments() {
    let (_folder, identities) = made();
    let before = bundle(&identities, "brain");
    let changed = Store::open(&identities, None)
        .unwrap()
        .rotate(SLOW)
        .unwrap();
    assert_eq!(changed.epoch, Some(2));
    assert_eq!(changed.used_from.plus(SLOW.overlap), changed.earlier_until);
    assert!(!changed.server && !changed.carried_on);
    let first = before.links()[0].epoch.seals_from;
    let both = BTreeSet::from([
        (1, first, Some(changed.earlier_until)),
        (2, changed.used_from, None),
    ]);
    for name in principals(&development_roster()) {
        let bundle = bundle(&identities, name.as_str());
        assert_eq!(epochs(&bundle), both, "{name}");
    }
    let after = bundle(&identities, "brain");
    assert_eq!(after.links().len(), 2 * before.links().len());
    let held = |bundle: &Bundle, epoch| -> BTreeMap<_, _> {
        let of = bundle
            .links()
            .iter()
            .filter(|held| held.epoch.number == epoch);
        of.map(|held| (held.link, *held.key.expose())).collect()
    };
    assert_eq!(
        held(&after, 1),
        held(&before, 1),
        "the first epoch's keys stay"
    );
    let shared = held(&after, 2);
    let other = held(&bundle(&identities, "execution"), 2);
    let common: Vec<_> = shared
        .iter()
        .filter(|(link, _)| other.contains_key(link))
        .collect();
    assert!(!common.is_empty());
    assert!(
        common
            .iter()
            .all(|(link, key)| other.get(link) == Some(key))
    );
    let old_keys: BTreeSet<_> = held(&before, 1).into_values().collect();
    assert!(
        shared.values().all(|key| !old_keys.contains(key)),
        "a new root"
    );
    assert_eq!(before.nkey_seed(), after.nkey_seed());
}

#[test]
fn what_is_retired_is_forgotten_by_all_but_audit() {
    let (_folder, identities) = made();
    let mut store = Store::open(&identities, None).unwrap();
    store.rotate(AT_ONCE).unwrap();
    store.rotate(SLOW).unwrap();
    assert_eq!(
        numbers(&bundle(&identities, "execution")),
        BTreeSet::from([1, 2, 3])
    );
    for held in bundle(&identities, "execution").links() {
        let is_towards_audit = held.link.audience == name("audit");
        assert!(held.epoch.number > 1 || is_towards_audit, "{:?}", held.link);
    }
    assert_eq!(
        numbers(&bundle(&identities, "brain")),
        BTreeSet::from([1, 2, 3])
    );
    assert_eq!(
        numbers(&bundle(&identities, "audit")),
        BTreeSet::from([1, 2, 3])
    );
}

#[test]
fn after_an_emergency_nobody_holds_what_was_before() {
    let (_folder, identities) = made();
    let mut store = Store::open(&identities, None).unwrap();
    store.rotate(SLOW).unwrap();
    let changed = store.rotate(Rotation::emergency()).unwrap();
    assert_eq!(changed.epoch, Some(3));
    for name in principals(&development_roster()) {
        let held = numbers(&bundle(&identities, name.as_str()));
        assert_eq!(held, BTreeSet::from([3]), "{name}");
    }
    let facts = Facts::read(&identities).unwrap();
    assert_eq!(facts.epoch.len(), 1, "{:?}", facts.epoch);
}

/// A folder stands where signer's new bundle would be written, so that the disk refuses in the middle
/// of the bundles.
#[test]
fn what_was_interrupted_between_two_bundles_is_carried_on() {
    let (_folder, identities) = made();
    let obstacle = identities.join("signer/bundle.sealed.new");
    fs::create_dir(&obstacle).unwrap();
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate(SLOW).unwrap();
    let left: Vec<_> = changed.left.iter().map(|left| left.name).collect();
    assert_eq!(left, [name("signer")]);
    let Some(signers) = changed.left.first() else {
        unreachable!()
    };
    assert!(signers.problem.contains("bundle.sealed"), "{signers:?}");
    assert!(signers.next_step.contains("writable"), "{signers:?}");
    drop(store);
    assert_eq!(
        numbers(&bundle(&identities, "execution")),
        BTreeSet::from([1, 2])
    );
    assert_eq!(numbers(&bundle(&identities, "signer")), BTreeSet::from([1]));
    let inventory = Inventory::read(&identities).unwrap();
    assert!(
        inventory.findings[0].what.contains("interrupted"),
        "{:?}",
        inventory.findings
    );

    fs::remove_dir(&obstacle).unwrap();
    let done = bundle(&identities, "execution");
    let changed = Store::open(&identities, None)
        .unwrap()
        .rotate(SLOW)
        .unwrap();
    assert!(changed.carried_on);
    assert_eq!(changed.epoch, Some(2));
    for name in principals(&development_roster()) {
        let bundle = bundle(&identities, name.as_str());
        assert_eq!(epochs(&bundle), epochs(&done), "{name}");
    }
    assert_eq!(
        bundle(&identities, "execution").made_at,
        done.made_at,
        "left alone"
    );
    assert_eq!(Inventory::read(&identities).unwrap().findings, []);
    // And then there is nothing left to carry on.
    let changed = Store::open(&identities, None)
        .unwrap()
        .rotate(SLOW)
        .unwrap();
    assert_eq!((changed.epoch, changed.carried_on), (Some(3), false));
}

#[test]
fn an_interrupted_exchange_of_a_principals_keys_is_carried_on_with_the_same_keys() {
    let (_folder, identities) = made();
    let obstacle = identities.join("signer/bundle.sealed.new");
    fs::create_dir(&obstacle).unwrap();
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate_principal(name("audit")).unwrap();
    assert_eq!(changed.left.len(), 1, "{changed:?}");
    let promised = Facts::read(&identities)
        .unwrap()
        .credentials(Clock::system().now());
    drop(store);
    fs::remove_dir(&obstacle).unwrap();
    // Another change does not leave this one behind.
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate(SLOW).unwrap();
    assert_eq!((changed.epoch, changed.carried_on), (Some(3), false));
    assert!(changed.after_another && changed.server, "{changed:?}");
    let admitted = make::public_nkeys(&identities).unwrap();
    assert_eq!(admitted, promised);
    assert_eq!(admitted[&name("audit")].len(), 2);
    assert_eq!(
        numbers(&bundle(&identities, "audit")),
        BTreeSet::from([1, 2, 3])
    );
}

#[test]
fn a_principals_new_keys_are_used_when_their_time_comes_and_the_old_ones_count_until_theirs_is_over()
 {
    let (_folder, identities) = made();
    let before = Identity::load(&identities.join("audit")).unwrap();
    let old = before.signing.as_ref().unwrap().verifying();
    let old_bundle = bundle(&identities, "audit");
    let rhythm = Rotation {
        emergency: false,
        lead: Span::from_millis(1_500),
        overlap: Span::from_millis(1_500),
    };
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate_principal_as(name("audit"), rhythm).unwrap();
    assert!(changed.server);
    let audit = name("audit");
    let load = |who: &str| Identity::load(&identities.join(who)).unwrap();
    let keys = || -> Vec<_> { load("execution").trust.keys_of(&audit).collect() };
    assert_eq!(
        (keys()[0], keys().len()),
        (old, 2),
        "both are believed at once"
    );
    assert_eq!(load("audit").signing.unwrap().verifying(), old);
    assert_eq!(
        bundle(&identities, "audit").nkey_seed(),
        old_bundle.nkey_seed()
    );
    wait_until("the new keys to be used", || {
        load("audit").signing.unwrap().verifying() != old
    });
    let new = load("audit").signing.unwrap().verifying();
    assert_eq!(keys()[0], new);
    let new_bundle = bundle(&identities, "audit");
    assert_ne!(new_bundle.nkey_seed(), old_bundle.nkey_seed());
    let pins = [&old_bundle, &new_bundle].map(|held| certificate_pin(held.certificate_pem()));
    assert_ne!(pins[0], pins[1]);
    let admitted = || make::public_nkeys(&identities).unwrap()[&audit].clone();
    assert_eq!(
        admitted().last().map(|held| Some(held.certificate_pin)),
        Some(pins[1])
    );
    wait_until("the old keys to count no more", || keys() == [new]);
    wait_until("the server to be told", || admitted().len() == 1);

    for held in bundle(&identities, "brain").links() {
        let is_audits = held.link.source == audit || held.link.audience == audit;
        assert!(is_audits || held.epoch.number == 1, "{:?}", held.link);
    }
    assert!(numbers(&bundle(&identities, "brain")).contains(&2));
}

#[test]
fn whoever_is_revoked_leaves_every_bundle_and_the_server() {
    let (_folder, identities) = made();
    let trader = name("strategy-trader");
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.revoke(trader).unwrap();
    assert!(changed.server && changed.epoch.is_none());
    assert_eq!(make::public_nkeys(&identities).unwrap()[&trader], []);
    assert!(!identities.join("strategy-trader/bundle.sealed").exists());
    assert!(!identities.join("strategy-trader/bundle.key").exists());
    for other in principals(&development_roster()) {
        if other != trader {
            let bundle = bundle(&identities, other.as_str());
            let links = bundle.links().iter().map(|held| held.link);
            let of_trader = links.filter(|link| link.source == trader || link.audience == trader);
            assert_eq!(of_trader.count(), 0, "{other}");
        }
    }
    let facts = Facts::read(&identities).unwrap();
    assert!(facts.principal(trader).unwrap().revoked_at.is_some());

    for again in [store.revoke(trader), store.rotate_principal(trader)] {
        assert!(matches!(again, Err(StoreError::Revoked(_))), "{again:?}");
    }
    let unknown = store.revoke(name("nobody"));
    assert!(
        matches!(unknown, Err(StoreError::Unknown(_))),
        "{unknown:?}"
    );
    // A later rotation does not bring it back.
    store.rotate(SLOW).unwrap();
    assert!(!identities.join("strategy-trader/bundle.sealed").exists());
}

#[test]
fn the_last_operator_is_not_revoked() {
    let (_folder, identities) = made();
    let mut store = Store::open(&identities, None).unwrap();
    store.revoke(name("operator-second")).unwrap();
    let error = store.revoke(name("operator-dev")).unwrap_err();
    assert!(matches!(error, StoreError::LastOperator(_)), "{error:?}");
    assert!(error.next_step().contains("--emergency"));
    assert!(Identity::load(&identities.join("operator-dev")).is_ok());
}

#[test]
fn in_an_emergency_a_principals_old_keys_are_gone_at_once() {
    let (_folder, identities) = made();
    let operator = name("operator-dev");
    let old = Identity::load(&identities.join("operator-dev")).unwrap();
    let old = old.signing.unwrap().verifying();
    let mut store = Store::open(&identities, None).unwrap();
    store
        .rotate_principal_as(operator, Rotation::emergency())
        .unwrap();
    let now = Identity::load(&identities.join("operator-dev")).unwrap();
    let new = now.signing.unwrap().verifying();
    assert_ne!(new, old);
    let guard = Identity::load(&identities.join("risk-guard")).unwrap();
    assert_eq!(guard.trust.keys_of(&operator).collect::<Vec<_>>(), [new]);
    assert_eq!(guard.trust.operators[&operator], new);
    assert_eq!(make::public_nkeys(&identities).unwrap()[&operator].len(), 1);
    for held in bundle(&identities, "risk-guard").links() {
        let of_operator = held.link.source == operator || held.link.audience == operator;
        assert_eq!(
            held.epoch.number,
            if of_operator { 2 } else { 1 },
            "{:?}",
            held.link
        );
    }
}

#[test]
fn the_server_gets_another_certificate_of_the_same_authority() {
    let (_folder, identities) = made();
    let read = |file: &str| fs::read(identities.join("nats").join(file)).unwrap();
    let before = (read("server.pem"), read("server.key"), read("ca.pem"));
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate_principal(name("nats")).unwrap();
    assert!(changed.server && changed.epoch.is_none());
    let pin = certificate_pin(&read("server.pem")).unwrap();
    assert_eq!(Facts::read(&identities).unwrap().server.pin, pin);
    assert!(read("server.pem") != before.0 && read("server.key") != before.1);
    assert_eq!(read("ca.pem"), before.2);
}

#[test]
fn only_the_realms_key_opens_the_store_and_only_one_at_a_time() {
    let (_folder, identities) = made();
    let store = Store::open(&identities, None).unwrap();
    let second = Store::open(&identities, None).unwrap_err();
    assert!(matches!(second, StoreError::InUse(_)), "{second:?}");
    assert_eq!(format!("{store:?}").matches("key").count(), 0);
    drop(store);
    let other = identities.join("brain/bundle.key");
    let error = Store::open(&identities, Some(&other)).unwrap_err();
    let closed = SealedFileError::Closed;
    assert!(
        matches!(error, StoreError::Roots { cause, .. } if cause == closed),
        "{error:?}"
    );
    let nowhere = Store::open(&identities.join("none"), None).unwrap_err();
    assert!(matches!(nowhere, StoreError::Missing(_)), "{nowhere:?}");
}

#[test]
fn an_inventory_says_where_each_epoch_is_and_what_grows_old() {
    let (_folder, identities) = made();
    let mut store = Store::open(&identities, None).unwrap();
    assert_eq!(store.inventory().findings, []);
    store.rotate(AT_ONCE).unwrap();
    store.rotate(SLOW).unwrap();
    let inventory = store.inventory();
    let states = inventory.facts.epoch.iter();
    let states: Vec<_> = states.map(|epoch| inventory.epoch_state(epoch)).collect();
    let expected = [
        EpochState::Retired,
        EpochState::Sealing,
        EpochState::Planned,
    ];
    assert_eq!(states, expected);

    let aged = identities.parent().unwrap().join("aged");
    let options = portcullis_runtime::identity::store::Options {
        epoch_life: Span::from_millis(50),
        ..Default::default()
    };
    Store::init(&aged, &development_roster(), make::SERVER_NAMES, &options).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let findings = Inventory::read(&aged).unwrap().findings;
        if let Some(finding) = findings.first() {
            assert!(finding.what.starts_with("epoch 1 is at "), "{finding:?}");
            assert_eq!(finding.next_step, "portcullis keys rotate");
            assert!(!finding.refused, "only production refuses");
            return;
        }
        assert!(std::time::Instant::now() < deadline);
    }
}
