//! Execution's core takes a permit as it was opened, never one that somebody wrote down.

use execution_core::{Execution, Input};
use portcullis_domain::{Order, Timestamp};
use portcullis_wire::Verified;
use portcullis_wire::messages::Permit;

pub fn perform(core: &mut Execution, now: Timestamp, permit: Permit, order: Verified<Order>) {
    let _ = core.step(now, Input::Permit { permit, order });
}

fn main() {}
