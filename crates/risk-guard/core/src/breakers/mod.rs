//! The circuit breakers: what went wrong lately, and what therefore may not go on.
//!
//! ```text
//!  outcomes ──▶ ┌────────┐ too many failures   ┌──────┐ recovery over  ┌───────────┐
//!               │ CLOSED │ ──────────────────▶ │ OPEN │ ─────────────▶ │ HALF_OPEN │
//!               └────────┘                     └──────┘ ◀───────────── └───────────┘
//!                    ▲                                   a probe failed      │
//!                    ╰────────────── three probes in a row went well ────────╯
//! ```
//!
//! All of them stand in the way of an order together; the most urgent one that is open is the one
//! that is told. What has no breaker here has a closed and quiet one.

mod breaker;
mod table;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{
    BreakerKey, BreakerKind, BreakerScope, BreakerState, Order, OrderId, Span, Timestamp,
};
use portcullis_wire::messages::{BreakerStatus, BreakersPolicy};

pub use breaker::Saved;
use breaker::{Breaker, Came};
use table::{Figures, Table};

use crate::stakes::Reduces;

/// So many kinds of breakers open at once pull the kill switch: something greater is wrong.
pub const CASCADE: usize = 3;

/// A breaker that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: BreakerKey,
    /// What it was.
    pub from: BreakerState,
    /// What it is.
    pub to: BreakerState,
    /// Why.
    pub why: &'static str,
}

impl Change {
    /// Whether more passes than before.
    pub const fn lets_more_through(&self) -> bool {
        matches!(self.to, BreakerState::Closed | BreakerState::HalfOpen)
    }
}

/// What stands in an order's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Free,
    /// These breakers are half open: the order may go as their probe.
    Probe(Vec<BreakerKey>),
    /// This breaker is open, or has a probe under way.
    Shut(BreakerKey),
}

impl Gate {
    /// Those that the order goes as the probe of.
    pub fn into_probes(self) -> Vec<BreakerKey> {
        match self {
            Self::Probe(keys) => keys,
            Self::Free | Self::Shut(_) => Vec::new(),
        }
    }
}

/// All breakers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakers {
    table: Table,
    /// Counts every change of any of them.
    generation: u64,
    known: BTreeMap<BreakerKey, Breaker>,
    /// How many are not closed, so that an order needs no look-up while all is well.
    restricting: usize,
    /// Changed since [`Breakers::take_dirty`].
    dirty: Vec<BreakerKey>,
    changes: Vec<Change>,
}

