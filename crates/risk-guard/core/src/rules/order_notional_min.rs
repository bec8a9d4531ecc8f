//! An order is worth at least so much at its limit price: dust costs more than it is worth.

use portcullis_domain::{Price, Quantity, Reason, Unit, Usd};

use crate::trail::Finding;

/// What reduces may be smaller: the rest of a position must not be kept for ever.
pub fn check(quantity: Quantity, limit_price: Price, least: Usd, reduces: bool) -> Finding {
    match limit_price.notional(quantity) {
        Ok(notional) => {
            let agrees = reduces || notional >= least;
            let (used, limit) = (notional.into(), least.into());
            Finding::measured(Unit::Usd, used, limit, agrees, Reason::OrderTooSmall)
        }
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_may_be_reached() {
        let cases = [
            ("5", "2", false, Ok(())),
            ("4.9", "2", false, Err(Reason::OrderTooSmall)),
            ("4.9", "2", true, Ok(())),
            ("1000000000000000", "2", true, Err(Reason::Overflow)),
        ];
        for (quantity, price, reduces, expected) in cases {
            let got = check(
                quantity.parse().unwrap(),
                price.parse().unwrap(),
                "10".parse().unwrap(),
                reduces,
            );
            assert_eq!(got.answer, expected, "{quantity} {price}");
        }
    }
}
