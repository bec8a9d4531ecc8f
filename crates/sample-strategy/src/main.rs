//! sample-strategy
fn main() {}
