//! The oracle bites: each planted bug is found, as what it is, and again in the same words.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use portcullis_sim::{Bug, Options, find, run};

/// Within so many seeds each must be found; `cargo xtask sim --planted` says how many it takes.
const SEEDS: u64 = 2_000;

/// What is wrong with how this bug is found, if anything is.
fn missed(bug: Bug) -> Option<String> {
    let found = match find(bug, 0, SEEDS) {
        Ok(found) => found,
        Err(other) => return Some(format!("{bug:?} was noticed as {other:?}")),
    };
    let options = Options {
        bug: Some(bug),
        ..Options::seed(found.seed)
    };
    let Err(again) = run(options) else {
        return Some(format!(
            "{bug:?} was found in seed {} once only",
            found.seed
        ));
    };
    let same = (found.what, found.trace_hash) == (again.what.clone(), again.trace_hash);
    let replayed = again.command().ends_with(bug.name());
    (!same || !replayed).then(|| format!("{bug:?} came out another time as {again}"))
}

#[test]
fn every_planted_bug_is_found_as_what_it_is_and_found_again_in_the_same_words() {
    let next = AtomicUsize::new(0);
    let hunt = || {
        let mut all = Vec::new();
        while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            all.extend(missed(*bug));
        }
        all
    };
    let missed: Vec<String> = thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(hunt));
        workers
            .into_iter()
            .flat_map(|worker| {
                let failed = |_| vec!["a hunt ended before its time".to_owned()];
                worker.join().unwrap_or_else(failed)
            })
            .collect()
    });
    assert_eq!(missed, Vec::<String>::new());
}
