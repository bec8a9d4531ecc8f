//! The settings. The limits themselves are in the risk policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portcullis_domain::{Hash, KillState, StrategyId, Timestamp};
use portcullis_runtime::config::{self, Problems};
use portcullis_runtime::{ConfigError, ServiceArgs, policy};
use portcullis_wire::messages::RiskPolicy;
use risk_guard_core::Settings;
use serde::Deserialize;

/// Ids are kept for ten seconds; this many of them stay below 2 MiB.
const REMEMBERED_MAX: usize = 20_000;
/// As many permits as one heartbeat's worth of orders at the highest rate, several times over.
const PENDING_MAX: usize = 20_000;
/// More than any venue takes from one account.
const PER_SECOND_MAX: u32 = 2_000;

/// Judges every order against the risk policy, and holds the licence to trade.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "risk-guard", version)]
pub struct Arguments {
    #[command(flatten)]
    pub service: ServiceArgs,

    /// The risk policy that brain, risk-guard and execution must agree on (TOML)
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    strategies: Vec<String>,
    orders_per_second_max: u32,
    orders_pending_max: usize,
    orders_remembered_max: usize,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub policy: RiskPolicy,
    pub policy_hash: Hash,
    pub strategies: BTreeSet<StrategyId>,
    orders_per_second_max: u32,
    orders_pending_max: usize,
    orders_remembered_max: usize,
}

impl Config {
    /// Reads and checks everything that the arguments name.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once.
    pub fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let policy = policy::load(&arguments.policy)?;
        let path: &Path = &arguments.service.config;
        Self::check(path, config::load(path)?, policy)
    }

    fn check(
        path: &Path,
        raw: RawConfig,
        (policy, policy_hash): (RiskPolicy, Hash),
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let strategies = strategies(&raw.strategies, &mut problems);
        if !(1..=PER_SECOND_MAX).contains(&raw.orders_per_second_max) {
            problems.add(
                "orders_per_second_max",
                format!("must be 1 to {PER_SECOND_MAX}"),
            );
        }
        if !(1..=PENDING_MAX).contains(&raw.orders_pending_max) {
            problems.add("orders_pending_max", format!("must be 1 to {PENDING_MAX}"));
        }
        let remembered_min = raw.orders_pending_max;
        if !(remembered_min..=REMEMBERED_MAX).contains(&raw.orders_remembered_max) {
            let range = format!("must be from orders_pending_max to {REMEMBERED_MAX}");
            problems.add("orders_remembered_max", range);
        }
        let config = Self {
            policy,
            policy_hash,
            strategies,
            orders_per_second_max: raw.orders_per_second_max,
            orders_pending_max: raw.orders_pending_max,
            orders_remembered_max: raw.orders_remembered_max,
        };
        problems.into_result(path, Some(config))
    }

    /// What the core starts with.
    pub fn settings(&self, kill: KillState, started_at: Timestamp) -> Settings {
        Settings {
            policy: self.policy.clone(),
            policy_hash: self.policy_hash,
            strategies: self.strategies.clone(),
            orders_per_second_max: self.orders_per_second_max,
            orders_pending_max: self.orders_pending_max,
            orders_remembered_max: self.orders_remembered_max,
            kill,
            started_at,
        }
    }
}

fn strategies(texts: &[String], problems: &mut Problems) -> BTreeSet<StrategyId> {
    let mut strategies = BTreeSet::new();
    if texts.is_empty() {
        problems.add("strategies", "must name at least one strategy");
    }
    for text in texts {
        match StrategyId::new(text) {
            // A dot would add a place to a subject.
            Ok(_) if text.contains('.') => {
                problems.add(
                    "strategies",
                    format!("has {text:?}: a name must not have a dot"),
                );
            }
            Ok(id) if strategies.insert(id) => {}
            Ok(id) => problems.add("strategies", format!("names {id} twice")),
            Err(problem) => problems.add("strategies", format!("has {text:?}, which {problem}")),
        }
    }
    strategies
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "strategies = [\"sample\", \"trader\"]\norders_per_second_max = 100\n\
                        orders_pending_max = 1000\norders_remembered_max = 2000\n";

    fn check(text: &str) -> Result<Config, String> {
        let path = Path::new("risk-guard.toml");
        let policy = portcullis_testkit::policies::policy(vec![]);
        let raw = config::parse(path, text).map_err(|error| error.to_string())?;
        Config::check(path, raw, (policy, Hash([1; 32]))).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_good_settings() {
        let config = check(GOOD).unwrap();
        assert_eq!(config.strategies.len(), 2);
        let settings = config.settings(KillState::Triggered, Timestamp(5));
        assert_eq!(
            (settings.kill, settings.started_at),
            (KillState::Triggered, Timestamp(5))
        );
        assert_eq!(settings.orders_remembered_max, 2_000);
    }

    #[test]
    fn names_every_problem_at_once() {
        let bad = "strategies = [\"a\", \"a\", \"b.c\", \"d e\"]\norders_per_second_max = 0\n\
                   orders_pending_max = 20001\norders_remembered_max = 1\n";
        let error = check(bad).unwrap_err();
        for part in [
            "names a twice",
            "\"b.c\": a name must not have a dot",
            "has \"d e\"",
            "orders_per_second_max must be 1 to 2000",
            "orders_pending_max must be 1 to 20000",
            "orders_remembered_max must be from orders_pending_max to 20000",
        ] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
        let none = GOOD.replace("\"sample\", \"trader\"", "");
        assert!(check(&none).unwrap_err().contains("at least one strategy"));
    }

    #[test]
    fn refuses_unknown_and_missing_keys_with_their_line() {
        let error = check(&format!("{GOOD}orders_per_minute_max = 1\n")).unwrap_err();
        assert!(error.contains("risk-guard.toml:5"), "{error}");
        let error = check("strategies = []\n").unwrap_err();
        assert!(error.contains("missing field"), "{error}");
    }

    #[test]
    fn the_files_that_come_with_the_product_are_sound() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config"));
        let policy = policy::load(&folder.join("risk-policy.toml")).unwrap();
        let path = folder.join("risk-guard.toml");
        let config = Config::check(&path, config::load(&path).unwrap(), policy).unwrap();
        assert!(config.strategies.len() > 1);
    }
}
