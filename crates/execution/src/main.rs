//! execution
fn main() {}
