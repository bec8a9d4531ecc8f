//! Starts services on state folders that somebody changed: the latch, the boot number, and keys in
//! hexadecimal digits. Only a whole latch that says so is armed, no boot number comes twice, and what
//! cannot be read is left as it is.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use portcullis_domain::{KillCause, KillState};
use portcullis_fuzz::{Parts, scratch, write_private};
use portcullis_runtime::secret::read_hex_key;
use portcullis_runtime::state::StateError;
use portcullis_runtime::{Latch, StateDir};

fn with_checksum(rest: &[u8]) -> Vec<u8> {
    let line = format!("# crc32c {:08x}\n", crc32c::crc32c(rest));
    [line.as_bytes(), rest].concat()
}

/// Whether a file is whole and says ARMED, read without the code that is tested.
fn says_armed(file: &[u8]) -> bool {
    let rest = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = file.get(rest.len() + 1..).unwrap_or_default();
    let whole = with_checksum(rest) == file;
    let text = std::str::from_utf8(rest).unwrap_or_default();
    // Only the numbers of TOML's own type end at 2^63; the time in a latch may be larger.
    let smaller = text.lines().filter(|line| !line.trim_start().starts_with("at_us"));
    let table: toml::Table = smaller.collect::<Vec<_>>().join("\n").parse().unwrap_or_default();
    whole && table.get("state").and_then(toml::Value::as_str) == Some("ARMED")
}

fn latch(state: &StateDir, file: &[u8]) {
    let path = state.join("latch.toml");
    write_private(&path, file);
    let latch = Latch::open(state);
    assert_eq!(fs::read(&path).expect("the latch"), file);
    if latch.state() == KillState::Armed {
        assert!(says_armed(file));
        assert_eq!(latch.cause(), None);
    } else {
        assert!(latch.cause().is_some());
    }
    latch
        .trigger(KillCause::Operator, "stop")
        .expect("a latch that is pulled");
    assert_ne!(latch.state(), KillState::Armed);
    assert_ne!(Latch::open(state).state(), KillState::Armed);
}

fn boot(state: &StateDir, file: &[u8]) {
    let path = state.join("boot");
    write_private(&path, file);
    match state.boot_number() {
        Ok(number) => {
            let text = std::str::from_utf8(file).expect("a number");
            let last: u64 = text.trim_end().parse().expect("a number");
            assert!(number > last);
            let kept = fs::read_to_string(&path).expect("the boot number");
            assert_eq!(kept, format!("{number}\n"));
            match state.boot_number() {
                Ok(next) => assert!(next > number),
                // The clock may not have passed the first one yet.
                Err(error) => assert!(matches!(error, StateError::BootAhead { .. }), "{error}"),
            }
        }
        Err(StateError::BootDamaged(_) | StateError::BootAhead { .. }) => {
            assert_eq!(fs::read(&path).expect("the boot number"), file);
        }
        Err(error) => panic!("{error}"),
    }
}

fn hex_key(state: &StateDir, file: &[u8]) {
    let path = state.join("key");
    write_private(&path, file);
    let text = String::from_utf8_lossy(file);
    match read_hex_key(&path) {
        Ok(key) => {
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text.trim_ascii_end().to_ascii_lowercase(), digits);
        }
        Err(error) => {
            let said = format!("{error} {error:?}");
            let secret = text.trim();
            assert!(secret.len() < 16 || !said.contains(secret));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = Parts(bytes);
    let kind = parts.byte() % 4;
    let folder = scratch();
    let state = StateDir::open(&folder.path().join("state")).expect("a state folder");
    match kind {
        0 => latch(&state, parts.0),
        1 => latch(&state, &with_checksum(parts.0)),
        2 => boot(&state, parts.0),
        _ => hex_key(&state, parts.0),
    }
});
