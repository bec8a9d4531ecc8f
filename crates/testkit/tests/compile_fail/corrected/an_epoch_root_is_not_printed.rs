//! The secret that all link keys come from has no text form.
#![allow(
    unused_variables,
    reason = "the same for the offence and its correction"
)]

use portcullis_wire::{EpochRoot, Realm};

pub fn logged(root: &EpochRoot, realm: Realm) -> String {
    format!("{realm:?}")
}

fn main() {}
