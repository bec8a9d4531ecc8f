//! Whether an order came before has to be looked at: what came again is not for a core to act on.

use portcullis_domain::{Order, Timestamp};
use portcullis_wire::Received;
use risk_guard_core::{Input, RiskGuard};

pub fn judge(core: &mut RiskGuard, now: Timestamp, received: Received<Order>) {
    if let Some(order) = Some(received) {
        let _ = core.step(now, Input::Order(order));
    }
}

fn main() {}
