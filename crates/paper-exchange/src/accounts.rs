//! The accounts file: who may trade, with which key, and how much they start with.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

/// Largest secret file, in bytes.
const SECRET_MAX: u64 = 1_024;

/// Largest accounts file, in bytes.
const FILE_MAX: u64 = 1_024 * 1_024;

/// Why the accounts file was refused.
#[derive(Debug, Error)]
pub(crate) enum AccountsError {
    #[error("read {}; --accounts wants a TOML file with [[account]] tables", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{} is larger than {FILE_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{}: {message}", .path.display())]
    Parse { path: PathBuf, message: String },
    #[error("{}: account {account:?}: {message}", .path.display())]
    Account {
        path: PathBuf,
        account: String,
        message: String,
    },
    #[error("secret file {} is readable by others; run `chmod 600 {}`", .0.display(), .0.display())]
    Readable(PathBuf),
    #[error("read the secret file {}; make it with: head -c 24 /dev/urandom | base64 > FILE && chmod 600 FILE", .0.display())]
    Secret(PathBuf, #[source] std::io::Error),
    #[error("secret file {} must hold 16 to {SECRET_MAX} printable ASCII characters on one line", .0.display())]
    SecretShape(PathBuf),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    account: Vec<RawAccount>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    id: String,
    api_key: String,
    secret_file: PathBuf,
    #[serde(with = "rust_decimal::serde::str")]
    balance: Decimal,
}

/// One account that may log in.
#[derive(Debug)]
pub(crate) struct Credential {
    pub account: String,
    /// The number that `query-api` shows as `userID`.
    pub uid: u64,
    pub balance: Decimal,
    secret: Secret,
}

/// A secret that never shows itself.
struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Credential {
    /// The bytes of the HMAC key.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret.0
    }
}

/// Credentials by API key.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_key: BTreeMap<String, Credential>,
}

impl Accounts {
    /// Reads the file and every secret it names; paths are relative to the file.
    pub(crate) fn read(path: &Path) -> Result<Self, AccountsError> {
        let size = std::fs::metadata(path)
            .map_err(|cause| AccountsError::Read(path.to_owned(), cause))?
            .len();
        if size > FILE_MAX {
            return Err(AccountsError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|cause| AccountsError::Read(path.to_owned(), cause))?;
        let raw: RawFile = toml::from_str(&text).map_err(|cause| AccountsError::Parse {
            path: path.to_owned(),
            message: cause.to_string(),
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let mut accounts = Self::default();
        for (index, raw) in raw.account.into_iter().enumerate() {
            if let Some(message) = accounts.problem(&raw) {
                return Err(AccountsError::Account {
                    path: path.to_owned(),
                    account: raw.id,
                    message: message.to_owned(),
                });
            }
            let credential = Credential {
                account: raw.id,
                uid: 10_000_001_u64.saturating_add(index as u64),
                balance: raw.balance,
                secret: read_secret(&base.join(&raw.secret_file))?,
            };
            accounts.by_key.insert(raw.api_key, credential);
        }
        if accounts.by_key.is_empty() {
            return Err(AccountsError::Parse {
                path: path.to_owned(),
                message: "no [[account]] table; each has id, api_key, secret_file, balance".into(),
            });
        }
        Ok(accounts)
    }

    fn problem(&self, raw: &RawAccount) -> Option<&'static str> {
        let plain = |text: &str| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !plain(&raw.id) {
            Some("id must be 1 to 64 letters, digits, - or _")
        } else if !plain(&raw.api_key) {
            Some("api_key must be 1 to 64 letters, digits, - or _")
        } else if self.by_key.contains_key(&raw.api_key) {
            Some("this api_key belongs to another account already")
        } else if raw.balance < Decimal::ZERO || raw.balance > Decimal::from(1_000_000_000_000_u64)
        {
            Some("balance must lie between 0 and 1000000000000 USDT")
        } else {
            None
        }
    }

    /// The credential of an API key.
    pub(crate) fn by_key(&self, key: &str) -> Option<&Credential> {
        self.by_key.get(key)
    }

    /// All credentials with their API keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Credential)> {
        self.by_key.iter()
    }
}

fn read_secret(path: &Path) -> Result<Secret, AccountsError> {
    let fail = |cause| AccountsError::Secret(path.to_owned(), cause);
    let file = std::fs::File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(AccountsError::Readable(path.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(SECRET_MAX.saturating_add(2))
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    while bytes
        .last()
        .is_some_and(|byte| *byte == b'\n' || *byte == b'\r')
    {
        bytes.pop();
    }
    let sound = (16..=1_024).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if sound {
        Ok(Secret(bytes))
    } else {
        Err(AccountsError::SecretShape(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, accounts: &str, mode: u32) -> Result<Accounts, AccountsError> {
        let secret = directory.join("secret");
        std::fs::write(&secret, "0123456789abcdef\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let path = directory.join("accounts.toml");
        std::fs::write(&path, accounts).unwrap();
        Accounts::read(&path)
    }

    const GOOD: &str = "[[account]]\nid = \"desk\"\napi_key = \"KEY\"\n\
                        secret_file = \"secret\"\nbalance = \"100.5\"\n";

    #[test]
    fn reads_an_account_and_its_secret_without_the_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let accounts = write(directory.path(), GOOD, 0o600).unwrap();
        let credential = accounts.by_key("KEY").unwrap();
        assert_eq!(credential.secret(), b"0123456789abcdef");
        assert!(
            !format!("{accounts:?}").contains("0123456789"),
            "a secret shows in Debug"
        );
    }

    #[test]
    fn refuses_a_secret_that_others_can_read_and_says_what_to_run() {
        let directory = tempfile::tempdir().unwrap();
        let error = write(directory.path(), GOOD, 0o644).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn refuses_unknown_keys_and_a_key_used_twice() {
        let directory = tempfile::tempdir().unwrap();
        let error = write(directory.path(), &format!("{GOOD}secret = \"x\"\n"), 0o600).unwrap_err();
        assert!(matches!(error, AccountsError::Parse { .. }), "{error}");
        let error = write(directory.path(), &format!("{GOOD}{GOOD}"), 0o600).unwrap_err();
        assert!(
            error.to_string().contains("belongs to another account"),
            "{error}"
        );
    }
}
