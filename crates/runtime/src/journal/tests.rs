use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;

use portcullis_domain::KillState;

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    (folder, path)
}

fn record(number: usize) -> Vec<u8> {
    format!("record {number} {}", "·".repeat(number % 7)).into_bytes()
}

fn written(path: &Path, count: usize) -> u64 {
    let (journal, _) = Journal::open(path).unwrap();
    for number in 0..count {
        journal.append(vec![record(number)]).wait().unwrap();
    }
    (0..count)
        .map(|number| record(number).len() as u64 + 8)
        .sum()
}

fn all(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(record).collect()
}

#[test]
fn what_was_appended_is_there_again_in_order() {
    let (_folder, path) = folder();
    written(&path, 5);
    let (journal, records) = Journal::open(&path).unwrap();
    assert_eq!(records, all(5));
    let pending: Vec<_> = (5..200)
        .map(|number| journal.append(vec![record(number)]))
        .collect();
    for durable in pending {
        durable.wait().unwrap();
    }
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1, all(200));
}

#[test]
fn a_lazy_record_is_written_with_the_next_group_or_at_the_end() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    journal.append_lazy(vec![record(0)]).unwrap();
    journal.append(vec![record(1)]).wait().unwrap();
    let on_disk = scan::scan(&mut File::open(&path).unwrap()).ok().unwrap();
    assert_eq!(on_disk.records, all(2));
    journal.append_lazy(vec![record(2)]).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1, all(3));
}

#[test]
fn the_file_grows_in_steps_and_records_survive_each() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    let large = |number: u8| vec![number; RECORD_LENGTH_MAX];
    let records: Vec<_> = (0..100).map(large).collect();
    journal.append(records.clone()).wait().unwrap();
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(length % (4 << 20), 0, "{length}");
    assert!(length > 100 * RECORD_LENGTH_MAX as u64);
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1, records);
}

#[test]
fn a_journal_that_is_begun_anew_holds_what_it_began_with_and_what_came_after() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    journal.append(all(300)).wait().unwrap();
    let large = vec![vec![3; RECORD_LENGTH_MAX]; 100];
    let before = journal.append(vec![record(300)]);
    let replaced = journal.replace(large.clone());
    let after: Vec<_> = (0..5)
        .map(|number| journal.append(vec![record(number)]))
        .collect();
    before.wait().unwrap();
    replaced.wait().unwrap();
    assert!(!writer::next_path(&path).exists());
    for durable in after {
        durable.wait().unwrap();
    }
    assert!(
        matches!(Journal::open(&path).unwrap_err(), JournalError::InUse(_)),
        "the new file has one writer too"
    );
    drop(journal);
    let mut expected = large;
    expected.extend(all(5));
    assert_eq!(Journal::open(&path).unwrap().1, expected);
}

#[test]
fn a_new_journal_that_was_not_finished_is_dropped_and_the_old_one_stays() {
    let (_folder, path) = folder();
    written(&path, 3);
    fs::write(writer::next_path(&path), b"half of it").unwrap();
    assert_eq!(Journal::open(&path).unwrap().1, all(3));
    assert!(!writer::next_path(&path).exists());
}

#[test]
fn a_new_journal_that_cannot_be_made_stops_the_journal_and_loses_nothing() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    journal.append(all(3)).wait().unwrap();
    // Its place is taken.
    fs::create_dir(writer::next_path(&path)).unwrap();
    let error = journal.replace(all(1)).wait().unwrap_err();
    assert!(matches!(error, JournalError::Write { .. }), "{error:?}");
    assert!(journal.append(all(1)).wait().is_err());
    drop(journal);
    fs::remove_dir(writer::next_path(&path)).unwrap();
    assert_eq!(Journal::open(&path).unwrap().1, all(3));
}

#[test]
fn a_torn_last_record_is_cut_off_wherever_it_was_torn() {
    let (_folder, path) = folder();
    let end = written(&path, 3);
    let whole = fs::read(&path).unwrap();
    let last = record(2).len() as u64 + 8;
    for kept in end - last..end {
        // The rest was never written: still zeroes.
        let mut torn = whole.clone();
        torn[kept as usize..end as usize].fill(0);
        fs::write(&path, &torn).unwrap();
        // A record that ends in what zeroes look like is whole all the same.
        if torn == whole {
            continue;
        }
        let (journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, all(2), "torn at byte {kept}");
        journal.append(vec![record(2)]).wait().unwrap();
        drop(journal);
        assert_eq!(
            Journal::open(&path).unwrap().1,
            all(3),
            "after a tear at byte {kept}"
        );
    }
    for kept in end - last..end {
        // The file ends there.
        fs::write(&path, &whole[..kept as usize]).unwrap();
        assert_eq!(
            Journal::open(&path).unwrap().1,
            all(2),
            "cut at byte {kept}"
        );
    }
}

#[test]
fn a_torn_record_is_not_mistaken_for_one_when_a_shorter_one_replaces_it() {
    let (_folder, path) = folder();
    let end = written(&path, 2);
    let mut torn = fs::read(&path).unwrap();
    // Of the last group only its second half reached the disk: a whole record, but not in place.
    let stray = record(9);
    let mut group = scan::prefix(stray.len() as u32, &stray).to_vec();
    group.extend(&stray);
    torn[end as usize + 30..end as usize + 30 + group.len()].copy_from_slice(&group);
    fs::write(&path, &torn).unwrap();
    let (journal, records) = Journal::open(&path).unwrap();
    assert_eq!(records, all(2));
    drop(journal);
    let after = fs::read(&path).unwrap();
    assert!(
        after[end as usize..].iter().all(|byte| *byte == 0),
        "the stray record is still there"
    );
}

