//! The settings: the registry of strategies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use brain_core::{Settings, Strategy};
use portcullis_domain::{Hash, RiskProfile, StrategyId, Symbol, Timestamp, Usd};
use portcullis_runtime::config::{self, Problems};
use portcullis_runtime::{ConfigError, ServiceArgs, policy};
use portcullis_wire::messages::RiskPolicy;
use serde::Deserialize;

/// The most strategies of one brain.
const STRATEGIES_MAX: usize = 64;
/// More than any venue takes from one account.
const PER_SECOND_MAX: u32 = 2_000;
/// As many orders as one of execution's accounts can be late, at the highest rate.
const PENDING_MAX: usize = 20_000;

/// Turns proposals of registered strategies into sized orders.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "brain", version)]
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
    orders_pending_max: usize,
    strategies: BTreeMap<String, RawStrategy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStrategy {
    instruments: Vec<Symbol>,
    order_notional_max: Usd,
    position_notional_max: Usd,
    proposals_per_second_max: u32,
    profile: RiskProfile,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub policy: RiskPolicy,
    pub policy_hash: Hash,
    pub strategies: BTreeMap<StrategyId, Strategy>,
    orders_pending_max: usize,
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
        if !(1..=PENDING_MAX).contains(&raw.orders_pending_max) {
            problems.add("orders_pending_max", format!("must be 1 to {PENDING_MAX}"));
        }
        if raw.strategies.is_empty() || raw.strategies.len() > STRATEGIES_MAX {
            problems.add("strategies", format!("must be 1 to {STRATEGIES_MAX}"));
        }
        let listed: BTreeSet<Symbol> = policy
            .instruments
            .iter()
            .map(|limits| limits.instrument.symbol)
            .collect();
        let mut strategies = BTreeMap::new();
        for (name, raw) in raw.strategies {
            let key = format!("strategies.{name}");
            let strategy = strategy(&key, raw, &listed, &mut problems);
            // A dot would add a place to a subject.
            if name.contains('.') {
                problems.add(key, "must not have a dot in its name");
            } else if let Some(id) = problems.take(&key, StrategyId::new(&name)) {
                strategies.insert(id, strategy);
            }
        }
        let orders_pending_max = raw.orders_pending_max;
        let config = Self {
            policy,
            policy_hash,
            strategies,
            orders_pending_max,
        };
        problems.into_result(path, Some(config))
    }

    /// What the core starts with.
    pub fn settings(&self, started_at: Timestamp) -> Settings {
        Settings {
            policy: self.policy.clone(),
            policy_hash: self.policy_hash,
            strategies: self.strategies.clone(),
            orders_pending_max: self.orders_pending_max,
            started_at,
        }
    }
}

fn strategy(
    key: &str,
    raw: RawStrategy,
    listed: &BTreeSet<Symbol>,
    problems: &mut Problems,
) -> Strategy {
    if raw.instruments.is_empty() {
        problems.add(
            format!("{key}.instruments"),
            "must name at least one instrument",
        );
    }
    for symbol in raw
        .instruments
        .iter()
        .filter(|symbol| !listed.contains(*symbol))
    {
        problems.add(
            format!("{key}.instruments"),
            format!("has {symbol}, which the risk policy does not list"),
        );
    }
    let limits = [
        ("order_notional_max", raw.order_notional_max),
        ("position_notional_max", raw.position_notional_max),
    ];
    for (name, limit) in limits {
        if limit <= Usd::ZERO {
            problems.add(format!("{key}.{name}"), "must be above zero");
        }
    }
    if !(1..=PER_SECOND_MAX).contains(&raw.proposals_per_second_max) {
        let range = format!("must be 1 to {PER_SECOND_MAX}");
        problems.add(format!("{key}.proposals_per_second_max"), range);
    }
    Strategy {
        instruments: raw.instruments.into_iter().collect(),
        order_notional_max: raw.order_notional_max,
        position_notional_max: raw.position_notional_max,
        proposals_per_second_max: raw.proposals_per_second_max,
        profile: raw.profile,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::policies;

    use super::*;

    const GOOD: &str = "orders_pending_max = 1000\n\
                        [strategies.sample]\n\
                        instruments = [\"XRPUSDT\"]\n\
                        order_notional_max = \"100\"\n\
                        position_notional_max = \"500\"\n\
                        proposals_per_second_max = 50\n\
                        profile = \"MODERATE\"\n";

    fn check(text: &str) -> Result<Config, String> {
        let path = Path::new("brain.toml");
        let policy = policies::policy(vec![policies::wide(policies::xrp())]);
        let raw = config::parse(path, text).map_err(|error| error.to_string())?;
        Config::check(path, raw, (policy, Hash([1; 32]))).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_good_settings() {
        let config = check(GOOD).unwrap();
        let strategy = config.strategies.values().next().unwrap();
        assert_eq!(strategy.profile, RiskProfile::Moderate);
        assert_eq!(strategy.order_notional_max, "100".parse().unwrap());
        let settings = config.settings(Timestamp(5));
        assert_eq!(
            (settings.started_at, settings.orders_pending_max),
            (Timestamp(5), 1_000)
        );
    }

    #[test]
    fn names_every_problem_at_once() {
        let bad = GOOD
            .replace("pending_max = 1000", "pending_max = 0")
            .replace("[\"XRPUSDT\"]", "[\"XRPUSDT\", \"BTCUSDT\"]")
            .replace("\"100\"", "\"0\"")
            .replace("\"500\"", "\"-1\"")
            .replace("= 50\n", "= 2001\n");
        let bad = format!(
            "{bad}{}",
            GOOD.split_once('\n').unwrap().1.replace("sample", "'a.b'")
        );
        let error = check(&bad).unwrap_err();
        for part in [
            "orders_pending_max must be 1 to 20000",
            "strategies.sample.instruments has BTCUSDT, which the risk policy does not list",
            "strategies.sample.order_notional_max must be above zero",
            "strategies.sample.position_notional_max must be above zero",
            "strategies.sample.proposals_per_second_max must be 1 to 2000",
            "strategies.a.b must not have a dot in its name",
        ] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
        let error = check("orders_pending_max = 1\n[strategies]\n").unwrap_err();
        assert!(error.contains("strategies must be 1 to 64"), "{error}");
        let error = check(&GOOD.replace("[\"XRPUSDT\"]", "[]")).unwrap_err();
        assert!(error.contains("at least one instrument"), "{error}");
    }

    #[test]
    fn refuses_unknown_keys_and_missing_limits_with_their_line() {
        let error = check(&format!("{GOOD}leverage = 100\n")).unwrap_err();
        assert!(error.contains("brain.toml:8"), "{error}");
        let error = check(&GOOD.replace("order_notional_max = \"100\"\n", "")).unwrap_err();
        assert!(error.contains("order_notional_max"), "{error}");
        let error = check(&GOOD.replace("MODERATE", "RECKLESS")).unwrap_err();
        assert!(
            error.contains("brain.toml:7") && error.contains("RECKLESS"),
            "{error}"
        );
    }

    #[test]
    fn the_files_that_come_with_the_product_are_sound() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config"));
        let policy = policy::load(&folder.join("risk-policy.toml")).unwrap();
        let path = folder.join("brain.toml");
        let config = Config::check(&path, config::load(&path).unwrap(), policy).unwrap();
        assert!(config.strategies.len() > 1);
    }
}
