//! An order's value, at the worse of its limit price and the middle of the book, is limited.

use portcullis_domain::{Figure, Price, Quantity, Reason, Unit};

use crate::trail::Finding;

pub fn check(quantity: Quantity, limit_price: Price, mid: Price, limit: Figure) -> Finding {
    match limit_price.max(mid).notional(quantity) {
        Ok(notional) => Finding::at_most(Unit::Usd, notional, limit, Reason::OrderNotional),
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_value_at_the_worse_of_two_prices() {
        // quantity, limit price, middle
        let cases = [
            ("50", "2", "2", Ok(())),
            ("50.1", "2", "2", Err(Reason::OrderNotional)),
            ("50", "2.01", "1.9", Err(Reason::OrderNotional)),
            ("50", "1.9", "2.01", Err(Reason::OrderNotional)),
            ("1000000000000000", "1000", "1", Err(Reason::Overflow)),
        ];
        for (quantity, limit_price, mid, expected) in cases {
            let got = check(
                quantity.parse().unwrap(),
                limit_price.parse().unwrap(),
                mid.parse().unwrap(),
                "100".parse().unwrap(),
            );
            assert_eq!(
                got.answer, expected,
                "{quantity} at {limit_price}, middle {mid}"
            );
        }
    }
}
