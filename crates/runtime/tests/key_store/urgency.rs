//! What a damaged bundle holds up and what it does not, and how an earlier plan and a later wish go
//! together.

use portcullis_runtime::identity::store::Options;

use super::*;

fn left(changed: &portcullis_runtime::identity::store::Changed) -> Vec<String> {
    let left = changed.left.iter();
    left.map(|left| left.name.to_string()).collect()
}

fn has_links_with(identities: &Path, whose: &str, other: &str) -> bool {
    let other = name(other);
    let bundle = bundle(identities, whose);
    let mut links = bundle.links().iter().map(|held| held.link);
    links.any(|link| link.source == other || link.audience == other)
}

/// The numbers of the epochs that somebody still holds for what is not audit's.
fn counting(bundle: &Bundle) -> BTreeSet<u32> {
    let links = bundle.links().iter();
    let links = links.filter(|held| held.link.audience != name("audit"));
    links.map(|held| held.epoch.number).collect()
}

#[test]
fn with_a_bundle_that_does_not_open_a_planned_change_is_refused_before_anything_is_changed() {
    let (_folder, identities) = made();
    fs::remove_file(identities.join("signer/bundle.sealed")).unwrap();
    let damaged = identities.join("market-data/bundle.sealed");
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let read = |file: &str| fs::read(identities.join(file)).unwrap();
    let files = ["realm.toml", "roots.sealed", "brain/bundle.sealed"];
    let before = files.map(read);
    let mut store = Store::open(&identities, None).unwrap();
    for refused in [
        store.rotate(SLOW),
        store.rotate_principal(name("brain")),
        store.rotate_principal(name("signer")),
    ] {
        let error = refused.unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("nothing was changed")
                && said.contains("bundle of signer")
                && said.contains("bundle of market-data"),
            "{said}"
        );
        assert!(error.next_step().contains("from a copy"), "{error:?}");
        assert!(matches!(error, StoreError::Bundles(of) if of.len() == 2));
    }
    assert!(files.map(read) == before);
}

#[test]
fn a_damaged_bundle_holds_up_no_revocation_and_no_emergency() {
    let (_folder, identities) = made();
    let signers = identities.join("signer/bundle.sealed");
    let kept = identities.with_file_name("kept");
    fs::rename(&signers, &kept).unwrap();
    let traders = identities.join("strategy-trader");
    fs::write(traders.join("bundle.sealed"), "damaged").unwrap();

    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.revoke(name("strategy-trader")).unwrap();
    assert_eq!(left(&changed), ["signer"], "not the one who is revoked");
    assert!(changed.server);
    // Everybody after the signer in the order of the names has it too.
    for other in ["audit", "brain", "market-data", "strategy-sample"] {
        assert!(!has_links_with(&identities, other, "strategy-trader"));
    }
    assert!(!traders.join("bundle.sealed").exists());
    let admitted = make::public_nkeys(&identities).unwrap();
    assert_eq!(admitted[&name("strategy-trader")], []);
    assert!(Inventory::read(&identities).unwrap().facts.unfinished);

    // Nor is another one held up by the one that is not done.
    let changed = store.revoke(name("strategy-sample")).unwrap();
    assert_eq!(left(&changed), ["signer"]);
    assert!(changed.after_another && !has_links_with(&identities, "brain", "strategy-sample"));
    let changed = store.rotate(Rotation::emergency()).unwrap();
    assert_eq!(
        (left(&changed), changed.epoch),
        (vec!["signer".into()], Some(2))
    );
    assert_eq!(numbers(&bundle(&identities, "brain")), BTreeSet::from([2]));
    let planned = store.rotate(SLOW).unwrap_err();
    assert!(matches!(planned, StoreError::Bundles(_)), "{planned:?}");

    fs::rename(&kept, &signers).unwrap();
    let changed = store.rotate(SLOW).unwrap();
    assert_eq!(changed.left, []);
    assert_eq!(
        numbers(&bundle(&identities, "signer")),
        BTreeSet::from([2, 3])
    );
    assert!(!has_links_with(&identities, "signer", "strategy-trader"));
    assert!(!Inventory::read(&identities).unwrap().facts.unfinished);
}

