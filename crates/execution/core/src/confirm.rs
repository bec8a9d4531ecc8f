//! Watches that the venue confirms every order that left, the more often the more it is worth.
//!
//! What counts as a confirmation is the venue's affair. An exchange says by several ways that it has an
//! order: its answer to the request, its private stream, its answer to a question, and its list of what is
//! open; each counts once, and the order has to be the same in all of them. An order that is over is
//! confirmed by an account that agrees. For a chain it will be depth and finality.
//!
//! ```text
//!  sent ──2 s──▶ ask ──¼──▶ ask ──½──▶ ask and warn ──all of it──▶ nothing new in this instrument,
//!                                                                  ask every 30 s until confirmed
//! ```

use portcullis_domain::{OrderId, OrderStatus, Reason, Span, Symbol, Timestamp, Usd};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;
use rust_decimal::Decimal;

use crate::engine::Execution;
use crate::input::{Effect, Effects};
use crate::orders::{Entry, State};
use crate::upkeep::ASKED_MAX;

/// By which ways the venue said that it has an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// It answered the request.
    pub answer: bool,
    /// Its stream told about the order.
    pub stream: bool,
    /// It said so when it was asked.
    pub query: bool,
    /// It listed the order in the account.
    pub account: bool,
}

impl Confirmed {
    pub fn count(self) -> u32 {
        u32::from(self.answer)
            .saturating_add(u32::from(self.stream))
            .saturating_add(u32::from(self.query))
            .saturating_add(u32::from(self.account))
    }
}

/// One of the ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The answer to the request.
    Answer,
    /// The private stream.
    Stream,
    /// The answer to a question.
    Query,
    /// The list of what is open.
    Account,
}

/// What an order of such a value needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The least value of such orders, in whole USD.
    pub notional_min_usd: i64,
    /// How many confirmations.
    pub confirmations: u32,
    /// In what time.
    pub within: Span,
}

/// The tiers, the dearest first.
pub const TIERS: [Tier; 4] = [
    tier(10_000, 3, 5),
    tier(1_000, 2, 3),
    tier(100, 1, 2),
    tier(0, 1, 1),
];

const fn tier(notional_min_usd: i64, confirmations: u32, minutes: u64) -> Tier {
    Tier {
        notional_min_usd,
        confirmations,
        within: Span::from_secs(minutes.saturating_mul(60)),
    }
}

/// What an order of that value needs.
#[must_use]
pub fn tier_of(notional: Usd) -> Tier {
    let [dearest, ..] = TIERS;
    TIERS
        .into_iter()
        .find(|tier| notional.get() >= Decimal::from(tier.notional_min_usd))
        .unwrap_or(dearest)
}

/// When the venue is asked for the first time.
const ASK_AFTER: Span = Span::from_secs(2);
/// How often it is asked about an order that is overdue.
const ASK_EVERY: Span = Span::from_secs(30);

/// How far the wait for confirmations has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    pub since: Timestamp,
    pub due: Timestamp,
    pub tier: Tier,
    pub step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Early,
    Quarter,
    Half,
    Deadline,
    Overdue,
}

impl Watch {
    pub fn new(since: Timestamp, notional: Usd) -> Self {
        Self {
            since,
            due: since.plus(ASK_AFTER),
            tier: tier_of(notional),
            step: Step::Early,
        }
    }

    /// What comes after the present step.
    fn next(self) -> Self {
        let part = |share: u64| Span(self.tier.within.0.checked_div(share).unwrap_or(0));
        let (step, due) = match self.step {
            Step::Early => (Step::Quarter, self.since.plus(part(4))),
            Step::Quarter => (Step::Half, self.since.plus(part(2))),
            Step::Half => (Step::Deadline, self.since.plus(self.tier.within)),
            Step::Deadline | Step::Overdue => (Step::Overdue, self.due.plus(ASK_EVERY)),
        };
        Self { step, due, ..self }
    }

    pub fn is_overdue(&self) -> bool {
        self.step == Step::Overdue
    }
}

impl Execution {
    /// The venue confirmed an order by one of the ways.
    pub(crate) fn confirm(&mut self, out: &mut Effects, id: OrderId, way: Way) {
        // Most orders are confirmed by the first word; what comes later changes nothing.
        let Some(watch) = self.orders.get(&id).and_then(|entry| entry.watch) else {
            return;
        };
        let confirmed = self.orders.update(&id, |entry| {
            match way {
                Way::Answer => entry.confirmed.answer = true,
                Way::Stream => entry.confirmed.stream = true,
                Way::Query => entry.confirmed.query = true,
                Way::Account => entry.confirmed.account = true,
            }
            entry.confirmed.count()
        });
        if confirmed.is_some_and(|count| count >= watch.tier.confirmations) {
            self.unwatch(out, id);
        }
    }

