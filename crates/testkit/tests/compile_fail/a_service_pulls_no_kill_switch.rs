//! The kill switch is an operator's to pull, not a service's.

use portcullis_runtime::Service;
use portcullis_wire::Signed;
use portcullis_wire::messages::Kill;
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::KILL;

pub fn kill(service: &Service<RiskGuard>, kill: &Signed<Kill>) -> bool {
    service.publish(&KILL, None, kill, None, None).is_ok()
}

fn main() {}
