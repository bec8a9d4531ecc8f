use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const TRADING_SECRET: &str = "s3cr3t-of-a-test-account-000001";
const READING_SECRET: &str = "s3cr3t-of-a-test-account-000002";

struct Place {
    folder: TempDir,
    file: PathBuf,
    source: KeySource,
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn api_key(name: &str, secret: &str) -> ApiKey {
    ApiKey::new(name, Zeroizing::new(secret.into())).unwrap()
}

fn custody() -> Custody {
    Custody::new(
        api_key("TRADE", TRADING_SECRET),
        api_key("READ", READING_SECRET),
    )
    .unwrap()
}

fn realm(name: &str) -> Realm {
    Realm::new(name).unwrap()
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("venue.key");
    write_secret(&key, KEY);
    let file = folder.path().join("venue.sealed");
    Place {
        file,
        source: KeySource::KeyFile(key),
        folder,
    }
}

fn sealed() -> Place {
    let place = place();
    seal_file(&place.file, &place.source, realm("dev"), &custody()).unwrap();
    place
}

fn open(place: &Place) -> Result<Custody, CustodyError> {
    Custody::open(&place.file, &place.source, realm("dev"))
}

#[test]
fn what_was_sealed_opens_and_signs_as_an_independent_implementation_does() {
    let opened = open(&sealed()).unwrap();
    assert_eq!(opened.name(Authority::Trading).as_str(), "TRADE");
    assert_eq!(opened.name(Authority::Reading).as_str(), "READ");
    // Computed with Python's `hmac` over the same secret and text.
    let signature = opened
        .sign(Authority::Trading, "GET/realtime1790000010000")
        .unwrap();
    let expected = "4c9f97388221d1eeab10aa320dd31c4c8f24fdc01f1f0ba1e2363f6cfd08a49e";
    assert_eq!(signature.as_str(), expected);
    let other = opened
        .sign(Authority::Reading, "GET/realtime1790000010000")
        .unwrap();
    assert_ne!(other, signature);
}

#[test]
fn a_passphrase_seals_and_opens_and_another_does_not() {
    let place = place();
    let passphrase = place.folder.path().join("passphrase");
    write_secret(&passphrase, "correct horse battery\n");
    let source = KeySource::Passphrase(passphrase.clone());
    seal_file(&place.file, &source, realm("dev"), &custody()).unwrap();
    assert!(Custody::open(&place.file, &source, realm("dev")).is_ok());
    write_secret(&passphrase, "correct horse batterz\n");
    let refused = Custody::open(&place.file, &source, realm("dev"));
    assert!(matches!(refused, Err(CustodyError::Closed { .. })));
    write_secret(&passphrase, "too short\n");
    let refused = Custody::open(&place.file, &source, realm("dev"));
    assert!(matches!(refused, Err(CustodyError::PassphraseTooShort)));
    let other_kind = open(&place);
    assert!(matches!(
        other_kind,
        Err(CustodyError::KeySource {
            sealed: "passphrase",
            configured: "key file",
            ..
        })
    ));
}

#[test]
fn a_secret_of_the_identity_seals_and_opens_and_never_prints_itself() {
    let place = place();
    let source = |byte: u8| KeySource::identity(Some(&[byte; 32])).unwrap();
    seal_file(&place.file, &source(0xab), realm("dev"), &custody()).unwrap();
    assert!(Custody::open(&place.file, &source(0xab), realm("dev")).is_ok());
    let refused = Custody::open(&place.file, &source(0xac), realm("dev"));
    assert!(matches!(refused, Err(CustodyError::Closed { .. })));
    let printed = format!("{:?}", source(0xab));
    assert_eq!(printed, "Identity(IdentityKey(…))");
    let named_a_file = open(&place).unwrap_err();
    assert!(
        named_a_file.next_step().contains("neither key_file"),
        "{}",
        named_a_file.next_step()
    );
    let missing = KeySource::identity(None).unwrap_err();
    assert!(missing.next_step().contains("keys init"));
}

#[test]
fn another_key_or_another_realm_does_not_open() {
    let place = sealed();
    let refused = Custody::open(&place.file, &place.source, realm("prod"));
    assert!(matches!(refused, Err(CustodyError::Closed { .. })));
    let KeySource::KeyFile(key) = &place.source else {
        panic!("not a key file")
    };
    write_secret(key, &KEY.replace("1f", "1e"));
    assert!(matches!(open(&place), Err(CustodyError::Closed { .. })));
    write_secret(key, "1f");
    assert!(matches!(open(&place), Err(CustodyError::Secret(_))));
    fs::remove_file(key).unwrap();
    assert!(matches!(open(&place), Err(CustodyError::Secret(_))));
}

#[test]
fn a_changed_byte_anywhere_and_every_shorter_file_are_refused() {
    let place = sealed();
    let bytes = fs::read(&place.file).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&place.file, &changed).unwrap();
        assert!(open(&place).is_err(), "byte {at} was changed");
        fs::write(&place.file, &bytes[..at]).unwrap();
        assert!(open(&place).is_err(), "only {at} bytes are left");
    }
    fs::write(&place.file, [bytes.as_slice(), &[0]].concat()).unwrap();
    assert!(open(&place).is_err(), "one byte too many");
    fs::write(&place.file, &bytes).unwrap();
    assert!(open(&place).is_ok());
}

#[test]
fn a_file_or_a_key_that_others_can_read_is_refused_with_what_to_run() {
    let place = sealed();
    let KeySource::KeyFile(key) = &place.source else {
        panic!("not a key file")
    };
    for path in [&place.file, key] {
        fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
        let error = open(&place).unwrap_err();
        assert!(
            error.next_step().starts_with("chmod 600"),
            "{}",
            error.next_step()
        );
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_sealed_file_is_for_its_owner_only_and_is_never_overwritten() {
    let place = sealed();
    let mode = fs::metadata(&place.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = seal_file(&place.file, &place.source, realm("dev"), &custody());
    assert!(matches!(again, Err(CustodyError::Exists(_))));
}

#[test]
fn no_secret_stands_in_the_file_or_in_what_is_printed() {
    let place = sealed();
    let bytes = fs::read(&place.file).unwrap();
    for secret in [TRADING_SECRET, READING_SECRET] {
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
        assert!(!format!("{:?}", custody()).contains(secret));
    }
}

#[test]
fn two_files_of_the_same_secrets_share_nothing() {
    let (one, other) = (sealed(), sealed());
    let (one, other) = (fs::read(&one.file).unwrap(), fs::read(&other.file).unwrap());
    assert_ne!(one[18..46], other[18..46], "salt and nonce");
    assert_ne!(one[46..], other[46..], "ciphertext");
}

#[test]
fn keys_that_are_none_and_one_key_for_both_are_refused() {
    let refused = |name: &str, secret: &str| {
        matches!(
            ApiKey::new(name, Zeroizing::new(secret.into())),
            Err(CustodyError::ApiKey(_))
        )
    };
    assert!(refused("", TRADING_SECRET));
    assert!(refused(&"x".repeat(65), TRADING_SECRET));
    assert!(refused("a b", TRADING_SECRET));
    assert!(refused("TRADE", "short"));
    assert!(refused("TRADE", &format!("{TRADING_SECRET}\n")));
    assert!(refused("TRADE", &"x".repeat(257)));
    for reading in [
        api_key("TRADE", READING_SECRET),
        api_key("READ", TRADING_SECRET),
    ] {
        let both = Custody::new(api_key("TRADE", TRADING_SECRET), reading);
        assert!(matches!(both, Err(CustodyError::OneKeyForBoth)));
    }
}
