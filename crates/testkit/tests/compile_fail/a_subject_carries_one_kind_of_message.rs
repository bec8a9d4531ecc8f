//! On the subject of orders travel orders.

use portcullis_runtime::Client;
use portcullis_wire::messages::Permit;
use portcullis_wire::principal::Brain;
use portcullis_wire::subjects::ORDER;

pub fn send(client: &Client<Brain>, permit: &Permit) -> bool {
    client.publish(&ORDER, None, permit, None, None).is_ok()
}

fn main() {}
