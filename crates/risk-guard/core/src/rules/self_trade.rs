//! An order does not meet one of our own: that trades with nobody, costs fees, and looks like a
//! market that is made up.

use portcullis_domain::{Price, Reason, Side};

/// `own` is the best price that our own orders offer to an order of this side.
pub fn check(side: Side, limit_price: Price, own: Option<Price>) -> Result<(), Reason> {
    let meets = own.is_some_and(|own| match side {
        Side::Buy => limit_price >= own,
        Side::Sell => limit_price <= own,
    });
    if meets {
        Err(Reason::SelfTrade)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prices_that_do_not_meet_pass() {
        const REFUSED: Result<(), Reason> = Err(Reason::SelfTrade);
        let cases = [
            (Side::Buy, "2", None, Ok(())),
            (Side::Buy, "2", Some("2.1"), Ok(())),
            (Side::Buy, "2", Some("2"), REFUSED),
            (Side::Buy, "2", Some("1.9"), REFUSED),
            (Side::Sell, "2", Some("1.9"), Ok(())),
            (Side::Sell, "2", Some("2"), REFUSED),
            (Side::Sell, "2", Some("2.1"), REFUSED),
        ];
        for (side, limit_price, own, expected) in cases {
            let own = own.map(|own: &str| own.parse().unwrap());
            let got = check(side, limit_price.parse().unwrap(), own);
            assert_eq!(got, expected, "{side} {limit_price} {own:?}");
        }
    }
}
