//! A strategy proposes; orders are the brain's to seal.
#![allow(
    unused_imports,
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_domain::Order;
use portcullis_runtime::Client;
use portcullis_wire::messages::Proposal;
use portcullis_wire::principal::Strategy;
use portcullis_wire::subjects::{ORDER, PROPOSAL};

pub fn order(client: &Client<Strategy>, order: &Order, proposal: &Proposal) -> bool {
    client
        .seal(&PROPOSAL, Some("sample"), proposal, None, None)
        .is_ok()
}

fn main() {}
