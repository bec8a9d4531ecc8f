//! The key of a bundle is exchanged with everything else that its owner has.

use portcullis_domain::StrategyId;
use portcullis_runtime::identity::IdentityError;
use portcullis_runtime::identity::store::Options;
use portcullis_runtime::nats_config::{OperatorId, Roster};
use portcullis_wire::Realm;

use super::*;

fn roster(realm: &str) -> Roster {
    let symbols = development_roster().symbols().to_vec();
    Roster::new(
        Realm::new(realm).unwrap(),
        vec![StrategyId::new("carry").unwrap()],
        vec![OperatorId::new("alice").unwrap()],
        symbols,
    )
    .unwrap()
}

/// With no key beside what it opens.
fn made_apart(realm: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let identities = folder.path().join("identity");
    let (keys, realm_key) = (folder.path().join("keys"), folder.path().join("realm.key"));
    let options = Options {
        bundle_keys: Some(&keys),
        realm_key: Some(&realm_key),
        ..Default::default()
    };
    Store::init(&identities, &roster(realm), make::SERVER_NAMES, &options).unwrap();
    (folder, identities)
}

fn does_not_open(folder: &Path, key: &Path) -> bool {
    let error = Bundle::open_with(folder, Some(key)).unwrap_err();
    let closed = SealedFileError::Closed;
    matches!(error, IdentityError::Sealed { cause, .. } if cause == closed)
}

#[test]
fn with_new_keys_a_principal_gets_a_new_key_of_its_bundle() {
    for rhythm in [SLOW, Rotation::emergency()] {
        let (folder, identities) = made();
        let brain = identities.join("brain");
        let old = folder.path().join("stolen.key");
        fs::copy(brain.join("bundle.key"), &old).unwrap();
        let others = fs::read(identities.join("signer/bundle.key")).unwrap();
        assert!(Bundle::open_with(&brain, Some(&old)).is_ok());
        let mut store = Store::open(&identities, None).unwrap();
        let changed = store.rotate_principal_as(name("brain"), rhythm).unwrap();
        assert_eq!(changed.left, []);
        assert!(does_not_open(&brain, &old), "{rhythm:?}");
        assert!(Identity::load(&brain).is_ok());
        // It stays so, and everybody else's is left alone.
        store.rotate(SLOW).unwrap();
        assert!(does_not_open(&brain, &old) && Identity::load(&brain).is_ok());
        let after = fs::read(identities.join("signer/bundle.key")).unwrap();
        assert_eq!(after, others);
    }
}

/// A folder stands where the new bundle would be written, after the key was.
#[test]
fn between_the_new_key_and_the_new_bundle_a_command_may_be_interrupted() {
    for other_change_first in [false, true] {
        let (folder, identities) = made();
        let brain = identities.join("brain");
        let old = folder.path().join("stolen.key");
        fs::copy(brain.join("bundle.key"), &old).unwrap();
        let obstacle = brain.join("bundle.sealed.new");
        fs::create_dir(&obstacle).unwrap();
        let mut store = Store::open(&identities, None).unwrap();
        let changed = store.rotate_principal_as(name("brain"), SLOW).unwrap();
        assert_eq!(changed.left.len(), 1, "{changed:?}");
        assert!(Bundle::open_with(&brain, Some(&old)).is_ok());
        assert!(does_not_open(&brain, &brain.join("bundle.key")));
        if other_change_first {
            let revoked = store.revoke(name("strategy-trader")).unwrap();
            assert_eq!(revoked.left.len(), 1, "{revoked:?}");
        }
        drop(store);
        fs::remove_dir(&obstacle).unwrap();
        let mut store = Store::open(&identities, None).unwrap();
        let changed = store.rotate_principal_as(name("brain"), SLOW).unwrap();
        assert_eq!(changed.left, []);
        assert_eq!(changed.carried_on, !other_change_first);
        assert!(does_not_open(&brain, &old));
        let nkeys = |identities: &Path| make::public_nkeys(identities).unwrap();
        let in_use = bundle(&identities, "brain");
        let pin = certificate_pin(in_use.certificate_pem()).unwrap();
        let mut admitted = nkeys(&identities).remove(&name("brain")).unwrap();
        admitted.retain(|held| held.certificate_pin == pin);
        assert_eq!(admitted.len(), 1);
    }
}

#[test]
fn where_the_keys_lie_elsewhere_their_folder_is_needed_before_anything_is_changed() {
    for realm in ["staging", "prod"] {
        let (folder, identities) = made_apart(realm);
        let realm_key = folder.path().join("realm.key");
        let open = || Store::open(&identities, Some(&realm_key)).unwrap();
        let before = fs::read(identities.join("roots.sealed")).unwrap();
        for rhythm in [SLOW, Rotation::emergency()] {
            let error = open()
                .rotate_principal_as(name("brain"), rhythm)
                .unwrap_err();
            assert!(
                matches!(error, StoreError::BundleKeysNeeded(whose) if whose == name("brain")),
                "{error:?}"
            );
            assert!(error.next_step().contains("--bundle-keys"));
        }
        let nowhere = open().with_bundle_keys(&folder.path().join("none"));
        assert!(matches!(nowhere, Err(StoreError::Write { .. })));
        assert_eq!(fs::read(identities.join("roots.sealed")).unwrap(), before);
        // Nobody else needs it.
        open().rotate(SLOW).unwrap();
        open().rotate_principal(name("nats")).unwrap();

        let keys = folder.path().join("keys");
        let (key, old) = (keys.join("brain.key"), folder.path().join("stolen.key"));
        fs::copy(&key, &old).unwrap();
        let mut store = open().with_bundle_keys(&keys).unwrap();
        let changed = store.rotate_principal_as(name("brain"), SLOW).unwrap();
        assert_eq!(changed.left, []);
        let brain = identities.join("brain");
        assert!(does_not_open(&brain, &old), "{realm}");
        assert!(Identity::load_with(&brain, Some(&key)).is_ok());
        assert!(!brain.join("bundle.key").exists());
    }
}

#[test]
fn in_production_no_key_may_lie_inside_of_the_identities() {
    let (folder, identities) = made_apart("prod");
    let outside = folder.path().join("realm.key");
    let inside = identities.join("nats/realm.key");
    fs::copy(&outside, &inside).unwrap();
    let link = folder.path().join("link.key");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    for path in [
        &inside,
        &link,
        &identities.join("../identity/nats/realm.key"),
    ] {
        let error = Store::open(&identities, Some(path)).unwrap_err();
        assert!(
            matches!(error, StoreError::KeyBeside(..)),
            "{}: {error:?}",
            path.display()
        );
    }
    let store = Store::open(&identities, Some(&outside)).unwrap();
    let error = store.with_bundle_keys(&identities).unwrap_err();
    assert!(matches!(error, StoreError::KeyBeside(..)), "{error:?}");
    // Elsewhere than in production it may.
    let (folder, identities) = made_apart("staging");
    let inside = identities.join("nats/realm.key");
    fs::copy(folder.path().join("realm.key"), &inside).unwrap();
    assert!(Store::open(&identities, Some(&inside)).is_ok());
}
