//! Only `wire` can make a `Verified`: its fields are its own.
#![allow(
    unused_imports,
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_domain::Order;
use portcullis_wire::{Header, Received, Verified};

pub fn trusted(
    received: Received<Order>,
    header: Header,
    message: Order,
    frame: Vec<u8>,
) -> Verified<Order> {
    Verified {
        header,
        message,
        frame,
    }
}

fn main() {}
