//! Feeds texts to the readers of settings. A policy that is accepted has nothing wrong with it and one
//! hash, however it is spelled; what is refused is refused with a line or with its problems.
#![no_main]

use audit::config::Config;
use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{scratch, write_private};
use portcullis_runtime::{ConfigError, config, policy};
use portcullis_wire::codec;
use portcullis_wire::messages::RiskPolicy;

fn refused(error: &ConfigError, lines: usize) {
    match error {
        ConfigError::Syntax { line, problem, .. } => {
            assert!((1..=lines).contains(line) && !problem.is_empty());
        }
        ConfigError::Values { problems, .. } => assert!(!problems.is_empty()),
        ConfigError::TooLong { .. } => {}
        ConfigError::Read { .. } => panic!("{error}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let folder = scratch();
    let path = folder.path().join("settings.toml");
    write_private(&path, bytes);
    match policy::load(&path) {
        Ok((policy, hash)) => {
            assert_eq!(policy.problems(), Vec::<String>::new());
            let encoded = codec::encode(&policy).expect("a policy");
            let decoded: RiskPolicy = codec::decode(&encoded, encoded.len()).expect("a policy");
            assert_eq!(policy::hash(&decoded).ok(), Some(hash));
            let again = toml::to_string(&policy).expect("a policy");
            let again: RiskPolicy = config::parse(&path, &again).expect("a policy");
            assert_eq!(policy::hash(&again).ok(), Some(hash));
        }
        Err(error) => refused(&error, lines),
    }
    match Config::load(&path) {
        Ok(config) => {
            assert!(config.segment_bytes >= 1 << 20 && config.core.held_facts_max > 0);
        }
        Err(error) => refused(&error, lines),
    }
});
