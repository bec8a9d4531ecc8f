//! The book is deep enough to say what the order would cost. Never extrapolated: what lies behind the
//! last level that is known is not known.

use portcullis_domain::{Order, Reason, TimeInForce, Walk, WalkEnd};

/// `walk` is the order's way through the book, up to its own limit price.
pub fn check(order: &Order, walk: &Walk) -> Result<(), Reason> {
    let enough = match (walk.ends, order.time_in_force) {
        (WalkEnd::Filled, _) => true,
        (WalkEnd::BookEnded, _) | (WalkEnd::LimitPrice, TimeInForce::FillOrKill) => false,
        (
            WalkEnd::LimitPrice,
            TimeInForce::GoodTillCancel | TimeInForce::ImmediateOrCancel | TimeInForce::PostOnly,
        ) => true,
    };
    if enough {
        Ok(())
    } else {
        Err(Reason::InsufficientLiquidity)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Timestamp;
    use portcullis_testkit::seals;

    use super::*;

    #[test]
    fn a_book_that_ends_before_the_order_does_says_nothing() {
        const REFUSED: Result<(), Reason> = Err(Reason::InsufficientLiquidity);
        let cases = [
            (WalkEnd::Filled, TimeInForce::FillOrKill, Ok(())),
            (WalkEnd::LimitPrice, TimeInForce::ImmediateOrCancel, Ok(())),
            (WalkEnd::LimitPrice, TimeInForce::GoodTillCancel, Ok(())),
            (WalkEnd::LimitPrice, TimeInForce::FillOrKill, REFUSED),
            (WalkEnd::BookEnded, TimeInForce::ImmediateOrCancel, REFUSED),
            (WalkEnd::BookEnded, TimeInForce::GoodTillCancel, REFUSED),
        ];
        for (ends, time_in_force, expected) in cases {
            let walk = Walk {
                filled: None,
                vwap: None,
                worst: None,
                ends,
            };
            let order = Order {
                time_in_force,
                ..seals::order(1, Timestamp(0))
            };
            assert_eq!(check(&order, &walk), expected, "{ends:?} {time_in_force:?}");
        }
    }
}
