//! What a crash leaves, and what only looks like it.

use super::*;

/// Two entries on disk and a group of `group` more; the segment before and after that group.
fn crashed(group: usize) -> (Rig, Vec<u8>, Vec<u8>) {
    let mut rig = Rig::new();
    rig.append(2);
    let before = fs::read(rig.segment(0)).unwrap();
    rig.append(group);
    let after = fs::read(rig.segment(0)).unwrap();
    (rig, before, after)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_back_to_the_last_whole_record() {
    let (rig, _, after) = crashed(1);
    let bounds = offsets(&after);
    let (begin, end) = (bounds[2], bounds[3]);
    for at in begin..end {
        let mut torn = after.clone();
        torn[at..end].fill(0);
        fs::write(rig.segment(0), &torn).unwrap();
        let nonzero = torn.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let unfinished = nonzero.saturating_sub(begin) as u64;
        if unfinished > 0 {
            assert_eq!(
                place(rig.verify()),
                (2, Problem::Unfinished(unfinished)),
                "byte {at}"
            );
        }
        let opened = rig.reopen().unwrap();
        let expected = (2, rig.hashes[1], unfinished);
        assert_eq!(
            (opened.log.size(), opened.chain.head(), opened.cut),
            expected,
            "byte {at}"
        );
        assert_eq!(rig.verify().unwrap().entries, 2, "byte {at}");
    }
}

#[test]
fn after_a_cut_the_log_goes_on() {
    let (rig, _, after) = crashed(1);
    let bounds = offsets(&after);
    let mut torn = after;
    torn[bounds[3] - 40..].fill(0);
    fs::write(rig.segment(0), &torn).unwrap();
    let Opened {
        mut log, mut chain, ..
    } = rig.reopen().unwrap();
    // The source sends the fact again, since nobody acknowledged it.
    let mut other = Rig::new();
    let frames = other.frames(3);
    log.append_group(&mut chain, &[draft(&frames[2].0, &frames[2].1)])
        .unwrap();
    assert_eq!(rig.verify().unwrap().entries, 3);
}

#[test]
fn any_sectors_of_the_last_group_may_be_missing_but_nothing_before_it() {
    let (rig, before, after) = crashed(6);
    let begin = offsets(&after)[2];
    let end = *offsets(&after).last().unwrap();
    let sectors: Vec<_> = (begin / 512..=end / 512).collect();
    assert!(sectors.len() >= 6, "{sectors:?}");
    for missing in 1_u32..1 << sectors.len().min(8) {
        let mut image = after.clone();
        for (bit, sector) in sectors.iter().enumerate() {
            if missing & 1 << bit.min(31) != 0 {
                let range = sector * 512..(sector + 1) * 512;
                image[range.clone()].copy_from_slice(&before[range]);
            }
        }
        fs::write(rig.segment(0), &image).unwrap();
        let opened = rig.reopen();
        // A hole that touches a record only by a few bytes is not told from damage: then audit
        // refuses to start, and loses nothing either.
        match opened {
            Ok(opened) => {
                let size = opened.log.size();
                assert!((2..8).contains(&size), "{missing:b}");
                let head = rig.hashes[usize::try_from(size).unwrap() - 1];
                assert_eq!(opened.chain.head(), head, "{missing:b}");
                assert_eq!(rig.verify().unwrap().entries, size, "{missing:b}");
            }
            Err(LogError::Damaged { entry, .. }) => assert!(entry >= 2, "{missing:b}"),
            Err(other) => panic!("{missing:b}: {other}"),
        }
    }
}

#[test]
fn a_changed_byte_is_not_taken_for_a_torn_tail() {
    let (rig, _, after) = crashed(2);
    let bounds = offsets(&after);
    for at in 0..*bounds.last().unwrap() {
        let number = bounds.iter().rposition(|bound| *bound <= at).unwrap();
        let is_last_length = number + 2 == bounds.len() && at < bounds[number] + 4;
        if is_last_length {
            // A length that goes beyond the end is what a torn write looks like, too.
            continue;
        }
        let mut changed = after.clone();
        changed[at] ^= 0x10;
        fs::write(rig.segment(0), &changed).unwrap();
        let (entry, problem) = place(rig.reopen());
        assert_eq!(
            entry,
            u64::try_from(number).unwrap(),
            "byte {at}: {problem}"
        );
        assert_eq!(
            fs::read(rig.segment(0)).unwrap(),
            changed,
            "byte {at}: nothing is repaired"
        );
    }
}

#[test]
fn bytes_behind_the_last_record_are_damage() {
    let (rig, _, after) = crashed(1);
    let end = *offsets(&after).last().unwrap();
    for at in [end, end + 4, end + 7, end + 8, after.len() - 1] {
        let mut changed = after.clone();
        changed[at] = 1;
        fs::write(rig.segment(0), &changed).unwrap();
        assert_eq!(place(rig.verify()).0, 3, "byte {at}");
        // Far behind, the sector with the beginning of an unfinished write may be missing; in the
        // same sector it cannot.
        if at < after.len() - 1 {
            assert_eq!(place(rig.reopen()).0, 3, "byte {at}");
        }
    }
}

#[test]
fn a_tail_before_another_segment_is_damage() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.append(10);
    }
    let whole = fs::read(rig.segment(0)).unwrap();
    let end = *offsets(&whole[..]).last().unwrap_or(&0);
    let mut changed = whole;
    changed[end + 5] = 1;
    fs::write(rig.segment(0), changed).unwrap();
    let (_, problem) = place(rig.reopen());
    assert_eq!(problem, Problem::Trailing);
}

#[test]
fn another_key_does_not_open_the_log() {
    let rig = crashed(1).0;
    let other = ChainKey::from_bytes(&[2; 32]).unwrap();
    let found = place(Log::open(rig.path(), SEGMENT, &other, None));
    assert_eq!(found, (0, Problem::Broken(audit_core::Broken::Mac)));
}

#[test]
fn a_torn_checkpoint_is_cut_off_at_the_start() {
    let (mut rig, _, _) = crashed(1);
    rig.checkpoint();
    let path = rig.path().join("checkpoints.log");
    let first = fs::read(&path).unwrap();
    rig.append(1);
    rig.checkpoint();
    let both = fs::read(&path).unwrap();
    for length in first.len()..both.len() {
        fs::write(&path, &both[..length]).unwrap();
        if length > first.len() {
            let found = place(rig.verify());
            assert_eq!(found.1, Problem::CheckpointUnfinished, "{length} bytes");
        }
        rig.reopen().unwrap();
        assert_eq!(fs::read(&path).unwrap(), first, "{length} bytes");
        assert_eq!(rig.verify().unwrap().checkpoints, 1);
    }
}

#[test]
fn a_spare_segment_that_was_left_behind_is_made_anew() {
    let rig = crashed(1).0;
    let spare = rig.path().join("spare.segment");
    fs::write(&spare, [7; 100]).unwrap();
    let Opened {
        mut log, mut chain, ..
    } = rig.reopen().unwrap();
    let mut other = Rig::new();
    let frames = other.frames(40);
    for (header, frame) in &frames[3..] {
        log.append_group(&mut chain, &[draft(header, frame)])
            .unwrap();
    }
    assert_eq!(rig.verify().unwrap().entries, 40);
}

#[test]
fn the_files_are_nobody_elses() {
    use std::os::unix::fs::MetadataExt;
    let mut rig = Rig::new();
    rig.append(30);
    for file in fs::read_dir(rig.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}
