//! A permit, and which order it lets through: execution and the signer read that here, so that
//! neither can be told another story.

use alloc::vec::Vec;

use portcullis_domain::{Hash, Order, Price, Reason, Side};
use serde::{Deserialize, Serialize};

/// Risk-guard's leave for one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// The brain's sealed order, byte for byte.
    #[serde(with = "serde_bytes")]
    pub order: Vec<u8>,
    /// The digest of the risk policy that risk-guard runs.
    pub policy: Hash,
    /// The worst acceptable price, where it is nearer than the order's own limit: execution sends
    /// the order with this limit, and the signer signs no other.
    pub worst_price: Option<Price>,
    /// How often a circuit breaker had changed when this was permitted: what comes of it says
    /// nothing about a breaker that changed later.
    pub generation: u64,
}

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
    use portcullis_domain::{
        OrderId, RiskProfile, StrategyId, Symbol, TimeInForce, Timestamp, Venue,
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
