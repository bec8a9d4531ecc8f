//! Opens sealed files of venue secrets that somebody changed, and ones whose plaintext is made up by
//! somebody who has the key. Any change is noticed, and no error says anything of a secret.
//!
//! ```text
//!  input = kind ‖ …     kind 0: the bytes of the file
//!                       kind 1: (place ‖ value) … to change in a sound one
//!                       kind 2: the plaintext
//! ```
#![no_main]

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{Parts, chain_of, scratch, write_private};
use portcullis_venue::bybit::Authority;
use portcullis_wire::Realm;
use signer::custody::{Custody, KeySource};

const KEY: [u8; 32] = [0x4b; 32];
const SOUND: [&str; 4] = [
    "TRADE",
    "s3cr3t-of-a-test-account-000001",
    "READ",
    "s3cr3t-of-a-test-account-000002",
];

/// Seals a plaintext, from the description of the format.
fn sealed(plaintext: &[u8]) -> Vec<u8> {
    let mut file = b"PORTCULLIS-VENUE\x01\x01".to_vec();
    file.extend([0x5a; 16]);
    let nonce = [0x6e; 12];
    file.extend(nonce);
    let associated = [file.as_slice(), b"dev"].concat();
    let mut text = plaintext.to_vec();
    Aes256Gcm::new(&KEY.into())
        .encrypt_in_place(&nonce.into(), &associated, &mut text)
        .expect("a short plaintext");
    file.extend(text);
    file
}

fn plaintext(fields: &[&str]) -> Vec<u8> {
    let lengthed = |field: &&str| [&(field.len() as u16).to_be_bytes(), field.as_bytes()].concat();
    fields.iter().flat_map(lengthed).collect()
}

/// The fields of a plaintext; `None` unless there are exactly four.
fn fields(mut plaintext: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = [[].as_slice(); 4];
    for field in &mut fields {
        let (length, rest) = plaintext.split_first_chunk::<2>()?;
        (*field, plaintext) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    }
    plaintext.is_empty().then_some(fields)
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = Parts(bytes);
    let sound = sealed(&plaintext(&SOUND));
    let (file, mut secrets) = match parts.byte() % 3 {
        0 => (parts.0.to_vec(), vec![]),
        1 => {
            let mut file = sound.clone();
            while !parts.0.is_empty() {
                let place = parts.place(file.len());
                file[place] ^= parts.byte();
            }
            (file, vec![])
        }
        _ => (
            sealed(parts.0),
            fields(parts.0).map_or(vec![], |fields| vec![fields[1], fields[3]]),
        ),
    };
    secrets.extend([SOUND[1].as_bytes(), SOUND[3].as_bytes()]);
    let made_up = bytes.first().is_some_and(|kind| kind % 3 == 2);

    let folder = scratch();
    let key = folder.path().join("venue.key");
    let digits: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&key, digits.as_bytes());
    let path = folder.path().join("venue.sealed");
    write_private(&path, &file);
    let realm = Realm::new("dev").expect("a realm");
    match Custody::open(&path, &KeySource::KeyFile(key), realm) {
        Ok(custody) => {
            assert!(file == sound || made_up, "a changed file was opened");
            let name = custody.name(Authority::Trading);
            assert_ne!(name, custody.name(Authority::Reading));
            if made_up {
                let [expected, secret, _, reading] = fields(parts.0).expect("four fields");
                assert_eq!(name.as_str().as_bytes(), expected);
                assert_ne!(secret, reading);
            }
            let signature = custody
                .sign(Authority::Trading, "text")
                .expect("a signature");
            assert_eq!(signature.as_str().len(), 64);
        }
        Err(error) => {
            assert_ne!(file, sound);
            let said = format!("{} {error:?}", chain_of(&error));
            for secret in secrets {
                let text = std::str::from_utf8(secret).unwrap_or_default();
                assert!(text.len() < 16 || !said.contains(text));
            }
        }
    }
});
