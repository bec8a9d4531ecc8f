//! What happened: for people after a violation, as a hash for determinism, and as counts so that no
//! fault can silently stop occurring.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::planted::Bug;

/// How many of the last events a violation shows.
const SHOWN: usize = 60;

/// How often what occurred.
pub type Coverage = BTreeMap<&'static str, u64>;

/// What must never happen did.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed that does it again.
    pub seed: u64,
    /// The bug that was planted.
    pub bug: Option<Bug>,
    /// What happened.
    pub what: String,
    /// The last events before it.
    pub story: Vec<String>,
    /// The same seed gives the same number.
    pub trace_hash: u64,
}

impl Violation {
    /// The command that does it again.
    #[must_use]
    pub fn command(&self) -> String {
        let bug = self
            .bug
            .map_or_else(String::new, |bug| format!(" --bug {}", bug.name()));
        format!("cargo xtask sim --seed {}{bug}", self.seed)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        writeln!(f, "the last events:")?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "again, with the whole story: {}", self.command())
    }
}

/// Takes down what happens.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    keep_all: bool,
    hash: u64,
    count: u64,
    coverage: Coverage,
}

impl Trace {
    pub fn new(keep_all: bool) -> Self {
        Self {
            keep_all,
            hash: 0xcbf2_9ce4_8422_2325,
            ..Self::default()
        }
    }

    pub fn say(&mut self, line: String) {
        // FNV-1a, 64 bits: enough to tell two runs apart.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        self.lines.push_back(line);
        if !self.keep_all && self.lines.len() > SHOWN {
            self.lines.pop_front();
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub const fn events(&self) -> u64 {
        self.count
    }

    pub fn into_parts(self) -> (Vec<String>, Coverage) {
        (self.lines.into(), self.coverage)
    }
}
