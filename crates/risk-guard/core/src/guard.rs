//! The state of the guard, and what news does to it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{
    Book, BreakerKey, ExposureRow, Exposures, Hash, KillCause, KillState, OrderId, Posture,
    RateLimit, Reason, Recent, Span, Symbol, TIME_REVERSAL_MAX, Timestamp, Usd,
};
use portcullis_wire::agreement::Agreement;
use portcullis_wire::messages::{
    Closes, ExecutionStatus, Heartbeat, Notice, Outcome, Tally, Trade,
};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::ORDER_LIFETIME;
use portcullis_wire::{Text, Verified};

use crate::breakers::Breakers;
use crate::desk::Desk;
use crate::flights::Flights;
use crate::halts::Halts;
use crate::limits::Limits;
use crate::market::Market;
use crate::portfolio::Portfolio;
use crate::record::Record;
use crate::strategies::Strategies;
use crate::window::Window;
use crate::{Effects, Fault, Input, Settings, posture, rules};

/// How long an order id is remembered: a replayed order is expired long before.
const REMEMBERED_FOR: Span = Span::from_secs(10);

/// What of execution's account counts beside the exposures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub policy: Hash,
    pub orders_open: u64,
    /// The day's loss.
    pub loss: Usd,
    /// What was won since the journal began; `None` while that is not known.
    pub profit: Option<Usd>,
    /// How far equity is below the day's highest; `None` while that is not known.
    pub drawdown: Option<Usd>,
    /// When it was sealed, or received if its sender's clock is ahead.
    pub known_at: Timestamp,
    pub issued_at: Timestamp,
    /// Which start of execution it comes from, and what that start counted.
    pub boot: u64,
    pub network: Tally,
    pub signer: Tally,
}

impl Account {
    /// One in which nothing happened, issued then.
    #[cfg(test)]
    pub fn quiet(issued_at: Timestamp) -> Self {
        Self {
            policy: Hash([0; 32]),
            orders_open: 0,
            loss: Usd::ZERO,
            profit: Some(Usd::ZERO),
            drawdown: Some(Usd::ZERO),
            known_at: issued_at,
            issued_at,
            boot: 1,
            network: Tally::default(),
            signer: Tally::default(),
        }
    }
}

/// Judges orders. See the crate's page.
#[derive(Debug)]
pub struct RiskGuard {
    pub(crate) policy_hash: Hash,
    pub(crate) limits: Limits,
    pub(crate) started_at: Timestamp,
    latest: Timestamp,
    pub(crate) kill: KillState,
    pub(crate) posture: Posture,
    pub(crate) markets: BTreeMap<Symbol, Market>,
    pub(crate) account: Option<Account>,
    pub(crate) agreement: Agreement,
    pub(crate) exposures: Exposures,
    pub(crate) portfolio: Portfolio,
    pub(crate) strategies: Strategies,
    pub(crate) flights: Flights,
    pub(crate) breakers: Breakers,
    pub(crate) halts: Halts,
    pub(crate) desk: Desk,
    pub(crate) seen: Recent<OrderId>,
    pub(crate) permits: Window,
    complaints: RateLimit,
    /// Whether the kill switch was asked for because of too many open breakers.
    cascaded: bool,
}

