//! Which order a permit lets through: execution and the signer read it here, so that neither can be
//! told another story.

use portcullis_domain::{Order, Reason, Side};

use crate::messages::Permit;

impl Permit {
    /// The order that may leave under this permit: `order`, the one inside it, at risk-guard's worst
    /// price where it names one.
    ///
    /// # Errors
    /// [`Reason::OrderSeal`] for a worst price beyond the order's own limit: that is not what the
    /// brain sealed, and a guard may only tighten.
    pub fn tighten(&self, order: &Order) -> Result<Order, Reason> {
        let limit_price = self.worst_price.unwrap_or(order.limit_price);
        let loosens = match order.side {
            Side::Buy => limit_price > order.limit_price,
            Side::Sell => limit_price < order.limit_price,
        };
        if loosens {
            return Err(Reason::OrderSeal);
        }
        Ok(Order {
            limit_price,
            ..order.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use portcullis_domain::{
        Hash, OrderId, RiskProfile, StrategyId, Symbol, TimeInForce, Timestamp, Venue,
    };

    use super::*;

    fn order(side: Side) -> Order {
        Order {
            id: OrderId([1; 16]),
            strategy: StrategyId::new("alice").unwrap(),
            venue: Venue::Bybit,
            symbol: Symbol::new("XRPUSDT").unwrap(),
            side,
            quantity: "10".parse().unwrap(),
            limit_price: "0.5".parse().unwrap(),
            time_in_force: TimeInForce::ImmediateOrCancel,
            reduce_only: false,
            profile: RiskProfile::Moderate,
            policy: Hash([7; 32]),
            created_at: Timestamp(1),
        }
    }

    #[test]
    fn a_worst_price_tightens_and_never_loosens() {
        let cases = [
            (Side::Buy, None, Ok("0.5")),
            (Side::Buy, Some("0.49"), Ok("0.49")),
            (Side::Buy, Some("0.5"), Ok("0.5")),
            (Side::Buy, Some("0.5001"), Err(Reason::OrderSeal)),
            (Side::Sell, None, Ok("0.5")),
            (Side::Sell, Some("0.51"), Ok("0.51")),
            (Side::Sell, Some("0.5"), Ok("0.5")),
            (Side::Sell, Some("0.4999"), Err(Reason::OrderSeal)),
        ];
        for (side, worst, expected) in cases {
            let permit = Permit {
                order: Vec::new(),
                policy: Hash([7; 32]),
                worst_price: worst.map(|price| price.parse().unwrap()),
                generation: 0,
            };
            let expected = expected.map(|price| Order {
                limit_price: price.parse().unwrap(),
                ..order(side)
            });
            assert_eq!(permit.tighten(&order(side)), expected, "{side} {worst:?}");
        }
    }
}
