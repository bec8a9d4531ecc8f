//! signer
fn main() {}
