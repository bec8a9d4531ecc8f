//! Permits are risk-guard's to publish; the brain's client has no way to.

use portcullis_runtime::Client;
use portcullis_wire::messages::Permit;
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::PERMIT;

pub fn permit(client: &Client<RiskGuard>, permit: &Permit) -> bool {
    client.publish(&PERMIT, None, permit, None, None).is_ok()
}

fn main() {}
