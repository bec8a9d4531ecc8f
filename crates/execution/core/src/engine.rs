//! The state machine itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use portcullis_domain::{Exposure, Hash, KillState, OrderId, Reason, Span, Symbol, Timestamp, Usd};
use portcullis_wire::Text;
use portcullis_wire::agreement::Agreement;
use portcullis_wire::messages::{
    ExecutionStatus, Heartbeat, OpenOrder, StrategyExposure, StrategyLoss, VenueHalt,
};
use portcullis_wire::principal::Role;

use crate::confirm::{Watch, Way};
use crate::hard_limits::{self, daily_loss_max};
use crate::input::{Effects, Input, Requests};
use crate::ledger::Ledger;
use crate::orders::{Entry, Orders, State};
use crate::reconcile::{FreshFill, Halts, Theirs};
use crate::record::Record;

/// How far back fills and movements are fetched beyond what is known.
const FETCH_OVERLAP: Span = Span::from_secs(60);

/// A state that cannot be trusted: the process must stop, and a stopped execution sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A total left the range in which it can be computed.
    #[error("a running total left the range of amounts")]
    Overflow,
    /// A record names an order that no earlier record accepted.
    #[error("the journal names order {0}, which it never accepted")]
    UnknownOrder(OrderId),
    /// A day began twice, or before one that began already, or what it began with was changed.
    #[error("the journal's beginning of day {0} does not follow from what is before it")]
    Day(u64),
    /// A part of a snapshot is not at the head of the journal, or of an order that it does not have.
    #[error("the journal's snapshot is not whole, or not at its head")]
    Snapshot,
}

/// What becomes of an open order at the venue that is not ours, or was altered there. Nothing new is
/// sent in its instrument either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignOrders {
    /// It is reported.
    Report,
    /// It is reported and cancelled.
    Cancel,
}

/// What configuration says; it can only tighten the hard limits.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The digest of the risk policy.
    pub policy_hash: Hash,
    /// The policy's daily loss; the compiled one wins when it is smaller.
    pub daily_loss_max: Usd,
    /// The oldest book that still prices an order.
    pub book_age_max: Span,
    /// What becomes of orders at the venue that are not ours.
    pub foreign_orders: ForeignOrders,
}

/// A kill, until the venue has confirmed that nothing is open and afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Killing {
    pub since: Timestamp,
    /// How many orders were not over then.
    pub orders: u64,
    pub confirmed_after: Option<Span>,
}

/// Everything that execution knows.
#[derive(Clone, Debug)]
pub struct Execution {
    pub(crate) settings: Settings,
    pub(crate) kill: KillState,
    /// When it was last acted on.
    pub(crate) killed_at: Timestamp,
    pub(crate) killing: Option<Killing>,
    /// Whether the process is about to end in order.
    pub(crate) stopping: bool,
    pub(crate) orders: Orders,
    pub(crate) ledger: Ledger,
    /// Movements of the wallet that are booked, the oldest first.
    pub(crate) movements: BTreeSet<(Timestamp, Text)>,
    /// Where the venue's account contradicted ours when they were last compared.
    pub(crate) halts: Halts,
    /// Where the venue told of an altered order, when last and of what: an account that was asked for
    /// before says nothing about it.
    pub(crate) alterations: BTreeMap<Symbol, (Timestamp, Text)>,
    /// Fills that the stream told since the last account came: the next one may be older than they
    /// are.
    pub(crate) fresh: Vec<FreshFill>,
    /// Whether the cash differed when it was last compared.
    pub(crate) cash_differs: bool,
    /// When it was last put on record that both agree.
    pub(crate) agreed_at: Option<Timestamp>,
    /// Whether anything happened after the snapshot that the journal may begin with.
    pub(crate) begun: bool,
    /// The order of a snapshot whose fills come next.
    pub(crate) restored: Option<OrderId>,
    pub(crate) heartbeat: Option<(Heartbeat, Timestamp)>,
    /// Whether its last heartbeat is so old that everything is cancelled.
    pub(crate) guard_is_silent: bool,
    pub(crate) agreement: Agreement,
    pub(crate) reconciled: bool,
    /// Whether the last account lacked an order that was open here.
    pub(crate) missing: bool,
    /// Since when the venue's stream tells every event.
    pub(crate) streaming_since: Option<Timestamp>,
    pub(crate) reconciled_at: Timestamp,
    pub(crate) reconcile_at: Timestamp,
    /// When the last reconciliation was asked for.
    pub(crate) reconcile_asked_at: Timestamp,
    /// The second and how many orders left in it.
    pub(crate) sent: (u64, u32),
    pub(crate) cancel_at: Timestamp,
    pub(crate) equity_at: Timestamp,
    /// The moment of the last step.
    pub(crate) now: Timestamp,
    pub(crate) started_at: Timestamp,
}

