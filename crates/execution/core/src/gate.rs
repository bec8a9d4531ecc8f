//! Whether a new order may leave right now. Everything that cannot be established is a refusal.

use portcullis_domain::{Order, Posture, Reason, Timestamp};
use portcullis_wire::messages::Heartbeat;

use crate::engine::Execution;
use crate::hard_limits::{ORDERS_OPEN_MAX, ORDERS_PER_SECOND_MAX, order_notional_max};
use crate::upkeep::RECONCILED_MAX;

impl Execution {
    /// Whether any order may leave.
    pub(crate) fn may_trade(&self, now: Timestamp) -> Result<(), Reason> {
        if !self.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        if self.stopping {
            return Err(Reason::ShuttingDown);
        }
        // An account that cannot be read agrees with nothing.
        if !self.reconciled || now.since(self.reconciled_at) > RECONCILED_MAX {
            return Err(Reason::NotReconciled);
        }
        let Some((heartbeat, at)) = &self.heartbeat else {
            return Err(Reason::GuardSilent);
        };
        if now.since(*at) > Heartbeat::AGE_MAX {
            return Err(Reason::GuardSilent);
        }
        if !heartbeat.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        if heartbeat.posture == Posture::Emergency {
            return Err(Reason::PostureRestricts);
        }
        if heartbeat.policy != self.settings.policy_hash {
            return Err(Reason::PolicyMismatch);
        }
        if self.ledger.day() != self.today(now) {
            // The day's baseline is not on record yet; the next tick puts it there.
            return Err(Reason::NotReconciled);
        }
        if !self.ledger.is_priced(None, now, self.settings.book_age_max) {
            return Err(Reason::StaleMarketData);
        }
        if self.halts.contains_key(&None) {
            return Err(Reason::VenueDiffers);
        }
        let loss = self.loss_in_force().map_err(|_| Reason::Overflow)?;
        if loss >= self.loss_max() {
            return Err(Reason::HardDailyLoss);
        }
        Ok(())
    }

    /// Whether this order may leave.
    pub(crate) fn may_send(&self, order: &Order, now: Timestamp) -> Result<(), Reason> {
        self.may_trade(now)?;
        if order.policy != self.settings.policy_hash {
            return Err(Reason::PolicyMismatch);
        }
        if !self
            .ledger
            .is_priced(Some(order.symbol), now, self.settings.book_age_max)
        {
            return Err(Reason::StaleMarketData);
        }
        if self.halts.contains_key(&Some(order.symbol)) {
            return Err(Reason::VenueDiffers);
        }
        if self.orders.overdue_in(order.symbol) > 0 {
            return Err(Reason::Unconfirmed);
        }
        if self.orders.doubtful_in(order.symbol) > 0 {
            return Err(Reason::OrderInDoubt);
        }
        // A seller's limit price says the least, not the most, that the order may be worth.
        let price = self
            .ledger
            .ask(order.symbol)
            .map_or(order.limit_price, |ask| ask.max(order.limit_price));
        let notional = price
            .notional(order.quantity)
            .map_err(|_| Reason::Overflow)?;
        if notional > order_notional_max() || self.orders.live_count() > ORDERS_OPEN_MAX {
            return Err(Reason::HardLimit);
        }
        if self.sent_in_second(now) >= ORDERS_PER_SECOND_MAX {
            return Err(Reason::HardLimit);
        }
        Ok(())
    }

    fn sent_in_second(&self, now: Timestamp) -> u32 {
        let (second, count) = self.sent;
        if second == now.0 / 1_000_000 {
            count
        } else {
            0
        }
    }

    pub(crate) fn count_sent(&mut self, now: Timestamp) {
        self.sent = (
            now.0 / 1_000_000,
            self.sent_in_second(now).saturating_add(1),
        );
    }

    /// The day in force: by UTC, and never an earlier one than before, whatever the clock says.
    pub(crate) fn today(&self, now: Timestamp) -> u64 {
        now.utc_day().max(self.ledger.day())
    }
}
