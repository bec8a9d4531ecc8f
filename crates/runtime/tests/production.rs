//! Where the key of a bundle is found, and what production does not allow.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_domain::Span;
use portcullis_runtime::identity::make::{self, MakeError};
use portcullis_runtime::identity::store::{Options, Store};
use portcullis_runtime::identity::{Identity, IdentityError};
use portcullis_runtime::nats_config::{Roster, development_roster};
use portcullis_wire::Realm;
use tempfile::TempDir;

fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let identities = folder.path().join("identity");
    make::make(&identities, &development_roster()).unwrap();
    (folder, identities)
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if path.is_dir() {
            walk(&path, visit);
        }
    }
}

/// An error with everything that a person may be shown of it.
fn said(error: &IdentityError) -> String {
    let mut said = format!("{error:?} {} ", error.next_step());
    let mut link: Option<&dyn Error> = Some(error);
    while let Some(cause) = link {
        said.push_str(&format!("{cause}: "));
        link = cause.source();
    }
    said
}

fn production(folder: &Path, epoch_life: Span) -> PathBuf {
    let dev = development_roster();
    let realm = Realm::new("prod").unwrap();
    let roster = Roster::new(
        realm,
        dev.strategies().to_vec(),
        dev.operators().to_vec(),
        dev.symbols().to_vec(),
    );
    let identities = folder.join("identity");
    let options = Options {
        epoch_life,
        bundle_keys: Some(&folder.join("keys")),
        realm_key: Some(&folder.join("realm.key")),
    };
    Store::init(&identities, &roster.unwrap(), make::SERVER_NAMES, &options).unwrap();
    identities
}

const YEAR: Span = Span::from_secs(365 * 86_400);

#[test]
fn in_production_no_key_lies_beside_what_it_opens() {
    let folder = tempfile::tempdir().unwrap();
    let identities = production(folder.path(), YEAR);
    let brain = identities.join("brain");
    walk(&identities, &mut |path| {
        let name = path.file_name().unwrap();
        assert!(
            name != "bundle.key" && name != "roots.key",
            "{}",
            path.display()
        );
    });
    let key = folder.path().join("keys/brain.key");
    assert!(Identity::load_with(&brain, Some(&key)).is_ok());

    let error = Identity::load(&brain).unwrap_err();
    assert!(matches!(error, IdentityError::KeyBeside(_)), "{error:?}");
    assert!(error.next_step().contains("systemd credential"));
    let beside = brain.join("bundle.key");
    fs::copy(&key, &beside).unwrap();
    for path in [
        None,
        Some(beside.as_path()),
        Some(&brain.join("../brain/bundle.key")),
    ] {
        let error = Identity::load_with(&brain, path).unwrap_err();
        assert!(
            matches!(error, IdentityError::KeyBeside(_)),
            "{path:?}: {error:?}"
        );
    }

    let error = Store::open(&identities, None).unwrap_err();
    assert!(matches!(error, MakeError::KeyBeside(..)), "{error:?}");
    assert!(Store::open(&identities, Some(&folder.path().join("realm.key"))).is_ok());
}

#[test]
fn production_is_not_made_with_keys_beside() {
    let folder = tempfile::tempdir().unwrap();
    let dev = development_roster();
    let realm = Realm::new("prod-eu").unwrap();
    let strategies = dev.strategies().to_vec();
    let roster = Roster::new(
        realm,
        strategies,
        dev.operators().to_vec(),
        dev.symbols().to_vec(),
    );
    let roster = roster.unwrap();
    let (keys, realm_key) = (folder.path().join("keys"), folder.path().join("realm.key"));
    for (bundle_keys, realm_key) in [
        (None, None),
        (Some(keys.as_path()), None),
        (None, Some(realm_key.as_path())),
    ] {
        let options = Options {
            bundle_keys,
            realm_key,
            ..Options::default()
        };
        let identities = folder.path().join("identity");
        let error = Store::init(&identities, &roster, make::SERVER_NAMES, &options).unwrap_err();
        assert!(matches!(error, MakeError::KeyBeside(..)), "{error:?}");
        assert!(!identities.exists());
    }
}

#[test]
fn production_does_not_start_with_keys_beyond_their_age_and_development_does() {
    let folder = tempfile::tempdir().unwrap();
    let short = Span::from_millis(1);
    let identities = production(folder.path(), short);
    let key = folder.path().join("keys/brain.key");
    let error = Identity::load_with(&identities.join("brain"), Some(&key)).unwrap_err();
    assert!(
        matches!(error, IdentityError::TooOld { percent: 101.., .. }),
        "{error:?}"
    );
    assert!(error.next_step().contains("portcullis keys rotate"));

    let identities = folder.path().join("development");
    let options = Options {
        epoch_life: short,
        ..Options::default()
    };
    let roster = development_roster();
    Store::init(&identities, &roster, make::SERVER_NAMES, &options).unwrap();
    let identity = Identity::load(&identities.join("brain")).unwrap();
    let now = portcullis_runtime::Clock::system().now();
    assert!(identity.ages().any(|age| age.percent(now) > 100));
}