#[test]
fn who_is_revoked_because_its_bundle_is_lost_ends_what_was_unfinished() {
    let (_folder, identities) = made();
    let lost = identities.join("strategy-trader/bundle.sealed");
    fs::remove_file(lost).unwrap();
    let mut store = Store::open(&identities, None).unwrap();
    let changed = store.rotate(Rotation::emergency()).unwrap();
    assert_eq!(left(&changed), ["strategy-trader"]);
    let changed = store.revoke(name("strategy-trader")).unwrap();
    assert_eq!(changed.left, []);
    assert_eq!(Inventory::read(&identities).unwrap().findings, []);
}

#[test]
fn an_overlap_of_nothing_ends_every_earlier_epoch() {
    let (_folder, identities) = made();
    let slow_end = Rotation {
        lead: Span(0),
        ..SLOW
    };
    let mut store = Store::open(&identities, None).unwrap();
    store.rotate(slow_end).unwrap();
    assert_eq!(
        counting(&bundle(&identities, "brain")),
        BTreeSet::from([1, 2])
    );
    let changed = store.rotate(AT_ONCE).unwrap();
    for name in principals(&development_roster()) {
        let bundle = bundle(&identities, name.as_str());
        assert_eq!(counting(&bundle), BTreeSet::from([3]), "{name}");
        let earlier = bundle.links().iter().filter(|held| held.epoch.number < 3);
        for held in earlier {
            let retires_at = held.epoch.retires_at;
            assert_eq!(retires_at, Some(changed.earlier_until), "{name}");
        }
    }
    let inventory = store.inventory();
    let states = inventory.facts.epoch.iter();
    let states: Vec<_> = states.map(|epoch| inventory.epoch_state(epoch)).collect();
    let expected = [
        EpochState::Retired,
        EpochState::Retired,
        EpochState::Sealing,
    ];
    assert_eq!(states, expected);
}

#[test]
fn an_interrupted_plan_does_not_pass_for_another_one_that_is_wanted_now() {
    let other_rhythm = Rotation {
        overlap: Span(0),
        ..SLOW
    };
    // What was planned, what is wanted, and the epoch that this ends with.
    for (planned, wanted, epoch) in [
        (SLOW, SLOW, 2),
        (SLOW, other_rhythm, 3),
        (SLOW, Rotation::emergency(), 3),
        (Rotation::emergency(), Rotation::emergency(), 3),
        // Its own lead is over by then.
        (AT_ONCE, AT_ONCE, 3),
    ] {
        let (_folder, identities) = made();
        let obstacle = identities.join("signer/bundle.sealed.new");
        fs::create_dir(&obstacle).unwrap();
        let mut store = Store::open(&identities, None).unwrap();
        assert_eq!(left(&store.rotate(planned).unwrap()), ["signer"]);
        fs::remove_dir(&obstacle).unwrap();
        let changed = store.rotate(wanted).unwrap();
        assert_eq!(changed.epoch, Some(epoch), "{planned:?}, {wanted:?}");
        let carried_on = (changed.carried_on, changed.after_another);
        assert_eq!(carried_on, (epoch == 2, epoch == 3), "{wanted:?}");
        let newest = numbers(&bundle(&identities, "signer")).last().copied();
        assert_eq!(newest, Some(epoch));
    }
}

#[test]
fn a_key_in_place_of_its_path_is_refused_and_not_repeated() {
    let (folder, identities) = made();
    let key = fs::read_to_string(identities.join("roots.key")).unwrap();
    let path = Path::new(key.trim());
    let refused = [
        Store::open(&identities, Some(path)).unwrap_err(),
        Store::open(&identities, None)
            .unwrap()
            .with_bundle_keys(path)
            .unwrap_err(),
        Store::init(
            &folder.path().join("other"),
            &development_roster(),
            make::SERVER_NAMES,
            &Options {
                realm_key: Some(&folder.path().join(path)),
                ..Default::default()
            },
        )
        .unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, StoreError::KeyInsteadOfPath), "{error:?}");
        let said = format!("{error} {error:?} {}", error.next_step());
        assert!(!said.contains(key.trim()));
    }
}
