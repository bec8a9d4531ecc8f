//! The same order again a moment later is a mistake of whoever sends it.

use portcullis_domain::{Order, Reason, Timestamp};

use crate::strategies::Strategy;

pub fn check(strategy: &mut Strategy, order: &Order, now: Timestamp) -> Result<(), Reason> {
    if strategy.repeats(order, now) {
        Err(Reason::DuplicateOrder)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Side;
    use portcullis_testkit::{policies, seals};
    use portcullis_wire::messages::StrategyPolicy;

    use super::*;
    use crate::strategies::Strategies;

    #[test]
    fn only_what_differs_passes_within_the_span() {
        let policy = StrategyPolicy {
            same_order_ms: 10,
            ..policies::policy(alloc::vec![]).strategy
        };
        let id = "sample".parse().unwrap();
        let mut strategies = Strategies::new(&[id].into(), &policy);
        let strategy = strategies.get_mut(id).unwrap();
        let first = seals::order(1, Timestamp(0));
        assert_eq!(check(strategy, &first, Timestamp(0)), Ok(()));
        strategy.remember(&first, Timestamp(0));
        let again = seals::order(2, Timestamp(0));
        let other = Order {
            side: Side::Sell,
            ..again.clone()
        };
        let cases = [
            (&again, 10_000, Err(Reason::DuplicateOrder)),
            (&other, 10_000, Ok(())),
            (&again, 10_001, Ok(())),
        ];
        for (order, now, expected) in cases {
            assert_eq!(check(strategy, order, Timestamp(now)), expected, "{now}");
        }
    }
}
