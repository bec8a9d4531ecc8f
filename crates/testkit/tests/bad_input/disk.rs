//! A disk that is full: first audit's, then execution's, each a small file system of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use audit::verify;
use portcullis_domain::Hash;
use tempfile::TempDir;

use crate::accounts::{EXCHANGE_RATES, assert_agree_with, settings_for_load};
use crate::load::Load;
use crate::support::{Setup, Stack, binaries, settings_with_slow_breakers, wait_for};
use crate::{executed, placed};

/// Room for some segments of audit's log, and for two steps of execution's journal.
const DISKS: &str = "audit=48m execution=12m";
/// Moves what the services have onto small disks and becomes the command that follows. The disks are
/// seen by this process and its children only, and are gone with the last of them.
const ON_SMALL_DISKS: &str = r#"
set -e
state=$1; disks=$2; shift 2
for disk in $disks; do
    service=${disk%%=*}
    cp -a "$state/$service" "$state/$service.before"
    mount -t tmpfs -o "size=${disk#*=},mode=0700" none "$state/$service"
    cp -a "$state/$service.before/." "$state/$service/"
done
exec "$@"
"#;

/// How this machine lets a process mount something for itself; as root, or as nobody in particular.
fn unshare() -> Vec<OsString> {
    let ways = [
        vec!["--mount"],
        vec!["--user", "--map-root-user", "--mount"],
    ];
    let works = |way: &&Vec<&str>| {
        let try_it = ["sh", "-c", "mount -t tmpfs none /tmp"];
        let tried = Command::new("unshare").args(*way).args(try_it).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let way = ways.iter().find(works);
    let way = way.expect(
        "this test needs a file system of its own: run it as root, or allow user namespaces",
    );
    let mut line = vec![OsString::from("unshare")];
    line.extend(way.iter().map(OsString::from));
    line
}

fn on_small_disks(folder: &Path, config: &Path) -> Vec<OsString> {
    let made = folder.join("stack");
    let init = Command::new(binaries().join("portcullis"))
        .args(["dev", "init", "--config"])
        .arg(config)
        .arg("--dir")
        .arg(&made)
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    let mut line = unshare();
    line.extend(["sh", "-c", ON_SMALL_DISKS, "sh"].map(OsString::from));
    line.extend([made.join("state").into(), DISKS.into()]);
    line
}

/// The state of a service, as its processes see it.
fn disk(stack: &Stack, service: &str) -> PathBuf {
    let state = stack.folder().join("state").join(service);
    let outside = PathBuf::from(format!("/proc/{}/root", stack.supervisor()));
    outside.join(state.strip_prefix("/").unwrap())
}

/// Takes all the room that is left, until the file is removed.
fn fill(stack: &Stack, service: &str) -> PathBuf {
    let path = disk(stack, service).join("filler");
    let mut file = File::create(&path).unwrap();
    let mut block = vec![1; 1 << 16];
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    path
}

/// Waits until the load went on for so many proposals.
fn proposals(load: &Load, count: u64) {
    let target = load.sent() + count;
    wait_for("the load goes on", Duration::from_secs(30), || {
        (load.sent() >= target).then_some(())
    });
}

#[test]
fn a_full_disk_stops_trading_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let segments = ("audit.toml", "segment_mib = 16", "segment_mib = 1");
    let config = settings_for_load(folder.path(), settings_with_slow_breakers, &[segments]);
    let setup = Setup {
        through: on_small_disks(folder.path(), &config),
        config,
        arguments: EXCHANGE_RATES.map(str::to_owned).to_vec(),
        ..Setup::default()
    };
    let mut stack = Stack::start_in(folder, setup);
    let identity = stack.folder().join("identity/strategy-sample");
    let load = Load::start(&identity, &stack.bus(), u64::MAX, 150);
    proposals(&load, 100);
    wait_for("something is traded", Duration::from_secs(20), || {
        (executed(&stack) > 20).then_some(())
    });

    let failures = [
        ("audit", "keep the log: ", "check the disk that holds "),
        (
            "execution",
            "write journal ",
            "free or replace the disk that holds ",
        ),
    ];
    for (service, problem, next_step) in failures {
        stops_and_goes_on(&stack, &load, service, problem, next_step);
    }

    load.stop();
    let (exit, killed) = stack.portcullis(&["kill", "--reason", "end of the test"]);
    assert_eq!(exit, 0, "{killed}");
    assert_agree_with(&stack, &disk(&stack, "audit").join("log"), "full disks");
    stack.stop();
}

/// The hash of every entry of audit's log.
fn entries(stack: &Stack) -> Vec<Hash> {
    let entries = verify::entries(&disk(stack, "audit").join("log")).unwrap();
    entries.map(|entry| entry.unwrap().hash).collect()
}

/// Fills the disk of a service under load, looks at how it stops, and makes room again.
fn stops_and_goes_on(stack: &Stack, load: &Load, service: &str, problem: &str, next_step: &str) {
    let recorded = entries(stack);
    let said_before = stack.log_of(service).len();
    let supervised_before = stack.log().len();
    let filler = fill(stack, service);
    wait_for(
        "it says that its disk is full",
        Duration::from_secs(120),
        || {
            let log = stack.log_of(service);
            let words: Vec<&str> = log.get(said_before..)?.lines().collect();
            let error = words.iter().position(|line| {
                let full = line.ends_with("No space left on device (os error 28)");
                line.starts_with("error: ") && line.contains(problem) && full
            })?;
            let step = words.get(error + 1)?.strip_prefix("next step: ")?;
            assert!(step.starts_with(next_step), "{step}");
            Some(())
        },
    );
    let ended = format!("{service} ended (exit code 1)");
    wait_for(&ended, Duration::from_secs(10), || {
        let supervised = stack.log().split_off(supervised_before);
        supervised.contains(&ended).then_some(())
    });
    // What was permitted before may still be on its way; then nothing reaches the exchange.
    wait_for("nothing is sent any more", Duration::from_secs(30), || {
        let sent = placed(stack);
        proposals(load, 200);
        (placed(stack) == sent).then_some(())
    });
    let sent = placed(stack);
    proposals(load, 100);
    assert_eq!(
        placed(stack),
        sent,
        "an order was sent that {service} could not record"
    );

    std::fs::remove_file(filler).unwrap();
    stack.wait_until_trading(Duration::from_secs(60));
    wait_for("it trades again", Duration::from_secs(30), || {
        (placed(stack) > sent + 20).then_some(())
    });
    assert!(
        entries(stack).starts_with(&recorded),
        "a recorded entry is lost"
    );
}
