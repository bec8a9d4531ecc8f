//! Identities as they are made: complete, closed to others, each with its own material only; and
//! every reason why one is not accepted.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_domain::{PrincipalName, Span};
use portcullis_runtime::identity::make::{self, MakeError};
use portcullis_runtime::identity::store::{Options, Store};
use portcullis_runtime::identity::{Bundle, Identity, IdentityError};
use portcullis_runtime::nats_config::{
    Roster, certificate_pin, development_roster, principals,
};
use portcullis_runtime::sealed_file::SealedFileError;
use portcullis_runtime::secret::SecretError;
use portcullis_testkit::bundle;
use portcullis_wire::Realm;
use tempfile::TempDir;
use toml::Value;

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

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
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

#[test]
fn everybody_gets_a_folder_that_only_its_owner_may_open() {
    let (_folder, identities) = made();
    let mut files = 0;
    walk(&identities, &mut |path| {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{}", path.display());
        files += 1;
    });
    assert!(files > 40, "{files}");
    for name in principals(&development_roster()) {
        let identity = Identity::load(&identities.join(name.as_str())).unwrap();
        assert_eq!((identity.name, identity.realm.as_str()), (name, "dev"));
        assert!(identity.ring.links().count() > 0);
        assert!(
            identity
                .ring
                .links()
                .all(|l| l.source == name || l.audience == name),
            "{name}"
        );
        assert!(identity.trust.audit.is_some() && identity.trust.risk_guard.is_some());
        assert_eq!(identity.trust.operators.len(), 1);
        let signs = ["audit", "operator-dev", "risk-guard"].contains(&name.as_str());
        assert_eq!(identity.signing.is_some(), signs, "{name}");
        let secrets = ["chain", "venue"].map(|secret| identity.secret(secret).is_some());
        let expected = [name.as_str() == "audit", name.as_str() == "signer"];
        assert_eq!(secrets, expected, "{name}");
    }
}

#[test]
fn no_secret_stands_in_the_clear_but_the_servers_own_key() {
    let (_folder, identities) = made();
    let secrets = bundle::secrets(&identities);
    assert!(secrets.len() > 100, "{}", secrets.len());
    let mut looked_at = 0;
    walk(&identities, &mut |path| {
        let is_key = path.extension().is_some_and(|extension| extension == "key");
        if path.is_dir() || is_key {
            return;
        }
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        for (from, secret) in &secrets {
            assert!(!text.contains(secret), "{} has one of {}", path.display(), from.display());
        }
        looked_at += 1;
    });
    assert!(looked_at > 10, "{looked_at}");
}

#[test]
fn what_audit_signs_is_what_everybody_trusts() {
    let (_folder, identities) = made();
    let audit = Identity::load(&identities.join("audit")).unwrap();
    let execution = Identity::load(&identities.join("execution")).unwrap();
    let public = audit.signing.unwrap().verifying();
    assert_eq!(execution.trust.audit, Some(public));
    let keys: Vec<_> = execution.trust.keys_of(&audit.name).collect();
    assert_eq!(keys, [public]);
}

#[test]
fn what_the_server_admits_is_on_file() {
    let folder = tempfile::tempdir().unwrap();
    let identities = folder.path().join("identity");
    let made = make::make(&identities, &development_roster()).unwrap();
    assert_eq!(make::public_nkeys(&identities).unwrap(), made.nkeys);
    assert!(made.nkeys.contains_key(&PrincipalName::new("provisioner").unwrap()));
    for (name, admitted) in &made.nkeys {
        let bundle = Bundle::open(&identities.join(name.as_str())).unwrap();
        let nkey = nkeys::KeyPair::from_seed(bundle.nkey_seed()).unwrap();
        assert_eq!(admitted.len(), 1, "{name}");
        assert_eq!(admitted[0].nkey, nkey.public_key());
        let pin = certificate_pin(bundle.certificate_pem()).unwrap();
        assert_eq!(admitted[0].certificate_pin, pin, "{name}");
    }
}

