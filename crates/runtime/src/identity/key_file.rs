//! Finds the key of a bundle, and the rules that production has for keys.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use portcullis_wire::Realm;
use zeroize::Zeroizing;

use super::IdentityError;
use super::bundle::BUNDLE_KEY_FILE;
use crate::secret;

/// Holds the *path* of a bundle's key, never the key.
pub const KEY_PATH_VARIABLE: &str = "PORTCULLIS_IDENTITY_KEY";
/// Holds the path of a realm's key, for the tool that makes identities.
pub const REALM_KEY_PATH_VARIABLE: &str = "PORTCULLIS_REALM_KEY";
/// Where systemd puts the credentials of a unit, and what ours is called there.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL: &str = "identity.key";

/// How long an NKey seed is at least, after its `S`.
const SEED_LENGTH_MIN: usize = 50;

/// Whether a realm is one where money is real: `prod`, or `prod-` and more.
#[must_use]
pub fn is_production(realm: Realm) -> bool {
    realm.as_str() == "prod" || realm.as_str().starts_with("prod-")
}

/// The key of the bundle in a folder: from the file that was named, else from the unit's
/// credentials, else from beside it. The first of them that is there counts, and if it is wrong
/// nothing else is tried.
pub(crate) fn find(
    folder: &Path,
    realm: Realm,
    named: Option<&Path>,
) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let from_variable = env::var_os(KEY_PATH_VARIABLE).filter(|path| !path.is_empty());
    let named = named
        .map(Path::to_owned)
        .or_else(|| from_variable.map(PathBuf::from));
    if let Some(path) = named {
        if looks_like_key(&path) {
            // It would be printed in every message about that file.
            return Err(IdentityError::KeyInsteadOfPath);
        }
        if is_production(realm) && is_inside(&path, folder) {
            return Err(IdentityError::KeyBeside(path));
        }
        return Ok(secret::read_hex_key(&path)?);
    }
    let credential = env::var_os(CREDENTIALS_VARIABLE)
        .map(|directory| Path::new(&directory).join(CREDENTIAL))
        .filter(|path| path.exists());
    if let Some(path) = credential {
        return Ok(secret::read_credential_key(&path)?);
    }
    let beside = folder.join(BUNDLE_KEY_FILE);
    if is_production(realm) {
        return Err(IdentityError::KeyBeside(beside));
    }
    Ok(secret::read_hex_key(&beside)?)
}

pub(super) fn is_inside(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(folder))
}

/// Whether a key was given where the path of its file belongs, perhaps made absolute meanwhile.
pub(super) fn looks_like_key(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|text| secret::parse_hex_key(text.trim()).is_some())
}

/// In production no secret may be in the environment: every child inherits it, and every crash
/// report may show it.
pub(crate) fn check_environment(realm: Realm) -> Result<(), IdentityError> {
    if !is_production(realm) {
        return Ok(());
    }
    match secret_in(env::vars_os()) {
        Some(variable) => Err(IdentityError::Environment(variable)),
        None => Ok(()),
    }
}

/// The first variable that holds a secret by its name or by its value.
fn secret_in(variables: impl Iterator<Item = (OsString, OsString)>) -> Option<String> {
    variables
        .filter(|(name, value)| {
            is_named_like_secret(&name.to_string_lossy()) || is_secret(&value.to_string_lossy())
        })
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .min()
}

fn is_named_like_secret(name: &str) -> bool {
    const ENDINGS: [&str; 6] = ["KEY", "SECRET", "SEED", "TOKEN", "PASSWORD", "PASSPHRASE"];
    name.starts_with("PORTCULLIS_")
        && ![KEY_PATH_VARIABLE, REALM_KEY_PATH_VARIABLE].contains(&name)
        && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_secret(value: &str) -> bool {
    let seed = |word: &str| word.starts_with('S') && word.len() > SEED_LENGTH_MIN;
    value.contains("PRIVATE KEY-----")
        || value
            .split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit())
            .any(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_production_by_its_name() {
        let cases = [
            ("prod", true),
            ("prod-eu", true),
            ("production", false),
            ("dev", false),
            ("staging", false),
            ("preprod", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_production(Realm::new(name).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_secret_in_the_environment_is_found_by_name_and_by_value() {
        let seed = format!("S{}", "UA23".repeat(14));
        let cases = [
            ("PORTCULLIS_IDENTITY_KEY", "/run/secrets/brain.key", false),
            ("PORTCULLIS_REALM_KEY", "/run/secrets/realm.key", false),
            ("PORTCULLIS_BUS", "tls://bus:4222", false),
            ("PORTCULLIS_VENUE_KEY", "x", true),
            ("PORTCULLIS_API_TOKEN", "x", true),
            ("PORTCULLIS_PASSPHRASE", "x", true),
            ("PORTCULLIS_SIGNING_SEED", "x", true),
            ("OTHER_KEY", "x", false),
            (
                "ANYTHING",
                concat!("-----BEGIN PRIVATE", " KEY-----\nabc"),
                true,
            ),
            (
                "ANYTHING",
                concat!("-----BEGIN EC PRIVATE", " KEY-----"),
                true,
            ),
            ("ANYTHING", "-----BEGIN CERTIFICATE-----", false),
            ("ANYTHING", seed.as_str(), true),
            ("ANYTHING", "SHORT", false),
        ];
        for (name, value, expected) in cases {
            let found = secret_in([(name.into(), value.into())].into_iter());
            assert_eq!(found.as_deref(), expected.then_some(name), "{name}={value}");
        }
        let embedded = format!("nkey: {seed}\n");
        assert!(is_secret(&embedded));
    }

    #[test]
    fn a_key_given_in_place_of_its_path_is_not_repeated() {
        let key = "0123456789abcdef".repeat(4);
        let realm = Realm::new("dev").unwrap();
        let error = find(Path::new("/nowhere"), realm, Some(Path::new(&key))).unwrap_err();
        let said = format!("{error:?} {error} {}", error.next_step());
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }
}
