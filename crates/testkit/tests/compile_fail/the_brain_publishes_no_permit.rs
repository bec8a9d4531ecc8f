//! Permits are risk-guard's to publish; the brain's client has no way to.
#![allow(
    unused_imports,
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_domain::Order;
use portcullis_runtime::Client;
use portcullis_wire::messages::Permit;
use portcullis_wire::principal::Brain;
use portcullis_wire::subjects::{ORDER, PERMIT};

pub fn permit(client: &Client<Brain>, order: &Order, permit: &Permit) -> bool {
    client.publish(&PERMIT, None, permit, None, None).is_ok()
}

fn main() {}
