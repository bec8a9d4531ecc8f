//! Many seeds on all processors, in their order, and what came of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::settings::Options;
use crate::trace::{Coverage, Violation};

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Whether to go on after a violation. If not, the seeds before it are still run to their end,
    /// so that the lowest seed that fails is the same on every machine.
    pub keep_going: bool,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many were run.
    pub run: u64,
    /// How many things happened in all of them.
    pub events: u64,
    /// What must never happen and did, the lowest seed first.
    pub violations: Vec<Violation>,
    /// How often what occurred, in the seeds without a violation.
    pub coverage: Coverage,
}

impl Seeds {
    /// Runs them; `progress` hears after each one how many are done and how many failed.
    pub fn run(self, progress: impl Fn(u64, usize) + Sync) -> Tally {
        let next = AtomicU64::new(self.from);
        let (end, stop) = (self.from.saturating_add(self.count), AtomicBool::new(false));
        let tally = Mutex::new(Tally::default());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                let result = crate::run(Options::seed(seed));
                if result.is_err() && !self.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.add(result);
                progress(tally.run, tally.violations.len());
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
        let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.violations.sort_by_key(|violation| violation.seed);
        tally
    }
}

impl Tally {
    fn add(&mut self, result: Result<crate::Report, Box<Violation>>) {
        self.run += 1;
        match result {
            Ok(report) => {
                self.events += report.events;
                for (what, times) in report.coverage {
                    *self.coverage.entry(what).or_default() += times;
                }
            }
            Err(violation) => self.violations.push(*violation),
        }
    }
}
