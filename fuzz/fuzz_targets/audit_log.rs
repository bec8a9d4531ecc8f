//! Opens audit logs that were torn, changed or made up by somebody without audit's keys. Whatever is
//! accepted is the log as it was up to some entry, and never less than a checkpoint states; a log that
//! is refused is left alone as evidence.
//!
//! ```text
//!  input = kind ‖ …     kind even: the bytes of the segment
//!                       kind odd:  (operation ‖ file ‖ place ‖ value) …
//! ```
#![no_main]

use std::cell::RefCell;
use std::fs;

use audit::log::{LogError, Opened};
use audit::verify::verify;
use libfuzzer_sys::fuzz_target;
use portcullis_domain::Hash;
use portcullis_fuzz::log::{
    CHECKPOINTS, Made, SEGMENT, SEGMENT_BYTES, STATED, make, open, options,
};
use portcullis_fuzz::{Parts, scratch, write_private};
use portcullis_testkit::seals::{NOW, World};

thread_local! {
    static MADE: RefCell<(World, Made)> = {
        let mut world = World::new(NOW);
        let made = make(&mut world);
        RefCell::new((world, made))
    };
}

/// The most changes of one input.
const CHANGES_MAX: usize = 16;

fn changed(made: &Made, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = Parts(bytes);
    let (mut segment, mut checkpoints) = (made.segment.clone(), made.checkpoints.clone());
    if parts.byte() % 2 == 0 {
        let mut raw = parts.0.to_vec();
        raw.resize(raw.len().max(SEGMENT_BYTES as usize), 0);
        return (raw, checkpoints);
    }
    for _ in 0..CHANGES_MAX {
        if parts.0.is_empty() {
            break;
        }
        let operation = parts.byte() % 5;
        let file = match parts.byte() % 4 {
            0 => &mut checkpoints,
            _ => &mut segment,
        };
        let place = parts.place(file.len());
        match operation {
            // A byte is another one.
            0 => {
                let value = parts.byte().max(1);
                if let Some(byte) = file.get_mut(place) {
                    *byte ^= value;
                }
            }
            // Nothing was written from here on.
            1 => file.iter_mut().skip(place).for_each(|byte| *byte = 0),
            // A sector was not written.
            2 => {
                let sector = file.iter_mut().skip(place / 512 * 512).take(512);
                sector.for_each(|byte| *byte = 0);
            }
            // The file ends here.
            3 => file.truncate(place),
            // A part of it is there twice.
            _ => {
                let length = usize::from(parts.byte());
                let copy: Vec<u8> = file.iter().skip(place).take(length).copied().collect();
                let to = parts.place(file.len());
                for (byte, value) in file.iter_mut().skip(to).zip(copy) {
                    *byte = value;
                }
            }
        }
    }
    (segment, checkpoints)
}

fuzz_target!(|bytes: &[u8]| MADE.with_borrow(|(world, made)| {
    let (segment, checkpoints) = changed(made, bytes);
    let folder = scratch();
    write_private(&folder.path().join(SEGMENT), &segment);
    write_private(&folder.path().join(CHECKPOINTS), &checkpoints);
    let strict = verify(folder.path(), &options(world));
    match open(folder.path(), world) {
        Ok(Opened { log, chain, .. }) => {
            let size = usize::try_from(log.size()).expect("a size");
            assert_eq!(chain.size(), log.size());
            let last = size.checked_sub(1).map(|last| made.hashes[last]);
            assert_eq!(chain.head(), last.unwrap_or(Hash([0; 32])));
            drop(log);
            let report = verify(folder.path(), &options(world)).expect("what was opened verifies");
            assert_eq!(report.entries, chain.size());
            assert!(report.macs_checked && report.signatures_checked);
            let stated = STATED.get((report.checkpoints as usize).wrapping_sub(1));
            assert!(size >= stated.copied().unwrap_or_default());
        }
        Err(LogError::Damaged { .. }) => {
            // Who may not even cut off an unfinished write does not accept it either.
            assert!(strict.is_err());
            let file = |name: &str| fs::read(folder.path().join(name)).expect("the file");
            assert_eq!(file(SEGMENT), segment);
            assert_eq!(file(CHECKPOINTS), checkpoints);
        }
        Err(error) => panic!("{error}"),
    }
}));
