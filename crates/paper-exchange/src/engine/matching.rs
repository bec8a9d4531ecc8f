//! Matching: an incoming order against the book, and resting orders against new market data.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::book::Counterparty;
use super::order::{Ending, Fill, Order, OrderType, PublicTrade, Side, Status, TimeInForce};
use super::{Effects, Engine, Event, Notice, uuid};
use crate::clock::TimeMs;

impl Engine {
    /// Matches an order that is in no queue, then rests or closes what is left of it. `cap` is
    /// the most it may execute now.
    pub(super) fn match_incoming(
        &mut self,
        now: TimeMs,
        seq: u64,
        cap: Option<Decimal>,
        effects: &mut Effects,
    ) {
        let Some(order) = self.orders.get(&seq).cloned() else {
            return;
        };
        match order.time_in_force {
            TimeInForce::PostOnly if self.would_take(&order) => {
                self.close(
                    now,
                    seq,
                    Status::Cancelled,
                    Ending::PostOnlyWouldTake,
                    effects,
                );
                return;
            }
            TimeInForce::FillOrKill if !self.fills_completely(&order, cap) => {
                self.close(now, seq, Status::Cancelled, Ending::NoFullFill, effects);
                return;
            }
            TimeInForce::GoodTillCancel
            | TimeInForce::ImmediateOrCancel
            | TimeInForce::FillOrKill
            | TimeInForce::PostOnly => {}
        }
        let (told, done) = (effects.notices.len(), effects.events.len());
        let reduced_out = self.take(now, &order, cap, effects);
        self.settle_incoming(now, seq, reduced_out, effects);
        self.tell_taker(told, seq, effects);
        self.drop_idle_reduce_only(now, &order.symbol, done, effects);
        self.book_changed(now, &order.symbol, effects);
    }

    /// Whether the best price on the other side lies within the order's limit.
    fn would_take(&self, order: &Order) -> bool {
        let other = order.side.opposite();
        self.markets
            .get(&order.symbol)
            .and_then(|market| market.book.best(other))
            .is_some_and(|best| reaches(order, best.price()))
    }

    fn fills_completely(&self, order: &Order, cap: Option<Decimal>) -> bool {
        let wanted = order.leaves();
        let offered = self
            .markets
            .get(&order.symbol)
            .map_or(Decimal::ZERO, |market| {
                market.book.available(order.side.opposite(), order.price)
            });
        let reducible = !order.reduce_only || self.closable(order) >= wanted;
        offered >= wanted && reducible && cap.is_none_or(|cap| cap >= wanted)
    }

    /// Executes an incoming order against the book; answers whether a reduce-only order ran out
    /// of position.
    fn take(
        &mut self,
        now: TimeMs,
        order: &Order,
        cap: Option<Decimal>,
        effects: &mut Effects,
    ) -> bool {
        let mut left = cap.map_or(order.leaves(), |cap| order.leaves().min(cap));
        let other = order.side.opposite();
        while left > Decimal::ZERO {
            let best = self
                .markets
                .get(&order.symbol)
                .and_then(|market| market.book.best(other));
            let Some(best) = best.filter(|best| reaches(order, best.price())) else {
                break;
            };
            // Trading with an order of one's own changes what is left to close, so ask each time.
            let wanted = if order.reduce_only {
                left.min(self.closable(order))
            } else {
                left
            };
            if wanted.is_zero() {
                break;
            }
            let qty = match best {
                Counterparty::Market { price, qty } => {
                    let qty = qty.min(wanted);
                    self.trade(now, order.seq, price, qty, false, effects);
                    if let Some(market) = self.markets.get_mut(&order.symbol) {
                        market.book.consume(other, price, qty);
                    }
                    qty
                }
                Counterparty::Resting {
                    price,
                    order: resting,
                } => {
                    let Some(qty) = self.executable(now, resting, effects) else {
                        continue;
                    };
                    let qty = qty.min(wanted);
                    self.trade(now, order.seq, price, qty, false, effects);
                    self.fill_resting(now, resting, qty, effects);
                    qty
                }
            };
            self.public_trade(now, &order.symbol, order.side, best.price(), qty, effects);
            left -= qty;
        }
        order.reduce_only && self.closable(order).is_zero()
    }

