//! When nothing goes wrong any more, everything must come to rest, and everybody must agree.

use std::collections::{BTreeMap, BTreeSet};

use audit_core::Kind;
use portcullis_domain::{Fill, OrderId, OrderStatus, Side, Symbol, VenueExecutionId};
use portcullis_wire::Verifier;
use portcullis_wire::messages::ExecutionStatus;
use portcullis_wire::subjects::FILL;
use rust_decimal::Decimal;

use crate::cast::Who;
use crate::log::entry;
use crate::world::{Event, MS, World};

/// How often it is asked.
const EVERY: u64 = 500 * MS;

impl World {
    /// Whether the run is over: everything is at rest, and trading went on where it may.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        self.schedule(EVERY, Event::AskRest);
        let who = Who::Execution;
        let now = self.clock(who);
        let everybody = Who::CORES
            .into_iter()
            .all(|who| self.seats.get(&who).is_some_and(|s| s.up));
        let life = self.execution.as_ref();
        let status = life.map(|life| life.core.status(now, life.requests));
        let (true, Some(status)) = (everybody, status) else {
            return false;
        };
        let status = match status {
            Ok(status) => status,
            Err(fault) => {
                self.violated(format!("execution: {fault}"));
                return true;
            }
        };
        let stopped = self.oracle.execution_killed
            || self.oracle.guard_killed
            || !self.guard_latch.may_trade();
        let unsettled = self.unsettled(&status, stopped);
        if self.now > 80_000 * MS {
            let reason = status.reason;
            let fills = self.venue.fills.iter();
            let booked = self.oracle.booked();
            let mut missing = fills.filter(|fill| !booked.contains(&fill.execution));
            if let Some(fill) = missing.next() {
                let (execution, order) = (fill.execution, fill.order);
                self.violated(format!(
                    "fill {execution} of order {order} was never booked"
                ));
            }
            let unsettled = unsettled.unwrap_or("an order after the faults");
            self.violated(format!("no rest: still waits for {unsettled} ({reason:?})"));
            return true;
        }
        if unsettled.is_some() {
            return false;
        }
        // An open breaker stays open for longer than a run: then nothing has to be traded again.
        let held_back = self.guard.as_ref().is_some_and(|guard| {
            guard.breakers_open() > 0 || guard.posture() > portcullis_domain::Posture::Normal
        });
        if held_back {
            self.trace.count("held back by risk-guard after the faults");
        } else if !stopped && !self.oracle.signer_killed {
            if self.placed_before_rest.is_none() {
                self.placed_before_rest = Some(self.oracle.placed.len());
            }
            if self.placed_before_rest == Some(self.oracle.placed.len()) {
                // It must trade again. Not in step with the heartbeats: where two clocks are nearly a
                // second apart, each of them licenses for a moment only.
                let after = self.random.between(0, 249) * MS;
                self.schedule(after, Event::Propose);
                return false;
            }
            self.trace.count("traded again after the faults");
        }
        if self.oracle.days_held > 0 {
            self.trace.count("a day began with a position");
        }
        self.check_agreement(&status);
        true
    }

    fn unsettled(&mut self, status: &ExecutionStatus, stopped: bool) -> Option<&'static str> {
        let moving = |order: &portcullis_wire::messages::OpenOrder| {
            matches!(
                order.status,
                OrderStatus::Accepted | OrderStatus::Sent | OrderStatus::Unknown
            )
        };
        if status.orders_unknown > 0 || status.orders.iter().any(moving) {
            return Some("orders in doubt or under way");
        }
        if stopped && status.orders_open > 0 {
            return Some("everything to be cancelled");
        }
        if !stopped && !status.may_trade {
            return Some("leave to trade");
        }
        if self.seats.values().any(|seat| !seat.outbox.is_empty()) {
            return Some("facts in an outbox");
        }
        if self.execution_disk.synced < self.execution_disk.entries.len()
            && !matches!(
                self.execution_disk.entries.last(),
                Some(crate::journal::Entry::Acknowledged { .. })
            )
        {
            return Some("execution's disk");
        }
        if self.stream.floor < self.stream.entries.len() {
            return Some("audit to take the stream");
        }
        if self.audit_disk.synced < self.audit_disk.entries.len() {
            return Some("audit's disk");
        }
        if self.meddled > 0 {
            return Some("others to be done with the account");
        }
        let waits = self
            .execution
            .as_ref()
            .is_some_and(|life| life.reading.is_some());
        if waits || self.venue_stream.is_none() || self.venue_lane > self.now {
            return Some("the venue's stream and account");
        }
        if !self.all_movements_booked() {
            return Some("the venue's movements");
        }
        if !status.halts.is_empty() {
            return Some("halts to end");
        }
        let theirs: BTreeSet<VenueExecutionId> =
            self.venue.fills.iter().map(|fill| fill.execution).collect();
        (theirs != *self.oracle.booked()).then_some("the venue's fills")
    }

    /// Execution, venue and audit tell the same story.
    fn check_agreement(&mut self, status: &ExecutionStatus) {
        let ours: BTreeMap<Symbol, Decimal> = status
            .positions
            .iter()
            .map(|held| (held.symbol, held.position.get().normalize()))
            .collect();
        let theirs: BTreeMap<Symbol, Decimal> = self
            .venue
            .positions()
            .into_iter()
            .map(|(symbol, held)| (symbol, held.get().normalize()))
            .collect();
        if ours != theirs {
            self.violated(format!(
                "positions differ: execution {ours:?}, venue {theirs:?}"
            ));
        }
        if ours != self.oracle.held() {
            self.violated("positions are not the sum of the recorded fills");
        }
        if status.fills != self.venue.fills.len() as u64 {
            let (ours, theirs) = (status.fills, self.venue.fills.len());
            self.violated(format!("execution counts {ours} fills, the venue {theirs}"));
        }
        if let Some(differs) = self.oracle.money_differs(status) {
            self.violated(format!("execution's status tells of {differs}"));
        }
        self.check_cash();
        self.check_audited(&ours);
        self.check_open(status);
        self.check_rows(status);
        self.check_receipts();
        self.check_venue();
    }

    /// Every fill is in the audit log exactly once, as the venue has it.
    fn check_audited(&mut self, ours: &BTreeMap<Symbol, Decimal>) {
        if self.oracle.refused_by_audit > 0 {
            // Audit said so; what it refuses is not in its log.
            return self
                .trace
                .count("audit refused facts as their clock or its own was wrong");
        }
        let name = Who::Audit.name();
        let ring = self.deployment.ring(name);
        let verifier = Verifier::new(self.deployment.realm(), name, self.clock(Who::Audit), ring);
        let mut audited: BTreeMap<VenueExecutionId, Fill> = BTreeMap::new();
        let mut wrong = None;
        for payload in &self.audit_disk.entries {
            let Some((entry, _)) = entry(payload) else {
                continue;
            };
            if entry.kind != Kind::Fact || !FILL.row.matches(entry.subject) {
                continue;
            }
            match verifier.open_fact(&FILL, entry.subject, entry.content) {
                Ok(fill) => {
                    let fill = fill.message().clone();
                    if audited.insert(fill.execution, fill.clone()).is_some() {
                        wrong = Some(format!("fill {} is in the log twice", fill.execution));
                    }
                }
                Err(refusal) => wrong = Some(format!("a fill in the log: {refusal}")),
            }
        }
        for fill in &self.venue.fills {
            if audited.get(&fill.execution) != Some(fill) {
                wrong = Some(format!(
                    "fill {} is not in the log as it was",
                    fill.execution
                ));
            }
        }
        let mut held: BTreeMap<Symbol, Decimal> = BTreeMap::new();
        for fill in audited.values() {
            let quantity = fill.quantity.get();
            *held.entry(fill.symbol).or_default() += match fill.side {
                Side::Buy => quantity,
                Side::Sell => -quantity,
            };
        }
        held.retain(|_, held| !held.is_zero());
        let held: BTreeMap<Symbol, Decimal> = held
            .into_iter()
            .map(|(symbol, held)| (symbol, held.normalize()))
            .collect();
        if held != *ours {
            wrong.get_or_insert(format!(
                "audited fills make {held:?}, execution holds {ours:?}"
            ));
        }
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    /// Each row's count and nearest prices are those of the orders that are listed.
    fn check_rows(&mut self, status: &ExecutionStatus) {
        for row in &status.exposures {
            let orders = || {
                let mut orders = status.orders.iter();
                std::iter::from_fn(move || {
                    orders
                        .find(|order| (order.strategy, order.symbol) == (row.strategy, row.symbol))
                })
            };
            let prices = |side: Side| {
                let orders = orders().filter(move |order| order.side == side);
                orders.map(|order| order.limit_price)
            };
            let expected = (
                orders().count() as u64,
                prices(Side::Buy).max(),
                prices(Side::Sell).min(),
            );
            let told = (row.orders_open, row.highest_buy, row.lowest_sell);
            if told != expected {
                self.violated(format!(
                    "a row tells {told:?} of the orders, which are {expected:?}"
                ));
            }
        }
    }

    /// What execution counts as open is what rests at the venue, order by order and in sum.
    fn check_open(&mut self, status: &ExecutionStatus) {
        let left = |order: &portcullis_wire::messages::OpenOrder| {
            let filled = order.filled.map_or(Decimal::ZERO, |filled| filled.get());
            let left = (order.quantity.get() - filled).normalize();
            (order.order, (order.symbol, order.side, left))
        };
        let ours: BTreeMap<OrderId, _> = status.orders.iter().map(left).collect();
        let theirs = self.venue.open();
        if ours != theirs {
            self.violated(format!(
                "open orders differ: execution {ours:?}, venue {theirs:?}"
            ));
        }
        let mut open: BTreeMap<(Symbol, Side), Decimal> = BTreeMap::new();
        for (symbol, side, left) in theirs.values() {
            *open.entry((*symbol, *side)).or_default() += left;
        }
        let mut told: BTreeMap<(Symbol, Side), Decimal> = BTreeMap::new();
        for row in &status.exposures {
            for (side, open) in [(Side::Buy, row.open_buy), (Side::Sell, row.open_sell)] {
                if let Some(open) = open {
                    *told.entry((row.symbol, side)).or_default() += open.get();
                }
            }
        }
        if open != told {
            self.violated(format!(
                "exposures do not add up: {told:?}, at the venue {open:?}"
            ));
        }
    }
}
