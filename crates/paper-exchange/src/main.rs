//! paper-exchange
fn main() {}
