//! Subjects come from the one table: nobody names another publisher for a line of it.

use portcullis_wire::messages::Permit;
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::{PERMIT, Subject};

pub fn own() -> Subject<RiskGuard, Permit> {
    PERMIT
}

fn main() {}
