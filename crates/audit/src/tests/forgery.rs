//! Logs that somebody changed.

use super::*;
use audit_core::Broken;

/// Four entries of which the last two lie beyond the checkpoint.
fn small() -> Rig {
    let mut rig = Rig::new();
    rig.append(2);
    rig.checkpoint();
    rig.append(1);
    rig.append(1);
    rig
}

#[test]
fn every_changed_byte_is_found_in_its_entry() {
    let rig = small();
    let path = rig.segment(0);
    let whole = fs::read(&path).unwrap();
    let offsets = offsets(&whole);
    let end = *offsets.last().unwrap();
    for at in 0..end + 600 {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        let expected = offsets.iter().rposition(|offset| *offset <= at).unwrap();
        let (entry, problem) = place(rig.verify());
        assert_eq!(
            entry,
            u64::try_from(expected).unwrap(),
            "byte {at}: {problem}"
        );
    }
    fs::write(&path, &whole).unwrap();
    rig.verify().unwrap();
}

#[test]
fn every_changed_byte_is_found_even_when_the_checksums_are_made_to_fit() {
    let rig = small();
    let path = rig.segment(0);
    let whole = fs::read(&path).unwrap();
    let offsets = offsets(&whole);
    for (number, pair) in offsets.windows(2).enumerate() {
        for at in pair[0] + 8..pair[1] {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fix_checksums(&mut changed);
            fs::write(&path, &changed).unwrap();
            let (entry, problem) = place(rig.verify());
            assert_eq!(entry, u64::try_from(number).unwrap(), "byte {at}");
            let expected = if at + 32 >= pair[1] { "MAC" } else { "entry" };
            assert!(
                problem.to_string().contains(expected),
                "byte {at}: {problem}"
            );
        }
    }
}

#[test]
fn the_error_names_the_file_and_the_byte() {
    let rig = small();
    let path = rig.segment(0);
    let mut changed = fs::read(&path).unwrap();
    let offset = offsets(&changed)[2];
    changed[offset + 100] ^= 1;
    fs::write(&path, changed).unwrap();
    let said = rig.verify().unwrap_err().to_string();
    let name = path.display();
    assert!(
        said.contains(&format!("entry 2, byte {offset} of {name}")),
        "{said}"
    );
}

#[test]
fn records_exchanged_doubled_left_out_or_put_in_are_found() {
    let rig = small();
    let path = rig.segment(0);
    let whole = fs::read(&path).unwrap();
    let bounds = offsets(&whole);
    let record = |number: usize| whole[bounds[number]..bounds[number + 1]].to_vec();
    let index = |expected, found| Problem::Broken(Broken::Index { expected, found });
    let cases = [
        (
            "exchanged",
            vec![record(0), record(2), record(1), record(3)],
            (1, index(1, 2)),
        ),
        (
            "doubled",
            vec![record(0), record(0), record(1)],
            (1, index(1, 0)),
        ),
        (
            "left out",
            vec![record(0), record(1), record(3)],
            (2, index(2, 3)),
        ),
        ("from the end", vec![record(1), record(2)], (0, index(0, 1))),
    ];
    for (what, records, expected) in cases {
        let mut forged = records.concat();
        forged.resize(whole.len(), 0);
        fs::write(&path, forged).unwrap();
        // The chain alone is enough, without any key.
        assert_eq!(
            place(verify(rig.path(), &Options::default())),
            expected,
            "{what}"
        );
    }
    // Spliced in from another log with the same key: it has the right number and a MAC that fits,
    // but follows another entry.
    let mut forged = [record(0), other_record(1), record(2)].concat();
    forged.resize(whole.len(), 0);
    fs::write(&path, forged).unwrap();
    let found = place(verify(rig.path(), &Options::default()));
    assert_eq!(found, (1, Problem::Broken(Broken::Previous)));
}

/// The record `number` of a log whose first entry is another one.
fn other_record(number: usize) -> Vec<u8> {
    let mut rig = Rig::new();
    rig.frames(1);
    rig.append(3);
    let whole = fs::read(rig.segment(0)).unwrap();
    let bounds = offsets(&whole);
    whole[bounds[number]..bounds[number + 1]].to_vec()
}

