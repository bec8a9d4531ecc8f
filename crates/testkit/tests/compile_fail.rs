//! What must not compile, and why it does not: a core takes nothing unverified, nobody publishes what
//! is not theirs, and secrets do not get around.
//!
//! Each offence stands in `compile_fail/` with what the compiler says about it. In
//! `compile_fail/corrected/` it stands with the offence corrected, which is compiled with this file: so
//! it is the offence, and nothing around it, that the compiler refuses.
//!
//! After a change of the code that a reason quotes,
//! `TRYBUILD=overwrite cargo nextest run -p portcullis-testkit --test compile_fail` writes what the
//! compiler says now. Read the difference before it is committed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[path = "compile_fail/corrected"]
#[expect(dead_code, reason = "that they compile is all that is asked of them")]
mod corrected {
    mod a_core_takes_no_order_again;
    mod a_core_takes_no_order_that_is_not_verified;
    mod a_link_key_is_not_written_out;
    mod a_service_pulls_no_kill_switch;
    mod a_service_records_no_fact_of_another;
    mod a_signing_key_is_not_copied;
    mod a_strategy_is_no_service;
    mod a_strategy_seals_nothing_as_the_brain;
    mod a_subject_carries_one_kind_of_message;
    mod an_epoch_root_is_not_copied;
    mod an_epoch_root_is_not_printed;
    mod execution_takes_no_raw_permit;
    mod nobody_changes_a_verified_message;
    mod nobody_makes_a_subject;
    mod nobody_makes_a_verified_message;
    mod nobody_reads_a_verified_message_from_bytes;
    mod the_brain_publishes_no_permit;
    mod the_brain_takes_no_proposal_that_is_not_verified;
}

/// A correction replaces at most so many lines of the offence.
const LINES_CORRECTED_MAX: usize = 8;

#[test]
fn what_must_not_compile_does_not_for_the_reason_beside_it() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// The files of a folder with that extension, by their names without it.
fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    files
}

#[test]
fn every_offence_has_its_reason_and_a_correction_that_compiles() {
    let offences = files("tests/compile_fail", "rs");
    let reasons = files("tests/compile_fail", "stderr");
    let corrections = files("tests/compile_fail/corrected", "rs");
    assert!(offences.len() >= 10, "{} offences", offences.len());
    assert!(offences.keys().eq(reasons.keys()));
    assert!(offences.keys().eq(corrections.keys()));
    let this = include_str!("compile_fail.rs");
    for (name, offence) in &offences {
        assert!(
            this.contains(&format!("    mod {name};\n")),
            "{name} is not compiled"
        );
        let correction = &corrections[name];
        let differs = |line: &&str| !correction.lines().any(|other| other == *line);
        let corrected = offence.lines().filter(differs).count();
        assert!(
            (1..=LINES_CORRECTED_MAX).contains(&corrected),
            "{name}: {corrected} lines corrected"
        );
    }
}
