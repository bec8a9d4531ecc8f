//! market-data
fn main() {}
