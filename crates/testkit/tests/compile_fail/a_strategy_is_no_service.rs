//! A strategy keeps no state and records no facts: it cannot start as a service.
#![allow(unused_imports, reason = "the same for the offence and its correction")]

use portcullis_runtime::{Service, ServiceArgs};
use portcullis_wire::principal::{Brain, Strategy};

pub async fn start(args: &ServiceArgs) -> bool {
    <Service<Strategy>>::start(args).await.is_ok()
}

fn main() {}
