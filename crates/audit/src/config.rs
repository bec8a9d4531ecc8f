//! The settings of audit: `config/audit.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use audit_core::Settings;
use portcullis_domain::{Span, StrategyId};
use portcullis_runtime::config::{self, Problems};
use portcullis_runtime::{ConfigError, ServiceArgs};
use serde::Deserialize;

/// Records every fact in a log that anybody can verify.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "audit", version)]
pub struct Arguments {
    /// What every service needs.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Log of the bus server, instead of the one that the settings name
    #[arg(long, value_name = "FILE")]
    pub bus_log: Option<PathBuf>,
}

/// The settings as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Whose facts are listened to on the bus; those of others come by the stream alone.
    strategies: Vec<String>,
    /// The size of a segment file, in MiB.
    segment_mib: u64,
    /// How many facts of one source are held back until their turn.
    held_facts_max: usize,
    /// How many KiB of them.
    held_kib_max: usize,
    /// After how many milliseconds a hole that nothing fills is recorded as a gap.
    hole_timeout_ms: u64,
    /// After how many milliseconds without a fact a source is recorded as silent.
    silence_timeout_ms: u64,
    /// How many milliseconds lie between two checkpoints.
    checkpoint_interval_ms: u64,
    /// How many violations a second are recorded one by one.
    violations_each_second: u32,
    /// The log of the bus server.
    bus_log: Option<PathBuf>,
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose facts are listened to on the bus; those of others come by the stream alone.
    pub strategies: BTreeSet<StrategyId>,
    /// The size of a segment file, in bytes.
    pub segment_bytes: u64,
    /// The bounds of the core.
    pub core: Settings,
    /// The log of the bus server; without one, what the server denies is not recorded.
    pub bus_log: Option<PathBuf>,
}

impl Config {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem there is.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::check(path, &config::load(path)?)
    }

    fn check(path: &Path, raw: &RawConfig) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let mut strategies = BTreeSet::new();
        for (number, name) in raw.strategies.iter().enumerate() {
            let key = format!("strategies[{number}]");
            if let Some(id) = problems.take(&key, StrategyId::new(name))
                && !strategies.insert(id)
            {
                problems.add(key, "is there twice");
            }
        }
        let mut within = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.add(
                    key,
                    format_args!("is {value}, but must be {least} to {most}"),
                );
            }
        };
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        within("segment_mib", raw.segment_mib, 1, 64);
        within("held_facts_max", wide(raw.held_facts_max), 1, 4_096);
        within("held_kib_max", wide(raw.held_kib_max), 64, 16_384);
        within("hole_timeout_ms", raw.hole_timeout_ms, 100, 60_000);
        within("silence_timeout_ms", raw.silence_timeout_ms, 1_000, 600_000);
        within(
            "checkpoint_interval_ms",
            raw.checkpoint_interval_ms,
            100,
            10_000,
        );
        within(
            "violations_each_second",
            raw.violations_each_second.into(),
            1,
            1_000,
        );
        if let Some(path) = &raw.bus_log
            && !path.is_absolute()
        {
            let path = path.display();
            problems.add(
                "bus_log",
                format_args!("is {path}, but must be a whole path"),
            );
        }
        let config = Self {
            bus_log: raw.bus_log.clone(),
            strategies,
            segment_bytes: raw.segment_mib.saturating_mul(1 << 20),
            core: Settings {
                held_facts_max: raw.held_facts_max,
                held_bytes_max: raw.held_kib_max.saturating_mul(1 << 10),
                hole_timeout: Span::from_millis(raw.hole_timeout_ms),
                silence_timeout: Span::from_millis(raw.silence_timeout_ms),
                checkpoint_interval: Span::from_millis(raw.checkpoint_interval_ms),
                violations_each_second: raw.violations_each_second,
            },
        };
        problems.into_result(path, Some(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../config/audit.toml");

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let path = Path::new("audit.toml");
        Config::check(path, &config::parse(path, text)?)
    }

    #[test]
    fn the_settings_in_the_repository_are_accepted() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.segment_bytes, crate::log::SEGMENT_BYTES);
        assert_eq!(config.core.held_facts_max, 4_096);
        assert_eq!(config.core.hole_timeout, Span::from_secs(5));
        assert_eq!(config.core.silence_timeout, Span::from_secs(60));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = parse(&format!("{GOOD}\nsegments = 1\n")).unwrap_err();
        assert!(error.to_string().contains("segments"), "{error}");
    }

    #[test]
    fn every_limit_must_be_given_and_all_problems_are_said_at_once() {
        let missing: String = GOOD
            .lines()
            .filter(|line| !line.starts_with("segment_mib"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(
            parse(&missing)
                .unwrap_err()
                .to_string()
                .contains("segment_mib")
        );
        let wrong = GOOD
            .replace("\"trader\"", "\"sample\", \"a b\"")
            .replace("segment_mib = 16", "segment_mib = 0")
            .replace("hole_timeout_ms = 5000", "hole_timeout_ms = 99")
            .replace("silence_timeout_ms = 60000", "silence_timeout_ms = 999");
        let said = parse(&wrong).unwrap_err().to_string();
        assert!(
            said.contains("segment_mib is 0, but must be 1 to 64"),
            "{said}"
        );
        assert!(said.contains("hole_timeout_ms is 99"), "{said}");
        assert!(
            said.contains("silence_timeout_ms is 999, but must be 1000 to 600000"),
            "{said}"
        );
        assert!(said.contains("strategies[1] is there twice"), "{said}");
        assert!(said.contains("strategies[2] has a character"), "{said}");
    }

    #[test]
    fn the_log_of_the_bus_server_is_named_by_its_whole_path_or_not_at_all() {
        assert_eq!(parse(GOOD).unwrap().bus_log, None);
        let named = |path: &str| parse(&format!("{GOOD}\nbus_log = {path:?}\n"));
        let path = PathBuf::from("/var/log/nats.log");
        assert_eq!(named("/var/log/nats.log").unwrap().bus_log, Some(path));
        let said = named("nats.log").unwrap_err().to_string();
        assert!(said.contains("bus_log is nats.log, but must be"), "{said}");
    }
}
