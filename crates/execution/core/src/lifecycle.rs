//! The way of an order: permit, journal, receipt and signature, the venue's answer, fills, the end.

use portcullis_domain::{
    Fill, KillCause, Order, OrderId, OrderStatus, Quantity, Reason, Span, Timestamp,
};
use portcullis_wire::messages::{ExecutionReport, Notice, Permit, Receipt};
use portcullis_wire::{Text, Verified};

use crate::confirm::{Way, never_at_venue};
use crate::engine::{Execution, Fault};
use crate::input::{Effect, Effects, PlaceOutcome, QueryOutcome, Ticket, VenueOrder, VenueState};
use crate::orders::{Closing, Doubt, Entry, State};
use crate::reconcile::altered;
use crate::record::Record;

/// How far the venue's clock and ours may be apart, and then some.
const SETTLED_AFTER: Span = Span::from_secs(10);

impl Execution {
    pub(crate) fn permit(
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
            permit.message().tighten(message)
        };
        // From here on there is only the order as risk-guard lets it through.
        let allowed = allowed.and_then(|order| self.may_send(&order, now).map(|()| order));
        let order = match allowed {
            Ok(order) => order,
            Err(reason) => {
                let report = report_of(message, None, OrderStatus::Refused, None, Some(reason), "");
                out.effects.push(Effect::Report(report));
                return Ok(());
            }
        };
        self.emit(
            out,
            Record::Accepted {
                order: order.clone(),
                expires_at,
                at: now,
            },
        )?;
        out.effects.push(Effect::Prepare {
            order,
            permit: permit.frame().to_vec(),
        });
        Ok(())
    }

    pub(crate) fn waiting(
        &mut self,
        order: &OrderId,
        change: impl FnOnce(&mut crate::orders::Waiting),
    ) {
        self.orders.update(order, |entry| {
            if let State::Accepted(waiting) = &mut entry.state {
                change(waiting);
            }
        });
    }

    pub(crate) fn receipt(
        &mut self,
        out: &mut Effects,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let mut fits = false;
        self.waiting(&receipt.order, |waiting| {
            fits = waiting.fact == Some(receipt.fact);
            waiting.receipt |= fits;
        });
        if fits {
            self.send_if_ready(out, receipt.order, now)
        } else {
            Ok(())
        }
    }

    pub(crate) fn signed(
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
    pub(crate) fn send_if_ready(
        &mut self,
        out: &mut Effects,
        id: OrderId,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&id) else {
            return Ok(());
        };
        let State::Accepted(waiting) = &entry.state else {
            return Ok(());
        };
        let (true, true, Some(ticket)) = (waiting.durable, waiting.receipt, &waiting.ticket) else {
            return Ok(());
        };
        let (order, ticket) = (entry.order.clone(), ticket.clone());
        let allowed = if now >= entry.expires_at {
            Err(Reason::Expired)
        } else {
            self.may_send(&order, now)
        };
        if let Err(reason) = allowed {
            return self.end(out, id, OrderStatus::Refused, Some(reason), "");
        }
        self.count_sent(now);
        self.emit(
            out,
            Record::Sent {
                order: id,
                timestamp_ms: ticket.timestamp_ms,
            },
        )?;
        out.effects.push(Effect::Place { order, ticket });
        Ok(())
    }

    pub(crate) fn placed(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        outcome: PlaceOutcome,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&order) else {
            return Ok(());
        };
        // The stream may have been faster than the answer.
        if !matches!(entry.state, State::Sent { .. }) {
            if matches!(outcome, PlaceOutcome::Acknowledged(_)) {
                self.confirm(out, order, Way::Answer);
            }
            return Ok(());
        }
        match outcome {
            PlaceOutcome::Acknowledged(venue_order) => {
                self.emit(out, Record::Opened { order, venue_order })?;
                self.report(out, order, None, "");
                self.confirm(out, order, Way::Answer);
                Ok(())
            }
            PlaceOutcome::Rejected(reason, detail) => self.end(
                out,
                order,
                OrderStatus::Rejected,
                Some(reason),
                detail.as_str(),
            ),
            PlaceOutcome::NotSent(reason, detail) => self.end(
                out,
                order,
                OrderStatus::Refused,
                Some(reason),
                detail.as_str(),
            ),
            PlaceOutcome::Unknown(detail) => self.doubt(out, order, now, detail.as_str()),
        }
    }

    pub(crate) fn doubt(
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

    pub(crate) fn queried(
        &mut self,
        out: &mut Effects,
        id: OrderId,
        asked_at: Timestamp,
        outcome: QueryOutcome,
        now: Timestamp,
    ) -> Result<(), Fault> {
        match outcome {
            QueryOutcome::Found(update) => self.venue(out, &update, Way::Query, now),
            QueryOutcome::Failed => Ok(()),
            QueryOutcome::NotFound => {
                let Some(entry) = self.orders.get(&id) else {
                    return Ok(());
                };
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
                self.end(
                    out,
                    id,
                    status,
                    reason,
                    "the venue does not have it and cannot get it",
                )
            }
        }
    }

    pub(crate) fn with_doubt(&mut self, order: &OrderId, change: impl FnOnce(&mut Doubt)) {
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
        way: Way,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(id) = update.order else {
            return Ok(());
        };
        let Some(entry) = self.orders.get(&id) else {
            return Ok(());
        };
        let is_live = entry.is_live();
        match altered(entry, update) {
            None => self.confirm(out, id, way),
            Some(evidence) => {
                self.notice_alteration(out, &evidence, update.symbol, now);
            }
        }
        let Some(entry) = self.orders.get(&id) else {
            return Ok(());
        };
        if !is_live {
            return Ok(());
        }
        let opens = matches!(entry.state, State::Sent { .. } | State::InDoubt(_));
        if opens {
            self.emit(
                out,
                Record::Opened {
                    order: id,
                    venue_order: update.venue_order,
                },
            )?;
            self.report(out, id, None, "");
        }
        match update.state {
            VenueState::Open => Ok(()),
            VenueState::Filled | VenueState::Cancelled | VenueState::Rejected => {
                let filled = update
                    .filled
                    .map_or(Ok(portcullis_domain::Exposure::FLAT), |filled| {
                        portcullis_domain::Exposure::FLAT.bought(filled)
                    });
                let filled = filled.map_err(|_| Fault::Overflow)?;
                let closing = Closing {
                    state: update.state,
                    filled,
                    since: now,
                };
                self.orders
                    .update(&id, |entry| entry.closing = Some(closing));
                self.close_if_complete(out, id, update.detail.as_str())
            }
        }
    }

    /// Ends an order of which the venue says that it is over, once its fills are all here.
    pub(crate) fn close_if_complete(
        &mut self,
        out: &mut Effects,
        id: OrderId,
        detail: &str,
    ) -> Result<(), Fault> {
        let Some(entry) = self.orders.get(&id) else {
            return Ok(());
        };
        let Some(closing) = entry.closing else {
            return Ok(());
        };
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
            // Both accounts agreed after it: it is booked, and its order forgotten since.
            let settled = |agreed_at| fill.venue_time.plus(SETTLED_AFTER) < agreed_at;
            if self.agreed_at.is_some_and(settled) {
                return Ok(());
            }
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
            && entry
                .remaining()
                .is_some_and(|remaining| fill.quantity <= remaining);
        if !fits {
            let detail = alloc::format!("fill {} does not fit order {}", fill.execution, order.id);
            self.contradiction(out, &detail);
        }
        if matches!(entry.state, State::Sent { .. } | State::InDoubt(_)) {
            self.emit(
                out,
                Record::Opened {
                    order: order.id,
                    venue_order: fill.venue_order,
                },
            )?;
        }
        let id = order.id;
        // It happened at the venue, so it is booked, even where it contradicts us.
        self.emit(out, Record::Filled(fill.clone()))?;
        out.effects.push(Effect::Fill(order.strategy, fill));
        let whole = self
            .orders
            .get(&id)
            .is_some_and(|entry| entry.remaining().is_none());
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
            out.effects
                .push(Effect::Latch(KillCause::Inconsistent, Text::lossy(detail)));
        }
        out.effects.push(Effect::Notice(Notice::Warning {
            detail: Text::lossy(detail),
        }));
    }

    pub(crate) fn end(
        &mut self,
        out: &mut Effects,
        order: OrderId,
        status: OrderStatus,
        reason: Option<Reason>,
        detail: &str,
    ) -> Result<(), Fault> {
        if never_at_venue(status) {
            self.unwatch(out, order);
        }
        self.emit(out, Record::Ended { order, status })?;
        self.report(out, order, reason, detail);
        let now = self.now;
        self.orders
            .update(&order, |entry| entry.ended_at = Some(now));
        Ok(())
    }

    pub(crate) fn report(
        &self,
        out: &mut Effects,
        id: OrderId,
        reason: Option<Reason>,
        detail: &str,
    ) {
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
