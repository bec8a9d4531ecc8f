//! The signer's settings.

use std::path::{Path, PathBuf};

use portcullis_runtime::ConfigError;
use portcullis_runtime::config::{self, Problems};
use serde::Deserialize;
use signer::custody::KeySource;

/// The most orders that a settings file may allow in a second: the venue takes far fewer.
const ORDERS_PER_SECOND_MAX: usize = 1_000;
/// The most orders that a journal may hold: about 1 GB of memory.
const ORDERS_MAX: usize = 10_000_000;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    custody: RawCustody,
    limits: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCustody {
    file: PathBuf,
    key_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    orders_per_second_max: usize,
    orders_max: usize,
}

/// The checked settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The file with the venue's API keys.
    pub custody: PathBuf,
    /// What opens it; the secret `venue` of the signer's identity where nothing else is named.
    pub key: Option<KeySource>,
    /// The most orders that are signed in a second.
    pub orders_per_second_max: usize,
    /// The most orders that one journal holds.
    pub orders_max: usize,
}

impl Config {
    /// Reads the settings; the files of the custody lie in the identity folder, unless their path
    /// is absolute.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(path: &Path, identity: &Path) -> Result<Self, ConfigError> {
        Self::check(path, identity, config::load(path)?)
    }

    fn check(path: &Path, identity: &Path, raw: RawConfig) -> Result<Self, ConfigError> {
        let RawConfig { custody, limits } = raw;
        let mut problems = Problems::new();
        let key = match (custody.key_file, custody.passphrase_file) {
            (Some(file), None) => Some(KeySource::KeyFile(identity.join(file))),
            (None, Some(file)) => Some(KeySource::Passphrase(identity.join(file))),
            (None, None) => None,
            (Some(_), Some(_)) => {
                problems.add("custody", "takes key_file or passphrase_file, not both");
                None
            }
        };
        let mut within = |name: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                problems.add(name, format!("must lie between 1 and {most}"));
            }
            value
        };
        let per_second = limits.orders_per_second_max;
        let orders_per_second_max = within(
            "limits.orders_per_second_max",
            per_second,
            ORDERS_PER_SECOND_MAX,
        );
        let orders_max = within("limits.orders_max", limits.orders_max, ORDERS_MAX);
        let config = Self {
            custody: identity.join(custody.file),
            key,
            orders_per_second_max,
            orders_max,
        };
        problems.into_result(path, Some(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[custody]\nfile = \"venue.sealed\"\nkey_file = \"venue.key\"\n\
                        [limits]\norders_per_second_max = 50\norders_max = 1000\n";

    fn read(text: &str) -> Result<Config, ConfigError> {
        let path = Path::new("signer.toml");
        Config::check(
            path,
            Path::new("identity/signer"),
            config::parse(path, text)?,
        )
    }

    #[test]
    fn custody_files_lie_in_the_identity_folder() {
        let config = read(GOOD).unwrap();
        assert_eq!(config.custody, Path::new("identity/signer/venue.sealed"));
        assert_eq!(
            config.key,
            Some(KeySource::KeyFile("identity/signer/venue.key".into()))
        );
        let without = GOOD.replace("key_file = \"venue.key\"\n", "");
        assert_eq!(read(&without).unwrap().key, None, "the identity's secret");
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let bad = GOOD
            .replace("[limits]", "passphrase_file = \"venue.words\"\n[limits]")
            .replace("= 50", "= 0")
            .replace("= 1000", "= 10000001");
        let error = read(&bad).unwrap_err().to_string();
        for expected in [
            "key_file or passphrase_file, not both",
            "between 1 and 1000;",
            "1 and 10000000",
        ] {
            assert!(error.contains(expected), "{expected:?} is not in {error}");
        }
    }

    #[test]
    fn unknown_keys_and_missing_limits_are_refused() {
        let secret = format!("{GOOD}api_secret = \"x\"\n");
        assert!(
            read(&secret)
                .unwrap_err()
                .to_string()
                .contains("api_secret")
        );
        let unlimited = GOOD.replace("orders_max = 1000\n", "");
        assert!(
            read(&unlimited)
                .unwrap_err()
                .to_string()
                .contains("orders_max")
        );
    }
}
