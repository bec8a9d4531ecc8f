//! What happens by itself: time passing, the kill switch, the day's loss.

use alloc::vec::Vec;

use portcullis_domain::{
    KillCause, KillState, OrderId, OrderStatus, Posture, Reason, Span, Timestamp,
};
use portcullis_wire::messages::{Heartbeat, Notice};
use portcullis_wire::principal::Role;
use portcullis_wire::{Text, Verified};

use crate::engine::{Execution, Fault, Killing};
use crate::hard_limits::SILENCE_MAX;
use crate::input::{Effect, Effects};
use crate::orders::State;
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
pub(crate) const RECONCILE_ROUTINE: Span = Span::from_secs(30);
/// The oldest account that still counts: two that could not be read in between.
pub(crate) const RECONCILED_MAX: Span = Span::from_secs(90);
/// The most orders that the venue is asked about at once for want of confirmations.
pub(crate) const ASKED_MAX: usize = 50;
/// How often the equity is put on record while it changes.
const EQUITY_EVERY: Span = Span::from_secs(1);

impl Execution {
    pub(crate) fn heartbeat(
        &mut self,
        out: &mut Effects,
        heartbeat: &Verified<Heartbeat>,
        now: Timestamp,
    ) {
        let said_at = heartbeat.header().issued_at.min(now);
        // One that was overtaken on the way says nothing about the present.
        if self.heartbeat.is_some_and(|(_, at)| said_at < at) {
            return;
        }
        self.heartbeat = Some((*heartbeat.message(), said_at));
        let policy = heartbeat.message().policy;
        let news = self.agreement.heard(now, Role::RiskGuard, policy);
        out.effects.extend(news.map(Effect::Notice));
    }

    pub(crate) fn killed(
        &mut self,
        out: &mut Effects,
        cause: KillCause,
        detail: Text,
        now: Timestamp,
    ) -> Result<(), Fault> {
        // Said a thousand times a second, it must fill neither the record nor the venue's budget: a
        // full outbox would end the process before it has cancelled anything.
        if self.kill == KillState::Triggered && now.since(self.killed_at) < CANCEL_EVERY {
            return Ok(());
        }
        self.killed_at = now;
        // Whoever kills wants to know what is open now, not what was after an earlier kill.
        self.killing = Some(Killing {
            since: now,
            orders: self.orders.live_count(),
            confirmed_after: None,
        });
        // That nothing is open is proven by the venue alone, as soon as it can be asked.
        self.reconcile_at = now;
        self.kill = KillState::Triggered;
        let state = self.kill;
        out.effects.push(Effect::Notice(Notice::KillSwitch {
            state,
            cause,
            detail,
        }));
        self.stand_down(out, Reason::KillSwitch, now)
    }

    pub(crate) fn stop(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        self.stopping = true;
        self.stand_down(out, Reason::ShuttingDown, now)
    }

    /// Refuses what has not left and cancels what has.
    fn stand_down(
        &mut self,
        out: &mut Effects,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let waiting: Vec<OrderId> = self.orders.accepted().map(|entry| entry.order.id).collect();
        for order in waiting {
            self.end(out, order, OrderStatus::Refused, Some(reason), "")?;
        }
        self.cancel_at = now;
        self.cancel_all(out, now);
        Ok(())
    }

    pub(crate) fn cancel_all(&mut self, out: &mut Effects, now: Timestamp) {
        if now < self.cancel_at {
            return;
        }
        self.cancel_at = now.plus(CANCEL_EVERY);
        let symbols = self.orders.live_symbols();
        out.effects
            .extend(symbols.map(|symbol| Effect::CancelAll { symbol }));
    }

    pub(crate) fn check_loss(&self, out: &mut Effects) {
        if !self.kill.may_trade() {
            return;
        }
        let limit = self.loss_max();
        // A loss that cannot be computed counts as one beyond the limit.
        let loss = self.loss_in_force().unwrap_or(limit);
        if loss >= limit {
            let day = self.ledger.loss().unwrap_or(limit);
            let of = if day >= limit { "the day" } else { "24 hours" };
            let detail = alloc::format!("loss of {of}, {loss}, reached the hard limit {limit}");
            out.effects
                .push(Effect::Latch(KillCause::HardLoss, Text::lossy(&detail)));
        }
    }

