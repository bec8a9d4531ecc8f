//! What an order is likely to cost where no book and no pool can be asked: the square-root law.

use core::fmt;

use crate::wide::{MILLIONTHS, Rounding, Wide, root_up};
use crate::{AmountError, Bps, Figure, Quantity, Span, TIME_REVERSAL_MAX, Timestamp};

/// What the law needs to know of a market's last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyStatistics {
    /// The standard deviation of its daily return.
    pub volatility: Bps,
    /// What was traded.
    pub volume: Quantity,
    /// When that was measured.
    pub measured_at: Timestamp,
}

/// Why no impact can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImpactError {
    /// There are no statistics of that market.
    Missing,
    /// They are too old, or from a time that has not come.
    Stale,
    /// A result leaves the range of amounts.
    Amount(AmountError),
}

impl fmt::Display for ImpactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there are no statistics of the last day"),
            Self::Stale => f.write_str("the statistics of the last day are stale"),
            Self::Amount(error) => write!(f, "the impact {error}"),
        }
    }
}

impl core::error::Error for ImpactError {}

impl From<AmountError> for ImpactError {
    fn from(error: AmountError) -> Self {
        Self::Amount(error)
    }
}

/// The impact of an order by the square-root law, σ·√(Q/V), in basis points, rounded up to a
/// millionth. Its factor is 1, the upper end of what was measured (0.5 to 1 for Bitcoin,
/// arXiv:1412.4503).
///
/// # Errors
/// [`ImpactError`] when the statistics are missing, or older than `age_max`; such an order is denied.
pub fn square_root_impact(
    quantity: Quantity,
    statistics: Option<DailyStatistics>,
    now: Timestamp,
    age_max: Span,
) -> Result<Figure, ImpactError> {
    let DailyStatistics {
        volatility,
        volume,
        measured_at,
    } = statistics.ok_or(ImpactError::Missing)?;
    if now.since(measured_at) > age_max || measured_at.since(now) > TIME_REVERSAL_MAX {
        return Err(ImpactError::Stale);
    }
    // Everything goes under the root, which a whole number then bounds exactly:
    // √(σ²·10^12·Q/V) millionths of a basis point.
    let (quantity, volume) = (quantity.atoms()?, volume.atoms()?);
    let sigma = u128::from(volatility.get()).saturating_mul(MILLIONTHS);
    let impact = Wide::product(sigma, sigma)
        .and_then(|square| {
            square
                .times(quantity)?
                .quotient(Wide::of(volume), Rounding::Up)
        })
        .and_then(root_up)
        .ok_or(AmountError::TooLarge)?;
    Ok(Figure::from_millionths(impact, false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
    const HOUR: Span = Span::from_secs(3_600);

    fn statistics(volatility: u32, volume: &str) -> DailyStatistics {
        DailyStatistics {
            volatility: Bps::new(volatility).unwrap(),
            volume: volume.parse().unwrap(),
            measured_at: NOW,
        }
    }

    fn impact(quantity: &str, of: DailyStatistics) -> Result<Figure, ImpactError> {
        square_root_impact(quantity.parse().unwrap(), Some(of), NOW, HOUR)
    }

    #[test]
    fn the_impact_is_the_volatility_times_the_root_of_the_share() {
        let cases = [
            // Case 10: 2 % and 6.25 % of the volume are exactly 0.50 %.
            (200, "6.25", "100", "50"),
            (200, "100", "100", "200"),
            (200, "400", "100", "400"),
            (0, "6.25", "100", "0"),
            // √0.5 × 100 = 70.71067811…, rounded up.
            (100, "1", "2", "70.710679"),
        ];
        for (volatility, quantity, volume, expected) in cases {
            assert_eq!(
                impact(quantity, statistics(volatility, volume)),
                Ok(expected.parse().unwrap()),
                "{volatility} {quantity}/{volume}"
            );
        }
    }

    #[test]
    fn missing_and_stale_statistics_give_no_impact() {
        let quantity: Quantity = "1".parse().unwrap();
        let at = |measured_at| {
            let of = DailyStatistics {
                measured_at,
                ..statistics(200, "100")
            };
            square_root_impact(quantity, Some(of), NOW, HOUR)
        };
        assert_eq!(
            square_root_impact(quantity, None, NOW, HOUR),
            Err(ImpactError::Missing)
        );
        let oldest = NOW.minus(HOUR);
        assert!(at(oldest).is_ok());
        assert_eq!(at(oldest.minus(Span(1))), Err(ImpactError::Stale));
        let latest = NOW.plus(TIME_REVERSAL_MAX);
        assert!(at(latest).is_ok());
        assert_eq!(at(latest.plus(Span(1))), Err(ImpactError::Stale));
    }

    #[test]
    fn an_impact_beyond_the_range_is_an_error() {
        let most = "1000000000000000";
        let of = |volatility| statistics(volatility, "0.000000000001");
        assert_eq!(
            impact(most, of(1_000_000)),
            Err(ImpactError::Amount(AmountError::TooLarge))
        );
        assert!(impact(most, of(0)).is_ok());
    }

    proptest! {
        #[test]
        fn more_never_has_less_impact(
            volatility in 0..1_000_000_u32, a in 1..1_000_000_i64, b in 1..1_000_000_i64,
        ) {
            let of = |quantity| {
                let quantity = Quantity::new(Decimal::new(quantity, 3)).unwrap();
                square_root_impact(quantity, Some(statistics(volatility, "123.456")), NOW, HOUR)
            };
            prop_assert!(of(a.min(b)).unwrap() <= of(a.max(b)).unwrap());
        }
    }
}