    /// Rests or closes what matching left of an incoming order.
    fn settle_incoming(&mut self, now: TimeMs, seq: u64, reduced_out: bool, effects: &mut Effects) {
        let Some(order) = self.orders.get(&seq).cloned() else {
            return;
        };
        if !order.status.is_open() {
            return;
        }
        let rests = order.order_type == OrderType::Limit
            && matches!(
                order.time_in_force,
                TimeInForce::GoodTillCancel | TimeInForce::PostOnly
            );
        if reduced_out {
            self.close(now, seq, Status::Cancelled, Ending::ByReduceOnly, effects);
        } else if rests {
            if let Some(market) = self.markets.get_mut(&order.symbol) {
                market
                    .book
                    .rest(order.side, order.price, order.priority, seq, order.leaves());
            }
        } else {
            self.close(
                now,
                seq,
                Status::Cancelled,
                Ending::NoImmediateQuantity,
                effects,
            );
        }
    }

    /// Fills resting orders that the market data crosses, best price first, at their own prices.
    pub(super) fn match_resting(&mut self, now: TimeMs, symbol: &str, effects: &mut Effects) {
        for side in [Side::Buy, Side::Sell] {
            loop {
                let Some(market) = self.markets.get(symbol) else {
                    return;
                };
                let Some((price, seq)) = market.book.best_resting(side) else {
                    break;
                };
                let Some((market_price, offered)) = market.book.best_market(side.opposite()) else {
                    break;
                };
                let crossed = match side {
                    Side::Buy => market_price <= price,
                    Side::Sell => market_price >= price,
                };
                if !crossed {
                    break;
                }
                let Some(leaves) = self.executable(now, seq, effects) else {
                    continue;
                };
                let qty = leaves.min(offered);
                let mark = effects.events.len();
                self.fill_resting(now, seq, qty, effects);
                if let Some(market) = self.markets.get_mut(symbol) {
                    market.book.consume(side.opposite(), market_price, qty);
                }
                self.public_trade(now, symbol, side.opposite(), price, qty, effects);
                self.drop_idle_reduce_only(now, symbol, mark, effects);
            }
        }
    }

    /// How much of a resting order may execute; cancels it and answers `None` when it is a
    /// reduce-only order with nothing left to reduce.
    fn executable(&mut self, now: TimeMs, seq: u64, effects: &mut Effects) -> Option<Decimal> {
        let order = self.orders.get(&seq)?;
        if !order.reduce_only {
            return Some(order.leaves());
        }
        let closable = self.closable(order);
        if closable.is_zero() {
            self.cancel_resting(now, seq, Ending::ByReduceOnly, effects);
            return None;
        }
        Some(order.leaves().min(closable))
    }

    fn closable(&self, order: &Order) -> Decimal {
        self.accounts
            .get(&order.account)
            .and_then(|account| account.positions.get(&order.symbol))
            .map_or(Decimal::ZERO, |position| position.closable(order.side))
    }

    /// Executes `qty` of a resting order at its own price and keeps its queue right.
    fn fill_resting(&mut self, now: TimeMs, seq: u64, qty: Decimal, effects: &mut Effects) {
        let Some(order) = self.orders.get(&seq).cloned() else {
            return;
        };
        if let Some(market) = self.markets.get_mut(&order.symbol) {
            if qty >= order.leaves() {
                market
                    .book
                    .withdraw(order.side, order.price, order.priority, order.leaves());
            } else {
                market.book.shrink(order.side, order.price, qty);
            }
        }
        self.trade(now, seq, order.price, qty, true, effects);
        if let Some(order) = self.orders.get(&seq) {
            effects.notices.push(Notice::Order(Box::new(order.clone())));
        }
    }

