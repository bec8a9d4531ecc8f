//! Risk-guard's core judges verified orders only.

use portcullis_domain::{Order, Timestamp};
use risk_guard_core::{Input, RiskGuard};

pub fn judge(core: &mut RiskGuard, now: Timestamp, order: Order) {
    let _ = core.step(now, Input::Order(order));
}

fn main() {}