#[test]
fn existing_identities_are_never_touched() {
    let (_folder, identities) = made();
    let before = fs::read(identities.join("brain/bundle.sealed")).unwrap();
    let error = make::make(&identities, &development_roster()).unwrap_err();
    assert!(matches!(error, MakeError::Exists(_)), "{error:?}");
    let after = fs::read(identities.join("brain/bundle.sealed")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn what_others_may_open_is_refused() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    for file in ["bundle.sealed", "bundle.key"] {
        for mode in [0o640, 0o604, 0o644] {
            chmod(&brain.join(file), mode);
            let error = Identity::load(&brain).unwrap_err();
            let IdentityError::Secret(SecretError::OpenToOthers { path, .. }) = &error else {
                panic!("{file}: {error:?}")
            };
            assert_eq!(path, &brain.join(file));
            assert!(error.next_step().starts_with("chmod 600 "));
            chmod(&brain.join(file), 0o600);
        }
    }
    chmod(&brain, 0o755);
    let error = Identity::load(&brain).unwrap_err();
    assert!(matches!(error, IdentityError::OpenToOthers(_)));
    assert!(error.next_step().starts_with("chmod 700 "));
}

/// What somebody did to brain's folder, and what is said about it.
#[test]
fn every_folder_that_is_not_whole_is_refused_with_its_reason() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    let (bundle_file, key_file) = (brain.join("bundle.sealed"), brain.join("bundle.key"));
    let whole = (fs::read(&bundle_file).unwrap(), fs::read(&key_file).unwrap());
    let secrets = bundle::secrets(&brain);
    type Spoil = fn(&Path, &mut Vec<u8>, &mut Vec<u8>);
    let cases: [(&str, Spoil, &str); 12] = [
        ("another's bundle", |brain, bundle, _| {
            *bundle = fs::read(brain.join("../signer/bundle.sealed")).unwrap();
        }, "does not open with this key"),
        ("another's key", |brain, _, key| {
            *key = fs::read(brain.join("../signer/bundle.key")).unwrap();
        }, "does not open with this key"),
        ("another realm in its head", |_, bundle, _| {
            assert_eq!(&bundle[18..21], b"dev");
            bundle[20] = b'w';
        }, "does not open with this key"),
        ("another name in its head", |_, bundle, _| {
            assert_eq!(&bundle[22..27], b"brain");
            bundle[22] = b'd';
        }, "does not open with this key"),
        ("a flipped bit", |_, bundle, _| {
            let last = bundle.len() - 1;
            bundle[last] ^= 1;
        }, "does not open with this key"),
        ("a cut", |_, bundle, _| bundle.truncate(1_000), "does not open with this key"),
        ("a shorter cut", |_, bundle, _| bundle.truncate(30), "not a sealed file"),
        ("nothing but noise", |_, bundle, _| *bundle = vec![7; 5_000], "not a sealed file"),
        ("nothing", |_, bundle, _| bundle.clear(), "is empty"),
        ("too much", |_, bundle, _| bundle.resize(2 << 20, 0), "is longer than"),
        ("no key", |_, _, key| key.clear(), "is empty"),
        ("a short key", |_, _, key| key.truncate(63), "is not 64 hexadecimal digits"),
    ];
    for (what, spoil, expected) in cases {
        let (mut sealed, mut key) = whole.clone();
        spoil(&brain, &mut sealed, &mut key);
        fs::write(&bundle_file, &sealed).unwrap();
        fs::write(&key_file, &key).unwrap();
        let said = said(&Identity::load(&brain).unwrap_err());
        assert!(said.contains(expected), "{what}: {said}");
        assert!(!secrets.iter().any(|(_, secret)| said.contains(secret)), "{what}");
    }
    fs::write(&bundle_file, &whole.0).unwrap();
    fs::write(&key_file, &whole.1).unwrap();
    assert!(Identity::load(&brain).is_ok());
    for file in [&bundle_file, &key_file] {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let error = Identity::load(&brain).unwrap_err();
        assert!(matches!(error, IdentityError::Secret(SecretError::Missing(_))), "{error:?}");
        assert!(error.next_step().contains("mode 0600"));
        fs::write(file, bytes).unwrap();
        chmod(file, 0o600);
    }
}

/// What was sealed properly and makes no sense.
#[test]
fn a_bundle_with_more_than_its_own_or_less_than_it_needs_is_refused() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    let whole = fs::read(brain.join("bundle.sealed")).unwrap();
    type Change = fn(&mut toml::Table);
    let cases: [(Change, &str); 7] = [
        (|text| first(text, "link", "source", "execution"), "which is neither"),
        (|text| first(text, "link", "key", "beef"), "does not hold an identity"),
        (|text| first(text, "trust", "name", "signer"), "trusts signer, who signs nothing"),
        (|text| first(text, "transport", "nkey_seed", "SUAAAA"), "an NKey that is none"),
        (|text| {
            text.insert("transport".into(), Value::Array(Vec::new()));
        }, "nothing to log in with"),
        (|text| {
            text.insert("realm".into(), "prod".into());
        }, "of another realm or principal than it says"),
        (|text| {
            text.insert("surprise".into(), "beef".into());
        }, "does not hold an identity"),
    ];
    for (change, expected) in cases {
        fs::write(brain.join("bundle.sealed"), &whole).unwrap();
        bundle::change(&brain, change);
        let error = Identity::load(&brain).unwrap_err();
        let said = said(&error);
        assert!(matches!(error, IdentityError::Value { .. }), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("beef") && !said.contains("SUAAAA"), "{said}");
    }
}

