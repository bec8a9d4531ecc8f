//! That an order filled is execution's fact; the brain cannot put it on record.
#![allow(unused_imports, reason = "the same for the offence and its correction")]

use portcullis_domain::Fill;
use portcullis_runtime::Service;
use portcullis_wire::principal::{Brain, Execution};
use portcullis_wire::subjects::FILL;

pub fn filled(service: &Service<Brain>, fill: &Fill) -> bool {
    service
        .fact(&FILL, Some("sample"), fill, None, None)
        .is_ok()
}

fn main() {}
