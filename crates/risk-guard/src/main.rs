//! risk-guard
fn main() {}
