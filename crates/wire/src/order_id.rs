//! The id of the order that a proposal becomes.

use portcullis_domain::{EnvelopeId, OrderId, StrategyId};
use sha2::{Digest, Sha256};

/// Separates these digests from those of every other purpose.
const DOMAIN: &[u8] = b"portcullis/order-id/v1\0";

/// The id of the order that a proposal becomes: the first 16 bytes of
/// SHA-256(`portcullis/order-id/v1` ‖ 0 ‖ strategy ‖ 0 ‖ proposal's envelope id). The same proposal
/// always becomes the same order, and its author knows the id before anybody answers.
#[must_use]
pub fn order_id(strategy: StrategyId, proposal: EnvelopeId) -> OrderId {
    let digest = Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(strategy.as_str())
        .chain_update([0])
        .chain_update(proposal.0)
        .finalize();
    let mut id = [0; 16];
    for (byte, from) in id.iter_mut().zip(digest) {
        *byte = from;
    }
    OrderId(id)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn is_the_documented_digest() {
        let strategy = StrategyId::new("sample").unwrap();
        let id = order_id(strategy, EnvelopeId([0x11; 16]));
        assert_eq!(id.to_string(), "e1bdbaf9956b5f56aad017ae86508f3c");
    }

    #[test]
    fn differs_by_strategy_and_by_proposal() {
        let [a, b] = ["a", "b"].map(|name| StrategyId::new(name).unwrap());
        let first = order_id(a, EnvelopeId([1; 16]));
        assert_ne!(first, order_id(b, EnvelopeId([1; 16])));
        assert_ne!(first, order_id(a, EnvelopeId([2; 16])));
    }
}
