//! What belongs to one strategy: its cash, its positions and its open orders, as running totals.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{
    AmountError, Exposure, Fill, Order, Price, Quantity, Side, StrategyId, Symbol, Usd,
};
use portcullis_wire::messages::StrategyExposure;

use crate::snapshot::Kept;

/// One strategy.
#[derive(Clone, Debug, Default)]
pub struct Account {
    cash: Usd,
    /// The last equity on record, for a day that begins without prices.
    recorded: Usd,
    /// The equity that the day's loss is measured from.
    baseline: Usd,
    shares: BTreeMap<Symbol, Share>,
}

/// What it has of one instrument.
#[derive(Clone, Debug, Default)]
struct Share {
    position: Exposure,
    buys: Open,
    sells: Open,
}

/// Its open and doubtful orders of one side.
#[derive(Clone, Debug, Default)]
struct Open {
    quantity: Exposure,
    orders: u64,
    /// How many of them have each limit price.
    prices: BTreeMap<Price, u64>,
}

/// What a fill makes of an account, worked out and not yet kept.
#[derive(Clone, Copy, Debug)]
pub struct Booked {
    cash: Usd,
    position: Exposure,
}

impl Account {
    /// Works out a fill that moves so much cash, its fee apart.
    pub fn booked(&self, fill: &Fill, flow: Usd) -> Result<Booked, AmountError> {
        let held = self.shares.get(&fill.symbol);
        let held = held.map_or(Exposure::FLAT, |share| share.position);
        Ok(Booked {
            cash: self.cash.plus(flow)?.minus(fill.fee)?,
            position: fill.side.applied(held, fill.quantity)?,
        })
    }

    pub fn take(&mut self, symbol: Symbol, booked: Booked) {
        self.cash = booked.cash;
        self.shares.entry(symbol).or_default().position = booked.position;
    }

    /// Counts an order as open.
    pub fn open(&mut self, order: &Order) -> Result<(), AmountError> {
        let open = self.open_mut(order.symbol, order.side);
        open.quantity = open.quantity.bought(order.quantity)?;
        open.orders = open.orders.saturating_add(1);
        let count = open.prices.entry(order.limit_price).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }

    /// No longer counts so much of an order as open.
    pub fn release(&mut self, order: &Order, quantity: Quantity) -> Result<(), AmountError> {
        let open = self.open_mut(order.symbol, order.side);
        open.quantity = open.quantity.sold(quantity)?;
        Ok(())
    }

    /// No longer counts the order itself, of which nothing is left open.
    pub fn end(&mut self, order: &Order) {
        let open = self.open_mut(order.symbol, order.side);
        open.orders = open.orders.saturating_sub(1);
        if let Some(count) = open.prices.get_mut(&order.limit_price) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.prices.remove(&order.limit_price);
            }
        }
    }

    fn open_mut(&mut self, symbol: Symbol, side: Side) -> &mut Open {
        let share = self.shares.entry(symbol).or_default();
        match side {
            Side::Buy => &mut share.buys,
            Side::Sell => &mut share.sells,
        }
    }

    /// Cash plus positions, each at what `mark` says of it; `None` where that is nothing.
    pub fn equity(&self, mark: impl Fn(Symbol, Exposure) -> Option<Price>) -> Option<Usd> {
        self.shares
            .iter()
            .filter(|(_, share)| share.position != Exposure::FLAT)
            .try_fold(self.cash, |sum, (symbol, share)| {
                let value = mark(*symbol, share.position)?.value(share.position);
                sum.plus(value.ok()?).ok()
            })
    }

    pub fn record(&mut self, equity: Usd) {
        self.recorded = equity;
    }

    pub const fn recorded(&self) -> Usd {
        self.recorded
    }

    /// The loss of the day is measured from the last equity on record, never from the present one.
    pub const fn begin_day(&mut self) {
        self.baseline = self.recorded;
    }

    /// The day's loss at such an equity, or else at the last one on record.
    pub fn loss(&self, equity: Option<Usd>) -> Result<Usd, AmountError> {
        self.baseline.minus(equity.unwrap_or(self.recorded))
    }

    /// Writes it down, its open orders apart.
    pub fn keep(&self, kept: &mut Vec<Kept>, strategy: StrategyId) {
        kept.push(Kept::Strategy {
            strategy,
            cash: self.cash,
            recorded: self.recorded,
            baseline: self.baseline,
        });
        let shares = self.shares.iter();
        kept.extend(shares.map(|(symbol, share)| Kept::Share {
            strategy,
            symbol: *symbol,
            position: share.position,
        }));
    }

    pub const fn restore(&mut self, cash: Usd, recorded: Usd, baseline: Usd) {
        self.cash = cash;
        self.recorded = recorded;
        self.baseline = baseline;
    }

    pub fn hold(&mut self, symbol: Symbol, position: Exposure) {
        self.shares.entry(symbol).or_default().position = position;
    }

    /// What it holds and has open, by instrument.
    pub fn exposures(&self, strategy: StrategyId) -> impl Iterator<Item = StrategyExposure> {
        self.shares
            .iter()
            .map(move |(symbol, share)| StrategyExposure {
                strategy,
                symbol: *symbol,
                position: share.position,
                open_buy: share.buys.quantity.size(),
                open_sell: share.sells.quantity.size(),
                orders_open: share.buys.orders.saturating_add(share.sells.orders),
                highest_buy: share.buys.prices.keys().next_back().copied(),
                lowest_sell: share.sells.prices.keys().next().copied(),
            })
    }
}
