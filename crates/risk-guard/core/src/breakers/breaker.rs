//! One circuit breaker.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use portcullis_domain::{BreakerKey, BreakerState, OrderId, Span, Timestamp};
use portcullis_wire::messages::BreakerStatus;
use serde::{Deserialize, Serialize};

use super::PROBE_TTL;
use super::table::Figures;

/// The parts of a window in which successes are counted. One that lies partly before the window no
/// longer counts: fewer successes trip earlier, never later.
const PARTS: u64 = 30;
/// How much longer a recovery lasts at most than the first one.
const BACKOFF_MAX: u32 = 4;

/// An outcome, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub passed: bool,
    /// When it happened; never after `now`.
    pub at: Timestamp,
    pub now: Timestamp,
    /// What the permit said; `None` where there was none.
    pub generation: Option<u64>,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    state: BreakerState,
    /// The generation of its last change.
    pub since_generation: u64,
    /// The failures within the window, oldest first: never more than trip it.
    failures: VecDeque<Timestamp>,
    /// How many successes began in which part of a window.
    successes: VecDeque<(u64, u32)>,
    consecutive: u32,
    recovers_at: Timestamp,
    /// How many times the first recovery the present one lasts.
    backoff: u32,
    probe: Option<(OrderId, Timestamp)>,
    probes_passed: u32,
}

/// What tells whether a breaker has to be written down again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub state: BreakerState,
    since_generation: u64,
    failures: (usize, Option<Timestamp>),
    consecutive: u32,
    recovers_at: Timestamp,
    probe: Option<(OrderId, Timestamp)>,
    probes_passed: u32,
}

/// What is written down of a breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The generation of all breakers when it was written down.
    pub generation: u64,
    state: BreakerState,
    since_generation: u64,
    failures: Vec<Timestamp>,
    successes: Vec<(u64, u32)>,
    consecutive: u32,
    recovers_at: Timestamp,
    backoff: u32,
    probe: bool,
    probes_passed: u32,
}

impl Default for Breaker {
    /// Closed, and nothing happened.
    fn default() -> Self {
        Self {
            state: BreakerState::Closed,
            since_generation: 0,
            failures: VecDeque::new(),
            successes: VecDeque::new(),
            consecutive: 0,
            recovers_at: Timestamp(0),
            backoff: 1,
            probe: None,
            probes_passed: 0,
        }
    }
}

impl Breaker {
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    pub const fn has_probe(&self) -> bool {
        self.probe.is_some()
    }

    pub fn is_worth_telling(&self) -> bool {
        self.state != BreakerState::Closed || !self.failures.is_empty()
    }

    /// What has to survive a crash when it changes. Successes alone need not: without them it only
    /// trips earlier.
    pub fn place(&self) -> Place {
        Place {
            state: self.state,
            since_generation: self.since_generation,
            failures: (self.failures.len(), self.failures.back().copied()),
            consecutive: self.consecutive,
            recovers_at: self.recovers_at,
            probe: self.probe,
            probes_passed: self.probes_passed,
        }
    }

