//! The state of the brain, and the way of a proposal to an order.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{
    ExposureRow, Exposures, Hash, Order, OrderId, Quantity, RateLimit, Reason, ReserveError, Span,
    StrategyId, Symbol, TIME_REVERSAL_MAX, Timestamp, Venue,
};
use portcullis_wire::agreement::Agreement;
use portcullis_wire::messages::{
    Decision, ExecutionStatus, InstrumentPolicy, Notice, Outcome, Proposal, Verdict,
};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::ORDER_LIFETIME;
use portcullis_wire::{Text, Verified, order_id};

use crate::known::{Known, Quote};
use crate::registry::{Admission, Registered, strategy_of};
use crate::{Decided, Effects, Fault, Ignored, Input, Settings, Strategy, sizing};

/// Decides on proposals. See the crate's page.
#[derive(Debug)]
pub struct Brain {
    policy: Hash,
    book_age_max: Span,
    instruments: BTreeMap<Symbol, InstrumentPolicy>,
    strategies: BTreeMap<StrategyId, Registered>,
    started_at: Timestamp,
    latest: Timestamp,
    known: Known,
    agreement: Agreement,
    exposures: Exposures,
    complaints: RateLimit,
}

impl Brain {
    /// A brain that knows nothing yet, and so passes nothing on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let by_symbol = |limits: InstrumentPolicy| (limits.instrument.symbol, limits);
        let registered = |(id, strategy)| (id, Registered::new(strategy));
        Self {
            policy: settings.policy_hash,
            book_age_max: Span::from_millis(settings.policy.book_age_ms_max),
            instruments: settings
                .policy
                .instruments
                .into_iter()
                .map(by_symbol)
                .collect(),
            strategies: settings.strategies.into_iter().map(registered).collect(),
            started_at: settings.started_at,
            latest: settings.started_at,
            known: Known::default(),
            agreement: Agreement::new(Role::Brain, settings.policy_hash),
            exposures: Exposures::new(settings.orders_pending_max),
            complaints: RateLimit::new(2),
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Fault`]: the brain must stop.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let now = self.advance(now)?;
        let mut effects = Effects::default();
        match input {
            Input::Proposal(proposal) => effects = self.proposal(now, proposal),
            Input::Book(book) => {
                if self.instruments.contains_key(&book.message().symbol()) {
                    self.known.book(now, &book);
                }
            }
            Input::Status(status) => effects.notices = self.status(now, &status),
            Input::Report(report) => {
                self.exposures
                    .reported(report.message().order, report.header().issued_at);
            }
            Input::Verdict(verdict) => self.verdict(verdict.message())?,
            Input::Heartbeat(beat) => {
                if self.known.heartbeat(now, &beat) {
                    let policy = beat.message().policy;
                    let news = self.agreement.heard(now, Role::RiskGuard, policy);
                    effects.notices = news.into_iter().collect();
                }
            }
            Input::Tick => effects.notices = self.floods(),
        }
        Ok(effects)
    }

    /// Whether it has what every decision needs.
    ///
    /// # Errors
    /// The reason that every proposal would be refused for.
    pub fn readiness(&self, now: Timestamp) -> Result<(), Reason> {
        self.known.check_guard(now, self.policy)?;
        self.known.check_account(now, self.policy, self.started_at)
    }

    /// Which policies the others run.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Time never runs backwards in here: a clock that is corrected a little stands still, which
    /// makes everything older and every limit tighter.
    fn advance(&mut self, now: Timestamp) -> Result<Timestamp, Fault> {
        let reversed = self.latest.since(now);
        if reversed > TIME_REVERSAL_MAX {
            return Err(Fault::TimeReversed(reversed));
        }
        self.latest = self.latest.max(now);
        Ok(self.latest)
    }

    fn status(&mut self, now: Timestamp, status: &Verified<ExecutionStatus>) -> Vec<Notice> {
        let rows = status.message().exposures.iter().map(ExposureRow::from);
        match self.exposures.snapshot(rows, status.header().issued_at) {
            Ok(()) => {
                self.known.account(now, status);
                let policy = status.message().policy;
                let news = self.agreement.heard(now, Role::Execution, policy);
                news.into_iter().collect()
            }
            // The last good one stays and grows old: then the position is unknown.
            Err(error) => {
                let detail = format!("execution's account {error}");
                self.complain(now, Reason::PositionUnknown, &detail)
            }
        }
    }

    /// A refused order never reaches execution, so it counts no more. Not so a duplicate: its first
    /// copy may have passed.
    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Fault> {
        match verdict.outcome {
            Outcome::Passed | Outcome::Refused(Reason::DuplicateOrder) => Ok(()),
            Outcome::Refused(_) => self
                .exposures
                .release(verdict.order)
                .map_err(Fault::Exposure),
        }
    }

    /// Says how many proposals were not answered one by one.
    fn floods(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (id, strategy) in &mut self.strategies {
            let unanswered = strategy.take_unanswered();
            if unanswered > 0 {
                let detail = format!("{unanswered} more proposals of {id} beyond its rate");
                let reason = Reason::RateLimit;
                notices.push(Notice::Refused {
                    reason,
                    detail: Text::lossy(&detail),
                });
            }
        }
        notices
    }

    fn complain(&mut self, now: Timestamp, reason: Reason, detail: &str) -> Vec<Notice> {
        let notice = Notice::Refused {
            reason,
            detail: Text::lossy(detail),
        };
        self.complaints
            .take(now)
            .then_some(notice)
            .into_iter()
            .collect()
    }

    fn proposal(&mut self, now: Timestamp, proposal: Verified<Proposal>) -> Effects {
        let source = proposal.source();
        let known = strategy_of(source).and_then(|id| {
            self.strategies
                .get_mut(&id)
                .map(|registered| (id, registered))
        });
        let Some((strategy, registered)) = known else {
            let detail = format!("{source} has a key but is not in the registry");
            let notices = self.complain(now, Reason::UnknownStrategy, &detail);
            return Effects {
                ignored: Some(Ignored::UnknownStrategy),
                notices,
                ..Effects::default()
            };
        };
        let id = order_id(strategy, proposal.id());
        let answer = match registered.admit(proposal.id(), now) {
            Admission::Duplicate => return ignored(Ignored::Duplicate),
            Admission::Flood => return ignored(Ignored::Flood),
            Admission::Refused(reason) => Err(reason),
            Admission::Admitted => self.decide(now, strategy, id, proposal.message()),
        };
        let outcome = match &answer {
            Ok(_) => Outcome::Passed,
            Err(reason) => Outcome::Refused(*reason),
        };
        let decision = Decision {
            proposal: proposal.frame().into(),
            order: id,
            outcome,
        };
        let decided = Decided {
            proposal,
            strategy,
            decision,
            order: answer.ok(),
        };
        Effects {
            decided: Some(decided),
            ..Effects::default()
        }
    }

    /// Works everything out, and changes only one thing, at the end: the order counts.
    fn decide(
        &mut self,
        now: Timestamp,
        id: StrategyId,
        order: OrderId,
        proposal: &Proposal,
    ) -> Result<Order, Reason> {
        self.known.check_guard(now, self.policy)?;
        let registered = self.strategies.get(&id).ok_or(Reason::UnknownStrategy)?;
        let strategy = &registered.settings;
        let limits = strategy
            .instruments
            .get(&proposal.symbol)
            .and_then(|symbol| self.instruments.get(symbol))
            .ok_or(Reason::InstrumentNotAllowed)?;
        let quote = self.known.quote(now, proposal.symbol, self.book_age_max)?;
        let limit_price = sizing::limit_price(proposal, strategy.profile, limits, quote.mid)?;
        let quantity = sizing::quantity(proposal, limit_price, &quote, &limits.instrument)?;
        let notional = limit_price.max(quote.mid).notional(quantity);
        if notional.map_err(|_| Reason::Overflow)? > strategy.order_notional_max {
            return Err(Reason::BudgetExceeded);
        }
        self.known
            .check_account(now, self.policy, self.started_at)?;
        self.check_position(id, strategy, proposal, quantity, &quote)?;
        let order = Order {
            id: order,
            strategy: id,
            venue: Venue::Bybit,
            symbol: proposal.symbol,
            side: proposal.side,
            quantity,
            limit_price,
            time_in_force: proposal.time_in_force,
            reduce_only: proposal.reduce_only,
            profile: strategy.profile,
            policy: self.policy,
            created_at: now,
        };
        self.reserve(now, &order)?;
        Ok(order)
    }

    fn check_position(
        &self,
        id: StrategyId,
        strategy: &Strategy,
        proposal: &Proposal,
        quantity: Quantity,
        quote: &Quote,
    ) -> Result<(), Reason> {
        let overflow = |_| Reason::Overflow;
        let worst = self
            .exposures
            .of_strategy(id, proposal.symbol)
            .map_err(overflow)?;
        if proposal.reduce_only && !worst.reduces(proposal.side, quantity) {
            return Err(Reason::NotReducing);
        }
        let limit = strategy.position_notional_max;
        let admitted = worst
            .admits(proposal.side, quantity, quote.mid, limit)
            .map_err(overflow)?;
        if admitted {
            Ok(())
        } else {
            Err(Reason::BudgetExceeded)
        }
    }

    fn reserve(&mut self, now: Timestamp, order: &Order) -> Result<(), Reason> {
        let expires_at = now.plus(ORDER_LIFETIME);
        self.exposures
            .reserve(order, expires_at)
            .map_err(|error| match error {
                ReserveError::TooMany => Reason::TooManyOrders,
                ReserveError::Twice => Reason::DuplicateOrder,
                ReserveError::Overflow => Reason::Overflow,
            })
    }
}

fn ignored(ignored: Ignored) -> Effects {
    Effects {
        ignored: Some(ignored),
        ..Effects::default()
    }
}
