//! What came of what was permitted, as the circuit breakers hear of it.
//!
//! One outcome an event and breaker: an order's end for the trade breaker, its first confirmation for
//! the confirmation breaker and the end of execution's watch for more of them, and so on. What risk-guard itself refused, or an operator cancelled, is
//! no outcome of anything.

use portcullis_domain::{
    BreakerKey, BreakerKind, Exposure, OrderStatus, Reason, Symbol, Timestamp, Venue,
};
use portcullis_wire::Verified;
use portcullis_wire::messages::{ExecutionReport, Notice, Tally};

use crate::Effects;
use crate::flights::Flight;
use crate::guard::{Account, RiskGuard};
use crate::record::Record;

/// The most outcomes of one kind that one account of execution can add: more trip anything.
const COUNTED_MAX: u64 = 16;

impl RiskGuard {
    /// Takes where an order stands.
    pub(crate) fn report(
        &mut self,
        now: Timestamp,
        report: &Verified<ExecutionReport>,
        effects: &mut Effects,
    ) {
        let at = report.header().issued_at;
        let report = report.message();
        self.exposures.reported(report.order, at);
        if !self.strategies.has(report.strategy) {
            return;
        }
        let flight = self.flights.get_mut(report.order).map(|flight| {
            flight.is_taken = true;
            flight.clone()
        });
        self.confirmation(now, at, report, flight.as_ref());
        self.own_parts(now, at, report, flight.as_ref());
        self.fills(now, report, effects);
        if report.status.is_terminal() {
            self.exposures.ended(report.order);
            self.ended(now, at, report, flight.as_ref());
            self.flights.end(report.order);
        }
        if let Some(flight) = flight {
            self.probes(now, report, &flight);
        }
    }

    /// The venue confirmed the order, or nobody knows whether it has it.
    fn confirmation(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        report: &ExecutionReport,
        flight: Option<&Flight>,
    ) {
        if report.reason == Some(Reason::Unconfirmed) {
            // The venue has it, but execution's watch ran out before it said so often enough.
            let key = BreakerKey::confirmation(venue_of(flight), report.strategy);
            let generation = flight.map(|flight| flight.generation);
            self.breakers.outcome(key, false, at, now, generation);
            return;
        }
        let confirmed = match report.status {
            OrderStatus::Open | OrderStatus::Filled | OrderStatus::Rejected => true,
            OrderStatus::Cancelled => report.venue_order.is_some(),
            OrderStatus::Unknown => false,
            OrderStatus::Accepted | OrderStatus::Sent => return,
            OrderStatus::Refused => {
                // Nothing left, so there is nothing to confirm.
                self.flights.confirm(report.order);
                return;
            }
        };
        let is_news = flight.is_none() || self.flights.confirm(report.order);
        // An order of an earlier run of this guard that is only now confirmed says nothing.
        if !is_news || (flight.is_none() && confirmed) {
            return;
        }
        let key = BreakerKey::confirmation(venue_of(flight), report.strategy);
        let generation = flight.map(|flight| flight.generation);
        self.breakers.outcome(key, confirmed, at, now, generation);
    }

    /// Our own parts did what an order needs of them, or did not.
    fn own_parts(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        report: &ExecutionReport,
        flight: Option<&Flight>,
    ) {
        let generation = flight.map(|flight| flight.generation);
        let system = BreakerKey::system();
        if report.status == OrderStatus::Refused && report.reason.is_some_and(is_own_failure) {
            self.breakers.outcome(system, false, at, now, generation);
        } else if let Some(flight) = flight
            && !flight.is_confirmed
            && report.status != OrderStatus::Refused
        {
            self.breakers.outcome(system, true, at, now, generation);
        }
    }

    /// The order's end at the venue.
    fn ended(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        report: &ExecutionReport,
        flight: Option<&Flight>,
    ) {
        if report.status == OrderStatus::Cancelled
            && flight.is_some()
            && let Some(strategy) = self.strategies.get_mut(report.strategy)
        {
            strategy.cancels.note(now);
        }
        let Some(passed) = trade_outcome(report) else {
            return;
        };
        if flight.is_none() && passed {
            return;
        }
        let venue = flight.map_or(Venue::Bybit, |flight| flight.venue);
        let key = BreakerKey::trade(venue, report.strategy);
        let generation = flight.map(|flight| flight.generation);
        self.breakers.outcome(key, passed, at, now, generation);
    }

