//! The position stays within its limit, whichever of the open orders fill, at the middle of the
//! book. An order that only brings the position down passes even above the limit.

use portcullis_domain::{Figure, Order, Price, Reason, Unit, Worst};

use crate::trail::Finding;

/// `worst` is without the order: of the instrument, or of one strategy in it.
pub fn check(order: &Order, worst: Worst, mid: Price, limit: Figure) -> Finding {
    let after = worst
        .with(order.side, order.quantity)
        .and_then(|after| after.value_max(mid));
    match after {
        Ok(after) => {
            let used = after.into();
            let agrees = used <= limit || worst.reduces(order.side, order.quantity);
            Finding::measured(Unit::Usd, used, limit, agrees, Reason::PositionNotional)
        }
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Side, Timestamp};
    use portcullis_testkit::seals;

    use super::*;

    #[test]
    fn limits_the_worst_case_and_lets_risk_be_closed() {
        const REFUSED: Result<(), Reason> = Err(Reason::PositionNotional);
        // position, open buys, open sells, side, quantity; the limit is 50 units
        let cases = [
            ("0", None, None, Side::Buy, "50", Ok(())),
            ("0", None, None, Side::Buy, "50.1", REFUSED),
            ("0", None, None, Side::Sell, "50.1", REFUSED),
            ("20", Some("20"), None, Side::Buy, "10", Ok(())),
            ("20", Some("20"), None, Side::Buy, "10.1", REFUSED),
            ("20", None, Some("60"), Side::Sell, "10", Ok(())),
            ("20", None, Some("60"), Side::Sell, "10.1", REFUSED),
            ("60", None, None, Side::Sell, "1", Ok(())),
            ("60", None, None, Side::Buy, "1", REFUSED),
            ("60", None, Some("60"), Side::Sell, "1", REFUSED),
            ("-60", None, None, Side::Buy, "60", Ok(())),
            ("-60", None, None, Side::Buy, "60.1", REFUSED),
            (
                "900000000000000",
                None,
                None,
                Side::Buy,
                "100000000000001",
                Err(Reason::Overflow),
            ),
        ];
        for (position, buys, sells, side, quantity, expected) in cases {
            let position = position.parse().unwrap();
            let mut worst = Worst {
                position,
                long_most: position,
                short_most: position,
            };
            for (side, open) in [(Side::Buy, buys), (Side::Sell, sells)] {
                if let Some(open) = open {
                    worst = worst.with(side, open.parse().unwrap()).unwrap();
                }
            }
            let order = Order {
                side,
                quantity: quantity.parse().unwrap(),
                ..seals::order(1, Timestamp(0))
            };
            let got = check(&order, worst, "2".parse().unwrap(), "100".parse().unwrap());
            assert_eq!(
                got.answer, expected,
                "{side} {quantity} at {position}, open {buys:?} {sells:?}"
            );
        }
    }
}
