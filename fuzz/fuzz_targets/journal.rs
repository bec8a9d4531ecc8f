//! Opens journals that were torn, changed or made up. What is recovered is what was written, up to
//! some record; a journal that is refused is left alone; one that is opened goes on.
//!
//! ```text
//!  input = kind ‖ …     kind even: the bytes of the file
//!                       kind odd:  count ‖ (length ‖ record) … ‖ place ‖ what happens there ‖ tail
//! ```
//!
//! Every journal is scanned. One of 32 is also opened, which takes a hundred times as long.
#![no_main]

use std::fs;
use std::path::Path;

use execution_core::Record;
use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{Parts, scratch, with_checksum, write_private};
use portcullis_runtime::journal::{Journal, JournalError, RECORD_LENGTH_MAX, scanned};
use portcullis_wire::codec;

/// Room behind the records: with less, a journal first writes 4 MiB of zeroes.
const ROOM: u64 = (1 << 20) + 1_024;
/// One journal of so many is opened.
const OPENED_ONE_OF: u32 = 32;

/// What is known beforehand about the records that come back.
enum Expected {
    Anything,
    /// These, and perhaps more of the tail.
    Begin(Vec<Vec<u8>>),
    /// Some of these, from the first on, and nothing else.
    Some(Vec<Vec<u8>>),
}

fn image(bytes: &[u8]) -> (Vec<u8>, Expected) {
    let mut parts = Parts(bytes);
    if parts.byte() % 2 == 0 {
        return (parts.0.to_vec(), Expected::Anything);
    }
    let count = parts.byte() % 8;
    let mut records = Vec::new();
    for _ in 0..count {
        let length = usize::from(parts.byte());
        let record = parts.take(length);
        if !record.is_empty() {
            records.push(record.to_vec());
        }
    }
    let mut file: Vec<u8> = records.iter().flat_map(|one| with_checksum(one)).collect();
    let place = parts.place(file.len());
    match parts.byte() % 3 {
        0 => {
            file.extend(parts.0);
            (file, Expected::Begin(records))
        }
        1 => {
            file.truncate(place);
            (file, Expected::Some(records))
        }
        _ => {
            if let Some(byte) = file.get_mut(place) {
                *byte ^= parts.byte().max(1);
            }
            (file, Expected::Some(records))
        }
    }
}

/// What must hold of the records of a journal, whoever found them; what they are in the file.
fn recovered(image: &[u8], expected: &Expected, records: &[Vec<u8>]) -> Vec<u8> {
    match expected {
        Expected::Anything => {}
        Expected::Begin(written) => assert!(records.starts_with(written)),
        Expected::Some(written) => assert!(written.starts_with(records)),
    }
    let kept: Vec<u8> = records.iter().flat_map(|one| with_checksum(one)).collect();
    assert!(image.starts_with(&kept));
    for record in records {
        assert!((1..=RECORD_LENGTH_MAX).contains(&record.len()));
        if let Ok(decoded) = codec::decode::<Record>(record, RECORD_LENGTH_MAX) {
            assert_eq!(codec::encode(&decoded).ok().as_ref(), Some(record));
        }
    }
    kept
}

fn scan(path: &Path, image: &[u8], expected: &Expected) {
    let mut file = fs::File::open(path).expect("the file");
    let Some((records, end, torn)) = scanned(&mut file).expect("the file") else {
        return;
    };
    let kept = recovered(image, expected, &records);
    let (end, torn) = (end as usize, torn as usize);
    assert_eq!(end, kept.len());
    // The tail is exactly what is not zero behind the records.
    assert!(image[end + torn..].iter().all(|byte| *byte == 0));
    assert!(torn == 0 || image[end + torn - 1] != 0);
}

fn open(path: &Path, length: usize, expected: &Expected) {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(length as u64 + ROOM))
        .expect("room");
    let before = fs::read(path).expect("the file");
    let (journal, records) = match Journal::open(path) {
        Ok(opened) => opened,
        Err(JournalError::Damaged { offset, .. }) => {
            assert!(offset < length as u64);
            assert_eq!(fs::read(path).expect("the file"), before);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    // Nothing of what was recovered changed on disk, and nothing else is left there.
    // Zeroes that a record ends with may have come with the room.
    let kept = recovered(&before, expected, &records);
    let after = fs::read(path).expect("the file");
    assert!(after.starts_with(&kept));
    let rest = after.iter().take(length).skip(kept.len());
    assert!(rest.into_iter().all(|byte| *byte == 0));
    journal
        .append(vec![b"one more".to_vec()])
        .wait()
        .expect("a record");
    drop(journal);
    let (_, again) = Journal::open(path).expect("a journal that opened before");
    assert_eq!(again.split_last(), Some((&b"one more".to_vec(), &*records)));
}

fuzz_target!(|bytes: &[u8]| {
    let (image, expected) = image(bytes);
    let folder = scratch();
    let path = folder.path().join("journal");
    write_private(&path, &image);
    scan(&path, &image, &expected);
    if crc32c::crc32c(bytes).is_multiple_of(OPENED_ONE_OF) {
        open(&path, image.len(), &expected);
    }
});
