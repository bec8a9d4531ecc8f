//! A private key is in one place; who needs a second one must have its seed.

use portcullis_wire::Signer;

pub fn second(signer: &Signer) -> Signer {
    Signer::clone(signer)
}

fn main() {}