impl Breakers {
    /// All closed, and nothing happened.
    pub fn new(policy: BreakersPolicy) -> Self {
        Self {
            table: Table::new(policy),
            generation: 0,
            known: BTreeMap::new(),
            restricting: 0,
            dirty: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// How often any breaker changed.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes an outcome, once for each event.
    ///
    /// `at` is when it happened, `now` when it was heard of; `generation` what the order's permit
    /// said, or `None` where there was none.
    pub fn outcome(
        &mut self,
        key: BreakerKey,
        passed: bool,
        at: Timestamp,
        now: Timestamp,
        generation: Option<u64>,
    ) {
        let came = Came {
            passed,
            at: at.min(now),
            now,
            generation,
        };
        self.change(key, |breaker, figures| breaker.outcome(figures, came));
    }

    /// What a probe brought: only that decides about a half-open breaker.
    pub fn probed(&mut self, key: BreakerKey, order: OrderId, passed: bool, now: Timestamp) {
        self.change(key, |breaker, figures| {
            breaker.probed(figures, order, passed, now)
        });
    }

    /// Time passes: recoveries end, and a probe without an answer has failed.
    pub fn tick(&mut self, now: Timestamp) {
        if self.restricting == 0 {
            return;
        }
        let due: Vec<BreakerKey> = self
            .known
            .iter()
            .filter(|(_, breaker)| breaker.is_due(now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.change(key, |breaker, figures| breaker.tick(figures, now));
        }
    }

    /// Opens one by hand.
    pub fn force_open(&mut self, key: BreakerKey) {
        self.change(key, |breaker, _| breaker.force_open());
    }

    /// Lets the probes of one through, by two persons. `false` when it is not open, or still has to
    /// recover.
    pub fn half_open(&mut self, key: BreakerKey, now: Timestamp) -> bool {
        let may = self.may_half_open(key, now);
        if may {
            self.change(key, |breaker, _| {
                breaker.half_open("two persons let it try")
            });
        }
        may
    }

    /// Whether persons may let the probes of one through now.
    pub fn may_half_open(&self, key: BreakerKey, now: Timestamp) -> bool {
        let breaker = self.known.get(&key);
        breaker.is_some_and(|breaker| breaker.may_half_open(now))
    }

    /// What stands in the way of an order. What surely reduces a position passes an open breaker,
    /// unless our own parts or the HSM are what fails.
    pub fn gate(&self, order: &Order, reduces: Reduces, small: bool) -> Gate {
        if self.restricting == 0 {
            return Gate::Free;
        }
        let mut probes = Vec::new();
        for key in keys_of(order) {
            let Some(breaker) = self.known.get(&key) else {
                continue;
            };
            let figures = self.table.of(key.kind());
            let reduces = match key.scope() {
                BreakerScope::Strategy(..) => reduces.both,
                BreakerScope::Global | BreakerScope::Venue(_) | BreakerScope::Instrument(_) => {
                    reduces.account
                }
            };
            let spares = reduces && figures.spares_reducing;
            match breaker.state() {
                BreakerState::Closed => {}
                _ if spares => {}
                BreakerState::Open | BreakerState::ForcedOpen => return Gate::Shut(key),
                BreakerState::HalfOpen => {
                    // The market's own samples decide about volatility.
                    if figures.is_sampled || !small || breaker.has_probe() {
                        return Gate::Shut(key);
                    }
                    probes.push(key);
                }
            }
        }
        if probes.is_empty() {
            Gate::Free
        } else {
            Gate::Probe(probes)
        }
    }

    /// An order goes as the probe of these.
    pub fn begin_probe(&mut self, keys: &[BreakerKey], order: OrderId, now: Timestamp) {
        for key in keys {
            self.change(*key, |breaker, _| {
                breaker.begin_probe(order, now);
                None
            });
        }
    }

    /// How many kinds are open by themselves, as signs of something greater. A kind that is about a
    /// strategy is one only where two strategies have it open: one that misbehaves is only itself.
    pub fn kinds_open(&self) -> usize {
        let mut open: BTreeMap<BreakerKind, usize> = BTreeMap::new();
        for (key, breaker) in &self.known {
            if breaker.state() == BreakerState::Open {
                let signs = open.entry(key.kind()).or_default();
                *signs = signs.saturating_add(match key.scope() {
                    BreakerScope::Strategy(..) => 1,
                    BreakerScope::Global | BreakerScope::Venue(_) | BreakerScope::Instrument(_) => {
                        2
                    }
                });
            }
        }
        open.values().filter(|signs| **signs >= 2).count()
    }

    /// Whether any lets less through than it would closed.
    pub const fn is_restricting(&self) -> bool {
        self.restricting > 0
    }

    /// How many are open, by themselves or by hand.
    pub fn open_count(&self) -> usize {
        let open = |breaker: &&Breaker| {
            matches!(
                breaker.state(),
                BreakerState::Open | BreakerState::ForcedOpen
            )
        };
        self.known.values().filter(open).count()
    }

    /// Those that changed since the last call, as they have to be written down.
    pub fn take_dirty(&mut self) -> Vec<(BreakerKey, Saved)> {
        let mut keys = core::mem::take(&mut self.dirty);
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|key| {
                let breaker = self.known.get(&key)?;
                Some((key, breaker.saved(self.generation)))
            })
            .collect()
    }

    /// What changed since the last call, for people.
    pub fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// Takes over what was written down. `proven` says whether the clock ran on without a break
    /// since; if not, every recovery begins anew.
    pub fn restore(&mut self, key: BreakerKey, saved: &Saved) {
        self.generation = self.generation.max(saved.generation);
        self.known.insert(key, Breaker::from_saved(saved));
        self.restricting = self.count_restricting();
    }

    /// After a start with a clock that may have jumped: every recovery begins anew. Gives back what
    /// has to be written down.
    pub fn begin_anew(&mut self, now: Timestamp) -> Vec<(BreakerKey, Saved)> {
        let generation = self.generation;
        let known = self.known.iter_mut();
        known
            .map(|(key, breaker)| {
                breaker.begin_anew(self.table.of(key.kind()), now);
                (*key, breaker.saved(generation))
            })
            .collect()
    }

    /// For people: those that restrict first, then those with failures.
    pub fn statuses(&self, now: Timestamp) -> Vec<BreakerStatus> {
        let mut listed: Vec<BreakerStatus> = self
            .known
            .iter()
            .filter(|(_, breaker)| breaker.is_worth_telling())
            .map(|(key, breaker)| breaker.status(*key, self.table.of(key.kind()), now))
            .collect();
        listed.sort_by_key(|status| (status.state == BreakerState::Closed, status.breaker));
        listed
    }

    /// Changes one breaker, and notes what has to be written down and told.
    fn change(
        &mut self,
        key: BreakerKey,
        change: impl FnOnce(&mut Breaker, Figures) -> Option<&'static str>,
    ) {
        let next = self.generation.saturating_add(1);
        let figures = self.table.of(key.kind());
        let breaker = self.known.entry(key).or_default();
        let before = breaker.place();
        let why = change(breaker, figures);
        if let Some(why) = why {
            breaker.since_generation = next;
            self.generation = next;
            let change = Change {
                key,
                from: before.state,
                to: breaker.state(),
                why,
            };
            self.changes.push(change);
        }
        let after = breaker.place();
        if after != before {
            self.dirty.push(key);
        }
        let restricts = |state| usize::from(state != BreakerState::Closed);
        self.restricting = self
            .restricting
            .saturating_sub(restricts(before.state))
            .saturating_add(restricts(after.state));
    }

    fn count_restricting(&self) -> usize {
        let restricts = |breaker: &&Breaker| breaker.state() != BreakerState::Closed;
        self.known.values().filter(restricts).count()
    }
}

/// Every breaker in an order's way, the most urgent first.
fn keys_of(order: &Order) -> [BreakerKey; 7] {
    let (venue, strategy) = (order.venue, order.strategy);
    [
        BreakerKey::hsm(),
        BreakerKey::system(),
        BreakerKey::network(venue),
        BreakerKey::confirmation(venue, strategy),
        BreakerKey::trade(venue, strategy),
        BreakerKey::volatility(order.symbol),
        BreakerKey::slippage(venue, strategy),
    ]
}

/// How long a probe may go without an answer.
pub const PROBE_TTL: Span = Span::from_secs(60);

/// Whether a breaker is one of a strategy that risk-guard judges, an instrument that it knows, or
/// nobody's.
pub fn concerns(
    key: BreakerKey,
    strategy: impl Fn(portcullis_domain::StrategyId) -> bool,
    instrument: impl Fn(portcullis_domain::Symbol) -> bool,
) -> bool {
    match key.scope() {
        BreakerScope::Global | BreakerScope::Venue(_) => true,
        BreakerScope::Strategy(_, id) => strategy(id),
        BreakerScope::Instrument(symbol) => instrument(symbol),
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that computes a wrong time fails"
)]
mod tests;
