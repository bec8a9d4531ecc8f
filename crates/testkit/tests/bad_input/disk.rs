//! A disk that is full: first audit's, then execution's, each a small file system of its own.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use audit::verify;
use tempfile::TempDir;

use crate::load::Load;
use crate::support::{Setup, Stack, binaries, settings, wait_for};
use crate::{executed, placed, recorded};

/// Room for two steps of execution's journal, or for some segments of audit's log.
const DISK: &str = "size=12m,mode=0700";
/// The services that get a disk of their own.
const SERVICES: [&str; 2] = ["audit", "execution"];

/// Moves what the services have onto small disks and becomes the command that follows. The disks are
/// seen by this process and its children only, and are gone with the last of them.
const ON_SMALL_DISKS: &str = r#"
set -e
state=$1; options=$2; shift 2
for service in audit execution; do
    cp -a "$state/$service" "$state/$service.before"
    mount -t tmpfs -o "$options" none "$state/$service"
    cp -a "$state/$service.before/." "$state/$service/"
done
exec "$@"
"#;

/// How this machine lets a process mount something for itself; as root, or as nobody in particular.
fn unshare() -> Vec<OsString> {
    let ways = [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]];
    let works = |way: &&Vec<&str>| {
        let try_it = ["sh", "-c", "mount -t tmpfs none /tmp"];
        let tried = Command::new("unshare").args(*way).args(try_it).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let way = ways.iter().find(works);
    let way = way.expect("this test needs a file system of its own: run it as root, or allow user namespaces");
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
    line.extend([made.join("state").into(), DISK.into()]);
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
    let proposals_max = "proposals_per_second_max = ";
    let orders_max = "orders_per_second_max = ";
    let (from, to) = (format!("{proposals_max}50"), format!("{proposals_max}500"));
    let (slow, fast) = (format!("{orders_max}100"), format!("{orders_max}500"));
    let config = settings(
        folder.path(),
        &[
            ("brain.toml", &from, &to),
            ("risk-guard.toml", &slow, &fast),
            ("signer.toml", &slow, &fast),
            ("audit.toml", "segment_mib = 16", "segment_mib = 1"),
        ],
    );
    let rates = [
        "--exchange-argument=--order-rate-per-second=1000",
        "--exchange-argument=--query-rate-per-second=1000",
        "--exchange-argument=--address-rate-per-5s=100000",
        "--exchange-argument=--open-orders-max=5000",
    ];
    let setup = Setup {
        through: on_small_disks(folder.path(), &config),
        config,
        arguments: rates.map(str::to_owned).to_vec(),
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
        ("execution", "write journal ", "free or replace the disk that holds "),
    ];
    for (service, problem, next_step) in failures {
        stops_and_goes_on(&stack, &load, service, problem, next_step);
    }
}