    /// Another fill the same way; one too many suspends the strategy.
    fn fills(&mut self, now: Timestamp, report: &ExecutionReport, effects: &mut Effects) {
        let filled = report.filled.map_or(Exposure::FLAT, |filled| {
            Exposure::FLAT.bought(filled).unwrap_or(Exposure::FLAT)
        });
        let is_more = match self.flights.get_mut(report.order) {
            Some(flight) => {
                let is_more = filled > flight.filled;
                flight.filled = flight.filled.max(filled);
                is_more
            }
            None => report.status == OrderStatus::Filled,
        };
        let Some(strategy) = self.strategies.get_mut(report.strategy) else {
            return;
        };
        if !is_more {
            return;
        }
        strategy.filled(report.symbol, report.side, now);
        let fills = strategy.fills(report.symbol, report.side, now);
        let limit = self.repeated_limit(report.strategy);
        let is_new = self
            .strategies
            .get(report.strategy)
            .is_some_and(|strategy| !strategy.is_suspended);
        if is_new && portcullis_domain::Figure::count(fills) >= limit {
            let strategy = report.strategy;
            self.keep(Record::Suspended { strategy }, effects);
            let detail = alloc::format!(
                "strategy {strategy} is suspended: {fills} fills of {} the same way within the \
                 window; portcullis release lets it go on",
                report.symbol
            );
            effects.notices.push(Notice::Warning {
                detail: portcullis_wire::Text::lossy(&detail),
            });
        }
    }

    /// What an order brought that was a probe.
    fn probes(&mut self, now: Timestamp, report: &ExecutionReport, flight: &Flight) {
        for key in &flight.probes {
            let passed = match report.status {
                OrderStatus::Accepted | OrderStatus::Sent => continue,
                // It rests: that says nothing about its end.
                OrderStatus::Open if key.kind() == BreakerKind::TradeFailure => continue,
                OrderStatus::Open | OrderStatus::Filled => true,
                OrderStatus::Cancelled => report.venue_order.is_some(),
                OrderStatus::Rejected => key.kind() != BreakerKind::TradeFailure,
                OrderStatus::Unknown | OrderStatus::Refused => false,
            };
            self.breakers.probed(*key, report.order, passed, now);
        }
    }

    /// Orders that nobody confirmed in time.
    pub(crate) fn overdue(&mut self, now: Timestamp) {
        for flight in self.flights.overdue(now) {
            // One that execution never spoke of is no fault of the venue's.
            let key = if flight.is_taken {
                BreakerKey::confirmation(flight.venue, flight.strategy)
            } else {
                BreakerKey::system()
            };
            let generation = Some(flight.generation);
            self.breakers.outcome(key, false, now, now, generation);
        }
    }

    /// Requests to the venue and the signer since execution's last account.
    pub(crate) fn count_requests(
        &mut self,
        now: Timestamp,
        before: Option<Account>,
        _effects: &mut Effects,
    ) {
        let (Some(account), Some(before)) = (self.account, before) else {
            return;
        };
        // Another start of execution counts anew.
        let same = account.boot == before.boot;
        let since = |tally: Tally| if same { tally } else { Tally::default() };
        let tallies = [
            (
                BreakerKey::network(Venue::Bybit),
                since(before.network),
                account.network,
            ),
            (BreakerKey::hsm(), since(before.signer), account.signer),
        ];
        for (key, before, after) in tallies {
            // The failures come last: between two accounts nobody knows their order.
            for (passed, was, is) in [
                (true, before.passed, after.passed),
                (false, before.failed, after.failed),
            ] {
                for _ in 0..is.saturating_sub(was).min(COUNTED_MAX) {
                    self.breakers
                        .outcome(key, passed, account.known_at, now, None);
                }
            }
        }
    }

    /// One sample of each instrument's volatility a minute. One that is missing is a failure.
    pub(crate) fn sample_volatility(&mut self, now: Timestamp) {
        let mut samples: alloc::vec::Vec<(Symbol, bool)> = alloc::vec::Vec::new();
        for (symbol, market) in &mut self.markets {
            if !market.is_sample_due(now) {
                continue;
            }
            let Some(limits) = self.limits.instruments().get(symbol) else {
                continue;
            };
            let scope = portcullis_domain::Scope::Instrument(*symbol);
            let rule = portcullis_domain::Rule::Volatility;
            let limit = self.limits.in_force(rule, scope, limits.volatility_max);
            let passed = market
                .volatility(now)
                .is_some_and(|volatility| volatility <= limit);
            samples.push((*symbol, passed));
        }
        for (symbol, passed) in samples {
            let key = BreakerKey::volatility(symbol);
            self.breakers.outcome(key, passed, now, now, None);
        }
    }
}

/// Whether the venue did what it was asked for; `None` where that is not what ended the order.
fn trade_outcome(report: &ExecutionReport) -> Option<bool> {
    match report.status {
        OrderStatus::Filled => Some(true),
        // Cancelled by whom is not known, and what never filled is no failure of the venue.
        OrderStatus::Cancelled => report.filled.map(|_| true),
        OrderStatus::Rejected => (report.reason != Some(Reason::NeverArrived)).then_some(false),
        OrderStatus::Accepted
        | OrderStatus::Sent
        | OrderStatus::Unknown
        | OrderStatus::Open
        | OrderStatus::Refused => None,
    }
}

/// Whether an order was stopped because something of ours did not work.
const fn is_own_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::JournalUnwritable
            | Reason::NoReceipt
            | Reason::Overflow
            | Reason::ClockSkew
            | Reason::BytesDiffer
            | Reason::OrderSeal
    )
}

/// Where an order went; there is only one venue yet.
fn venue_of(flight: Option<&Flight>) -> Venue {
    flight.map_or(Venue::Bybit, |flight| flight.venue)
}
