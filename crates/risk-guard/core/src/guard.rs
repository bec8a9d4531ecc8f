//! The state of the guard, and the way of an order through the rules.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{
    Book, ExposureRow, Exposures, Hash, KillState, Order, OrderId, Price, RateLimit, Reason,
    Recent, ReserveError, Span, StrategyId, Symbol, TIME_REVERSAL_MAX, Timestamp,
};
use portcullis_wire::agreement::Agreement;
use portcullis_wire::messages::{
    ExecutionStatus, Heartbeat, InstrumentPolicy, Notice, Outcome, Permit, RiskPolicy, Verdict,
};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::ORDER_LIFETIME;
use portcullis_wire::{Text, Verified};

use crate::rules;
use crate::{Effects, Fault, Input, Judgement, Settings};

/// How long an order id is remembered: a replayed order is expired long before.
const REMEMBERED_FOR: Span = Span::from_secs(10);

/// The middle of a book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    pub mid: Price,
    /// When it was sealed, or received if its sender's clock is ahead.
    pub known_at: Timestamp,
    issued_at: Timestamp,
}

impl Quote {
    pub fn new(mid: Price, issued_at: Timestamp, now: Timestamp) -> Self {
        Self {
            mid,
            known_at: issued_at.min(now),
            issued_at,
        }
    }
}

/// What of execution's account counts beside the exposures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub policy: Hash,
    pub orders_open: u64,
    /// When it was sealed, or received if its sender's clock is ahead.
    pub known_at: Timestamp,
    pub issued_at: Timestamp,
}

/// Judges orders. See the crate's page.
#[derive(Debug)]
pub struct RiskGuard {
    policy: RiskPolicy,
    policy_hash: Hash,
    instruments: BTreeMap<Symbol, InstrumentPolicy>,
    strategies: BTreeSet<StrategyId>,
    started_at: Timestamp,
    latest: Timestamp,
    kill: KillState,
    quotes: BTreeMap<Symbol, Quote>,
    account: Option<Account>,
    agreement: Agreement,
    exposures: Exposures,
    seen: Recent<OrderId>,
    rate: RateLimit,
    complaints: RateLimit,
}

