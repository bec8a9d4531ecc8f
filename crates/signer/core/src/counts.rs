//! What the signer counts for its status.

use alloc::collections::BTreeMap;

use portcullis_domain::Reason;

/// Numbers since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signatures that place an order.
    pub placed: u64,
    /// Every other signature.
    pub other: u64,
    /// Refusals, by reason.
    pub refused: BTreeMap<Reason, u64>,
}

impl Counts {
    pub(crate) fn signed(&mut self, places: bool) {
        let count = if places {
            &mut self.placed
        } else {
            &mut self.other
        };
        *count = count.saturating_add(1);
    }

    pub(crate) fn refused(&mut self, reason: Reason) {
        let count = self.refused.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}
