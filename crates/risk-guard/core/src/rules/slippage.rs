//! What would fill at once does not slip more than the order's profile allows. An estimate, and so
//! only a filter: the price in the permit is the guarantee.

use portcullis_domain::{Bps, Figure, Price, Reason, Side, Unit, slippage};

use crate::trail::Finding;

/// `vwap` is the average price of what would fill at once; `None` when nothing would.
pub fn check(side: Side, vwap: Option<Price>, mid: Price, limit: Bps) -> Finding {
    let Some(vwap) = vwap else {
        return Ok(()).into();
    };
    match slippage(side, vwap, mid) {
        Ok(slips) => Finding::at_most(Unit::Bps, slips, Figure::from(limit), Reason::ExceededLimit),
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_profile_may_be_reached_and_not_passed() {
        const REFUSED: Result<(), Reason> = Err(Reason::ExceededLimit);
        let cases = [
            (Side::Buy, Some("100.5"), Ok(())),
            (Side::Buy, Some("100.5001"), REFUSED),
            (Side::Buy, Some("99"), Ok(())),
            (Side::Sell, Some("99.5"), Ok(())),
            (Side::Sell, Some("99.4999"), REFUSED),
            (Side::Sell, Some("101"), Ok(())),
            (Side::Buy, None, Ok(())),
        ];
        for (side, vwap, expected) in cases {
            let vwap = vwap.map(|vwap: &str| vwap.parse().unwrap());
            let mid = "100".parse().unwrap();
            let got = check(side, vwap, mid, Bps::new(50).unwrap());
            assert_eq!(got.answer, expected, "{side} {vwap:?}");
        }
    }
}
