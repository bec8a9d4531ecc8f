//! brain
fn main() {}
