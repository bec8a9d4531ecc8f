//! The limits that no configuration can loosen: they are compiled into the binary. Changing one is a
//! change of code, reviewed by its owners (`CODEOWNERS`) and released like any other.
//!
//! The build hashes the constants of this file, prints the digest and embeds it as [`digest`]. The risk
//! policy names the digest that it was written for, so that a binary with other limits does not start
//! with it.

use portcullis_domain::{Hash, Span, Usd};
use rust_decimal::Decimal;

/// The most that one UTC day, or any 24 hours, may lose, in whole USD: realised, unrealised, fees and
/// funding.
pub const DAILY_LOSS_MAX_USD: i64 = 2_000;
/// The largest order by value at its limit price, in whole USD.
pub const ORDER_NOTIONAL_MAX_USD: i64 = 50_000;
/// The most orders that may be open or in doubt at once.
pub const ORDERS_OPEN_MAX: u64 = 20_000;
/// The most orders that may leave within one second.
pub const ORDERS_PER_SECOND_MAX: u32 = 2_000;

/// A heartbeat older than this has everything cancelled.
pub const SILENCE_MAX: Span = Span::from_secs(5);
/// How long after its time stamp a venue still takes a request (Bybit: `recv_window`), with the 2 s
/// that two clocks may differ. Later than this an order that the venue does not know of can no
/// longer arrive.
pub const ARRIVAL_MAX: Span = Span::from_secs(7);

/// The lines of this file that define a constant.
pub fn lines() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("hard_limits.rs").lines();
    lines.filter(|line| line.starts_with("pub const "))
}

/// SHA-256 over the lines of this file that define a constant, each ended by a line feed.
#[must_use]
pub fn digest() -> Hash {
    // All zeroes fits no policy, should the build ever embed something else than a digest.
    Hash::from_hex(env!("HARD_LIMITS_SHA256")).unwrap_or(Hash([0; 32]))
}

/// The daily loss limit in force: the compiled one, or a tighter one from the risk policy.
#[must_use]
pub fn daily_loss_max(policy: Usd) -> Usd {
    policy.min(whole(DAILY_LOSS_MAX_USD))
}

/// The order limit as an amount.
#[must_use]
pub fn order_notional_max() -> Usd {
    whole(ORDER_NOTIONAL_MAX_USD)
}

fn whole(usd: i64) -> Usd {
    // Nothing is allowed should a constant ever leave the range of amounts.
    Usd::new(Decimal::from(usd)).unwrap_or(Usd::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_tightens_and_never_loosens() {
        let usd = |text: &str| text.parse::<Usd>().unwrap();
        assert_eq!(daily_loss_max(usd("500")), usd("500"));
        assert_eq!(daily_loss_max(usd("1000000")), usd("2000"));
        assert_eq!(order_notional_max(), usd("50000"));
    }

    #[test]
    fn the_digest_is_that_of_the_constants_in_this_file() {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        let mut constants = 0;
        for line in lines() {
            assert!(line.ends_with(';'), "on one line: {line}");
            hash.update(line);
            hash.update("\n");
            constants += 1;
        }
        assert_eq!(constants, 6);
        assert_eq!(digest(), Hash(hash.finalize().into()));
    }
}
