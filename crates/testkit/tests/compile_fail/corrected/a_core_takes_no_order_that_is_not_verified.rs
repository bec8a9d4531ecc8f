//! Risk-guard's core judges verified orders only.

use portcullis_domain::{Order, Timestamp};
use portcullis_wire::Verified;
use risk_guard_core::{Input, RiskGuard};

pub fn judge(core: &mut RiskGuard, now: Timestamp, order: Verified<Order>) {
    let _ = core.step(now, Input::Order(order));
}

fn main() {}