/// Sets a value in the first of several tables; the link and the trust that are first have nothing to
/// do with execution and signer.
fn first(text: &mut toml::Table, list: &str, key: &str, value: &str) {
    let tables = text.get_mut(list).and_then(Value::as_array_mut).unwrap();
    let table = tables
        .iter_mut()
        .filter_map(Value::as_table_mut)
        .find(|table| table.get("audience").and_then(Value::as_str) != Some("brain") || key != "source")
        .unwrap();
    if key == "source" {
        table.insert("audience".into(), "signer".into());
    }
    table.insert(key.into(), value.into());
}

#[test]
fn nothing_of_an_identity_is_printed() {
    let (_folder, identities) = made();
    for name in ["brain", "audit", "signer", "operator-dev", "risk-guard"] {
        let folder = identities.join(name);
        let secrets = bundle::secrets(&folder);
        let bundle = Bundle::open(&folder).unwrap();
        let identity = Identity::load(&folder).unwrap();
        let printed = format!("{bundle:?} {identity:?} {:?} {:?}", bundle.links(), identity.ring);
        assert!(printed.contains(name), "{printed}");
        for (_, secret) in secrets {
            assert!(!printed.contains(&secret));
        }
    }
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
        assert!(name != "bundle.key" && name != "roots.key", "{}", path.display());
    });
    let key = folder.path().join("keys/brain.key");
    assert!(Identity::load_with(&brain, Some(&key)).is_ok());

    let error = Identity::load(&brain).unwrap_err();
    assert!(matches!(error, IdentityError::KeyBeside(_)), "{error:?}");
    assert!(error.next_step().contains("systemd credential"));
    let beside = brain.join("bundle.key");
    fs::copy(&key, &beside).unwrap();
    for path in [None, Some(beside.as_path()), Some(&brain.join("../brain/bundle.key"))] {
        let error = Identity::load_with(&brain, path).unwrap_err();
        assert!(matches!(error, IdentityError::KeyBeside(_)), "{path:?}: {error:?}");
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
    let roster = Roster::new(realm, strategies, dev.operators().to_vec(), dev.symbols().to_vec());
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
    assert!(matches!(error, IdentityError::TooOld { percent: 101.., .. }), "{error:?}");
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
    fs::copy(identities.join("signer/bundle.key"), wrong.join("identity.key")).unwrap();
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
    assert_eq!(outcome(&brain, &[(credentials, bad), (path, there)]), loaded);
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
        ("ALSO_HARMLESS", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let refused = outcome(&brain, &[named, (name, value)]);
        let expected = format!("environment variable {name} holds a secret");
        assert!(refused.contains(&expected), "{refused}");
        assert!(!refused.contains(value), "{refused}");
    }
    let (_folder, identities) = made();
    let variables = [("HARMLESS", seed.as_str())];
    assert_eq!(outcome(&identities.join("brain"), &variables), "loaded brain");
}

/// What another process with this environment says about an identity.
fn outcome(identity: &Path, variables: &[(&str, &str)]) -> String {
    let test = "the_key_is_found_where_the_environment_says_and_nowhere_else";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command.env_remove("PORTCULLIS_IDENTITY_KEY");
    command.env_remove("CREDENTIALS_DIRECTORY");
    command.env(LOADED, identity).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| {
        let at = ["loaded ", "refused "].map(|word| line.find(word));
        at.into_iter().flatten().min().map(|at| line[at..].to_owned())
    });
    line.unwrap_or_else(|| panic!("it said nothing: {text}"))
}

#[test]
fn a_bundle_whose_head_was_changed_is_closed_and_not_of_another_realm() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    let mut bytes = fs::read(brain.join("bundle.sealed")).unwrap();
    bytes[20] = b'w';
    fs::write(brain.join("bundle.sealed"), bytes).unwrap();
    let IdentityError::Sealed { cause, .. } = Bundle::open(&brain).unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(cause, SealedFileError::Closed);
}
