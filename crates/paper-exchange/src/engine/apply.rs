//! What each event changes: the only place where accounts, orders and fills do.

use rust_decimal::Decimal;

use super::account::Account;
use super::movement::Source;
use super::order::{Fill, Order, Status};
use super::{Effects, Engine, Event};

impl Engine {
    /// Applies an event and remembers it for the journal.
    pub(super) fn emit(&mut self, event: Event, effects: &mut Effects) {
        self.apply(&event);
        effects.events.push(event);
    }

    /// The only place where accounts, orders and fills change.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Opened { account, balance } => {
                self.accounts
                    .insert(account.clone(), Account::new(*balance));
            }
            Event::Accepted { order } => self.apply_accepted(order),
            Event::Filled { fill } => self.apply_filled(fill),
            Event::Closed {
                order_seq,
                status,
                ending,
                time_ms,
            } => {
                let Some(order) = self.orders.get_mut(order_seq) else {
                    return;
                };
                let leaves = order.leaves();
                order.status = *status;
                order.ending = *ending;
                order.updated_ms = *time_ms;
                let order = order.clone();
                self.release(&order, leaves);
                self.note_closed(&order);
            }
            Event::Amended {
                order_seq,
                price,
                qty,
                priority,
                time_ms,
            } => {
                let Some(order) = self.orders.get_mut(order_seq) else {
                    return;
                };
                let before = order.clone();
                order.price = *price;
                order.qty = *qty;
                order.priority = *priority;
                order.updated_ms = *time_ms;
                let after = order.clone();
                self.priority = self.priority.max(*priority);
                self.release(&before, before.leaves());
                self.bind(&after, after.leaves());
            }
            Event::Moved { movement } => {
                self.movement_seq = self.movement_seq.max(movement.seq);
                if let Some(account) = self.accounts.get_mut(&movement.account) {
                    account.wallet += movement.amount;
                    account.enter(Source::Movement(movement.clone()), movement.amount);
                }
            }
            Event::Protected { account, window_s } => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.window_s = Some(*window_s);
                }
            }
            Event::Leverage {
                account,
                symbol,
                leverage,
            } => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.position_mut(symbol).leverage = *leverage;
                }
            }
        }
    }

    fn apply_accepted(&mut self, order: &Order) {
        self.order_seq = self.order_seq.max(order.seq);
        self.priority = self.priority.max(order.priority);
        self.by_order_id.insert(order.order_id.clone(), order.seq);
        if !order.link_id.is_empty() {
            let key = (order.account.clone(), order.link_id.clone());
            self.by_link_id.insert(key, order.seq);
        }
        if let Some(account) = self.accounts.get_mut(&order.account) {
            account.open.insert(order.seq);
            account.orders.push(order.seq);
            let count = account.open_count.entry(order.symbol.clone()).or_default();
            *count = count.saturating_add(1);
        }
        self.bind(order, order.leaves());
        self.orders.insert(order.seq, order.clone());
    }

    fn apply_filled(&mut self, fill: &Fill) {
        self.fill_seq = self.fill_seq.max(fill.seq);
        self.cross_seq = self.cross_seq.max(fill.cross_seq);
        let Some(order) = self.orders.get_mut(&fill.order_seq) else {
            return;
        };
        order.filled_qty += fill.qty;
        order.filled_value += fill.value();
        order.fee += fill.fee;
        order.updated_ms = fill.time_ms;
        let done = order.filled_qty >= order.qty;
        order.status = if done {
            Status::Filled
        } else {
            Status::PartiallyFilled
        };
        let order = order.clone();
        self.release(&order, fill.qty);
        if let Some(account) = self.accounts.get_mut(&fill.account) {
            let realised = account.position_mut(&fill.symbol).fill(fill);
            account.wallet += realised - fill.fee;
            account.fills.push(fill.seq);
            account.enter(Source::Fill(fill.seq), realised - fill.fee);
        }
        if done {
            self.note_closed(&order);
        }
        self.fills.insert(fill.seq, fill.clone());
    }

    /// Counts an open order's margin in. Reduce-only orders bind none.
    fn bind(&mut self, order: &Order, qty: Decimal) {
        if order.reduce_only {
            return;
        }
        if let Some(account) = self.accounts.get_mut(&order.account) {
            account
                .position_mut(&order.symbol)
                .open_mut(order.side)
                .add(qty, order.price);
        }
    }

    /// Counts an open order's margin out.
    fn release(&mut self, order: &Order, qty: Decimal) {
        self.bind(order, -qty);
    }

    fn note_closed(&mut self, order: &Order) {
        let Some(account) = self.accounts.get_mut(&order.account) else {
            return;
        };
        if account.open.remove(&order.seq) {
            account.closed.push(order.seq);
            if let Some(count) = account.open_count.get_mut(&order.symbol) {
                *count = count.saturating_sub(1);
            }
        }
    }
}
