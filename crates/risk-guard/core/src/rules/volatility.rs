//! The instrument does not move more than it may. What only reduces a position passes.

use portcullis_domain::{Figure, Reason, Unit};

use crate::trail::Finding;

/// Both are annualised, in basis points; `None` is not known.
pub fn check(volatility: Option<Figure>, limit: Figure, reduces: bool) -> Finding {
    match volatility {
        Some(used) => {
            let agrees = reduces || used <= limit;
            Finding::measured(Unit::Bps, used, limit, agrees, Reason::HighVolatility)
        }
        None if reduces => Ok(()).into(),
        None => Finding::unknown(Reason::VolatilityUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_may_be_reached_and_not_passed() {
        let cases = [
            (Some(5_000), false, Ok(())),
            (Some(5_001), false, Err(Reason::HighVolatility)),
            (Some(5_001), true, Ok(())),
            (None, false, Err(Reason::VolatilityUnknown)),
            (None, true, Ok(())),
        ];
        for (volatility, reduces, expected) in cases {
            let got = check(volatility.map(Figure::count), Figure::count(5_000), reduces);
            assert_eq!(got.answer, expected, "{volatility:?} {reduces}");
        }
    }
}
