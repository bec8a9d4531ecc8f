//! A reduce-only order reduces: even if every other order on its side fills first, the position of
//! the instrument shrinks and does not turn around.

use portcullis_domain::{Order, Reason, Worst};

pub fn check(order: &Order, worst: Worst) -> Result<(), Reason> {
    if order.reduce_only && !worst.reduces(order.side, order.quantity) {
        return Err(Reason::NotReducing);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Side, Timestamp};
    use portcullis_testkit::seals;

    use super::*;

    #[test]
    fn only_what_surely_shrinks_the_position_passes() {
        const REFUSED: Result<(), Reason> = Err(Reason::NotReducing);
        // position, open sells, reduce-only, side, quantity
        let cases = [
            ("10", None, true, Side::Sell, "10", Ok(())),
            ("10", None, true, Side::Sell, "10.1", REFUSED),
            ("10", Some("5"), true, Side::Sell, "5", Ok(())),
            ("10", Some("5"), true, Side::Sell, "5.1", REFUSED),
            ("10", None, true, Side::Buy, "1", REFUSED),
            ("0", None, true, Side::Sell, "1", REFUSED),
            ("0", None, true, Side::Buy, "1", REFUSED),
            ("-10", None, true, Side::Buy, "10", Ok(())),
            ("-10", None, true, Side::Buy, "10.1", REFUSED),
            ("0", None, false, Side::Sell, "1", Ok(())),
        ];
        for (position, open, reduce_only, side, quantity, expected) in cases {
            let position = position.parse().unwrap();
            let flat = Worst {
                position,
                long_most: position,
                short_most: position,
            };
            let worst = match open {
                Some(open) => flat.with(Side::Sell, open.parse().unwrap()).unwrap(),
                None => flat,
            };
            let order = Order {
                side,
                reduce_only,
                quantity: quantity.parse().unwrap(),
                ..seals::order(1, Timestamp(0))
            };
            assert_eq!(
                check(&order, worst),
                expected,
                "{side} {quantity} at {position}"
            );
        }
    }
}