impl Execution {
    /// An execution without history.
    #[must_use]
    pub fn new(settings: Settings, kill: KillState, now: Timestamp) -> Self {
        Self {
            settings,
            kill,
            killed_at: Timestamp(0),
            killing: (!kill.may_trade()).then_some(Killing {
                since: now,
                orders: 0,
                confirmed_after: None,
            }),
            stopping: false,
            orders: Orders::default(),
            ledger: Ledger::default(),
            movements: BTreeSet::new(),
            halts: Halts::new(),
            cash_differs: false,
            alterations: BTreeMap::new(),
            fresh: Vec::new(),
            agreed_at: None,
            begun: false,
            restored: None,
            heartbeat: None,
            guard_is_silent: false,
            agreement: Agreement::new(Role::Execution, settings.policy_hash),
            reconciled: false,
            missing: false,
            streaming_since: None,
            reconciled_at: Timestamp(0),
            reconcile_at: Timestamp(0),
            reconcile_asked_at: Timestamp(0),
            sent: (0, 0),
            cancel_at: Timestamp(0),
            equity_at: Timestamp(0),
            now,
            started_at: now,
        }
    }

    /// Takes one record of the journal, in order, before the first [`Execution::step`].
    ///
    /// # Errors
    /// [`Fault`] when the record does not fit what came before.
    pub fn replay(&mut self, record: &Record) -> Result<(), Fault> {
        self.apply(record)
    }

    /// To be called once after the replay: whatever was on its way is now in doubt.
    ///
    /// # Errors
    /// [`Fault`] when the state cannot be trusted.
    pub fn resume(&mut self, now: Timestamp) -> Result<Effects, Fault> {
        let mut effects = Effects::default();
        self.now = now;
        let in_flight: Vec<OrderId> = self
            .orders
            .live()
            .filter(|entry| matches!(entry.state, State::Accepted(_) | State::Sent { .. }))
            .map(|entry| entry.order.id)
            .collect();
        for order in in_flight {
            self.doubt(&mut effects, order, now, "in flight when the process ended")?;
        }
        // What was in doubt before is asked for now: when it was due was said by a clock that may
        // have been ahead.
        let doubtful: Vec<OrderId> = self.orders.doubtful().map(|entry| entry.order.id).collect();
        for order in doubtful {
            self.with_doubt(&order, |doubt| doubt.ask_at = now);
        }
        if let Some(killing) = &mut self.killing {
            killing.orders = self.orders.live_count();
        }
        self.watch_anew(now);
        Ok(effects)
    }

    /// From when on fills must be fetched for a reconciliation, by the venue's clock.
    #[must_use]
    pub fn fills_since(&self) -> Timestamp {
        // Every reconciliation reaches back beyond the one before it, which fetched all there were. What
        // the stream tells proves nothing about what it did not tell.
        self.fetched_through().minus(FETCH_OVERLAP)
    }

