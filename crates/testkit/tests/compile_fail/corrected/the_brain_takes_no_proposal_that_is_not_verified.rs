//! The brain's core sizes verified proposals only.

use brain_core::{Brain, Input};
use portcullis_domain::Timestamp;
use portcullis_wire::Verified;
use portcullis_wire::messages::Proposal;

pub fn size(core: &mut Brain, now: Timestamp, proposal: Verified<Proposal>) {
    let _ = core.step(now, Input::Proposal(proposal));
}

fn main() {}