    /// Takes an outcome; why the state changed, if it did.
    pub fn outcome(&mut self, figures: Figures, came: Came) -> Option<&'static str> {
        match self.state {
            BreakerState::Closed => self.closed(figures, came),
            // Only probes decide, or, where the market itself is tried, its samples.
            BreakerState::HalfOpen if figures.is_sampled => {
                self.tried(figures, came.passed, came.now)
            }
            BreakerState::HalfOpen | BreakerState::Open | BreakerState::ForcedOpen => None,
        }
    }

    fn closed(&mut self, figures: Figures, came: Came) -> Option<&'static str> {
        let Came {
            passed,
            at,
            now,
            generation,
        } = came;
        // What happened before the window began says nothing about the present.
        if now.since(at) >= figures.window {
            return None;
        }
        self.forget(figures, now);
        if passed {
            // A success of an order from before the last change is no sign of what holds now.
            if generation.is_some_and(|generation| generation < self.since_generation) {
                return None;
            }
            self.consecutive = 0;
            let part = at.0.checked_div(part_length(figures.window)).unwrap_or(0);
            match self.successes.back_mut() {
                Some((last, count)) if *last >= part => *count = count.saturating_add(1),
                Some(_) | None => self.successes.push_back((part, 1)),
            }
        } else {
            self.consecutive = self.consecutive.saturating_add(1);
            let place = self.failures.partition_point(|earlier| *earlier <= at);
            self.failures.insert(place, at);
        }
        // A success too: it may be the one that makes the sample large enough to tell a share.
        let why = self.trips(figures)?;
        self.open(figures, now, 1);
        Some(why)
    }

    /// Which of the three figures is reached.
    fn trips(&self, figures: Figures) -> Option<&'static str> {
        let failures = count(self.failures.len());
        if failures >= figures.failures {
            return Some("too many failures within its window");
        }
        if figures
            .consecutive
            .is_some_and(|most| self.consecutive >= most)
        {
            return Some("too many failures in a row");
        }
        let outcomes = self.outcomes();
        let share = figures.percent.is_some_and(|percent| {
            u64::from(failures).saturating_mul(100)
                >= u64::from(percent).saturating_mul(u64::from(outcomes))
        });
        (outcomes >= figures.failures && share).then_some("too large a share of failures")
    }

    fn outcomes(&self) -> u32 {
        let successes = self
            .successes
            .iter()
            .fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        successes.saturating_add(count(self.failures.len()))
    }

    /// Forgets what lies before the window; its own beginning lies outside.
    fn forget(&mut self, figures: Figures, now: Timestamp) {
        let begin = now.minus(figures.window);
        while self.failures.front().is_some_and(|at| *at <= begin) {
            self.failures.pop_front();
        }
        let length = part_length(figures.window);
        while self
            .successes
            .front()
            .is_some_and(|(part, _)| part.saturating_mul(length) <= begin.0)
        {
            self.successes.pop_front();
        }
    }

    fn open(&mut self, figures: Figures, now: Timestamp, backoff: u32) {
        self.state = BreakerState::Open;
        self.backoff = backoff.min(BACKOFF_MAX);
        let lasts = Span(figures.recovery.0.saturating_mul(self.backoff.into()));
        self.recovers_at = now.plus(lasts);
        self.probe = None;
        self.probes_passed = 0;
    }

    pub fn force_open(&mut self) -> Option<&'static str> {
        if self.state == BreakerState::ForcedOpen {
            return None;
        }
        self.state = BreakerState::ForcedOpen;
        self.probe = None;
        self.probes_passed = 0;
        Some("an operator opened it")
    }

    /// Whether persons may let its probes through: never before its recovery is over.
    pub fn may_half_open(&self, now: Timestamp) -> bool {
        match self.state {
            BreakerState::Open => now >= self.recovers_at,
            BreakerState::ForcedOpen => now >= self.recovers_at,
            BreakerState::Closed | BreakerState::HalfOpen => false,
        }
    }

    pub fn half_open(&mut self, why: &'static str) -> Option<&'static str> {
        self.state = BreakerState::HalfOpen;
        self.probe = None;
        self.probes_passed = 0;
        Some(why)
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        match self.state {
            BreakerState::Open => now >= self.recovers_at,
            BreakerState::HalfOpen => self.probe.is_some_and(|(_, until)| now >= until),
            BreakerState::Closed | BreakerState::ForcedOpen => false,
        }
    }

    pub fn tick(&mut self, figures: Figures, now: Timestamp) -> Option<&'static str> {
        match self.state {
            BreakerState::Open if figures.waits_for_persons => None,
            BreakerState::Open if now >= self.recovers_at => {
                self.half_open("its recovery time is over")
            }
            // No answer is a failure.
            BreakerState::HalfOpen if self.is_due(now) => self.tried(figures, false, now),
            BreakerState::Closed
            | BreakerState::Open
            | BreakerState::HalfOpen
            | BreakerState::ForcedOpen => None,
        }
    }

    pub fn begin_probe(&mut self, order: OrderId, now: Timestamp) {
        self.probe = Some((order, now.plus(PROBE_TTL)));
    }

    pub fn probed(
        &mut self,
        figures: Figures,
        order: OrderId,
        passed: bool,
        now: Timestamp,
    ) -> Option<&'static str> {
        let is_its_own = self.probe.is_some_and(|(probe, _)| probe == order);
        if self.state != BreakerState::HalfOpen || !is_its_own {
            return None;
        }
        self.tried(figures, passed, now)
    }

    fn tried(&mut self, figures: Figures, passed: bool, now: Timestamp) -> Option<&'static str> {
        self.probe = None;
        if !passed {
            self.open(figures, now, self.backoff.saturating_mul(2));
            return Some("a probe failed, or had no answer");
        }
        self.probes_passed = self.probes_passed.saturating_add(1);
        if self.probes_passed < figures.probes {
            return None;
        }
        let since_generation = self.since_generation;
        *self = Self {
            since_generation,
            ..Self::default()
        };
        Some("its probes went well")
    }

    pub fn saved(&self, generation: u64) -> Saved {
        Saved {
            generation,
            state: self.state,
            since_generation: self.since_generation,
            failures: self.failures.iter().copied().collect(),
            successes: self.successes.iter().copied().collect(),
            consecutive: self.consecutive,
            recovers_at: self.recovers_at,
            backoff: self.backoff,
            probe: self.probe.is_some(),
            probes_passed: self.probes_passed,
        }
    }

    pub fn from_saved(saved: &Saved) -> Self {
        Self {
            state: saved.state,
            since_generation: saved.since_generation,
            failures: saved.failures.iter().copied().collect(),
            successes: saved.successes.iter().copied().collect(),
            consecutive: saved.consecutive,
            recovers_at: saved.recovers_at,
            backoff: saved.backoff.clamp(1, BACKOFF_MAX),
            // Whose it was is forgotten with the process: its answer cannot come any more.
            probe: saved.probe.then_some((OrderId([0; 16]), Timestamp(0))),
            probes_passed: saved.probes_passed,
        }
    }

    /// Without a clock that ran on, a recovery begins anew and failures count as if they had happened
    /// now.
    pub fn begin_anew(&mut self, figures: Figures, now: Timestamp) {
        self.successes.clear();
        for failure in &mut self.failures {
            *failure = now;
        }
        let (state, probes_passed) = (self.state, self.probes_passed);
        if matches!(state, BreakerState::Open | BreakerState::ForcedOpen) {
            self.open(figures, now, self.backoff);
            self.state = state;
            self.probes_passed = probes_passed;
        }
    }

    pub fn status(&self, breaker: BreakerKey, figures: Figures, now: Timestamp) -> BreakerStatus {
        let mut present = self.clone();
        present.forget(figures, now);
        let recovers = self.state == BreakerState::Open && !figures.waits_for_persons;
        BreakerStatus {
            breaker,
            state: self.state,
            failures: count(present.failures.len()),
            outcomes: present.outcomes(),
            consecutive: self.consecutive,
            recovers_at: recovers.then_some(self.recovers_at),
            probes_passed: self.probes_passed,
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

const fn part_length(window: Span) -> u64 {
    window.0.div_euclid(PARTS)
}
