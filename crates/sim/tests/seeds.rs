//! The seeds: what must never happen does not, and what is to be tested does occur.

use std::collections::BTreeMap;
use std::sync::Mutex;

use portcullis_sim::{Broken, Coverage, Options, Report, run};

/// How many seeds each test runs.
const SEEDS: u64 = 50;

fn run_seeds(from: u64, count: u64) -> Coverage {
    let next = Mutex::new(from);
    let total = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = {
                        let mut next = next.lock().unwrap();
                        let seed = *next;
                        *next += 1;
                        seed
                    };
                    if seed >= from + count {
                        return;
                    }
                    match run(Options::seed(seed)) {
                        Ok(Report { coverage, .. }) => {
                            let mut total = total.lock().unwrap();
                            for (what, times) in coverage {
                                *total.entry(what).or_default() += times;
                            }
                        }
                        Err(violation) => panic!("{violation}"),
                    }
                }
            });
        }
    });
    total.into_inner().unwrap()
}

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
                assert!(count("order placed") > 20, "seed {seed}: {:?}", report.coverage);
                assert!(count("fill booked") > 20, "seed {seed}: {:?}", report.coverage);
                assert_eq!(count("report: in doubt"), 0, "seed {seed}");
                assert_eq!(count("audit recorded a gap"), 0, "seed {seed}");
            }
            Err(violation) => panic!("{violation}"),
        }
    }
}

#[test]
fn seeds() {
    let coverage = run_seeds(0, SEEDS);
    for (what, times) in &coverage {
        println!("{times:>9} {what}");
    }
}

#[test]
fn replay() {
    let Ok(seed) = std::env::var("PORTCULLIS_SIM_SEED") else {
        return;
    };
    let options = Options {
        keep_story: true,
        faults: std::env::var("NOFAULTS").is_err(),
        broken: Broken::Nothing,
        ..Options::seed(seed.parse().unwrap())
    };
    match run(options) {
        Ok(report) => {
            for line in &report.story {
                println!("{line}");
            }
            for (what, times) in &report.coverage {
                println!("{times:>9} {what}");
            }
        }
        Err(violation) => panic!("{violation}"),
    }
}
