//! The secret that all link keys come from has no text form.

use portcullis_wire::Realm;

pub fn logged(root: &Realm) -> String {
    format!("{root:?}")
}

fn main() {}
