//! Identities as they are made: complete, closed to others, and each with its own links only.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::make::{self, MakeError};
use portcullis_runtime::identity::{Identity, IdentityError};
use portcullis_runtime::nats_config::{development_roster, principals};
use portcullis_runtime::secret::SecretError;

fn made() -> (tempfile::TempDir, std::path::PathBuf) {
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
    assert!(files > 80, "{files}");
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
        assert!(identity.trust.audit.is_some());
        assert_eq!(identity.trust.operators.len(), 1);
        let signs = ["audit", "operator-dev"].contains(&name.as_str());
        assert_eq!(identity.signing.is_some(), signs, "{name}");
    }
}

#[test]
fn what_audit_signs_is_what_everybody_trusts() {
    let (_folder, identities) = made();
    let audit = Identity::load(&identities.join("audit")).unwrap();
    let execution = Identity::load(&identities.join("execution")).unwrap();
    let public = audit.signing.unwrap().verifying();
    assert_eq!(execution.trust.audit, Some(public));
}

#[test]
fn public_keys_are_on_file_for_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let identities = folder.path().join("identity");
    let made = make::make(&identities, &development_roster()).unwrap();
    assert_eq!(make::public_nkeys(&identities).unwrap(), made.nkeys);
    assert!(
        made.nkeys
            .contains_key(&PrincipalName::new("provisioner").unwrap())
    );
}

#[test]
fn existing_identities_are_never_touched() {
    let (_folder, identities) = made();
    let before = fs::read(identities.join("brain/links.toml")).unwrap();
    let error = make::make(&identities, &development_roster()).unwrap_err();
    assert!(matches!(error, MakeError::Exists(_)), "{error:?}");
    assert_eq!(
        fs::read(identities.join("brain/links.toml")).unwrap(),
        before
    );
}

#[test]
fn a_folder_or_file_that_others_may_open_is_refused() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    for file in [
        "links.toml",
        "nkey.seed",
        "client.key",
        "identity.toml",
        "trust.toml",
    ] {
        fs::set_permissions(brain.join(file), fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load(&brain).unwrap_err();
        let IdentityError::Secret(SecretError::OpenToOthers { path, .. }) = &error else {
            panic!("{file}: {error:?}")
        };
        assert_eq!(path, &brain.join(file));
        assert!(error.next_step().starts_with("chmod 600 "));
        fs::set_permissions(brain.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(&brain, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        Identity::load(&brain).unwrap_err(),
        IdentityError::OpenToOthers(_)
    ));
}

#[test]
fn a_key_of_a_link_between_others_is_refused() {
    let (_folder, identities) = made();
    let foreign = fs::read(identities.join("risk-guard/links.toml")).unwrap();
    fs::write(identities.join("brain/links.toml"), foreign).unwrap();
    let error = Identity::load(&identities.join("brain")).unwrap_err();
    assert!(error.to_string().contains("which is neither"), "{error}");
}

#[test]
fn damaged_files_are_refused_without_showing_what_is_in_them() {
    let (_folder, identities) = made();
    let brain = identities.join("brain");
    let seed = fs::read_to_string(brain.join("nkey.seed")).unwrap();
    for (file, bytes) in [
        ("nkey.seed", "SUAAAA\n"),
        ("nkey.seed", ""),
        (
            "links.toml",
            "[[link]]\nsource = \"brain\"\naudience = \"signer\"\nepoch = 1\nkey = \"beef\"\n",
        ),
        ("links.toml", "surprise = 1\n"),
        (
            "trust.toml",
            "[[key]]\nname = \"brain\"\ned25519 = \"00\"\n",
        ),
        ("identity.toml", "realm = \"dev\"\n"),
    ] {
        let whole = fs::read(brain.join(file)).unwrap();
        fs::write(brain.join(file), bytes).unwrap();
        let error = Identity::load(&brain).unwrap_err();
        let said = format!("{error:?} {error} {}", error.next_step());
        assert!(
            !said.contains(seed.trim()) && !said.contains("beef"),
            "{said}"
        );
        fs::write(brain.join(file), whole).unwrap();
    }
    let whole = Identity::load(&brain).unwrap();
    assert!(!format!("{whole:?}").contains(seed.trim()));
}
