//! A private key is in one place; who needs a second one must have its seed.
#![allow(
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_wire::Signer;

pub fn second(signer: &Signer, seed: &[u8; 32]) -> Signer {
    Signer::clone(signer)
}

fn main() {}