    /// Nothing more is expected of an order: it is confirmed, or it never was at the venue.
    pub(crate) fn unwatch(&mut self, out: &mut Effects, id: OrderId) {
        let was = self
            .orders
            .update(&id, |entry| {
                entry.watch.take().map(|watch| (watch, entry.order.symbol))
            })
            .flatten();
        let Some((watch, symbol)) = was else {
            return;
        };
        if watch.is_overdue() && self.orders.overdue_in(symbol) == 0 {
            let evidence = Text::lossy("every order is confirmed");
            out.effects.push(Effect::Notice(Notice::VenueHalt {
                symbol: Some(symbol),
                reason: Reason::Unconfirmed,
                is_over: true,
                evidence,
            }));
        }
    }

    /// Asks about the orders whose confirmations are due, and halts where one is overdue.
    pub(crate) fn watch(&mut self, out: &mut Effects, now: Timestamp) {
        for _ in 0..ASKED_MAX {
            let Some((id, watch)) = self.orders.watched_until(now) else {
                return;
            };
            let Some(entry) = self.orders.get(&id) else {
                return;
            };
            let (symbol, confirmed) = (entry.order.symbol, entry.confirmed);
            // A doubt is asked about anyway; the same question twice would only cost budget.
            if !matches!(entry.state, State::InDoubt(_)) {
                out.effects.push(Effect::Query { order: id, symbol });
            }
            let said = || {
                alloc::format!(
                    "order {id} has {} of {} confirmations after {} s",
                    confirmed.count(),
                    watch.tier.confirmations,
                    now.since(watch.since).as_millis() / 1_000
                )
            };
            match watch.step {
                Step::Early | Step::Quarter | Step::Overdue => {}
                Step::Half => out.effects.push(Effect::Notice(Notice::Warning {
                    detail: Text::lossy(&said()),
                })),
                Step::Deadline => self.overdue(out, id, symbol, &said()),
            }
            let mut next = watch.next();
            // After a pause of the process one question is enough.
            next.due = next.due.max(now.plus(ASK_AFTER));
            self.orders.update(&id, |entry| entry.watch = Some(next));
        }
    }

    fn overdue(&self, out: &mut Effects, id: OrderId, symbol: Symbol, said: &str) {
        if self.orders.overdue_in(symbol) == 0 {
            out.effects.push(Effect::Notice(Notice::VenueHalt {
                symbol: Some(symbol),
                reason: Reason::Unconfirmed,
                is_over: false,
                evidence: Text::lossy(said),
            }));
        }
        // Risk-guard's breaker of confirmations counts these. What is over was reported as that, once.
        if self.orders.get(&id).is_some_and(Entry::is_live) {
            self.report(out, id, Some(Reason::Unconfirmed), said);
        }
    }
}

impl Entry {
    /// Once it may be at the venue, the venue has to confirm it.
    pub(crate) fn begin_watch(&mut self) {
        if self.watch.is_none() {
            self.watch = Some(Watch::new(self.accepted_at, self.notional()));
        }
    }
}

/// Whether an order that ended so was never one of the venue's: there is nothing to confirm.
pub const fn never_at_venue(status: OrderStatus) -> bool {
    match status {
        OrderStatus::Refused | OrderStatus::Rejected => true,
        OrderStatus::Accepted
        | OrderStatus::Sent
        | OrderStatus::Unknown
        | OrderStatus::Open
        | OrderStatus::Filled
        | OrderStatus::Cancelled => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearer_an_order_the_more_often_it_is_confirmed() {
        let cases = [
            ("0.01", 1, 60),
            ("99.99", 1, 60),
            ("100", 1, 120),
            ("999.99", 1, 120),
            ("1000", 2, 180),
            ("9999.99", 2, 180),
            ("10000", 3, 300),
            ("50000", 3, 300),
        ];
        for (notional, confirmations, seconds) in cases {
            let tier = tier_of(notional.parse().unwrap());
            assert_eq!(tier.confirmations, confirmations, "{notional}");
            assert_eq!(tier.within, Span::from_secs(seconds), "{notional}");
        }
    }

    #[test]
    fn a_watch_goes_from_question_to_warning_to_halt() {
        let begun = Timestamp(1_000_000);
        let mut watch = Watch::new(begun, "150".parse().unwrap());
        let mut seen = alloc::vec::Vec::new();
        for _ in 0..6 {
            seen.push((watch.step, watch.due.since(begun).as_millis() / 1_000));
            watch = watch.next();
        }
        assert_eq!(
            seen,
            [
                (Step::Early, 2),
                (Step::Quarter, 30),
                (Step::Half, 60),
                (Step::Deadline, 120),
                (Step::Overdue, 150),
                (Step::Overdue, 180),
            ]
        );
    }
}
