//! A private key is in one place; who needs a second one must have its seed.

use portcullis_wire::Signer;

pub fn second(seed: &[u8; 32]) -> Signer {
    Signer::from_seed(seed)
}

fn main() {}