#[test]
fn a_bad_record_that_others_follow_is_damage_and_nothing_is_changed() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    journal.append(vec![vec![7; 50_000]; 10]).wait().unwrap();
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(&path).unwrap_err();
    assert!(
        matches!(error, JournalError::Damaged { offset: 50_008, .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn records_that_do_not_fit_are_refused_and_leave_no_trace() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path).unwrap();
    for length in [0, RECORD_LENGTH_MAX + 1] {
        let error = journal
            .append(vec![record(0), vec![1; length]])
            .wait()
            .unwrap_err();
        assert!(
            matches!(error, JournalError::Length(at) if at == length),
            "{error:?}"
        );
    }
    journal.append(vec![record(0)]).wait().unwrap();
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1, all(1));
}

#[test]
fn a_journal_has_one_writer() {
    let (_folder, path) = folder();
    let (_journal, _) = Journal::open(&path).unwrap();
    assert!(matches!(
        Journal::open(&path).unwrap_err(),
        JournalError::InUse(_)
    ));
}

#[test]
fn a_file_that_is_no_journal_is_not_overwritten() {
    let (_folder, path) = folder();
    let mut file = File::create(&path).unwrap();
    file.seek(SeekFrom::Start(600_000)).unwrap();
    file.write_all(b"something else").unwrap();
    let error = Journal::open(&path).unwrap_err();
    assert!(
        matches!(error, JournalError::Damaged { offset: 0, .. }),
        "{error:?}"
    );
}

/// Set in a process whose files may not grow: the journal there is at this path.
const CHILD: &str = "PORTCULLIS_TEST_FULL_DISK";

#[test]
fn a_full_disk_stops_the_journal_and_keeps_what_was_recorded() {
    let (_folder, path) = folder();
    // The limit counts blocks of 512 bytes or of 1 KiB, and either way ends between two steps.
    let script = "trap '' XFSZ; ulimit -f 10240; exec \"$0\" --exact --nocapture \
                  journal::tests::child_that_fills_the_disk";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let acknowledged = said
        .lines()
        .find_map(|line| line.strip_prefix("acknowledged "));
    let acknowledged: usize = acknowledged.expect("a count").parse().unwrap();
    assert!(acknowledged > 10, "{acknowledged}");
    let (_, records) = Journal::open(&path).unwrap();
    assert!(
        records.len() >= acknowledged,
        "{} of {acknowledged}",
        records.len()
    );
    assert!(
        records
            .iter()
            .all(|record| record == &vec![5; RECORD_LENGTH_MAX])
    );
}

#[test]
fn child_that_fills_the_disk() {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let (journal, _) = Journal::open(&path).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match journal.append(vec![vec![5; RECORD_LENGTH_MAX]]).wait() {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    let JournalError::Write { cause, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(cause.kind(), io::ErrorKind::FileTooLarge, "{cause}");
    assert!(error.next_step().contains("what was recorded is intact"));
    let again = journal.append(vec![record(0)]).wait().unwrap_err();
    assert!(matches!(again, JournalError::Write { .. }), "{again:?}");
    let lazy = journal.append_lazy(vec![record(0)]).unwrap_err();
    assert!(matches!(lazy, JournalError::Write { .. }), "{lazy:?}");
    println!("\nacknowledged {acknowledged}");
}

#[test]
fn a_journal_that_is_gone_latches_the_kill_switch_before_the_new_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    Latch::arm_new(&path).unwrap();
    let state = StateDir::open(&path).unwrap();
    let latch = Latch::open(&state);
    let kept = Journal::keep(&state, "journal", &latch).unwrap();
    assert!(!kept.lost && latch.state() == KillState::Armed, "first");
    kept.journal.append(vec![record(0)]).wait().unwrap();
    state.boot_number().unwrap();
    drop((kept, latch, state));

    let state = StateDir::open(&path).unwrap();
    let latch = Latch::open(&state);
    let kept = Journal::keep(&state, "journal", &latch).unwrap();
    assert!(!kept.lost && latch.state() == KillState::Armed, "second");
    assert_eq!(kept.records, all(1));
    drop((kept, latch, state));

    fs::remove_file(path.join("journal")).unwrap();
    let state = StateDir::open(&path).unwrap();
    let latch = Latch::open(&state);
    let kept = Journal::keep(&state, "journal", &latch).unwrap();
    assert!(kept.lost && kept.records.is_empty());
    assert_eq!(latch.cause(), Some(KillCause::Inconsistent));
    // The new file is there now, and still nobody takes that for a journal that was never lost.
    let again = Latch::open(&state);
    assert_eq!(
        (again.state(), again.detail().as_str()),
        (KillState::Triggered, LOST)
    );
}

#[test]
fn a_disk_that_does_not_keep_the_latch_keeps_no_new_journal_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = StateDir::open(&path).unwrap();
    state.boot_number().unwrap();
    drop(state);
    let state = StateDir::open(&path).unwrap();
    let latch = Latch::open(&state);
    fs::remove_dir_all(&path).unwrap();
    let error = Journal::keep(&state, "journal", &latch).unwrap_err();
    assert!(matches!(error, JournalError::Lost { .. }), "{error:?}");
    assert!(error.next_step().contains("restore the journal"));
}
