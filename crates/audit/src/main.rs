//! audit
fn main() {}
