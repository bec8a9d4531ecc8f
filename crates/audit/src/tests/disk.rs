//! Disks that do not do what they are told.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

/// Tells the child process which folder it works in.
const FOLDER: &str = "PORTCULLIS_TEST_FULL_DISK";
const LARGE: u64 = 512 << 10;

/// Appends until the disk refuses, and says how many entries were on disk before.
fn append_until_refused(folder: &Path) {
    let Opened {
        mut log, mut chain, ..
    } = Log::open(folder, LARGE, &key(), None).unwrap();
    let mut other = Rig::new();
    let frames = other.frames(2_000);
    for chunk in frames.chunks(7) {
        let drafts: Vec<_> = chunk
            .iter()
            .map(|(header, frame)| draft(header, frame))
            .collect();
        if let Err(error) = log.append_group(&mut chain, &drafts) {
            println!("durable={} error={error}", log.size());
            let again = log.append(&mut []).unwrap_err();
            assert!(matches!(again, LogError::Failed), "{again}");
            return;
        }
    }
    panic!("the disk took everything");
}

#[test]
fn a_full_disk_is_a_fault_and_what_was_on_disk_still_verifies() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return append_until_refused(Path::new(&folder));
    }
    // The first segment is there before files may not grow beyond 64 or 128 KiB, as the shell has
    // it; within it the writes begin to fail.
    let rig = Rig::with_segments(LARGE);
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    let name = "tests::disk::a_full_disk_is_a_fault_and_what_was_on_disk_still_verifies";
    let child = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, rig.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "signal {:?}: {said}",
        child.status.signal()
    );
    let line = said.lines().find(|line| line.contains("durable=")).unwrap();
    let (_, line) = line.split_once("durable=").unwrap();
    let (durable, error) = line.split_once(" error=").unwrap();
    let durable: u64 = durable.parse().unwrap();
    assert!(durable >= 20, "{said}");
    assert!(error.starts_with("append to segment"), "{error}");
    // The write that failed may have left a part of itself behind.
    let opened = rig.reopen().unwrap();
    assert!(
        opened.log.size() >= durable,
        "{} of {durable}",
        opened.log.size()
    );
    assert!(
        opened.log.size() < durable + 7,
        "{} of {durable}",
        opened.log.size()
    );
    assert_eq!(rig.verify().unwrap().entries, opened.log.size());
}

#[test]
fn an_error_of_the_disk_is_never_tried_again() {
    let mut rig = Rig::new();
    let mut records = rig.records(30);
    // The next segment cannot be named, whichever entry it would begin with.
    for first in 1..30 {
        fs::write(rig.segment(first), "").unwrap();
    }
    let error = rig.log.append(&mut records).unwrap_err();
    assert!(error.to_string().starts_with("name segment"), "{error}");
    assert!(
        error.next_step().contains("check the disk"),
        "{}",
        error.next_step()
    );
    for first in 1..30 {
        fs::remove_file(rig.segment(first)).unwrap();
    }
    let again = rig.log.append(&mut records).unwrap_err();
    assert!(matches!(again, LogError::Failed), "{again}");
    let checkpoint = rig.log.append_checkpoint(b"x").unwrap_err();
    assert!(matches!(checkpoint, LogError::Failed), "{checkpoint}");
}

#[test]
fn records_that_are_none_are_refused() {
    let mut rig = Rig::new();
    let mut records = rig.records(1);
    records.pop();
    let error = rig.log.append(&mut records).unwrap_err();
    assert!(matches!(error, LogError::Record(SEGMENT)), "{error}");
}
