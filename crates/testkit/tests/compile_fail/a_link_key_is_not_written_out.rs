//! A link key goes into no message and no file by itself: whoever writes it out must say so.

use portcullis_wire::LinkKey;

pub fn written(key: &LinkKey) -> bool {
    serde_json::to_vec(key).is_ok()
}

fn main() {}