impl RiskGuard {
    /// A guard that knows nothing yet, and so permits nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings {
            policy,
            policy_hash,
            strategies,
            orders_per_second_max,
            orders_pending_max,
            orders_remembered_max,
            kill,
            started_at,
        } = settings;
        let listed = policy.instruments.iter();
        let markets = listed.map(|limits| (limits.instrument.symbol, Market::default()));
        Self {
            markets: markets.collect(),
            portfolio: Portfolio::new(&policy.groups),
            strategies: Strategies::new(&strategies, &policy.strategy),
            breakers: Breakers::new(policy.breakers.clone()),
            limits: Limits::new(policy, orders_per_second_max),
            policy_hash,
            started_at,
            latest: started_at,
            kill,
            posture: Posture::Normal,
            account: None,
            agreement: Agreement::new(Role::RiskGuard, policy_hash),
            exposures: Exposures::new(orders_pending_max),
            flights: Flights::default(),
            halts: Halts::default(),
            desk: Desk::default(),
            seen: Recent::new(REMEMBERED_FOR, orders_remembered_max),
            permits: Window::new(
                Span::from_secs(1),
                u64::from(orders_per_second_max).saturating_add(1),
            ),
            complaints: RateLimit::new(2),
            cascaded: false,
        }
    }

    /// Takes one record of the journal, in order, before the first [`RiskGuard::step`].
    pub fn restore(&mut self, record: &Record) {
        self.apply(record);
    }

    /// To be called once after the last record. `proven` says whether the wall clock ran on since
    /// the last start; if not, every recovery begins anew and no halt ends by itself. What it gives
    /// back must be on disk before the first [`RiskGuard::step`]: the next start must not undo it.
    #[must_use]
    pub fn restored(&mut self, now: Timestamp, proven: bool) -> Vec<Record> {
        if proven {
            return Vec::new();
        }
        self.halts.hold();
        let halts = self.halts.listed().cloned().map(Record::Halted);
        let mut records: Vec<Record> = halts.collect();
        for (breaker, saved) in self.breakers.begin_anew(now) {
            records.push(Record::Breaker { breaker, saved });
        }
        records
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
            Input::Book(book) => self.book(now, book),
            Input::Trade(trade) => self.market_trade(now, &trade),
            Input::Closes(closes) => self.closes(now, &closes, &mut effects),
            Input::Status(status) => self.status(now, &status, &mut effects),
            Input::Report(report) => self.report(now, &report, &mut effects),
            Input::Command(command) => self.command(now, &command, &mut effects),
            Input::Kill(kill) => {
                self.kill = kill;
                effects.heartbeat = Some(self.heartbeat());
            }
            Input::Tick => self.tick(now, &mut effects),
        }
        self.tell_breakers(&mut effects);
        Ok(effects)
    }

    /// The kill switch.
    #[must_use]
    pub const fn kill(&self) -> KillState {
        self.kill
    }

    /// What the day's drawdown still allows.
    #[must_use]
    pub const fn posture(&self) -> Posture {
        self.posture
    }

    /// How many circuit breakers are open.
    #[must_use]
    pub fn breakers_open(&self) -> usize {
        self.breakers.open_count()
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

    pub(crate) const fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            kill: self.kill,
            posture: self.posture,
            policy: self.policy_hash,
        }
    }

    fn book(&mut self, now: Timestamp, book: Verified<Book>) {
        let symbol = book.message().symbol();
        let Some(market) = self.markets.get_mut(&symbol) else {
            return;
        };
        if market.book(now, book) {
            self.value(symbol);
        }
    }

    /// What an instrument may be worth has changed, with its price or its orders. Without a price its
    /// last value stays; whoever would open anything is refused for the age of the price then.
    pub(crate) fn value(&mut self, symbol: Symbol) {
        let quote = self.markets.get(&symbol).and_then(Market::quote);
        if let (Some(quote), Ok(worst)) = (quote, self.exposures.of_symbol(symbol)) {
            let mid = quote.mid;
            self.portfolio.value(symbol, worst, mid);
        }
    }

    fn market_trade(&mut self, now: Timestamp, trade: &Verified<Trade>) {
        let trade = trade.message();
        if let Some(market) = self.markets.get_mut(&trade.symbol) {
            market.trade(now, trade);
        }
    }

    fn closes(&mut self, now: Timestamp, closes: &Verified<Closes>, effects: &mut Effects) {
        let closes = closes.message();
        let Some(market) = self.markets.get_mut(&closes.symbol) else {
            return;
        };
        if let Err(error) = market.closes(now, closes) {
            let detail = format!("closes of {}: {error}", closes.symbol);
            self.complain(now, Reason::VolatilityUnknown, &detail, effects);
        }
    }

    fn status(
        &mut self,
        now: Timestamp,
        status: &Verified<ExecutionStatus>,
        effects: &mut Effects,
    ) {
        let header = status.header();
        let (issued_at, boot) = (header.issued_at, header.boot);
        let message = status.message();
        let rows = message.exposures.iter().map(ExposureRow::from);
        if let Err(error) = self.exposures.snapshot(rows, issued_at) {
            // The last good one stays and grows old: then the position is unknown.
            let detail = format!("execution's account {error}");
            self.complain(now, Reason::PositionUnknown, &detail, effects);
            return;
        }
        let before = self.account;
        self.account = Some(Account {
            policy: message.policy,
            orders_open: message.orders_open,
            loss: message.loss,
            profit: message.equity,
            drawdown: message.equity.map(|_| message.drawdown),
            known_at: issued_at.min(now),
            issued_at,
            boot,
            network: message.network,
            signer: message.signer,
        });
        self.portfolio.clear();
        let symbols: Vec<Symbol> = self.exposures.symbols().collect();
        for symbol in symbols {
            self.value(symbol);
        }
        let losses = message.losses.iter();
        self.strategies
            .losses(losses.map(|row| (&row.strategy, row.loss)));
        self.count_requests(now, before, effects);
        self.follow_drawdown(effects);
        let news = self.agreement.heard(now, Role::Execution, message.policy);
        effects.notices.extend(news);
    }

    /// The posture goes down by itself, and never up.
    pub(crate) fn follow_drawdown(&mut self, effects: &mut Effects) {
        let Some(drawdown) = self.account.and_then(|account| account.drawdown) else {
            return;
        };
        let limit = self.drawdown_limit();
        let allowed = posture::allowed(drawdown, limit);
        if allowed > self.posture {
            let detail = format!("equity fell {drawdown} from the day's peak, of {limit} allowed");
            self.set_posture(allowed, &detail, effects);
        }
    }

    pub(crate) fn set_posture(&mut self, to: Posture, detail: &str, effects: &mut Effects) {
        let from = self.posture;
        self.keep(Record::Posture { posture: to }, effects);
        effects.heartbeat = Some(self.heartbeat());
        effects.notices.push(Notice::Posture {
            from,
            to,
            detail: Text::lossy(detail),
        });
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Effects) {
        self.breakers.tick(now);
        self.overdue(now);
        self.sample_volatility(now);
        for scope in self.halts.over(now) {
            self.keep(Record::HaltEnded { scope }, effects);
            effects.is_sync = true;
        }
        let lapsed = self.desk.lapsed(now);
        effects.notices.extend(lapsed);
        effects.heartbeat = Some(self.heartbeat());
    }

    /// Changes what survives a restart, and has it written down.
    pub(crate) fn keep(&mut self, record: Record, effects: &mut Effects) {
        self.apply(&record);
        effects.records.push(record);
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Started { .. } => {}
            // Of a strategy or an instrument that is no longer configured nothing is to be stopped.
            Record::Breaker { breaker, saved } => {
                if self.knows(*breaker) {
                    self.breakers.restore(*breaker, saved);
                }
            }
            Record::Halted(halt) => self.halts.begin(halt.clone()),
            Record::HaltEnded { scope } => self.halts.end(*scope),
            Record::Suspended { strategy } => {
                if let Some(strategy) = self.strategies.get_mut(*strategy) {
                    strategy.is_suspended = true;
                }
            }
            Record::Released { strategy } => {
                if let Some(strategy) = self.strategies.get_mut(*strategy) {
                    strategy.release();
                }
            }
            Record::Limit { rule, scope, value } => self.limits.set(*rule, *scope, *value),
            Record::Posture { posture } => self.posture = *posture,
        }
    }

    /// Writes down and tells what changed of the breakers. So many open ones that something greater
    /// must be wrong pull the kill switch.
    fn tell_breakers(&mut self, effects: &mut Effects) {
        for (breaker, saved) in self.breakers.take_dirty() {
            effects.records.push(Record::Breaker { breaker, saved });
        }
        let generation = self.breakers.generation();
        for change in self.breakers.take_changes() {
            // A breaker that lets more through does so only once that is on disk.
            effects.is_sync |= change.lets_more_through();
            effects.notices.push(Notice::Breaker {
                breaker: change.key,
                from: change.from,
                to: change.to,
                generation,
                detail: Text::lossy(change.why),
            });
        }
        self.cascade(effects);
    }

    /// Asked for at every step, so that a crash between the record and the latch loses nothing.
    fn cascade(&mut self, effects: &mut Effects) {
        if !self.breakers.is_restricting() || !self.kill.may_trade() || self.cascaded {
            return;
        }
        let kinds = self.breakers.kinds_open();
        if kinds < crate::breakers::CASCADE {
            return;
        }
        self.cascaded = true;
        let detail = format!("{kinds} kinds of circuit breakers are open at once");
        effects.kill = Some((KillCause::Cascade, Text::lossy(&detail)));
        // What was about to be permitted is not.
        if let Some(judgement) = &mut effects.judgement
            && judgement.permit.take().is_some()
        {
            judgement.verdict.outcome = Outcome::Refused(Reason::CircuitBreakerActive);
        }
    }

    pub(crate) fn complain(
        &mut self,
        now: Timestamp,
        reason: Reason,
        detail: &str,
        effects: &mut Effects,
    ) {
        if self.complaints.take(now) {
            effects.notices.push(Notice::Refused {
                reason,
                detail: Text::lossy(detail),
            });
        }
    }

    /// Whether a breaker is about somebody or something that this guard knows.
    pub(crate) fn knows(&self, key: BreakerKey) -> bool {
        crate::breakers::concerns(
            key,
            |strategy| self.strategies.has(strategy),
            |symbol| self.markets.contains_key(&symbol),
        )
    }
}

// The lifetime decides how long ids must be remembered; two of them are the least.
const _: () = assert!(REMEMBERED_FOR.0 >= ORDER_LIFETIME.0.saturating_mul(2));
