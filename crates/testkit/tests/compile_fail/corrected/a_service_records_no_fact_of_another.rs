//! That an order filled is execution's fact; the brain cannot put it on record.

use portcullis_domain::Fill;
use portcullis_runtime::Service;
use portcullis_wire::principal::Execution;
use portcullis_wire::subjects::FILL;

pub fn filled(service: &Service<Execution>, fill: &Fill) -> bool {
    service
        .fact(&FILL, Some("sample"), fill, None, None)
        .is_ok()
}

fn main() {}