    /// From when on movements of the wallet must be fetched for a reconciliation, by the venue's
    /// clock.
    #[must_use]
    pub fn movements_since(&self) -> Timestamp {
        self.fetched_through().minus(FETCH_OVERLAP)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Fault`] when the state cannot be trusted any more.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let mut effects = Effects::default();
        let out = &mut effects;
        self.now = now;
        match input {
            Input::Permit { permit, order } => self.permit(out, &permit, &order, now)?,
            Input::FactSealed { order, fact } => {
                self.waiting(&order, |waiting| waiting.fact = Some(fact));
            }
            Input::Durable(order) => {
                self.waiting(&order, |waiting| waiting.durable = true);
                self.send_if_ready(out, order, now)?;
            }
            Input::Receipt(receipt) => self.receipt(out, &receipt, now)?,
            Input::Signed { order, answer } => self.signed(out, order, answer, now)?,
            Input::Heartbeat(heartbeat) => self.heartbeat(out, &heartbeat, now),
            Input::Killed { cause, detail } => self.killed(out, cause, detail, now)?,
            Input::Book(book) => {
                // Its seal tells when it was read; the venue's clock is another one.
                self.ledger
                    .quote(book.message(), book.header().issued_at.min(now));
                self.check_loss(out);
            }
            Input::Trade(trade) => {
                self.ledger
                    .last(trade.message().symbol, trade.message().price);
                self.check_loss(out);
            }
            Input::Placed { order, outcome } => self.placed(out, order, outcome, now)?,
            Input::Queried {
                order,
                asked_at,
                outcome,
            } => {
                self.queried(out, order, asked_at, outcome, now)?;
            }
            Input::Venue(update) => self.venue(out, &update, Way::Stream, now)?,
            Input::VenueFill(fill) => self.fresh_fill(out, fill, now)?,
            Input::StreamUp => {
                self.streaming_since = Some(now);
                self.reconciled = false;
                self.reconcile_at = now;
            }
            Input::StreamLost => {
                self.streaming_since = None;
                self.reconciled = false;
                self.reconcile_at = now;
            }
            Input::Account {
                asked_at,
                open,
                fills,
                positions,
                cash,
                movements,
            } => {
                let theirs = Theirs {
                    asked_at,
                    open,
                    fills,
                    positions,
                    cash,
                    movements,
                };
                self.account(out, theirs, now)?;
            }
            Input::Stop => self.stop(out, now)?,
            Input::Tick => self.tick(out, now)?,
        }
        Ok(effects)
    }

    /// Which policies the others run.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Whether no order is open, under way or in doubt.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.orders.live_count() == 0
    }

    /// The account that execution gives of itself.
    ///
    /// # Errors
    /// [`Fault::Overflow`] when a loss cannot be computed.
    pub fn status(&self, now: Timestamp, requests: Requests) -> Result<ExecutionStatus, Fault> {
        let may_trade = self.may_trade(now);
        let listed = self.orders.live().take(ExecutionStatus::ORDERS_LISTED_MAX);
        Ok(ExecutionStatus {
            kill: self.kill,
            may_trade: may_trade.is_ok(),
            reason: may_trade.err(),
            policy: self.settings.policy_hash,
            day: self.ledger.day(),
            loss: self.ledger.loss().map_err(|_| Fault::Overflow)?,
            loss_rolling: self.ledger.loss_rolling().map_err(|_| Fault::Overflow)?,
            loss_max: self.loss_max(),
            hard_limits: hard_limits::digest(),
            equity: self.ledger.equity(),
            drawdown: self.ledger.drawdown().map_err(|_| Fault::Overflow)?,
            losses: self.losses()?,
            network: requests.network,
            signer: requests.signer,
            exposures: self.exposures(),
            positions: self.ledger.positions(),
            orders: listed.map(open_order).collect(),
            orders_open: self.orders.live_count(),
            orders_unknown: self.orders.doubtful_count(),
            orders_unconfirmed: self.orders.watched_count(),
            halts: self.halts_listed(),
            kill_confirmed_ms: self
                .killing
                .and_then(|killing| killing.confirmed_after)
                .map(Span::as_millis),
            fills: self.ledger.fills(),
        })
    }
}

impl Execution {
    /// By when fills and movements were fetched completely: by the last account that came, or else by
    /// the last on record that agreed. No order leaves before there is one.
    fn fetched_through(&self) -> Timestamp {
        let recorded = self.agreed_at.unwrap_or(self.started_at);
        recorded.max(self.reconciled_at)
    }

    /// The loss limit in force: the compiled one, the policy's, or one that was in force earlier
    /// today, whichever is the tightest.
    pub(crate) fn loss_max(&self) -> Usd {
        let configured = daily_loss_max(self.settings.daily_loss_max);
        let seen = self.ledger.day.limit.unwrap_or(configured);
        configured.min(seen)
    }

    /// The larger of the day's loss and that of the last 24 hours.
    pub(crate) fn loss_in_force(&self) -> Result<Usd, portcullis_domain::AmountError> {
        Ok(self.ledger.loss()?.max(self.ledger.loss_rolling()?))
    }

    /// After a restart nothing is known of confirmations any more: what is live is watched from now
    /// on, what is over is as the reconciliation finds it.
    fn watch_anew(&mut self, now: Timestamp) {
        let watched = self.orders.watched().chain(self.orders.live());
        let known: Vec<OrderId> = watched.map(|entry| entry.order.id).collect();
        for id in known {
            self.orders.update(&id, |entry| {
                entry.watch = entry.is_live().then(|| Watch::new(now, entry.notional()));
            });
        }
    }

    fn halts_listed(&self) -> Vec<VenueHalt> {
        let overdue = self.orders.overdue().map(|entry| VenueHalt {
            symbol: Some(entry.order.symbol),
            reason: Reason::Unconfirmed,
            evidence: Text::lossy(&alloc::format!(
                "order {} was not confirmed in time",
                entry.order.id
            )),
        });
        let halts = self.halts.iter().map(|(symbol, evidence)| VenueHalt {
            symbol: *symbol,
            reason: Reason::VenueDiffers,
            evidence: evidence.clone(),
        });
        let listed = halts.chain(overdue);
        listed.take(ExecutionStatus::HALTS_LISTED_MAX).collect()
    }

    /// Rows that say something: without a row nothing is held or open, and the account must fit a
    /// frame however many strategies ever traded.
    fn exposures(&self) -> Vec<StrategyExposure> {
        let mut rows = self.ledger.exposures();
        rows.retain(|row| row.position != Exposure::FLAT || row.orders_open > 0);
        rows
    }

    /// The day's losses and gains; who is not named has neither.
    fn losses(&self) -> Result<Vec<StrategyLoss>, Fault> {
        let mut losses = self.ledger.losses().map_err(|_| Fault::Overflow)?;
        losses.retain(|row| row.loss != Usd::ZERO);
        Ok(losses)
    }
}

fn open_order(entry: &Entry) -> OpenOrder {
    OpenOrder {
        order: entry.order.id,
        strategy: entry.order.strategy,
        symbol: entry.order.symbol,
        side: entry.order.side,
        quantity: entry.order.quantity,
        filled: entry.filled.size(),
        limit_price: entry.order.limit_price,
        status: entry.status(),
        since: entry.accepted_at,
    }
}
