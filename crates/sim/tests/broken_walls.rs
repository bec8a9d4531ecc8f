//! The oracle bites: with one wall taken down in the simulation, it says which one is missing.

use portcullis_sim::{Broken, Options, run};

/// The first violation of these seeds that speaks of the missing wall, or else the first one.
fn noticed(broken: Broken, expected: &[&str]) -> Result<(), Option<String>> {
    let mut other = None;
    for seed in 0..40 {
        let options = Options {
            broken,
            ..Options::seed(seed)
        };
        let Err(violation) = run(options) else {
            continue;
        };
        if expected.iter().any(|part| violation.what.contains(part)) {
            return Ok(());
        }
        other.get_or_insert(violation.what);
    }
    Err(other)
}

#[test]
fn every_missing_wall_is_noticed_as_what_it_is() {
    let cases: [(Broken, &[&str]); 10] = [
        (Broken::ResendsOnTimeout, &["leaves a second time"]),
        (Broken::VenueTakesTwice, &["the venue took order"]),
        (
            Broken::AuditLosesSynced,
            &[
                "an entry that is not on disk",
                "an entry that is gone",
                "another entry",
            ],
        ),
        (Broken::ReceiptForged, &["leaves without audit's receipt"]),
        (
            Broken::LatchForgets,
            &["leaves after execution acknowledged the kill"],
        ),
        (
            Broken::JournalLosesSynced,
            &[
                "leaves a second time",
                "no rest",
                "positions differ",
                "in the log twice",
            ],
        ),
        (Broken::OrderTampered, &["whose signature does not fit"]),
        (
            Broken::FillCountedTwice,
            &["positions differ", "no rest", "contradicts an honest venue"],
        ),
        (
            Broken::DurableTooEarly,
            &["leaves before its acceptance is on disk"],
        ),
        (Broken::PermitOvertakes, &["audit misses facts"]),
    ];
    let mut unnoticed = Vec::new();
    for (broken, expected) in cases {
        if let Err(other) = noticed(broken, expected) {
            unnoticed.push(format!(
                "{broken:?} was noticed as {other:?}, not as {expected:?}"
            ));
        }
    }
    assert_eq!(unnoticed, Vec::<String>::new());
}
