//! Cancelling and amending orders.

use rust_decimal::Decimal;

use super::order::{Ending, Order, Status};
use super::place::{check_price, check_quantity};
use super::refusal::Refusal;
use super::{Effects, Engine, Event, Notice};
use crate::clock::TimeMs;
use crate::decimal;

/// Most orders that one cancel-all takes (the venue's page: up to 500 futures orders).
const CANCEL_ALL_MAX: usize = 500;

/// Which order is meant. The venue's id goes before the client's when both are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderRef {
    OrderId(String),
    LinkId(String),
}

/// New price, new quantity, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amend {
    pub symbol: String,
    pub reference: OrderRef,
    pub price: Option<Decimal>,
    pub qty: Option<Decimal>,
}

/// Which open orders to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CancelAll {
    Symbol(String),
    BaseCoin(String),
    /// Every symbol settles in USDT.
    SettleCoin,
}

impl Engine {
    /// Cancels one order; answers the venue's id and the client's.
    pub(crate) fn cancel(
        &mut self,
        now: TimeMs,
        account: &str,
        symbol: &str,
        reference: &OrderRef,
        effects: &mut Effects,
    ) -> Result<(String, String), Refusal> {
        let order = self.find_open(account, symbol, reference)?;
        let (seq, ids) = (order.seq, (order.order_id.clone(), order.link_id.clone()));
        self.cancel_resting(now, seq, Ending::ByUser, effects);
        Ok(ids)
    }

    /// Cancels many orders; answers their ids, earliest first.
    pub(crate) fn cancel_all(
        &mut self,
        now: TimeMs,
        account: &str,
        which: &CancelAll,
        effects: &mut Effects,
    ) -> Vec<(String, String)> {
        let meant = |order: &Order| match which {
            CancelAll::Symbol(symbol) => order.symbol == *symbol,
            CancelAll::BaseCoin(coin) => order
                .symbol
                .strip_suffix("USDT")
                .is_some_and(|base| base == coin),
            CancelAll::SettleCoin => true,
        };
        let Some(held) = self.accounts.get(account) else {
            return Vec::new();
        };
        let chosen: Vec<(u64, String, String)> = held
            .open
            .iter()
            .filter_map(|seq| self.orders.get(seq))
            .filter(|order| meant(order))
            .take(CANCEL_ALL_MAX)
            .map(|order| (order.seq, order.order_id.clone(), order.link_id.clone()))
            .collect();
        let mut ids = Vec::with_capacity(chosen.len());
        for (seq, order_id, link_id) in chosen {
            self.cancel_resting(now, seq, Ending::ByUser, effects);
            ids.push((order_id, link_id));
        }
        ids
    }

    /// Changes price or quantity. Less quantity keeps the place in the queue; anything else
    /// goes to its end, and may take at once.
    pub(crate) fn amend(
        &mut self,
        now: TimeMs,
        account: &str,
        amend: &Amend,
        effects: &mut Effects,
    ) -> Result<(String, String), Refusal> {
        let order = self
            .find_open(account, &amend.symbol, &amend.reference)?
            .clone();
        let market = self
            .markets
            .get(&amend.symbol)
            .ok_or(Refusal::Parameter("symbol invalid"))?;
        let price = amend.price.unwrap_or(order.price);
        let qty = amend.qty.unwrap_or(order.qty);
        if price == order.price && qty == order.qty {
            return Err(Refusal::Parameter("the order remains unchanged"));
        }
        check_quantity(&market.instrument, order.order_type, qty)?;
        check_price(&market.instrument, order.side, price, market.mark())?;
        if qty <= order.filled_qty {
            return Err(Refusal::BelowFilled);
        }
        if !order.reduce_only {
            if price * qty < market.instrument.min_notional {
                let minimum = decimal::text(market.instrument.min_notional);
                return Err(Refusal::BelowMinimumValue(minimum));
            }
            self.check_amended_margin(&order, price, qty)?;
        }
        let keeps_place = price == order.price && qty < order.qty;
        let priority = if keeps_place {
            order.priority
        } else {
            self.priority.saturating_add(1)
        };
        self.withdraw(&order);
        self.emit(
            Event::Amended {
                order_seq: order.seq,
                price,
                qty,
                priority,
                time_ms: now,
            },
            effects,
        );
        if let Some(amended) = self.orders.get(&order.seq) {
            effects
                .notices
                .push(Notice::Order(Box::new(amended.clone())));
        }
        self.match_incoming(now, order.seq, None, effects);
        self.book_changed(now, &order.symbol, effects);
        Ok((order.order_id, order.link_id))
    }

    fn check_amended_margin(
        &self,
        order: &Order,
        price: Decimal,
        qty: Decimal,
    ) -> Result<(), Refusal> {
        let held = self.accounts.get(&order.account).ok_or(Refusal::ApiKey)?;
        let position = held
            .positions
            .get(&order.symbol)
            .cloned()
            .unwrap_or_default();
        let mut after = position.clone();
        after.open_mut(order.side).add(-order.leaves(), order.price);
        after
            .open_mut(order.side)
            .add(qty - order.filled_qty, price);
        let margin = after.order_margin() - position.order_margin();
        if margin > Decimal::ZERO && margin > self.available(held) {
            return Err(Refusal::InsufficientBalance);
        }
        Ok(())
    }

    fn find_open(
        &self,
        account: &str,
        symbol: &str,
        reference: &OrderRef,
    ) -> Result<&Order, Refusal> {
        self.find(account, reference)
            .filter(|order| order.status.is_open() && order.symbol == symbol)
            .ok_or(Refusal::OrderNotFound)
    }

    /// Takes a resting order out of the book and closes it.
    pub(super) fn cancel_resting(
        &mut self,
        now: TimeMs,
        seq: u64,
        ending: Ending,
        effects: &mut Effects,
    ) {
        let Some(order) = self.orders.get(&seq).cloned() else {
            return;
        };
        self.withdraw(&order);
        self.close(now, seq, Status::Cancelled, ending, effects);
        self.book_changed(now, &order.symbol, effects);
    }

    /// Closes an order that is in no queue.
    pub(super) fn close(
        &mut self,
        now: TimeMs,
        seq: u64,
        status: Status,
        ending: Ending,
        effects: &mut Effects,
    ) {
        self.emit(
            Event::Closed {
                order_seq: seq,
                status,
                ending,
                time_ms: now,
            },
            effects,
        );
        if let Some(order) = self.orders.get(&seq) {
            effects.notices.push(Notice::Order(Box::new(order.clone())));
        }
    }

    /// Takes an order out of its queue.
    pub(super) fn withdraw(&mut self, order: &Order) {
        if let Some(market) = self.markets.get_mut(&order.symbol) {
            market
                .book
                .withdraw(order.side, order.price, order.priority, order.leaves());
        }
    }
}
