//! An order's value, at the worse of its limit price and the middle of the book, is limited.

use portcullis_domain::{Figure, Order, Price, Reason, Unit, Usd};

use crate::trail::Finding;

pub fn check(notional: Usd, limit: Figure) -> Finding {
    Finding::at_most(Unit::Usd, notional, limit, Reason::OrderNotional)
}

/// What an order may be worth.
///
/// # Errors
/// [`Reason::Overflow`] beyond 10^15.
pub fn value(order: &Order, mid: Price) -> Result<Usd, Reason> {
    let worse = order.limit_price.max(mid);
    worse.notional(order.quantity).map_err(|_| Reason::Overflow)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Timestamp;
    use portcullis_testkit::seals;

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
            let order = Order {
                quantity: quantity.parse().unwrap(),
                limit_price: limit_price.parse().unwrap(),
                ..seals::order(1, Timestamp(0))
            };
            let notional = value(&order, mid.parse().unwrap());
            let limit = "100".parse().unwrap();
            let got = notional.and_then(|notional| check(notional, limit).answer);
            assert_eq!(got, expected, "{quantity} at {limit_price}, middle {mid}");
        }
    }
}