impl RiskGuard {
    /// A guard that knows nothing yet, and so permits nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let by_symbol = |limits: &InstrumentPolicy| (limits.instrument.symbol, limits.clone());
        Self {
            instruments: settings.policy.instruments.iter().map(by_symbol).collect(),
            policy: settings.policy,
            strategies: settings.strategies,
            policy_hash: settings.policy_hash,
            started_at: settings.started_at,
            latest: settings.started_at,
            kill: settings.kill,
            quotes: BTreeMap::new(),
            account: None,
            agreement: Agreement::new(Role::RiskGuard, settings.policy_hash),
            exposures: Exposures::new(settings.orders_pending_max),
            seen: Recent::new(REMEMBERED_FOR, settings.orders_remembered_max),
            rate: RateLimit::new(settings.orders_per_second_max),
            complaints: RateLimit::new(2),
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Fault`]: the guard must stop.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let now = self.advance(now)?;
        let mut effects = Effects::default();
        match input {
            Input::Order(order) => effects = self.order(now, order),
            Input::Book(book) => self.book(now, &book),
            Input::Status(status) => effects.notices = self.status(now, &status),
            Input::Report(report) => {
                self.exposures
                    .reported(report.message().order, report.header().issued_at);
            }
            Input::Kill(kill) => {
                self.kill = kill;
                effects.heartbeat = Some(self.heartbeat());
            }
            Input::Tick => effects.heartbeat = Some(self.heartbeat()),
        }
        Ok(effects)
    }

    /// The kill switch.
    #[must_use]
    pub const fn kill(&self) -> KillState {
        self.kill
    }

    /// Whether it has what every judgement needs, whatever the kill switch says.
    ///
    /// # Errors
    /// The reason that every order would be refused for.
    pub fn readiness(&self, now: Timestamp) -> Result<(), Reason> {
        rules::warming_up::check(now, self.started_at, self.account.as_ref())?;
        let account = rules::position_known::check(now, self.account.as_ref())?;
        rules::policy::check(self.policy_hash, account.policy)
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

    const fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            kill: self.kill,
            policy: self.policy_hash,
            posture: portcullis_domain::Posture::Normal,
        }
    }

    fn book(&mut self, now: Timestamp, book: &Verified<Book>) {
        let symbol = book.message().symbol();
        let issued_at = book.header().issued_at;
        let older = self
            .quotes
            .get(&symbol)
            .is_some_and(|quote| issued_at < quote.issued_at);
        if older || !self.instruments.contains_key(&symbol) {
            return;
        }
        match book.message().mid() {
            Some(mid) => {
                self.quotes.insert(symbol, Quote::new(mid, issued_at, now));
            }
            // A book without a middle is news too: the old one no longer holds.
            None => {
                self.quotes.remove(&symbol);
            }
        }
    }

    fn status(&mut self, now: Timestamp, status: &Verified<ExecutionStatus>) -> Vec<Notice> {
        let issued_at = status.header().issued_at;
        let message = status.message();
        let rows = message.exposures.iter().map(|row| ExposureRow {
            strategy: row.strategy,
            symbol: row.symbol,
            position: row.position,
            open_buy: row.open_buy,
            open_sell: row.open_sell,
        });
        if let Err(error) = self.exposures.snapshot(rows, issued_at) {
            // The last good one stays and grows old: then the position is unknown.
            let detail = Text::lossy(&format!("execution's account {error}"));
            return self.complain(
                now,
                Notice::Refused {
                    reason: Reason::PositionUnknown,
                    detail,
                },
            );
        }
        self.account = Some(Account {
            policy: message.policy,
            orders_open: message.orders_open,
            known_at: issued_at.min(now),
            issued_at,
        });
        let news = self.agreement.heard(now, Role::Execution, message.policy);
        news.into_iter().collect()
    }

    fn complain(&mut self, now: Timestamp, notice: Notice) -> Vec<Notice> {
        self.complaints
            .take(now)
            .then_some(notice)
            .into_iter()
            .collect()
    }

    /// The verdict goes out on the strategy's own subject: for a strategy that is not configured
    /// there may be none, and whoever waits for it does not exist.
    fn order(&mut self, now: Timestamp, order: Verified<Order>) -> Effects {
        let strategy = order.message().strategy;
        // The brain says what it runs with every order, and only so.
        let brain = self
            .agreement
            .heard(now, Role::Brain, order.message().policy);
        let mut notices: Vec<Notice> = brain.into_iter().collect();
        if let Err(reason) = rules::strategy::check(&self.strategies, strategy) {
            let detail = format!(
                "order {} of {strategy}, which is not one",
                order.message().id
            );
            let notice = Notice::Refused {
                reason,
                detail: Text::lossy(&detail),
            };
            notices.extend(self.complain(now, notice));
            return Effects {
                unanswered: Some(reason),
                notices,
                ..Effects::default()
            };
        }
        Effects {
            judgement: Some(self.judge(now, order)),
            notices,
            ..Effects::default()
        }
    }

    fn judge(&mut self, now: Timestamp, order: Verified<Order>) -> Judgement {
        let answer = self.pass(now, &order);
        let outcome = match answer {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Refused(reason),
        };
        let permit = answer.ok().map(|()| Permit {
            order: order.frame().into(),
            policy: self.policy_hash,
            worst_price: None,
            generation: 0,
        });
        let verdict = Verdict {
            order_frame: order.frame().into(),
            order: order.message().id,
            outcome,
            checks: Vec::new(),
        };
        Judgement {
            order,
            verdict,
            permit,
        }
    }

    /// Every rule in turn, cheapest and most telling first. Only when all agree does anything
    /// change, except that an id once seen stays seen.
    fn pass(&mut self, now: Timestamp, verified: &Verified<Order>) -> Result<(), Reason> {
        let order = verified.message();
        let expires_at = verified.header().expires_at;
        let known = rules::duplicate::check(&mut self.seen, order.id, now);
        rules::kill_switch::check(self.kill)?;
        rules::warming_up::check(now, self.started_at, self.account.as_ref())?;
        rules::policy::check(self.policy_hash, order.policy)?;
        rules::expiry::check(now, order.created_at, expires_at)?;
        known?;
        let limits = rules::instrument::check(&self.instruments, order.symbol)?;
        rules::venue_filters::check(&limits.instrument, order)?;
        rules::order_rate::check(&self.rate, now)?;

        let quote = self.quotes.get(&order.symbol);
        let age_max = Span::from_millis(self.policy.book_age_ms_max);
        let mid = rules::market_data::check(now, quote, age_max)?;
        rules::price_collar::check(order.side, order.limit_price, mid, limits.collar)?;
        rules::order_notional::check(
            order.quantity,
            order.limit_price,
            mid,
            limits.order_notional_max,
        )?;

        let account = rules::position_known::check(now, self.account.as_ref())?;
        rules::policy::check(self.policy_hash, account.policy)?;
        let pending = self.exposures.reservations();
        rules::open_orders::check(account.orders_open, pending, self.policy.orders_open_max)?;
        let worst = self
            .exposures
            .of_symbol(order.symbol)
            .map_err(|_| Reason::Overflow)?;
        rules::reduce_only::check(order, worst)?;
        rules::position_notional::check(order, worst, mid, limits.position_notional_max)?;

        self.reserve(order, expires_at)?;
        // There is room: its rule said so, and nothing came in between.
        self.rate.take(now);
        Ok(())
    }

    fn reserve(&mut self, order: &Order, expires_at: Timestamp) -> Result<(), Reason> {
        let Order {
            id,
            strategy,
            symbol,
            side,
            quantity,
            ..
        } = *order;
        self.exposures
            .reserve(id, strategy, symbol, side, quantity, expires_at)
            .map_err(|error| match error {
                ReserveError::TooMany => Reason::TooManyOrders,
                ReserveError::Twice => Reason::DuplicateOrder,
                ReserveError::Overflow => Reason::Overflow,
            })
    }
}

// The lifetime decides how long ids must be remembered; two of them are the least.
const _: () = assert!(REMEMBERED_FOR.0 >= ORDER_LIFETIME.0.saturating_mul(2));
