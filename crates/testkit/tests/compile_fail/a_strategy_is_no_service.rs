//! A strategy keeps no state and records no facts: it cannot start as a service.

use portcullis_runtime::{Service, ServiceArgs};
use portcullis_wire::principal::Strategy;

pub async fn start(args: &ServiceArgs) -> bool {
    <Service<Strategy>>::start(args).await.is_ok()
}

fn main() {}
