//! The state machine itself.

use alloc::vec::Vec;

use portcullis_domain::{
    Fill, Hash, KillCause, KillState, Order, OrderId, OrderStatus, Quantity, Reason, Span,
    Timestamp, Usd,
};
use portcullis_wire::messages::{
    ExecutionReport, ExecutionStatus, Heartbeat, Notice, OpenOrder, Permit, Receipt,
};
use portcullis_wire::{Text, Verified};

use crate::hard_limits::{ARRIVAL_MAX, SILENCE_MAX, daily_loss_max};
use crate::input::{
    Effect, Effects, Input, PlaceOutcome, QueryOutcome, Ticket, VenueOrder, VenueState,
};
use crate::ledger::Ledger;
use crate::orders::{Closing, Doubt, Entry, Orders, State};
use crate::record::Record;

/// How long the shell may take to say how a request went.
const ANSWER_MAX: Span = Span::from_secs(10);
/// How long to wait between two attempts to cancel everything.
const CANCEL_EVERY: Span = Span::from_secs(1);
/// How long the fills of an order that is over may be on their way before they are fetched.
const FILLS_LATE_AFTER: Span = Span::from_secs(2);
/// How long to wait between two reconciliations while something is wrong.
const RECONCILE_EVERY: Span = Span::from_secs(1);
/// How long to wait between two reconciliations while all is well.
const RECONCILE_ROUTINE: Span = Span::from_secs(60);
/// How often the equity is put on record while it changes.
const EQUITY_EVERY: Span = Span::from_secs(1);
/// How far back fills are fetched beyond the last one known.
const FILLS_OVERLAP: Span = Span::from_secs(60);

/// A state that cannot be trusted: the process must stop, and a stopped execution sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A total left the range in which it can be computed.
    #[error("a running total left the range of amounts")]
    Overflow,
    /// A record names an order that no earlier record accepted.
    #[error("the journal names order {0}, which it never accepted")]
    UnknownOrder(OrderId),
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
}

/// Everything that execution knows.
#[derive(Clone, Debug)]
pub struct Execution {
    pub(crate) settings: Settings,
    pub(crate) kill: KillState,
    pub(crate) orders: Orders,
    pub(crate) ledger: Ledger,
    pub(crate) heartbeat: Option<(Heartbeat, Timestamp)>,
    pub(crate) reconciled: bool,
    pub(crate) reconciled_at: Timestamp,
    pub(crate) reconcile_at: Timestamp,
    /// The second and how many orders left in it.
    pub(crate) sent: (u64, u32),
    cancel_at: Timestamp,
    equity_at: Timestamp,
    last_fill_at: Option<Timestamp>,
    started_at: Timestamp,
}

