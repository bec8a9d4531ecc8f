//! A verified message comes from no bytes, whatever they are: there is no decoder for one.
#![allow(unused_imports, reason = "the same for the offence and its correction")]

use portcullis_domain::Order;
use portcullis_wire::Verified;

pub fn read(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Verified<Order>>(bytes).is_ok()
}

fn main() {}
