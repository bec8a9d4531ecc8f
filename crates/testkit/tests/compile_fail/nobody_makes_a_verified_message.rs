//! Only `wire` can make a `Verified`: its fields are its own.

use portcullis_domain::Order;
use portcullis_wire::{Header, Verified};

pub fn trusted(header: Header, message: Order, frame: Vec<u8>) -> Verified<Order> {
    Verified {
        header,
        message,
        frame,
    }
}

fn main() {}