impl Execution {
    /// An execution without history.
    #[must_use]
    pub fn new(settings: Settings, kill: KillState, now: Timestamp) -> Self {
        Self {
            settings,
            kill,
            orders: Orders::default(),
            ledger: Ledger::default(),
            heartbeat: None,
            reconciled: false,
            reconciled_at: Timestamp(0),
            reconcile_at: Timestamp(0),
            sent: (0, 0),
            cancel_at: Timestamp(0),
            equity_at: Timestamp(0),
            last_fill_at: None,
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
        let in_flight: Vec<OrderId> = self
            .orders
            .live()
            .filter(|entry| matches!(entry.state, State::Accepted(_) | State::Sent { .. }))
            .map(|entry| entry.order.id)
            .collect();
        for order in in_flight {
            self.doubt(&mut effects, order, now, "in flight when the process ended")?;
        }
        Ok(effects)
    }

    /// From when on fills must be fetched for a reconciliation, by the venue's clock.
    #[must_use]
    pub fn fills_since(&self) -> Timestamp {
        let oldest_live = self.orders.live().next().map(|entry| entry.accepted_at);
        let from = self.last_fill_at.unwrap_or(self.started_at);
        from.min(oldest_live.unwrap_or(from)).minus(FILLS_OVERLAP)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Fault`] when the state cannot be trusted any more.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let mut effects = Effects::default();
        let out = &mut effects;
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
            Input::Heartbeat(heartbeat) => {
                self.heartbeat = Some((*heartbeat.message(), heartbeat.header().issued_at.min(now)));
            }
            Input::Killed { cause, detail } => self.killed(out, cause, detail, now)?,
            Input::Book(book) => {
                // Its seal tells when it was read; the venue's clock is another one.
                self.ledger.quote(book.message(), book.header().issued_at.min(now));
                self.check_loss(out);
            }
            Input::Trade(trade) => {
                self.ledger.last(trade.message().symbol, trade.message().price);
                self.check_loss(out);
            }
            Input::Placed { order, outcome } => self.placed(out, order, outcome, now)?,
            Input::Queried { order, asked_at, outcome } => {
                self.queried(out, order, asked_at, outcome, now)?;
            }
            Input::Venue(update) => self.venue(out, &update, now)?,
            Input::VenueFill(fill) => self.fill(out, fill)?,
            Input::StreamLost => {
                self.reconciled = false;
                self.reconcile_at = now;
            }
            Input::Account { asked_at, open, fills, positions } => {
                self.account(out, asked_at, &open, fills, &positions, now)?;
            }
            Input::Tick => self.tick(out, now)?,
        }
        Ok(effects)
    }

    fn permit(
        &mut self,
        out: &mut Effects,
        permit: &Verified<Permit>,
        order: &Verified<Order>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let message = order.message();
        if self.orders.get(&message.id).is_some() {
            let detail = Text::lossy("a permit for an order that is already known");
            out.effects.push(Effect::Notice(Notice::Refused {
                reason: Reason::DuplicateOrder,
                detail,
            }));
            return Ok(());
        }
        let expires_at = order.header().expires_at.min(permit.header().expires_at);
        let sealed_for_it = permit.message().order == order.frame();
        let allowed = if !sealed_for_it {
            Err(Reason::OrderSeal)
        } else if now >= expires_at {
            Err(Reason::Expired)
        } else if permit.message().policy != self.settings.policy_hash {
            Err(Reason::PolicyMismatch)
        } else {
            self.may_send(message, now)
        };
        if let Err(reason) = allowed {
            let report = report_of(message, None, OrderStatus::Refused, None, Some(reason), "");
            out.effects.push(Effect::Report(report));
            return Ok(());
        }
        self.emit(out, Record::Accepted { order: message.clone(), expires_at, at: now })?;
        out.effects
            .push(Effect::Prepare { order: message.clone(), permit: permit.frame().to_vec() });
        Ok(())
    }

    fn waiting(&mut self, order: &OrderId, change: impl FnOnce(&mut crate::orders::Waiting)) {
        self.orders.update(order, |entry| {
            if let State::Accepted(waiting) = &mut entry.state {
                change(waiting);
            }
        });
    }

    fn receipt(&mut self, out: &mut Effects, receipt: &Receipt, now: Timestamp) -> Result<(), Fault> {
        let mut fits = false;
        self.waiting(&receipt.order, |waiting| {
            fits = waiting.fact == Some(receipt.fact);
            waiting.receipt |= fits;
        });
        if fits { self.send_if_ready(out, receipt.order, now) } else { Ok(()) }
    }

    fn signed(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        answer: Result<Ticket, Reason>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let waits = |entry: &Entry| matches!(entry.state, State::Accepted(_));
        if !self.orders.get(&order).is_some_and(waits) {
            return Ok(());
        }
        match answer {
            Ok(ticket) => {
                self.waiting(&order, |waiting| waiting.ticket = Some(ticket));
                self.send_if_ready(out, order, now)
            }
            Err(reason) => self.end(out, order, OrderStatus::Refused, Some(reason), ""),
        }
    }

    /// Sends an order once journal, receipt and signature are all there, if it still may leave.
    fn send_if_ready(&mut self, out: &mut Effects, id: OrderId, now: Timestamp) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&id) else { return Ok(()) };
        let State::Accepted(waiting) = &entry.state else { return Ok(()) };
        let (true, true, Some(ticket)) = (waiting.durable, waiting.receipt, &waiting.ticket) else {
            return Ok(());
        };
        let (order, ticket) = (entry.order.clone(), ticket.clone());
        let allowed =
            if now >= entry.expires_at { Err(Reason::Expired) } else { self.may_send(&order, now) };
        if let Err(reason) = allowed {
            return self.end(out, id, OrderStatus::Refused, Some(reason), "");
        }
        self.count_sent(now);
        self.emit(out, Record::Sent { order: id, timestamp_ms: ticket.timestamp_ms })?;
        out.effects.push(Effect::Place { order, ticket });
        Ok(())
    }

    fn killed(
        &mut self,
        out: &mut Effects,
        cause: KillCause,
        detail: Text,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.kill = KillState::Triggered;
        let state = self.kill;
        out.effects.push(Effect::Notice(Notice::KillSwitch { state, cause, detail }));
        let waiting: Vec<OrderId> = self.orders.accepted().map(|entry| entry.order.id).collect();
        for order in waiting {
            self.end(out, order, OrderStatus::Refused, Some(Reason::KillSwitch), "")?;
        }
        self.cancel_at = now;
        self.cancel_all(out, now);
        Ok(())
    }

    fn cancel_all(&mut self, out: &mut Effects, now: Timestamp) {
        if now < self.cancel_at {
            return;
        }
        self.cancel_at = now.plus(CANCEL_EVERY);
        let symbols = self.orders.live_symbols();
        out.effects.extend(symbols.map(|symbol| Effect::CancelAll { symbol }));
    }

    fn placed(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        outcome: PlaceOutcome,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&order) else { return Ok(()) };
        // The stream may have been faster than the answer.
        if !matches!(entry.state, State::Sent { .. }) {
            return Ok(());
        }
        match outcome {
            PlaceOutcome::Acknowledged(venue_order) => {
                self.emit(out, Record::Opened { order, venue_order })?;
                self.report(out, order, None, "");
                Ok(())
            }
            PlaceOutcome::Rejected(reason, detail) => {
                self.end(out, order, OrderStatus::Rejected, Some(reason), detail.as_str())
            }
            PlaceOutcome::NotSent(reason, detail) => {
                self.end(out, order, OrderStatus::Refused, Some(reason), detail.as_str())
            }
            PlaceOutcome::Unknown(detail) => self.doubt(out, order, now, detail.as_str()),
        }
    }

    fn doubt(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        now: Timestamp,
        detail: &str,
    ) -> Result<(), Fault> {
        self.emit(out, Record::InDoubt { order, at: now })?;
        self.report(out, order, None, detail);
        Ok(())
    }

    fn queried(
        &mut self,
        out: &mut Effects,
        id: OrderId,
        asked_at: Timestamp,
        outcome: QueryOutcome,
        now: Timestamp,
    ) -> Result<(), Fault> {
        match outcome {
            QueryOutcome::Found(update) => self.venue(out, &update, now),
            QueryOutcome::Failed => Ok(()),
            QueryOutcome::NotFound => {
                let Some(entry) = self.orders.get(&id) else { return Ok(()) };
                let doubt = match entry.state {
                    State::InDoubt(doubt) => doubt,
                    // The venue had it and now does not know it: that is a doubt too.
                    State::Open => return self.doubt(out, id, now, "the venue no longer knows it"),
                    State::Accepted(_) | State::Sent { .. } | State::Ended(_) => return Ok(()),
                };
                // Never place it again, and never give it up early: a "not found" may be older
                // than the placement.
                if asked_at < doubt.settled_at {
                    return Ok(());
                }
                let Some(first) = doubt.not_found_at else {
                    self.with_doubt(&id, |doubt| doubt.not_found_at = Some(asked_at));
                    self.reconcile_at = now;
                    return Ok(());
                };
                // All fills since it was accepted were fetched after that, so if any were its own
                // they are booked.
                if self.reconciled_at <= first {
                    return Ok(());
                }
                let filled = entry.filled.size();
                let (status, reason) = match filled {
                    None => (OrderStatus::Rejected, Some(Reason::NeverArrived)),
                    Some(filled) if filled >= entry.order.quantity => (OrderStatus::Filled, None),
                    Some(_) => (OrderStatus::Cancelled, None),
                };
                self.end(out, id, status, reason, "the venue does not have it and cannot get it")
            }
        }
    }

    fn with_doubt(&mut self, order: &OrderId, change: impl FnOnce(&mut Doubt)) {
        self.orders.update(order, |entry| {
            if let State::InDoubt(doubt) = &mut entry.state {
                change(doubt);
            }
        });
    }

    /// Takes the venue's word on an order.
    pub(crate) fn venue(
        &mut self,
        out: &mut Effects,
        update: &VenueOrder,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(id) = update.order else { return Ok(()) };
        let Some(entry) = self.orders.get(&id) else { return Ok(()) };
        if !entry.is_live() {
            return Ok(());
        }
        let opens = matches!(entry.state, State::Sent { .. } | State::InDoubt(_));
        if opens {
            self.emit(out, Record::Opened { order: id, venue_order: update.venue_order })?;
            self.report(out, id, None, "");
        }
        match update.state {
            VenueState::Open => Ok(()),
            VenueState::Filled | VenueState::Cancelled | VenueState::Rejected => {
                let filled = update.filled.map_or(Ok(portcullis_domain::Exposure::FLAT), |filled| {
                    portcullis_domain::Exposure::FLAT.bought(filled)
                });
                let filled = filled.map_err(|_| Fault::Overflow)?;
                let closing = Closing { state: update.state, filled, since: now };
                self.orders.update(&id, |entry| entry.closing = Some(closing));
                self.close_if_complete(out, id, update.detail.as_str())
            }
        }
    }

    /// Ends an order of which the venue says that it is over, once its fills are all here.
    fn close_if_complete(&mut self, out: &mut Effects, id: OrderId, detail: &str) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&id) else { return Ok(()) };
        let Some(closing) = entry.closing else { return Ok(()) };
        if entry.filled < closing.filled {
            return Ok(());
        }
        let (status, reason) = match closing.state {
            VenueState::Open => return Ok(()),
            VenueState::Filled => (OrderStatus::Filled, None),
            VenueState::Cancelled => (OrderStatus::Cancelled, None),
            VenueState::Rejected => (OrderStatus::Rejected, Some(Reason::VenueRejected)),
        };
        self.end(out, id, status, reason, detail)
    }

    /// Books a fill, once.
    pub(crate) fn fill(&mut self, out: &mut Effects, fill: Fill) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&fill.order) else {
            let detail = alloc::format!("fill {} is of no order of ours", fill.execution);
            self.contradiction(out, &detail);
            return Ok(());
        };
        if entry.has(&fill.execution) {
            return Ok(());
        }
        let order = entry.order.clone();
        let fits = fill.symbol == order.symbol
            && fill.side == order.side
            && entry.remaining().is_some_and(|remaining| fill.quantity <= remaining);
        if !fits {
            let detail = alloc::format!("fill {} does not fit order {}", fill.execution, order.id);
            self.contradiction(out, &detail);
        }
        if matches!(entry.state, State::Sent { .. } | State::InDoubt(_)) {
            self.emit(out, Record::Opened { order: order.id, venue_order: fill.venue_order })?;
        }
        let id = order.id;
        // It happened at the venue, so it is booked, even where it contradicts us.
        self.emit(out, Record::Filled(fill.clone()))?;
        out.effects.push(Effect::Fill(order.strategy, fill));
        let whole = self.orders.get(&id).is_some_and(|entry| entry.remaining().is_none());
        if whole && self.orders.get(&id).is_some_and(Entry::is_live) {
            self.end(out, id, OrderStatus::Filled, None, "")?;
        } else {
            self.report(out, id, None, "");
            self.close_if_complete(out, id, "")?;
        }
        self.check_loss(out);
        Ok(())
    }

    /// The venue's account says something that our record rules out: stop.
    pub(crate) fn contradiction(&self, out: &mut Effects, detail: &str) {
        if self.kill.may_trade() {
            out.effects.push(Effect::Latch(KillCause::Inconsistent, Text::lossy(detail)));
        }
        out.effects.push(Effect::Notice(Notice::Warning { detail: Text::lossy(detail) }));
    }

    fn check_loss(&self, out: &mut Effects) {
        if !self.kill.may_trade() {
            return;
        }
        let limit = daily_loss_max(self.settings.daily_loss_max);
        // A loss that cannot be computed counts as one beyond the limit.
        let loss = self.ledger.loss().unwrap_or(limit);
        if loss >= limit {
            let detail = alloc::format!("day's loss {loss} reached the hard limit {limit}");
            out.effects.push(Effect::Latch(KillCause::HardLoss, Text::lossy(&detail)));
        }
    }

    fn tick(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        self.roll_day(out, now)?;
        self.record_equity(out, now)?;
        self.expire(out, now)?;
        self.resolve_doubts(out, now);
        let heard_at = self.heartbeat.map_or(self.started_at, |(_, at)| at);
        let silent = now.since(heard_at) > SILENCE_MAX;
        if !self.kill.may_trade() || silent {
            self.cancel_all(out, now);
        }
        let late = self.orders.closing().any(|entry| {
            entry.closing.is_some_and(|closing| now.since(closing.since) > FILLS_LATE_AFTER)
        });
        if late || !self.reconciled {
            self.reconcile_at = self.reconcile_at.min(self.reconciled_at.plus(RECONCILE_EVERY));
        }
        if now >= self.reconcile_at {
            self.reconcile_at = now.plus(RECONCILE_ROUTINE);
            out.effects.push(Effect::Reconcile);
        }
        Ok(())
    }

    fn roll_day(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        let today = self.today(now);
        if today == self.ledger.day() {
            return Ok(());
        }
        // The first day ever begins at nothing; every later one where the last one was recorded.
        let baseline = self.ledger.next_baseline();
        self.emit(out, Record::DayBegan { day: today, baseline })
    }

    fn record_equity(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        if now < self.equity_at {
            return Ok(());
        }
        self.equity_at = now.plus(EQUITY_EVERY);
        match self.ledger.equity() {
            Some(equity) if equity != self.ledger.equity_recorded() => {
                self.emit(out, Record::Equity { equity })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn expire(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        let expired: Vec<(OrderId, Reason)> = self
            .orders
            .accepted()
            .take_while(|entry| now >= entry.expires_at)
            .map(|entry| {
                let reason = match &entry.state {
                    State::Accepted(waiting) if !waiting.durable => Reason::JournalUnwritable,
                    State::Accepted(waiting) if !waiting.receipt => Reason::NoReceipt,
                    State::Accepted(_) => Reason::NoSignature,
                    State::Sent { .. } | State::InDoubt(_) | State::Open | State::Ended(_) => {
                        Reason::Expired
                    }
                };
                (entry.order.id, reason)
            })
            .collect();
        for (order, reason) in expired {
            self.end(out, order, OrderStatus::Refused, Some(reason), "")?;
        }
        let unanswered: Vec<OrderId> = self
            .orders
            .live()
            .take_while(|entry| now.since(entry.accepted_at) > ANSWER_MAX)
            .filter(|entry| matches!(entry.state, State::Sent { .. }))
            .map(|entry| entry.order.id)
            .collect();
        for order in unanswered {
            self.doubt(out, order, now, "no answer about the request")?;
        }
        Ok(())
    }

    fn resolve_doubts(&mut self, out: &mut Effects, now: Timestamp) {
        let due: Vec<(OrderId, portcullis_domain::Symbol)> = self
            .orders
            .doubtful()
            .filter(|entry| matches!(entry.state, State::InDoubt(doubt) if now >= doubt.ask_at))
            .map(|entry| (entry.order.id, entry.order.symbol))
            .collect();
        for (order, symbol) in due {
            self.with_doubt(&order, |doubt| {
                doubt.asked = doubt.asked.saturating_add(1);
                doubt.ask_at = now.plus(Span::from_secs(u64::from(doubt.asked.min(5))));
            });
            out.effects.push(Effect::Query { order, symbol });
        }
    }

    pub(crate) fn end(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        status: OrderStatus,
        reason: Option<Reason>,
        detail: &str,
    ) -> Result<(), Fault> {
        self.emit(out, Record::Ended { order, status })?;
        self.report(out, order, reason, detail);
        Ok(())
    }

    fn report(&self, out: &mut Effects, id: OrderId, reason: Option<Reason>, detail: &str) {
        if let Some(entry) = self.orders.get(&id) {
            let report = report_of(
                &entry.order,
                entry.filled.size(),
                entry.status(),
                entry.venue_order,
                reason,
                detail,
            );
            out.effects.push(Effect::Report(report));
        }
    }

    pub(crate) fn emit(&mut self, out: &mut Effects, record: Record) -> Result<(), Fault> {
        self.apply(&record)?;
        out.records.push(record);
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<(), Fault> {
        match record {
            Record::Accepted { order, expires_at, at } => {
                self.ledger
                    .open(order.strategy, order.symbol, order.side, order.quantity)
                    .map_err(|_| Fault::Overflow)?;
                self.orders.insert(Entry::new(order.clone(), *expires_at, *at));
                Ok(())
            }
            Record::Sent { order, timestamp_ms } => {
                let state = State::Sent { timestamp_ms: *timestamp_ms };
                self.change(order, |entry| entry.state = state)
            }
            Record::InDoubt { order, at } => self.change(order, |entry| {
                let stamped = match entry.state {
                    State::Sent { timestamp_ms } => Timestamp::from_millis(timestamp_ms),
                    // Without a record of the sending it may have carried any time up to its end.
                    State::Accepted(_) | State::InDoubt(_) | State::Open | State::Ended(_) => {
                        entry.expires_at
                    }
                };
                let settled_at = stamped.max(entry.expires_at).plus(ARRIVAL_MAX);
                entry.state = State::InDoubt(Doubt {
                    settled_at,
                    asked: 0,
                    ask_at: *at,
                    not_found_at: None,
                });
            }),
            Record::Opened { order, venue_order } => self.change(order, |entry| {
                entry.venue_order = Some(*venue_order);
                entry.state = State::Open;
            }),
            Record::Filled(fill) => self.apply_fill(fill),
            Record::Ended { order, status } => {
                let entry = self.orders.get(order).ok_or(Fault::UnknownOrder(*order))?;
                if entry.is_live() {
                    let released = entry.remaining();
                    self.release(&entry.order.clone(), released)?;
                }
                self.change(order, |entry| {
                    entry.closing = None;
                    entry.state = State::Ended(*status);
                })
            }
            Record::DayBegan { day, baseline } => {
                self.ledger.begin_day(*day, *baseline);
                Ok(())
            }
            Record::Equity { equity } => {
                self.ledger.record_equity(*equity);
                Ok(())
            }
        }
    }

    fn apply_fill(&mut self, fill: &Fill) -> Result<(), Fault> {
        let entry = self.orders.get(&fill.order).ok_or(Fault::UnknownOrder(fill.order))?;
        let (order, live) = (entry.order.clone(), entry.is_live());
        let released = entry.remaining().map(|remaining| remaining.min(fill.quantity));
        let filled = entry.filled.bought(fill.quantity).map_err(|_| Fault::Overflow)?;
        self.ledger.book(order.strategy, fill).map_err(|_| Fault::Overflow)?;
        if live {
            self.release(&order, released)?;
        }
        self.last_fill_at = self.last_fill_at.max(Some(fill.venue_time));
        self.change(&fill.order, |entry| entry.add(fill.execution, filled))
    }

    fn release(&mut self, order: &Order, quantity: Option<Quantity>) -> Result<(), Fault> {
        let Some(quantity) = quantity else { return Ok(()) };
        self.ledger
            .close(order.strategy, order.symbol, order.side, quantity)
            .map_err(|_| Fault::Overflow)
    }

    fn change(&mut self, order: &OrderId, change: impl FnOnce(&mut Entry)) -> Result<(), Fault> {
        self.orders.update(order, change).ok_or(Fault::UnknownOrder(*order))
    }

    /// The account that execution gives of itself.
    ///
    /// # Errors
    /// [`Fault::Overflow`] when the loss cannot be computed.
    pub fn status(&self, now: Timestamp) -> Result<ExecutionStatus, Fault> {
        let may_trade = self.may_trade(now);
        let listed = self.orders.live().take(ExecutionStatus::ORDERS_LISTED_MAX);
        Ok(ExecutionStatus {
            kill: self.kill,
            may_trade: may_trade.is_ok(),
            reason: may_trade.err(),
            policy: self.settings.policy_hash,
            day: self.ledger.day(),
            loss: self.ledger.loss().map_err(|_| Fault::Overflow)?,
            loss_max: daily_loss_max(self.settings.daily_loss_max),
            exposures: self.ledger.exposures(),
            positions: self.ledger.positions(),
            orders: listed.map(open_order).collect(),
            orders_open: self.orders.live_count(),
            orders_unknown: self.orders.doubtful_count(),
            fills: self.ledger.fills(),
        })
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

fn report_of(
    order: &Order,
    filled: Option<Quantity>,
    status: OrderStatus,
    venue_order: Option<portcullis_domain::VenueOrderId>,
    reason: Option<Reason>,
    detail: &str,
) -> ExecutionReport {
    ExecutionReport {
        order: order.id,
        strategy: order.strategy,
        symbol: order.symbol,
        side: order.side,
        quantity: order.quantity,
        filled,
        status,
        venue_order,
        reason,
        detail: Text::lossy(detail),
    }
}
