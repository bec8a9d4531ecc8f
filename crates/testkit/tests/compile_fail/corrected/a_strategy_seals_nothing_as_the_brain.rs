//! A strategy proposes; orders are the brain's to seal.

use portcullis_domain::Order;
use portcullis_runtime::Client;
use portcullis_wire::principal::Brain;
use portcullis_wire::subjects::ORDER;

pub fn order(client: &Client<Brain>, order: &Order) -> bool {
    client.seal(&ORDER, None, order, None, None).is_ok()
}

fn main() {}
