//! Reads the risk policy that brain, risk-guard and execution must agree on.

use std::path::Path;

use portcullis_domain::Hash;
use portcullis_wire::agreement::Agreement;
use portcullis_wire::codec;
use portcullis_wire::messages::RiskPolicy;
use sha2::{Digest, Sha256};

use crate::config::{self, ConfigError, Problems};

/// Reads the policy and its hash: SHA-256 of its canonical encoding, so that the order of keys and
/// comments in the file do not count, and every value does.
///
/// # Errors
/// [`ConfigError`] when the file is not a policy, or one that can permit nothing.
pub fn load(path: &Path) -> Result<(RiskPolicy, Hash), ConfigError> {
    let policy: RiskPolicy = config::load(path)?;
    let mut problems = Problems::new();
    for problem in policy.problems() {
        problems.add("policy", problem);
    }
    let hash = problems.take("(file)", hash(&policy));
    problems.into_result(path, hash.map(|hash| (policy, hash)))
}

/// The hash of a policy.
///
/// # Errors
/// [`codec::CodecError`] for a policy that does not encode.
pub fn hash(policy: &RiskPolicy) -> Result<Hash, codec::CodecError> {
    Ok(Hash(Sha256::digest(codec::encode(policy)?).into()))
}

/// Shows in the metrics who runs another policy.
pub fn show(agreement: &Agreement) {
    for (service, agrees) in agreement.others() {
        let mismatch = if agrees { 0.0 } else { 1.0 };
        metrics::gauge!("portcullis_policy_mismatch", "service" => service.name()).set(mismatch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
hard_limits = "4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c"
book_age_ms_max = 2000
orders_open_max = 20
daily_loss_max = "250"
venues = ["bybit"]
clock_error_ms_max = 1500
drawdown_max = "200"
capital = "10000"
gross_exposure_max = "8000"
net_exposure_max = "7000"
leverage_max = 15000
concentration_max = 9000
probe_notional_max = "11"
groups = []
breakers.hsm_failure = { failures = 3, window_s = 600, consecutive = 2, recovery_s = 3600 }
breakers.system_error = { failures = 9, window_s = 600, percent = 40, recovery_s = 3600 }
breakers.network = { failures = 3, window_s = 600, recovery_s = 3600 }
breakers.confirmation_timeout = { failures = 3, window_s = 600, recovery_s = 3600 }
breakers.trade_failure = { failures = 3, window_s = 600, recovery_s = 3600 }
breakers.market_volatility = { failures = 3, window_s = 600, recovery_s = 3600 }
breakers.slippage = { failures = 3, window_s = 600, recovery_s = 3600 }

[strategy]
orders_open_max = 12
orders_per_second_max = 13
messages_per_second_max = 14
cancels_per_minute_max = 15
position_notional_max = "4000"
daily_loss_max = "90"
repeated_fills_max = 16
repeated_window_ms = 60000
same_order_ms = 17

[[instruments]]
order_quantity_max = "5"
order_notional_min = "5"
order_notional_max = "1000"
position_notional_max = "5000"
orders_open_max = 18
collar = 100
last_collar = 300
fat_finger_max = 19
volatility_max = 15000

[instruments.instrument]
symbol = "BTCUSDT"
tick_size = "0.1"
quantity_step = "0.001"
quantity_min = "0.001"
quantity_max = "100"
notional_min = "5"
"#;

    fn load_text(text: &str) -> Result<(RiskPolicy, Hash), ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("risk-policy.toml");
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn comments_and_order_do_not_count_and_every_value_does() {
        let (policy, hash) = load_text(POLICY).unwrap();
        assert_eq!(policy.orders_open_max, 20);
        let reordered = POLICY.replace(
            "book_age_ms_max = 2000\norders_open_max = 20\n",
            "# note\norders_open_max = 20\nbook_age_ms_max = 2000\n",
        );
        assert_ne!(reordered, POLICY);
        assert_eq!(load_text(&reordered).unwrap().1, hash);
        for (old, new) in [
            ("= 20\n", "= 21\n"),
            ("\"250\"", "\"251\""),
            ("= 100\n", "= 101\n"),
        ] {
            assert_ne!(
                load_text(&POLICY.replace(old, new)).unwrap().1,
                hash,
                "{new}"
            );
        }
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused_with_everything_that_is_wrong() {
        let twice = POLICY.replace("= 2000", "= 0").replace("= 20\n", "= 0\n");
        let (_, entry) = POLICY.split_once("[[instruments]]").unwrap();
        let twice = format!("{twice}\n[[instruments]]{entry}");
        let said = load_text(&twice).unwrap_err().to_string();
        for problem in [
            "BTCUSDT: is listed twice",
            "book_age_ms_max: must be from 1",
            "orders_open_max: must be at least 1",
        ] {
            assert!(said.contains(problem), "{said}");
        }
        let unknown = load_text(&format!("extra = 1\n{POLICY}"))
            .unwrap_err()
            .to_string();
        assert!(unknown.contains(":1: unknown field `extra`"), "{unknown}");
    }
}
