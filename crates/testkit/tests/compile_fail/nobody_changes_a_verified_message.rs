//! What was verified stays what was sealed.

use portcullis_domain::{Order, Quantity};
use portcullis_wire::Verified;

pub fn enlarged(order: &mut Verified<Order>, quantity: Quantity) -> bool {
    order.message.quantity = quantity;
    true
}

fn main() {}