    /// One execution of one order.
    fn trade(
        &mut self,
        now: TimeMs,
        seq: u64,
        price: Decimal,
        qty: Decimal,
        maker: bool,
        effects: &mut Effects,
    ) {
        let Some(order) = self.orders.get(&seq).cloned() else {
            return;
        };
        let fee_rate = if maker {
            self.rules.maker_fee
        } else {
            self.rules.taker_fee
        };
        let fill_seq = self.fill_seq.saturating_add(1);
        let mark = self
            .markets
            .get(&order.symbol)
            .and_then(super::market::Market::mark);
        let fill = Fill {
            seq: fill_seq,
            order_seq: seq,
            exec_id: uuid(2, fill_seq),
            account: order.account.clone(),
            order_id: order.order_id.clone(),
            link_id: order.link_id.clone(),
            symbol: order.symbol.clone(),
            side: order.side,
            order_type: order.order_type,
            order_price: order.price,
            order_qty: order.qty,
            leaves_qty: order.leaves() - qty,
            price,
            qty,
            fee: price * qty * fee_rate,
            fee_rate,
            maker,
            closed_qty: qty.min(self.closable(&order)),
            mark_price: mark.unwrap_or(price),
            time_ms: now,
            cross_seq: self.cross_seq.saturating_add(1),
        };
        effects.notices.push(Notice::Fill(Box::new(fill.clone())));
        self.emit(
            Event::Filled {
                fill: Box::new(fill),
            },
            effects,
        );
        effects.notices.push(Notice::Position {
            account: order.account,
            symbol: order.symbol,
        });
    }

    pub(super) fn public_trade(
        &mut self,
        now: TimeMs,
        symbol: &str,
        side: Side,
        price: Decimal,
        qty: Decimal,
        effects: &mut Effects,
    ) {
        self.trade_seq = self.trade_seq.saturating_add(1);
        let (number, cross_seq) = (self.trade_seq, self.cross_seq);
        let Some(market) = self.markets.get_mut(symbol) else {
            return;
        };
        let trade = PublicTrade {
            symbol: symbol.to_owned(),
            trade_id: uuid(3, number),
            side,
            price,
            qty,
            time_ms: now,
            direction: market.direction_of(price),
            cross_seq,
        };
        market.traded(&trade);
        effects.notices.push(Notice::Trade(Box::new(trade)));
    }

    /// Adds the taker's new state after its fills, once, however many there were.
    fn tell_taker(&self, mark: usize, seq: u64, effects: &mut Effects) {
        let (mut filled, mut told) = (false, false);
        for notice in effects.notices.iter().skip(mark) {
            match notice {
                Notice::Fill(fill) => filled |= fill.order_seq == seq,
                Notice::Order(order) => told |= order.seq == seq,
                Notice::Position { .. }
                | Notice::Wallet { .. }
                | Notice::Trade(_)
                | Notice::Book { .. } => {}
            }
        }
        if filled
            && !told
            && let Some(order) = self.orders.get(&seq)
        {
            effects.notices.push(Notice::Order(Box::new(order.clone())));
        }
    }

    /// Cancels resting reduce-only orders whose position has gone, where the events since `mark`
    /// closed some of one.
    fn drop_idle_reduce_only(
        &mut self,
        now: TimeMs,
        symbol: &str,
        mark: usize,
        effects: &mut Effects,
    ) {
        let closers: BTreeSet<String> = effects
            .events
            .iter()
            .skip(mark)
            .filter_map(|event| match event {
                Event::Filled { fill } if fill.closed_qty > Decimal::ZERO => {
                    Some(fill.account.clone())
                }
                _ => None,
            })
            .collect();
        for account in closers {
            let Some(held) = self.accounts.get(&account) else {
                continue;
            };
            let idle: Vec<u64> = held
                .open
                .iter()
                .filter_map(|seq| self.orders.get(seq))
                .filter(|order| order.reduce_only && order.symbol == symbol)
                .filter(|order| self.closable(order).is_zero())
                .map(|order| order.seq)
                .collect();
            for seq in idle {
                self.cancel_resting(now, seq, Ending::ByReduceOnly, effects);
            }
        }
    }
}

/// Whether a price on the other side lies within the order's limit.
fn reaches(order: &Order, price: Decimal) -> bool {
    match order.side {
        Side::Buy => price <= order.price,
        Side::Sell => price >= order.price,
    }
}
