//! The secret that all link keys come from is in one place, which is cleared when it goes.
#![allow(
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_wire::EpochRoot;

pub fn second(root: &EpochRoot, bytes: [u8; 32]) -> EpochRoot {
    EpochRoot(bytes)
}

fn main() {}