/// What this test's process was told to load.
const LOADED: &str = "TEST_IDENTITY";

#[test]
fn the_key_is_found_where_the_environment_says_and_nowhere_else() {
    if let Some(folder) = std::env::var_os(LOADED) {
        match Identity::load(Path::new(&folder)) {
            Ok(identity) => println!("loaded {}", identity.name),
            Err(error) => println!("refused {}", said(&error)),
        }
        return;
    }
    let (folder, identities) = made();
    let brain = identities.join("brain");
    let elsewhere = folder.path().join("identity.key");
    fs::copy(brain.join("bundle.key"), &elsewhere).unwrap();
    let wrong = folder.path().join("wrong");
    fs::create_dir(&wrong).unwrap();
    fs::copy(
        identities.join("signer/bundle.key"),
        wrong.join("identity.key"),
    )
    .unwrap();
    let digits = fs::read_to_string(&elsewhere).unwrap();
    let (path, credentials) = ("PORTCULLIS_IDENTITY_KEY", "CREDENTIALS_DIRECTORY");
    let here = folder.path().to_str().unwrap();
    let there = elsewhere.to_str().unwrap();
    let bad = wrong.to_str().unwrap();
    let bad_key = format!("{bad}/identity.key");
    let nowhere = format!("{bad}/none.key");

    // The key beside is there and right: what is named comes first, and nothing falls through.
    let loaded = "loaded brain";
    assert_eq!(outcome(&brain, &[]), loaded);
    assert_eq!(outcome(&brain, &[(path, there)]), loaded);
    let closed = outcome(&brain, &[(path, &bad_key)]);
    assert!(closed.contains("does not open with this key"), "{closed}");
    let missing = outcome(&brain, &[(path, &nowhere)]);
    assert!(missing.contains("is missing"), "{missing}");
    let closed = outcome(&brain, &[(credentials, bad)]);
    assert!(closed.contains("does not open with this key"), "{closed}");
    assert_eq!(
        outcome(&brain, &[(credentials, bad), (path, there)]),
        loaded
    );
    let given = outcome(&brain, &[(path, digits.trim())]);
    assert!(given.contains("a key was given where the path"), "{given}");
    assert!(!given.contains(digits.trim()), "{given}");

    fs::remove_file(brain.join("bundle.key")).unwrap();
    assert_eq!(outcome(&brain, &[(credentials, here)]), loaded);
    assert_eq!(outcome(&brain, &[(path, there)]), loaded);
    let missing = outcome(&brain, &[]);
    assert!(missing.contains("is missing"), "{missing}");
}

#[test]
fn in_production_a_secret_in_the_environment_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let identities = production(folder.path(), YEAR);
    let brain = identities.join("brain");
    let key = folder.path().join("keys/brain.key");
    let named = ("PORTCULLIS_IDENTITY_KEY", key.to_str().unwrap());
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    assert_eq!(outcome(&brain, &[named]), "loaded brain");
    for (name, value) in [
        ("PORTCULLIS_VENUE_SECRET", "hunter2"),
        ("HARMLESS", seed.as_str()),
        ("ALSO_HARMLESS", concat!("-----BEGIN PRIVATE", " KEY-----")),
    ] {
        let refused = outcome(&brain, &[named, (name, value)]);
        let expected = format!("environment variable {name} holds a secret");
        assert!(refused.contains(&expected), "{refused}");
        assert!(!refused.contains(value), "{refused}");
    }
    let (_folder, identities) = made();
    let variables = [("HARMLESS", seed.as_str())];
    assert_eq!(
        outcome(&identities.join("brain"), &variables),
        "loaded brain"
    );
}

/// What another process with this environment says about an identity.
fn outcome(identity: &Path, variables: &[(&str, &str)]) -> String {
    let test = "the_key_is_found_where_the_environment_says_and_nowhere_else";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command.env_remove("PORTCULLIS_IDENTITY_KEY");
    command.env_remove("CREDENTIALS_DIRECTORY");
    command
        .env(LOADED, identity)
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| {
        let at = ["loaded ", "refused "].map(|word| line.find(word));
        at.into_iter()
            .flatten()
            .min()
            .map(|at| line[at..].to_owned())
    });
    line.unwrap_or_else(|| panic!("it said nothing: {text}"))
}
