//! Feeds bytes to the reader of one entry of the audit log, with the hash and the MAC that they need
//! to get that far. What is read must be written again as the same record.
#![no_main]

use audit_core::{Broken, Chain, ChainKey, Draft, Entry, Follower, Kind, Own, RECORD_HEAD_LENGTH};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use portcullis_wire::{FRAME_LENGTH_MAX, codec};
use sha2::{Digest, Sha256};

const KEY: [u8; 32] = [1; 32];

fn key() -> ChainKey {
    ChainKey::from_bytes(&KEY).expect("a key")
}

/// What a record holds, from the description of the format.
fn payload(entry: &[u8]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(b"portcullis/audit-entry/v1\0");
    hasher.update((entry.len() as u64).to_be_bytes());
    hasher.update(entry);
    let hash = hasher.finalize();
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("a key");
    mac.update(b"portcullis/mac/v1\0");
    mac.update(&hash);
    [entry, &hash, &mac.finalize().into_bytes()].concat()
}

fuzz_target!(|bytes: &[u8]| {
    // As it comes: without the key it can never hold.
    assert!(Follower::new(Some(key())).follow(bytes).is_err());

    // As the first entry of a log.
    let mut first = bytes.to_vec();
    for place in (2..10).chain(18..50) {
        if let Some(byte) = first.get_mut(place) {
            *byte = 0;
        }
    }
    let record = payload(&first);
    let mut follower = Follower::new(Some(key()));
    let (entry, hash) = match follower.follow(&record) {
        Ok(followed) => followed,
        Err(broken) => {
            assert_eq!(broken, Broken::Format);
            assert_eq!(Entry::read(&first), None);
            return;
        }
    };
    assert_eq!(Entry::read(&first), Some(entry));
    let draft = Draft {
        received_at: entry.received_at,
        kind: entry.kind,
        subject: entry.subject,
        source: &entry.source,
        boot: entry.boot,
        seq: entry.seq,
        id: entry.id,
        content: entry.content,
    };
    let mut again = Vec::new();
    let mut chain = Chain::new(key());
    if chain.append(&draft, &mut again).is_ok() {
        assert_eq!(again.get(RECORD_HEAD_LENGTH..), Some(record.as_slice()));
        assert_eq!(chain.head(), hash);
    } else {
        assert!(entry.content.len() > FRAME_LENGTH_MAX);
    }
    if entry.kind == Kind::Own
        && let Ok(own) = codec::decode::<Own>(entry.content, FRAME_LENGTH_MAX)
    {
        assert_eq!(codec::encode(&own).ok().as_deref(), Some(entry.content));
    }
});
