//! Identities as they are made: complete, closed to others, each with its own material only; and
//! every reason why one is not accepted.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::make::{self, MakeError};
use portcullis_runtime::identity::{Bundle, Identity, IdentityError};
use portcullis_runtime::nats_config::{certificate_pin, development_roster, principals};
use portcullis_runtime::sealed_file::SealedFileError;
use portcullis_runtime::secret::SecretError;
use portcullis_testkit::bundle;
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
        assert_eq!(identity.trust.operators.len(), 2);
        let signers = ["audit", "operator-dev", "operator-second", "risk-guard"];
        let signs = signers.contains(&name.as_str());
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
            assert!(
                !text.contains(secret),
                "{} has one of {}",
                path.display(),
                from.display()
            );
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
    assert!(
        made.nkeys
            .contains_key(&PrincipalName::new("provisioner").unwrap())
    );
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
    let whole = (
        fs::read(&bundle_file).unwrap(),
        fs::read(&key_file).unwrap(),
    );
    let secrets = bundle::secrets(&brain);
    type Spoil = fn(&Path, &mut Vec<u8>, &mut Vec<u8>);
    let cases: [(&str, Spoil, &str); 12] = [
        (
            "another's bundle",
            |brain, bundle, _| {
                *bundle = fs::read(brain.join("../signer/bundle.sealed")).unwrap();
            },
            "does not open with this key",
        ),
        (
            "another's key",
            |brain, _, key| {
                *key = fs::read(brain.join("../signer/bundle.key")).unwrap();
            },
            "does not open with this key",
        ),
        (
            "another realm in its head",
            |_, bundle, _| {
                assert_eq!(&bundle[18..21], b"dev");
                bundle[20] = b'w';
            },
            "does not open with this key",
        ),
        (
            "another name in its head",
            |_, bundle, _| {
                assert_eq!(&bundle[22..27], b"brain");
                bundle[22] = b'd';
            },
            "does not open with this key",
        ),
        (
            "a flipped bit",
            |_, bundle, _| {
                let last = bundle.len() - 1;
                bundle[last] ^= 1;
            },
            "does not open with this key",
        ),
        (
            "a cut",
            |_, bundle, _| bundle.truncate(1_000),
            "does not open with this key",
        ),
        (
            "a shorter cut",
            |_, bundle, _| bundle.truncate(30),
            "not a sealed file",
        ),
        (
            "nothing but noise",
            |_, bundle, _| *bundle = vec![7; 5_000],
            "not a sealed file",
        ),
        ("nothing", |_, bundle, _| bundle.clear(), "is empty"),
        (
            "too much",
            |_, bundle, _| bundle.resize(2 << 20, 0),
            "is longer than",
        ),
        ("no key", |_, _, key| key.clear(), "is empty"),
        (
            "a short key",
            |_, _, key| key.truncate(63),
            "is not 64 hexadecimal digits",
        ),
    ];
    for (what, spoil, expected) in cases {
        let (mut sealed, mut key) = whole.clone();
        spoil(&brain, &mut sealed, &mut key);
        fs::write(&bundle_file, &sealed).unwrap();
        fs::write(&key_file, &key).unwrap();
        let said = said(&Identity::load(&brain).unwrap_err());
        assert!(said.contains(expected), "{what}: {said}");
        assert!(
            !secrets.iter().any(|(_, secret)| said.contains(secret)),
            "{what}"
        );
    }
    fs::write(&bundle_file, &whole.0).unwrap();
    fs::write(&key_file, &whole.1).unwrap();
    assert!(Identity::load(&brain).is_ok());
    for file in [&bundle_file, &key_file] {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let error = Identity::load(&brain).unwrap_err();
        assert!(
            matches!(error, IdentityError::Secret(SecretError::Missing(_))),
            "{error:?}"
        );
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
        (
            |text| first(text, "link", "source", "execution"),
            "which is neither",
        ),
        (
            |text| first(text, "link", "key", "beef"),
            "does not hold an identity",
        ),
        (
            |text| first(text, "trust", "name", "signer"),
            "trusts signer, who signs nothing",
        ),
        (
            |text| first(text, "transport", "nkey_seed", "SUAAAA"),
            "an NKey that is none",
        ),
        (
            |text| {
                text.insert("transport".into(), Value::Array(Vec::new()));
            },
            "nothing to log in with",
        ),
        (
            |text| {
                text.insert("realm".into(), "prod".into());
            },
            "of another realm or principal than it says",
        ),
        (
            |text| {
                text.insert("surprise".into(), "beef".into());
            },
            "does not hold an identity",
        ),
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
        .find(|table| {
            table.get("audience").and_then(Value::as_str) != Some("brain") || key != "source"
        })
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
        let printed = format!(
            "{bundle:?} {identity:?} {:?} {:?}",
            bundle.links(),
            identity.ring
        );
        assert!(printed.contains(name), "{printed}");
        for (_, secret) in secrets {
            assert!(!printed.contains(&secret));
        }
    }
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