#[test]
fn a_log_that_lost_its_end_is_shorter_than_its_checkpoint() {
    let mut rig = small();
    rig.checkpoint();
    let path = rig.segment(0);
    let mut whole = fs::read(&path).unwrap();
    let bounds = offsets(&whole);
    whole[bounds[3]..].fill(0);
    fs::write(&path, whole).unwrap();
    assert_eq!(place(rig.verify()), (3, Problem::Shorter { size: 4 }));
    assert_eq!(
        place(rig.reopen()),
        (3, Problem::Shorter { size: 4 }),
        "and audit does not start"
    );
}

#[test]
fn a_missing_segment_is_found_wherever_it_was() {
    for lost in 0..3 {
        let mut rig = Rig::new();
        for _ in 0..6 {
            rig.append(10);
        }
        rig.checkpoint();
        let mut firsts: Vec<u64> = fs::read_dir(rig.path())
            .unwrap()
            .filter_map(|file| {
                let name = file.unwrap().file_name().into_string().unwrap();
                name.strip_prefix("segment-")?
                    .strip_suffix(".log")?
                    .parse()
                    .ok()
            })
            .collect();
        firsts.sort_unstable();
        fs::remove_file(rig.segment(firsts[lost])).unwrap();
        let expected = match firsts.get(lost + 1) {
            Some(found) => (firsts[lost], Problem::Missing { found: *found }),
            None => (firsts[lost], Problem::Shorter { size: 60 }),
        };
        assert_eq!(place(rig.verify()), expected, "segment {lost}");
        assert_eq!(
            place(rig.reopen()),
            expected,
            "segment {lost}, at the start"
        );
    }
}

#[test]
fn every_changed_byte_of_a_checkpoint_is_found() {
    let rig = small();
    let path = rig.path().join("checkpoints.log");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        place(rig.verify());
    }
}

#[test]
fn a_checkpoint_that_somebody_else_signed_is_found_by_verify_and_at_the_start() {
    let mut rig = small();
    let (size, head) = (rig.chain.size(), rig.chain.head());
    let forged = rig.world.signed(
        "brain",
        &Checkpoint {
            size,
            head,
            at: NOW,
        },
    );
    rig.log
        .append_checkpoint(&codec::encode(&forged).unwrap())
        .unwrap();
    for found in [place(rig.verify()), place(rig.reopen())] {
        assert_eq!(found.1, Problem::CheckpointSignature);
    }
    verify(rig.path(), &Options::default()).unwrap();
}

#[test]
fn checkpoints_that_state_another_history_are_found() {
    for (size, head, expected) in [
        (4, Hash([9; 32]), (3, Problem::CheckpointHead { size: 4 })),
        (2, Hash([9; 32]), (2, Problem::CheckpointOrder { size: 2 })),
        (5, Hash([9; 32]), (4, Problem::Shorter { size: 5 })),
    ] {
        let mut rig = small();
        let signed = rig.world.signed(
            "audit",
            &Checkpoint {
                size,
                head,
                at: NOW,
            },
        );
        rig.log
            .append_checkpoint(&codec::encode(&signed).unwrap())
            .unwrap();
        assert_eq!(place(rig.verify()), expected);
        assert_eq!(place(rig.reopen()), expected, "at the start");
    }
}

#[test]
fn a_lost_file_of_checkpoints_is_found() {
    let rig = small();
    fs::remove_file(rig.path().join("checkpoints.log")).unwrap();
    assert_eq!(place(rig.verify()), (0, Problem::CheckpointsMissing));
    assert_eq!(place(rig.reopen()), (0, Problem::CheckpointsMissing));
}

#[test]
fn a_history_rewritten_without_the_chain_key_fails_with_it_and_against_its_checkpoints() {
    let rig = small();
    let folder = tempfile::tempdir().unwrap();
    let forger = ChainKey::from_bytes(&[2; 32]).unwrap();
    let Opened {
        mut log, mut chain, ..
    } = Log::open(folder.path(), SEGMENT, &forger, None).unwrap();
    let mut forged = Rig::new();
    let frames = forged.frames(4);
    let drafts: Vec<_> = frames
        .iter()
        .map(|(header, frame)| Draft {
            received_at: Timestamp(1),
            ..draft(header, frame)
        })
        .collect();
    log.append_group(&mut chain, &drafts).unwrap();
    fs::copy(
        folder.path().join("segment-00000000000000000000.log"),
        rig.segment(0),
    )
    .unwrap();
    assert_eq!(place(rig.verify()), (0, Problem::Broken(Broken::Mac)));
    let without_key = verify(rig.path(), &Options::default());
    assert_eq!(place(without_key), (1, Problem::CheckpointHead { size: 2 }));
}
