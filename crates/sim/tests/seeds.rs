//! The seeds: what must never happen does not, and what is to be tested does occur.

use portcullis_sim::{Options, Seeds, run};

/// How many seeds are always run; `cargo xtask sim --seeds N` runs any number.
const SEEDS: u64 = 500;

#[test]
fn all_goes_well_when_nothing_goes_wrong() {
    for seed in 0..10 {
        let options = Options {
            faults: false,
            ..Options::seed(seed)
        };
        match run(options) {
            Ok(report) => {
                let count = |what| report.coverage.get(what).copied().unwrap_or(0);
                assert!(
                    count("order placed") > 20,
                    "seed {seed}: {:?}",
                    report.coverage
                );
                assert!(
                    count("fill booked") > 20,
                    "seed {seed}: {:?}",
                    report.coverage
                );
                assert_eq!(count("report: in doubt"), 0, "seed {seed}");
                assert_eq!(count("audit recorded a gap"), 0, "seed {seed}");
            }
            Err(violation) => panic!("{violation}"),
        }
    }
}

/// What must have occurred in the fixed seeds, so that the simulation never tests nothing.
const OCCURS: &[&str] = &[
    "proposal passed",
    "permit given",
    "receipt given",
    "order signed",
    "order placed",
    "fill booked",
    "order queried",
    "cancel all",
    "report: cancelled",
    "report: filled",
    "report: in doubt",
    "report: rejected",
    "order that never arrived was given up",
    "orders in doubt after a restart",
    "facts said again after a restart",
    "fact stored once though sent again",
    "stream brings a fact again",
    "duplicate recognised",
    "account changed while it was read",
    "event that no stream told",
    "request timed out",
    "funding booked",
    "unexplained movement booked",
    "transfer booked",
    "movement told again",
    "replay compared",
    "journal begun anew",
    "journal begun anew with facts that the stream lacks",
    "journal begun anew with orders under way",
    "restart from a journal begun anew",
    "restart from the journal before it was begun anew",
    "torn entry after a journal begun anew",
    "sign of life",
    "audit recorded a silence",
    "traded again after the faults",
    "kill acknowledged by execution",
    "kill acknowledged by risk-guard",
    "kill acknowledged by signer",
    "hard loss limit pulled the switch",
    "breaker on record",
    "held back by risk-guard after the faults",
    "a day began with a position",
    "fault: message lost",
    "fault: message repeated",
    "fault: message late",
    "fault: partition",
    "fault: nothing sent while cut off",
    "fault: nothing received while cut off",
    "fault: brain dies",
    "fault: risk-guard dies",
    "fault: execution dies",
    "fault: signer dies",
    "fault: audit dies",
    "fault: market-data dies",
    "fault: stopped in order",
    "fault: crash after sending, before the fact",
    "fault: crash between append and sync",
    "fault: crash before the answer",
    "fault: crash before placing",
    "fault: crash after placing",
    "fault: crash before the journal is begun anew",
    "fault: crash while the journal is begun anew",
    "fault: crash after the journal was begun anew",
    "fault: crash before the latch is on disk",
    "fault: unsynced entries lost",
    "fault: request lost",
    "fault: request late",
    "fault: request arrives twice",
    "fault: venue not reached",
    "fault: answer lost",
    "fault: answer late",
    "fault: server error after the fact",
    "fault: stream lost",
    "fault: stream's answer lost",
    "fault: acknowledgement lost",
    "fault: kill command",
    "fault: slow signer",
    "fault: slow audit",
    "fault: audit's disk stalls",
    "fault: execution's disk stalls",
    "fault: signer's disk stalls",
    "fault: clock set",
    "fault: clock jumps",
    "fault: clock jumps by a day",
    "fault: all clocks jump",
    "fault: all clocks jump by a day",
    "stopped as its clock had jumped",
    "the venue's clock is too far from execution's",
    "fault: crash before the append",
    "fault: crash after the append",
    "fault: crash after the sync, before what it allows",
    "fault: torn write",
    "fault: another policy",
    "fault: traded by hand",
    "fault: foreign order",
    "fault: order ended by the venue",
    "fault: fill after the end",
    "fault: order altered",
    "execution told of an altered order",
    "fault: funding paid",
    "fault: funding received",
    "fault: deposit",
    "fault: withdrawal",
    "fault: money moved while execution is down",
    "the venue's account differs",
    "POLICY_MISMATCH",
    "NO_RECEIPT",
    "NO_SIGNATURE",
    "JOURNAL_UNWRITABLE",
    "GUARD_SILENT",
    "ORDER_IN_DOUBT",
    "STALE_MARKET_DATA",
];

#[test]
fn what_must_never_happen_does_not_and_every_fault_occurs() {
    let seeds = Seeds {
        from: 0,
        count: SEEDS,
        keep_going: true,
    };
    let tally = seeds.run(|_, _| ());
    let violations = tally.violations.iter();
    let all: Vec<String> = violations
        .map(|violation| format!("seed {}: {}", violation.seed, violation.what))
        .collect();
    let first = tally.violations.first().map(ToString::to_string);
    assert!(
        all.is_empty(),
        "{}\n{}",
        all.join("\n"),
        first.unwrap_or_default()
    );
    assert_eq!(tally.run, SEEDS);
    let coverage = tally.coverage;
    let missing: Vec<_> = OCCURS
        .iter()
        .filter(|what| !coverage.contains_key(**what))
        .collect();
    assert_eq!(missing, [] as [&&str; 0], "never occurred");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 77, 115] {
        let [first, second] = [(); 2].map(|()| run(Options::seed(seed)).unwrap());
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
        assert!(first.events > 400, "seed {seed}: {} events", first.events);
    }
    let hashes = [1, 2, 3].map(|seed| run(Options::seed(seed)).unwrap().trace_hash);
    assert_ne!(hashes[0], hashes[1]);
    assert_ne!(hashes[1], hashes[2]);
}
