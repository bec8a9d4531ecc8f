//! Only `wire` can make a `Verified`: its fields are its own.

use portcullis_domain::Order;
use portcullis_wire::{Received, Verified};

pub fn trusted(received: Received<Order>) -> Verified<Order> {
    received.either()
}

fn main() {}