    pub(crate) fn tick(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        self.roll_day(out, now)?;
        self.note_limit(out)?;
        self.record_equity(out, now)?;
        self.expire(out, now)?;
        self.resolve_doubts(out, now);
        self.watch(out, now);
        let heard_at = self.heartbeat.map_or(self.started_at, |(_, at)| at);
        self.guard_is_silent = now.since(heard_at) > SILENCE_MAX;
        let cancelling = self.is_cancelling();
        if cancelling {
            self.cancel_all(out, now);
        }
        let late = self.orders.closing().any(|entry| {
            entry
                .closing
                .is_some_and(|closing| now.since(closing.since) > FILLS_LATE_AFTER)
        });
        // A doubt that ends with "not found" waits for a reconciliation; one that failed, or that was
        // not begun because another was under way, is asked for again.
        let awaited = self.orders.doubtful().any(|entry| {
            matches!(entry.state, State::InDoubt(doubt)
                if doubt.not_found_at.is_some_and(|first| self.reconciled_at <= first))
        });
        // That everything is cancelled counts only once the venue says so.
        let unproven = self
            .killing
            .is_some_and(|killing| killing.confirmed_after.is_none());
        let unconfirmed = unproven || (cancelling && self.orders.live_count() > 0);
        let disagreed = !self.reconciled || !self.halts.is_empty();
        if late || awaited || self.missing || unconfirmed || disagreed {
            self.reconcile_at = self
                .reconcile_at
                .min(self.reconcile_asked_at.plus(RECONCILE_EVERY));
        }
        if now >= self.reconcile_at {
            self.reconcile_asked_at = now;
            self.reconcile_at = now.plus(RECONCILE_ROUTINE);
            out.effects.push(Effect::Reconcile);
        }
        Ok(())
    }

    /// Whether everything that is open is being cancelled.
    pub(crate) fn is_cancelling(&self) -> bool {
        let guard_stops = self.heartbeat.is_some_and(|(heartbeat, _)| {
            !heartbeat.kill.may_trade() || heartbeat.posture == Posture::Emergency
        });
        !self.kill.may_trade() || self.stopping || self.guard_is_silent || guard_stops
    }

    /// Puts the limit in force on record, so that a restart with a looser one loosens nothing today.
    fn note_limit(&mut self, out: &mut Effects) -> Result<(), Fault> {
        let limit = self.loss_max();
        if self.ledger.day() != 0 && self.ledger.day.limit != Some(limit) {
            self.emit(out, Record::LimitSeen(limit))?;
        }
        Ok(())
    }

    pub(crate) fn roll_day(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        let today = self.today(now);
        if today == self.ledger.day() {
            return Ok(());
        }
        // One clock alone must not begin a day, and with it a new loss budget: risk-guard's must say
        // the same. Until it does nothing is sent, as the day in force is not today.
        let confirmed = self.heartbeat.is_some_and(|(_, at)| at.utc_day() >= today);
        if self.ledger.day() != 0 && !confirmed {
            return Ok(());
        }
        // The first day ever begins at nothing; every later one where the last one was recorded.
        let baseline = self.ledger.next_baseline();
        let chain = self.ledger.day.next_chain(today, baseline);
        self.emit(
            out,
            Record::DayBegan {
                day: today,
                baseline,
                chain,
            },
        )?;
        out.effects.push(Effect::Notice(Notice::DayBegan {
            day: today,
            baseline,
            chain,
        }));
        Ok(())
    }

    pub(crate) fn record_equity(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
        if now < self.equity_at {
            return Ok(());
        }
        self.equity_at = now.plus(EQUITY_EVERY);
        let Some(equity) = self.ledger.equity() else {
            return Ok(());
        };
        if self.ledger.day.wants_sample(now) {
            self.emit(out, Record::Sampled { at: now, equity })?;
        }
        let changed = self.ledger.equities_changed();
        if changed.is_empty() && equity == self.ledger.equity_recorded() {
            return Ok(());
        }
        let mut rest = changed.as_slice();
        loop {
            let part;
            (part, rest) = rest.split_at(rest.len().min(Record::STRATEGIES_MAX));
            let strategies = part.to_vec();
            self.emit(out, Record::Equity { equity, strategies })?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    pub(crate) fn expire(&mut self, out: &mut Effects, now: Timestamp) -> Result<(), Fault> {
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

    pub(crate) fn resolve_doubts(&mut self, out: &mut Effects, now: Timestamp) {
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
}
